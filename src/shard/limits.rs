//! Bounds and fixed choices of the composition.

use base::PartitionId;

/// The directory is account 0 of this partition.
pub const DIRECTORY_PARTITION: PartitionId = PartitionId(0);

/// How long a verified password is taken without being hashed again, in milliseconds. A changed
/// password ends it at once, for its credential's fingerprint differs.
pub const VERIFIED_TTL_MS: u32 = 15 * 60 * 1000;

/// Rounds of SCRAM's PBKDF2 for new passwords, and for those of names that nobody has; RFC 7677 §4
/// asks for 4096 or more.
pub const SCRAM_ITERATIONS: u32 = 10_000;
