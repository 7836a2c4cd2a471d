//! A session and its handlers, driven as `runtime` drives them, in memory.

use std::sync::Arc;
use std::task::{Context, Poll};

use base::{Closed, Drain, Next, Out, Secret, Session, Timestamp};
use sim::{Clock, World, ready};

pub(crate) const NOW: Timestamp = Clock::START;

/// Bytes of one read, as a connection gives them to its session.
const READ_BYTES: usize = 16 * 1024;

/// Where answers go: counted and dropped, but for the last bytes of the last answer.
#[derive(Default)]
pub(crate) struct Sink {
    bytes: usize,
    last: Vec<u8>,
}

impl Sink {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            let from = bytes.len().saturating_sub(64);
            self.last.clear();
            self.last.extend_from_slice(&bytes[from..]);
            bytes.clear();
        }
    }
}

impl Drain for Sink {
    fn poll_drain(&mut self, _: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        self.take(bytes);
        Poll::Ready(Ok(()))
    }
}

/// One connection.
pub(crate) struct Connection<S, H> {
    session: S,
    handlers: H,
    sink: Sink,
}

/// What stands behind a session here.
pub(crate) trait Handlers<S: Session> {
    fn handle(&mut self, session: &S, request: S::Request, out: &mut Out<'_>) -> S::Reply;
}

impl<S: Session, H: Handlers<S>> Connection<S, H> {
    pub(crate) fn new(session: S, handlers: H) -> Self {
        let mut connection = Self { session, handlers, sink: Sink::default() };
        connection.say(b"");
        connection
    }

    /// Gives the session bytes until it has taken all of them and waits for more; gives the number of bytes answered.
    /// Panics when it closes: no input here ends a session.
    pub(crate) fn say(&mut self, mut input: &[u8]) -> usize {
        let before = self.sink.bytes;
        loop {
            match self.session.next(NOW) {
                Next::Read | Next::Watch => {
                    self.sink.take(self.session.output());
                    if input.is_empty() {
                        return self.sink.bytes - before;
                    }
                    let (now, later) = input.split_at(self.session.room().min(READ_BYTES).min(input.len()));
                    assert!(!now.is_empty(), "a session that reads has room");
                    self.session.input(now);
                    input = later;
                }
                Next::Run(request) => {
                    let said = std::mem::take(self.session.output());
                    let mut out = Out::new(said, &mut self.sink);
                    let reply = self.handlers.handle(&self.session, request, &mut out);
                    let mut rest = std::mem::take(&mut out.buffer);
                    self.sink.take(&mut rest);
                    self.session.reply(reply);
                }
                Next::StartTls | Next::Close => panic!("it ends with {:?}", self.last()),
            }
        }
    }

    /// The end of the last answer.
    pub(crate) fn last(&self) -> &str {
        std::str::from_utf8(&self.sink.last).unwrap_or_default()
    }

