//! Two shards on an instant disk, a pool that works when the test says so, and connections without
//! sockets that move between the shards.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::{digest, hmac, pbkdf2};
use base::{Handled, Next, Out, Secret, Service, Session, ShardId, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use directory::{AccountEntry, Directory, EmailAddress, NewAccount};
use router::{Inbox, LocalFuture as Work, Router};
use shard::{ImapService, LocalFuture, Overloaded, Pop3Service, Shard, SmtpService, WebService, World};
use smtp::Mode;
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

use crate::alone::without_network;
use crate::settings::settings;

pub(crate) const PASSWORD: &str = "secret";
pub(crate) const NOW: Timestamp = Timestamp::from_s(1_767_225_600);
const SHARDS: u16 = 2;
const ROUNDS: u32 = 4096;

/// Work, and where to say that it is done.
type Waiting = (Box<dyn FnOnce() + Send>, Rc<Cell<bool>>);

/// A pool whose work waits until it is called for, unless it is to be done at once.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) is_slow: Cell<bool>,
    waiting: RefCell<VecDeque<Waiting>>,
}

impl Pool {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Does the piece of work that has waited longest.
    pub(crate) fn work(&self) {
        let Some((work, is_done)) = self.waiting.borrow_mut().pop_front() else { return };
        work();
        is_done.set(true);
    }
}

struct Still(Rc<Pool>);

impl World for Still {
    without_network!();

    fn now(&self) -> Timestamp {
        NOW
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        if !self.0.is_slow.get() {
            work();
            return Box::pin(std::future::ready(Ok(())));
        }
        let is_done = Rc::new(Cell::new(false));
        self.0.waiting.borrow_mut().push_back((work, Rc::clone(&is_done)));
        Box::pin(poll_fn(move |_| if is_done.get() { Poll::Ready(Ok(())) } else { Poll::Pending }))
    }
}

/// The server.
pub(crate) struct Server {
    pub(crate) shards: Vec<Rc<Shard>>,
    pub(crate) pool: Rc<Pool>,
    inboxes: Vec<Inbox<Shard>>,
    work: RefCell<Vec<Work>>,
}

impl Server {
    /// With ann, bob and cleo, who have mailboxes, in partitions of both shards.
    pub(crate) fn new() -> Self {
        let place = Disk::simulated(&Simulated::instant());
        let options = Options { partitions: 4, segment_bytes: 4 << 20, ..Options::default() };
        let lock = prepare(&place, &options, SHARDS).expect("the disk is empty");
        let (router, inboxes) = Router::new(SHARDS);
        let pool = Rc::new(Pool::default());
        let shards = (0..SHARDS).map(|id| {
            let engine = Engine::open(&place, &options, id, SHARDS).expect("it was prepared");
            let world = Rc::new(Still(Rc::clone(&pool)));
            Shard::new(
                ShardId(id),
                engine,
                router.clone(),
                Arc::new(settings(64 << 20, true)),
                world,
                [3; 32],
            )
        });
        let shards = shards.collect();
        drop(lock);
        let server = Self { shards, pool, inboxes, work: RefCell::default() };
        server.wait(server.directory().add_domain("example.org", NOW)).expect("it is new");
        for name in ["ann", "bob", "cleo"] {
            server.add_entry(name);
        }
        server.told();
        server
    }

