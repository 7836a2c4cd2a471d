//! `imap-store`: one flag of one message, set and taken away in turn. The server must say that the flag
//! is as asked.

use super::fill::{fill, mailbox_name};
use super::list::fetched;
use super::{Share, log_in, measure};
use crate::cli::{MailboxArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::report::Report;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: MailboxArgs) -> Result<Report, Wrong> {
    super::require_own_users(options)?;
    let mailbox = mailbox_name(options, args.messages)?;
    fill(options, &mailbox, options.connections, args.messages)?;
    let outcome = measure(
        options,
        |share| Store::new(options, share, args.messages, &mailbox),
        super::nothing_to_count,
    )?;
    let report = Report::new("imap-store").figure("messages", args.messages);
    Ok(outcome.report(report, 0))
}

struct Store<'a> {
    options: &'a Options,
    lines: Vec<Line>,
    random: base::Random,
}

struct Line {
    imap: Imap,
    /// By message: whether it is flagged.
    flagged: Vec<bool>,
    /// The message in hand, from 0.
    message: usize,
    is_confirmed: bool,
}

impl<'a> Store<'a> {
    fn new(options: &'a Options, share: Share, messages: u32, mailbox: &str) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [
                log_in(options, share.first + id),
                format!("SELECT {}", quoted(mailbox)).into(),
                "STORE 1:* -FLAGS.SILENT (\\Flagged)".into(),
            ];
            let flagged = vec![false; messages as usize];
            Line { imap: Imap::new(setup), flagged, message: 0, is_confirmed: false }
        });
        let random = base::Random::new(1 + share.thread as u64);
        Self { options, lines: lines.collect(), random }
    }
}

impl Scenario for Store<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, flagged, message, is_confirmed } = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Untagged(line) => {
                    let Some((number, items)) = fetched(line) else { continue };
                    let is_set = memchr::memmem::find(items, b"\\Flagged").is_some();
                    if number as usize != *message + 1 || is_set != flagged[*message] {
                        return Err(Wrong::answer("the flag of the message in hand", line));
                    }
                    *is_confirmed = true;
                }
                Event::Tagged { is_ok, text } => {
                    if !is_ok || !*is_confirmed {
                        return Err(Wrong::answer("OK to STORE, after FETCH", text));
                    }
                    io.done(id);
                }
                Event::Continue | Event::LoggedOut => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, flagged, message, is_confirmed } = &mut self.lines[id];
        *message = self.random.below(flagged.len() as u64) as usize;
        *is_confirmed = false;
        flagged[*message] = !flagged[*message];
        let sign = if flagged[*message] { '+' } else { '-' };
        imap.command(io.output(id), &format!("STORE {} {sign}FLAGS (\\Flagged)", *message + 1));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}
