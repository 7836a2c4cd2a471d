//! `idle-notify`: as many couriers as idling connections. An operation is one message to one idler's user;
//! its latency counts from the delivery's `250` to the `EXISTS`, and is nothing where `EXISTS` came first: by
//! how much is a second figure. A third one counts from MAIL.
//!
//! A server may lose a notification: what is delivered between its look at the mailbox and its watch on it is seen
//! with the next change or poll. After a while the idler does what clients do, and renews its IDLE. Such
//! operations are counted, and their latency has the wait in it.

use std::time::Instant;

use super::courier::{Courier, Manner, News};
use super::{Share, log_in, measure_on};
use crate::cli::{NotifyArgs, Options, Via};
use crate::clock;
use crate::limits::{HELD, NOTIFY_LATE};
use crate::load::{Io, Scenario, Target};
use crate::measured::Measured;
use crate::message::Messages;
use crate::report::Report;
use crate::wire::{Event, Imap};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: NotifyArgs) -> Result<Report, Wrong> {
    super::require_own_users(options)?;
    let size = options.fixed_size()?;
    // Couriers and idlers belong together: one thread has both.
    let share = Share { thread: 0, first: 0, connections: 2 * options.connections };
    let outcome = measure_on(options, &[share], |_| Notify::new(options, args), super::nothing_to_count)?;
    let bytes = outcome.measured.operations * size as u64;
    let mut report = Report::new("idle-notify");
    for notify in &outcome.scenarios {
        report = report
            .figure("exists_before_250", notify.early.operations)
            .figure("exists_only_after_renewed_idle", notify.renewed);
        report = super::percentiles(report, "exists_ahead_of_250", &notify.early);
        report = super::percentiles(report, "since_mail", &notify.since_mail);
    }
    Ok(outcome.report(report, bytes))
}

/// Connection `i` below the number of pairs delivers to the user whose idler is `i + pairs`.
struct Notify<'a> {
    options: &'a Options,
    pairs: Vec<Pair>,
    messages: Messages,
    message: Vec<u8>,
    target: Target,
    /// Notifications that were there before the `250`, by how much.
    early: Measured,
    /// From MAIL written to EXISTS read.
    since_mail: Measured,
    /// Operations whose EXISTS came when the idler had renewed its IDLE.
    renewed: u64,
}

struct Pair {
    courier: Courier,
    idler: Imap,
    /// What EXISTS will say after the message in hand.
    expected: u32,
    begun: Instant,
    accepted: Option<Instant>,
    notified: Option<Instant>,
    idling: Idling,
    /// Whether a look for a late EXISTS is planned.
    is_watched: bool,
}

/// How far the idler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idling {
    /// Its first IDLE was not answered yet.
    Opening,
    Idle,
    /// DONE was said.
    Ending,
    /// NOOP was said, to be told what there is.
    Looking,
    /// IDLE was said again.
    Renewing,
}

impl Pair {
    /// The message in hand was acknowledged and not notified.
    fn waits_since(&self) -> Option<Instant> {
        self.accepted.filter(|_| self.notified.is_none())
    }

    /// `EXISTS` was read. `true` where it tells of the message in hand for the first time.
    fn exists(&mut self) -> Result<bool, Wrong> {
        let exists = self.idler.facts.exists.unwrap_or(0);
        // What was told may be told again.
        if exists == self.expected && self.notified.is_none() {
            return Ok(true);
        }
        if exists == self.expected || (exists + 1 == self.expected && self.notified.is_none()) {
            return Ok(false);
        }
        Err(Wrong::Answer(format!("expected EXISTS of {}, have {exists}", self.expected)))
    }

    /// The tagged answer of DONE or NOOP, while an IDLE is renewed.
    fn renew(&mut self, output: &mut Vec<u8>) {
        let (command, next) = match self.idling {
            Idling::Ending => ("NOOP", Idling::Looking),
            Idling::Looking => ("IDLE", Idling::Renewing),
            Idling::Opening | Idling::Idle | Idling::Renewing => return,
        };
        self.idler.command(output, command);
        self.idling = next;
    }
}

impl<'a> Notify<'a> {
    fn new(options: &'a Options, args: NotifyArgs) -> Self {
        let manner = Manner { via: args.via, wants_tls: false, has_tls: false };
        let pair = |user| Pair {
            courier: Courier::new(manner, None),
            idler: Imap::new([log_in(options, user), "SELECT INBOX".into()]),
            expected: 0,
            begun: clock::now(),
            accepted: None,
            notified: None,
            idling: Idling::Opening,
            is_watched: false,
        };
        Self {
            options,
            pairs: (0..options.connections).map(pair).collect(),
            messages: Messages::new(options.size, 0),
            message: Vec::new(),
            target: if args.via == Via::Smtp { options.smtp } else { options.lmtp },
            early: Measured::new(),
            since_mail: Measured::new(),
            renewed: 0,
        }
    }

