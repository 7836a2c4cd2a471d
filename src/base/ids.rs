//! Typed ids. A bare integer never names a thing.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One account (a person's or a shared mailbox's data), for ever. 0 is the directory itself.
    AccountId(u64)
}
id! {
    /// The unit of ownership, replication, backup and move; 0 up to the store's partition count.
    PartitionId(u16)
}
id! {
    /// One executor, pinned to one core; 0 up to the number of shards of this start.
    ShardId(u16)
}
id! {
    /// A mailbox within its account, never reused.
    MailboxId(u32)
}
id! {
    /// A message's number within one mailbox (RFC 9051 §2.3.1.1), 1 and up, strictly ascending.
    Uid(u32)
}
id! {
    /// A mailbox's incarnation (RFC 9051 §2.3.1.1), never 0.
    UidValidity(u32)
}
id! {
    /// A message within its account, the same in every mailbox that holds it (RFC 8474 EMAILID).
    MessageId(u64)
}
id! {
    /// The account's count of changes: IMAP's MODSEQ (RFC 7162 §3.1), JMAP's state, a sync token.
    /// The first change is 1; 0 is "before everything".
    ChangeNumber(u64)
}

impl ChangeNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Uid {
    /// The number after this one, or `None` when a mailbox has used up all of them.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}
