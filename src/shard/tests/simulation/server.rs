//! A server whose shards are tasks: started, connected to, crashed, and started again with another
//! number of shards, on one simulated disk.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use account::Account;
use base::{ShardId, Timestamp};
use directory::{AccountEntry, AliasEntry, EmailAddress, NewAccount};
use router::{Inbox, Router};
use shard::{LocalFuture, Overloaded, Shard, World};
use sim::{Executor, Group};
use storage_engine::{Disk, Engine, Error, Options, Simulated, StoreInfo, prepare};

use crate::alone::without_network;
use crate::connection::{Door, Line, accept};
use crate::password::credential;
use crate::settings::settings;
use crate::wire::Wire;

/// As `runtime` does after a checkpoint that failed.
const CHECKPOINT_PAUSE_MS: u64 = 10_000;

/// What the seed decided about the store. Segments and batches are small, so that there are many.
pub(crate) fn options(executor: &Executor) -> Options {
    Options {
        partitions: 16,
        segment_bytes: 64 << 10 << executor.below(3),
        batch_bytes_max: 4 << 10 << executor.below(4),
        fresh_bytes_max: 2 << 10 << executor.below(6),
        in_flight_max: 1 + executor.below(4) as usize,
        recent_bytes_max: 4 << 10 << executor.below(6),
    }
}

/// The world of a shard: time and chance are the executor's, slow work is a task.
struct Here {
    executor: Executor,
    group: Group,
}

impl World for Here {
    without_network!();

    fn now(&self) -> Timestamp {
        self.executor.clock().now()
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.executor.below(256) as u8);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        Box::pin(off_shard(self.executor.clone(), self.group, work))
    }
}

/// Has `work` done in a task of its own, and waits for it.
async fn off_shard<T: 'static>(
    executor: Executor,
    group: Group,
    work: impl FnOnce() -> T + 'static,
) -> Result<T, Overloaded> {
    let (filling, answer) = router::answer_slot();
    executor.spawn(group, async move { filling.fill(work()) });
    answer.await.map_err(|_| Overloaded)
}

/// A process that runs.
struct Process {
    groups: Vec<Group>,
    shards: Vec<Rc<Shard>>,
    drain: Arc<AtomicBool>,
    wires: RefCell<Vec<Arc<Wire>>>,
    has_failed: Rc<Cell<bool>>,
    /// Checkpoints under way.
    checkpoints: Rc<Cell<u32>>,
    _store: StoreInfo,
}

/// The server, whether it runs or not.
pub(crate) struct Server {
    pub(crate) executor: Executor,
    options: Options,
    disk: RefCell<Simulated>,
    process: RefCell<Option<Rc<Process>>>,
    /// Clients may connect.
    pub(crate) is_open: Cell<bool>,
    /// Each turn of an engine takes up to so many milliseconds.
    pub(crate) slowness_ms: Rc<Cell<u64>>,
    /// Sessions may be closed by the server: the clock was set, or it stops.
    pub(crate) may_close: Cell<bool>,
    /// The store may refuse: in the life of this process the disk was full, or there were no descriptors.
    pub(crate) may_refuse: Cell<bool>,
}

impl Server {
    pub(crate) fn new(executor: &Executor, disk: Simulated) -> Rc<Self> {
        Rc::new(Self {
            executor: executor.clone(),
            options: options(executor),
            disk: RefCell::new(disk),
            process: RefCell::new(None),
            is_open: Cell::new(false),
            slowness_ms: Rc::default(),
            may_close: Cell::new(false),
            may_refuse: Cell::new(false),
        })
    }

    pub(crate) fn disk(&self) -> Simulated {
        self.disk.borrow().clone()
    }

    /// Starts as `runtime` does, but for the doors: they open with `is_open`.
    pub(crate) fn start(&self, count: u16) -> Result<(), Error> {
        let mut groups = Vec::new();
        let started = self.try_to_start(count, &mut groups);
        if started.is_err() {
            for group in &groups {
                self.executor.end(*group);
            }
        }
        *self.process.borrow_mut() = Some(Rc::new(Process { groups, ..started? }));
        Ok(())
    }

