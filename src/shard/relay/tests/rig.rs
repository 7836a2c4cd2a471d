//! One shard with its pump, and the hosts that it sends to.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{Future, ready};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{ShardId, Timestamp};
use queue::{Body, Destination, Envelope, Moderation, Origin, QUEUE_ACCOUNT, Recipient, Terms};
use router::{Inbox, Router};
use sim::{Executor, Group, Progress};
use smtp::{Extensions, Mail, Mode, Outcome, Sent, ServerReply};
use storage_engine::{Disk, Engine, Options, RowBody, Simulated, StoreInfo, prepare};
use transport::Fault;

use super::SENDERS;
use crate::limits::REMEMBERED_ACCOUNT;
use crate::relay::{Outbound, Outgoing, accept};
use crate::{Carried, Carrier, Hop, LocalFuture, Overloaded, OwnPolicies, Settings, Shard, Unopened, World};

/// Steps after which something waits for ever.
const STEPS_MAX: u64 = 10_000_000;

/// Other mail systems, by their addresses.
#[derive(Default)]
pub(crate) struct Hosts {
    down: RefCell<HashSet<IpAddr>>,
    /// Messages that were taken: by whom, and the content.
    taken: RefCell<Vec<(IpAddr, String)>>,
    /// Connections that were made.
    pub(crate) connections: Cell<u32>,
    /// Those up to this one have been closed by the other side.
    closed: Cell<u32>,
}

impl Hosts {
    pub(crate) fn set_down(&self, host: &str, is_down: bool) {
        let host = host.parse().expect("an address");
        let mut down = self.down.borrow_mut();
        if is_down {
            down.insert(host)
        } else {
            down.remove(&host)
        };
    }

    /// Closes all connections, unnoticed.
    pub(crate) fn close_all(&self) {
        self.closed.set(self.connections.get());
    }

    fn open(self: &Rc<Self>, host: IpAddr) -> Result<Box<dyn Carrier>, Unopened> {
        if self.down.borrow().contains(&host) {
            return Err(Unopened::Network("nobody is there".to_owned()));
        }
        self.connections.set(self.connections.get() + 1);
        let line = Line {
            hosts: Rc::clone(self),
            host,
            number: self.connections.get(),
            offers: Extensions::default(),
        };
        Ok(Box::new(line))
    }
}

/// A connection to one of them, which takes everything.
struct Line {
    hosts: Rc<Hosts>,
    host: IpAddr,
    number: u32,
    offers: Extensions,
}

impl Carrier for Line {
    fn extensions(&self) -> &Extensions {
        &self.offers
    }

    fn tls(&self) -> &'static str {
        ""
    }

    fn lacks(&self) -> Option<Fault> {
        None
    }

    fn send(self: Box<Self>, mail: Mail) -> LocalFuture<Carried> {
        if self.number <= self.hosts.closed.get() {
            let why = Unopened::Network("it was closed".to_owned());
            return Box::pin(ready(Carried::Lost { why, is_in_doubt: false }));
        }
        let text = String::from_utf8_lossy(&mail.data).into_owned();
        self.hosts.taken.borrow_mut().push((self.host, text));
        let reply = ServerReply { code: 250, text: "2.0.0 taken".to_owned() };
        let sent = Sent { replies: vec![reply; mail.recipients.len()] };
        Box::pin(ready(Carried::Answered(sent, Some(self))))
    }

    fn quit(self: Box<Self>) {}
}

struct Here {
    executor: Executor,
    group: Group,
    hosts: Rc<Hosts>,
}

impl World for Here {
    fn spawn(&self, task: LocalFuture<()>) {
        self.executor.spawn(self.group, task);
    }

    fn spawn_aside(&self, task: LocalFuture<()>) {
        self.executor.spawn(self.group, task);
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn sleep_until(&self, moment: Timestamp) -> LocalFuture<()> {
        Box::pin(self.executor.until(moment))
    }

    fn open(&self, hop: Hop) -> LocalFuture<Result<Box<dyn Carrier>, Unopened>> {
        Box::pin(ready(self.hosts.open(hop.address.ip())))
    }

    fn now(&self) -> Timestamp {
        self.executor.clock().now()
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.executor.below(256) as u8);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        work();
        Box::pin(ready(Ok(())))
    }
}

