//! Every transcript played whole, cut and mutated, against accounts on a simulated disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use account::{Account, MailboxName};
use base::{AccountId, Handled, Out, Ranges, Secret, Service, Session, Timestamp, Uid};
use sim::{Clock, Peer, SessionPeer, Transcript, World, samples};

use crate::limits::INPUT_BYTES_MAX;
use crate::{
    Client, Config, Entropy, LOGIN_ATTEMPTS_MAX, OpenError, Pop3, Reply, Request, Response, handle, open,
};

type Locks = Rc<RefCell<BTreeSet<AccountId>>>;

/// What the composition does for a connection.
struct Handlers {
    world: World,
    locks: Locks,
    account: Option<Account>,
    /// The directory has no such account any more.
    is_closed: Rc<Cell<bool>>,
}

impl Handlers {
    fn open(&mut self, session: &Pop3) -> Reply {
        let identity = session.identity().expect("the maildrop is asked for after the login");
        if !self.locks.borrow_mut().insert(identity.account) {
            return Reply::Opened(Err(OpenError::InUse));
        }
        let account = self.account.insert(self.world.account_of(identity));
        Reply::Opened(open(account))
    }
}

impl Service<Pop3> for Handlers {
    async fn handle(&mut self, session: &mut Pop3, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        Handled::Reply(match request {
            Request::Auth(query) => Reply::Auth(self.world.answer(&query)),
            Request::Open => self.open(session),
            Request::Act(_) if self.is_closed.get() => Reply::Closed,
            Request::Act(act) => {
                let account = self.account.as_ref().expect("a maildrop is open");
                handle(act, account, out).await
            }
        })
    }

    async fn changed(&mut self) {}
}

impl Drop for Handlers {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            self.locks.borrow_mut().remove(&account.id());
        }
    }
}

fn entropy() -> Entropy {
    Entropy { nonces: Secret::new(core::array::from_fn(|i| [i as u8; 18])) }
}

fn config(transcript: &Transcript) -> Config {
    let mut config = Config::new("mail.example.org");
    config.auth.allow_plaintext_without_tls = transcript.is("plaintext");
    config.starttls = transcript.header("starttls") != Some("no");
    config
}

/// What happens to ann's INBOX and its disk beside the session.
fn event(world: &World, key: &str, value: &str) -> Result<(), String> {
    match (key, value) {
        ("deliver", name) => {
            let message = samples::named(name).ok_or("no such sample")?;
            world.append("ann", "INBOX", message);
        }
        ("expunge", uid) => {
            let account = world.account("ann");
            let inbox = account.mailbox(&MailboxName::inbox()).map_err(|error| error.to_string())?;
            let uid = uid.parse().map_err(|_| "no UID")?;
            let uids: Ranges = [uid].into_iter().collect();
            sim::ready(account.remove_messages(inbox.id, &uids)).map_err(|error| error.to_string())?;
        }
        ("disk", "fail next write") => world.disk.fail_writes(1),
        _ => return Err("no such event".to_owned()),
    }
    Ok(())
}