    fn try_to_start(&self, count: u16, groups: &mut Vec<Group>) -> Result<Process, Error> {
        let place = Disk::simulated(&self.disk());
        let store = prepare(&place, &self.options, count)?;
        let (router, inboxes) = Router::with_inbox(count, 1 + self.executor.below(8) as usize);
        let mut process = Process {
            groups: Vec::new(),
            shards: Vec::new(),
            drain: Arc::default(),
            wires: RefCell::default(),
            has_failed: Rc::default(),
            checkpoints: Rc::default(),
            _store: store,
        };
        for (id, inbox) in (0..count).zip(inboxes) {
            let engine = Engine::open(&place, &self.options, id, count)?;
            let group = self.executor.group();
            groups.push(group);
            let world = Rc::new(Here { executor: self.executor.clone(), group });
            let settings = Arc::new(settings(64 << 20, true));
            let shard =
                Shard::new(ShardId(id), engine.clone(), router.clone(), settings, world, [id as u8; 32]);
            let pump = Pump {
                executor: self.executor.clone(),
                group,
                engine,
                slowness_ms: Rc::clone(&self.slowness_ms),
                has_failed: Rc::clone(&process.has_failed),
                checkpoints: Rc::clone(&process.checkpoints),
            };
            self.executor.spawn(group, pump.run());
            self.executor.spawn(group, take_jobs(self.executor.clone(), group, inbox, Rc::clone(&shard)));
            process.shards.push(shard);
        }
        let (first, shard) = (groups[0], Rc::clone(&process.shards[0]));
        self.executor.spawn(first, async move {
            // A disk that is full has no room for the secret of SCRAM; the next start tries again.
            let _unshared = shard.share_secret().await;
        });
        self.may_close.set(false);
        Ok(process)
    }

    fn process(&self) -> Option<Rc<Process>> {
        self.process.borrow().clone()
    }

    /// An engine was poisoned: the process is to end.
    pub(crate) fn has_failed(&self) -> bool {
        self.process().is_some_and(|process| process.has_failed.get())
    }

    /// Why engines were poisoned.
    pub(crate) fn failures(&self) -> Vec<Error> {
        let shards = self.process().map(|process| process.shards.clone()).unwrap_or_default();
        shards.iter().filter_map(|shard| shard.engine.failed()).collect()
    }

    /// Nothing is under way on any engine.
    pub(crate) fn is_idle(&self) -> bool {
        self.process().is_none_or(|process| {
            process.shards.iter().all(|shard| shard.engine.is_idle()) && process.checkpoints.get() == 0
        })
    }

    /// The process ends where it is. What comes after it finds `disk`.
    pub(crate) fn end(&self, disk: Simulated) {
        self.is_open.set(false);
        let Some(process) = self.process.take() else { return };
        for group in &process.groups {
            self.executor.end(*group);
        }
        for wire in process.wires.take() {
            wire.cut_off(self.executor.one_in(2));
        }
        drop(process);
        *self.disk.borrow_mut() = disk;
    }

    /// Without a process: the disk that the next start finds.
    pub(crate) fn put(&self, disk: Simulated) {
        *self.disk.borrow_mut() = disk;
    }

    /// Closes what connections are left; their handlers go on.
    pub(crate) fn hang_up(&self) {
        let wires = self.process().map(|process| process.wires.take()).unwrap_or_default();
        for wire in wires {
            wire.cut_off(false);
        }
    }

