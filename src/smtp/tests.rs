//! The transcripts, whole, cut and disturbed; and what a transcript cannot say: the message that came out,
//! memory and drain. The client's tests are in `client/tests.rs`.
//!
//! Handlers answer from a table: `ann` may log in with `secret`, and receives at example.org, as do bob and
//! jürgen; names that begin with `late-` are accepted and then fail. Other names there say what is wrong
//! with them or are unknown; other domains are not ours.

use std::cell::RefCell;
use std::path::Path as FilePath;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use auth::{Answer, Identity, Query, ScramCredential, ScramHash};
use base::{AccountId, Budget, Charge, Next, PartitionId, Rfc3339, Secret, Session, Timestamp, TlsInfo};
use sim::{Clock, FromFn, SessionPeer, Transcript};

use crate::client::stuff;
use crate::limits::{BODY_INPUT_BYTES_MAX, CONTENT_START_BYTES, INPUT_BYTES_MAX, RECEIVED_FIELDS_MAX};
use crate::{
    AUTH_ATTEMPTS_MAX, BodyKind, ByMode, Config, Entropy, Message, Mode, Notify, Outcome, Peer, Refused,
    Reply, Request, Return, Rights, Smtp, Terms, UrlFault, UrlRequest, Verdict, Waited,
};

type Answers = Box<dyn FnMut(Request) -> Reply>;
pub(crate) type Stored = Rc<RefCell<Vec<Message>>>;

pub(crate) const NOW: Timestamp = Clock::START;

fn folder() -> &'static FilePath {
    FilePath::new(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts"))
}

/// Header lines: `content-bytes-max` for all connections together, `mode`, `tls: yes`, `starttls: no`, `plaintext: yes`, `verp: yes`, `peer`, `trusted: yes`, `gateway: yes` for who may say XCLIENT and is known well, `tested: yes` for who waits for the greeting, and limits.
fn config(transcript: &Transcript) -> Config {
    let mode = match transcript.header("mode").unwrap_or("mx") {
        "mx" => Mode::Mx,
        "submission" => Mode::Submission,
        "lmtp" => Mode::Lmtp,
        other => panic!("{other} is no mode"),
    };
    let mut config = Config::new("mail.example.org", mode);
    config.tls_offered = transcript.header("starttls") != Some("no");
    config.auth.allow_plaintext_without_tls = transcript.is("plaintext");
    config.offers_verp = transcript.is("verp");
    let number =
        |key: &str| transcript.header(key).map(|value| value.parse::<u32>().expect("a limit is a number"));
    let limits = &mut config.limits;
    number("message-bytes-max").inspect(|n| limits.message_bytes_max = *n as usize);
    number("recipients-max").inspect(|n| limits.recipients_max = *n as usize);
    number("transactions-max").inspect(|n| limits.transactions_max = *n);
    number("messages-per-minute-max").inspect(|n| limits.messages_per_minute_max = *n);
    number("bad-commands-max").inspect(|n| limits.bad_commands_max = *n);
    number("bad-recipients-max").inspect(|n| limits.bad_recipients_max = *n);
    number("idle-commands-max").inspect(|n| limits.idle_commands_max = *n);
    number("hold-s-max").inspect(|n| limits.hold_s_max = *n);
    config
}

fn new_session(config: Config, peer: Peer) -> Smtp {
    let nonces = core::array::from_fn::<_, AUTH_ATTEMPTS_MAX, _>(|at| [at as u8 + 1; 18]);
    Smtp::new(Arc::new(config), peer, Entropy { ids: 1, nonces: Secret::new(nonces) })
}

fn new_peer() -> Peer {
    Peer { address: "192.0.2.1".into(), is_trusted: false }
}

pub(crate) fn session(mode: Mode) -> Smtp {
    new_session(Config::new("mail.example.org", mode), new_peer())
}

fn answers(stored: &Stored) -> Answers {
    let stored = Rc::clone(stored);
    Box::new(move |request| answer(request, &stored))
}

