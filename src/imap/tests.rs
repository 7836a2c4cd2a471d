//! The transcripts of `transcripts/`, played in memory against accounts on a simulated disk: whole,
//! cut at every byte, and mutated by seed.
//!
//! Headers a transcript can have:
//! - `mailbox: NAME from sample, sample`: ann has a mailbox NAME and it holds these sample messages;
//! - `tls: yes`: under TLS from the start; `plaintext: no`: no passwords without TLS;
//!   `starttls: no`: not offered;
//! - `content-bytes-max: NUMBER`: what all connections may hold of literals;
//! - `limit: NAME NUMBER`: a bound of [`Limits`] other than the default.

use std::cell::Cell;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use account::{Account, MailboxName};
use base::{Budget, Charge, Closed, Drain, Handled, Next, Out, Secret, Service, Session};
use sim::{SessionPeer, Transcript, World, ready};

use crate::{
    Around, CAPABILITIES, Config, Imap, LOGIN_ATTEMPTS_MAX, Limits, Reply, Request, Url, UrlBytes, UrlError,
    UrlProof, UrlReader, Waiting,
};

/// The handlers of one connection, as `shard` puts them together for real ones.
struct Handlers {
    world: World,
    account: Option<Account>,
    /// The directory has no such account any more.
    is_closed: Rc<Cell<bool>>,
    /// Keys that were made.
    keys: Rc<Cell<u8>>,
    /// What all connections may hold.
    budget: Arc<Budget>,
}

/// What lies around an account of a world.
pub(crate) struct Nearby<'a> {
    world: &'a World,
    account: &'a Account,
    keys: Rc<Cell<u8>>,
    budget: Arc<Budget>,
}

impl<'a> Nearby<'a> {
    pub(crate) fn new(world: &'a World, account: &'a Account) -> Self {
        Self { world, account, keys: Rc::default(), budget: Budget::new(usize::MAX) }
    }

    fn named(&self, user: &str) -> Option<Account> {
        let entry = self.world.directory.account_by_login(user, Some(World::DOMAIN))?;
        Some(Account::new(self.world.engine.clone(), entry.partition, entry.id, entry.quota_bytes))
    }
}

impl Around for Nearby<'_> {
    /// Another key each time, and the same in each run.
    fn random(&self, bytes: &mut [u8]) {
        self.keys.set(self.keys.get() + 1);
        bytes.fill(self.keys.get());
    }

    fn charge(&self) -> Charge {
        Charge::new(Some(Arc::clone(&self.budget)))
    }

    fn is_own<'a>(&'a self, user: &'a str) -> Waiting<'a, Result<bool, account::Error>> {
        let is_own = self.named(user).is_some_and(|named| named.id() == self.account.id());
        Box::pin(core::future::ready(Ok(is_own)))
    }

    fn fetch<'a>(&'a self, url: &'a Url) -> Waiting<'a, Result<Option<UrlBytes>, account::Error>> {
        Box::pin(async move {
            let Ok(reader) = url.reader(UrlReader::Session) else { return Ok(None) };
            let is_reader = match reader {
                Some(user) => self.is_own(user).await?,
                None => true,
            };
            let Some(owner) = url.user.as_deref().and_then(|user| self.named(user)).filter(|_| is_reader)
            else {
                return Ok(None);
            };
            let charge = Charge::default();
            match crate::url_bytes(&owner, url, UrlProof::Token, self.world.clock.now()).await {
                Ok(bytes) => Ok(Some(UrlBytes { bytes, charge })),
                // RFC 4467 §8: what FETCH has NIL for is no bytes.
                Err(UrlError::NoPart) => Ok(Some(UrlBytes { bytes: Vec::new(), charge })),
                Err(UrlError::Account(error)) => Err(error),
                Err(UrlError::Denied | UrlError::Missing) => Ok(None),
            }
        })
    }
}

impl Service<Imap> for Handlers {
    async fn handle(&mut self, session: &mut Imap, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        let act = match request {
            Request::Auth(query) => return Handled::Reply(Reply::Auth(self.world.answer(&query))),
            Request::Open => return Handled::Reply(Reply::Opened(Ok(()))),
            Request::Act(_) if self.is_closed.get() => return Handled::Reply(Reply::Closed),
            Request::Act(act) => act,
        };
        let world = &self.world;
        let account = self.account.get_or_insert_with(|| {
            world.account_of(session.identity().expect("only somebody who is logged in acts"))
        });
        let (keys, budget) = (Rc::clone(&self.keys), Arc::clone(&self.budget));
        let around = Nearby { world, account, keys, budget };
        Handled::Reply(crate::handle(act, account, world.clock.now(), &around, out).await)
    }

