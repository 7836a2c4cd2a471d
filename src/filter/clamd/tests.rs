use alloc::sync::Arc;

use super::*;

fn message(bytes: usize) -> Content {
    Content::new(Arc::new(b"x".repeat(bytes)), 0)
}

/// Writes all there is and gives it.
fn said(clamd: &mut Clamd) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let next = clamd.next(Timestamp::from_ms(0));
        said.append(clamd.output());
        if next != Next::Write {
            assert_eq!(next, Next::Read);
            return said;
        }
    }
}

fn answer(mut clamd: Clamd, answer: &[u8]) -> Next<ClamdAnswer> {
    said(&mut clamd);
    clamd.input(answer);
    match clamd.next(Timestamp::from_ms(0)) {
        Next::Read => {
            clamd.ended();
            clamd.next(Timestamp::from_ms(0))
        }
        next => next,
    }
}

fn scan() -> Clamd {
    Clamd::scan(ClamdConfig::default(), message(5))
}

#[test]
fn a_message_goes_out_in_pieces_with_their_lengths() {
    assert_eq!(said(&mut scan()), b"zINSTREAM\0\0\0\0\x05xxxxx\0\0\0\0");
    assert_eq!(said(&mut Clamd::scan(ClamdConfig::default(), message(0))), b"zINSTREAM\0\0\0\0\0");
    let large = said(&mut Clamd::scan(ClamdConfig::default(), message(150_000)));
    assert_eq!(large.len(), 10 + 150_000 + 4 * 4);
    assert_eq!(said(&mut Clamd::ping(ClamdConfig::default())), b"zPING\0");
    assert_eq!(said(&mut Clamd::version(ClamdConfig::default())), b"zVERSION\0");
}

#[test]
fn what_it_says_is_understood() {
    let found = |name: &str| Next::Answer(ClamdAnswer::Found(name.to_string()));
    assert_eq!(answer(scan(), b"stream: OK\0"), Next::Answer(ClamdAnswer::Clean));
    assert_eq!(answer(scan(), b"stream: Eicar-Test FOUND\0"), found("Eicar-Test"));
    assert_eq!(answer(scan(), b"INSTREAM size limit exceeded. ERROR\0"), Next::Failed(Failure::TooLarge));
    let reported = |text: &str| Next::Failed(Failure::Reported(text.to_string()));
    assert_eq!(answer(scan(), b"stream: Can't\n allocate ERROR\0"), reported("stream: Can't allocate ERROR"));
    assert_eq!(answer(scan(), b"UNKNOWN COMMAND\0"), reported("UNKNOWN COMMAND"));
    for bad in [&b"PONG\0"[..], b"stream: what\0", b"\0"] {
        assert_eq!(answer(scan(), bad), Next::Failed(Failure::Protocol("no answer to INSTREAM")), "{bad:?}");
    }
    assert_eq!(answer(scan(), b"stream: OK"), Next::Failed(Failure::Closed));
    let long = b"x".repeat(5000);
    assert_eq!(answer(scan(), &long), Next::Failed(Failure::Protocol("an answer that is too long")));
    assert_eq!(answer(Clamd::ping(ClamdConfig::default()), b"PONG\0"), Next::Answer(ClamdAnswer::Pong));
    let version = Next::Answer(ClamdAnswer::Version("ClamAV 1.4.6/1/x".to_string()));
    assert_eq!(answer(Clamd::version(ClamdConfig::default()), b"ClamAV 1.4.6/1/x\0"), version);
}

#[test]
fn a_message_is_never_clean_before_it_was_seen() {
    let mut clamd = Clamd::scan(ClamdConfig::default(), message(1_000_000));
    assert_eq!(clamd.next(Timestamp::from_ms(0)), Next::Write);
    assert!(clamd.output().len() < 200_000, "a large message is not copied whole");
    clamd.input(b"stream: OK\0");
    assert_eq!(clamd.next(Timestamp::from_ms(0)), Next::Failed(Failure::Protocol("no answer to INSTREAM")));
    let config = ClamdConfig { message_bytes_max: 9, ..ClamdConfig::default() };
    assert_eq!(Clamd::scan(config, message(10)).next(Timestamp::from_ms(0)), Next::Failed(Failure::TooLarge));
}

#[test]
fn time_runs_out() {
    let mut clamd = scan();
    said(&mut clamd);
    assert_eq!(clamd.deadline(), Timestamp::from_ms(120_000));
    assert_eq!(clamd.next(Timestamp::from_ms(120_000)), Next::Failed(Failure::Timeout));
}

#[test]
fn a_finding_becomes_what_the_operator_said() {
    let found = ClamdAnswer::Found("Bad".to_string());
    assert!(matches!(found.outcome(OnVirus::Reject).verdict, Verdict::Reject(reply)
        if reply.lines() == ["Message refused: Bad found in it"]));
    assert_eq!(found.outcome(OnVirus::Discard).verdict, Verdict::Discard);
    assert_eq!(found.outcome(OnVirus::Quarantine).verdict, Verdict::Quarantine("clamd: Bad".to_string()));
    assert_eq!(ClamdAnswer::Clean.outcome(OnVirus::Reject), Outcome::CONTINUE);
}
