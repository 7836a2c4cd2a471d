//! What is counted. Set-up is outside the count; what stands in a case's closure is inside.

use std::hint::black_box;
use std::sync::Arc;

use base::Secret;
use serde_json::{Value, json};

use crate::alloc::so_far;
use crate::drive::{self, NOW};

/// Messages in the mailbox that listings are counted on.
const LISTED: usize = 500;

/// How often an operation is repeated: first uses (tables, thread-locals) fade.
const TIMES: u64 = 20;

/// The figures of all cases without instructions: those are callgrind's to see.
pub(crate) fn run() -> String {
    Value::from(cases()).to_string()
}

fn cases() -> Vec<Value> {
    let mut count = Counts::default();
    smtp_cases(&mut count);
    imap_parser_cases(&mut count);
    imap_list_cases(&mut count);
    imap_message_cases(&mut count);
    pop3_cases(&mut count);
    mime_cases(&mut count);
    store_cases(&mut count);
    login_cases(&mut count);
    count.cases
}

#[derive(Default)]
struct Counts {
    cases: Vec<Value>,
}

impl Counts {
    /// Runs `work` once uncounted, then [`TIMES`] times counted; each time it does `each` operations.
    fn case(&mut self, name: &str, each: u64, mut work: impl FnMut()) {
        work();
        let (allocations, bytes) = so_far();
        counted(&mut work);
        let (allocations_after, bytes_after) = so_far();
        let operations = TIMES * each;
        self.cases.push(json!({
            "case": name,
            "operations": operations,
            "allocations": (allocations_after - allocations) as f64 / operations as f64,
            "allocated_bytes": (bytes_after - bytes) as f64 / operations as f64,
        }));
    }
}

/// Callgrind counts what runs in here and nothing else, and writes a dump whenever it ends: the name is known to
/// `callgrind.rs`.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}

/// A message with the fields that real ones have, filled up with text lines to so many bytes.
fn message(bytes: usize) -> Vec<u8> {
    filled(bytes, "The quick brown fox jumps over the lazy dog, as it has done so many times.\r\n")
}

fn filled(bytes: usize, line: &str) -> Vec<u8> {
    let mut message = String::from(
        "Return-Path: <load@example.org>\r\n\
         Received: from load.example.org ([192.0.2.1]) by mail.example.org with ESMTP id 1;\r\n\
         \tThu, 1 Jan 2026 11:30:00 +0100\r\n\
         From: =?UTF-8?Q?J=C3=BCrgen?= Load <load@example.org>\r\n\
         To: Ann <ann@example.org>, \"Bob, the other\" <bob@example.org>\r\n\
         Subject: A message for counting\r\n\
         Date: Thu, 1 Jan 2026 11:30:00 +0100\r\n\
         Message-ID: <count.1@load.example.org>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n",
    );
    while message.len() + line.len() <= bytes {
        message.push_str(line);
    }
    message.into_bytes()
}

/// Text, an alternative, and an attachment in base64 that fills it up.
fn multipart(bytes: usize) -> Vec<u8> {
    let encoded = "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZywgYXMgaXQgaGFzIGRv\r\n";
    let mut message = String::from(
        "From: Load <load@example.org>\r\n\
         To: Ann <ann@example.org>\r\n\
         Subject: With parts\r\n\
         Date: Thu, 1 Jan 2026 11:30:00 +0100\r\n\
         Message-ID: <count.2@load.example.org>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n\r\n\
         --=_outer\r\nContent-Type: multipart/alternative; boundary=\"=_inner\"\r\n\r\n\
         --=_inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n\
         --=_inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>\r\n\
         --=_inner--\r\n\
         --=_outer\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n\
         Content-Disposition: attachment; filename=\"a.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
    );
    while message.len() + encoded.len() <= bytes {
        message.push_str(encoded);
    }
    message.push_str("--=_outer--\r\n");
    message.into_bytes()
}