/// The server and the world around it.
pub(crate) struct Rig {
    executor: Executor,
    group: Group,
    shard: Rc<Shard>,
    pub(crate) hosts: Rc<Hosts>,
    pub(crate) disk: Simulated,
    outbound: Outbound,
    _store: StoreInfo,
}

impl Rig {
    /// On an empty disk that never makes anybody wait.
    pub(crate) fn new(outbound: Outbound) -> Self {
        Self::of_seed(1, outbound)
    }

    /// The same; the seed decides the order of things.
    pub(crate) fn of_seed(seed: u64, outbound: Outbound) -> Self {
        Self::start(Executor::new(seed), Simulated::instant(), Rc::default(), outbound)
    }

    /// After a crash, on what is on the disk; the world has gone on.
    pub(crate) fn restarted(self) -> Self {
        let (executor, hosts, outbound) =
            (self.executor.clone(), Rc::clone(&self.hosts), self.outbound.clone());
        let disk = self.disk.crash();
        drop(self);
        Self::start(executor, disk, hosts, outbound)
    }

    fn start(executor: Executor, disk: Simulated, hosts: Rc<Hosts>, outbound: Outbound) -> Self {
        let place = Disk::simulated(&disk);
        let options = Options { partitions: 4, segment_bytes: 1 << 20, ..Options::default() };
        let store = prepare(&place, &options, 1).expect("the disk is good");
        let engine = Engine::open(&place, &options, 0, 1).expect("it was prepared");
        let (router, mut inboxes) = Router::new(1);
        let group = executor.group();
        let world = Here { executor: executor.clone(), group, hosts: Rc::clone(&hosts) };
        let settings = Arc::new(settings(outbound.clone()));
        let shard = Shard::new(ShardId(0), engine, router, settings, Rc::new(world), [3; 32]);
        let inbox = inboxes.pop().expect("one shard has one");
        executor.spawn(group, take_jobs(executor.clone(), group, inbox, Rc::clone(&shard)));
        executor.spawn(group, crate::relay::run(Rc::clone(&shard)));
        let rig = Self { executor, group, shard, hosts, disk, outbound, _store: store };
        while !rig.shard.relay.is_loaded.get() {
            rig.step();
        }
        rig
    }

    pub(crate) fn shard(&self) -> Rc<Shard> {
        Rc::clone(&self.shard)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.executor.clock().now()
    }

    fn step(&self) {
        assert!(self.executor.steps() < STEPS_MAX, "it goes on for ever");
        assert_ne!(self.executor.step(), Progress::Stuck, "nothing will ever happen");
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        let end = self.now() + time;
        let executor = self.executor.clone();
        self.wait(async move { executor.until(end).await });
    }

