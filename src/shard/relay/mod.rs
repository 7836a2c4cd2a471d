//! Mail for others: taken into the queue of the shard that received it, sent by the shard that has the connections to
//! its destination.
//!
//! ```text
//! deliver ─▶ accept ─▶ queue::Store (durable) ─▶ pump: what is due ─▶ attempt ─┐ a parcel, by the router
//!                                                                              ▼
//!     attempt: note what was said, tell the sender, try again  ◀─ report ─ courier: hosts, connections, SMTP
//! ```
//!
//! - `outbound`, `named`, `egress`: what an operator sets; `route`: which way a recipient's mail goes;
//! - `accept`, `pump`, `attempt`, `lateness`, `notice`, `postmaster`: on the shard where the message lies;
//! - `moderation`: messages that wait until somebody has approved them;
//! - `control`: what an operator sees and does; `suspension`: destinations that are stopped;
//! - `courier`, `form`, `verp`, `ways`, `pool`: on the shard that the destination hashes to; for a smarthost on each shard.

mod accept;
mod attempt;
pub mod control;
mod courier;
mod egress;
mod form;
mod lateness;
mod local;
pub(crate) mod moderation;
mod named;
mod notice;
mod outbound;
mod parcel;
mod pool;
mod postmaster;
mod pump;
mod route;
mod suspension;
#[cfg(test)]
pub(crate) mod tests;
mod verp;
mod ways;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use base::Timestamp;
use queue::{Action, Destination, Entry, Envelope, RetryPolicy, Schedule, Store, Suspended, Ticket};
use storage_engine::Engine;
use transport::report::Collected;
use transport::sts::Policies;

use crate::Shard;
use crate::limits::{FRESH_MESSAGE_BYTES, FRESH_RECIPIENT_BYTES, WAYS_KNOWN_MAX};
pub(crate) use accept::{Outgoing, accept, leads_nowhere};
pub use egress::{EgressPool, Source};
pub use named::{Bounds, DestinationBounds, NamedRoute, Onward, Scope};
pub(crate) use notice::delivered;
pub(crate) use outbound::is_among;
pub use outbound::{Outbound, Smarthost, SmarthostTls};
use pool::Pools;
pub use postmaster::TellPostmaster;
pub use pump::run;
use route::Route;

/// A shard's part of relaying.
#[derive(Debug)]
pub struct Relay {
    pub(crate) store: Store,
    schedule: RefCell<Schedule>,
    /// Messages that have just come, so that the first attempt reads nothing.
    fresh: RefCell<Fresh>,
    pools: Pools,
    /// Entries that are being tried: an operator may have put one in twice.
    busy: RefCell<HashSet<Ticket>>,
    /// Destinations that are down, by when all that waits for them was last looked at.
    looked_over: RefCell<HashMap<Destination, Timestamp>>,
    /// Destinations that an operator has stopped, on every shard the same.
    suspended: RefCell<HashMap<Destination, Suspended>>,
    /// Changes of them that this shard has heard of.
    suspensions: Cell<u64>,
    /// One is being made.
    is_suspending: Cell<bool>,
    /// Ways by their numbers, up to a bound.
    ways: RefCell<HashMap<Destination, Known>>,
    /// MTA-STS policies of the destinations that this shard has the connections to.
    pub(crate) policies: RefCell<Policies>,
    /// How connections were protected, for the reports to their domains.
    tls_reports: RefCell<Collected>,
    /// Entries that wait for a moderator: whose they are and until when there is time.
    moderated: RefCell<BTreeMap<Ticket, (u64, Timestamp)>>,
    /// Messages of which a decision is being carried out.
    deciding: RefCell<HashSet<u64>>,
    bell: Bell,
    counts: Counts,
    /// The schedule has been rebuilt.
    is_loaded: Cell<bool>,
}

/// What is counted of relaying since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) queued: Cell<u64>,
    pub(crate) attempts: Cell<u64>,
    pub(crate) relayed: Cell<u64>,
    pub(crate) delayed: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    /// Connections that ended when the other system had all of a message and had not answered.
    pub(crate) in_doubt: Cell<u64>,
    pub(crate) connections: Cell<u64>,
}

impl Counts {
    fn add(count: &Cell<u64>, by: usize) {
        count.set(count.get() + by as u64);
    }
}

/// What is known of a way: of a number, nothing can be read.
#[derive(Debug)]
struct Known {
    name: String,
    via: Option<Arc<NamedRoute>>,
    /// Recipients that were relayed, delayed and failed there.
    recipients: [u64; 3],
}

/// What is counted of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfDestination {
    pub(crate) name: String,
    /// Recipients that were relayed, delayed and failed there.
    pub(crate) recipients: [u64; 3],
    /// Entries that wait.
    pub(crate) waiting: u64,
    /// Failures in a row.
    pub(crate) failures: u64,
}

/// A message as its first attempt wants it.
type Message = (Arc<Envelope>, Arc<Vec<u8>>);

/// Messages in memory, up to a bound in bytes.
#[derive(Debug, Default)]
struct Fresh {
    messages: HashMap<Ticket, Message>,
    bytes: usize,
}

/// What a message takes in memory: of a small one, the content is the lesser part.
fn memory((envelope, content): &Message) -> usize {
    FRESH_MESSAGE_BYTES + FRESH_RECIPIENT_BYTES * envelope.recipients.len() + content.len()
}

