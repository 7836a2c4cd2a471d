//! A whole shard over a simulated disk that is driven by hand, and clients without sockets.

#[path = "../common/alone.rs"]
mod alone;
pub(crate) mod deed;
#[path = "../common/password.rs"]
mod password;
pub(crate) mod rush;
#[path = "../common/settings.rs"]
mod settings;
#[path = "../common/still.rs"]
mod still;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use account::{Account, Flags, MailboxName, NewMessage};
use base::{Closed, Drain, Handled, Next, Out, Secret, Service, Session, ShardId};
use directory::{AccountEntry, Directory, EmailAddress, NewAccount};
use router::{Inbox, Router};
use shard::{ImapService, Pop3Service, Shard, SmtpService};
use smtp::Mode;
use storage_engine::{Disk, Engine, Event, Options, Simulated, StoreInfo, prepare};

use password::{PASSWORD, credential};
use settings::settings;
use still::{NOW, Still};

/// More accounts than partitions, so that some share one.
pub(crate) const NAMES: [&str; 6] = ["ann", "bob", "cleo", "dora", "emil", "finn"];
/// Turns after which a command counts as stuck.
pub(crate) const TURNS_MAX: usize = 10_000;

fn options() -> Options {
    Options { partitions: 4, segment_bytes: 128 << 10, batch_bytes_max: 16 << 10, ..Options::default() }
}

/// One shard of one, as the server puts it together, on a disk whose every step is the test's.
pub(crate) struct Rig {
    pub(crate) disk: Simulated,
    pub(crate) engine: Engine,
    shard: Rc<Shard>,
    #[expect(dead_code, reason = "keeps the store locked")]
    lock: StoreInfo,
    #[expect(dead_code, reason = "keeps the router's one queue open")]
    inboxes: Vec<Inbox<Shard>>,
}

impl Rig {
    /// A rig with the accounts of [`NAMES`], each time on a disk with another order of things.
    pub(crate) fn new() -> Self {
        static FIRST: OnceLock<Simulated> = OnceLock::new();
        let first = FIRST.get_or_init(|| {
            let rig = Self::open(Simulated::new(1));
            rig.populate();
            rig.disk
        });
        Self::open(first.crash())
    }

    /// What is on the disk, opened as the server opens it.
    pub(crate) fn open(disk: Simulated) -> Self {
        let place = Disk::simulated(&disk);
        let lock = prepare(&place, &options(), 1).expect("the store is made or in order");
        let engine = Engine::open(&place, &options(), 0, 1).expect("the store was prepared");
        let (router, inboxes) = Router::new(1);
        let world = Rc::new(Still::default());
        let shard = Shard::new(
            ShardId(0),
            engine.clone(),
            router,
            Arc::new(settings(64 << 20, true)),
            world,
            [3; 32],
        );
        Self { disk, engine, shard, lock, inboxes }
    }

    fn populate(&self) {
        let directory = self.directory();
        self.wait(directory.add_domain("example.org", NOW)).expect("the directory is empty");
        for name in NAMES {
            let new = NewAccount {
                address: EmailAddress::parse(&address(name)).expect("a good address"),
                display_name: String::new(),
                credential: Some(credential()),
                quota_bytes: None,
                created: NOW,
            };
            self.wait(directory.create_account(new)).expect("the account is new");
            self.wait(self.account(name).provision(NOW)).expect("the account is empty");
        }
        self.settle();
    }

    fn directory(&self) -> &Directory {
        self.shard.people.own().expect("the only shard owns the directory")
    }

    fn entry(&self, name: &str) -> AccountEntry {
        self.directory().account_by_login(&address(name), None).expect("the account is there")
    }

    pub(crate) fn account(&self, name: &str) -> Account {
        let entry = self.entry(name);
        self.shard.account(entry.partition, entry.id, None)
    }

    /// Names of accounts by partition: each in a partition of its own, and one that shares the first's.
    pub(crate) fn apart_and_together(&self) -> (Vec<&'static str>, &'static str) {
        let mut partitions = BTreeMap::<u16, Vec<&'static str>>::new();
        for name in NAMES {
            partitions.entry(self.entry(name).partition.0).or_default().push(name);
        }
        let shared =
            partitions.values().find(|names| names.len() > 1).expect("more accounts than partitions");
        let (first, beside) = (shared[0], shared[1]);
        let others = partitions.values().filter(|names| names[0] != first).map(|names| names[0]);
        (std::iter::once(first).chain(others).collect(), beside)
    }

