//! `imap-search`: SEARCH for words of which it is known in which messages they are.

use super::fill::fill_marked;
use super::{Share, log_in, measure};
use crate::cli::{Key, Options, SearchArgs};
use crate::load::{Io, Scenario, Target};
use crate::message::{COMMON_WORD, Marks, RARE_WORD, SUBJECT_WORD};
use crate::report::Report;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

/// Messages that have the rare words, where the mailbox has so many.
const RARE_MESSAGES: u32 = 5;

pub(super) fn run(options: &Options, args: SearchArgs) -> Result<Report, Wrong> {
    let messages = args.mailbox.messages;
    let size = options.fixed_size()?;
    let mailbox = options.mailbox(&format!("bench-search-{messages}-{size}"));
    fill_marked(options, &mailbox, options.users.min(options.connections), messages, marks)?;
    let (command, expected) = question(args);
    let outcome = measure(
        options,
        |share| Search::new(options, share, &mailbox, &command, &expected),
        super::nothing_to_count,
    )?;
    // What a server without an index has to read.
    let bytes = outcome.measured.operations * u64::from(messages) * size as u64;
    let report = Report::new("imap-search")
        .figure("messages", messages)
        .figure("searched_for", command.clone())
        .figure("found", expected.len());
    Ok(outcome.report(report, bytes))
}

/// The rare words are in the middles of five equal parts, the common one in every second message.
fn marks(place: u32, messages: u32) -> Marks {
    let part = (messages / RARE_MESSAGES).max(1);
    let is_rare = place % part == part / 2 && place / part < RARE_MESSAGES;
    Marks { is_rare, is_common: place % 2 == 1 }
}

/// The command, and the message numbers it must find.
fn question(args: SearchArgs) -> (String, Vec<u32>) {
    let messages = args.mailbox.messages;
    let numbers = |is_wanted: fn(Marks) -> bool| {
        (0..messages).filter(|place| is_wanted(marks(*place, messages))).map(|place| place + 1).collect()
    };
    match args.key {
        Key::Rare => (format!("SEARCH TEXT {RARE_WORD}"), numbers(|marks| marks.is_rare)),
        Key::Common => (format!("SEARCH TEXT {COMMON_WORD}"), numbers(|marks| marks.is_common)),
        Key::Subject => (format!("SEARCH SUBJECT {SUBJECT_WORD}"), numbers(|marks| marks.is_rare)),
    }
}

struct Search<'a> {
    options: &'a Options,
    command: &'a str,
    expected: &'a [u32],
    lines: Vec<Line>,
}

struct Line {
    imap: Imap,
    has_come: bool,
}

impl<'a> Search<'a> {
    fn new(options: &'a Options, share: Share, mailbox: &str, command: &'a str, expected: &'a [u32]) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [log_in(options, share.first + id), format!("EXAMINE {}", quoted(mailbox)).into()];
            Line { imap: Imap::new(setup), has_come: false }
        });
        Self { options, command, expected, lines: lines.collect() }
    }
}

impl Scenario for Search<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, has_come } = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Untagged(line) => {
                    let Some(found) = found(line) else { continue };
                    if *has_come || found != self.expected {
                        let expected = format!("one SEARCH that finds {} messages", self.expected.len());
                        return Err(Wrong::answer(&expected, line));
                    }
                    *has_come = true;
                }
                Event::Tagged { is_ok, text } => {
                    // A server may say nothing where it finds nothing.
                    if !is_ok || !(*has_come || self.expected.is_empty()) {
                        return Err(Wrong::answer("OK to SEARCH, after its result", text));
                    }
                    io.done(id);
                }
                Event::Continue | Event::LoggedOut => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, has_come } = &mut self.lines[id];
        *has_come = false;
        imap.command(io.output(id), self.command);
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}

/// The numbers of a SEARCH response (RFC 3501 §7.2.5), which is what a client of IMAP4rev1 is given.
fn found(line: &[u8]) -> Option<Vec<u32>> {
    let numbers = line.strip_prefix(b"* SEARCH")?;
    std::str::from_utf8(numbers).ok()?.split_whitespace().map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::MailboxArgs;

    #[test]
    fn rare_words_are_in_five_messages_and_the_common_one_in_half() {
        for messages in [5, 7, 100, 100_000] {
            let count = |key| question(SearchArgs { mailbox: MailboxArgs { messages }, key }).1.len();
            assert_eq!((count(Key::Rare), count(Key::Subject)), (5, 5), "{messages}");
            assert_eq!(count(Key::Common), messages as usize / 2);
        }
        let few = SearchArgs { mailbox: MailboxArgs { messages: 3 }, key: Key::Rare };
        assert_eq!(question(few).1, [1, 2, 3]);
    }

    #[test]
    fn results_are_told_from_other_responses() {
        assert_eq!(found(b"* SEARCH 2 84 882"), Some(vec![2, 84, 882]));
        assert_eq!(found(b"* SEARCH"), Some(vec![]));
        assert_eq!(found(b"* 3 EXISTS"), None);
        assert_eq!(found(b"* SEARCH 2 x"), None);
    }
}
