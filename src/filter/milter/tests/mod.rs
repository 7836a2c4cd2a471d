//! The protocol byte by byte: `<` is what the server writes, `>` what the milter does. Bytes are those of libmilter's
//! headers; what real milters do is tested in `tests/filter/`.

use alloc::string::ToString as _;
use alloc::sync::Arc;

use base::{Random, Timestamp};

use super::wire::step;
use super::*;
use crate::{Exchange as _, Failure, Modification, Next, Outcome, Verdict, Which};

const MESSAGE: &[u8] = b"Received: ours\r\nFrom: a@b\r\nSubject:  two\r\n spaces\r\nX:\r\n\r\nhello\r\n.\r\n";
const OURS: usize = 16;

fn content() -> Content {
    Content::new(Arc::new(MESSAGE.to_vec()), OURS)
}

fn packet(letter: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = (data.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(letter);
    bytes.extend_from_slice(data);
    bytes
}

fn options(actions: u32, steps: u32) -> Vec<u8> {
    options_of(6, actions, steps, b"")
}

fn options_of(version: u32, actions: u32, steps: u32, symbols: &[u8]) -> Vec<u8> {
    let numbers = [version.to_be_bytes(), actions.to_be_bytes(), steps.to_be_bytes()].concat();
    packet(b'O', &[&numbers, symbols].concat())
}

/// The packets of some output, as letter and data.
fn shown(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (this, after) = rest.split_at(u32::from_be_bytes(*length) as usize);
        found.push(this.iter().flat_map(|byte| core::ascii::escape_default(*byte)).map(char::from).collect());
        bytes = after;
    }
    assert!(bytes.is_empty(), "a packet is not complete");
    found
}

struct Play {
    milter: Milter,
    now: i64,
}

impl Play {
    fn new(answer: &[u8]) -> Self {
        Self::with(Reuse::Always, answer)
    }

    fn with(reuse: Reuse, answer: &[u8]) -> Self {
        let config = MilterConfig { reuse, ..MilterConfig::default() };
        let mut play = Self { milter: Milter::new(config), now: 0 };
        assert_eq!(play.said(), ["O\\x00\\x00\\x00\\x06\\x00\\x00\\x01\\xff\\x00\\x1f\\xff\\xff"]);
        play.milter.input(answer);
        play
    }

    fn next(&mut self) -> Next<Outcome> {
        self.milter.next(Timestamp::from_ms(self.now))
    }

    fn said(&mut self) -> Vec<String> {
        shown(&core::mem::take(self.milter.output()))
    }

