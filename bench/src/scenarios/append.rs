//! `imap-append`: each connection appends to a mailbox of its own user. An operation lasts from APPEND to
//! its OK, one message each.

use std::sync::Arc;

use super::fill::fill;
use super::held::{Mailboxes, Tally};
use super::{Share, log_in, measure};
use crate::cli::{AppendArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::message::Messages;
use crate::report::Report;
use crate::threads::Moment;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: AppendArgs) -> Result<Report, Wrong> {
    let size = options.fixed_size()?;
    let users = options.users.min(options.connections);
    let mailbox = if args.messages == 0 {
        "INBOX".to_owned()
    } else {
        // Not shared with scenarios that count on their messages.
        let name = options.mailbox(&format!("bench-append-{}-{size}", args.messages));
        fill(options, &name, users, args.messages)?;
        name
    };
    let tally = Tally::new(users);
    let mut mailboxes = Mailboxes::open(options, &mailbox, users)?;
    let least = mailboxes.before().iter().min().copied();
    let outcome = measure(
        options,
        |share| Append::new(options, share, &mailbox, &tally),
        |moment, _| match moment {
            Moment::Prepared => Ok(()),
            Moment::Ran => mailboxes.wait_for(&tally.counts(), 0, false),
        },
    )?;
    let bytes = outcome.measured.operations * size as u64;
    let report = Report::new("imap-append").figure("messages_before", least);
    Ok(outcome.report(report, bytes))
}

struct Append<'a> {
    options: &'a Options,
    share: Share,
    lines: Vec<Line>,
    messages: Messages,
    /// Quoted.
    mailbox: String,
    tally: &'a Arc<Tally>,
}

struct Line {
    imap: Imap,
    /// The message that waits for the server's leave.
    waiting: Vec<u8>,
}

impl<'a> Append<'a> {
    fn new(options: &'a Options, share: Share, mailbox: &str, tally: &'a Arc<Tally>) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [log_in(options, share.first + id), "CAPABILITY".into()];
            Line { imap: Imap::new(setup), waiting: Vec::new() }
        });
        let messages = Messages::new(options.size, share.thread);
        Self { options, share, lines: lines.collect(), messages, mailbox: quoted(mailbox), tally }
    }
}

impl Scenario for Append<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

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
                    self.tally.add(self.share.first + id);
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
        imap.begin(output, &format!("APPEND {} {{{}{plus}}}\r\n", self.mailbox, self.messages.next_size()));
        let rest = if is_direct { output } else { waiting };
        self.messages.write(&self.options.address(self.share.first + id), rest);
        rest.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}
