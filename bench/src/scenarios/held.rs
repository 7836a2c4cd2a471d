//! Counts what mailboxes hold, by STATUS: acknowledged is not held, as a server may queue.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::login_command;
use crate::cli::Options;
use crate::clock;
use crate::limits::{HELD, HELD_POLL};
use crate::load::{Io, Load, Plan, Scenario, Setup, Target};
use crate::socket;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

/// One connection for each user, ready to be asked.
pub(super) struct Mailboxes<'a> {
    load: Load,
    count: Count<'a>,
    before: u64,
}

impl<'a> Mailboxes<'a> {
    /// Logs in as each of the first `users`, and counts for the first time.
    pub(super) fn open(options: &'a Options, mailbox: &str, users: usize) -> Result<Self, Wrong> {
        socket::raise_open_files(options.connections + users)?;
        let mut load = Load::new(Setup {
            connections: users,
            sources: socket::sources(options.host, users, options.sources),
            progress: Arc::new(AtomicU64::new(0)),
        })?;
        let command = format!("STATUS {} (MESSAGES)", quoted(mailbox));
        let lines = (0..users).map(|user| Imap::new([login_command(options, user)])).collect();
        let mut count = Count { options, command, lines, total: 0 };
        load.prepare(&mut count)?;
        let mut mailboxes = Self { load, count, before: 0 };
        mailboxes.before = mailboxes.total()?;
        Ok(mailboxes)
    }

    /// Waits until the mailboxes hold exactly `more` messages more than at first.
    pub(super) fn wait_for(&mut self, more: u64) -> Result<(), Wrong> {
        let end = clock::now() + HELD;
        loop {
            let held = self.total()?.saturating_sub(self.before);
            if held == more {
                return Ok(());
            }
            if held > more || clock::now() > end {
                return Err(Wrong::Answer(format!(
                    "{more} messages were acknowledged, the mailboxes hold {held}"
                )));
            }
            clock::pause(HELD_POLL);
        }
    }

    fn total(&mut self) -> Result<u64, Wrong> {
        self.count.total = 0;
        let ready = self.load.ready();
        self.load.run(&mut self.count, &Plan::once_each(ready))?;
        Ok(self.count.total)
    }
}

struct Count<'a> {
    options: &'a Options,
    command: String,
    lines: Vec<Imap>,
    total: u64,
}

impl Scenario for Count<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let imap = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Tagged { is_ok: true, text } => {
                    let text = text.to_vec();
                    let Some(messages) = imap.facts.status_messages.take() else {
                        return Err(Wrong::answer("a STATUS response", &text));
                    };
                    self.total += u64::from(messages);
                    io.done(id);
                }
                Event::Tagged { is_ok: false, text } => return Err(Wrong::answer("OK to STATUS", text)),
                Event::Continue | Event::Untagged(_) | Event::LoggedOut => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.lines[id].command(io.output(id), &self.command);
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].log_out(io.output(id));
    }
}
