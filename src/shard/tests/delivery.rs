//! One message to many, on two shards: who gets it when some mailbox is full, and how many it may go to.

#[path = "common/settings.rs"]
mod settings;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use account::{Account, MailboxName};
use base::{Closed, Drain, Handled, Out, Secret, Service, ShardId, Timestamp};
use directory::{AccountEntry, AliasEntry, Directory, EmailAddress, NewAccount};
use router::{Inbox, LocalFuture as Work, Router};
use shard::{
    Carrier, Hop, LocalFuture, MESSAGE_TARGETS_MAX, Overloaded, Settings, Shard, SmtpService, Unopened,
    World, deliver,
};
use smtp::Verdict;
use smtp::{
    BodyKind, Entropy, Envelope, Message, Mode, Outcome, Peer, Recipient, RecipientCheck, Smtp, TransactionId,
};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

use settings::settings;

const NOW: Timestamp = Timestamp::from_s(1_767_225_600);
const SHARDS: u16 = 2;

/// Tasks that shards have begun.
type Tasks = Rc<RefCell<Vec<LocalFuture<()>>>>;

struct Still {
    random: Cell<u8>,
    now: Rc<Cell<Timestamp>>,
    tasks: Tasks,
}

impl World for Still {
    fn spawn(&self, task: LocalFuture<()>) {
        self.tasks.borrow_mut().push(task);
    }

