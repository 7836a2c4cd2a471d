use alloc::sync::Arc;
use core::task::{Context, Poll};

use super::*;
use crate::limits::{BODY_PIECE_BYTES, HEADER_BYTES_MAX, WHOLE_BODY_BYTES_MAX};
use base::{Closed, Drain};
use sim::samples;

const SMALL: &[u8] = b"Subject: a\r\nFrom: Ann <ann@example.org>\r\n\r\none\r\ntwo\r\n";

#[test]
fn what_the_index_knows_is_told_in_the_order_asked_for() {
    let mut ann = Fixture::new(&[SMALL]);
    assert_eq!(
        ann.say("FETCH 1 (FLAGS UID RFC822.SIZE INTERNALDATE SAVEDATE EMAILID THREADID)"),
        lines(&[
            "* 1 FETCH (FLAGS () UID 1 RFC822.SIZE 53 INTERNALDATE \" 1-Jan-2026 00:00:00 +0000\" \
             SAVEDATE \" 1-Jan-2026 00:00:00 +0000\" EMAILID (M1) THREADID NIL)",
            "t OK fetched",
        ])
    );
    assert_eq!(ann.say("FETCH 2 UID"), lines(&["t BAD there is no message with that sequence number"]));
    assert_eq!(ann.say("UID FETCH 2:5 FLAGS"), lines(&["t OK fetched"]));
}

#[test]
fn sections_of_a_plain_message() {
    let mut ann = Fixture::new(&[SMALL]);
    for (item, want) in [
        ("BODY.PEEK[]<0.9>", "BODY[]<0> {9}\r\nSubject: "),
        (
            "BODY.PEEK[HEADER.FIELDS (subject x)]",
            "BODY[HEADER.FIELDS (subject x)] {14}\r\nSubject: a\r\n\r\n",
        ),
        (
            "BODY.PEEK[HEADER.FIELDS.NOT (subject)]",
            "BODY[HEADER.FIELDS.NOT (subject)] {31}\r\nFrom: Ann <ann@example.org>\r\n\r\n",
        ),
        ("BODY.PEEK[TEXT]", "BODY[TEXT] {10}\r\none\r\ntwo\r\n"),
        ("BODY.PEEK[TEXT]<4.100>", "BODY[TEXT]<4> {6}\r\n\ntwo\r\n"),
        ("BODY.PEEK[TEXT]<99.1>", "BODY[TEXT]<99> {0}\r\n"),
        ("BODY.PEEK[1]", "BODY[1] {10}\r\none\r\ntwo\r\n"),
        ("BODY.PEEK[1.MIME]", "BODY[1.MIME] {43}\r\nSubject: a\r\nFrom: Ann <ann@example.org>\r\n\r\n"),
        ("BODY.PEEK[2]", "BODY[2] NIL"),
        ("BODY.PEEK[1.HEADER]", "BODY[1.HEADER] NIL"),
        ("RFC822.HEADER", "RFC822.HEADER {43}\r\nSubject: a\r\nFrom: Ann <ann@example.org>\r\n\r\n"),
        ("BINARY.PEEK[1]", "BINARY[1] {10}\r\none\r\ntwo\r\n"),
        ("BINARY.SIZE[1]", "BINARY.SIZE[1] 10"),
        ("BINARY.PEEK[7]", "BINARY[7] NIL"),
    ] {
        let said = ann.say(&alloc::format!("FETCH 1 {item}"));
        assert_eq!(said, alloc::format!("* 1 FETCH ({want})\r\nt OK fetched\r\n"), "{item}");
    }
}

