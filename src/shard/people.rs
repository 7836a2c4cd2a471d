//! Who is here: the directory, asked on the shard that owns it, with a bounded cache on the others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use base::AccountId;
use directory::{AccountEntry, Cache, Directory, DkimKey, EmailAddress, Resolution, SenderUse, Target};
use router::Gone;
use storage_engine::Engine;

use crate::forwarding::reversed;
use crate::limits::DIRECTORY_PARTITION;
use crate::{Shard, Wait};

/// A shard's view of the directory.
pub struct People {
    own: Option<Directory>,
    cache: RefCell<Cache>,
    default_domain: Option<String>,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").field("is_owner", &self.own.is_some()).finish_non_exhaustive()
    }
}

impl People {
    pub(crate) fn new(engine: &Engine, default_domain: Option<String>) -> Self {
        let own = engine.owns(DIRECTORY_PARTITION.0).then(|| Directory::new(engine.clone()));
        Self { own, cache: RefCell::default(), default_domain }
    }

    /// The directory itself, on the one shard that owns it.
    pub const fn own(&self) -> Option<&Directory> {
        self.own.as_ref()
    }

    /// Where mail to an address goes. A domain of ours that has no postmaster has the configured one
    /// (RFC 5321 §4.5.1).
    pub async fn resolve(&self, shard: &Shard, address: &EmailAddress) -> Result<Resolution, Gone> {
        if let Some(sender) = reversed(shard, address) {
            return Ok(sender);
        }
        let found = self.look_up(shard, address).await?;
        if found != Resolution::UnknownUser || !address.local().eq_ignore_ascii_case("postmaster") {
            return Ok(found);
        }
        let Ok(postmaster) = EmailAddress::parse(&shard.settings().mx.postmaster) else { return Ok(found) };
        match self.look_up(shard, &postmaster).await? {
            local @ (Resolution::Local(_) | Resolution::Forwarded(_)) => Ok(local),
            _ => Ok(found),
        }
    }

    /// Whether a domain is ours.
    pub(crate) async fn is_ours(&self, shard: &Shard, domain: &str) -> Result<bool, Gone> {
        // What an address comes to is remembered, and none of a domain that is not ours comes to anything.
        let Ok(address) = EmailAddress::parse(&format!("postmaster@{domain}")) else { return Ok(false) };
        Ok(self.look_up(shard, &address).await? != Resolution::NotLocal)
    }

    /// The accounts behind an address, wherever their mail goes on to.
    pub(crate) async fn behind(&self, shard: &Shard, address: &EmailAddress) -> Result<Vec<Target>, Gone> {
        match self.resolve(shard, address).await? {
            Resolution::Local(_) | Resolution::Forwarded(_) | Resolution::AliasLoop => {}
            _ => return Ok(Vec::new()),
        }
        let asked = address.clone();
        self.ask(shard, move |directory: &Directory| directory.behind(&asked)).await
    }

    async fn look_up(&self, shard: &Shard, address: &EmailAddress) -> Result<Resolution, Gone> {
        self.catch_up();
        if let Some(known) = self.cache.borrow().resolution(address) {
            return Ok(known.clone());
        }
        let asked = address.clone();
        let look = move |directory: &Directory| (directory.generation(), directory.resolve(&asked));
        let (generation, found) = self.ask(shard, look).await?;
        self.cache.borrow_mut().put_resolution(generation, address, found.clone());
        Ok(found)
    }

    /// What an account may do with an address as a sender. The configured postmaster may use the addresses of
    /// postmasters that there are not, whose mail they get.
    pub(crate) async fn sender_use(
        &self,
        shard: &Shard,
        account: AccountId,
        address: &EmailAddress,
    ) -> Result<SenderUse, Gone> {
        let found = self.look_up_use(shard, account, address).await?;
        if found != SenderUse::Denied || !address.local().eq_ignore_ascii_case("postmaster") {
            return Ok(found);
        }
        let Ok(postmaster) = EmailAddress::parse(&shard.settings().mx.postmaster) else { return Ok(found) };
        match self.look_up(shard, address).await? {
            Resolution::UnknownUser => self.look_up_use(shard, account, &postmaster).await,
            _ => Ok(found),
        }
    }

