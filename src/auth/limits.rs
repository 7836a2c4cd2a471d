//! Every bound of authentication, with its unit.

use core::time::Duration;

/// Bytes of a user name or an authorization identity: an address, quoted and escaped, and some.
pub const USERNAME_BYTES_MAX: usize = 512;

/// Bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// Bytes of one decoded message of a client, whatever the mechanism.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// Bytes of such a message in base64: what a protocol must let through on one line (RFC 4954 §4
/// asks for 12,288, which is more than any mechanism here uses).
pub const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(3) * 4;

/// Bytes of a client's nonce.
pub const CLIENT_NONCE_BYTES_MAX: usize = 256;

/// Rounds of PBKDF2 that a new SCRAM credential has. RFC 7677 §4 asks for 4,096 at least; each
/// login costs the client as many, so this is bounded by the slowest phone.
pub const SCRAM_ITERATIONS_DEFAULT: u32 = 10_000;

/// RFC 5802 §5.1: clients may refuse less.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;

/// Memory of one Argon2id computation (RFC 9106), in KiB.
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;

/// Passes over that memory.
pub const ARGON2_PASSES: u32 = 2;

/// Verified passwords that a shard remembers.
pub const VERIFIED_ENTRIES_MAX: usize = 16_384;

/// Sources and names with failures that a shard remembers.
pub const THROTTLE_ENTRIES_MAX: usize = 65_536;

/// Failures of a source before it has to wait: people behind one address mistype too.
pub const SOURCE_FAILURES_FREE: u32 = 10;

/// Failures of a name before it has to wait.
pub const LOGIN_FAILURES_FREE: u32 = 5;

/// The longest wait of a source, in seconds.
pub const SOURCE_PENALTY_S_MAX: u32 = 900;

/// The longest wait of a name, in seconds. Short, because strangers can make a name wait.
pub const LOGIN_PENALTY_S_MAX: u32 = 30;

/// After this long without a failure the earlier ones are forgotten.
pub const FAILURES_FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
