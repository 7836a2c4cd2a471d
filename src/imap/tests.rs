//! The transcripts of `transcripts/`, played in memory against accounts on a simulated disk: whole,
//! cut at every byte, and mutated by seed.
//!
//! Headers a transcript can have:
//! - `mailbox: NAME sample sample …`: ann's mailbox NAME holds these sample messages (`sim::samples`);
//! - `tls: yes`: under TLS from the start; `plaintext: no`: no passwords without TLS;
//!   `starttls: no`: not offered;
//! - `limit: NAME NUMBER`: a bound of [`Limits`] other than the default.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::rc::Rc;

use account::{Account, MailboxName, NewMessage};
use base::{Handled, Out, Secret, Service, Timestamp};
use sim::{Clock, SessionPeer, Transcript, World, ready};

use crate::{Config, Imap, LOGIN_ATTEMPTS_MAX, Limits, Reply, Request};

/// The handlers of one connection, as `shard` puts them together for real ones.
struct Handlers {
    world: Rc<RefCell<World>>,
    clock: Clock,
    account: Option<Account>,
}

impl Service<Imap> for Handlers {
    async fn handle(&mut self, session: &mut Imap, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        match request {
            Request::Auth(query) => Handled::Reply(Reply::Auth(self.world.borrow().answer(&query))),
            Request::Act(act) => {
                let identity = session.identity().expect("only somebody who is logged in acts");
                let name = identity.address.clone();
                let world = &self.world;
                let account = self.account.get_or_insert_with(|| world.borrow().account(&name));
                Handled::Reply(crate::handle(act, account, self.clock.now(), out).await)
            }
        }
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

fn fill(account: &Account, header: &str, now: Timestamp) {
    let mut words = header.split_whitespace();
    let name = MailboxName::new(words.next().expect("a mailbox has a name")).expect("a valid name");
    let mailbox = match account.mailbox(&name) {
        Ok(mailbox) => mailbox,
        Err(_) => ready(account.create_mailbox(&name, None, now)).expect("the mailbox can be made"),
    };
    for sample in words {
        let data = sim::samples::named(sample).unwrap_or_else(|| panic!("no sample is called {sample}"));
        let message = NewMessage {
            data: std::sync::Arc::new(data.to_vec()),
            flags: account::Flags::NONE,
            keywords: Vec::new(),
            received: now,
        };
        ready(account.append(mailbox.id, vec![message], now)).expect("the message can be stored");
    }
}

fn peer(transcript: &Transcript) -> SessionPeer<Imap, impl Service<Imap> + use<>> {
    let clock = Clock::new();
    let world = Rc::new(RefCell::new(World::new()));
    for header in transcript.all("mailbox") {
        fill(&world.borrow().account("ann@example.org"), header, clock.now());
    }
    let config = std::sync::Arc::new(config(transcript));
    let for_session = clock.clone();
    SessionPeer::new(clock, move |connection| {
        // The same nonces in every run, so that answers can be compared.
        let mut nonces = [[0; 18]; LOGIN_ATTEMPTS_MAX];
        for (index, nonce) in nonces.iter_mut().enumerate() {
            *nonce = [connection as u8 * 16 + index as u8; 18];
        }
        let session = Imap::new(config.clone(), Secret::new(nonces));
        (session, Handlers { world: Rc::clone(&world), clock: for_session.clone(), account: None })
    })
    .with_tls(transcript.is("tls"))
}

#[test]
fn transcripts_play() {
    sim::play_folder(&folder(), peer);
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