    fn changed(&mut self) -> impl Future<Output = ()> {
        pending()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn config(transcript: &Transcript) -> Config {
    let mut config = Config::new("imap.example.org");
    config.auth.allow_plaintext_without_tls = transcript.header("plaintext") != Some("no");
    config.starttls = transcript.header("starttls") != Some("no");
    for limit in transcript.all("limit") {
        let (name, value) = limit.split_once(' ').expect("a limit has a name and a number");
        set_limit(&mut config.limits, name, value.parse().expect("a limit is a number"));
    }
    config
}

fn set_limit(limits: &mut Limits, name: &str, value: usize) {
    match name {
        "line_bytes_max" => limits.line_bytes_max = value,
        "literal_bytes_max" => limits.literal_bytes_max = value,
        "append_bytes_max" => limits.append_bytes_max = value,
        "command_bytes_max" => limits.command_bytes_max = value,
        "append_command_bytes_max" => limits.append_command_bytes_max = value,
        "discard_bytes_max" => limits.discard_bytes_max = value as u64,
        "bad_commands_max" => limits.bad_commands_max = value as u32,
        _ => panic!("no limit is called {name}"),
    }
}

/// Makes the mailboxes that the headers name and that an account does not have from the start.
fn add_mailboxes(world: &World, transcript: &Transcript) {
    let account = world.account("ann");
    for header in transcript.all("mailbox") {
        let name = header.split_once(" from ").map_or(header, |(name, _)| name);
        let name = MailboxName::new(name).expect("a valid name");
        if account.mailbox(&name).is_err() {
            let made = ready(account.create_mailbox(&name, None, world.clock.now()));
            made.expect("the mailbox can be made");
        }
    }
}

fn peer(transcript: &Transcript) -> SessionPeer<Imap, impl Service<Imap> + use<>> {
    peer_in(World::new(), transcript)
}

fn peer_in(world: World, transcript: &Transcript) -> SessionPeer<Imap, impl Service<Imap> + use<>> {
    add_mailboxes(&world, transcript);
    world.prepare(transcript);
    let config = Arc::new(config(transcript));
    let bytes_max = transcript.header("content-bytes-max").map(|n| n.parse().expect("a number of bytes"));
    let budget = Budget::new(bytes_max.unwrap_or(usize::MAX));
    let is_closed = Rc::new(Cell::new(false));
    let closing = Rc::clone(&is_closed);
    let keys = Rc::new(Cell::new(0));
    SessionPeer::new(world.clock.clone(), move |connection| {
        // The same nonces in every run, so that answers can be compared.
        let mut nonces = [[0; 18]; LOGIN_ATTEMPTS_MAX];
        for (index, nonce) in nonces.iter_mut().enumerate() {
            *nonce = [connection as u8 * 16 + index as u8; 18];
        }
        let session = Imap::new(config.clone(), Secret::new(nonces)).with_budget(Arc::clone(&budget));
        let (is_closed, keys) = (Rc::clone(&is_closed), Rc::clone(&keys));
        let budget = Arc::clone(&budget);
        (session, Handlers { world: world.clone(), account: None, is_closed, keys, budget })
    })
    .with_events(move |key, value| match (key, value) {
        ("account", "closed") => {
            closing.set(true);
            Ok(())
        }
        _ => Err("no such event".to_owned()),
    })
    .with_tls(transcript.is("tls"))
}

#[test]
fn transcripts_play() {
    sim::play_folder(&folder(), peer);
}

#[test]
fn transcripts_play_from_stored_summaries_as_from_messages() {
    sim::play_folder(&folder(), |transcript| {
        let mut world = World::new();
        world.summarize = crate::summarize;
        peer_in(world, transcript)
    });
}

#[test]
fn transcripts_play_however_their_input_is_cut() {
    sim::cut_folder(&folder(), peer);
}

#[test]
fn noise_is_refused_within_bounds() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    sim::noise_folder(&folder(), 0..rounds, peer, |peer| {
        let held = peer.session(1).map_or(0, |session| session.buffered_bytes());
        assert!(held < 4 << 20, "a session holds {held} bytes");
    });
}

/// A session whose handlers are the real ones, driven by hand.
pub(crate) struct Hand {
    session: Imap,
    handlers: Handlers,
}

impl Hand {
    fn new() -> Self {
        Self::of(World::new())
    }

    pub(crate) fn of(world: World) -> Self {
        let mut config = Config::new("imap.example.org");
        config.auth.allow_plaintext_without_tls = true;
        let session = Imap::new(Arc::new(config), Secret::new([[1; 18]; LOGIN_ATTEMPTS_MAX]));
        let budget = Budget::new(usize::MAX);
        let handlers =
            Handlers { world, account: None, is_closed: Rc::default(), keys: Rc::default(), budget };
        let mut hand = Self { session, handlers };
        hand.say("a0 LOGIN ann secret\r\n");
        hand
    }

