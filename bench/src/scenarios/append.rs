//! `imap-append`: each connection appends to the INBOX of its own user. An operation lasts from APPEND to
//! its OK, one message each.

use super::held::Mailboxes;
use super::{Share, login_command, measure};
use crate::cli::Options;
use crate::load::{Io, Scenario, Target};
use crate::message::Messages;
use crate::report::Report;
use crate::threads::Moment;
use crate::wire::{Event, Imap};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options) -> Result<Report, Wrong> {
    let users = options.users.min(options.connections);
    let mut mailboxes = Mailboxes::open(options, "INBOX", users)?;
    let outcome = measure(
        options,
        |share| Append::new(options, share),
        |moment, operations| match moment {
            Moment::Prepared => Ok(()),
            Moment::Ran => mailboxes.wait_for(operations),
        },
    )?;
    let bytes = outcome.measured.operations * options.size as u64;
    Ok(Report::new("imap-append").measured(outcome.measured).used(&outcome.used, bytes))
}

struct Append<'a> {
    options: &'a Options,
    share: Share,
    lines: Vec<Line>,
    messages: Messages,
}

struct Line {
    imap: Imap,
    /// The message that waits for the server's leave.
    waiting: Vec<u8>,
}

impl<'a> Append<'a> {
    fn new(options: &'a Options, share: Share) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [login_command(options, share.first + id), "CAPABILITY".into()];
            Line { imap: Imap::new(setup), waiting: Vec::new() }
        });
        let messages = Messages::new(options.size, share.thread);
        Self { options, share, lines: lines.collect(), messages }
    }
}

impl Scenario for Append<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, waiting } = &mut self.lines[id];
        imap.input(bytes);
        let has_uidplus = imap.facts.has_uidplus;
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Continue => io.output(id).append(waiting),
                Event::Untagged(_) | Event::LoggedOut => {}
                Event::Tagged { is_ok, text } => {
                    let names_uid = memchr::memmem::find(text, b"[APPENDUID ").is_some();
                    if !is_ok || (has_uidplus && !names_uid) {
                        return Err(Wrong::answer("OK to APPEND, with its UID", text));
                    }
                    io.done(id);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, waiting } = &mut self.lines[id];
        let is_direct = imap.facts.has_literal_plus;
        let output = io.output(id);
        let plus = if is_direct { "+" } else { "" };
        imap.begin(output, &format!("APPEND INBOX {{{}{plus}}}\r\n", self.options.size));
        let rest = if is_direct { output } else { waiting };
        self.messages.write(&self.options.user(self.share.first + id), rest);
        rest.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}