fn smtp_cases(count: &mut Counts) {
    let dotted =
        filled(64 * 1024, "..every line of it begins with a dot that was doubled on the way here\r\n");
    let all = [("4 KB", message(4096)), ("64 KB", message(64 * 1024)), ("64 KB, every line dotted", dotted)];
    for (name, content) in all {
        let mut session = drive::smtp();
        let mut input = b"MAIL FROM:<load@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n".to_vec();
        input.extend_from_slice(&content);
        input.extend_from_slice(b".\r\n");
        count.case(&format!("smtp: a message of {name}, from MAIL to 250"), 1, || {
            session.expect(black_box(&input), "250 ");
        });
    }
}

fn imap_parser_cases(count: &mut Counts) {
    let before_literal = b"a APPEND INBOX (\\Seen $Label) \"01-Jan-2026 11:30:00 +0100\" {4096+}\r\n";
    let attached = vec![(before_literal.len(), Arc::new(message(4096)))];
    let append = imap::Text { bytes: before_literal.to_vec(), attached };
    let line = |bytes: &[u8]| imap::Text { bytes: bytes.to_vec(), attached: Vec::new() };
    let all = [
        ("FETCH", line(b"a UID FETCH 1:100,200,300:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Subject Date)])")),
        ("STORE", line(b"a UID STORE 17:4711 (UNCHANGEDSINCE 12345) +FLAGS.SILENT (\\Deleted \\Seen $Label)")),
        ("SEARCH", line(b"a UID SEARCH OR (FROM \"ann\" SINCE 1-Jan-2026) (NOT TEXT \"fox\" LARGER 4096) UNSEEN")),
        ("APPEND", append),
    ];
    for (name, text) in all {
        count.case(&format!("imap: parse {name}"), 1, || {
            let tagged = imap::command::parse(black_box(&text)).expect("it has a tag");
            assert!(tagged.command.is_ok(), "{:?}", tagged.command);
        });
    }
}

fn imap_list_cases(count: &mut Counts) {
    let world = drive::world(&message(4096), LISTED);
    let mut session = drive::imap(&world);
    let listed = LISTED as u64;
    let all = [
        ("FETCH (UID FLAGS), a message", "x FETCH 1:* (UID FLAGS)\r\n", listed),
        ("FETCH ENVELOPE, a message", "x FETCH 1:* ENVELOPE\r\n", listed),
        ("FETCH BODYSTRUCTURE, a message", "x FETCH 1:* BODYSTRUCTURE\r\n", listed),
        ("SEARCH UNSEEN, a message", "x SEARCH UNSEEN\r\n", listed),
        ("SEARCH TEXT, a message of 4 KB", "x SEARCH TEXT \"no such words\"\r\n", listed),
        ("STORE one flag", "x STORE 7 +FLAGS (\\Flagged)\r\nx STORE 7 -FLAGS (\\Flagged)\r\n", 2),
        ("NOOP", "x NOOP\r\n", 1),
        ("STATUS", "x STATUS INBOX (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)\r\n", 1),
        ("SELECT", "x SELECT INBOX\r\n", 1),
    ];
    for (name, command, each) in all {
        count.case(&format!("imap: {name}"), each, || {
            session.expect(black_box(command.as_bytes()), "x OK");
        });
    }
}

fn imap_message_cases(count: &mut Counts) {
    for (name, bytes) in [("4 KB", 4096), ("64 KB", 64 * 1024)] {
        let content = message(bytes);
        let world = drive::world(&content, 1);
        let mut session = drive::imap(&world);
        count.case(&format!("imap: FETCH BODY.PEEK[] of {name}"), 1, || {
            let answered = session.expect(black_box(b"x FETCH 1 BODY.PEEK[]\r\n"), "x OK");
            assert!(answered > content.len());
        });
        let mut append = format!("x APPEND INBOX (\\Seen) {{{}+}}\r\n", content.len()).into_bytes();
        append.extend_from_slice(&content);
        append.extend_from_slice(b"\r\n");
        count.case(&format!("imap: APPEND of {name}, stored"), 1, || {
            session.expect(black_box(&append), "x OK");
        });
    }
}

