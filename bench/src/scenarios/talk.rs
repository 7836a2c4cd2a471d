//! Conversations from connect to goodbye: an operation is one of them, on a connection of its own.
//! `imap-session` has one kind, `mixed-day` several.

mod imap;
mod pop;
mod send;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::load::{Io, Scenario, Target};
use crate::measured::Measured;
use crate::report::Report;
use crate::wrong::Wrong;
pub(super) use imap::{Act, ImapTalk};
pub(super) use pop::PopTalk;
pub(super) use send::SendTalk;

/// One conversation. It checks what it is told.
pub(super) trait Talk: Send {
    /// What it is called in the result.
    fn kind(&self) -> &'static str;

    fn target(&self) -> Target;

    /// The connection is there.
    fn opened(&mut self, now: Instant);

    /// The connection is under TLS, where [`Io::start_tls`] was called.
    fn secured(&mut self, _output: &mut Vec<u8>) {}

    /// The server has said `bytes` on connection `id`.
    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong>;

    /// A pause is over.
    fn woken(&mut self, _id: usize, _io: &mut Io) {}

    /// Whether both sides have said goodbye.
    fn is_over(&self) -> bool;

    /// What of its time was the client's own.
    fn pauses(&self) -> Duration {
        Duration::ZERO
    }

    /// What the server took for each step.
    fn steps(&self) -> &[(&'static str, Duration)] {
        &[]
    }

    /// The user whose mailbox is locked meanwhile.
    fn locked(&self) -> Option<usize> {
        None
    }
}

/// Whoever says what comes next.
pub(super) trait Chooser: Send {
    fn next(&mut self) -> Box<dyn Talk>;

    /// Has come to its end.
    fn ended(&mut self, _talk: &dyn Talk) {}
}

/// The scenario: one conversation after the other on each connection.
pub(super) struct Talks<C> {
    pub(super) chooser: C,
    lines: Vec<Option<Line>>,
    /// By kind, from the intended start on, without pauses.
    kinds: Named,
    steps: Named,
}

struct Line {
    talk: Box<dyn Talk>,
    due: Instant,
}

impl<C: Chooser> Talks<C> {
    pub(super) fn new(chooser: C, connections: usize) -> Self {
        Self {
            chooser,
            lines: (0..connections).map(|_| None).collect(),
            kinds: BTreeMap::new(),
            steps: BTreeMap::new(),
        }
    }

    fn settle(&mut self, id: usize, io: &mut Io) {
        let Some(line) = self.lines[id].take_if(|line| line.talk.is_over()) else { return };
        let (talk, pauses) = (&line.talk, line.talk.pauses());
        let latency = io.now.saturating_duration_since(line.due).saturating_sub(pauses);
        record(&mut self.kinds, talk.kind(), latency, line.due, io.now);
        for (step, time) in talk.steps() {
            record(&mut self.steps, step, *time, line.due, io.now);
        }
        self.chooser.ended(talk.as_ref());
        io.close(id);
        io.done_without(id, pauses);
    }

    fn talk(&mut self, id: usize) -> &mut dyn Talk {
        self.lines[id].as_mut().expect("a connection is open for a conversation").talk.as_mut()
    }
}

fn record(all: &mut Named, name: &'static str, time: Duration, due: Instant, now: Instant) {
    all.entry(name).or_insert_with(Measured::new).complete(time, due, now);
}

/// Adds how many there were of each kind and what they took, over all threads.
pub(super) fn kinds_and_steps<C>(mut report: Report, all: &[Talks<C>]) -> Report {
    for parts in [summed(all.iter().map(|talks| &talks.kinds)), summed(all.iter().map(|talks| &talks.steps))]
    {
        for (name, measured) in &parts {
            report = report.figure(&format!("{name}_count"), measured.operations);
            report = super::percentiles(report, name, measured);
        }
    }
    report
}

type Named = BTreeMap<&'static str, Measured>;

fn summed<'a>(all: impl Iterator<Item = &'a Named>) -> Named {
    let mut sums = Named::new();
    for (name, measured) in all.flatten() {
        sums.entry(name).or_insert_with(Measured::new).add(measured);
    }
    sums
}

impl<C: Chooser> Scenario for Talks<C> {
    fn target(&self, id: usize) -> Target {
        self.lines[id].as_ref().expect("a connection is open for a conversation").talk.target()
    }

    fn opens_per_operation(&self) -> bool {
        true
    }

    fn opened(&mut self, id: usize, io: &mut Io) {
        self.talk(id).opened(io.now);
    }

    fn secured(&mut self, id: usize, io: &mut Io) {
        let output = io.output(id);
        self.talk(id).secured(output);
    }

    fn woken(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.talk(id).woken(id, io);
        Ok(())
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        // After its end a server may say nothing but its goodbye.
        if let Some(line) = &mut self.lines[id] {
            let kind = line.talk.kind();
            line.talk.input(id, bytes, io).map_err(|wrong| wrong.during(kind))?;
            self.settle(id, io);
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.lines[id] = Some(Line { talk: self.chooser.next(), due: io.due });
        Ok(())
    }

    fn finish(&mut self, _id: usize, _io: &mut Io) {}
}
