//! What comes from strangers, changed by chance: nothing panics, nothing grows, and what is read is read the
//! same again. `FUZZ_ROUNDS` makes more of it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use base::Random;
use base::dns::{Answer, Record};
use transport::http::{Progress, Response};
use transport::report::{Report, recipients};
use transport::sts::{Policy, version};
use transport::{Destination, public_key};

fn rounds() -> u64 {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2000)
}

/// Some bytes changed, left out, doubled or put in.
fn changed(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] = random.next_u64() as u8,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, b":;=,%\r\n {}[]\"0v*."[random.below(17) as usize]),
            _ => {
                let end = (at + random.below(20) as usize).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn answer(text: Vec<u8>) -> Answer {
    Answer { records: vec![Record::Txt(text)], name: String::new(), is_secure: false, ttl_s: 1 }
}

#[test]
fn policies_and_records_are_read_the_same_again() {
    let policy = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";
    let mut random = Random::new(1);
    let mut read = 0;
    for _ in 0..rounds() {
        if let Some(policy) = Policy::parse(&changed(policy, &mut random)) {
            read += 1;
            assert_eq!(Policy::parse(policy.text().as_bytes()), Some(policy));
        }
        let record = Ok(answer(changed(b"v=STSv1; id=20160831085700Z;", &mut random)));
        assert!(version(&record).is_none_or(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
        let record =
            answer(changed(b"v=TLSRPTv1; rua=mailto:a%2Bb@example.org,https://x.example/", &mut random));
        for address in recipients(&record).into_iter().flat_map(|found| found.mail) {
            assert!(!address.contains(['\r', '\n', '<', '>', ' ']), "{address:?}");
        }
        let domain = changed(b"[IPv6:2001:db8::1]", &mut random);
        if let Some(Destination::Domain(name)) = Destination::parse(&String::from_utf8_lossy(&domain)) {
            assert_eq!(Destination::parse(&name), Some(Destination::Domain(name)));
        }
        let certificate = changed(&[0x30, 0x06, 0x30, 0x04, 2, 0, 0x30, 0], &mut random);
        assert!(public_key(&certificate).is_none_or(|key| key.len() < certificate.len()));
    }
    assert!(read > 0, "some changes do no harm");
}

#[test]
fn responses_come_to_an_end_in_whatever_pieces_they_come() {
    let responses: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n01234567890123456789",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\na;x\r\n0123456789\r\n0\r\n\r\n",
    ];
    let mut random = Random::new(2);
    for round in 0..rounds() {
        let bytes = changed(responses[(round % 2) as usize], &mut random);
        let whole = read(&[&bytes]);
        let (one, other) = bytes.split_at(random.below(bytes.len() as u64 + 1) as usize);
        assert_eq!(read(&[one, other]), whole, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(whole.is_none_or(|body| body.len() <= bytes.len()));
    }
}

fn read(pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut response = Response::default();
    for piece in pieces {
        match response.take(piece) {
            Ok(Progress::Done(body)) => return Some(body),
            Ok(Progress::More) => {}
            Err(_) => return None,
        }
    }
    response.end().ok()
}

#[test]
fn reports_are_read_or_are_none() {
    let report = br#"{"organization-name":"X","date-range":{"start-datetime":"a","end-datetime":"b"},"contact-info":"c","report-id":"d","policies":[{"policy":{"policy-type":"sts","policy-string":"x","policy-domain":"e","mx-host":["f"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":2},"failure-details":[{"result-type":"certificate-expired","failed-session-count":3}]}]}"#;
    let mut random = Random::new(3);
    for _ in 0..rounds() {
        if let Some(report) = Report::parse(&changed(report, &mut random)) {
            assert_eq!(Report::parse(report.json().as_bytes()), Some(report));
        }
    }
}
