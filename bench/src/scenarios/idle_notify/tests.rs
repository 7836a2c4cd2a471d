//! Against a server that takes mail and never pushes anything into an IDLE.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use clap::Parser as _;

use crate::cli::{Cli, Verb};
use crate::report::Report;
use crate::serve::{Serve, Service, Then, listen};
use crate::wrong::Wrong;

/// LMTP or IMAP for one user, line by line; both count the same messages.
struct Mute<'a> {
    messages: &'a AtomicU32,
    is_lmtp: bool,
    is_data: bool,
    line: Vec<u8>,
}

impl Mute<'_> {
    fn lmtp(&mut self, line: &str, output: &mut Vec<u8>) {
        let said: &str = match line.get(..4).unwrap_or(line) {
            "." => {
                self.is_data = false;
                self.messages.fetch_add(1, Ordering::SeqCst);
                "250 kept\r\n"
            }
            _ if self.is_data => "",
            "DATA" => {
                self.is_data = true;
                "354 go on\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 yes\r\n",
        };
        output.extend_from_slice(said.as_bytes());
    }

    fn imap(&self, line: &str, output: &mut Vec<u8>) {
        let (tag, command) = line.split_once(' ').unwrap_or((line, ""));
        let count = self.messages.load(Ordering::SeqCst);
        let said = match command {
            "IDLE" => "+ idling\r\n".to_owned(),
            // DONE. The client looks at no tag but that of LOGOUT.
            "" => "t3 OK idled\r\n".to_owned(),
            "SELECT INBOX" | "NOOP" => format!("* {count} EXISTS\r\n{tag} OK\r\n"),
            _ => format!("{tag} OK\r\n"),
        };
        output.extend_from_slice(said.as_bytes());
    }
}

impl Service for Mute<'_> {
    fn opened(&mut self, _id: usize, output: &mut Vec<u8>) {
        output.extend_from_slice(if self.is_lmtp { b"220 hi\r\n" } else { b"* OK hi\r\n" });
    }

    fn input(&mut self, _id: usize, bytes: &[u8], output: &mut Vec<u8>) -> Then {
        self.line.extend_from_slice(bytes);
        while let Some(end) = memchr::memchr(b'\n', &self.line) {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let line = String::from_utf8(line).expect("ASCII").trim_end().to_owned();
            if self.is_lmtp {
                self.lmtp(&line, output);
            } else {
                self.imap(&line, output);
            }
            if line.ends_with("LOGOUT") || (line == "QUIT" && !self.is_data) {
                return Then::Close;
            }
        }
        Then::Answer
    }
}

fn run(words: &[&str]) -> Result<Report, Wrong> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen(any), listen(any)].map(|listener| listener.expect("loopback has ports"));
    let ports = [0, 1].map(|at: usize| listeners[at].local_addr().expect("bound").port().to_string());
    let (messages, stop) = (AtomicU32::new(7), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (listener, is_lmtp) in listeners.iter().zip([true, false]) {
            let (messages, stop) = (&messages, &stop);
            scope.spawn(move || {
                let mut mute = Mute { messages, is_lmtp, is_data: false, line: Vec::new() };
                Serve::new(listener).expect("io_uring").run(&mut mute, stop).expect("nothing fails here");
            });
        }
        let common = ["bench", "--lmtp", &ports[0], "--imap", &ports[1], "--users", "1"];
        let cli = Cli::try_parse_from(common.iter().chain(words)).expect("valid");
        let Verb::Load(command) = &cli.verb else { panic!("a scenario was named") };
        let result = cli.options().and_then(|options| crate::scenarios::run(&options, command));
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn a_lost_notification_is_counted_and_does_not_hang_the_run() {
    let report = run(&["idle-notify", "--count", "1"]).expect("NOOP tells of it");
    let figure = |name| report.figure_named(name).cloned();
    assert_eq!(figure("operations"), Some(1.into()));
    assert_eq!(figure("exists_only_after_renewed_idle"), Some(1.into()));
}