fn answer(request: Request, stored: &Stored) -> Reply {
    match request {
        Request::Greeting(Waited::NotYet) => Reply::Greeting(6000),
        Request::Greeting(Waited::Silent) => Reply::Greeting(0),
        Request::Greeting(Waited::Spoke) => Reply::Refused(Box::new(Refused {
            code: 554,
            enhanced: (5, 5, 1),
            text: "you spoke first".into(),
        })),
        Request::Auth(query) => Reply::Auth(login(query)),
        Request::LoggedIn(_) => Reply::LoggedIn,
        Request::Recipient(check)
            if check.sender.as_ref().is_some_and(|s| s.domain() == "forged.example") =>
        {
            Reply::Recipient(Verdict::SenderDenied)
        }
        Request::Recipient(check) => Reply::Recipient(verdict(&check.address)),
        Request::Url(request) => Reply::Url(behind(&request)),
        Request::Deliver(message) => {
            let outcomes = message.envelope.recipients.iter().map(|to| outcome(&to.address)).collect();
            stored.borrow_mut().push(*message);
            Reply::Delivered(outcomes)
        }
    }
}

/// What lies behind `imap://mail.example.org/` and a word, which says what it is.
fn behind(request: &UrlRequest) -> Result<Vec<u8>, UrlFault> {
    assert_eq!(request.identity.address, "ann@example.org");
    let Some(word) = request.url.reveal().strip_prefix("imap://mail.example.org/") else {
        return Err(UrlFault::Foreign);
    };
    let bytes: &[u8] = match word {
        "draft" => b"Subject: draft\r\n\r\nit is.\r\n.\r\n",
        "part" => b"from a part\r\n",
        "nothing" => b"",
        "half" => b"half a line",
        "break" => b"a\r",
        "lf" => b"Subject: x\n\nx\r\n.\nMAIL FROM:<>\r\n",
        "nul" => b"Subject: x\r\n\r\n\0\r\n",
        "denied" => return Err(UrlFault::Denied),
        "gone" => return Err(UrlFault::Missing),
        "large" => return Err(UrlFault::TooLarge),
        "full" => return Err(UrlFault::NoMemory),
        "down" => return Err(UrlFault::Unavailable),
        _ => return Err(UrlFault::Malformed),
    };
    // Whoever answers keeps to this.
    if bytes.len() > request.bytes_max { Err(UrlFault::TooLarge) } else { Ok(bytes.to_vec()) }
}

fn verdict(address: &str) -> Verdict {
    let Some((local, domain)) = address.rsplit_once('@') else { return Verdict::BadAddress };
    match (local, domain.to_ascii_lowercase().as_str()) {
        ("ann" | "bob" | "jürgen", "example.org") | ("postmaster", "mail.example.org") => Verdict::Accept,
        (local, "example.org") if local.starts_with("late-") => Verdict::Accept,
        ("full", "example.org") => Verdict::OverQuota,
        ("off", "example.org") => Verdict::Disabled,
        ("loop", "example.org") => Verdict::AliasLoop,
        ("busy", "example.org") => Verdict::Unavailable,
        ("bad", "example.org") => Verdict::BadAddress,
        ("flooded", "example.org") => Verdict::TooMany,
        (_, "example.org" | "mail.example.org") => Verdict::UnknownUser,
        _ => Verdict::NotLocal,
    }
}

fn outcome(address: &str) -> Outcome {
    match address {
        "late-full@example.org" => Outcome::OverQuota,
        "late-off@example.org" => Outcome::Disabled,
        "late-large@example.org" => Outcome::TooLarge,
        "late-rejected@example.org" => Outcome::Rejected,
        "late-space@example.org" => Outcome::NoSpace,
        "late-many@example.org" => Outcome::TooManyRecipients,
        "late-busy@example.org" => Outcome::Unavailable,
        _ => Outcome::Stored,
    }
}