    async fn look_up_use(
        &self,
        shard: &Shard,
        account: AccountId,
        address: &EmailAddress,
    ) -> Result<SenderUse, Gone> {
        self.catch_up();
        if let Some(known) = self.cache.borrow().sender_use(account, address) {
            return Ok(known.clone());
        }
        let asked = address.clone();
        let look = move |directory: &Directory| {
            (
                directory.generation(),
                directory.sender_use(account, &asked),
                directory.domain(asked.domain()).is_some(),
            )
        };
        let (generation, found, is_ours) = self.ask(shard, look).await?;
        let mut cache = self.cache.borrow_mut();
        if is_ours {
            cache.put_sender_use(generation, account, address, found.clone());
        } else {
            // All its addresses have the same answer.
            cache.put_resolution(generation, address, Resolution::NotLocal);
        }
        Ok(found)
    }

    /// The account that a login name means.
    pub async fn by_login(&self, shard: &Shard, login: &str) -> Result<Option<Arc<AccountEntry>>, Gone> {
        self.catch_up();
        if let Some(known) = self.cache.borrow().login(login) {
            return Ok(Some(Arc::clone(known)));
        }
        let (name, domain) = (login.to_owned(), self.default_domain.clone());
        let look = move |directory: &Directory| {
            (directory.generation(), directory.account_by_login(&name, domain.as_deref()))
        };
        let (generation, found) = self.ask(shard, look).await?;
        let found = found.map(Arc::new);
        if let Some(found) = &found {
            self.cache.borrow_mut().put_login(generation, login, Arc::clone(found));
        }
        Ok(found)
    }

    /// The keys that a name's mail is signed with ([`Directory::signing_keys`]), and the directory's change number
    /// when it was asked.
    pub(crate) async fn signing_keys(
        &self,
        shard: &Shard,
        name: &str,
    ) -> Result<(u64, Option<(String, Vec<DkimKey>)>), Gone> {
        let asked = name.to_owned();
        let look = move |directory: &Directory| (directory.generation(), directory.signing_keys(&asked));
        let (generation, found) = self.ask(shard, look).await?;
        self.cache.borrow_mut().advance(generation);
        Ok((generation, found))
    }

    /// On the owner's shard the directory itself says when the cache is old; the others are told
    /// by [`People::changed`].
    fn catch_up(&self) {
        if let Some(directory) = &self.own {
            self.cache.borrow_mut().advance(directory.generation());
        }
    }

    /// The directory, which this shard owns, has changed: forget what was remembered, on every shard, before the change
    /// is acknowledged to whoever asked for it.
    pub async fn changed(shard: &Rc<Shard>) {
        let Some(generation) = shard.people.own.as_ref().map(Directory::generation) else { return };
        for id in 0..shard.router.shards() {
            let cleared = shard.router.on(base::ShardId(id), move |there| async move {
                there.people.cache.borrow_mut().advance(generation);
            });
            // A shard that is gone remembers nothing.
            let _gone = cleared.await;
        }
    }

    /// The directory's change number, as far as this shard has heard of it: while it stays, so does what
    /// was looked up.
    pub fn generation(&self) -> u64 {
        self.catch_up();
        self.cache.borrow().generation()
    }

    /// Answers that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.cache.borrow().len()
    }

    async fn ask<T: Send + 'static>(
        &self,
        shard: &Shard,
        question: impl FnOnce(&Directory) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        if let Some(directory) = &self.own {
            return Ok(question(directory));
        }
        let owner = shard.router.partition_shard(DIRECTORY_PARTITION);
        let work = move |there: Rc<Shard>| async move { there.people.own.as_ref().map(question) };
        let _waiting = Wait::OtherShard.mark();
        shard.router.on(owner, work).await?.ok_or(Gone)
    }
}