    /// Begins a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(self.group, task);
    }

    /// Goes on until the future is ready.
    pub(crate) fn wait<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        self.executor.spawn(self.group, async move { *slot.borrow_mut() = Some(future.await) });
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            self.step();
        }
    }

    /// Begins to remember, as at a start.
    pub(crate) fn remember(&self) {
        let shard = self.shard();
        self.wait(async move { crate::remember::begin(&shard).await }).expect("the directory can be read");
    }

    /// Values that are written down of what is remembered.
    pub(crate) fn remembered(&self) -> usize {
        let engine = &self.shard.engine;
        let values = (0..engine.partitions())
            .map(|partition| engine.values(partition, REMEMBERED_ACCOUNT, &[], None, usize::MAX).len());
        values.sum()
    }

    /// Takes all the room that the disk has.
    pub(crate) fn fill(&self) {
        self.disk.set_full(true);
        for bytes in [64 << 10, 1 << 10, 1] {
            for number in 0_u32.. {
                let mut transaction = self.shard.engine.transaction(1);
                let key = [&number.to_le_bytes()[..], &[bytes as u8]].concat();
                transaction.put_value(u64::MAX - 99, &key, &vec![7; bytes]);
                if self.wait(transaction.commit()).is_err() {
                    break;
                }
            }
        }
    }

    /// Writes over the envelopes of all that waits.
    pub(crate) fn spoil(&self) {
        const WAITING: u32 = 1;
        let engine = &self.shard.engine;
        let mut spoiled = 0;
        for partition in 0..engine.partitions() {
            let mut rows = Vec::new();
            engine.rows(partition, QUEUE_ACCOUNT, WAITING, 0, 100, &mut rows);
            for row in rows {
                let mut transaction = engine.transaction(partition);
                let body = transaction.add_body(vec![0; 99], Arc::new(vec![0; 99]));
                transaction.put_row(QUEUE_ACCOUNT, WAITING, row.item, RowBody::New(body), row.data);
                self.wait(transaction.commit()).expect("the store takes it");
                spoiled += 1;
            }
        }
        assert!(spoiled > 0, "nothing waits");
    }

    /// Entries that wait, those that cannot be read among them.
    pub(crate) fn waiting(&self) -> usize {
        self.shard.relay.store.len()
    }

    /// Queues a message for somebody at a host, from somebody at another.
    pub(crate) fn queue(&self, host: &str, terms: Terms) {
        self.take(host, terms, None);
    }

    /// The same, and it waits until somebody has decided. Gives its id.
    pub(crate) fn queue_moderated(&self, host: &str) -> u64 {
        let by = Moderation { by: Vec::new(), tells_sender: true };
        self.take(host, Terms::default(), Some(by))
    }

    fn take(&self, host: &str, terms: Terms, moderation: Option<Moderation>) -> u64 {
        let (now, address) = (self.now(), format!("x@[{host}]"));
        let envelope = Envelope {
            id: self.executor.steps(),
            sender: Some(format!("s@[{SENDERS}]")),
            recipients: vec![Recipient { address, orcpt: None, notify: None, group: Destination(0) }],
            body: Body::SevenBit,
            is_smtputf8: false,
            ret: None,
            envid: None,
            requires_tls: false,
            terms,
            route: None,
            received: now,
            origin: Origin { helo: "client".to_owned(), ..Origin::default() },
            moderation,
            here: None,
        };
        let (id, is_held) = (envelope.id, envelope.moderation.is_some());
        let (shard, content) = (self.shard(), Arc::new(b"Subject: x\r\n\r\nx\r\n".to_vec()));
        let messages = vec![Outgoing { envelope, content }];
        let outcome = self.wait(async move { accept(&shard, messages, is_held, now).await });
        assert_eq!(outcome, Outcome::Stored);
        id
    }

    /// How many messages a host has taken.
    pub(crate) fn sent(&self, host: &str) -> usize {
        let host: IpAddr = host.parse().expect("an address");
        self.hosts.taken.borrow().iter().filter(|(to, _)| *to == host).count()
    }

    /// The notices that senders were sent.
    pub(crate) fn told(&self) -> Vec<String> {
        let senders: IpAddr = SENDERS.parse().expect("an address");
        let taken = self.hosts.taken.borrow();
        taken.iter().filter(|(to, _)| *to == senders).map(|(_, text)| text.clone()).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Tasks have the shard, and the shard has the executor.
        self.executor.end(self.group);
    }
}

async fn take_jobs(executor: Executor, group: Group, inbox: Inbox<Shard>, shard: Rc<Shard>) {
    loop {
        let job = inbox.next().await;
        executor.spawn(group, job.run(Rc::clone(&shard)));
    }
}

pub(crate) fn outbound() -> Outbound {
    Outbound::new("mail.example.org")
}

fn settings(outbound: Outbound) -> Settings {
    let smtp = |mode| Arc::new(smtp::Config::new("mail.example.org", mode));
    Settings {
        hostname: "mail.example.org".to_owned(),
        default_domain: None,
        content_bytes_max: 64 << 20,
        inbound: Arc::default(),
        reporting: Arc::default(),
        outbound: Arc::new(outbound),
        slow: crate::SlowSettings::default(),
        policies: Arc::new(OwnPolicies::new("mail.example.org")),
        mx: smtp(Mode::Mx),
        submission: smtp(Mode::Submission),
        lmtp: smtp(Mode::Lmtp),
        imap: Arc::new(imap::Config::new("mail.example.org")),
        pop3: Arc::new(pop3::Config::new("mail.example.org")),
    }
}
