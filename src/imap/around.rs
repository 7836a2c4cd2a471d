//! What a command needs that is not in its account.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;

use base::Charge;

use crate::handlers::UrlBytes;
use crate::url::Url;

/// A future that stays on its shard.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Chance, names, and the accounts of others: whoever puts the server together has them.
pub trait Around {
    /// Fills `bytes` from the system's generator.
    fn random(&self, bytes: &mut [u8]);

    /// Nothing yet of the memory that connections share.
    fn charge(&self) -> Charge;

    /// Whether the name that somebody would log in by is the account's at hand.
    fn is_own<'a>(&'a self, user: &'a str) -> Waiting<'a, Result<bool, account::Error>>;

    /// What a URL means, for whoever has the account at hand; `None` when it means nothing or is not for them
    /// (RFC 4467 §3).
    fn fetch<'a>(&'a self, url: &'a Url) -> Waiting<'a, Result<Option<UrlBytes>, account::Error>>;
}
