//! What arrives at the sink, by the numbers in the recipients' addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::clock;
use crate::limits::RELAY_SAMPLE;
use crate::message::Originals;

/// How the addresses of a run are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming {
    /// Tells this run from others whose mail may still be on its way.
    pub(super) run: u64,
    pub(super) recipients: usize,
    pub(super) domains: usize,
}

impl Naming {
    /// The recipient in a `place` of the message `number`.
    pub(super) fn address(&self, number: u64, place: usize) -> String {
        let domain = (number as usize).wrapping_add(place) % self.domains;
        format!("n{number}-{place}-{}@d{domain}.example.net", self.run)
    }

    /// The key of the recipient whom a RCPT command names: its message's number and its place; `None` where it is of
    /// another run.
    fn key(&self, command: &[u8]) -> Option<u64> {
        let start = memchr::memchr(b'<', command)? + 2;
        let end = memchr::memchr(b'@', command)?;
        let local = std::str::from_utf8(command.get(start..end)?).ok()?;
        let mut parts = local.split('-').map(|part| part.parse::<u64>().ok());
        let (number, place, run) = (parts.next()??, parts.next()??, parts.next()??);
        (run == self.run).then_some(number * self.recipients as u64 + place)
    }
}

/// One recipient's message has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrived {
    /// The message's number times the recipients of each, and the place among them.
    pub(super) key: u64,
    pub(super) at: Instant,
}

/// What one thread of the sink has seen.
pub(in crate::scenarios) struct Arrivals {
    naming: Naming,
    lines: Vec<Pending>,
    originals: Originals,
    /// Recipients, over all threads.
    count: Arc<AtomicU64>,
    pub(super) arrived: Vec<Arrived>,
    pub(super) of_other_runs: u64,
    pub(super) compared: u64,
    /// Messages that were not as they had been sent.
    pub(super) changed: u64,
}

/// The message in hand on one connection.
#[derive(Default)]
struct Pending {
    keys: Vec<u64>,
    /// Its content, where it is one that is compared.
    content: Vec<u8>,
    is_compared: bool,
}

impl Arrivals {
    pub(super) fn new(naming: Naming, count: Arc<AtomicU64>) -> Self {
        Self {
            naming,
            lines: Vec::new(),
            originals: Originals::new(),
            count,
            arrived: Vec::new(),
            of_other_runs: 0,
            compared: 0,
            changed: 0,
        }
    }

    /// A transaction begins.
    pub(in crate::scenarios) fn forget(&mut self, id: usize) {
        if self.lines.len() <= id {
            self.lines.resize_with(id + 1, Pending::default);
        }
        let line = &mut self.lines[id];
        line.keys.clear();
        line.content.clear();
        line.is_compared = false;
    }

    /// A RCPT command came.
    pub(in crate::scenarios) fn recipient(&mut self, id: usize, command: &[u8]) {
        let Some(line) = self.lines.get_mut(id) else { return };
        let Some(key) = self.naming.key(command) else {
            self.of_other_runs += 1;
            return;
        };
        line.keys.push(key);
        line.is_compared |= (key / self.naming.recipients as u64).is_multiple_of(RELAY_SAMPLE);
    }

    pub(in crate::scenarios) fn content(&mut self, id: usize, bytes: &[u8]) {
        if let Some(line) = self.lines.get_mut(id).filter(|line| line.is_compared) {
            line.content.extend_from_slice(bytes);
        }
    }

    /// The content that came ends with a dot that is not its own. (None of ours has a dot at the start of a line.)
    pub(in crate::scenarios) fn cut_dot(&mut self, id: usize) {
        if let Some(line) = self.lines.get_mut(id) {
            line.content.truncate(line.content.len().saturating_sub(b".\r\n".len()));
        }
    }

    /// The sink says 250.
    pub(in crate::scenarios) fn taken(&mut self, id: usize) {
        let Some(line) = self.lines.get_mut(id) else { return };
        if line.is_compared {
            self.compared += 1;
            self.changed += u64::from(!self.originals.is_delivered(&line.content));
        }
        let at = clock::now();
        self.arrived.extend(line.keys.iter().map(|key| Arrived { key: *key, at }));
        self.count.fetch_add(line.keys.len() as u64, Ordering::Relaxed);
        self.forget(id);
    }
}