fn login(query: Query) -> Answer {
    static SCRAM: OnceLock<[ScramCredential; 2]> = OnceLock::new();
    let identity =
        Identity { account: AccountId(1), partition: PartitionId(0), address: "ann@example.org".into() };
    match query {
        Query::Password { username, .. } if username == "throttled" => {
            Answer::Throttled { retry_after_s: 30 }
        }
        Query::Password { username, .. } if username == "busy" => Answer::Unavailable,
        Query::Password { username, password } if username == "ann" && password.reveal() == "secret" => {
            Answer::Granted(identity)
        }
        Query::Password { .. } => Answer::Denied,
        Query::Scram { username, hash } => {
            let identity = (username == "ann").then_some(identity);
            let [sha1, sha256] = SCRAM.get_or_init(scram_credentials).clone();
            let credential = match hash {
                ScramHash::Sha1 => sha1,
                ScramHash::Sha256 => sha256,
            };
            Answer::Scram(Box::new(ScramCredential { identity, ..credential }))
        }
    }
}

fn scram_credentials() -> [ScramCredential; 2] {
    let credential = auth::hash_password(&Secret::new("secret".to_owned()), [7; 16], 4096);
    [credential.scram_sha1, credential.scram_sha256].map(|keys| ScramCredential { keys, identity: None })
}

/// Events of transcripts: `stored: 2`, how many messages were handed over; `holds: text`, what the last has; `terms: ..`,
/// how it is to go.
fn event(stored: &Stored, key: &str, value: &str) -> Result<(), String> {
    let messages = stored.borrow();
    match key {
        "stored" if messages.len().to_string() == value => Ok(()),
        "stored" => Err(format!("{} messages are stored", messages.len())),
        "holds" => {
            let data = messages.last().map(|message| String::from_utf8_lossy(&message.data).into_owned());
            let data = data.unwrap_or_default();
            if data.contains(value) { Ok(()) } else { Err(format!("the last message is {data:?}")) }
        }
        "terms" => {
            let said = messages.last().map(|message| terms(&message.envelope.terms)).unwrap_or_default();
            if said == value { Ok(()) } else { Err(format!("the last message goes {said:?}")) }
        }
        _ => Err(format!("no event `{key}:`")),
    }
}

fn terms(terms: &Terms) -> String {
    let mut said = vec![format!("priority {}", terms.priority)];
    said.extend(terms.requires_tls.then(|| "by TLS".to_owned()));
    said.extend(terms.release_at.map(|at| format!("from {}", Rfc3339(at))));
    said.extend(terms.deliver_by.map(|by| {
        let mode = if by.mode == ByMode::Return { "return" } else { "notify" };
        format!("until {} {mode}{}", Rfc3339(by.at), if by.is_traced { " traced" } else { "" })
    }));
    said.extend(terms.verp.map(|signs| format!("verp {}{}", signs.start(), signs.at())));
    said.join(", ")
}

fn peer(transcript: &Transcript) -> SessionPeer<Smtp, FromFn<Answers>> {
    peer_with(transcript, config(transcript))
}

fn peer_with(transcript: &Transcript, config: Config) -> SessionPeer<Smtp, FromFn<Answers>> {
    let stored = Stored::default();
    let address = transcript.header("peer").unwrap_or("192.0.2.1").to_owned();
    let is_trusted = transcript.is("trusted");
    let (is_gateway, is_tested) = (transcript.is("gateway"), transcript.is("tested"));
    let rights = Rights { may_prioritise: is_gateway, may_verp: is_gateway, may_announce: is_gateway };
    let bytes_max = transcript.header("content-bytes-max").map(|n| n.parse().expect("a number of bytes"));
    let budget = Budget::new(bytes_max.unwrap_or(usize::MAX));
    let for_service = Rc::clone(&stored);
    let make = move |_| {
        let peer = Peer { address: address.clone(), is_trusted };
        let session = new_session(config.clone(), peer).with_budget(Arc::clone(&budget)).with_rights(rights);
        let session = if is_tested { session.with_test() } else { session };
        (session, sim::from_fn(answers(&for_service)))
    };
    SessionPeer::new(Clock::new(), make)
        .with_tls(transcript.is("tls"))
        .with_events(move |key, value| event(&stored, key, value))
}