    /// How many messages a mailbox has that `counts`.
    pub(crate) fn messages(&self, name: &str, mailbox: &str, counts: impl Fn(Flags) -> bool) -> usize {
        let account = self.account(name);
        let mut found = 0;
        if let Ok(mailbox) = account.mailbox(&mailbox_name(mailbox)) {
            account.for_each(mailbox.id, |message| found += usize::from(counts(message.flags)));
        }
        found
    }

    /// How many messages in the inbox have `token` in them.
    pub(crate) fn with_token(&self, name: &str, token: &str) -> usize {
        let account = self.account(name);
        let inbox = account.mailbox(&MailboxName::inbox()).expect("everybody has one");
        let mut messages = Vec::new();
        account.for_each(inbox.id, |message| messages.push(*message));
        let has_token = |body: &[u8]| body.windows(token.len()).any(|bytes| bytes == token.as_bytes());
        let bodies = messages.iter().map(|message| self.wait(account.body(&message.body)));
        bodies.filter(|body| has_token(body.as_ref().expect("readable"))).count()
    }

    /// Puts a message into a mailbox without a session.
    pub(crate) fn put(&self, name: &str, mailbox: &str, flags: Flags) {
        let account = self.account(name);
        let mailbox = account.mailbox(&mailbox_name(mailbox)).expect("it is there").id;
        let data = Arc::new(b"Subject: x\r\n\r\nHello.\r\n".to_vec());
        let message = NewMessage { content: data.into(), flags, keywords: Vec::new(), received: NOW };
        self.wait(account.append(mailbox, vec![message], NOW)).expect("there is room");
    }

    /// Turns the engine until the future is ready.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..TURNS_MAX {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
            self.engine.turn();
        }
        panic!("the future is never ready");
    }

    pub(crate) fn settle(&self) {
        while !self.engine.is_idle() {
            self.engine.turn();
        }
    }

    /// The frames that the journal was given since that many events had happened.
    pub(crate) fn frames(&self, since: usize) -> Vec<Frame> {
        let events = self.disk.events();
        let mut frames = Vec::new();
        for (index, event) in events.iter().enumerate().skip(since) {
            let Event::Write { file, offset, length } = event else { continue };
            let bytes = self.disk.bytes(file).filter(|_| file.starts_with("journal-")).unwrap_or_default();
            // `opened` has another name by now, and so no bytes.
            let range = *offset as usize..(*offset + *length) as usize;
            let written = bytes.get(range).unwrap_or_default();
            let is_covered = is_covered(&events, index, file);
            frames.extend(split(written).into_iter().map(|bytes| Frame { bytes, is_covered }));
        }
        frames
    }

    pub(crate) fn smtp(&self, mode: Mode) -> Client {
        let settings = self.shard.settings();
        let config = match mode {
            Mode::Mx => &settings.mx,
            Mode::Submission => &settings.submission,
            Mode::Lmtp => &settings.lmtp,
        };
        let peer = smtp::Peer { address: "192.0.2.1".to_owned(), is_trusted: false };
        let entropy = smtp::Entropy { ids: 1, nonces: Secret::new([[1; 18]; smtp::AUTH_ATTEMPTS_MAX]) };
        let session = smtp::Smtp::new(Arc::clone(config), peer, entropy);
        Client::new(session, SmtpService::new(Rc::clone(&self.shard), "192.0.2.1".to_owned()))
    }

    pub(crate) fn imap(&self) -> Client {
        let nonces = Secret::new([[1; 18]; imap::LOGIN_ATTEMPTS_MAX]);
        let session = imap::Imap::new(Arc::clone(&self.shard.settings().imap), nonces);
        Client::new(session, ImapService::new(Rc::clone(&self.shard), "192.0.2.1".to_owned()))
    }

    pub(crate) fn pop3(&self) -> Client {
        let entropy = pop3::Entropy { nonces: Secret::new([[1; 18]; pop3::LOGIN_ATTEMPTS_MAX]) };
        let session = pop3::Pop3::new(Arc::clone(&self.shard.settings().pop3), entropy);
        Client::new(session, Pop3Service::new(Rc::clone(&self.shard), "192.0.2.1".to_owned()))
    }

    /// Sends lines one by one, each answered before the next.
    pub(crate) fn talk(&self, client: &mut Client, lines: &[String]) {
        self.exchange(client, b"");
        for line in lines {
            let said = self.exchange(client, format!("{line}\r\n").as_bytes());
            let refusals = ["5", "4", "-ERR", "* BAD", "* BYE"];
            let is_refused = refusals.iter().any(|no| said.starts_with(no)) || said.contains(" NO ");
            assert!(!said.is_empty() && !is_refused, "{line}: {said}");
        }
    }

    /// Sends, and gives what is said until everything is at rest.
    pub(crate) fn exchange(&self, client: &mut Client, input: &[u8]) -> String {
        client.send(input);
        client.poll();
        while !self.engine.is_idle() {
            self.engine.turn();
            client.poll();
        }
        client.take()
    }
}