    /// The disk is full, or is not any more.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.disk().set_full(is_full);
        self.may_refuse.set(self.may_refuse.get() || is_full);
    }

    /// The process has no descriptors left, or has some again.
    pub(crate) fn refuse_opens(&self, is_refused: bool) {
        self.disk().refuse_opens(is_refused);
        self.may_refuse.set(self.may_refuse.get() || is_refused);
    }

    /// Whether a connection has to go on: its process runs, and has no reason to close it.
    pub(crate) fn must_keep(&self, wire: &Arc<Wire>) -> bool {
        self.is_open.get() && !self.may_close.get() && self.knows(wire)
    }

    fn knows(&self, wire: &Arc<Wire>) -> bool {
        self.process()
            .is_some_and(|process| process.wires.borrow().iter().any(|known| Arc::ptr_eq(known, wire)))
    }

    /// Tells every session that the process is about to stop.
    pub(crate) fn drain(&self) {
        self.is_open.set(false);
        self.may_close.set(true);
        let Some(process) = self.process() else { return };
        process.drain.store(true, Ordering::Relaxed);
        // Sending nothing wakes the server's end.
        process.wires.borrow().iter().for_each(|wire| wire.send(b""));
    }

    /// Connects to any shard; none while the doors are shut.
    pub(crate) fn connect(&self, door: Door) -> Option<Arc<Wire>> {
        let process = self.process().filter(|_| self.is_open.get())?;
        let at = self.executor.below(process.shards.len() as u64) as usize;
        let wire = Arc::new(Wire::default());
        process.wires.borrow_mut().push(Arc::clone(&wire));
        let line = Line { wire: Arc::clone(&wire), drain: Arc::clone(&process.drain) };
        let shard = Rc::clone(&process.shards[at]);
        self.executor.spawn(process.groups[at], async move { accept(shard, door, line) });
        Some(wire)
    }

    /// An account, on the shard that owns it.
    pub(crate) fn account(&self, entry: &AccountEntry) -> Account {
        let process = self.process().expect("the server runs");
        let shard = process.shards.iter().find(|shard| shard.owns(entry.partition));
        shard.expect("somebody owns it").account(entry.partition, entry.id, entry.quota_bytes)
    }

    /// The accounts in the directory.
    pub(crate) fn entries(&self) -> Vec<AccountEntry> {
        let process = self.process().expect("the server runs");
        process.shards[0].people.own().expect("shard 0 owns partition 0").accounts(None, usize::MAX)
    }

    /// Fills a new store: the domain, accounts with their quotas, and an alias for some of them.
    pub(crate) fn populate(
        &self,
        names: &[String],
        quota: impl Fn(usize) -> Option<u64> + 'static,
        alias: (String, Vec<String>),
    ) -> impl Future<Output = ()> + 'static {
        let shards = self.process().expect("the server runs").shards.clone();
        let now = self.executor.clock().now();
        let names = names.to_vec();
        async move {
            let directory = shards[0].people.own().expect("shard 0 owns partition 0").clone();
            directory.add_domain("example.org", now).await.expect("the directory is empty");
            for (index, name) in names.iter().enumerate() {
                let new = NewAccount {
                    address: email(name),
                    display_name: String::new(),
                    credential: Some(credential()),
                    quota_bytes: quota(index),
                    created: now,
                };
                let entry = directory.create_account(new).await.expect("the account is new");
                let owner = shards.iter().find(|shard| shard.owns(entry.partition)).expect("one owns it");
                let account = owner.account(entry.partition, entry.id, entry.quota_bytes);
                account.provision(now).await.expect("the account is empty");
            }
            let targets: Vec<EmailAddress> = alias.1.iter().map(|name| email(name)).collect();
            directory
                .put_alias(AliasEntry { address: email(&alias.0), targets })
                .await
                .expect("the alias is new");
            shard::People::changed(&shards[0]).await;
        }
    }
}

async fn take_jobs(executor: Executor, group: Group, inbox: Inbox<Shard>, shard: Rc<Shard>) {
    loop {
        let job = inbox.next().await;
        executor.spawn(group, job.run(Rc::clone(&shard)));
    }
}

/// Drives an engine as `runtime`'s pump does.
#[derive(Clone)]
struct Pump {
    executor: Executor,
    group: Group,
    engine: Engine,
    slowness_ms: Rc<Cell<u64>>,
    has_failed: Rc<Cell<bool>>,
    checkpoints: Rc<Cell<u32>>,
}

impl Pump {
    async fn run(self) {
        let is_checkpointing = Rc::new(Cell::new(false));
        loop {
            self.engine.turn();
            // The run ends the process after this step, unless it is only looking at what is stored.
            self.has_failed.set(self.has_failed.get() || self.engine.failed().is_some());
            if self.engine.checkpoint_due() && !is_checkpointing.replace(true) {
                self.executor.spawn(self.group, self.clone().checkpoint(Rc::clone(&is_checkpointing)));
            }
            if self.engine.is_idle() {
                self.work_to_submit().await;
            }
            match self.slowness_ms.get() {
                0 => self.executor.pass().await,
                most => self.executor.sleep(self.executor.below(most)).await,
            }
        }
    }

    async fn work_to_submit(&self) {
        let mut has_asked = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_asked, true) {
                return Poll::Ready(());
            }
            self.engine.set_waker(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn checkpoint(self, is_checkpointing: Rc<Cell<bool>>) {
        if let Some(job) = self.engine.checkpoint() {
            self.checkpoints.set(self.checkpoints.get() + 1);
            self.executor.pass().await;
            let done = off_shard(self.executor.clone(), self.group, move || job.run()).await;
            let done = done.expect("the task goes on");
            let has_failed = done.error().is_some();
            self.engine.install(done);
            self.checkpoints.set(self.checkpoints.get() - 1);
            if has_failed {
                self.executor.sleep(CHECKPOINT_PAUSE_MS).await;
            }
        }
        is_checkpointing.set(false);
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@example.org")
}

fn email(name: &str) -> EmailAddress {
    EmailAddress::parse(&address(name)).expect("a good address")
}
