//! What is due when, in memory. Sixteen bytes an entry; it is rebuilt from the rows at the start. It has no clock:
//! the time comes with each call.
//!
//! Entries of one destination are a *lane*. A lane gives out no more entries at the same time than its window, which
//! grows with success and falls to one when the destination fails: then one entry at a time tries it, after longer
//! and longer pauses, however many wait. Other lanes never notice. A lane may have a pace as well: then its entries
//! are given out evenly over each minute.
//!
//! Entries that are given up when they are due need no destination: they have a lane of their own, which nothing stops.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use base::Timestamp;

use crate::entry::seconds;
use crate::limits::LANES_KEPT_MAX;
use crate::{Destination, Entry, Ticket};

const SECOND_US: u64 = 1_000_000;

/// The lane of what is given up when it is due. If a name has this number by chance, its mail goes through here too.
const GIVEN_UP: Destination = Destination(0);

/// How many of them are out at the same time: each is a notice to write, and other mail has its turn beside them.
const GIVEN_UP_WINDOW: u32 = 64;

/// How many entries of a lane may be out at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// At the beginning, and after a failure has passed.
    pub first: u32,
    /// At most.
    pub max: u32,
}

/// An entry in a lane: ordered by when it is due, then by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    due_s: u32,
    order: u32,
    place: Place,
}

/// A due entry: ordered by priority, then as above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    /// Of the priority, the opposite: the least goes first.
    rank: i8,
    due_s: u32,
    order: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    item: u32,
    partition: u16,
    priority: i8,
}

#[derive(Debug, Default)]
struct Lane {
    later: BinaryHeap<Reverse<Later>>,
    ready: BinaryHeap<Reverse<Ready>>,
    out: u32,
    window: u32,
    /// Failures of the destination since its last success.
    failures: u32,
    blocked_until_s: u32,
    is_suspended: bool,
    /// Microseconds between two entries; 0 is no pace.
    pace_us: u64,
    /// Since 1970, in microseconds: nothing before this second.
    next_us: u64,
    /// Where it stands in `turns`.
    turn: Option<u32>,
}

/// A lane, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Where it goes.
    pub destination: Destination,
    /// Entries that wait.
    pub waiting: usize,
    /// Entries that are being tried.
    pub out: u32,
    /// How many may be.
    pub window: u32,
    /// Failures of the destination since its last success.
    pub failures: u32,
    /// Nothing is tried before.
    pub blocked_until: Timestamp,
    /// Nothing is tried until an operator resumes it.
    pub is_suspended: bool,
}

/// All lanes of a shard.
#[derive(Debug)]
pub struct Schedule {
    lanes: HashMap<Destination, Lane>,
    /// Lanes that have something to give and may, by when.
    turns: BTreeSet<(u32, Destination)>,
    window: Window,
    waiting: usize,
    out: usize,
    order: u32,
}

impl Schedule {
    /// Empty.
    pub fn new(window: Window) -> Self {
        Self { lanes: HashMap::new(), turns: BTreeSet::new(), window, waiting: 0, out: 0, order: 0 }
    }

    /// Puts an entry in: at its due time it will be given out. Held ones are not put in.
    pub fn add(&mut self, entry: &Entry) {
        if entry.is_held {
            return;
        }
        self.order = self.order.wrapping_add(1);
        let Ticket { partition, item } = entry.ticket;
        let place = Place { item, partition: partition.0, priority: entry.priority };
        let later = Later { due_s: seconds(entry.due), order: self.order, place };
        let (destination, window) = if entry.ends_when_due() {
            (GIVEN_UP, GIVEN_UP_WINDOW)
        } else {
            (entry.destination, self.window.first)
        };
        let lane = self.lanes.entry(destination).or_insert_with(|| Lane { window, ..Lane::default() });
        lane.later.push(Reverse(later));
        self.waiting += 1;
        self.place(destination);
    }

    /// The next entry that is due, taken out; [`Schedule::done`] is to be called for it. Between lanes, the one that
    /// has waited longest goes first.
    pub fn next(&mut self, now: Timestamp) -> Option<(Ticket, Destination)> {
        let now_s = seconds(now);
        let (turn, destination) = *self.turns.first()?;
        if turn > now_s {
            return None;
        }
        let lane = self.lanes.get_mut(&destination)?;
        let place = lane.take(now_s)?;
        lane.out += 1;
        if lane.pace_us > 0 {
            let now_us = u64::try_from(now.as_ms()).unwrap_or(0).saturating_mul(1000);
            lane.next_us = lane.next_us.max(now_us).saturating_add(lane.pace_us);
        }
        self.waiting -= 1;
        self.out += 1;
        self.place(destination);
        Some((place.ticket(), destination))
    }

    /// Takes out all entries of a lane that wait, whether it may give them or not, in no order: for a look at each while
    /// the destination is down. They are to be added again.
    pub fn take_all(&mut self, destination: Destination) -> Vec<Ticket> {
        let Some(lane) = self.lanes.get_mut(&destination) else { return Vec::new() };
        let later = std::mem::take(&mut lane.later).into_iter().map(|Reverse(later)| later.place);
        let ready = std::mem::take(&mut lane.ready).into_iter().map(|Reverse(ready)| ready.place);
        let all: Vec<_> = later.chain(ready).map(Place::ticket).collect();
        self.waiting -= all.len();
        self.place(destination);
        all
    }

