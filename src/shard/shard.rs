//! One shard's own things.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use account::Account;
use base::{AccountId, Budget, PartitionId, Secret, ShardId};
use router::Router;
use storage_engine::Engine;

use crate::inbound::{Lanes, Memory, SigningKeys};
use crate::login::Login;
use crate::metrics::Metrics;
use crate::people::People;
use crate::relay::Relay;
use crate::reporting::Reports;
use crate::{Overloaded, Settings, World};

/// The context of one core: everything on it is reached from here, and nothing here is shared
/// with another core.
pub struct Shard {
    /// Which shard this is.
    pub id: ShardId,
    /// The store's partitions that this shard owns.
    pub engine: Engine,
    /// The way to the other shards.
    pub router: Router<Shard>,
    /// Who is here, and where mail goes.
    pub people: People,
    /// Checks who logs in.
    pub login: Login,
    /// The memory for messages that come in, for all connections that begin here.
    pub content: Arc<Budget>,
    /// Mail that goes elsewhere.
    pub relay: Relay,
    /// Reports about mail.
    pub(crate) reports: Reports,
    /// What the operator's rules remember.
    pub(crate) memory: Memory,
    /// Makes and reads the addresses by which moderators decide, once their secret is known.
    pub(crate) tokens: OnceCell<dsn::Tokens>,
    /// The ways to the filters.
    pub(crate) filters: Lanes,
    /// Keys that signed mail last.
    pub(crate) signing: SigningKeys,
    /// Time, chance, the network and the blocking pool.
    pub world: Rc<dyn World>,
    /// What is counted here.
    pub metrics: Rc<Metrics>,
    /// Signs the return paths of mail that is sent on.
    pub(crate) srs_secret: RefCell<Option<Secret<[u8; 32]>>>,
    settings: RefCell<Arc<Settings>>,
    maildrops: RefCell<HashSet<AccountId>>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shard {
    /// Puts a shard together. `process_key` is fresh randomness of this start.
    pub fn new(
        id: ShardId,
        engine: Engine,
        router: Router<Self>,
        settings: Arc<Settings>,
        world: Rc<dyn World>,
        process_key: [u8; 32],
    ) -> Rc<Self> {
        let (half, _) = process_key.split_first_chunk::<16>().expect("it has 32 bytes");
        let memory = Memory::new(u128::from_le_bytes(*half));
        let relay = Relay::new(engine.clone(), &settings.outbound);
        let reports = Reports::new(&engine);
        let people = People::new(&engine, settings.default_domain.clone());
        Rc::new(Self {
            id,
            engine,
            router,
            people,
            login: Login::new(process_key),
            relay,
            reports,
            memory,
            tokens: OnceCell::new(),
            filters: Lanes::default(),
            signing: SigningKeys::default(),
            content: Budget::new(settings.content_bytes_max),
            world,
            metrics: Rc::new(Metrics::new(settings.slow)),
            srs_secret: RefCell::default(),
            settings: RefCell::new(settings),
            maildrops: RefCell::default(),
        })
    }

    /// The settings in force; connections keep those they began with.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts new settings in force for connections to come.
    pub fn reload(&self, settings: Arc<Settings>) {
        self.content.set_bytes_max(settings.content_bytes_max);
        self.metrics.configure(settings.slow);
        *self.settings.borrow_mut() = settings;
    }

    /// Whether this shard owns a partition.
    pub fn owns(&self, partition: PartitionId) -> bool {
        self.engine.owns(partition.0)
    }

    /// An account of a partition that this shard owns.
    pub fn account(&self, partition: PartitionId, id: AccountId, quota_bytes: Option<u64>) -> Account {
        Account::new(self.engine.clone(), partition, id, quota_bytes)
    }

    /// Takes the maildrop lock of an account (RFC 1939 §8); `None` while another session has it.
    pub fn lock_maildrop(self: &Rc<Self>, account: AccountId) -> Option<MaildropLock> {
        let is_free = self.maildrops.borrow_mut().insert(account);
        is_free.then(|| MaildropLock { shard: Rc::clone(self), account })
    }

    /// Reads the server's lasting secrets from the directory and hands them to every shard. Called once,
    /// at the start, on the shard that owns the directory.
    pub async fn share_secret(&self) -> Result<(), directory::Error> {
        let Some(directory) = self.people.own() else { return Ok(()) };
        let mut fresh = [0; 32];
        self.world.random(&mut fresh);
        let secret = directory.secret("scram", Secret::new(fresh)).await?;
        self.world.random(&mut fresh);
        let srs = directory.secret("srs", Secret::new(fresh)).await?;
        for id in 0..self.router.shards() {
            let (scram, srs) = (secret.clone(), srs.clone());
            let set = self.router.on(ShardId(id), move |there| async move {
                there.login.set_secret(scram);
                there.srs_secret.replace(Some(srs));
            });
            // A shard that is gone has no logins to answer.
            let _gone = set.await;
        }
        Ok(())
    }

    /// Runs slow work on the blocking pool and brings its value back.
    pub async fn off_shard<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        crate::world::off_shard(&*self.world, work).await
    }
}

/// Holds an account's maildrop for one POP3 session; let go by being dropped.
#[derive(Debug)]
pub struct MaildropLock {
    shard: Rc<Shard>,
    account: AccountId,
}

impl Drop for MaildropLock {
    fn drop(&mut self) {
        self.shard.maildrops.borrow_mut().remove(&self.account);
    }
}
