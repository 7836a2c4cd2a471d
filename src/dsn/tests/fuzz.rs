//! Any bytes are read without a panic and within bounds, and whatever a report is made of, it is a clean one that
//! says the same when it is read back.
//!
//! `FUZZ_ROUNDS` sets the number of rounds, `FUZZ_SEED` where they begin; a failure names its seed.

mod support;

use base::{Random, Timestamp};
use dsn::{
    Content, Incoming, Notify, Original, Outcome, Recipient, Reporter, Return, Status, Templates, compose,
    notice_for, read_report,
};
use support::check_report;

const SEEDS: [&[u8]; 5] = [
    include_bytes!("failure.eml"),
    include_bytes!("failure-full.eml"),
    include_bytes!("utf8-sender.eml"),
    include_bytes!("hostile.eml"),
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=p\n\n--p\n\n--p\nContent-Type: message/feedback-report\nContent-Transfer-Encoding: quoted-printable\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: <a@b>\nIncidents: 99999999999\nAuth-Failure: (x\nReporting-MTA: dns;\n\n--p\nContent-Type: text/rfc822-headers\nContent-Transfer-Encoding: base64\n\nRnJvbTogYUBiCg==\n--p--\n",
];

const TOKENS: [&str; 14] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\u{85}",
    "\u{2028}",
    ".\r\n",
    "--=_report_",
    "{recipient}",
    "\u{e9}",
    "+",
    ";",
    "<>",
    "=?utf-8?q?x",
];

#[test]
fn mutated_reports_are_read_within_bounds() {
    rounds(|random| {
        let mut message = SEEDS[random.below(5) as usize].to_vec();
        for _ in 0..=random.below(12) {
            mutate(&mut message, random);
        }
        match read_report(&message) {
            None => {}
            Some(Incoming::Delivery(report)) => {
                assert!(report.recipients.len() <= dsn::limits::REPORTED_RECIPIENTS_MAX);
                for recipient in &report.recipients {
                    let values = [
                        &recipient.original,
                        &recipient.address,
                        &recipient.diagnostic,
                        &recipient.remote_mta,
                    ];
                    values.into_iter().flatten().for_each(|value| check_value(value));
                }
            }
            Some(Incoming::Feedback(report)) => {
                report.recipients.iter().chain(&report.reported_domains).for_each(|value| check_value(value));
            }
        }
    });
}

#[test]
fn reports_are_clean_and_say_what_they_were_told() {
    let templates = Templates::default();
    rounds(|random| {
        let texts: Vec<String> = (0..6).map(|_| text(random)).collect();
        let mut content = SEEDS[random.below(5) as usize].to_vec();
        (0..random.below(4)).for_each(|_| mutate(&mut content, random));
        let recipients: Vec<Recipient<'_>> =
            (0..=random.below(4)).map(|_| recipient(random, &texts)).collect();
        let sender = ["ann@example.org", "\u{e4}nn@example.org", "\"a  b\"@example.org", &texts[5]]
            [random.below(4) as usize];
        let Some(notice) = notice_for(Some(sender), &recipients) else { return };
        let original = Original {
            envid: Some(&texts[3]).filter(|_| random.one_in(2)).map(|x| &**x),
            ret: [None, Some(Return::Full), Some(Return::Headers)][random.below(3) as usize],
            arrived_at: Some(Timestamp::from_s(1_795_521_000)),
            release_at: Some(Timestamp::from_s(1_795_521_060)).filter(|_| random.one_in(2)),
            deliver_by: Some(Timestamp::from_s(1_795_521_120)).filter(|_| random.one_in(2)),
            received_from: Some(&texts[4]).filter(|_| random.one_in(2)).map(|x| &**x),
            content: if random.one_in(2) { Content::Whole(&content) } else { Content::Header(&content) },
        };
        let reporter = Reporter {
            hostname: "mx.example.org",
            from: "MAILER-DAEMON@mx.example.org",
            postmaster: "postmaster@example.org",
            message_id: "report.1@mx.example.org",
            now: Timestamp::from_s(1_795_521_600),
            utc_offset_minutes: 0,
            templates: &templates,
            returned_bytes_max: 100_000,
        };
        let report = compose(&notice, &original, &reporter);
        check_report(&report);
        let Some(Incoming::Delivery(read)) = read_report(&report.message) else { panic!("it is one") };
        assert_eq!(read.arrived_at, original.arrived_at);
        assert_eq!(read.recipients.len(), notice.recipients().len());
        for (read, (action, told)) in read.recipients.iter().zip(notice.recipients()) {
            assert_eq!(read.action, Some(*action));
            assert_eq!(read.address.as_deref(), Some(told.address));
            assert!(read.status.is_some());
            assert_eq!(read.attempted_at, told.attempted_at);
        }
    });
}

fn recipient<'a>(random: &mut Random, texts: &'a [String]) -> Recipient<'a> {
    let outcomes = [
        Outcome::Failed,
        Outcome::Delayed,
        Outcome::Delivered,
        Outcome::Relayed { has_dsn: false },
        Outcome::Relayed { has_dsn: true },
        Outcome::Expanded,
    ];
    let notify =
        Notify { on_success: random.one_in(2), on_failure: random.one_in(2), on_delay: random.one_in(2) };
    let mut pick = |at: usize| Some(&*texts[at]).filter(|_| random.one_in(2));
    let (orcpt, remote_host, response) = (pick(0), pick(1), pick(2));
    Recipient {
        orcpt,
        remote_host,
        response,
        notify: Some(notify).filter(|_| random.one_in(2)),
        status: Some(Status::new(5, random.below(9) as u16, random.below(12) as u16))
            .filter(|_| random.one_in(2)),
        attempted_at: Some(Timestamp::from_s(1_795_521_300)),
        retry_until: Some(Timestamp::from_s(1_795_953_600)),
        ..Recipient::new(
            ["bob@example.net", "b\u{f6}b@example.net", "b+o=b@example.net"][random.below(3) as usize],
            outcomes[random.below(6) as usize],
        )
    }
}

fn text(random: &mut Random) -> String {
    let mut out = String::new();
    for _ in 0..random.below(8) {
        match random.below(4) {
            0 => out.push_str(TOKENS[random.below(14) as usize]),
            1 => out.push_str(&"x".repeat(random.below(2000) as usize)),
            2 => out.push_str("550-5.1.1 words (here) "),
            _ => out.extend(char::from_u32(random.below(0x11_0000) as u32)),
        }
    }
    out
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let end = (at + random.below(40) as usize).min(bytes.len());
    match random.below(5) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        2 => bytes.insert(at, random.next_u64() as u8),
        3 => drop(bytes.splice(at..at, TOKENS[random.below(14) as usize].bytes())),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

fn check_value(value: &str) {
    assert!(value.len() <= 3000 && !value.contains(['\r', '\n', '\0']), "{value:?}");
}

fn rounds(check: impl Fn(&mut Random) + std::panic::RefUnwindSafe) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + number("FUZZ_ROUNDS", 2000) {
        let outcome =
            std::panic::catch_unwind(|| check(&mut Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        assert!(outcome.is_ok(), "FUZZ_SEED={seed} FUZZ_ROUNDS=1 breaks it");
    }
}