    /// Turns both shards until the future is ready.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut future = pin!(future);
        for _ in 0..10_000 {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return value;
            }
            self.turn();
        }
        panic!("the future is never ready");
    }

    pub(crate) fn turn(&self) {
        let cx = &mut Context::from_waker(Waker::noop());
        for (shard, inbox) in self.shards.iter().zip(&self.inboxes) {
            while let Some(job) = inbox.try_next() {
                self.work.borrow_mut().push(job.run(Rc::clone(shard)));
            }
        }
        self.work.borrow_mut().retain_mut(|work| work.as_mut().poll(cx).is_pending());
    }

    pub(crate) fn directory(&self) -> &Directory {
        self.shards[0].people.own().expect("the first shard owns the directory")
    }

    /// An entry without mailboxes, as an `account add` leaves it that is cut short.
    pub(crate) fn add_entry(&self, name: &str) -> AccountEntry {
        let credential = auth::hash_password(&Secret::new(PASSWORD.to_owned()), [1; 16], ROUNDS);
        let new = NewAccount {
            address: EmailAddress::parse(&address(name)).expect("a good address"),
            display_name: String::new(),
            credential: Some(credential),
            quota_bytes: None,
            created: NOW,
        };
        self.wait(self.directory().create_account(new)).expect("the account is new")
    }

    pub(crate) fn entry(&self, name: &str) -> AccountEntry {
        self.directory().account_by_login(&address(name), None).expect("it was added")
    }

    /// Changes an account, and tells all shards.
    pub(crate) fn update(&self, name: &str, update: impl FnOnce(&mut AccountEntry)) {
        self.wait(self.directory().update_account(self.entry(name).id, update)).expect("it is there");
        self.told();
    }

    pub(crate) fn told(&self) {
        self.wait(shard::People::changed(&self.shards[0]));
    }

    /// A shard that does not own the account of that name.
    pub(crate) fn elsewhere(&self, name: &str) -> ShardId {
        let partition = self.entry(name).partition;
        ShardId(1 - self.shards[0].router.partition_shard(partition).0)
    }

    pub(crate) fn imap(&self, at: ShardId, source: &str) -> Line<'_, ImapService> {
        let shard = Rc::clone(&self.shards[usize::from(at.0)]);
        let nonces = Secret::new([[1; 18]; imap::LOGIN_ATTEMPTS_MAX]);
        let session = imap::Imap::new(Arc::clone(&shard.settings().imap), nonces);
        let session = session.with_budget(Arc::clone(&shard.content));
        Line::new(self, session, ImapService::new(shard, source.to_owned()), at, source)
    }

    pub(crate) fn pop3(&self, at: ShardId, source: &str) -> Line<'_, Pop3Service> {
        let shard = Rc::clone(&self.shards[usize::from(at.0)]);
        let entropy = pop3::Entropy { nonces: Secret::new([[1; 18]; pop3::LOGIN_ATTEMPTS_MAX]) };
        let session = pop3::Pop3::new(Arc::clone(&shard.settings().pop3), entropy);
        Line::new(self, session, Pop3Service::new(shard, source.to_owned()), at, source)
    }

    pub(crate) fn web(&self, at: ShardId) -> Line<'_, WebService> {
        let shard = Rc::clone(&self.shards[usize::from(at.0)]);
        let source = "192.0.2.7";
        Line::new(self, WebService::session(&shard), WebService::new(shard, source.to_owned()), at, source)
    }

    pub(crate) fn smtp(&self, mode: Mode, at: ShardId, source: &str) -> Line<'_, SmtpService> {
        let shard = Rc::clone(&self.shards[usize::from(at.0)]);
        let settings = shard.settings();
        let config = if mode == Mode::Submission { &settings.submission } else { &settings.mx };
        let peer = smtp::Peer { address: source.to_owned(), is_trusted: false };
        let entropy = smtp::Entropy { ids: 1, nonces: Secret::new([[1; 18]; smtp::AUTH_ATTEMPTS_MAX]) };
        let session = smtp::Smtp::new(Arc::clone(config), peer, entropy);
        let session = session.with_budget(Arc::clone(&shard.content));
        Line::new(self, session, SmtpService::new(shard, source.to_owned()), at, source)
    }
}

/// A service that can arrive on another shard.
pub(crate) trait Kind: Service<Self::Session> {
    type Session: Session;

    fn arrive(
        shard: Rc<Shard>,
        source: String,
        reply: &<Self::Session as Session>::Reply,
        from: ShardId,
    ) -> Self;
}

impl Kind for ImapService {
    type Session = imap::Imap;