    /// As [`Connection::say`], and the answer's end must be this.
    pub(crate) fn expect(&mut self, input: &[u8], end: &str) -> usize {
        let bytes = self.say(input);
        assert!(self.last().contains(end), "expected {end:?}, got {:?}", self.last());
        bytes
    }
}

/// Recipients are all ours, and messages are dropped as soon as they would be stored.
pub(crate) struct Takes;

impl Handlers<smtp::Smtp> for Takes {
    fn handle(&mut self, _: &smtp::Smtp, request: smtp::Request, _: &mut Out<'_>) -> smtp::Reply {
        match request {
            smtp::Request::Recipient(_) => smtp::Reply::Recipient(smtp::Verdict::Accept),
            smtp::Request::Deliver(message) => {
                let outcomes = message.envelope.recipients.iter().map(|_| smtp::Outcome::Stored).collect();
                smtp::Reply::Delivered(outcomes)
            }
            smtp::Request::Greeting(_)
            | smtp::Request::Auth(_)
            | smtp::Request::LoggedIn(_)
            | smtp::Request::Url(_) => {
                panic!("nobody logs in here")
            }
        }
    }
}

/// A connection for mail from anyone, after EHLO.
pub(crate) fn smtp() -> Connection<smtp::Smtp, Takes> {
    let mut config = smtp::Config::new("mail.example.org", smtp::Mode::Mx);
    config.limits.transactions_max = u32::MAX;
    config.limits.messages_per_minute_max = u32::MAX;
    let peer = smtp::Peer { address: "192.0.2.1".into(), is_trusted: true };
    let nonces = Secret::new([[7; 18]; smtp::AUTH_ATTEMPTS_MAX]);
    let session = smtp::Smtp::new(Arc::new(config), peer, smtp::Entropy { ids: 1, nonces });
    let mut connection = Connection::new(session, Takes);
    connection.expect(b"EHLO load.example.org\r\n", "250 ");
    connection
}

/// The handlers of IMAP and POP3 on the one account of a world.
pub(crate) struct OnAccount {
    world: World,
    account: account::Account,
}

impl OnAccount {
    fn new(world: &World) -> Self {
        Self { account: world.account("ann"), world: world.clone() }
    }
}

impl Handlers<imap::Imap> for OnAccount {
    fn handle(&mut self, _: &imap::Imap, request: imap::Request, out: &mut Out<'_>) -> imap::Reply {
        match request {
            imap::Request::Auth(query) => imap::Reply::Auth(self.world.answer(&query)),
            imap::Request::Open => imap::Reply::Opened(Ok(())),
            imap::Request::Act(act) => finish(imap::handle(act, &self.account, NOW, &Nobody, out)),
        }
    }
}

impl Handlers<pop3::Pop3> for OnAccount {
    fn handle(&mut self, _: &pop3::Pop3, request: pop3::Request, out: &mut Out<'_>) -> pop3::Reply {
        match request {
            pop3::Request::Auth(query) => pop3::Reply::Auth(self.world.answer(&query)),
            pop3::Request::Open => pop3::Reply::Opened(pop3::open(&self.account)),
            pop3::Request::Act(act) => finish(pop3::handle(act, &self.account, out)),
        }
    }
}

/// No command here looks beyond its account.
struct Nobody;

impl imap::Around for Nobody {
    fn random(&self, _: &mut [u8]) {
        panic!("nothing here is left to chance");
    }

    fn charge(&self) -> base::Charge {
        base::Charge::default()
    }

    fn is_own<'a>(&'a self, _: &'a str) -> imap::Waiting<'a, Result<bool, account::Error>> {
        panic!("nobody is asked for");
    }

    fn fetch<'a>(
        &'a self,
        _: &'a imap::Url,
    ) -> imap::Waiting<'a, Result<Option<imap::UrlBytes>, account::Error>> {
        panic!("no URL is asked for");
    }
}

/// A future whose disk is an instant one, and which may give way to others.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A world whose INBOX holds so many copies of a message.
pub(crate) fn world(message: &[u8], copies: usize) -> World {
    let mut world = World::with_segment_bytes(64 << 20);
    // As the server stores them.
    world.summarize = imap::summarize;
    (0..copies).for_each(|_| {
        world.append("ann", "INBOX", message);
    });
    world
}

/// A connection with INBOX selected.
pub(crate) fn imap(world: &World) -> Connection<imap::Imap, OnAccount> {
    let mut config = imap::Config::new("mail.example.org");
    config.auth.allow_plaintext_without_tls = true;
    let nonces = Secret::new([[7; 18]; imap::LOGIN_ATTEMPTS_MAX]);
    let mut connection = Connection::new(imap::Imap::new(Arc::new(config), nonces), OnAccount::new(world));
    connection.expect(b"a LOGIN ann secret\r\n", "logged in");
    connection.expect(b"b SELECT INBOX\r\n", "b OK");
    connection
}

/// A connection with the maildrop open.
pub(crate) fn pop3(world: &World) -> Connection<pop3::Pop3, OnAccount> {
    let mut config = pop3::Config::new("mail.example.org");
    config.auth.allow_plaintext_without_tls = true;
    let entropy = pop3::Entropy { nonces: Secret::new([[7; 18]; pop3::LOGIN_ATTEMPTS_MAX]) };
    let mut connection = Connection::new(pop3::Pop3::new(Arc::new(config), entropy), OnAccount::new(world));
    connection.expect(b"USER ann\r\nPASS secret\r\n", "+OK");
    connection
}

/// A commit on the instant disk.
pub(crate) fn commit(transaction: storage_engine::Transaction) {
    ready(transaction.commit()).expect("the simulated disk has room");
}