#[test]
fn sections_reach_into_embedded_messages() {
    let mut ann = Fixture::new(&[samples::NESTED]);
    for (item, want) in [
        ("BODY.PEEK[1]", "{11}\r\nHere it is."),
        (
            "BODY.PEEK[2.MIME]",
            "{63}\r\nContent-Type: message/rfc822\r\nContent-Description: the plan\r\n\r\n",
        ),
        ("BODY.PEEK[2.HEADER.FIELDS (From)]", "{33}\r\nFrom: Carl <carl@example.net>\r\n\r\n"),
        ("BODY.PEEK[2.1]", "{11}\r\nInner text."),
        ("BODY.PEEK[2.2]", "{18}\r\n<i>Inner text.</i>"),
        ("BODY.PEEK[2.2.MIME]", "{45}\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n"),
        ("BODY.PEEK[2.3]", "NIL"),
        ("BODY.PEEK[2.1.TEXT]", "NIL"),
    ] {
        let label = item.replace(".PEEK", "");
        let said = ann.say(&alloc::format!("FETCH 1 {item}"));
        assert_eq!(said, alloc::format!("* 1 FETCH ({label} {want})\r\nt OK fetched\r\n"), "{item}");
    }
    let whole = ann.say("FETCH 1 BODY.PEEK[2]");
    assert!(whole.contains("From: Carl") && whole.contains("--two--") && !whole.contains("--one"), "{whole}");
    let text = ann.say("FETCH 1 BODY.PEEK[2.TEXT]");
    assert!(text.contains("} \r\n--two") || text.contains("}\r\n--two"), "{text}");
}

#[test]
fn encodings_are_undone_by_binary_alone() {
    let mut ann = Fixture::new(&[samples::ATTACHMENT]);
    let plain: Vec<u8> = (0..64).collect();
    let said = ann.bytes("FETCH 1 (BINARY.SIZE[2] BINARY.PEEK[2])");
    let mut want = b"* 1 FETCH (BINARY.SIZE[2] 64 BINARY[2] ~{64}\r\n".to_vec();
    want.extend(&plain);
    want.extend(b")\r\nt OK fetched\r\n");
    assert_eq!(said, want);
    let said = ann.bytes("FETCH 1 BINARY.PEEK[2]<65.1>");
    assert_eq!(said, b"* 1 FETCH (BINARY[2]<65> {0}\r\n)\r\nt OK fetched\r\n");
    assert!(ann.say("FETCH 1 BODY.PEEK[2]").contains("AAECAwQF"));
}

#[test]
fn an_unknown_encoding_is_refused_and_the_rest_is_sent() {
    let message = b"Content-Transfer-Encoding: x-rot13\r\n\r\nabc\r\n";
    let mut ann = Fixture::new(&[message]);
    assert_eq!(
        ann.say("FETCH 1 (BINARY.PEEK[1] FLAGS)"),
        lines(&["* 1 FETCH (FLAGS ())", "t NO [UNKNOWN-CTE] the part's encoding cannot be undone"])
    );
    assert_eq!(
        ann.say("FETCH 1 BINARY.PEEK[1]"),
        lines(&["* 1 FETCH (UID 1)", "t NO [UNKNOWN-CTE] the part's encoding cannot be undone"])
    );
}

#[test]
fn reading_sets_seen_once_and_says_so() {
    let mut ann = Fixture::new(&[SMALL, SMALL]).with(Enabled::CONDSTORE);
    assert!(ann.say("FETCH 1:2 (BODY.PEEK[TEXT] RFC822.HEADER)").ends_with(")\r\nt OK fetched\r\n"));
    let before = ann.account.highest_change().0;
    let said = ann.say("FETCH 1:2 BODY[TEXT]<0.3>");
    let fetched = |n| alloc::format!("* {n} FETCH (BODY[TEXT]<0> {{3}}\r\none)\r\n");
    let told = |n| alloc::format!("* {n} FETCH (FLAGS (\\Seen) MODSEQ ({}))\r\n", before + 1);
    let want = [fetched(1), fetched(2), told(1), told(2), "t OK fetched\r\n".to_string()].concat();
    assert_eq!(said, want);
    // Nothing more to set, nothing more to tell.
    assert_eq!(ann.say("FETCH 1 BODY[TEXT]<0.3>"), [fetched(1).as_str(), "t OK fetched\r\n"].concat());
    assert_eq!(ann.account.highest_change().0, before + 1);
    ann.say("EXAMINE INBOX");
    ann.append(SMALL, Flags::NONE);
    ann.say("NOOP");
    let small = core::str::from_utf8(SMALL).unwrap();
    let want = alloc::format!("* 3 FETCH (RFC822 {{53}}\r\n{small})\r\nt OK fetched\r\n");
    assert_eq!(ann.say("FETCH 3 RFC822"), want);
}

