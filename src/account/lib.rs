//! Everything one account owns: mailboxes, messages, flags and keywords, change numbers with their
//! tombstones, and quota. All protocols share this model; it knows none of them.
//!
//! ```text
//! Account (a cheap handle on the shard that owns its partition)
//!   ├─ mailboxes: name, UIDVALIDITY, special use, counters          values of the account
//!   ├─ access keys: one a mailbox, behind URLs for others           values of the account
//!   ├─ messages: (mailbox, UID) -> flags, dates, size, body         rows, 80 bytes each
//!   └─ changes: "what changed after N", deletions included          the engine's change list
//! ```
//!
//! The layer keeps no state of its own: every question is answered from the engine's index, every
//! change is one transaction, and what a transaction needs to know it reads inside that
//! transaction, so two sessions at work on one message cannot lose each other's flags.

mod access_keys;
mod account;
mod deliver;
mod error;
mod filing;
mod flags;
mod keywords;
mod limits;
mod mailbox;
mod mailboxes;
mod message;
mod messages;
mod name;
mod record;
mod writes;

pub use account::{Account, Usage};
pub use deliver::{Delivered, Recipient, deliver};
pub use error::Error;
pub use flags::{FlagChange, FlagMode, Flags, Keywords};
pub use limits::{
    KEYWORD_BYTES_MAX, KEYWORDS_MAX, MAILBOX_DEPTH_MAX, MAILBOX_NAME_BYTES_MAX, MAILBOXES_MAX,
    ROWS_PER_TRANSACTION_MAX, SUBSCRIPTIONS_MAX,
};
pub use mailbox::{Mailbox, SpecialUse, Status};
pub use message::{Body, Content, Message, MessageChange, NewMessage};
pub use messages::Summaries;
pub use name::{MailboxName, NameError};
pub use writes::{Appended, Copied, Stored};