    /// An entry that was given out has been dealt with. If it goes on waiting, it is added again.
    pub fn done(&mut self, destination: Destination) {
        self.out -= 1;
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.out -= 1;
        }
        self.place(destination);
    }

    /// The destination took something: its window grows by one with each success, up to the most there is.
    pub fn succeeded(&mut self, destination: Destination) {
        let max = self.window.max;
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.window = lane.window.saturating_add(1).min(max);
            lane.failures = 0;
            lane.blocked_until_s = 0;
        }
        self.place(destination);
    }

    /// The destination as a whole failed: nothing more is given out until `until`, and then one at a time. Returns its
    /// failures in a row.
    pub fn failed(&mut self, destination: Destination, until: impl FnOnce(u32) -> Timestamp) -> u32 {
        let lane = self.lanes.entry(destination).or_default();
        lane.failures = lane.failures.saturating_add(1);
        lane.window = 1;
        lane.blocked_until_s = lane.blocked_until_s.max(seconds(until(lane.failures)));
        let failures = lane.failures;
        self.place(destination);
        failures
    }

    /// Stops or goes on with a destination, by an operator's word. Going on forgets its failures.
    pub fn suspend(&mut self, destination: Destination, is_suspended: bool) {
        let lane = self.lanes.entry(destination).or_default();
        lane.is_suspended = is_suspended;
        if !is_suspended {
            (lane.blocked_until_s, lane.failures) = (0, 0);
            lane.window = lane.window.max(self.window.first);
        }
        self.place(destination);
    }

    /// The least time between two entries of a destination, on average; `None` is no bound. A destination that nothing
    /// waits for is not remembered.
    pub fn pace(&mut self, destination: Destination, interval: Option<Duration>) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.pace_us =
                interval.map_or(0, |interval| u64::try_from(interval.as_micros()).unwrap_or(u64::MAX));
        }
        self.place(destination);
    }

    /// Forgets a destination's pause: what an operator asks for after the network is back. One entry tries it; its
    /// success opens the way for the others.
    pub fn unblock(&mut self, destination: Destination) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.blocked_until_s = 0;
        }
        self.place(destination);
    }

    /// When [`Schedule::next`] will have something, unless a call before then changes it.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.turns.first().map(|(turn, _)| Timestamp::from_s((*turn).into()))
    }

    /// Whether a destination takes nothing now: an operator has stopped it, or it has failed since its last success.
    pub fn is_stopped(&self, destination: Destination) -> bool {
        self.lanes.get(&destination).is_some_and(|lane| lane.is_suspended || lane.failures > 0)
    }

    /// Entries of a lane that wait, those among them that are in it twice.
    pub fn waiting(&self, destination: Destination) -> usize {
        self.lanes.get(&destination).map_or(0, |lane| lane.later.len() + lane.ready.len())
    }

    /// Entries that wait, and entries that are out.
    pub const fn counts(&self) -> (usize, usize) {
        (self.waiting, self.out)
    }

    /// The lanes, in no order.
    pub fn lanes(&self) -> impl Iterator<Item = LaneView> {
        let known = self.lanes.iter().filter(|(destination, _)| **destination != GIVEN_UP);
        known.map(|(destination, lane)| LaneView {
            destination: *destination,
            waiting: lane.later.len() + lane.ready.len(),
            out: lane.out,
            window: lane.window,
            failures: lane.failures,
            blocked_until: Timestamp::from_s(lane.blocked_until_s.into()),
            is_suspended: lane.is_suspended,
        })
    }

    /// Puts a lane where it belongs among the turns. Of many, one that says nothing is forgotten.
    fn place(&mut self, destination: Destination) {
        let is_crowded = self.lanes.len() > LANES_KEPT_MAX;
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        let turn = lane.next_turn();
        if turn != lane.turn {
            if let Some(old) = lane.turn {
                self.turns.remove(&(old, destination));
            }
            if let Some(new) = turn {
                self.turns.insert((new, destination));
            }
            lane.turn = turn;
        }
        if is_crowded && lane.is_forgettable() {
            self.lanes.remove(&destination);
        }
    }
}

impl Lane {
    fn next_turn(&self) -> Option<u32> {
        if self.is_suspended || self.out >= self.window.max(1) {
            return None;
        }
        let due = match (self.ready.peek(), self.later.peek()) {
            (Some(Reverse(ready)), _) => ready.due_s,
            (None, Some(Reverse(later))) => later.due_s,
            (None, None) => return None,
        };
        let paced_s = if self.pace_us > 0 { self.next_us / SECOND_US } else { 0 };
        Some(due.max(self.blocked_until_s).max(u32::try_from(paced_s).unwrap_or(u32::MAX)))
    }

    /// The first of those due by `now_s`.
    fn take(&mut self, now_s: u32) -> Option<Place> {
        while let Some(Reverse(later)) = self.later.peek().copied().filter(|later| later.0.due_s <= now_s) {
            self.later.pop();
            let Later { due_s, order, place } = later;
            self.ready.push(Reverse(Ready { rank: -place.priority, due_s, order, place }));
        }
        self.ready.pop().map(|Reverse(ready)| ready.place)
    }

    fn is_forgettable(&self) -> bool {
        let is_empty = self.later.is_empty() && self.ready.is_empty() && self.out == 0;
        is_empty && !self.is_suspended
    }
}

impl Place {
    const fn ticket(self) -> Ticket {
        Ticket { partition: base::PartitionId(self.partition), item: self.item }
    }
}

#[cfg(test)]
mod tests;
