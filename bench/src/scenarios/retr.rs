//! `pop3-retr`: RETR of a message drawn by chance. Its size must be the one that LIST told.

use pop3::Client;

use super::fill::fill;
use super::{Share, measure};
use crate::cli::{MailboxArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::report::Report;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: MailboxArgs) -> Result<Report, Wrong> {
    // A maildrop is locked for one connection (RFC 1939 §4).
    super::require_own_users(options)?;
    fill(options, "INBOX", options.connections, args.messages)?;
    let outcome = measure(options, |share| Retrieve::new(options, share), super::nothing_to_count)?;
    let bytes = outcome.scenarios.iter().map(|retrieve| retrieve.bytes).sum();
    Ok(outcome.report(Report::new("pop3-retr"), bytes))
}

struct Retrieve<'a> {
    options: &'a Options,
    share: Share,
    lines: Vec<Line>,
    random: base::Random,
    bytes: u64,
}

struct Line {
    client: Client,
    stage: Stage,
    /// Number and size of each message.
    listed: Vec<(u32, usize)>,
    message: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Login,
    List,
    Ready,
    Leaving,
}

impl<'a> Retrieve<'a> {
    fn new(options: &'a Options, share: Share) -> Self {
        let line = |_| Line { client: Client::new(), stage: Stage::Greeting, listed: Vec::new(), message: 0 };
        Self {
            options,
            share,
            lines: (0..share.connections).map(line).collect(),
            random: base::Random::new(1 + share.thread as u64),
            bytes: 0,
        }
    }
}

impl Scenario for Retrieve<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.pop3
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let line = &mut self.lines[id];
        line.client.input(bytes);
        let failed = |error| Wrong::Answer(format!("POP3: {error:?}"));
        while let Some(response) = line.client.response().map_err(failed)? {
            if !response.is_ok {
                return Err(Wrong::answer("+OK", response.text.as_bytes()));
            }
            match line.stage {
                Stage::Greeting => {
                    line.client.log_in(&self.options.user(self.share.first + id), &self.options.password);
                    line.stage = Stage::Login;
                }
                Stage::Login => {
                    line.client.command("LIST");
                    line.stage = Stage::List;
                }
                Stage::List => {
                    line.listed = listed(&response.lines)?;
                    line.stage = Stage::Ready;
                    io.ready(id);
                }
                Stage::Ready => {
                    let (number, size) = line.listed[line.message];
                    if response.lines.len() != size {
                        let got = response.lines.len();
                        return Err(Wrong::Answer(format!(
                            "message {number}: {size} bytes listed, {got} came"
                        )));
                    }
                    self.bytes += size as u64;
                    io.done(id);
                }
                Stage::Leaving => {}
            }
        }
        io.output(id).append(line.client.output());
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let line = &mut self.lines[id];
        line.message = self.random.below(line.listed.len() as u64) as usize;
        line.client.command(&format!("RETR {}", line.listed[line.message].0));
        io.output(id).append(line.client.output());
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        let line = &mut self.lines[id];
        line.stage = Stage::Leaving;
        line.client.command("QUIT");
        io.output(id).append(line.client.output());
    }
}

/// `LIST`'s lines: number and size (RFC 1939 §5).
pub(super) fn listed(lines: &[u8]) -> Result<Vec<(u32, usize)>, Wrong> {
    let text = String::from_utf8_lossy(lines);
    let entry = |line: &str| {
        let (number, size) = line.split_once(' ')?;
        Some((number.parse().ok()?, size.parse().ok()?))
    };
    let all: Option<Vec<_>> = text.lines().map(entry).collect();
    all.filter(|all| !all.is_empty()).ok_or_else(|| Wrong::answer("a scan listing", lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_listing_is_read_and_an_empty_one_refused() {
        assert_eq!(listed(b"1 120\r\n3 4096\r\n"), Ok(vec![(1, 120), (3, 4096)]));
        assert!(listed(b"").is_err() && listed(b"1\r\n").is_err());
    }
}