#[test]
fn a_message_that_is_gone_is_skipped_and_reported() {
    let mut ann = Fixture::new(&[SMALL, SMALL, SMALL]);
    ann.remove(&[2]);
    assert_eq!(
        ann.say("FETCH 1:3 UID"),
        lines(&[
            "* 1 FETCH (UID 1)",
            "* 3 FETCH (UID 3)",
            "t NO [EXPUNGEISSUED] some of the messages are gone"
        ])
    );
    assert_eq!(
        ann.say("UID FETCH 1:* FLAGS"),
        lines(&["* 1 FETCH (UID 1 FLAGS ())", "* 3 FETCH (UID 3 FLAGS ())", "* 2 EXPUNGE", "t OK fetched"])
    );
    assert_eq!(ann.say("FETCH 2 UID"), lines(&["* 2 FETCH (UID 3)", "t OK fetched"]));
}

#[test]
fn changed_since_tells_of_changes_only() {
    let mut ann = Fixture::new(&[SMALL, SMALL, SMALL]).with(Enabled::CONDSTORE.with(Enabled::QRESYNC));
    let since = ann.account.highest_change().0;
    ann.add_flags(&[3], Flags::FLAGGED);
    assert_eq!(
        ann.say(&alloc::format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})")),
        alloc::format!("* 3 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ ({}))\r\nt OK fetched\r\n", since + 1)
    );
    ann.remove(&[1]);
    ann.say("NOOP");
    assert_eq!(
        ann.say(&alloc::format!("UID FETCH 1:2 (UID) (CHANGEDSINCE {since} VANISHED)")),
        lines(&["* VANISHED (EARLIER) 1", "t OK fetched"])
    );
    let mut bob = Fixture::new(&[SMALL]);
    assert!(bob.say("UID FETCH 1 (UID) (CHANGEDSINCE 1 VANISHED)").starts_with("t BAD "));
}

/// A peer that takes everything and keeps the most it was given at a time.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    most: usize,
}

impl Drain for Sink {
    fn poll_drain(&mut self, _: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        self.most = self.most.max(bytes.len());
        self.bytes.append(bytes);
        Poll::Ready(Ok(()))
    }
}

/// Many items that ask for nearly the same bytes.
fn slices(name: &str, count: usize, length: usize) -> String {
    let items: Vec<String> = (0..count).map(|n| alloc::format!("{name}<{}.{length}>", n * 7)).collect();
    items.join(" ")
}

#[test]
fn many_items_of_a_message_that_is_held_whole_are_sent_as_they_are_made() {
    let message = alloc::format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(12_000));
    assert!(message.len() < WHOLE_BODY_BYTES_MAX as usize);
    let mut ann = Fixture::new(&[message.as_bytes()]);
    for name in ["BODY.PEEK[]", "BODY.PEEK[1]", "BINARY.PEEK[1]"] {
        let mut sink = Sink::default();
        let mut out = Out::new(Vec::new(), &mut sink);
        ann.say_to(&alloc::format!("FETCH 1 ({})", slices(name, 100, message.len())), &mut out);
        ready(out.flush()).unwrap();
        assert!(sink.most <= Out::HIGH_BYTES + BODY_PIECE_BYTES as usize, "{name}: {}", sink.most);
        assert!(sink.bytes.len() > 99 * message.len() && sink.bytes.ends_with(b")\r\nt OK fetched\r\n"));
    }
}

