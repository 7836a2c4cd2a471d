//! Any bytes are a message: nothing here panics, and what comes out is as sound as what went in.
//!
//! `FUZZ_ROUNDS` sets the number of rounds, `FUZZ_SEED` where they begin; a failure names its seed.

use base::{Random, Timestamp};
use mime::scan;

use crate::tests::{crlf, flow};
use crate::{
    Concurrent, Disclaimed, Disclaimer, Fallback, FieldEdit, Flow, FlowFacts, FlowKnown, FlowOutcome,
    KeyMaker, Message, Place, Policy, Remembered, apply, disclaim, edit_fields,
};

const SEEDS: [&str; 4] = [
    "From: a@b\nTo: c@d, \"e\" <f@g>\nSubject: =?utf-8?q?x=C3=A9?=\n =?utf-8?b?w6k=?=\nX-A: 1\n\nbody\n.\nFrom x\n",
    "Content-Type: multipart/mixed; boundary=\"ab\"\n\npre\n--ab\nContent-Type: multipart/alternative; boundary=a\n\n--a\n\nx\n--a\nContent-Type: text/html; charset*=utf-8''iso-8859-1; n*0*=a''%41\nContent-Transfer-Encoding: quoted-printable\n\n<body>=41=\n=C3 &#233;</body>\n--a--\n--ab\nContent-Type: application/x; name=\"r=?utf-8?q?=C3=A4?=.exe\"\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--ab--\nepi\n",
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: base64\nImportance: high\nAuto-Submitted: no\n\naGVsbG8gd29ybGQ=\n",
    "Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: text/plain; charset=shift_jis\n\nx\n--s\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNED MESSAGE-----\n--s--\n",
];

const TOKENS: [&str; 18] = [
    "\r\n",
    "\n",
    "\r",
    "--ab",
    "--a--",
    "=?",
    "?=",
    "\"",
    "<body",
    "</body>",
    "<!--",
    "&#x",
    "=",
    "\0",
    "é",
    "Content-Type: text/html\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Subject:",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| crlf(SEEDS[random.below(SEEDS.len() as u64) as usize]);
    let mut bytes = pick(random);
    for _ in 0..=random.below(10) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + random.below(60) as usize).min(bytes.len());
        match random.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let token = TOKENS[random.below(TOKENS.len() as u64) as usize];
                bytes.splice(at..at, token.bytes());
            }
            2 => {
                let other = pick(random);
                let from = random.below(other.len() as u64) as usize;
                bytes.splice(at..at, other[from..].iter().copied());
            }
            3 => bytes.insert(at, random.next_u64() as u8),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn rules() -> Flow {
    flow(
        "[mailflow]\ninside = 'b'
        [[mailflow.rule]]
        name = 'all'
        when = { any = [
            { subject_or_body = { words = ['x', 'hello'] } },
            { attachment = { name = '*.exe', size = { above = 1 } } },
            { from = 'a@*', every_recipient_inside = false },
            { type = ['automatic', 'signed', 'encrypted', 'calendar', 'list', 'reply'] },
            { importance = 'high' },
            { header = { name = 'X-A', matches = '^[0-9]+$' } },
            { has_attachment = true, attachments = { above = 3 } },
        ] }
        then = [{ disclaimer = { text = 'Grüße', fallback = 'wrap' } }, { prepend_subject = '[ä] ' }, { cc = 'c@d' }, { remove_header = 'X-A' }]",
    )
}

