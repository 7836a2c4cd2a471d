//! What the directory knows: accounts, domains, aliases, credentials.

use std::fmt;

use base::{AccountId, PartitionId, Timestamp};

use crate::{EmailAddress, SentCopy};

/// What a password is checked against. None of it is the password, but all of it can be attacked
/// off line, so it never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Argon2id (RFC 9106) in the PHC string form, parameters and salt included.
    pub argon2id: String,
    /// For SCRAM-SHA-256 and its -PLUS (RFC 7677).
    pub scram_sha256: ScramKeys,
    /// For SCRAM-SHA-1 and its -PLUS (RFC 5802).
    pub scram_sha1: ScramKeys,
}

/// The server's half of a SCRAM credential (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Sent to every client that names the user.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2, sent likewise.
    pub iterations: u32,
    /// `H(ClientKey)`; as long as the hash.
    pub stored_key: Vec<u8>,
    /// `HMAC(SaltedPassword, "Server Key")`; as long as the hash.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    /// Allotted once, never reused.
    pub id: AccountId,
    /// Where the account's data is.
    pub partition: PartitionId,
    /// The canonical address, which is also the login name.
    pub address: EmailAddress,
    /// For people; may be empty.
    pub display_name: String,
    /// `None`: nobody can log in with a password.
    pub credential: Option<Credential>,
    /// Bytes of messages it may hold; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// Where what comes for it goes on to.
    pub forward: Option<Forwarding>,
    /// Which sent mail is also put into its Sent mailbox.
    pub sent_copy: SentCopy,
    /// A disabled account neither logs in nor receives.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// Where an account's mail goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// An address, of ours or not.
    pub to: EmailAddress,
    /// The account gets it as well.
    pub keeps_copy: bool,
}

/// What is said of an account before it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its domain must be one of ours, and nothing else may have the address.
    pub address: EmailAddress,
    /// For people; may be empty.
    pub display_name: String,
    /// `None`: nobody can log in with a password.
    pub credential: Option<Credential>,
    /// Bytes of messages it may hold; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// The moment to write down as its creation.
    pub created: Timestamp,
}

/// A domain we take mail for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// Lower case, A-labels.
    pub name: String,
    /// Who gets mail to addresses of the domain that nobody has.
    pub catch_all: Option<EmailAddress>,
    /// When it was added.
    pub created: Timestamp,
}

/// An address that stands for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasEntry {
    /// The address that is replaced.
    pub address: EmailAddress,
    /// Accounts or other aliases of ours, with or without a detail, or addresses elsewhere. Never empty.
    pub targets: Vec<EmailAddress>,
}

/// Where mail to an address goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// These accounts, at least one, each once.
    Local(Vec<Target>),
    /// Elsewhere, and perhaps to accounts too.
    Forwarded(Box<Forwarded>),
    /// The domain is ours and has no such address.
    UnknownUser,
    /// The domain is not ours.
    NotLocal,
    /// There is such an address, but every account behind it is disabled.
    Disabled,
    /// Aliases lead back to themselves, or through more of them than the limits allow.
    AliasLoop,
}

/// Mail that goes on to addresses elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The accounts that get it as well, each once.
    pub targets: Vec<Target>,
    /// Where it goes on to, at least one, each once.
    pub onward: Vec<Onward>,
}

impl Forwarded {
    /// Whether accounts alone send it on: then they could have it themselves.
    pub fn is_of_accounts(&self) -> bool {
        self.onward.iter().all(|onward| onward.account.is_some())
    }
}

/// An address elsewhere that mail goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// The address.
    pub to: EmailAddress,
    /// The address of ours that sends it on.
    pub by: EmailAddress,
    /// The account that sends it on; `None` for an alias.
    pub account: Option<Target>,
}

/// One account that mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The account.
    pub account: AccountId,
    /// Where it is.
    pub partition: PartitionId,
    /// Its canonical address.
    pub address: EmailAddress,
    /// Bytes of messages it may hold; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// The detail of the address that led here (RFC 5233 §4), nearest to the account first.
    pub detail: Option<String>,
}
