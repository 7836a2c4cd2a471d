//! How long it takes; for a person to read:
//! `cargo test --release -p policy speed -- --ignored --nocapture`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use base::Timestamp;

use crate::tests::flow;
use crate::{
    Disclaimer, Facts, Fallback, FlowFacts, FlowKnown, Greylist, GreylistSettings, KeyMaker, Known, Message,
    Outcome, Place, Policy, Rate, Rates, Stage, disclaim,
};

/// Processor time of this thread, which others on the machine do not lengthen much. The kernel counts it in
/// ticks, so a measurement takes many rounds.
fn clock() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

fn time(what: &str, rounds: u32, mut work: impl FnMut(u32)) {
    work(0);
    let before = clock();
    for round in 0..rounds {
        work(round);
    }
    println!("{what}: {:.3} us", clock().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(rounds));
}

#[test]
#[ignore = "it measures"]
fn speed() {
    let mut list = String::new();
    for n in 0..1_000_000 {
        writeln!(list, "d{n}.test").unwrap();
    }
    let mut text = String::from("[[policy.list]]\nname = 'big'\nfile = 'big'\n");
    for n in 0..20 {
        let when = format!(
            "{{ source = '10.{n}.0.0/16', sender = ['x{n}@example.com', '.y{n}.test'], helo = '*-dyn{n}.*' }}"
        );
        write!(text, "[[policy.rule]]\nname = 'r{n}'\nstage = 'rcpt'\nwhen = {{ any = [{when}, {{ recipient = 'z{n}@example.org' }}] }}\nthen = 'reject'\n").unwrap();
    }
    text += "[[policy.rule]]\nname = 'big'\nstage = 'rcpt'\nwhen = { sender_domain = 'list:big' }\nthen = 'reject'\n";
    let policy = Policy::parse(&text, &|_| Ok(list.clone())).unwrap();
    let known = Known::default();
    let facts = Facts {
        helo: Some("mail.example.net"),
        sender: Some("ann@example.net"),
        recipients: &["bob@example.org"],
        ..Facts::of_connection("192.0.2.7".parse().unwrap(), "smtp", &known)
    };
    time("21 rules at rcpt, one with a list of 1,000,000 domains", 100_000, |_| {
        assert!(matches!(black_box(policy.evaluate(Stage::Rcpt, &facts)), Outcome::Done(_)));
    });
    machines();
    messages();
}

fn machines() {
    let now = Timestamp::from_s(1_795_500_000);
    let mut grey = Greylist::new(KeyMaker::new(1));
    let settings = GreylistSettings::default();
    time("a greylist of 200,000 triplets, a new one each time", 400_000, |n| {
        black_box(grey.check(
            now,
            &settings,
            std::net::Ipv4Addr::from(n << 8).into(),
            "ann@example.net",
            "bob@example.org",
        ));
    });
    let mut rates = Rates::new(KeyMaker::new(1));
    let rate = Rate { count: 100, every_ms: 1000, burst: 10 };
    time("a rate limit among 200,000", 400_000, |n| {
        let key = rates.key("users", &n.to_string());
        black_box(rates.take(now, &rate, key, 1));
    });
}

fn messages() {
    let mut text = String::from("[mailflow]\ninside = 'example.org'\n");
    for n in 0..10 {
        write!(text, "[[mailflow.rule]]\nname = 'a{n}'\nwhen = {{ sender_inside = true, subject_or_body = {{ words = ['word{n}', 'other{n}'] }} }}\nthen = 'discard'\n").unwrap();
        write!(text, "[[mailflow.rule]]\nname = 'b{n}'\nwhen = {{ attachment = {{ extension = 'x{n}' }} }}\nthen = 'discard'\n").unwrap();
    }
    text += "[[mailflow.rule]]\nname = 'card'\nwhen = { body = { matches = '\\b(?:\\d{4}[ -]?){4}\\b' } }\nthen = 'discard'\n";
    let rules = flow(&text);
    let line = "Some words of a message that nobody will ever read, with 123 numbers.\r\n";
    for lines in [55, 900] {
        let mail = format!("From: a@example.org\r\nSubject: x\r\n\r\n{}", line.repeat(lines));
        let known = FlowKnown::default();
        let facts = FlowFacts::of("a@example.org", &["b@example.com"], Timestamp::from_s(0), &known);
        time(
            &format!(
                "21 mail-flow rules, 10 of them about words and one a regular expression, {} bytes",
                mail.len()
            ),
            3000,
            |_| {
                black_box(rules.evaluate(&Message::of(mail.as_bytes()), &facts));
            },
        );
        let ours = Disclaimer {
            text: "Ours".into(),
            html: String::new(),
            place: Place::End,
            fallback: Fallback::Wrap,
        };
        time(&format!("a disclaimer in {} bytes", mail.len()), 3000, |_| {
            black_box(disclaim(mail.as_bytes(), &ours, 1));
        });
    }
}