fn pop3_cases(count: &mut Counts) {
    for (name, bytes) in [("4 KB", 4096), ("64 KB", 64 * 1024)] {
        let content = message(bytes);
        let world = drive::world(&content, 1);
        let mut session = drive::pop3(&world);
        count.case(&format!("pop3: RETR of {name}"), 1, || {
            let answered = session.expect(black_box(b"RETR 1\r\n"), "\r\n.\r\n");
            assert!(answered > content.len());
        });
    }
}

fn mime_cases(count: &mut Counts) {
    let (small, large, parts) = (message(4096), message(64 * 1024), multipart(64 * 1024));
    let header_bytes = mime::end_of_headers(&small);
    count.case("mime: envelope", 1, || {
        black_box(mime::envelope(black_box(&small[..header_bytes])));
    });
    for (name, content) in [("4 KB of text", &small), ("64 KB of text", &large), ("64 KB in parts", &parts)] {
        count.case(&format!("mime: scan {name}"), 1, || {
            black_box(mime::scan(black_box(content)));
        });
    }
    let tree = mime::scan(&parts);
    let needle = mime::Needle::new("no such words");
    count.case("mime: search 64 KB in parts", 1, || {
        assert!(!mime::text_matches(black_box(&parts), &tree, &needle));
    });
    let encoded =
        "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZywgYXMgaXQgaGFzIGRv\r\n".repeat(840);
    count.case("mime: base64, 64 KB", 1, || {
        assert!(!mime::decode_transfer(mime::Encoding::Base64, black_box(encoded.as_bytes())).is_empty());
    });
    count.case("imap: summary of 4 KB", 1, || {
        assert!(!imap::summarize(black_box(&small)).is_empty());
    });
}

fn store_cases(count: &mut Counts) {
    for (name, bytes) in [("4 KB", 4096), ("64 KB", 64 * 1024)] {
        let world = sim::World::with_segment_bytes(64 << 20);
        let body = Arc::new(message(bytes));
        let mut item = 0;
        count.case(&format!("store: a row with {name}, committed and applied"), 1, || {
            item += 1;
            let mut transaction = world.engine.transaction(0);
            let body = transaction.add_body(Vec::new(), Arc::clone(&body));
            transaction.put_row(1, 1, item, storage_engine::RowBody::New(body), [0; 40]);
            drive::commit(transaction);
        });
    }
}

fn login_cases(count: &mut Counts) {
    let mut cache = auth::VerifiedCache::new(Secret::new([5; 32]), 600_000);
    let password = Secret::new("secret".to_owned());
    let identity = auth::Identity {
        account: base::AccountId(1),
        partition: base::PartitionId(0),
        address: "ann@example.org".into(),
    };
    let credential = auth::hash_password(&password, [7; 16], auth::limits::SCRAM_ITERATIONS_MIN);
    let fingerprint = auth::Fingerprint::of(&credential);
    cache.put(NOW, "ann@example.org", &password, auth::Verified { identity, fingerprint });
    count.case("auth: a password that was right a moment ago", 1, || {
        assert!(cache.get(NOW, black_box("ann@example.org"), &password).is_some());
    });
    let policy = auth::Policy { allow_plaintext_without_tls: true };
    count.case("auth: what AUTH PLAIN says, read", 1, || {
        let mut exchange =
            auth::Exchange::start("PLAIN", None, &policy, [7; 18]).expect("PLAIN is allowed here");
        let step = exchange.begin(Some(black_box(b"AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=")));
        assert!(matches!(step, auth::Step::Ask(_)), "{step:?}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_has_a_name_of_its_own() {
        let cases = cases();
        let mut names: Vec<&str> = cases.iter().filter_map(|case| case["case"].as_str()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(count > 20 && names.len() == count, "{names:?}");
        assert!(cases.iter().all(|case| case["operations"].as_u64() > Some(0)), "{cases:?}");
    }

    #[test]
    fn messages_have_the_size_that_their_case_says() {
        for bytes in [4096, 64 * 1024] {
            for content in [message(bytes), multipart(bytes)] {
                assert!(content.len() <= bytes + 64 && content.len() + 128 > bytes, "{}", content.len());
            }
        }
    }
}