#[test]
fn mutated_messages_never_break_anything() {
    let rules = rules();
    let rounds = number("FUZZ_ROUNDS", 2000);
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + rounds {
        let message = mutated(&mut Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let outcome = std::panic::catch_unwind(|| check(&rules, &message, seed));
        assert!(outcome.is_ok(), "FUZZ_SEED={seed} breaks on {:?}", String::from_utf8_lossy(&message));
    }
}

fn check(rules: &Flow, message: &[u8], seed: u64) {
    let known = FlowKnown::default();
    let facts = FlowFacts::of("a@b", &["c@d", "e@b"], Timestamp::from_s(0), &known);
    let looked_at = Message::of(message);
    let FlowOutcome::Done(verdict) = rules.evaluate(&looked_at, &facts) else {
        panic!("nothing has to be asked")
    };
    let again = rules.evaluate(&Message::of(message), &facts);
    assert_eq!(again, FlowOutcome::Done(verdict.clone()), "the same facts, the same verdict");
    let steps = rules.explain(&looked_at, &facts);
    assert_eq!(steps[0].state == crate::StepState::Matched, !verdict.effects.is_empty());
    let _ = apply(message, &verdict.effects, seed);
    check_fields(message);
    for (place, fallback) in [(Place::Start, Fallback::Wrap), (Place::End, Fallback::Ignore)] {
        let ours = Disclaimer { text: "Zorn ü".into(), html: "<i>Zorn ü</i>".into(), place, fallback };
        check_disclaimed(message, &ours, seed);
    }
}

fn check_fields(message: &[u8]) {
    let edits = [
        FieldEdit::Set { name: "X-A".into(), value: "new ü".into() },
        FieldEdit::AddAddress { name: "To".into(), address: "z@z".into() },
        FieldEdit::PrefixSubject("[p] ".into()),
    ];
    let edited = edit_fields(message, &edits);
    let values: Vec<_> = mime::Headers::of(&edited).filter(|field| field.is("X-A")).collect();
    assert_eq!(values.len(), 1);
    assert_eq!(mime::decode_words(values[0].value).trim(), "new ü");
    let body = |bytes: &[u8]| bytes[mime::end_of_headers(bytes)..].to_vec();
    assert_eq!(body(&edited), body(message), "a body is not the header's to change");
    assert_eq!(edit_fields(&edited, &edits[1..]), edited, "what is there is not added again");
}

fn check_disclaimed(message: &[u8], ours: &Disclaimer, seed: u64) {
    let parts = |bytes: &[u8]| scan(bytes).parts().len();
    match disclaim(message, ours, seed) {
        Disclaimed::Added(after) => {
            // HTML that never closes a comment hides all that follows, so the bytes are looked at.
            let has_it = |part: &mime::Part| {
                let body = mime::decode_transfer(part.encoding, part.body_of(&after));
                let charset = part.content_type.param("charset").unwrap_or_default();
                let text = mime::decode_text(&charset, &body);
                text.contains("Zorn ü") || text.contains("<i>Zorn &#252;</i>")
            };
            assert!(scan(&after).parts().iter().any(has_it), "{:?}", String::from_utf8_lossy(&after));
            assert!(parts(&after) >= parts(message), "a part is lost: {:?}", String::from_utf8_lossy(&after));
        }
        Disclaimed::Wrapped(after) => {
            let tree = scan(&after);
            // A header without its empty line takes the line end of the delimiter behind it for that.
            let is_it = |body: &[u8]| {
                body.strip_prefix(message).is_some_and(|rest| [&b""[..], b"\r\n"].contains(&rest))
            };
            assert!(tree.parts().iter().any(|part| is_it(part.body_of(&after))) || tree.is_cut());
        }
        Disclaimed::Unchanged => {}
        Disclaimed::Refused => panic!("nobody asked for that"),
    }
}

#[test]
fn mutated_rules_are_read_or_refused() {
    let guide = include_str!("../../../docs/operate/rules.md");
    let mut random = Random::new(11);
    for round in 0..number("FUZZ_ROUNDS", 2000) {
        let blocks: Vec<&str> =
            guide.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let mut text = blocks[random.below(blocks.len() as u64) as usize].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() as u64) as usize;
            let end = (at + random.below(12) as usize).min(text.len());
            match random.below(3) {
                0 => drop(text.drain(at..end)),
                1 => text[at] = b" \n'\"{}[]=,.0aZ"[random.below(14) as usize],
                _ => {
                    let piece = text[at..end].to_vec();
                    text.splice(at..at, piece);
                }
            }
            if text.is_empty() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let file = |_: &str| Ok(String::new());
        for fault in
            [Policy::parse(&text, &file).err(), Flow::parse(&text, &file).err()].into_iter().flatten()
        {
            let lines = text.matches('\n').count() + 1;
            assert!(
                (1..=lines).contains(&fault.line) && !fault.message.is_empty(),
                "round {round}: {fault}\n{text}"
            );
        }
    }
}

#[test]
fn mutated_state_is_read_or_left_out() {
    let maker = KeyMaker::new(3);
    let mut random = Random::new(5);
    let mut known = Remembered::new(maker);
    let (now, settings) = (Timestamp::from_s(1), crate::Settings::default());
    for n in 0..20_u32 {
        let source = std::net::IpAddr::from([192, 0, 2, n as u8]);
        let sender = format!("{}@x", char::from(b'a' + n as u8));
        known.greylist.check(now, &settings.greylist, source, &sender, "b@y");
        let rate = crate::Rate { count: 1, every_ms: 1_000_000, burst: 1 };
        known.rates.take(now, &rate, known.rates.key("a", &n.to_string()), 1);
        known.reputation.note(now, &settings.reputation, source, crate::Conduct::Good);
    }
    let written: Vec<(Vec<u8>, Vec<u8>)> = known
        .changes(now, 1000)
        .into_iter()
        .filter_map(|change| Some((change.key.to_vec(), change.value?)))
        .collect();
    assert_eq!(written.len(), 60);
    for _ in 0..number("FUZZ_ROUNDS", 2000) {
        let mut all = written.clone();
        let (key, value) = &mut all[random.below(60) as usize];
        let bytes = if random.one_in(2) { key } else { value };
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        bytes.truncate(bytes.len() - random.below(3) as usize);
        let mut again = Remembered::new(maker);
        again.restore(now, &settings, all);
        // Whatever it has become: it is taken in or taken out, and nothing else is touched.
        assert!(again.changes(now, 1000).len() <= 1);
    }
    assert_eq!(Concurrent::new(maker).count(maker.key(crate::Home(0), &[b"x"])), 0);
}
