//! The sink as a session, and the load generator against it.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command, Verb, Via};
use crate::scenarios::deliver;

fn args() -> SinkArgs {
    SinkArgs {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        is_lmtp: false,
        threads: 1,
        chunking: false,
        delay_every: None,
        delay: None,
        reject_every: None,
    }
}

#[test]
fn content_ends_at_its_dot_however_the_bytes_come() {
    let said: &[u8] = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n\
                        MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\n.\r\nDATA\r\nQUIT\r\nNOOP\r\n";
    for step in [1, 2, 3, 4, 5, 7, 1000] {
        let mut sink = Sink::new(args(), Arc::default());
        let mut output = Vec::new();
        sink.opened(0, &mut output);
        let thens: Vec<Then> = said.chunks(step).map(|part| sink.input(0, part, &mut output)).collect();
        assert!(thens.contains(&Then::Close));
        assert_eq!((sink.counted.messages, sink.counted.bytes), (2, 24), "in steps of {step}");
        let text = String::from_utf8(output).expect("ASCII");
        assert_eq!(text.matches("250 taken\r\n").count(), 2, "{text}");
        assert!(text.contains("503 to whom?\r\n221 bye\r\n"), "{text}");
    }
}

#[test]
fn content_in_chunks_is_as_long_as_it_says() {
    let said: &[u8] = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 5\r\n\r\n.\r\nBDAT 3 LAST\r\nabc\
                        MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 4 LAST\r\nQUITBDAT 0 LAST\r\nMAIL FROM:<>\r\n\
                        RCPT TO:<b@c>\r\nBDAT 1\r\nxBDAT 0 LAST\r\nNOOP\r\nBDAT x\r\n";
    for step in [1, 2, 3, 4, 5, 7, 1000] {
        let mut sink = Sink::new(SinkArgs { chunking: true, ..args() }, Arc::default());
        let mut output = Vec::new();
        sink.opened(0, &mut output);
        let thens: Vec<Then> = said.chunks(step).map(|part| sink.input(0, part, &mut output)).collect();
        assert!(thens.contains(&Then::Close));
        assert_eq!((sink.counted.messages, sink.counted.bytes), (3, 13), "in steps of {step}");
        let text = String::from_utf8(output).expect("ASCII");
        assert_eq!(text.matches("250 taken\r\n").count(), 3, "{text}");
        assert!(text.contains("250-CHUNKING\r\n") && text.contains("503 to whom?\r\n250 ok\r\n"), "{text}");
    }
}

/// Runs a delivery against a sink on a thread of its own.
fn deliver_to(sink: SinkArgs, via: Via, options: &[&str]) -> (Result<Report, Wrong>, Counted) {
    let listener = listen(sink.listen).expect("loopback has ports");
    let port = listener.local_addr().expect("bound").port().to_string();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let mut service = Sink::new(sink, Arc::default());
            let mut serve = Serve::new(&listener).expect("io_uring");
            serve.run(&mut service, &stop).expect("nothing fails on loopback");
            service.counted
        });
        let scenario = if via == Via::Smtp { "smtp-deliver" } else { "lmtp-deliver" };
        let words = ["bench", scenario, "--uncounted", "--smtp", &port, "--lmtp", &port];
        let cli = Cli::try_parse_from(words.iter().chain(options)).expect("valid");
        let Verb::Load(Command::SmtpDeliver(args) | Command::LmtpDeliver(args)) = &cli.verb else {
            panic!("asked for above")
        };
        let result = cli.options().and_then(|options| deliver::run(&options, *args, via));
        stop.store(true, Ordering::Relaxed);
        (result, served.join().expect("no panic"))
    })
}

#[test]
fn every_message_is_counted_and_a_refusal_fails_the_run() {
    let (result, counted) = deliver_to(args(), Via::Smtp, &["--count", "200", "--connections", "8"]);
    result.expect("all are taken");
    assert_eq!((counted.messages, counted.connections), (200, 8));
    // The last CRLF and the dot's line are the wire's.
    assert_eq!(counted.bytes, 200 * (4096 + 3));
    let lmtp = SinkArgs { is_lmtp: true, ..args() };
    let (result, counted) = deliver_to(lmtp, Via::Lmtp, &["--count", "20", "--recipients", "3"]);
    result.expect("all are taken");
    assert_eq!((counted.messages, counted.recipients), (20, 60));
    let (result, counted) = deliver_to(args(), Via::Smtp, &["--count", "100", "--size", "mixed"]);
    result.expect("all are taken");
    assert_eq!(counted.messages, 100);
    let refusing = SinkArgs { reject_every: Some(10), ..args() };
    let (result, counted) = deliver_to(refusing, Via::Smtp, &["--count", "20"]);
    assert!(matches!(result, Err(Wrong::Answer(_))));
    assert_eq!((counted.messages, counted.refused), (9, 1));
}

#[test]
fn held_back_answers_are_seen_by_an_open_loop() {
    // Every hundredth answer comes 200 ms late, at 200 messages a second on one connection: 40 of each 100
    // wait for it, so p90 is well within the stalls though 99 of 100 answers are quick.
    let slow = SinkArgs { delay_every: Some(100), delay: Some(200), ..args() };
    let (result, counted) = deliver_to(slow, Via::Smtp, &["--count", "300", "--rate", "200"]);
    let report = result.expect("all are taken in the end");
    assert_eq!(counted.messages, 300);
    let p90 = report.latency_percentile_us(90.0);
    assert!(p90 > 80_000.0, "p90 is {p90} us");
}
