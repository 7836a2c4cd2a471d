//! Bounds and fixed choices of the composition.

use std::time::Duration;

use base::PartitionId;

/// The directory is account 0 of this partition.
pub const DIRECTORY_PARTITION: PartitionId = PartitionId(0);

/// How long a verified password is taken without being hashed again, in milliseconds. A changed
/// password ends it at once, for its credential's fingerprint differs.
pub const VERIFIED_TTL_MS: u32 = 15 * 60 * 1000;

/// Logins of one shard that wait until others have been looked at (`auth::Throttle::begin`); one more is
/// asked to come again.
pub(crate) const LOGINS_WAITING_MAX: usize = 1024;

/// Rounds of SCRAM's PBKDF2 for new passwords, and for those of names that nobody has; RFC 7677 §4
/// asks for 4096 or more.
pub const SCRAM_ITERATIONS: u32 = 10_000;

/// Accounts that one message may go to, each counted once for every recipient address that leads to it.
pub const MESSAGE_TARGETS_MAX: usize = 10_000;

/// Accounts that are looked at in one go, before others on the shard get a turn.
pub(crate) const TARGETS_PER_TURN: usize = 256;

/// Calls of one request that begin in one go.
pub(crate) const CALLS_PER_TURN: usize = 16;

/// The time that a password's hash may take before it makes its login a slow operation, in milliseconds.
pub(crate) const PASSWORD_MS_ALLOWED: u32 = 200;

/// The time that a peer may take to read an answer before that makes it a slow operation, in milliseconds.
pub(crate) const NETWORK_MS_ALLOWED: u32 = 1000;

/// Entries that are given out in one go, before others on the shard get a turn.
pub(crate) const ATTEMPTS_PER_TURN: usize = 32;

/// Addresses that one attempt connects to, all hosts together.
pub(crate) const CONNECT_ATTEMPTS_MAX: usize = 16;

/// Recipients of one message that a host is given at once when it does not say how many it takes (RFC 5321
/// §4.5.3.1.8 asks for 100).
pub(crate) const RECIPIENTS_AT_ONCE_MAX: usize = 100;

/// The longest pause between two looks at whether a destination is back.
pub(crate) const DESTINATION_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The pause before the store is tried again that would not take what became of a message.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Destinations whose names a shard remembers for people to read.
pub(crate) const DESTINATION_NAMES_MAX: usize = 100_000;
