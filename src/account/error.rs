//! What can go wrong with an account, in words that every protocol maps to its own codes.

use core::fmt;

/// Why an account refused. Each protocol has one exhaustive match over this in its `reply.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The mailbox or message is not there (any more).
    NotFound,
    /// A mailbox of that name is there already.
    Exists,
    /// The operation is not allowed on this object (INBOX cannot be deleted).
    Denied,
    /// The account has no room for it.
    OverQuota,
    /// A bound of the account was reached: number of mailboxes, subscriptions, keywords or UIDs.
    LimitReached,
    /// The mailbox name is not one we can keep.
    InvalidName(crate::NameError),
    /// The message is larger than the store takes.
    TooLarge,
    /// The disk is full; reading goes on.
    NoSpace,
    /// The store cannot take it now; a later try may succeed.
    Unavailable,
    /// Stored bytes do not match their checksum. Nothing was changed.
    Corrupt,
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace | Self::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such mailbox or message"),
            Self::Exists => f.write_str("a mailbox of that name exists"),
            Self::Denied => f.write_str("that is not allowed on this mailbox"),
            Self::OverQuota => f.write_str("the account is over its quota"),
            Self::LimitReached => f.write_str("a limit of the account was reached"),
            Self::InvalidName(why) => why.fmt(f),
            Self::TooLarge => f.write_str("the message is too large"),
            Self::NoSpace => f.write_str("the disk that holds the store is full"),
            Self::Unavailable => f.write_str("the store cannot take it now, try again later"),
            Self::Corrupt => f.write_str("stored data is damaged"),
        }
    }
}

impl core::error::Error for Error {}

impl From<storage_engine::Error> for Error {
    fn from(error: storage_engine::Error) -> Self {
        use storage_engine::Error as Store;
        match error {
            Store::TooLarge => Self::TooLarge,
            Store::Full => Self::NoSpace,
            Store::Corrupt { .. } => Self::Corrupt,
            _ => Self::Unavailable,
        }
    }
}
