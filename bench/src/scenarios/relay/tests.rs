//! The sink as its own relay: what comes in has arrived.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command, Verb};

/// Sends straight to the sink.
fn relayed(options: &[&str]) -> Result<Report, Wrong> {
    let port = listen("127.0.0.1:0".parse().expect("an address")).expect("loopback has ports").local_addr();
    let port = port.expect("bound").port();
    let (port, sink) = (port.to_string(), format!("127.0.0.1:{port}"));
    let words = ["bench", "smtp-relay", "--smtp", &port, "--sink", &sink];
    let cli = Cli::try_parse_from(words.iter().chain(options)).expect("valid");
    let Verb::Load(Command::SmtpRelay(args)) = &cli.verb else { panic!("asked for above") };
    cli.options().and_then(|options| run(&options, *args))
}

#[test]
fn what_was_acknowledged_has_arrived() {
    for options in [
        &["--count", "100", "--connections", "4"][..],
        &["--count", "40", "--connections", "2", "--recipients", "3", "--domains", "2", "--size", "64K"],
        &["--count", "40", "--connections", "4", "--cpus", "0,1", "--rate", "2000", "--no-chunking"],
        &["--count", "100", "--size", "mixed", "--sink-threads", "2"],
    ] {
        let report = relayed(options).expect("all arrive");
        let count = options[1].parse::<u64>().expect("a number");
        assert_eq!(report.figure_named("arrived_before_250"), Some(&count.into()), "{options:?}");
        assert_eq!(report.figure_named("sink_transactions"), Some(&count.into()), "{options:?}");
        let compared = report.figure_named("compared_byte_for_byte").and_then(serde_json::Value::as_u64);
        assert!(compared.is_some_and(|compared| compared >= count / 32), "{options:?}: {compared:?}");
    }
    assert!(matches!(relayed(&["--recipients", "0"]), Err(Wrong::Usage(_))));
}

#[test]
fn a_message_that_was_changed_is_seen() {
    let naming = Naming { run: 7, recipients: 2, domains: 3 };
    assert_eq!(naming.address(5, 1), "n5-1-7@d0.example.net");
    let mut arrivals = Arrivals::new(naming, Arc::default());
    let mut messages = Messages::new(crate::message::Size::Fixed(600), 0);
    let mut message = Vec::new();
    messages.write(&naming.address(0, 0), &mut message);
    for (place, with) in [(0, b"Received: x\r\n".to_vec()), (1, b"y".to_vec())] {
        arrivals.forget(3);
        arrivals.recipient(3, format!("RCPT TO:<{}> NOTIFY=NEVER", naming.address(0, place)).as_bytes());
        arrivals.content(3, &[with.as_slice(), &message].concat());
        message[550] ^= 1;
        arrivals.taken(3);
    }
    arrivals.forget(3);
    arrivals.recipient(3, b"RCPT TO:<n5-1-8@d0.example.net>");
    arrivals.recipient(3, b"RCPT TO:<somebody@d0.example.net>");
    assert_eq!((arrivals.compared, arrivals.changed, arrivals.of_other_runs), (2, 1, 2));
    let accepted = (0..2).map(|_| Accepted { number: 0, began: clock::now(), at: clock::now() });
    let Err(Wrong::Answer(text)) = Verdict::of(accepted.collect(), 2, std::iter::once(arrivals)).map(|_| ())
    else {
        panic!("it was changed")
    };
    assert_eq!(text, "1 of 2 messages were changed on their way");
}