impl Fresh {
    fn put(&mut self, ticket: Ticket, message: Message, bytes_max: usize) {
        self.take(ticket);
        if self.bytes + memory(&message) <= bytes_max {
            self.bytes += memory(&message);
            self.messages.insert(ticket, message);
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<Message> {
        let message = self.messages.remove(&ticket)?;
        self.bytes -= memory(&message);
        Some(message)
    }
}

/// Wakes the pump.
#[derive(Debug, Default)]
struct Bell {
    is_rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        self.is_rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it was rung since the last look; if not, `waker` is woken when it is.
    fn look(&self, waker: &Waker) -> bool {
        if self.is_rung.replace(false) {
            return true;
        }
        self.waker.replace(Some(waker.clone()));
        false
    }
}

impl Relay {
    pub(crate) fn new(engine: Engine, outbound: &Outbound) -> Self {
        Self {
            store: Store::new(engine),
            schedule: RefCell::new(Schedule::new(outbound.window)),
            fresh: RefCell::default(),
            pools: Pools::default(),
            busy: RefCell::default(),
            looked_over: RefCell::default(),
            suspended: RefCell::default(),
            suspensions: Cell::default(),
            is_suspending: Cell::default(),
            ways: RefCell::default(),
            policies: RefCell::default(),
            tls_reports: RefCell::default(),
            moderated: RefCell::default(),
            deciding: RefCell::default(),
            bell: Bell::default(),
            counts: Counts::default(),
            is_loaded: Cell::new(false),
        }
    }

    /// What was counted.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Entries that wait, entries that are being tried, and destinations that are down with mail waiting.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        let schedule = self.schedule.borrow();
        let (waiting, out) = schedule.counts();
        let down = schedule.lanes().filter(|lane| lane.failures > 0 && lane.waiting > 0).count();
        (waiting, out, down)
    }

    /// Notes what a way is called, which retry schedule it has, and its pace.
    fn know(&self, shard: &Shard, destination: Destination, route: &Route) {
        let via = |known: &Known| known.via.as_ref().map(Arc::as_ptr);
        let mut ways = self.ways.borrow_mut();
        let is_known =
            ways.get(&destination).is_some_and(|known| via(known) == route.via.as_ref().map(Arc::as_ptr));
        if !is_known && (ways.len() < WAYS_KNOWN_MAX || ways.contains_key(&destination)) {
            let recipients = ways.get(&destination).map_or([0; 3], |known| known.recipients);
            ways.insert(destination, Known { name: route.name(), via: route.via.clone(), recipients });
        }
        drop(ways);
        let pace = route.pace(&shard.settings().outbound, shard.router.shards());
        self.schedule.borrow_mut().pace(destination, pace);
    }

    /// Counts what became of recipients.
    fn count(&self, destination: Destination, action: Action, recipients: usize) {
        if let Some(known) = self.ways.borrow_mut().get_mut(&destination) {
            let place = match action {
                Action::Relayed => 0,
                Action::Delayed => 1,
                Action::Failed => 2,
            };
            known.recipients[place] += recipients as u64;
        }
    }

    /// The destinations for which most has happened or waits, at most `max`.
    pub(crate) fn busiest(&self, max: usize) -> Vec<OfDestination> {
        let mut found = HashMap::new();
        for (destination, known) in self.ways.borrow().iter() {
            let (name, recipients) = (known.name.clone(), known.recipients);
            found.insert(*destination, OfDestination { name, recipients, waiting: 0, failures: 0 });
        }
        for lane in self.schedule.borrow().lanes() {
            if let Some(own) = found.get_mut(&lane.destination) {
                (own.waiting, own.failures) = (lane.waiting as u64, lane.failures.into());
            }
        }
        let mut all: Vec<_> = found.into_values().collect();
        let weight = |own: &OfDestination| own.recipients.iter().sum::<u64>() + own.waiting;
        all.sort_by(|one, other| weight(other).cmp(&weight(one)).then_with(|| one.name.cmp(&other.name)));
        all.truncate(max);
        all
    }

    /// The retry schedule of a lane, where the way is known; else the usual one.
    fn retry(&self, outbound: &Outbound, lane: Destination) -> RetryPolicy {
        let ways = self.ways.borrow();
        let via = ways.get(&lane).and_then(|known| known.via.as_ref());
        via.map_or_else(|| outbound.retry.clone(), |via| via.retry.clone())
    }

    /// How connections were protected, as far as it is counted in memory.
    pub(crate) fn tls_reports(&self) -> Collected {
        self.tls_reports.borrow().clone()
    }

    /// The same, taken out.
    pub(crate) fn take_tls_reports(&self) -> Collected {
        self.tls_reports.take()
    }

    /// Puts counts back.
    pub(crate) fn add_tls_reports(&self, counts: Collected) {
        self.tls_reports.borrow_mut().add(counts);
    }

    /// Puts an entry into the schedule and wakes the pump.
    fn schedule(&self, entry: &Entry) {
        self.schedule.borrow_mut().add(entry);
        self.bell.ring();
    }
}

/// A number that two calls in a row do not share, for spreading in time and by chance.
fn chance(shard: &Rc<crate::Shard>) -> u64 {
    let mut bytes = [0; 8];
    shard.world.random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A moment's whole second, as rows have it.
fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_s(moment.as_s())
}
