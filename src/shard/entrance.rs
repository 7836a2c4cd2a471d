//! An account that somebody has logged in to, for as long as they may use it.

use std::rc::Rc;
use std::sync::Arc;

use account::Account;
use auth::Identity;
use directory::AccountEntry;

use crate::Shard;

/// The account behind a session, as the directory has it now.
#[derive(Debug)]
pub(crate) struct Entrance {
    account: Account,
    /// The directory's when the account was looked up.
    generation: u64,
}

/// Why there is no account behind a session.
#[derive(Debug)]
pub(crate) enum Barred {
    /// It is gone, switched off, or another one by now.
    Closed,
    /// It cannot be opened now.
    Failed(account::Error),
}

impl Entrance {
    /// Looks the account up on the shard that owns it, and gives it the mailboxes that everybody has:
    /// its entry in the directory was made before them.
    pub(crate) async fn open(shard: &Rc<Shard>, identity: &Identity) -> Result<Self, Barred> {
        let generation = shard.people.generation();
        let entry = entry(shard, identity).await?;
        let account = shard.account(identity.partition, identity.account, entry.quota_bytes);
        account.provision(shard.world.now()).await.map_err(Barred::Failed)?;
        Ok(Self { account, generation })
    }

    /// The account as it is.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// The account, looked up again if the directory has changed. Call it before each request: somebody
    /// who was switched off does nothing more, and another quota counts at once.
    pub(crate) async fn account_now(
        &mut self,
        shard: &Rc<Shard>,
        identity: &Identity,
    ) -> Result<&Account, Barred> {
        let generation = shard.people.generation();
        if generation != self.generation {
            let entry = entry(shard, identity).await?;
            self.account = shard.account(identity.partition, identity.account, entry.quota_bytes);
            self.generation = generation;
        }
        Ok(&self.account)
    }
}

/// What the directory knows of somebody who may use their account.
pub(crate) async fn entry(shard: &Shard, identity: &Identity) -> Result<Arc<AccountEntry>, Barred> {
    let found = shard.people.by_login(shard, &identity.address).await;
    let found = found.map_err(|_| Barred::Failed(account::Error::Unavailable))?;
    // The address may be another account's by now.
    let entry = found.filter(|entry| entry.enabled && entry.id == identity.account);
    entry.ok_or(Barred::Closed)
}