#[test]
fn transcripts_hold() {
    sim::play_folder(folder(), peer);
}

#[test]
fn transcripts_hold_however_their_input_is_cut() {
    sim::cut_folder(folder(), peer);
}

#[test]
fn noise_ends_in_clean_refusals_and_bounded_memory() {
    const MESSAGE_BYTES_MAX: usize = 50_000;
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    // A growing buffer may hold twice what is in it.
    let most = 2 * (MESSAGE_BYTES_MAX + INPUT_BYTES_MAX + BODY_INPUT_BYTES_MAX);
    let small = |transcript: &Transcript| {
        let mut config = config(transcript);
        config.limits.message_bytes_max = config.limits.message_bytes_max.min(MESSAGE_BYTES_MAX);
        peer_with(transcript, config)
    };
    sim::noise_folder(folder(), 0..rounds, small, |peer| {
        let held = peer.session(1).map_or(0, |session| session.buffered_bytes());
        assert!(held <= most, "{held} bytes are held");
    });
}

/// Gives the input, runs all requests, and returns what was said.
pub(crate) fn talk(session: &mut Smtp, input: &[u8], now: Timestamp, stored: &Stored) -> (String, bool) {
    let mut rest = input;
    let mut said = Vec::new();
    loop {
        match session.next(now) {
            Next::Run(request) => session.reply(answer(request, stored)),
            Next::Read if rest.is_empty() => break,
            Next::Read => {
                let (now, later) = rest.split_at(session.room().min(rest.len()));
                session.input(now);
                rest = later;
            }
            Next::Close => {
                said.append(session.output());
                return (String::from_utf8(said).unwrap(), true);
            }
            other => panic!("{other:?}"),
        }
        said.append(session.output());
    }
    said.append(session.output());
    (String::from_utf8(said).unwrap(), false)
}

fn last_codes(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.split_once(' ').map(|(code, _)| code)).collect()
}

#[test]
fn a_message_comes_out_as_it_went_in_behind_one_received_field() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    smtp.secured(TlsInfo { version: "TLS1.3".into(), cipher: "X".into(), ..TlsInfo::default() });
    let mut input =
        b"EHLO client.example\r\nMAIL FROM:<bob@example.com> BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\n\
        RCPT TO:<Ann@example.org>\r\nRCPT TO:<ann@example.org> NOTIFY=DELAY ORCPT=rfc822;x@y\r\nDATA\r\n"
            .to_vec();
    let content = b"Subject: x\r\n\r\n.\r\n..a\r\n\xff\r\n\r\n.";
    let whole = [&content[..], b"\r\n"].concat();
    stuff(&whole, &mut input);
    let (said, _) = talk(&mut smtp, &input, NOW, &stored);
    assert_eq!(last_codes(&said).last(), Some(&"250"), "{said}");

    let messages = stored.borrow();
    let [message] = messages.as_slice() else { panic!("one message") };
    let envelope = &message.envelope;
    let (field, rest) = message.data.split_at(envelope.received_field_bytes);
    assert_eq!(rest, whole);
    let expected = format!(
        "Received: from client.example ([192.0.2.1])\r\n\t(using TLS1.3 with cipher X)\r\n\
         \tby mail.example.org with ESMTPS id {}\r\n\tfor <ann@example.org>;\r\n\
         \tThu, 1 Jan 2026 00:00:00 +0000\r\n",
        envelope.id
    );
    assert_eq!(String::from_utf8_lossy(field), expected);
    assert_eq!(envelope.sender.as_ref().unwrap().as_str(), "bob@example.com");
    assert_eq!(envelope.body, BodyKind::EightBitMime);
    assert_eq!((envelope.ret, envelope.envid.as_deref()), (Some(Return::Headers), Some("a+b")));
    let [recipient] = envelope.recipients.as_slice() else { panic!("Ann@ is unknown to the table") };
    assert_eq!(recipient.orcpt.as_deref(), Some("rfc822;x@y"));
    assert_eq!(recipient.notify, Some(Notify { on_delay: true, ..Notify::default() }));
}