/// A frame as the disk was given it (disk.md, "Frame").
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// A flush of its file came after its write, and for a new file one of its name.
    pub(crate) is_covered: bool,
}

impl Frame {
    pub(crate) fn has(&self, token: &str) -> bool {
        self.bytes.windows(token.len()).any(|bytes| bytes == token.as_bytes())
    }
}

fn is_covered(events: &[Event], write: usize, file: &str) -> bool {
    let is_flush = |event: &Event| matches!(event, Event::Flush { file: other } if other == file);
    let is_create = |event: &Event| matches!(event, Event::Create { file: other } if other == file);
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_named = |event: &Event| matches!(event, Event::FlushFolder { folder: other } if other == folder);
    let created = events.iter().position(is_create);
    events[write..].iter().any(is_flush) && created.is_none_or(|at| events[at..].iter().any(is_named))
}

/// The frames of a batch; none of zeroes written ahead.
fn split(mut written: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while written.starts_with(b"AngF") {
        let length = u32::from_le_bytes(written[8..12].try_into().expect("four bytes")) as usize;
        frames.push(written[..length].to_vec());
        written = written.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    frames
}

/// A connection without a socket: a session, its service, and what goes in and comes out.
pub(crate) struct Client {
    wire: Rc<Wire>,
    /// None once the session has closed.
    serving: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

#[derive(Default)]
struct Wire {
    heard: RefCell<Vec<u8>>,
    said: RefCell<Vec<u8>>,
}

impl Client {
    fn new<S: Session + 'static, V: Service<S> + 'static>(session: S, service: V) -> Self {
        let wire = Rc::new(Wire::default());
        let serving = serve(session, service, Rc::clone(&wire));
        Self { wire, serving: Some(Box::pin(serving)) }
    }

    pub(crate) fn send(&self, input: &[u8]) {
        self.wire.heard.borrow_mut().extend_from_slice(input);
    }

    pub(crate) fn poll(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        self.serving.take_if(|serving| serving.as_mut().poll(cx).is_ready());
    }

    /// What left the session and was not taken yet.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.wire.said.borrow()).into_owned()
    }

    pub(crate) fn take(&self) -> String {
        String::from_utf8_lossy(&self.wire.said.take()).into_owned()
    }
}

/// The driver of `runtime`, without its sockets and timers.
async fn serve<S: Session, V: Service<S>>(mut session: S, mut service: V, wire: Rc<Wire>) {
    loop {
        match session.next(NOW) {
            Next::Run(request) => {
                let mut pipe = Pipe(Rc::clone(&wire));
                let mut out = Out::new(mem::take(session.output()), &mut pipe);
                let handled = service.handle(&mut session, request, &mut out).await;
                let mut left = out.buffer;
                left.append(session.output());
                *session.output() = left;
                let (Handled::Reply(reply) | Handled::Move(_, reply)) = handled;
                session.reply(reply);
            }
            Next::Read => {
                wire.say(session.output());
                poll_fn(|_| wire.poll_heard(&mut session)).await;
            }
            Next::Watch => {
                wire.say(session.output());
                let mut changed = pin!(service.changed());
                let is_changed = poll_fn(|cx| match wire.poll_heard(&mut session) {
                    Poll::Ready(()) => Poll::Ready(false),
                    Poll::Pending => changed.as_mut().poll(cx).map(|()| true),
                });
                if is_changed.await {
                    session.changed();
                }
            }
            Next::StartTls => panic!("no test starts TLS"),
            Next::Close => return wire.say(session.output()),
        }
    }
}

impl Wire {
    fn say(&self, output: &mut Vec<u8>) {
        self.said.borrow_mut().append(output);
    }

    fn poll_heard<S: Session>(&self, session: &mut S) -> Poll<()> {
        let mut heard = self.heard.borrow_mut();
        let count = session.room().min(heard.len());
        if count == 0 {
            return Poll::Pending;
        }
        session.input(&heard[..count]);
        heard.drain(..count);
        Poll::Ready(())
    }
}

struct Pipe(Rc<Wire>);

impl Drain for Pipe {
    fn poll_drain(&mut self, _: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        self.0.say(bytes);
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@example.org")
}

pub(crate) fn mailbox_name(name: &str) -> MailboxName {
    MailboxName::new(name).expect("a test's mailbox name is valid")
}

pub(crate) fn login(name: &str) -> String {
    format!("a0 LOGIN {name} {PASSWORD}")
}