    /// Asks, and gives these answers one after the other; what was said is checked step by step.
    fn ask(&mut self, event: Event, steps: &[(&[&str], &[u8])]) -> Outcome {
        self.milter.ask(event);
        for (said, answer) in steps {
            let next = self.next();
            assert_eq!(self.said(), *said);
            if answer.is_empty() {
                let Next::Answer(outcome) = next else { panic!("{next:?}") };
                return outcome;
            }
            assert_eq!(next, Next::Read);
            self.milter.input(answer);
        }
        match self.next() {
            Next::Answer(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self, event: Event, answer: &[u8]) -> Failure {
        self.milter.ask(event);
        let mut answer = Some(answer);
        loop {
            match self.next() {
                Next::Failed(failure) => return failure,
                Next::Read => self.milter.input(answer.take().expect("one answer is enough")),
                other => panic!("{other:?}"),
            }
            self.milter.output().clear();
        }
    }
}

fn connect() -> Event {
    let from = ClientAddress::Ip("192.0.2.1".parse().expect("an address"), 258);
    Event::Connect { name: "client.example".to_string(), from }
}

fn mail() -> Event {
    Event::Mail { path: "<a@b>".to_string(), parameters: Vec::from(["SIZE=5".to_string()]) }
}

fn rcpt() -> Event {
    Event::Rcpt { path: "<c@d>".to_string(), parameters: Vec::new() }
}

const CONTINUE: &[u8] = b"\0\0\0\x01c";

#[test]
fn a_session_is_told_step_by_step() {
    let mut play = Play::new(&options(0, 0));
    for (name, value) in
        [("j", "mx"), ("{client_addr}", "192.0.2.1"), ("{i}", "Q1"), ("{auth_authen}", "ann")]
    {
        play.milter.set_macro(name, value.as_bytes());
    }
    let macros = "DCj\\x00mx\\x00{client_addr}\\x00192.0.2.1\\x00";
    let said = "Cclient.example\\x004\\x01\\x02192.0.2.1\\x00";
    assert_eq!(play.ask(connect(), &[(&[macros, said], CONTINUE)]), Outcome::CONTINUE);
    let macros = "DH{client_addr}\\x00192.0.2.1\\x00";
    play.ask(Event::Helo("me".to_string()), &[(&[macros, "Hme\\x00"], CONTINUE)]);
    let macros = "DMi\\x00Q1\\x00{auth_authen}\\x00ann\\x00{client_addr}\\x00192.0.2.1\\x00";
    play.ask(mail(), &[(&[macros, "M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    play.ask(rcpt(), &[(&["DRi\\x00Q1\\x00", "R<c@d>\\x00"], CONTINUE)]);
    play.ask(Event::Data, &[(&["DTi\\x00Q1\\x00", "T"], CONTINUE)]);
    play.ask(Event::Unknown("XYZ 1".to_string()), &[(&["UXYZ 1\\x00"], CONTINUE)]);
    let outcome = play.ask(
        Event::Message(content()),
        &[
            (&["LFrom\\x00a@b\\x00"], CONTINUE),
            (&["LSubject\\x00two\\n spaces\\x00"], CONTINUE),
            (&["LX\\x00\\x00"], CONTINUE),
            (&["DNi\\x00Q1\\x00", "N"], CONTINUE),
            (&["Bhello\\r\\n.\\r\\n"], CONTINUE),
            (&["DEi\\x00Q1\\x00{auth_authen}\\x00ann\\x00", "E"], CONTINUE),
        ],
    );
    assert_eq!(outcome, Outcome::CONTINUE);
    assert!(play.milter.release());
    assert_eq!(play.said(), ["K"]);
    // The next session's first command needs no new offer, and knows nothing of the last one's macros.
    play.ask(connect(), &[(&[said], CONTINUE)]);
    play.milter.quit();
    assert_eq!(play.said(), ["Q"]);
}

#[test]
fn what_is_not_wanted_is_not_sent_and_what_is_not_answered_not_waited_for() {
    let no_reply = step::NO_REPLY_CONNECT | step::NO_REPLY_MAIL | step::NO_REPLY_HEADER | step::NO_REPLY_BODY;
    let not = step::NO_HELO | step::NO_RCPT | step::NO_DATA | step::NO_UNKNOWN | step::NO_HEADER_END;
    let mut play = Play::new(&options(0, no_reply | not | step::LEADING_SPACE));
    play.ask(connect(), &[(&["Cclient.example\\x004\\x01\\x02192.0.2.1\\x00"], b"")]);
    play.milter.set_macro("{rcpt_addr}", b"c@d");
    play.ask(Event::Helo("me".to_string()), &[(&[], b"")]);
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], b"")]);
    // The macros of a command that is left out are told all the same.
    play.ask(rcpt(), &[(&["DR{rcpt_addr}\\x00c@d\\x00"], b"")]);
    play.ask(Event::Data, &[(&[], b"")]);
    play.ask(Event::Unknown("X".to_string()), &[(&[], b"")]);
    let all = [
        "LFrom\\x00 a@b\\x00",
        "LSubject\\x00  two\\n spaces\\x00",
        "LX\\x00\\x00",
        "Bhello\\r\\n.\\r\\n",
        "E",
    ];
    play.ask(Event::Message(content()), &[(&all, CONTINUE)]);

    let mut play = Play::new(&options(0, step::NO_HEADERS | step::NO_BODY | step::NO_REPLY_HEADER_END));
    play.ask(Event::Message(content()), &[(&["N", "E"], CONTINUE)]);
    assert!(!play.milter.wants_rejected_recipients());
    let mut play = Play::new(&options(0, step::REJECTED_RCPT | step::NO_RCPT));
    play.ask(rcpt(), &[(&[], b"")]);
    assert!(play.milter.wants_rejected_recipients());
}

#[test]
fn a_milter_chooses_its_macros() {
    let lists =
        [&0u32.to_be_bytes()[..], b"j {xy}\0", &3u32.to_be_bytes(), b"\0", &9u32.to_be_bytes(), b"later\0"];
    let mut play = Play::new(&options_of(6, 0x100, 0, &lists.concat()));
    for name in ["j", "{xy}", "i", "v"] {
        play.milter.set_macro(name, b"1");
    }
    play.ask(
        connect(),
        &[(&["DCj\\x001\\x00{xy}\\x001\\x00", "Cclient.example\\x004\\x01\\x02192.0.2.1\\x00"], CONTINUE)],
    );
    play.ask(rcpt(), &[(&["R<c@d>\\x00"], CONTINUE)]);
    play.ask(mail(), &[(&["DMi\\x001\\x00", "M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    // As a packet of its own, in front of the options.
    let mut play = Play::new(&[packet(b'l', b"\0\0\0\x02v\0"), options(0x100, 0)].concat());
    play.milter.set_macro("v", b"1");
    play.ask(mail(), &[(&["DMv\\x001\\x00", "M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
}

#[test]
fn every_family_of_addresses_has_its_form() {
    for (from, said) in [
        (
            ClientAddress::Ip("2001:db8::1".parse().expect("an address"), 25),
            "Cx\\x006\\x00\\x192001:db8::1\\x00",
        ),
        (ClientAddress::Unix("/run/x".to_string()), "Cx\\x00L\\x00\\x00/run/x\\x00"),
        (ClientAddress::Unknown, "Cx\\x00U"),
    ] {
        let event = Event::Connect { name: "x".to_string(), from };
        Play::new(&options(0, 0)).ask(event, &[(&[said], CONTINUE)]);
    }
}

#[test]
fn refusals_keep_to_their_command() {
    let mut play = Play::new(&options(0, 0));
    let verdict = |outcome: Outcome| match outcome.verdict {
        Verdict::Reject(reply) | Verdict::TempFail(reply) => (reply.code(), reply.is_permanent()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        verdict(play.ask(Event::Helo("x".to_string()), &[(&["Hx\\x00"], &packet(b't', b""))])),
        (451, false)
    );
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    let reply = packet(b'y', b"550 5.1.1 nobody\0");
    assert_eq!(verdict(play.ask(rcpt(), &[(&["R<c@d>\\x00"], &reply)])), (550, true));
    assert_eq!(verdict(play.ask(rcpt(), &[(&["R<c@d>\\x00"], &packet(b'4', b""))])), (421, false));
    // One recipient less; the message goes on.
    play.ask(rcpt(), &[(&["R<c@d>\\x00"], CONTINUE)]);
    assert_eq!(verdict(play.ask(Event::Data, &[(&["T"], &packet(b'r', b""))])), (550, true));
    // It is told that its message is over, and asked no more until the next.
    assert_eq!(play.said(), ["A"]);
    play.ask(Event::Message(content()), &[(&[], b"")]);
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    play.milter.abort();
    assert_eq!(play.said(), ["A"]);
    play.milter.abort();
    assert_eq!(play.said(), [""; 0]);
}

#[test]
fn to_accept_is_to_hear_no_more() {
    let accept = packet(b'a', b"");
    let mut play = Play::new(&options(0, 0));
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], &accept)]);
    play.said();
    play.ask(rcpt(), &[(&[], b"")]);
    play.ask(Event::Message(content()), &[(&[], b"")]);
    // The next message.
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    let outcome = play.ask(Event::Message(content()), &[(&["LFrom\\x00a@b\\x00"], &packet(b'd', b""))]);
    assert_eq!(outcome.verdict, Verdict::Discard);
    assert_eq!(play.said(), ["A"]);
    // At the connection's stages it is for the whole connection.
    assert_eq!(
        play.ask(connect(), &[(&["Cclient.example\\x004\\x01\\x02192.0.2.1\\x00"], &accept)]).verdict,
        Verdict::Accept
    );
    play.ask(mail(), &[(&[], b"")]);
    play.ask(Event::Message(content()), &[(&[], b"")]);
    assert!(play.milter.release());
    assert_eq!(play.said(), ["K"]);
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
}

#[test]
fn what_it_skips_is_not_sent() {
    let skip = packet(b's', b"");
    let mut play = Play::new(&options(0, step::SKIP));
    let outcome = play.ask(
        Event::Message(content()),
        &[
            (&["LFrom\\x00a@b\\x00"], &skip),
            (&["N"], CONTINUE),
            (&["Bhello\\r\\n.\\r\\n"], &skip),
            (&["E"], CONTINUE),
        ],
    );
    assert_eq!(outcome, Outcome::CONTINUE);
    let mut play = Play::new(&options(0, step::SKIP | step::NO_HEADERS));
    let large = Content::new(Arc::new([b"A: b\r\n\r\n", b"x".repeat(200_000).as_slice()].concat()), 0);
    let body = alloc::format!("B{}", "x".repeat(65_535));
    play.ask(
        Event::Message(large),
        &[(&["N"], CONTINUE), (&[&body], CONTINUE), (&[&body], &skip), (&["E"], CONTINUE)],
    );
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    play.ask(rcpt(), &[(&["R<c@d>\\x00"], &skip)]);
    play.ask(rcpt(), &[(&[], b"")]);
    assert_eq!(
        Play::new(&options(0, 0)).failure(rcpt(), &skip),
        Failure::Protocol("a skip that was not agreed on")
    );
}

#[test]
fn changes_are_gathered_until_the_decision() {
    let answer = [
        packet(b'p', b""),
        packet(b'h', b"A\x001\0"),
        packet(b'i', b"\0\0\0\x01B\x002\n 3\0"),
        packet(b'm', b"\0\0\0\x02C\x004\0"),
        packet(b'm', b"\0\0\0\x01D\0\0"),
        packet(b'+', b"<e@f>\0"),
        packet(b'2', b"<g@h>\0NOTIFY=NEVER\0"),
        packet(b'-', b"i@j\0"),
        packet(b'e', b"<k@l>\0"),
        packet(b'b', b"new "),
        packet(b'b', b"body\r\n"),
        packet(b'c', b""),
    ]
    .concat();
    let mut play = Play::new(&options(0x1ff, step::NO_HEADERS | step::NO_HEADER_END | step::NO_BODY));
    let outcome = play.ask(Event::Message(content()), &[(&["E"], &answer)]);
    let text = str::to_string;
    let expected = [
        Modification::AddHeader { name: text("A"), value: b" 1".to_vec() },
        Modification::InsertHeader { index: 1, name: text("B"), value: b" 2\n 3".to_vec() },
        Modification::ChangeHeader { index: 2, name: text("C"), value: b" 4".to_vec() },
        Modification::RemoveHeader { name: text("D"), which: Which::Nth(1) },
        Modification::AddRecipient { address: text("e@f"), parameters: text("") },
        Modification::AddRecipient { address: text("g@h"), parameters: text("NOTIFY=NEVER") },
        Modification::RemoveRecipient(text("i@j")),
        Modification::ChangeSender { address: text("k@l"), parameters: text("") },
        Modification::ReplaceBody(b"new body\r\n".to_vec()),
    ];
    assert_eq!(outcome, Outcome { verdict: Verdict::Continue, modifications: expected.to_vec() });
    // With the leading space agreed on, the milter brings its own.
    let mut play = Play::new(&options(
        0x1ff,
        step::NO_HEADERS | step::NO_HEADER_END | step::NO_BODY | step::LEADING_SPACE,
    ));
    let answer = [packet(b'h', b"A\x001\0"), packet(b'q', b"odd\r\n one\0"), packet(b'a', b"")].concat();
    let outcome = play.ask(Event::Message(content()), &[(&["E"], &answer)]);
    assert_eq!(outcome.verdict, Verdict::Quarantine(text("odd one")));
    assert_eq!(outcome.modifications, [Modification::AddHeader { name: text("A"), value: b"1".to_vec() }]);
    // A refusal takes no changes along.
    let answer = [packet(b'h', b"A\x001\0"), packet(b'y', b"550 5.7.1 no\0")].concat();
    let outcome = play.ask(Event::Message(content()), &[(&["E"], &answer)]);
    assert!(matches!(outcome.verdict, Verdict::Reject(_)) && outcome.modifications.is_empty());
}

#[test]
fn what_is_against_the_protocol_is_a_failure() {
    let header = packet(b'h', b"A\x001\0");
    let failure = |options: &[u8], answer: &[u8]| match Play::new(options).failure(rcpt(), answer) {
        Failure::Protocol(what) => what,
        other => panic!("{other:?}"),
    };
    let all = options(0x1ff, 0);
    assert_eq!(failure(&options_of(7, 0, 0, b""), b""), "another version than 2 to 6");
    assert_eq!(failure(&options_of(1, 0, 0, b""), b""), "another version than 2 to 6");
    assert_eq!(failure(&options(0x200, 0), b""), "actions that were not offered");
    assert_eq!(failure(&options(0, 0x1000_0000), b""), "protocol steps that were not offered");
    assert_eq!(failure(&options_of(6, 0, 0, b"\0\0\0\0j\0"), b""), "a list of macros that was not agreed on");
    assert_eq!(failure(&packet(b'c', b""), b""), "no answer to the offer of options");
    assert_eq!(failure(&all, &header), "a change before the end of the message");
    assert_eq!(failure(&all, &packet(b'Z', b"")), "a letter that is no reply");
    assert_eq!(failure(&all, &packet(b'y', b"250 ok\0")), "a reply that refuses nothing");
    assert_eq!(failure(&all, &packet(b'y', b"550 no")), "a string without its end");
    assert_eq!(failure(&all, b"\0\0\0\0"), "a packet without a letter");
    assert_eq!(failure(&all, b"\x7f\0\0\0"), "a packet is too long");
    let steps = step::NO_HEADERS | step::NO_HEADER_END | step::NO_BODY;
    let at_end = |actions: u32, answer: &[u8]| match Play::new(&options(actions, steps))
        .failure(Event::Message(content()), answer)
    {
        Failure::Protocol(what) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(at_end(0x1fe, &header), "a change that was not agreed on");
    assert_eq!(at_end(0x1ff, &packet(b'h', b"A\r\nB\x001\0")), "a header field's name that is none");
    assert_eq!(at_end(0x1ff, &packet(b'h', b"A\x001")), "a string without its end");
    assert_eq!(at_end(0x1ff, &packet(b'i', b"\0\0")), "a number is cut short");
    assert_eq!(at_end(0x1ff, &packet(b'+', b"<a@b>\r\nDATA\0")), "text with control characters");
    assert_eq!(at_end(0x1ff, &packet(b'+', b"<>\0")), "a recipient without an address");
    assert_eq!(at_end(0x1ff, &header.repeat(1001)), "too many changes");
    let large = [b"A\0".as_slice(), &b"x".repeat(1_000_000), b"\0"].concat();
    assert_eq!(at_end(0x1ff, &packet(b'h', &large).repeat(2)), "too many changes");
    let body = packet(b'b', &b"x".repeat(1_000_000));
    assert_eq!(at_end(0x1ff, &body.repeat(53)), "the new body is too long");
}

#[test]
fn time_runs_while_it_is_silent_and_anew_when_it_says_so() {
    let config = MilterConfig { command_ms_max: 100, question_ms_max: 1000, ..MilterConfig::default() };
    let new = || {
        let mut play = Play { milter: Milter::new(config.clone()), now: 0 };
        play.milter.ask(rcpt());
        assert_eq!(play.next(), Next::Read);
        assert_eq!(play.milter.deadline(), Timestamp::from_ms(100));
        play
    };
    let mut play = new();
    play.now = 100;
    assert_eq!(play.next(), Next::Failed(Failure::Timeout));
    assert_eq!(play.next(), Next::Failed(Failure::Timeout), "and stays so");
    let mut play = new();
    play.milter.input(&options(0, 0));
    for now in (90..1000).step_by(90) {
        play.now = now;
        assert_eq!(play.next(), Next::Read);
        play.milter.input(&packet(b'p', b""));
    }
    // For ever is too long all the same.
    play.now = 1000;
    assert_eq!(play.next(), Next::Failed(Failure::Timeout));
    let mut play = new();
    play.milter.input(&options(0, 0));
    play.milter.input(CONTINUE);
    play.now = 500;
    assert_eq!(
        play.next(),
        Next::Failed(Failure::Protocol("an answer to nothing")),
        "it came before the question"
    );
}

#[test]
fn a_connection_that_ends_gives_what_it_had_said() {
    let mut play = Play::new(&options(0, 0));
    play.milter.ask(rcpt());
    assert_eq!(play.next(), Next::Read);
    play.milter.input(&packet(b'r', b""));
    play.milter.ended();
    assert!(matches!(play.next(), Next::Answer(Outcome { verdict: Verdict::Reject(_), .. })));
    assert!(!play.milter.release());
    let mut play = Play::new(&options(0, 0));
    play.milter.ended();
    play.milter.ask(rcpt());
    assert_eq!(play.next(), Next::Failed(Failure::Closed));
    let mut play = Play::new(b"");
    play.milter.ask(rcpt());
    play.milter.abort();
    play.milter.ended();
    assert_eq!(play.next(), Next::Failed(Failure::Closed));
}

#[test]
fn a_large_message_goes_out_in_bounded_pieces() {
    let body = b"x".repeat(1_000_000);
    let large = Content::new(Arc::new([b"A: b\r\n\r\n", body.as_slice()].concat()), 0);
    let mut play = Play::new(&options(0, step::NO_REPLY_BODY));
    play.milter.ask(Event::Message(large));
    let mut sent = 0;
    loop {
        let next = play.next();
        assert!(play.milter.output().len() < 3 * 65_536, "{}", play.milter.output().len());
        let said = play.said();
        sent += said.iter().filter(|said| said.starts_with('B')).map(|said| said.len() - 1).sum::<usize>();
        match next {
            Next::Write => {}
            Next::Read => play.milter.input(CONTINUE),
            Next::Answer(_) => break,
            Next::Failed(failure) => panic!("{failure}"),
        }
    }
    assert_eq!(sent, body.len());
    // A field that is longer than a packet is shown cut, whole packets all the same.
    let long = Content::new(Arc::new([b"A: ", b"y".repeat(100_000).as_slice(), b"\r\n\r\n"].concat()), 0);
    let said = alloc::format!("LA\\x00{}\\x00", "y".repeat(65_532));
    Play::new(&options(0, step::NO_BODY))
        .ask(Event::Message(long), &[(&[&said], CONTINUE), (&["N"], CONTINUE), (&["E"], CONTINUE)]);
}

/// Found with opendkim: it is silent for ever when it is asked again after it has accepted a message.
#[test]
fn a_connection_is_used_again_only_where_libmilter_understands_it() {
    let steps = step::NO_HEADERS | step::NO_HEADER_END | step::NO_BODY;
    for (answer, said) in [(packet(b'c', b""), "K"), (packet(b'a', b""), "Q"), (packet(b'r', b""), "Q")] {
        let mut play = Play::with(Reuse::AfterContinue, &options(0x1ff, steps));
        play.ask(Event::Message(content()), &[(&["E"], &answer)]);
        assert_eq!((play.milter.release(), play.said()), (said == "K", Vec::from([said.to_string()])));
    }
    let mut play = Play::with(Reuse::AfterContinue, &options(0x1ff, steps));
    play.ask(Event::Message(content()), &[(&["E"], CONTINUE)]);
    play.ask(mail(), &[(&["M<a@b>\\x00SIZE=5\\x00"], CONTINUE)]);
    assert!(!play.milter.release());
    assert_eq!(play.said(), ["A", "Q"]);
    let mut play = Play::with(Reuse::Never, &options(0x1ff, steps));
    play.ask(Event::Message(content()), &[(&["E"], CONTINUE)]);
    assert!(!play.milter.release());
}

/// Answers of a good milter, changed by seed: no panic, and no more kept than the bounds allow.
#[test]
fn noise_never_panics_and_stays_bounded() {
    let rounds: u64 = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let good = [
        options_of(6, 0x1ff, 0, b"\0\0\0\x01j {x}\0"),
        CONTINUE.repeat(5),
        packet(b'h', b"A\x001\0"),
        packet(b'i', b"\0\0\0\x01B\x002\0"),
        packet(b'm', b"\0\0\0\x01C\0\0"),
        packet(b'b', b"body"),
        packet(b'+', b"<a@b>\0"),
        packet(b'q', b"why\0"),
        packet(b'y', b"550 5.7.1 no\0"),
    ]
    .concat();
    let mut answered = 0;
    for seed in 0..rounds {
        let mut random = Random::new(seed + 1);
        let mut bytes = good.clone();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => drop(bytes.drain(at..(at + random.below(9) as usize).min(bytes.len()))),
                _ => bytes.insert(at, random.next_u64() as u8),
            }
        }
        let mut milter = Milter::new(MilterConfig::default());
        milter.ask(if random.one_in(2) { mail() } else { Event::Message(content()) });
        while !bytes.is_empty() {
            let count = (random.below(20) as usize + 1).min(bytes.len());
            let piece: Vec<u8> = bytes.drain(..count).collect();
            milter.input(&piece);
            match milter.next(Timestamp::from_ms(0)) {
                Next::Answer(outcome) => {
                    answered += 1;
                    crate::apply(MESSAGE, OURS, &outcome.modifications);
                    milter.ask(Event::Message(content()));
                }
                Next::Failed(_) => break,
                Next::Read | Next::Write => {}
            }
            milter.output().clear();
        }
    }
    assert!(answered > 0, "the noise is not all noise");
}
