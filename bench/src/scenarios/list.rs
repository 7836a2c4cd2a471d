//! `imap-list`: FETCH 1:* of one mailbox. Every message must be there once, in its place.

use super::fill::{fill, mailbox_name};
use super::{Share, log_in, measure};
use crate::cli::{Items, ListArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::report::Report;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: ListArgs) -> Result<Report, Wrong> {
    let messages = args.mailbox.messages;
    let mailbox = mailbox_name(options, messages)?;
    fill(options, &mailbox, options.users.min(options.connections), messages)?;
    let outcome =
        measure(options, |share| List::new(options, share, args, &mailbox), super::nothing_to_count)?;
    let bytes: u64 = outcome.scenarios.iter().map(|list| list.bytes).sum();
    let items = if args.items == Items::Flags { "UID FLAGS" } else { "UID ENVELOPE" };
    let report = Report::new("imap-list").figure("messages", messages).figure("items", items);
    Ok(outcome.report(report, bytes))
}

struct List<'a> {
    options: &'a Options,
    command: &'static str,
    /// What must be in each response.
    marks: [&'static [u8]; 2],
    messages: u32,
    lines: Vec<Line>,
    bytes: u64,
}

struct Line {
    imap: Imap,
    /// Responses of this command so far.
    seen: u32,
}

impl<'a> List<'a> {
    fn new(options: &'a Options, share: Share, args: ListArgs, mailbox: &str) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [log_in(options, share.first + id), format!("EXAMINE {}", quoted(mailbox)).into()];
            Line { imap: Imap::new(setup), seen: 0 }
        });
        let (command, marks): (_, [&[u8]; 2]) = match args.items {
            Items::Flags => ("FETCH 1:* (UID FLAGS)", [b"UID ", b"FLAGS ("]),
            Items::Envelope => ("FETCH 1:* (UID ENVELOPE)", [b"UID ", b"ENVELOPE (\""]),
        };
        Self { options, command, marks, messages: args.mailbox.messages, lines: lines.collect(), bytes: 0 }
    }
}

impl Scenario for List<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, seen } = &mut self.lines[id];
        imap.input(bytes);
        self.bytes += bytes.len() as u64;
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Untagged(line) => {
                    let Some((number, rest)) = fetched(line) else { continue };
                    *seen += 1;
                    let has_all = self.marks.iter().all(|mark| memchr::memmem::find(rest, mark).is_some());
                    if number != *seen || !has_all {
                        return Err(Wrong::answer(&format!("message {seen} with all items"), line));
                    }
                }
                Event::Tagged { is_ok, text } => {
                    if !is_ok || *seen != self.messages {
                        let expected = format!("OK after {} messages, of which {seen} came", self.messages);
                        return Err(Wrong::answer(&expected, text));
                    }
                    io.done(id);
                }
                Event::Continue | Event::LoggedOut => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let line = &mut self.lines[id];
        line.seen = 0;
        line.imap.command(io.output(id), self.command);
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}

/// The message number and the items of a FETCH response (RFC 9051 §7.5.2).
pub(super) fn fetched(line: &[u8]) -> Option<(u32, &[u8])> {
    let rest = line.strip_prefix(b"* ")?;
    let space = memchr::memchr(b' ', rest)?;
    let items = rest.get(space..)?.strip_prefix(b" FETCH (")?;
    let number = std::str::from_utf8(rest.get(..space)?).ok()?.parse().ok()?;
    Some((number, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_responses_are_told_from_others() {
        assert_eq!(fetched(b"* 12 FETCH (UID 3)"), Some((12, &b"UID 3)"[..])));
        assert_eq!(fetched(b"* 12 EXISTS"), None);
        assert_eq!(fetched(b"* OK FETCH ("), None);
    }
}
