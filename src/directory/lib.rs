//! Accounts, domains, aliases and credentials: who is here, and where mail to an address goes.
//!
//! Layer L2. The directory is account 0 of partition 0, kept as values of the storage engine, so it
//! is replicated, backed up and restored like any account. The shard that owns partition 0 holds the
//! one [`Directory`]; others ask it and remember answers in a [`Cache`].
//!
//! - `address`: what an address is, and when two are the same;
//! - `entry`: the values that go in and out; `record`: how they are stored;
//! - `directory`: look-ups and domains; `accounts`, `aliases`, `dkim`: their lists and changes;
//! - `view`: the same look-ups over what is durable and over what is on its way;
//! - `resolve`: from a recipient to accounts; `delegates`: who may send under an address.

mod accounts;
mod address;
mod aliases;
mod bounded;
mod cache;
mod delegates;
mod directory;
mod dkim;
mod entry;
mod error;
mod forward;
pub mod limits;
mod record;
mod resolve;
mod view;

pub use address::{AddressError, EmailAddress};
pub use bounded::BoundedMap;
pub use cache::Cache;
pub use delegates::{Delegate, SendRight, SenderUse, SentCopy};
pub use directory::Directory;
pub use dkim::{DkimAlgorithm, DkimKey, DkimState};
pub use entry::{
    AccountEntry, AliasEntry, Credential, DomainEntry, Forwarded, Forwarding, NewAccount, Onward, Resolution,
    ScramKeys, Target,
};
pub use error::Error;

#[cfg(test)]
mod tests;