#[test]
fn large_messages_are_streamed_in_pieces() {
    let size = WHOLE_BODY_BYTES_MAX as usize * 3;
    let mut message =
        b"Subject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n".to_vec();
    while message.len() < size {
        message
            .extend_from_slice(b"0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    }
    message.extend_from_slice(b"\r\n--b--\r\n");
    let mut ann = Fixture::new(&[&message]);
    let slices = |name: &str| slices(name, 99, size);
    let many = alloc::format!("({} {} FLAGS)", slices("BODY.PEEK[]"), slices("BINARY.PEEK[1]"));
    for item in
        [&many, "BODY.PEEK[]", "BODY.PEEK[TEXT]", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[1])", "BINARY.PEEK[1]"]
    {
        let mut sink = Sink::default();
        let mut out = Out::new(Vec::new(), &mut sink);
        ann.say_to(&alloc::format!("FETCH 1 {item}"), &mut out);
        ready(out.flush()).unwrap();
        assert!(sink.most <= Out::HIGH_BYTES + BODY_PIECE_BYTES as usize, "{item}: {}", sink.most);
        assert!(sink.bytes.len() > size - 200 && sink.bytes.ends_with(b"t OK fetched\r\n"), "{item}");
    }
    let whole = ann.bytes("FETCH 1 BODY.PEEK[]");
    let start = alloc::format!("* 1 FETCH (BODY[] {{{}}}\r\n", message.len());
    assert_eq!(
        whole.strip_prefix(start.as_bytes()).and_then(|rest| rest.get(..message.len())),
        Some(&message[..])
    );
    let part = ann.say(&alloc::format!("FETCH 1 BODY.PEEK[]<{}.20>", message.len() - 9));
    assert!(part.contains("{9}\r\n\r\n--b--\r\n)"), "{part}");
}

#[test]
fn a_decoded_part_is_sent_in_pieces_however_many_items_ask_for_it() {
    let encoded = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5\r\n".repeat(8_000);
    let message = alloc::format!("Content-Transfer-Encoding: base64\r\n\r\n{encoded}");
    let mut ann = Fixture::new(&[message.as_bytes()]);
    let items = slices("BINARY.PEEK[1]", 199, 300_000);
    let mut sink = Sink::default();
    let mut out = Out::new(Vec::new(), &mut sink);
    ann.say_to(&alloc::format!("FETCH 1 ({items} BINARY.SIZE[1])"), &mut out);
    ready(out.flush()).unwrap();
    assert!(sink.most <= Out::HIGH_BYTES + BODY_PIECE_BYTES as usize, "{}", sink.most);
    assert!(sink.bytes.ends_with(b" BINARY.SIZE[1] 408000)\r\nt OK fetched\r\n"));
    assert!(sink.bytes.len() > 199 * 300_000);
    // Each item is a reason to give others their turn.
    assert!(ann.turns >= 199, "{}", ann.turns);
}

#[test]
fn one_item_after_another_that_cannot_be_sent_leaves_the_rest_as_it_is() {
    let junk = "=ZZ".repeat(60_000);
    let message = alloc::format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{junk}");
    let mut ann = Fixture::new(&[message.as_bytes()]);
    let mut sink = Sink::default();
    let mut out = Out::new(Vec::new(), &mut sink);
    ann.say_to("FETCH 1 (BINARY.PEEK[1] BODY.PEEK[] BINARY.PEEK[1]<0.5> UID)", &mut out);
    ready(out.flush()).unwrap();
    let said = String::from_utf8(sink.bytes).unwrap();
    assert!(said.starts_with("* 1 FETCH (BODY[] {") && said.contains("ZZ UID 1)\r\n"));
    assert!(said.ends_with("t NO [UNKNOWN-CTE] the part's encoding cannot be undone\r\n"));
}

#[test]
fn nul_is_sent_in_literal8_alone() {
    let message = b"Subject: a\0b\r\nContent-Type: text/plain; name=\"c\0d\"\r\n\r\nx\0y\r\n";
    let mut large = message.to_vec();
    large.resize(WHOLE_BODY_BYTES_MAX as usize + 9, b'z');
    for message in [&message[..], &large] {
        let mut ann = Fixture::new(&[message]);
        let said = ann.bytes(
            "FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[] BODY.PEEK[1]<0.3> BODY.PEEK[HEADER] \
             BODY.PEEK[HEADER.FIELDS (Subject)])",
        );
        assert!(memchr::memchr(0, &said).is_none());
        let has = |part: &[u8]| memchr::memmem::find(&said, part).is_some();
        assert!(has(b"BODY[1]<0> {3}\r\nx\x80y ") && has(b"\r\nSubject: a\x80b\r\n"));
        let whole = ann.bytes("FETCH 1 BINARY.PEEK[]");
        let start = alloc::format!("* 1 FETCH (BINARY[] ~{{{}}}\r\n", message.len());
        assert!(whole.strip_prefix(start.as_bytes()).is_some_and(|rest| rest.starts_with(message)));
    }
}

#[test]
fn whole_messages_come_in_their_order_whatever_their_size() {
    let sizes = [0, 1, 4096, BODY_PIECE_BYTES, 70_000, 5, WHOLE_BODY_BYTES_MAX, 300_000, 65_000, 12];
    let mut random = base::Random::new(9);
    let messages = sizes.map(|size| (0..size).map(|_| random.next_u64() as u8 & 63).collect::<Vec<u8>>());
    let mut ann = Fixture::new(&messages.each_ref().map(Vec::as_slice));
    ann.add_flags(&[3], Flags::FLAGGED);
    for name in ["BODY[]", "RFC822"] {
        let mut want = Vec::new();
        for (message, number) in messages.iter().zip(1..) {
            let flags = if number == 3 { "\\Flagged" } else { "" };
            let size = message.len();
            let start = alloc::format!("* {number} FETCH (UID {number} {name} {{{size}}}\r\n");
            want.extend_from_slice(start.as_bytes());
            // What a literal cannot hold has its stand-in.
            want.extend(message.iter().map(|&byte| if byte == 0 { 0x80 } else { byte }));
            want.extend_from_slice(alloc::format!(" FLAGS ({flags}))\r\n").as_bytes());
        }
        let mut sink = Sink::default();
        let mut out = Out::new(Vec::new(), &mut sink);
        let asked = name.replace("BODY[", "BODY.PEEK[");
        ann.say("EXAMINE INBOX");
        ann.say_to(&alloc::format!("FETCH 1:* (UID {asked} FLAGS)"), &mut out);
        ready(out.flush()).unwrap();
        let most = Out::HIGH_BYTES + BODY_PIECE_BYTES as usize + 100;
        assert!(sink.most <= most, "{name}: {}", sink.most);
        want.extend_from_slice(b"t OK fetched\r\n");
        assert!(sink.bytes == want, "{name}");
    }
}

#[test]
fn a_header_without_end_is_read_to_its_bound() {
    let line = b"X-Filler: 0123456789012345678901234567890123456789\r\n";
    let mut message = b"Subject: x\r\n".to_vec();
    while message.len() < 3 * HEADER_BYTES_MAX as usize {
        message.extend_from_slice(line);
    }
    message.extend_from_slice(b"Late: y\r\n\r\nbody");
    let mut ann = Fixture::of(World::with_segment_bytes(8 << 20), &[&message, &message]);
    for items in ["RFC822.HEADER", "(RFC822.HEADER BODY.PEEK[TEXT]<0.1>)", "(RFC822.HEADER BODYSTRUCTURE)"] {
        let said = ann.say(&alloc::format!("FETCH 2 {items}"));
        let start = alloc::format!("* 2 FETCH (RFC822.HEADER {{{HEADER_BYTES_MAX}}}\r\nSubject: x");
        assert!(said.starts_with(&start), "{items}");
    }
    let rest = message.len() - HEADER_BYTES_MAX as usize;
    let said = ann.say("FETCH 1 RFC822.TEXT");
    assert!(said.starts_with(&alloc::format!("* 1 FETCH (RFC822.TEXT {{{rest}}}\r\n")));
    let said = ann.say("FETCH 1:2 BODY.PEEK[HEADER.FIELDS (Subject Late)]");
    assert_eq!(said.matches("{14}\r\nSubject: x\r\n\r\n)").count(), 2, "{said}");
    assert!(ann.turns >= 2);
    assert_eq!(ann.say("SEARCH SUBJECT x"), lines(&["* SEARCH 1 2", "t OK searched"]));
    assert_eq!(ann.say("SEARCH HEADER Late y"), lines(&["* SEARCH", "t OK searched"]));
}

#[test]
fn a_peer_that_goes_away_ends_the_work() {
    struct Gone;
    impl Drain for Gone {
        fn poll_drain(&mut self, _: &mut Context<'_>, _: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
            Poll::Ready(Err(Closed))
        }
    }
    let message = b"x".repeat(100_000);
    let mut ann = Fixture::new(&[&message, &message]);
    let mut gone = Gone;
    let mut out = Out::new(Vec::new(), &mut gone);
    ann.say_to("FETCH 1:2 BODY[]", &mut out);
    assert!(!out.buffer.ends_with(b"fetched\r\n"));
    assert_eq!(ann.account.mailbox(&MailboxName::inbox()).unwrap().status.unseen, 2);
}

#[test]
fn a_header_longer_than_the_first_read_is_found() {
    let mut message = b"Subject: x\r\n".to_vec();
    for n in 0..4000 {
        message.extend(alloc::format!("X-{n}: 0123456789012345678901234567890123456789\r\n").bytes());
    }
    let header = message.len() + 2;
    message.extend_from_slice(b"\r\n");
    message.resize(600_000, b'y');
    let mut ann = Fixture::new(&[&message]);
    let said = ann.say("FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT X-3999)] BODY.PEEK[HEADER]<0.4>)");
    assert!(said.contains("Subject: x\r\nX-3999: 0123"), "{said}");
    let said = ann.say("FETCH 1 RFC822.HEADER");
    assert!(said.starts_with(&alloc::format!("* 1 FETCH (RFC822.HEADER {{{header}}}")));
}

#[test]
fn all_of_a_large_mailbox_is_told_within_bounded_memory() {
    let ann = Fixture::new(&[]);
    let data = Arc::new(SMALL.to_vec());
    let message = |_| NewMessage {
        content: data.clone().into(),
        flags: Flags::SEEN,
        keywords: Vec::new(),
        received: ann.now,
    };
    for _ in 0..20 {
        ready(ann.account.append(ann.inbox(), (0..1_000).map(message).collect(), ann.now)).unwrap();
    }
    let mut ann = ann;
    ann.say("SELECT INBOX");
    let mut sink = Sink::default();
    let mut out = Out::new(Vec::new(), &mut sink);
    ann.say_to("FETCH 1:* (UID FLAGS)", &mut out);
    ready(out.flush()).unwrap();
    assert!(sink.most < Out::HIGH_BYTES + 100);
    assert!(sink.bytes.ends_with(b"* 20000 FETCH (UID 20000 FLAGS (\\Seen))\r\nt OK fetched\r\n"));
    assert_eq!(memchr::memchr_iter(b'\n', &sink.bytes).count(), 20_001);
    // Rows that are not told of take time too.
    ann.say("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 99999999)");
    assert!(ann.turns >= 18, "{}", ann.turns);
    assert_eq!(
        ann.say("SEARCH RETURN (COUNT) UNSEEN"),
        lines(&["* ESEARCH (TAG \"t\") COUNT 0", "t OK searched"])
    );
    assert!(ann.turns >= 18, "{}", ann.turns);
}

#[test]
fn broken_mime_never_fails_a_fetch() {
    let mut random = base::Random::new(7);
    for _ in 0..200 {
        let (_, sample) = samples::ALL[random.below(samples::ALL.len() as u64) as usize];
        let mut message = sample.to_vec();
        for _ in 0..random.below(8) {
            let at = random.below(message.len() as u64) as usize;
            message[at] = random.next_u64() as u8;
        }
        message.truncate(random.below(message.len() as u64 + 1) as usize);
        let mut ann = Fixture::new(&[&message]);
        let said = ann.say("FETCH 1 FULL");
        assert!(said.ends_with("t OK fetched\r\n"), "{said}");
        for items in ["(BODYSTRUCTURE BODY[1] BODY[1.MIME] BODY[2.1] BODY[2.HEADER] BODY[TEXT])", "BODY[]"] {
            let said = ann.say(&alloc::format!("FETCH 1 {items}"));
            assert!(said.ends_with("t OK fetched\r\n"), "{said}");
        }
    }
}

#[test]
fn a_message_of_ten_thousand_parts_is_bounded() {
    let mut wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    for _ in 0..10_000 {
        wide.extend_from_slice(b"--b\r\n\r\nx\r\n");
    }
    let mut deep = Vec::new();
    for n in 0..10_000 {
        deep.extend(alloc::format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n").bytes());
    }
    let mut ann = Fixture::new(&[&wide, &deep]);
    let said = ann.say("FETCH 1:2 (BODYSTRUCTURE BODY.PEEK[9999] BODY.PEEK[1.1.1.1.1] BINARY.SIZE[1.1])");
    assert!(said.ends_with("t OK fetched\r\n"));
    assert!(said.len() < 1 << 20, "{}", said.len());
}
