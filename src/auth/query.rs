//! What an exchange asks, is answered and says: plain values that cross cores.

use base::{AccountId, PartitionId, Secret};
use directory::ScramKeys;

/// Who somebody has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// Where its data is: after login the connection goes there.
    pub partition: PartitionId,
    /// The account's canonical address.
    pub address: String,
}

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
}

/// What an exchange needs to know from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Whose password is this? Slow to answer: the blocking pool's work.
    Password {
        /// The name as the client gave it, after SASLprep (RFC 4013, now RFC 8265).
        username: String,
        /// What the client claims to be the name's password.
        password: Secret<String>,
    },
    /// The SCRAM keys of a name. Answer for unknown names too, with fabricated keys.
    Scram {
        /// The name as the client gave it, after SASLprep (RFC 4013, now RFC 8265).
        username: String,
        /// Which of the keys.
        hash: ScramHash,
    },
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Password`]: it is this account's.
    Granted(Identity),
    /// It is nobody's, or its account may not log in.
    Denied,
    /// To [`Query::Scram`].
    Scram(Box<ScramCredential>),
    /// It cannot be said now.
    Unavailable,
    /// There were too many failures: not even looked at.
    Throttled {
        /// Seconds until another attempt is looked at.
        retry_after_s: u32,
    },
}

/// What a SCRAM exchange goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramCredential {
    /// The account's keys, or fabricated ones.
    pub keys: ScramKeys,
    /// Who it is if the proof is right; `None` for a name that cannot log in.
    pub identity: Option<Identity>,
}

/// What a session has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes (in base64, after `334` or `+`), and give [`crate::Exchange`] the response.
    Challenge(Vec<u8>),
    /// Have this answered.
    Ask(Query),
    /// Logged in.
    Granted(Identity),
    /// Not logged in; the exchange is over.
    Failed(Failure),
}

/// Why somebody is not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Wrong name, password, proof or channel binding. Which of them is nobody's business.
    Denied,
    /// It cannot be said now; worth another try.
    Unavailable,
    /// There were too many failures.
    Throttled {
        /// Seconds until another attempt is looked at.
        retry_after_s: u32,
    },
    /// Not what the mechanism's grammar allows at this point, or not base64.
    Malformed,
    /// The client gave up with `*` (RFC 4954 §4, RFC 9051 §6.2.2).
    Cancelled,
    /// A message above [`crate::limits::MESSAGE_BYTES_MAX`] or a part above its limit.
    TooLong,
}

/// Why a mechanism cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// There is no such mechanism here.
    Unknown,
    /// It sends passwords in clear and the connection is not encrypted (RFC 4954 §4: `538`; RFC
    /// 5530 §3: `PRIVACYREQUIRED`).
    NeedsEncryption,
    /// It needs a channel binding and the connection has none.
    NeedsBinding,
}

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Policy {
    /// Passwords may cross the network in clear: for loopback and for tests.
    pub allow_plaintext_without_tls: bool,
}