    fn courier_input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let count = self.pairs.len();
        let pair = &mut self.pairs[id];
        match pair.courier.input(bytes, io.output(id))? {
            None | Some(News::Closed) => {}
            Some(News::Ready) => io.ready(id),
            Some(News::StartTls) => return Err(Wrong::Answer("TLS was not asked for".into())),
            Some(News::Delivered) => {
                pair.accepted = Some(io.now);
                if let Some(notified) = pair.notified {
                    self.early.complete(io.now.saturating_duration_since(notified), notified, io.now);
                    io.done_since(id, io.now);
                } else if !pair.is_watched {
                    pair.is_watched = true;
                    io.wake_after(count + id, NOTIFY_LATE);
                }
            }
        }
        Ok(())
    }

    fn idler_input(&mut self, number: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let count = self.pairs.len();
        let pair = &mut self.pairs[number];
        pair.idler.input(bytes);
        while let Some(event) = pair.idler.next(io.output(number + count))? {
            match event {
                Event::Prepared => pair.idler.command(io.output(number + count), "IDLE"),
                Event::Continue if pair.idling == Idling::Opening => {
                    pair.idling = Idling::Idle;
                    io.listening(number + count);
                }
                Event::Continue => {
                    pair.idling = Idling::Idle;
                    if pair.waits_since().is_some() {
                        // The message is still on its way to the mailbox: by SMTP it may.
                        pair.is_watched = true;
                        io.wake_after(number + count, NOTIFY_LATE);
                    } else if let Some(accepted) = pair.accepted {
                        io.done_since(number, accepted);
                    }
                }
                Event::Untagged(line) if line.ends_with(b" EXISTS") => {
                    if !pair.exists()? {
                        continue;
                    }
                    pair.notified = Some(io.now);
                    let taken = io.now.saturating_duration_since(pair.begun);
                    self.since_mail.complete(taken, pair.begun, io.now);
                    self.renewed += u64::from(pair.idling != Idling::Idle);
                    // Else the operation ends with the new IDLE, before which none may begin.
                    if let Some(accepted) = pair.accepted.filter(|_| pair.idling == Idling::Idle) {
                        io.done_since(number, accepted);
                    }
                }
                Event::Tagged { is_ok: true, .. } => pair.renew(io.output(number + count)),
                Event::Untagged(_) | Event::LoggedOut => {}
                Event::Tagged { text, .. } => return Err(Wrong::answer("OK to IDLE or NOOP", text)),
            }
        }
        Ok(())
    }
}

impl Scenario for Notify<'_> {
    fn target(&self, id: usize) -> Target {
        if id < self.pairs.len() { self.target } else { self.options.imap }
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        match id.checked_sub(self.pairs.len()) {
            None => self.courier_input(id, bytes, io),
            Some(number) => self.idler_input(number, bytes, io),
        }
    }

    fn woken(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let number = id - self.pairs.len();
        let pair = &mut self.pairs[number];
        pair.is_watched = false;
        let Some(since) = pair.waits_since() else { return Ok(()) };
        let waited = io.now.saturating_duration_since(since);
        if waited > HELD {
            return Err(Wrong::Answer(format!(
                "a message was acknowledged {} s ago, and neither IDLE nor NOOP tells of it",
                HELD.as_secs()
            )));
        }
        if waited < NOTIFY_LATE {
            pair.is_watched = true;
            io.wake_after(id, NOTIFY_LATE.saturating_sub(waited));
        } else if pair.idling == Idling::Idle {
            io.output(id).extend_from_slice(b"DONE\r\n");
            pair.idling = Idling::Ending;
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let pair = &mut self.pairs[id];
        pair.expected = pair.idler.facts.exists.unwrap_or(0) + 1;
        pair.begun = clock::now();
        pair.accepted = None;
        pair.notified = None;
        let user = self.options.address(id);
        self.message.clear();
        self.messages.write(&user, &mut self.message);
        pair.courier.send(None, &self.message, vec![user], io.output(id));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        match id.checked_sub(self.pairs.len()) {
            None => self.pairs[id].courier.quit(io.output(id)),
            Some(number) => {
                io.output(id).extend_from_slice(b"DONE\r\n");
                self.pairs[number].idler.log_out(io.output(id));
            }
        }
    }
}

#[cfg(test)]
mod tests;
