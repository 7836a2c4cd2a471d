//! Counts what mailboxes hold, by STATUS: acknowledged is not held, as a server may queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log_in;
use crate::cli::Options;
use crate::clock;
use crate::limits::{HELD, HELD_POLL};
use crate::load::{Io, Load, Plan, Scenario, Setup, Target};
use crate::socket;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

/// How many messages each user has been sent, counted by all threads.
pub(super) struct Tally(Vec<AtomicU64>);

impl Tally {
    pub(super) fn new(users: usize) -> Arc<Self> {
        Arc::new(Self((0..users).map(|_| AtomicU64::new(0)).collect()))
    }

    /// One more for `user`; numbers go round.
    pub(super) fn add(&self, user: usize) {
        self.0[user % self.0.len()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// One connection for each user, ready to be asked.
pub(super) struct Mailboxes<'a> {
    load: Load,
    count: Count<'a>,
    before: Vec<u64>,
}

impl<'a> Mailboxes<'a> {
    /// Logs in as each of the first `users`, and counts for the first time.
    pub(super) fn open(options: &'a Options, mailbox: &str, users: usize) -> Result<Self, Wrong> {
        socket::raise_open_files(options.connections + users)?;
        let mut load = Load::new(Setup {
            connections: users,
            sources: socket::sources(options.host, users, options.sources),
            quick_ack: options.quick_ack,
            opening: options.opening,
            progress: Arc::new(AtomicU64::new(0)),
        })?;
        let command = format!("STATUS {} (MESSAGES)", quoted(mailbox));
        let lines = (0..users).map(|user| Imap::new([log_in(options, user)])).collect();
        let mut count = Count { options, command, lines, held: vec![0; users] };
        load.prepare(&mut count)?;
        let mut mailboxes = Self { load, count, before: Vec::new() };
        mailboxes.before = mailboxes.held()?;
        Ok(mailboxes)
    }

    /// What each held at first.
    pub(super) fn before(&self) -> &[u64] {
        &self.before
    }

    /// As if each had held so many at first.
    pub(super) fn set_before(&mut self, before: Vec<u64>) {
        self.before = before;
    }

    /// Waits until each user's mailbox holds as many messages more than at first as `more` says, and up to `slack`
    /// beyond that. `is_patient`: as long as their number still grows.
    pub(super) fn wait_for(&mut self, more: &[u64], slack: u64, is_patient: bool) -> Result<(), Wrong> {
        let mut end = clock::now() + HELD;
        let mut most = 0;
        loop {
            let held = self.held()?;
            let gained = held.iter().zip(&self.before).map(|(now, before)| now.saturating_sub(*before));
            let pairs: Vec<(u64, u64)> = gained.zip(more.iter().copied()).collect();
            if let Some((held, more)) = pairs.iter().find(|(held, more)| *held > more + slack) {
                return Err(wrong_count(*more, *held));
            }
            if pairs.iter().all(|(held, more)| held >= more) {
                return Ok(());
            }
            let total: u64 = pairs.iter().map(|(held, _)| held).sum();
            if is_patient && total > most {
                (most, end) = (total, clock::now() + HELD);
            }
            if clock::now() > end {
                return Err(wrong_count(more.iter().sum(), total));
            }
            clock::pause(HELD_POLL);
        }
    }

    /// How many messages the mailboxes hold beyond what they held at first and `more`.
    pub(super) fn beyond(&mut self, more: &[u64]) -> Result<u64, Wrong> {
        let held: u64 = self.held()?.iter().sum();
        Ok(held.saturating_sub(self.before.iter().chain(more).sum()))
    }

    fn held(&mut self) -> Result<Vec<u64>, Wrong> {
        let ready = self.load.ready();
        self.load.run(&mut self.count, &Plan::once_each(ready))?;
        Ok(self.count.held.clone())
    }
}

fn wrong_count(more: u64, held: u64) -> Wrong {
    Wrong::Answer(format!("{more} messages were acknowledged, the mailboxes hold {held}"))
}

struct Count<'a> {
    options: &'a Options,
    command: String,
    lines: Vec<Imap>,
    /// By user.
    held: Vec<u64>,
}

impl Scenario for Count<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

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
                    self.held[id] = u64::from(messages);
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
