//! Puts mailboxes into the state a scenario needs: at least so many messages in each. Not measured.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::log_in;
use crate::cli::Options;
use crate::limits::APPEND_BATCH;
use crate::load::{Io, Load, Plan, Scenario, Setup, Target};
use crate::message::{Marks, Messages};
use crate::socket;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

/// Which marks the message in place `.0` of `.1` has, both counted from 0.
pub(super) type Marking = fn(u32, u32) -> Marks;

/// Fills `mailbox` of the first `users`, making it where it is missing.
pub(super) fn fill(options: &Options, mailbox: &str, users: usize, messages: u32) -> Result<(), Wrong> {
    fill_marked(options, mailbox, users, messages, |_, _| Marks::default())
}

/// As [`fill`], with marks by place in a mailbox that was empty once.
pub(super) fn fill_marked(
    options: &Options,
    mailbox: &str,
    users: usize,
    messages: u32,
    marking: Marking,
) -> Result<(), Wrong> {
    options.fixed_size()?;
    socket::raise_open_files(users)?;
    let mut load = Load::new(Setup {
        connections: users,
        sources: socket::sources(options.host, users, options.sources),
        quick_ack: options.quick_ack,
        opening: options.opening,
        progress: Arc::new(AtomicU64::new(0)),
    })?;
    let name = quoted(mailbox);
    let lines = (0..users).map(|user| {
        let setup = [
            log_in(options, user),
            "CAPABILITY".into(),
            format!("CREATE {name}").into(),
            format!("SELECT {name}").into(),
        ];
        Line { imap: Imap::new(setup), missing: 0, is_checking: false, waiting: Vec::new() }
    });
    let mut fill = Fill {
        options,
        wanted: messages,
        marking,
        lines: lines.collect(),
        messages: Messages::new(options.size, 0),
        mailbox: name,
    };
    load.prepare(&mut fill)?;
    load.run(&mut fill, &Plan::once_each(users))?;
    load.finish(&mut fill)
}

/// The name of a mailbox that is only ever filled by [`fill`] with these arguments.
pub(super) fn mailbox_name(options: &Options, messages: u32) -> Result<String, Wrong> {
    Ok(options.mailbox(&format!("bench-{messages}-{}", options.fixed_size()?)))
}

struct Fill<'a> {
    options: &'a Options,
    wanted: u32,
    marking: Marking,
    lines: Vec<Line>,
    messages: Messages,
    /// Quoted.
    mailbox: String,
}

struct Line {
    imap: Imap,
    missing: u32,
    is_checking: bool,
    waiting: Vec<u8>,
}

impl Fill<'_> {
    /// The next APPEND; after the last one NOOP, to be told what is there.
    fn proceed(&mut self, id: usize, io: &mut Io) {
        let Line { imap, missing, is_checking, waiting } = &mut self.lines[id];
        if *missing == 0 {
            *is_checking = true;
            imap.command(io.output(id), "NOOP");
            return;
        }
        let is_direct = imap.facts.has_literal_plus;
        let batch = if is_direct && imap.facts.has_multiappend { APPEND_BATCH as u32 } else { 1 };
        let count = batch.min(*missing);
        let first = self.wanted - *missing;
        *missing -= count;
        let output = io.output(id);
        imap.begin(output, &format!("APPEND {}", self.mailbox));
        let user = self.options.address(id);
        for place in first..first + count {
            let marks = (self.marking)(place, self.wanted);
            let size = self.messages.next_size();
            if is_direct {
                output.extend_from_slice(format!(" {{{size}+}}\r\n").as_bytes());
                self.messages.write_marked(&user, marks, output);
            } else {
                output.extend_from_slice(format!(" {{{size}}}\r\n").as_bytes());
                self.messages.write_marked(&user, marks, waiting);
            }
        }
        if is_direct { output } else { waiting }.extend_from_slice(b"\r\n");
    }
}

impl Scenario for Fill<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        self.lines[id].imap.input(bytes);
        loop {
            let line = &mut self.lines[id];
            match line.imap.next(io.output(id))? {
                None => return Ok(()),
                Some(Event::Prepared) => {
                    line.missing = self.wanted.saturating_sub(line.imap.facts.exists.unwrap_or(0));
                    io.ready(id);
                }
                Some(Event::Continue) => io.output(id).append(&mut line.waiting),
                Some(Event::Untagged(_) | Event::LoggedOut) => {}
                Some(Event::Tagged { is_ok: false, text }) => {
                    return Err(Wrong::answer("OK to APPEND", text));
                }
                Some(Event::Tagged { .. }) if line.is_checking => {
                    if line.imap.facts.exists.is_none_or(|exists| exists < self.wanted) {
                        return Err(Wrong::Answer(format!(
                            "{} messages were appended, EXISTS says {:?}",
                            self.wanted, line.imap.facts.exists
                        )));
                    }
                    io.done(id);
                }
                Some(Event::Tagged { .. }) => self.proceed(id, io),
            }
        }
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.proceed(id, io);
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}
