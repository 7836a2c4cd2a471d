//! Scenarios against a small IMAP server that keeps what it is given, and may lie about it: a check that
//! never fails is none.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;

use crate::cli::{Cli, Verb};
use crate::serve::{Serve, Service, Then, listen};
use crate::wrong::Wrong;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// The last byte but two of a body is another one.
    Body,
    /// FETCH 1:* leaves the second message out.
    List,
    /// SEARCH leaves its first result out.
    Search,
    /// STATUS tells of one message more than were acknowledged.
    Status,
    /// Flags are never changed.
    Store,
}

struct Server {
    lie: Lie,
    messages: Vec<Vec<u8>>,
    flagged: Vec<bool>,
    /// By connection: what has come and is no whole command yet.
    input: Vec<Vec<u8>>,
    appended: u64,
}

impl Server {
    /// The command without its CRLF, its literal, and how long they are; `None` until they are whole.
    fn command(input: &[u8]) -> Option<(String, Vec<u8>, usize)> {
        let end = memchr::memchr(b'\n', input)?;
        let line = String::from_utf8(input[..end].to_vec()).expect("ASCII").trim_end().to_owned();
        let Some((rest, size)) = line.strip_suffix("+}").and_then(|line| line.rsplit_once('{')) else {
            return Some((line, Vec::new(), end + 1));
        };
        let size: usize = size.parse().expect("a size");
        let literal = input.get(end + 1..end + 1 + size)?.to_vec();
        (input.len() >= end + size + 3).then(|| (rest.to_owned(), literal, end + size + 3))
    }

    fn answer(&mut self, command: &str, literal: Vec<u8>) -> Vec<u8> {
        let (tag, command) = command.split_once(' ').expect("a tag");
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let count = self.messages.len();
        let mut said = match verb {
            "CAPABILITY" => b"* CAPABILITY IMAP4rev1 LITERAL+\r\n".to_vec(),
            "SELECT" | "EXAMINE" | "NOOP" => format!("* {count} EXISTS\r\n").into_bytes(),
            "STATUS" => {
                let more = usize::from(self.lie == Lie::Status && self.appended > 0);
                format!("* STATUS INBOX (MESSAGES {})\r\n", count + more).into_bytes()
            }
            "APPEND" => {
                self.messages.push(literal);
                self.flagged.push(false);
                self.appended += 1;
                Vec::new()
            }
            "FETCH" => self.fetch(rest),
            "SEARCH" => self.search(rest),
            "STORE" => self.store(rest),
            "LOGOUT" => b"* BYE\r\n".to_vec(),
            _ => Vec::new(),
        };
        said.extend_from_slice(format!("{tag} OK\r\n").as_bytes());
        said
    }

    fn fetch(&self, rest: &str) -> Vec<u8> {
        let (which, items) = rest.split_once(' ').expect("items");
        if items == "BODY[]" {
            let mut message = self.messages[which.parse::<usize>().expect("a number") - 1].clone();
            let at = message.len() - 3;
            message[at] ^= u8::from(self.lie == Lie::Body);
            let head = format!("* {which} FETCH (BODY[] {{{}}}\r\n", message.len());
            return [head.as_bytes(), &message, b")\r\n"].concat();
        }
        let mut all = String::new();
        for place in (1..=self.messages.len()).filter(|place| self.lie != Lie::List || *place != 2) {
            write!(all, "* {place} FETCH (UID {place} FLAGS ())\r\n").expect("a string takes everything");
        }
        all.into_bytes()
    }

    fn search(&self, rest: &str) -> Vec<u8> {
        let (_, word) = rest.split_once(' ').expect("a word");
        let has = |message: &[u8]| memchr::memmem::find(message, word.as_bytes()).is_some();
        let places = (1..).zip(&self.messages).filter(|(_, message)| has(message));
        let numbers = places.map(|(place, _): (usize, _)| format!(" {place}"));
        let numbers: String = numbers.skip(usize::from(self.lie == Lie::Search)).collect();
        format!("* SEARCH{numbers}\r\n").into_bytes()
    }

    fn store(&mut self, rest: &str) -> Vec<u8> {
        let Some((which, _)) = rest.split_once(' ').filter(|(which, _)| *which != "1:*") else {
            return Vec::new();
        };
        let place = which.parse::<usize>().expect("a number") - 1;
        self.flagged[place] = self.lie != Lie::Store && rest.contains('+');
        let flags = if self.flagged[place] { "\\Flagged" } else { "" };
        format!("* {which} FETCH (FLAGS ({flags}))\r\n").into_bytes()
    }
}

impl Service for Server {
    fn opened(&mut self, id: usize, output: &mut Vec<u8>) {
        self.input.resize(self.input.len().max(id + 1), Vec::new());
        self.input[id].clear();
        output.extend_from_slice(b"* OK hi\r\n");
    }

    fn input(&mut self, id: usize, bytes: &[u8], output: &mut Vec<u8>) -> Then {
        self.input[id].extend_from_slice(bytes);
        while let Some((command, literal, length)) = Self::command(&self.input[id]) {
            self.input[id].drain(..length);
            output.append(&mut self.answer(&command, literal));
            if command.ends_with(" LOGOUT") {
                return Then::Close;
            }
        }
        Then::Answer
    }
}

/// Runs a scenario against a server of its own.
fn run(lie: Lie, words: &[&str]) -> Result<(), Wrong> {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback has ports");
    let port = listener.local_addr().expect("bound").port().to_string();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let (messages, flagged, input) = (Vec::new(), Vec::new(), Vec::new());
            let mut server = Server { lie, messages, flagged, input, appended: 0 };
            Serve::new(&listener).expect("io_uring").run(&mut server, &stop).expect("nothing fails here");
        });
        let common = ["bench", "--imap", &port, "--users", "1", "--count", "10"];
        let cli = Cli::try_parse_from(common.iter().chain(words)).expect("valid");
        let Verb::Load(command) = &cli.verb else { panic!("a scenario was named") };
        let result = cli.options().and_then(|options| super::run(&options, command)).map(drop);
        stop.store(true, Ordering::Relaxed);
        served.join().expect("no panic");
        result
    })
}

#[test]
fn an_honest_server_passes_and_each_lie_is_found() {
    let scenarios: [(&[&str], Lie); 6] = [
        (&["imap-body", "--messages", "7"], Lie::Body),
        (&["imap-list", "--messages", "7"], Lie::List),
        (&["imap-search", "--messages", "20"], Lie::Search),
        (&["imap-search", "--messages", "20", "--key", "common"], Lie::Search),
        (&["imap-append"], Lie::Status),
        (&["imap-store", "--messages", "3"], Lie::Store),
    ];
    for (words, lie) in scenarios {
        assert_eq!(run(Lie::None, words), Ok(()), "{words:?}");
        let found = run(lie, words);
        assert!(matches!(found, Err(Wrong::Answer(_))), "{words:?} and {lie:?}: {found:?}");
    }
}

#[test]
fn a_command_that_does_not_serve_is_told() {
    let words = ["start-up", "--serve-command", "exit 3", "--smtp", "0", "--lmtp", "0"];
    let cli = Cli::try_parse_from(["bench", "--imap", "1"].iter().chain(&words)).expect("valid");
    let Verb::Load(command) = &cli.verb else { panic!("a scenario was named") };
    let result = cli.options().and_then(|options| super::run(&options, command)).map(drop);
    assert!(result.as_ref().is_err_and(|wrong| wrong.to_string().contains("exit status: 3")), "{result:?}");
}