    fn arrive(shard: Rc<Shard>, source: String, reply: &imap::Reply, from: ShardId) -> Self {
        Self::moved(shard, source, reply, from)
    }
}

impl Kind for Pop3Service {
    type Session = pop3::Pop3;

    fn arrive(shard: Rc<Shard>, source: String, reply: &pop3::Reply, from: ShardId) -> Self {
        Self::moved(shard, source, reply, from)
    }
}

impl Kind for SmtpService {
    type Session = smtp::Smtp;

    fn arrive(_: Rc<Shard>, _: String, _: &smtp::Reply, _: ShardId) -> Self {
        panic!("SMTP stays where it is")
    }
}

impl Kind for WebService {
    type Session = http::Http;

    fn arrive(_: Rc<Shard>, _: String, _: &http::Response, _: ShardId) -> Self {
        panic!("HTTP stays where it is")
    }
}

/// One connection.
pub(crate) struct Line<'a, V: Kind> {
    server: &'a Server,
    session: V::Session,
    service: V,
    at: ShardId,
    source: String,
    pub(crate) is_over: bool,
}

impl<'a, V: Kind> Line<'a, V> {
    fn new(server: &'a Server, session: V::Session, service: V, at: ShardId, source: &str) -> Self {
        let mut line = Self { server, session, service, at, source: source.to_owned(), is_over: false };
        line.say("");
        line
    }

    /// Sends, and gives what is answered.
    pub(crate) fn say(&mut self, input: &str) -> String {
        let mut rest = input.as_bytes();
        let mut said = Vec::new();
        loop {
            let next = self.session.next(NOW);
            said.append(self.session.output());
            match next {
                Next::Run(request) => self.run(request, &mut said),
                Next::Close => {
                    self.is_over = true;
                    break;
                }
                Next::StartTls => panic!("no test starts TLS"),
                Next::Read | Next::Watch => {
                    let (now, later) = rest.split_at(self.session.room().min(rest.len()));
                    if now.is_empty() {
                        break;
                    }
                    self.session.input(now);
                    rest = later;
                }
            }
        }
        String::from_utf8(said).expect("the server says UTF-8")
    }

    fn run(&mut self, request: <V::Session as Session>::Request, said: &mut Vec<u8>) {
        let mut out = Out::in_memory(Vec::new());
        let handled = self.server.wait(self.service.handle(&mut self.session, request, &mut out));
        said.append(&mut out.buffer);
        match handled {
            Handled::Reply(reply) => self.session.reply(reply),
            Handled::Move(to, reply) => {
                let shard = Rc::clone(&self.server.shards[usize::from(to.0)]);
                self.service = V::arrive(shard, self.source.clone(), &reply, self.at);
                self.at = to;
                self.session.reply(reply);
            }
        }
    }

    /// A whole exchange of SCRAM-SHA-256 (RFC 7677); `begin` is the command without the first message.
    /// Gives what is answered to the last line.
    pub(crate) fn scram(&mut self, begin: &str, name: &str, password: &str) -> String {
        let bare = format!("n={name},r=client");
        let challenge = self.say(&format!("{begin} {}\r\n", STANDARD.encode(format!("n,,{bare}"))));
        let Some((_, encoded)) =
            challenge.trim_end().split_once(' ').filter(|(word, _)| ["+", "334"].contains(word))
        else {
            return challenge;
        };
        let first = String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text");
        let field = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).expect("there");
        let salt = STANDARD.decode(field("s=")).expect("base64");
        let rounds = NonZeroU32::new(field("i=").parse().expect("a number")).expect("not 0");
        let without_proof = format!("c=biws,r={}", field("r="));
        let message = format!("{bare},{first},{without_proof}");
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        let said = self.say(&format!("{}\r\n", STANDARD.encode(last)));
        // The server's signature has to be acknowledged.
        if said.starts_with("+ ") || said.starts_with("334 ") { self.say("\r\n") } else { said }
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@example.org")
}