    fn spawn_aside(&self, task: LocalFuture<()>) {
        self.tasks.borrow_mut().push(task);
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn sleep_until(&self, moment: Timestamp) -> LocalFuture<()> {
        let now = Rc::clone(&self.now);
        Box::pin(poll_fn(move |_| if now.get() >= moment { Poll::Ready(()) } else { Poll::Pending }))
    }

    fn open(&self, _: Hop) -> LocalFuture<Result<Box<dyn Carrier>, Unopened>> {
        unreachable!("nobody has an address here");
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.random.set(self.random.get().wrapping_add(1));
        bytes.fill(self.random.get());
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        work();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Two shards on an instant disk, and the queues between them.
struct Server {
    disk: Simulated,
    shards: Vec<Rc<Shard>>,
    inboxes: Vec<Inbox<Shard>>,
    work: Vec<Work>,
    now: Rc<Cell<Timestamp>>,
    tasks: Tasks,
    /// The second shard does not do what it is asked.
    is_deaf: bool,
    /// How often the last future was asked.
    turns: usize,
}

impl Server {
    fn new() -> Self {
        let disk = Simulated::instant();
        let place = Disk::simulated(&disk);
        let options = Options { partitions: 4, segment_bytes: 4 << 20, ..Options::default() };
        let lock = prepare(&place, &options, SHARDS).expect("the disk is empty");
        let (router, inboxes) = Router::new(SHARDS);
        let (now, tasks) = (Rc::new(Cell::new(NOW)), Tasks::default());
        let shards = (0..SHARDS).map(|id| {
            let engine = Engine::open(&place, &options, id, SHARDS).expect("it was prepared");
            let (now, tasks) = (Rc::clone(&now), Rc::clone(&tasks));
            let world = Rc::new(Still { random: Cell::new(0), now, tasks });
            Shard::new(
                ShardId(id),
                engine,
                router.clone(),
                Arc::new(settings(1 << 20, false)),
                world,
                [3; 32],
            )
        });
        let shards = shards.collect();
        drop(lock);
        let work = Vec::new();
        let mut server = Self { disk, shards, inboxes, work, now, tasks, is_deaf: false, turns: 0 };
        let directory = server.directory();
        server.wait(async move { directory.add_domain("example.org", NOW).await }).expect("it is new");
        server
    }

    /// Turns both shards until the future is ready.
    fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut future = pin!(future);
        for turn in 1..100_000 {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                self.turns = turn;
                return value;
            }
            for (shard, inbox) in self.shards.iter().zip(&self.inboxes) {
                while let Some(job) = inbox.try_next() {
                    if !(self.is_deaf && shard.id == ShardId(1)) {
                        self.work.push(job.run(Rc::clone(shard)));
                    }
                }
            }
            self.work.retain_mut(|work| work.as_mut().poll(cx).is_pending());
            let mut tasks = self.tasks.take();
            tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            self.tasks.borrow_mut().append(&mut tasks);
        }
        panic!("the future is never ready");
    }

    fn directory(&self) -> Directory {
        self.shards[0].people.own().expect("the first shard owns the directory").clone()
    }

    /// An entry without mailboxes, as an `account add` leaves it that is cut short.
    fn add_entry(&mut self, name: &str, quota_bytes: Option<u64>) -> AccountEntry {
        let directory = self.directory();
        let (address, display_name) = (address(name), String::new());
        let new = NewAccount { address, display_name, credential: None, quota_bytes, created: NOW };
        self.wait(directory.create_account(new)).expect("the account is new")
    }

    fn add(&mut self, name: &str, quota_bytes: Option<u64>) {
        self.add_entry(name, quota_bytes);
        let account = self.account(name);
        self.wait(account.provision(NOW)).expect("the account is empty");
    }

    fn add_alias(&mut self, name: &str, targets: &[&str]) {
        let directory = self.directory();
        let targets = targets.iter().map(|target| any_address(target)).collect();
        self.wait(directory.put_alias(AliasEntry { address: address(name), targets })).expect("they exist");
    }

    fn account(&self, name: &str) -> Account {
        let entry = self.directory().account_by_address(&address(name)).expect("it was added");
        let shard = self.shards.iter().find(|shard| shard.owns(entry.partition)).expect("somebody owns it");
        shard.account(entry.partition, entry.id, entry.quota_bytes)
    }

    /// Messages in INBOX.
    fn count(&self, name: &str) -> u32 {
        self.count_in(name, "INBOX")
    }

    fn count_in(&self, name: &str, mailbox: &str) -> u32 {
        let mailbox = MailboxName::new(mailbox).expect("a good name");
        self.account(name).mailbox(&mailbox).map_or(0, |mailbox| mailbox.status.exists)
    }

    fn deliver(&mut self, mode: Mode, to: &[&str]) -> Vec<Outcome> {
        self.deliver_as(mode, to, false)
    }

    fn deliver_as(&mut self, mode: Mode, to: &[&str], is_junk: bool) -> Vec<Outcome> {
        let shard = Rc::clone(&self.shards[0]);
        let manner = shard::Manner { is_junk, ..shard::Manner::default() };
        self.wait(async move { deliver(&shard, message(mode, to), manner, NOW).await })
    }

    /// Lets the first shard relay.
    fn relay(&mut self) {
        for shard in &self.shards {
            let outbound = Arc::new(shard::Outbound::new("mail.example.org"));
            shard.reload(Arc::new(Settings { outbound, ..settings(1 << 20, false) }));
        }
        self.tasks.borrow_mut().push(Box::pin(shard::relay::run(Rc::clone(&self.shards[0]))));
        self.pass(0);
    }

    /// Some seconds pass, and all that is to be done then is done.
    fn pass(&mut self, seconds: i64) {
        self.now.set(Timestamp::from_s(self.now.get().as_s() + seconds));
        let mut turns = 0;
        self.wait(poll_fn(|_| {
            turns += 1;
            if turns > 200 { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    /// To whom mail waits in the first shard's queue, and whether it is for their mailboxes alone.
    fn waiting(&mut self) -> Vec<(String, bool)> {
        let shard = Rc::clone(&self.shards[0]);
        let all = shard::relay::control::Select::All;
        let listed = self.wait(async move { shard::relay::control::list(&shard, &all, 100).await });
        let (listed, _) = listed.expect("the store can be read");
        let to = listed.iter().flat_map(|of| {
            let own = of.envelope.recipients.iter().filter(|recipient| recipient.group == of.entry.group);
            own.map(|recipient| (recipient.address.clone(), of.envelope.here.is_some()))
        });
        let mut to: Vec<_> = to.collect();
        to.sort();
        to
    }

    /// The first name of these whose account is on a shard.
    fn one_on<'a>(&self, shard: u16, names: &[&'a str]) -> &'a str {
        let is_there = |name: &&&str| {
            let entry = self.directory().account_by_address(&address(name));
            entry.expect("it was added").partition.0 % SHARDS == shard
        };
        names.iter().find(is_there).expect("there is one on each shard")
    }

    /// What RCPT says.
    fn verdict(&mut self, to: &str, size_bytes: Option<u64>) -> Verdict {
        let shard = Rc::clone(&self.shards[0]);
        let check = RecipientCheck {
            address: address(to).to_string(),
            sender: None,
            identity: None,
            mode: Mode::Mx,
            size_bytes,
            id: TransactionId(1),
            helo: Arc::from("client.example.net"),
            is_extended: true,
            tls: None,
            accepted: 0,
            refused: 0,
            messages: 0,
        };
        let entropy = Entropy { ids: 1, nonces: Secret::new([[1; 18]; smtp::AUTH_ATTEMPTS_MAX]) };
        let peer = Peer { address: "192.0.2.1".to_owned(), is_trusted: false };
        let mut session = Smtp::new(Arc::clone(&shard.settings().mx), peer, entropy);
        let mut service = SmtpService::new(shard, "192.0.2.1".to_owned());
        let mut nowhere = Nowhere;
        let mut out = Out::new(Vec::new(), &mut nowhere);
        let request = smtp::Request::Recipient(Box::new(check));
        match self.wait(service.handle(&mut session, request, &mut out)) {
            Handled::Reply(smtp::Reply::Recipient(verdict)) => verdict,
            other => panic!("no verdict: {other:?}"),
        }
    }
}

struct Nowhere;

impl Drain for Nowhere {
    fn poll_drain(&mut self, _: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        bytes.clear();
        Poll::Ready(Ok(()))
    }
}

fn address(name: &str) -> EmailAddress {
    EmailAddress::parse(&format!("{name}@example.org")).expect("a good address")
}

/// One of ours by its name, another as it is.
fn any_address(text: &str) -> EmailAddress {
    if text.contains('@') { EmailAddress::parse(text).expect("a good address") } else { address(text) }
}

fn message(mode: Mode, to: &[&str]) -> Message {
    let recipient = |name: &&str| Recipient { address: address(name).to_string(), orcpt: None, notify: None };
    let envelope = Envelope {
        id: TransactionId(1),
        mode,
        helo: "client.example.net".into(),
        is_extended: true,
        peer: Arc::new(Peer { address: "192.0.2.1".to_owned(), is_trusted: false }),
        tls: None,
        identity: None,
        sender: None,
        recipients: to.iter().map(recipient).collect(),
        body: BodyKind::SevenBit,
        is_smtputf8: false,
        ret: None,
        envid: None,
        terms: smtp::Terms::default(),
        received: NOW,
        received_field_bytes: 0,
    };
    Message { envelope, data: b"Subject: x\r\n\r\nHello.\r\n".to_vec() }
}

/// Five with room, in partitions of both shards, and one who has none.
fn with_one_full() -> (Server, Vec<&'static str>) {
    let mut server = Server::new();
    let names = vec!["ann", "bob", "cleo", "dora", "emil"];
    for name in &names {
        server.add(name, Some(1_000_000));
    }
    let shards = names.iter().map(|name| server.directory().account_by_address(&address(name)));
    let shards: Vec<_> = shards.map(|entry| entry.expect("just added").partition.0 % SHARDS).collect();
    assert!(shards.contains(&0) && shards.contains(&1), "all are on one shard: {shards:?}");
    server.add("full", Some(10));
    (server, names)
}

#[test]
fn a_full_mailbox_refuses_a_message_before_anybody_gets_a_copy() {
    let (mut server, names) = with_one_full();
    let everybody: Vec<&str> = names.iter().copied().chain(["full"]).collect();
    server.add_alias("team", &everybody);
    for mode in [Mode::Mx, Mode::Submission] {
        for to in [&everybody[..], &["team"], &["ann", "team"]] {
            let outcomes = server.deliver(mode, to);
            assert_eq!(outcomes, vec![Outcome::OverQuota; to.len()], "one reply stands for all");
            for name in &everybody {
                assert_eq!(server.count(name), 0, "{name} gets a copy at each try of {to:?}");
            }
        }
    }
    assert_eq!(server.deliver(Mode::Mx, &names), vec![Outcome::Stored; names.len()]);
    assert!(names.iter().all(|name| server.count(name) == 1));
}

/// RFC 2033 §4.2: each recipient has a reply of its own, so nobody waits for anybody.
#[test]
fn over_lmtp_a_full_mailbox_keeps_the_message_from_nobody_else() {
    let (mut server, _) = with_one_full();
    server.add_alias("pair", &["bob", "full"]);
    let outcomes = server.deliver(Mode::Lmtp, &["ann", "full", "pair", "cleo"]);
    assert_eq!(outcomes, [Outcome::Stored, Outcome::OverQuota, Outcome::OverQuota, Outcome::Stored]);
    let counts = ["ann", "bob", "cleo", "full"].map(|name| server.count(name));
    assert_eq!(counts, [1, 0, 1, 0], "an alias is stored for all behind it or for none");
    assert_eq!(server.deliver(Mode::Lmtp, &["pair", "bob"]), [Outcome::OverQuota, Outcome::Stored]);
    assert_eq!(server.count("bob"), 1);
}

#[test]
fn rcpt_looks_at_every_mailbox_behind_an_address_with_and_without_a_size() {
    let (mut server, _) = with_one_full();
    server.add_alias("team", &["ann", "bob", "full"]);
    assert_eq!(server.verdict("team", None), Verdict::Accept, "it has room for a little");
    assert_eq!(server.verdict("team", Some(1_000)), Verdict::OverQuota);
    assert_eq!(server.verdict("full", Some(1_000)), Verdict::OverQuota);
    assert_eq!(server.verdict("ann", Some(1_000)), Verdict::Accept);
    server.add("brim", Some(message(Mode::Mx, &["ann"]).data.len() as u64 + 17));
    assert_eq!(server.deliver(Mode::Mx, &["brim"]), [Outcome::Stored]);
    assert_eq!(server.verdict("brim", None), Verdict::OverQuota, "it is full to the brim");
}

#[test]
fn an_entry_without_mailboxes_gets_them_with_its_first_message() {
    let mut server = Server::new();
    let names = ["ann", "bob", "cleo", "dora"];
    for name in names {
        server.add_entry(name, Some(1_000_000));
    }
    assert_eq!(server.deliver(Mode::Mx, &names), vec![Outcome::Stored; names.len()]);
    for name in names {
        assert_eq!((server.count(name), server.account(name).mailboxes().len()), (1, 6));
    }
}

#[test]
fn a_full_disk_is_not_a_full_mailbox() {
    let mut server = Server::new();
    server.add("ann", None);
    server.disk.set_full(true);
    let mut outcomes = (0..100_000).map(|_| server.deliver(Mode::Mx, &["ann"]));
    let refused = outcomes.find(|outcomes| *outcomes != [Outcome::Stored]).expect("what is left is used up");
    assert_eq!(refused, [Outcome::NoSpace]);
}

#[test]
fn a_message_to_very_many_is_bounded_and_lets_others_have_their_turn() {
    let mut server = Server::new();
    let names: Vec<String> = (0..1_000).map(|i| format!("u{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        server.add(name, None);
    }
    let aliases: Vec<String> = (0..=MESSAGE_TARGETS_MAX / 1_000).map(|i| format!("list{i}")).collect();
    let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
    for alias in &aliases {
        server.add_alias(alias, &names);
    }
    // As many as may be: the same thousand accounts by ten names, and each name a hundred times.
    let most: Vec<&str> = (0..100).flat_map(|_| aliases[1..].iter().copied()).collect();
    let outcomes = server.deliver(Mode::Mx, &most);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored));
    assert!(names.iter().all(|name| server.count(name) == 1), "one copy each");
    assert!(server.turns >= aliases.len() - 1, "{} turns: others waited for all of it", server.turns);
    let outcomes = server.deliver(Mode::Mx, &aliases);
    assert_eq!(outcomes, vec![Outcome::TooManyRecipients; aliases.len()]);
    assert!(names.iter().all(|name| server.count(name) == 1), "nobody got another");
}

/// Accounts without a quota, in partitions of both shards; one of each.
fn with_both_shards() -> (Server, &'static str, &'static str) {
    let mut server = Server::new();
    let names = ["ann", "bob", "cleo", "dora", "emil"];
    for name in names {
        server.add(name, None);
    }
    let (near, far) = (server.one_on(0, &names), server.one_on(1, &names));
    server.relay();
    (server, near, far)
}

#[test]
fn what_a_mailbox_cannot_have_now_waits_in_the_queue_when_the_rest_is_durable() {
    for (mode, is_junk) in [(Mode::Mx, false), (Mode::Lmtp, false), (Mode::Mx, true)] {
        let (mut server, near, far) = with_both_shards();
        server.add_alias("team", &[near, far, "list@elsewhere.example"]);
        server.is_deaf = true;
        assert_eq!(
            server.deliver_as(mode, &["team"], is_junk),
            [Outcome::Stored],
            "or all of it would come again"
        );
        let far_address = address(far).to_string();
        let waiting = [(far_address.clone(), true), ("list@elsewhere.example".to_owned(), false)];
        server.pass(3_600);
        assert_eq!(server.waiting(), waiting, "it is tried again");
        let counts = |server: &Server, mailbox| [near, far].map(|name| server.count_in(name, mailbox));
        let (own, other) = if is_junk { ("Junk", "INBOX") } else { ("INBOX", "Junk") };
        assert_eq!(counts(&server, own), [1, 0]);
        server.is_deaf = false;
        server.pass(86_400);
        assert_eq!(server.waiting(), waiting[1..]);
        assert_eq!((counts(&server, own), counts(&server, other)), ([1, 1], [0, 0]));
    }
}

/// Where the account sends its mail on and keeps a copy, the copy is all that is made up for.
#[test]
fn a_copy_that_comes_later_is_not_sent_on_again() {
    let (mut server, _, far) = with_both_shards();
    let (directory, entry) = (server.directory(), server.account(far));
    let to = any_address("home@elsewhere.example");
    let forward = Some(directory::Forwarding { to, keeps_copy: true });
    server.wait(async move { directory.set_forward(entry.id(), forward).await }).expect("it is there");
    server.is_deaf = true;
    assert_eq!(server.deliver(Mode::Mx, &[far]), [Outcome::Stored]);
    server.is_deaf = false;
    server.pass(86_400);
    assert_eq!(server.count(far), 1);
    assert_eq!(server.waiting(), [("home@elsewhere.example".to_owned(), false)]);
}

#[test]
fn where_nothing_is_durable_the_client_comes_again() {
    let (mut server, near, far) = with_both_shards();
    server.is_deaf = true;
    assert_eq!(server.deliver(Mode::Mx, &[far]), [Outcome::Unavailable]);
    // Over LMTP, each recipient comes again for itself.
    assert_eq!(server.deliver(Mode::Lmtp, &[near, far]), [Outcome::Stored, Outcome::Unavailable]);
    assert_eq!(server.waiting(), []);
    assert_eq!(server.deliver(Mode::Mx, &[near, far]), [Outcome::Stored, Outcome::Stored]);
    assert_eq!(server.waiting(), [(address(far).to_string(), true)]);
}

#[test]
fn what_waits_for_one_recipient_is_durable_for_another() {
    let (mut server, near, far) = with_both_shards();
    let others = ["fred", "gus", "hal", "ida"];
    for name in others {
        server.add(name, None);
    }
    let farther = server.one_on(1, &others);
    server.add_alias("first", &[near, far]);
    server.add_alias("second", &[far, farther]);
    server.is_deaf = true;
    let outcomes = server.deliver(Mode::Lmtp, &["first", "second"]);
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Stored], "or it would come to one of them twice");
    assert_eq!(server.waiting().len(), 2);
}

