use alloc::sync::Arc;

use base::Random;

use super::*;
use crate::exchange::Content;

fn now(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn http(body: &str) -> Http {
    let url = Url::parse("http://127.0.0.1:8080/x").expect("an address");
    let config = HttpConfig { answer_bytes_max: 100, ..HttpConfig::default() };
    Http::new(config, Head::post(&url), Body::new(Vec::from([Part::Bytes(body.into())])))
}

/// What comes of these bytes after the request; then, of the end of the connection.
fn answer(pieces: &[&[u8]]) -> (Next<Response>, bool) {
    let mut http = http("{}");
    while http.next(now(0)) == Next::Write {
        http.output().clear();
    }
    let mut last = Next::Read;
    for piece in pieces {
        http.input(piece);
        last = http.next(now(0));
        if last != Next::Read {
            break;
        }
    }
    if last == Next::Read {
        http.ended();
        last = http.next(now(0));
    }
    (last, http.is_reusable())
}

fn good(status: u16, body: &str) -> Next<Response> {
    Next::Answer(Response { status, body: body.into() })
}

#[test]
fn a_request_is_written_and_its_answer_read() {
    let mut http = http("{\"a\":1}");
    assert_eq!(http.next(now(0)), Next::Write);
    let said = String::from_utf8(core::mem::take(http.output())).expect("ASCII");
    assert_eq!(said, "POST /x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_eq!(http.next(now(0)), Next::Read);
    http.input(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(http.next(now(1)), good(200, "ok"));
    assert!(http.is_reusable());
}

#[test]
fn every_framing_is_read_in_any_pieces() {
    let chunked: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3;x=y\r\nabc\r\n00A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n";
    assert_eq!(answer(&[chunked]), (good(200, "abc0123456789"), true));
    assert_eq!(answer(&chunked.chunks(1).collect::<Vec<_>>()), (good(200, "abc0123456789"), true));
    let length: &[u8] = b"HTTP/1.1 404 Not\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    assert_eq!(answer(&length.chunks(1).collect::<Vec<_>>()), (good(404, "abc"), false));
    assert_eq!(answer(&[b"HTTP/1.0 200 OK\r\n\r\nto the end"]), (good(200, "to the end"), false));
    assert_eq!(answer(&[b"HTTP/1.1 204 None\r\n\r\n"]), (good(204, ""), true));
    assert_eq!(
        answer(&[b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"]),
        (good(200, ""), true)
    );
    // Bytes that belong to no answer: the connection is not to be trusted.
    assert_eq!(answer(&[b"HTTP/1.1 204 None\r\n\r\nx"]), (good(204, ""), false));
}

#[test]
fn what_is_no_answer_or_too_much_is_a_failure() {
    let failure = |bytes: &[u8]| match answer(&[bytes]).0 {
        Next::Failed(failure) => failure,
        other => panic!("{other:?}"),
    };
    let head = "HTTP/1.1 200 OK\r\n";
    let with = |rest: &str| failure(alloc::format!("{head}{rest}").as_bytes());
    assert_eq!(failure(b"hello\r\n"), Failure::Protocol("no HTTP/1.1 answer"));
    assert_eq!(failure(b"HTTP/1.1 200 OK\r\nA"), Failure::Closed);
    assert_eq!(with("Content-Length: 9\r\n\r\nabc"), Failure::Closed);
    for length in ["x", "-1", "1, 1", "", "99999999999999999999"] {
        let what = Failure::Protocol("a length that is none, or two of them");
        assert_eq!(with(&alloc::format!("Content-Length: {length}\r\n\r\n")), what, "{length:?}");
    }
    assert_eq!(with("Content-Length: 101\r\n\r\n"), Failure::Protocol("an answer that is too long"));
    assert_eq!(
        with(&alloc::format!("\r\n{}", "x".repeat(101))),
        Failure::Protocol("an answer that is too long")
    );
    assert_eq!(
        with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Failure::Protocol("chunks and a length")
    );
    assert_eq!(
        with("Transfer-Encoding: gzip\r\n\r\n"),
        Failure::Protocol("a transfer coding that was not asked for")
    );
    assert_eq!(
        with("Content-Encoding: gzip\r\n\r\n"),
        Failure::Protocol("a content coding that was not asked for")
    );
    let chunks = |rest: &str| with(&alloc::format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
    assert_eq!(chunks("zz\r\n"), Failure::Protocol("a chunk's size that is none"));
    assert_eq!(chunks("123456789\r\n"), Failure::Protocol("a chunk's size that is none"));
    assert_eq!(chunks("ffffffff\r\n"), Failure::Protocol("an answer that is too long"));
    assert_eq!(chunks("1\r\nab\r\n"), Failure::Protocol("a chunk longer than its size"));
    assert_eq!(chunks(&"1".repeat(2000)), Failure::Protocol("a line that is too long"));
    assert_eq!(
        chunks(&alloc::format!("0\r\n{}", "A: b\r\n".repeat(3000))),
        Failure::Protocol("a trailer that is too long")
    );
    assert_eq!(
        with(&"A: b\r\n".repeat(5000)),
        Failure::Protocol("no HTTP/1.1 answer"),
        "more fields than are kept"
    );
    assert_eq!(
        with(&alloc::format!("A: {}", "b".repeat(20_000))),
        Failure::Protocol("a head that is too long")
    );
    assert_eq!(
        failure("HTTP/1.1 100 Go\r\n\r\n".repeat(9).as_bytes()),
        Failure::Protocol("an interim answer out of place")
    );
}

#[test]
fn an_answer_may_come_before_the_request_is_out() {
    let url = Url::parse("http://127.0.0.1/").expect("an address");
    let message = Content::new(Arc::new(b"x".repeat(1_000_000)), 0);
    let parts =
        Vec::from([Part::Bytes(b"<".to_vec()), Part::Message(message.clone()), Part::Bytes(b">".to_vec())]);
    let mut http = Http::new(HttpConfig::default(), Head::post(&url), Body::new(parts));
    assert_eq!(http.next(now(0)), Next::Write);
    assert!(http.output().len() < 200_000, "a large message is not copied whole");
    http.input(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(http.next(now(0)), good(413, ""));
    assert!(!http.is_reusable());
    let config = HttpConfig { message_bytes_max: 999_999, ..HttpConfig::default() };
    let mut http = Http::new(config, Head::post(&url), Body::new(Vec::from([Part::MessageBase64(message)])));
    assert_eq!(http.next(now(0)), Next::Failed(Failure::TooLarge));
    assert!(http.output().is_empty());
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let mut http = http("");
    assert_eq!(http.next(now(5)), Next::Write);
    assert_eq!(http.deadline(), now(60_005));
    http.input(b"HTTP/1.1 200 OK\r\n");
    assert_eq!(http.next(now(60_004)), Next::Read);
    assert_eq!(http.next(now(60_005)), Next::Failed(Failure::Timeout));
}

#[test]
fn a_clients_words_cannot_end_a_field() {
    let url = Url::parse("http://h/").expect("an address");
    let mut head = Head::post(&url);
    head.field("Helo", "a\r\nFrom: <x>\0\r\n\r\nbody");
    head.field("User", &"u".repeat(20_000));
    assert!(head.0.contains("\r\nHelo: aFrom: <x>body\r\nUser: uu"));
    assert!(head.0.len() < 9000);
}

/// Good answers, changed by seed: no panic, and no body over its bound.
#[test]
fn noise_never_panics_and_stays_bounded() {
    let rounds: u64 = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let goods: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nabc0123456789",
    ];
    let mut answered = 0;
    for seed in 0..rounds {
        let mut random = Random::new(seed + 1);
        let mut bytes = goods[random.below(2) as usize].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => drop(bytes.drain(at..(at + random.below(9) as usize).min(bytes.len()))),
                _ => bytes.insert(at, random.next_u64() as u8),
            }
        }
        let pieces: Vec<&[u8]> = bytes.chunks(random.below(30) as usize + 1).collect();
        if let Next::Answer(response) = answer(&pieces).0 {
            answered += 1;
            assert!(response.body.len() <= 100);
        }
    }
    assert!(answered > 0, "the noise is not all noise");
}
