//! One message to many, on two shards: who gets it when some mailbox is full, and how many it may go to.

#[path = "common/alone.rs"]
mod alone;
#[path = "common/still.rs"]
mod still;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use account::{Account, MailboxName};
use base::{Closed, Drain, Handled, Out, Secret, Service, ShardId};
use directory::{AccountEntry, AliasEntry, Directory, EmailAddress, NewAccount};
use router::{Inbox, LocalFuture as Work, Router};
use shard::{MESSAGE_TARGETS_MAX, Shard, SmtpService, deliver};
use smtp::Verdict;
use smtp::{
    BodyKind, Entropy, Envelope, Message, Mode, Outcome, Peer, Recipient, RecipientCheck, Smtp, TransactionId,
};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

use alone::settings;
use still::{NOW, Still};

const SHARDS: u16 = 2;

/// Two shards on an instant disk, and the queues between them.
struct Server {
    disk: Simulated,
    shards: Vec<Rc<Shard>>,
    inboxes: Vec<Inbox<Shard>>,
    work: Vec<Work>,
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
        let shards = (0..SHARDS).map(|id| {
            let engine = Engine::open(&place, &options, id, SHARDS).expect("it was prepared");
            let world = Rc::new(Still::default());
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
        let mut server = Self { disk, shards, inboxes, work: Vec::new(), turns: 0 };
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
                    self.work.push(job.run(Rc::clone(shard)));
                }
            }
            self.work.retain_mut(|work| work.as_mut().poll(cx).is_pending());
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
        let targets = targets.iter().map(|target| address(target)).collect();
        self.wait(directory.put_alias(AliasEntry { address: address(name), targets })).expect("they exist");
    }

    fn account(&self, name: &str) -> Account {
        let entry = self.directory().account_by_address(&address(name)).expect("it was added");
        let shard = self.shards.iter().find(|shard| shard.owns(entry.partition)).expect("somebody owns it");
        shard.account(entry.partition, entry.id, entry.quota_bytes)
    }

    /// Messages in INBOX.
    fn count(&self, name: &str) -> u32 {
        self.account(name).mailbox(&MailboxName::inbox()).map_or(0, |inbox| inbox.status.exists)
    }

    fn deliver(&mut self, mode: Mode, to: &[&str]) -> Vec<Outcome> {
        let shard = Rc::clone(&self.shards[0]);
        self.wait(async move { deliver(&shard, message(mode, to), shard::Manner::default(), NOW).await })
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