#[test]
fn what_is_too_large_is_dropped_as_it_comes() {
    let mut config = Config::new("mail.example.org", Mode::Mx);
    config.limits.message_bytes_max = 100_000;
    let (mut smtp, stored) = (new_session(config, new_peer()), Stored::default());
    talk(&mut smtp, b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n", NOW, &stored);
    let line = [b"x".repeat(998), b"\r\n".to_vec()].concat();
    for _ in 0..1000 {
        talk(&mut smtp, &line, NOW, &stored);
        assert!(smtp.buffered_bytes() <= 2 * 100_000 + CONTENT_START_BYTES);
    }
    assert!(smtp.buffered_bytes() < 1000, "what is refused is not kept");
    let (said, _) = talk(&mut smtp, b".\r\nNOOP\r\n", NOW, &stored);
    assert_eq!(said, "552 5.3.4 message too large\r\n250 2.0.0 ok\r\n");
    assert!(stored.borrow().is_empty());
}

#[test]
fn unfinished_messages_share_a_bounded_memory() {
    const BUDGET_BYTES: usize = 4 << 20;
    let (budget, stored) = (Budget::new(BUDGET_BYTES), Stored::default());
    let connect = |verb: &str| {
        let mut smtp = session(Mode::Mx).with_budget(Arc::clone(&budget));
        let input = format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\n{verb}\r\n");
        let (said, _) = talk(&mut smtp, input.as_bytes(), NOW, &stored);
        (smtp, said)
    };
    let line = [b"x".repeat(998), b"\r\n".to_vec()].concat();
    let mut all: Vec<Smtp> = (0..30).map(|_| connect("DATA").0).collect();
    for _ in 0..1000 {
        for smtp in &mut all {
            talk(smtp, &line, NOW, &stored);
        }
        let held: usize = all.iter().map(Smtp::buffered_bytes).sum();
        assert!(held <= BUDGET_BYTES + all.len() * BODY_INPUT_BYTES_MAX, "{held} bytes are held");
    }
    assert!(budget.used() > 0, "some of them still hold something");
    let answers: Vec<String> = all.iter_mut().map(|smtp| talk(smtp, b".\r\n", NOW, &stored).0).collect();
    let refused = answers.iter().filter(|said| said.starts_with("452 4.3.1 ")).count();
    assert!(refused > 20 && refused + stored.borrow().len() == 30, "{answers:?}");
    assert_eq!(budget.used(), 0, "all is given back");

    // With nothing left, none begins; what waits for its answer is not forgotten.
    let mut taken = Charge::new(Some(Arc::clone(&budget)));
    assert!(taken.cover(BUDGET_BYTES / 2) && connect("DATA").1.contains("\r\n354 "));
    let mut small = Charge::new(Some(Arc::clone(&budget)));
    while small.cover(small.bytes() + 1000) {}
    let mut rest: Vec<Charge> = Vec::new();
    while budget.has_room(1000) {
        let mut charge = Charge::new(Some(Arc::clone(&budget)));
        assert!(charge.cover(1000));
        rest.push(charge);
    }
    for verb in ["DATA", "BDAT 3\r\nabc", "NOOP"] {
        assert!(connect(verb).1.contains("\r\n452 4.3.1 too much mail is coming in now"), "{verb}");
    }
}

#[test]
fn a_message_at_the_limit_is_taken_and_one_byte_more_is_not() {
    for (extra, code) in [(0, "250"), (1, "552")] {
        let mut config = Config::new("mail.example.org", Mode::Mx);
        config.limits.message_bytes_max = 1000;
        let (mut smtp, stored) = (new_session(config, new_peer()), Stored::default());
        let mut input = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n".to_vec();
        // Doubled dots are not counted (RFC 1870 §5).
        let content = [&b".".repeat(998 + extra)[..], b"\r\n"].concat();
        stuff(&content, &mut input);
        let (said, _) = talk(&mut smtp, &input, NOW, &stored);
        assert_eq!(last_codes(&said).last(), Some(&code), "{said}");
    }
}

#[test]
fn an_idle_session_holds_no_buffer() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    talk(&mut smtp, b"EHLO c\r\nNOOP\r\n", NOW, &stored);
    *smtp.output() = Vec::new();
    assert_eq!(smtp.buffered_bytes(), 0);
}