fn peer(transcript: &Transcript) -> SessionPeer<Pop3, Handlers> {
    let world = World::new();
    world.prepare(transcript);
    // `stored:` puts a message into ann's INBOX that is none of the samples, whose lines all end at CRLF.
    for text in transcript.all("stored") {
        world.append("ann", "INBOX", text.replace("\\r", "\r").replace("\\n", "\n").as_bytes());
    }
    let (config, locks) = (Arc::new(config(transcript)), Locks::default());
    let (clock, outside) = (world.clock.clone(), world.clone());
    let is_closed = Rc::new(Cell::new(false));
    let closing = Rc::clone(&is_closed);
    let connect = move |_| {
        let (locks, is_closed) = (Rc::clone(&locks), Rc::clone(&is_closed));
        let handlers = Handlers { world: world.clone(), locks, account: None, is_closed };
        (Pop3::new(Arc::clone(&config), entropy()), handlers)
    };
    SessionPeer::new(clock, connect).with_tls(transcript.is("tls")).with_events(move |key, value| {
        match (key, value) {
            ("account", "closed") => {
                closing.set(true);
                Ok(())
            }
            _ => event(&outside, key, value),
        }
    })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

#[test]
fn every_transcript_is_answered_as_written() {
    sim::play_folder(&folder(), peer);
}

#[test]
fn every_transcript_survives_any_cut_of_its_input() {
    sim::cut_folder(&folder(), peer);
}

#[test]
fn noise_neither_panics_nor_gathers() {
    sim::noise_folder(&folder(), 1..40, peer, |peer| {
        let session = peer.session(1).expect("it was opened");
        assert!(session.room() <= INPUT_BYTES_MAX);
        assert!(session.output().is_empty());
    });
}

/// A peer under TLS whose INBOX is as the transcript's header says, and a client that has logged in.
fn logged_in(mailbox: &str) -> (SessionPeer<Pop3, Handlers>, Client) {
    let text = format!("# RFC 1939\ntls: yes\nmailbox: {mailbox}");
    let mut peer = peer(&Transcript::parse(&text).expect("valid"));
    let mut client = Client::new();
    client.input(&peer.open(1));
    client.log_in("ann", World::PASSWORD);
    let responses = exchange(&mut peer, &mut client);
    assert!(responses.iter().all(|response| response.is_ok), "{responses:?}");
    (peer, client)
}

fn exchange(peer: &mut SessionPeer<Pop3, Handlers>, client: &mut Client) -> Vec<Response> {
    let said = peer.send(1, &core::mem::take(client.output()));
    client.input(&said);
    core::iter::from_fn(|| client.response().expect("the server speaks POP3")).collect()
}

#[test]
fn every_sample_comes_out_byte_for_byte() {
    let names: Vec<&str> = samples::ALL.iter().map(|(name, _)| *name).collect();
    let (mut peer, mut client) = logged_in(&format!("INBOX from {}", names.join(", ")));
    for (number, (name, message)) in (1..).zip(samples::ALL) {
        client.command(&format!("RETR {number}"));
        client.command(&format!("TOP {number} 1000"));
        client.command(&format!("LIST {number}"));
        let responses = exchange(&mut peer, &mut client);
        // A last line without its CRLF cannot be sent otherwise than with it.
        let want =
            if message.ends_with(b"\r\n") { message.to_vec() } else { [message, &b"\r\n"[..]].concat() };
        assert_eq!(responses[0].lines, want, "{name}");
        assert_eq!(responses[1].lines, want, "{name}");
        assert_eq!(responses[2].text, format!("{number} {}", message.len()));
    }
}

#[test]
fn a_message_of_many_pieces_comes_out_byte_for_byte() {
    let text = Transcript::parse("# RFC 1939\ntls: yes").expect("valid");
    let world = World::new();
    let mut message = b"Subject: long\r\n\r\n".to_vec();
    for line in 0..20_000 {
        message.extend(format!(".{line}\r\n..\r\n").bytes());
    }
    world.append("ann", "INBOX", &message);
    let handlers = world.clone();
    let config = Arc::new(config(&text));
    let mut peer = SessionPeer::new(world.clock.clone(), move |_| {
        let (locks, is_closed) = (Locks::default(), Rc::default());
        let handlers = Handlers { world: handlers.clone(), locks, account: None, is_closed };
        (Pop3::new(Arc::clone(&config), entropy()), handlers)
    })
    .with_tls(true);
    let mut client = Client::new();
    client.input(&peer.open(1));
    client.log_in("ann@example.org", World::PASSWORD);
    client.command("RETR 1");
    client.command("TOP 1 30000");
    let responses = exchange(&mut peer, &mut client);
    assert!(responses[2].lines == message);
    assert_eq!(
        responses[3].lines.len(),
        message.iter().position(|b| *b == b'\r').map_or(0, |at| at + 4)
            + message.split_inclusive(|b| *b == b'\n').skip(2).take(30_000).map(<[u8]>::len).sum::<usize>()
    );
}

#[test]
fn listings_of_a_large_maildrop_skip_what_is_gone() {
    let (mut peer, mut client) = logged_in("INBOX from plain*3000");
    for number in [1, 1500, 2999] {
        client.command(&format!("DELE {number}"));
    }
    exchange(&mut peer, &mut client);
    for uid in ["2", "1024", "1025", "3000"] {
        peer.event("expunge", uid).expect("the message is there");
    }
    client.command("LIST");
    client.command("UIDL");
    client.command("LIST 1024");
    client.command("STAT");
    let responses = exchange(&mut peer, &mut client);
    let lines = |n: usize| responses[n].lines.split(|b| *b == b'\n').count() - 1;
    assert_eq!((lines(0), lines(1)), (2993, 2997));
    assert!(responses[0].lines.starts_with(b"3 "));
    assert!(!responses[2].is_ok);
    assert!(responses[3].text.starts_with("2997 "));
}

#[test]
fn answers_to_a_full_input_are_bounded() {
    let (mut peer, mut client) = logged_in("INBOX");
    (0..INPUT_BYTES_MAX / 6).for_each(|_| client.command("CAPA"));
    let said = peer.send(1, &core::mem::take(client.output()));
    assert!(said.len() < 64 * INPUT_BYTES_MAX, "{}", said.len());
}

#[test]
fn a_drained_session_ends_between_two_commands() {
    let (mut peer, mut client) = logged_in("INBOX from plain");
    peer.session(1).expect("it is open").drain();
    client.command("DELE 1");
    client.command("NOOP");
    let responses = exchange(&mut peer, &mut client);
    assert_eq!(responses.len(), 2);
    assert!(peer.is_closed(1));
}

#[test]
fn the_deadline_starts_with_the_connection() {
    let config = Arc::new(Config::new("mail.example.org"));
    let mut session = Pop3::new(config, entropy());
    assert_eq!(session.deadline(), Timestamp::NEVER);
    assert!(matches!(session.next(Clock::START), base::Next::Read));
    assert_eq!(session.deadline().since(Clock::START).as_secs(), 600);
    assert_eq!(session.output().as_slice(), b"+OK mail.example.org POP3 ready\r\n");
    assert_eq!(LOGIN_ATTEMPTS_MAX, entropy().nonces.reveal().len());
    assert_eq!(Uid(1).next(), Some(Uid(2)));
}