    /// Sends bytes; gives the answer and whether the session has ended.
    pub(crate) fn say(&mut self, bytes: &str) -> (String, bool) {
        self.session.input(bytes.as_bytes());
        self.run(|| None)
    }

    fn run(&mut self, mut drain: impl FnMut() -> Option<Box<dyn Drain>>) -> (String, bool) {
        let mut said = Vec::new();
        loop {
            let next = self.session.next(self.handlers.world.clock.now());
            said.append(self.session.output());
            let Next::Run(request) = next else {
                return (String::from_utf8(said).expect("UTF-8"), matches!(next, Next::Close));
            };
            let mut drain = drain();
            let mut out = match &mut drain {
                Some(drain) => Out::new(Vec::new(), drain.as_mut()),
                None => Out::in_memory(Vec::new()),
            };
            let handled = patiently(self.handlers.handle(&mut self.session, request, &mut out));
            said.append(&mut out.buffer);
            match handled {
                Handled::Reply(reply) | Handled::Move(_, reply) => self.session.reply(reply),
            }
        }
    }
}

/// The output of a future that waits for nothing, though it may give others their turn.
fn patiently<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// A peer that has gone.
struct Gone;

impl Drain for Gone {
    fn poll_drain(&mut self, _: &mut Context<'_>, _: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Err(Closed))
    }
}

#[test]
fn a_server_that_stops_says_bye_at_the_next_safe_point() {
    let mut hand = Hand::new();
    hand.say("a1 SELECT INBOX\r\na2 IDLE\r\n");
    hand.session.drain();
    let (said, is_over) = hand.say("");
    assert_eq!(said, "* BYE [UNAVAILABLE] the server is going down for a moment\r\n");
    assert!(is_over);
}

#[test]
fn a_peer_that_has_gone_ends_the_session_without_a_word() {
    let mut hand = Hand::new();
    let account = hand.handlers.world.account("ann");
    for index in 0..400 {
        let name = MailboxName::new(&format!("{index:0190}")).expect("a valid name");
        ready(account.create_mailbox(&name, None, hand.handlers.world.clock.now())).expect("there is room");
    }
    hand.session.input(b"a1 LIST \"\" *\r\na2 NOOP\r\n");
    let (said, is_over) = hand.run(|| Some(Box::new(Gone)));
    assert!(is_over);
    assert!(!said.contains("a1 ") && !said.contains("a2 "), "{said}");
}

#[test]
fn large_messages_are_stored_byte_for_byte_however_they_come() {
    let message = |letter: &str| format!("Subject: {letter}\r\n\r\n{}", letter.repeat(100_000));
    let (one, two) = (message("x"), message("y"));
    let command = format!(
        "a1 APPEND INBOX (\\Seen) {{{}+}}\r\n{one} ~{{{}+}}\r\n{two}\r\na2 SELECT INBOX\r\n",
        one.len(),
        two.len()
    );
    for piece in [1_000, 4_096, 30_000] {
        let mut hand = Hand::new();
        for bytes in command.as_bytes().chunks(piece) {
            hand.say(core::str::from_utf8(bytes).expect("ASCII"));
            let held = hand.session.buffered_bytes();
            assert!(held < 3 * command.len(), "{held} bytes held");
        }
        let fetched = hand.say("a3 FETCH 1:2 BODY.PEEK[]\r\n").0;
        let want = |n: u32, text: &str| format!("* {n} FETCH (BODY[] {{{}}}\r\n{text})\r\n", text.len());
        assert_eq!(fetched, want(1, &one) + &want(2, &two) + "a3 OK fetched\r\n");
    }
}

#[test]
fn a_full_account_takes_no_message_and_says_so() {
    let mut hand = Hand::new();
    hand.handlers.world.add_account("carl", Some(100));
    hand.handlers.account = Some(hand.handlers.world.account("carl"));
    let append = |bytes: usize| format!("a1 APPEND INBOX {{{bytes}+}}\r\n{}\r\n", "x".repeat(bytes));
    assert!(hand.say(&append(60)).0.starts_with("a1 OK [APPENDUID "));
    assert_eq!(hand.say(&append(41)).0, "a1 NO [OVERQUOTA] the account is over its quota\r\n");
}

#[test]
fn every_capability_is_listed_once_with_the_document_that_defines_it() {
    for (index, capability) in CAPABILITIES.iter().enumerate() {
        assert!(capability.rfc >= 2000, "{}", capability.name);
        let twice = CAPABILITIES.iter().skip(index + 1).any(|other| other.name == capability.name);
        assert!(!twice, "{}", capability.name);
    }
}