#[test]
fn an_endless_line_is_dropped_and_ends_the_connection() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    let noise = vec![b'x'; 2 * 1024 * 1024];
    let (said, is_closed) = talk(&mut smtp, &noise, NOW, &stored);
    assert!(is_closed && said.ends_with("421 4.7.0 too many errors; closing\r\n"), "{said}");
}

#[test]
fn content_that_drips_for_ever_is_ended() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    talk(&mut smtp, b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n", NOW, &stored);
    let at_minute = |minute: i64| Timestamp::from_ms(NOW.as_ms() + minute * 60_000);
    for minute in (4..60).step_by(4) {
        assert!(!talk(&mut smtp, b"x\r\n", at_minute(minute), &stored).1, "minute {minute}");
    }
    let (said, is_closed) = talk(&mut smtp, b"x\r\n", at_minute(60), &stored);
    assert!(is_closed && said.starts_with("421 4.4.2"), "{said}");
}

#[test]
fn a_session_shows_no_password_and_no_mail() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    talk(&mut smtp, b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n", NOW, &stored);
    talk(&mut smtp, b"confidential\r\n", NOW, &stored);
    assert!(format!("{smtp:?}").contains("\"data\""));
    talk(&mut smtp, b".\r\n", NOW, &stored);
    smtp.input(b"AUTH PLAIN AGFubgBzZWNyZXQ=");
    let (bytes, shown) = (format!("{:?}", b"AGFubg"), format!("{smtp:?} {:?}", stored.borrow()));
    for secret in ["confidential", "AGFubg", &bytes, "99, 111, 110, 102", "65, 71, 70, 117"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_command_that_drips_does_not_keep_the_connection() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    talk(&mut smtp, b"EHLO c\r\n", NOW, &stored);
    let at_minute = |minute: i64| Timestamp::from_ms(NOW.as_ms() + minute * 60_000);
    assert!(!talk(&mut smtp, b"NO", at_minute(4), &stored).1);
    let (said, is_closed) = talk(&mut smtp, b"O", at_minute(5), &stored);
    assert!(is_closed && said.starts_with("421 4.4.2"), "{said}");
}

#[test]
fn a_drain_lets_the_message_in_hand_finish_and_nothing_else() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    talk(&mut smtp, b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n", NOW, &stored);
    smtp.drain();
    assert!(!talk(&mut smtp, b"a\r\n", NOW, &stored).1);
    let (said, is_closed) = talk(&mut smtp, b".\r\n", NOW, &stored);
    assert!(is_closed && said.starts_with("250 2.0.0") && said.contains("\r\n421 4.3.2"), "{said}");
    assert_eq!(stored.borrow().len(), 1);

    let mut idle = session(Mode::Mx);
    idle.drain();
    let (said, is_closed) = talk(&mut idle, b"EHLO c\r\n", NOW, &stored);
    assert!(is_closed && said.contains("421 4.3.2"), "{said}");
}

#[test]
fn a_message_in_circles_is_refused() {
    for (fields, code) in [(RECEIVED_FIELDS_MAX, "250"), (RECEIVED_FIELDS_MAX + 1, "554")] {
        let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
        let header = "Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n".repeat(fields);
        let input =
            format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n{header}\r\n.\r\n");
        let (said, _) = talk(&mut smtp, input.as_bytes(), NOW, &stored);
        assert_eq!(last_codes(&said).last(), Some(&code), "{said}");
    }
}

#[test]
fn an_endless_header_is_refused() {
    let (mut smtp, stored) = (session(Mode::Mx), Stored::default());
    let header = "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(20_000);
    let input = format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n{header}\r\n.\r\n");
    let (said, _) = talk(&mut smtp, input.as_bytes(), NOW, &stored);
    assert!(said.ends_with("552 5.3.4 header section too large\r\n"), "{said}");
}