#[test]
fn room_is_asked_for_with_all_that_is_stored() {
    let mut server = Server::new();
    server.add("ann", None);
    server.add("tight", Some(message(Mode::Mx, &["ann", "tight"]).data.len() as u64 + 5));
    server.relay();
    assert_eq!(server.deliver(Mode::Mx, &["ann", "tight"]), [Outcome::OverQuota; 2]);
    assert_eq!((server.count("ann"), server.waiting().len()), (0, 0));
}

#[test]
fn an_address_that_leads_nowhere_is_left_out_of_those_it_is_sent_on_to() {
    let (mut server, near, _) = with_both_shards();
    let nowhere = "x@[192.0.2.999]";
    server.add_alias("some", &[nowhere, "list@elsewhere.example"]);
    server.add_alias("kept", &[nowhere, near]);
    server.add_alias("lost", &[nowhere]);
    assert_eq!(server.deliver(Mode::Mx, &["some"]), [Outcome::Stored]);
    assert_eq!(server.waiting(), [("list@elsewhere.example".to_owned(), false)]);
    assert_eq!(server.deliver(Mode::Mx, &["kept"]), [Outcome::Stored]);
    assert_eq!(server.count(near), 1);
    assert_eq!(server.deliver(Mode::Mx, &["lost"]), [Outcome::Rejected]);
    assert_eq!(server.waiting().len(), 1);
}

#[test]
fn what_is_sent_on_by_several_domains_without_a_seal_is_one_message() {
    let (mut server, _, _) = with_both_shards();
    let directory = server.directory();
    server.wait(async move { directory.add_domain("example.com", NOW).await }).expect("it is new");
    let directory = server.directory();
    let alias = AliasEntry {
        address: any_address("team@example.com"),
        targets: vec![any_address("b@elsewhere.example")],
    };
    server.wait(async move { directory.put_alias(alias).await }).expect("it leads elsewhere");
    server.add_alias("both", &["a@elsewhere.example", "team@example.com"]);
    assert_eq!(server.deliver(Mode::Mx, &["both"]), [Outcome::Stored]);
    let shard = Rc::clone(&server.shards[0]);
    let listed = server.wait(async move {
        shard::relay::control::list(&shard, &shard::relay::control::Select::All, 100).await
    });
    let (listed, _) = listed.expect("the store can be read");
    assert_eq!((listed.len(), listed[0].envelope.recipients.len()), (1, 2), "{listed:?}");
}
