//! The ways to a filter: how many messages it is asked about at the same time, connections that wait for the next one,
//! and how its answers are counted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use base::Timestamp;
use filter::{Failure, Milter};

use super::{FilterPlace, FilterSettings, line::Line};
use crate::limits::FILTER_IDLE;
use crate::{LocalFuture, Shard, World};

/// What a filter's answers are counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Pass,
    Junk,
    Quarantine,
    Greylist,
    Defer,
    Discard,
    Reject,
    Failed,
}

impl Said {
    const ALL: [Self; 8] = [
        Self::Pass,
        Self::Junk,
        Self::Quarantine,
        Self::Greylist,
        Self::Defer,
        Self::Discard,
        Self::Reject,
        Self::Failed,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Junk => "junk",
            Self::Quarantine => "quarantine",
            Self::Greylist => "greylist",
            Self::Defer => "defer",
            Self::Discard => "discard",
            Self::Reject => "reject",
            Self::Failed => "failed",
        }
    }
}

/// The ways from one shard to all filters, by their names.
#[derive(Debug, Default)]
pub(crate) struct Lanes(RefCell<HashMap<String, Rc<Lane>>>);

impl Lanes {
    /// The way to a filter. What is known of those that are configured no more is forgotten.
    pub(super) fn of(&self, name: &str, configured: &[FilterSettings]) -> Rc<Lane> {
        let mut lanes = self.0.borrow_mut();
        if let Some(lane) = lanes.get(name) {
            return Rc::clone(lane);
        }
        lanes.retain(|known, _| configured.iter().any(|filter| filter.name == *known));
        Rc::clone(lanes.entry(name.to_owned()).or_default())
    }

    /// How often each filter has said what.
    pub(crate) fn counts(&self) -> Vec<(String, &'static str, u64)> {
        let lanes = self.0.borrow();
        let mut counts: Vec<_> = lanes
            .iter()
            .flat_map(|(name, lane)| {
                Said::ALL.map(|said| (name.clone(), said.word(), lane.counts[said as usize].get()))
            })
            .collect();
        counts.sort();
        counts
    }
}

/// The way to one filter.
#[derive(Default)]
pub(super) struct Lane {
    state: RefCell<State>,
    counts: [Cell<u64>; Said::ALL.len()],
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("in_use", &self.state.borrow().in_use).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    in_use: usize,
    /// In the order in which they came; the number of the last one.
    waiting: BTreeMap<u64, Waker>,
    tickets: u64,
    idle: Vec<Idle>,
    is_swept: bool,
}

struct Idle {
    connection: Connection,
    place: FilterPlace,
    since: Timestamp,
}

/// A connection, and what a milter has agreed to on it.
pub(super) struct Connection {
    pub(super) line: Line,
    pub(super) milter: Option<Milter>,
}

/// The right to ask; given back by being dropped.
pub(super) struct Permit(Rc<Lane>);

/// A place in the queue; left by being dropped.
struct Turn<'a> {
    lane: &'a Lane,
    ticket: Option<u64>,
}

impl Lane {
    pub(super) fn count(&self, said: Said) {
        let count = &self.counts[said as usize];
        count.set(count.get() + 1);
    }

    /// Waits, until `end` at most, for fewer than `max` to be asked.
    pub(super) async fn permit(
        self: &Rc<Self>,
        world: &dyn World,
        max: usize,
        end: Timestamp,
    ) -> Result<Permit, Failure> {
        let mut turn = Turn { lane: self, ticket: None };
        let mut sleep: Option<LocalFuture<()>> = None;
        poll_fn(|cx| {
            if turn.is_come(max, cx.waker()) {
                return Poll::Ready(Ok(Permit(Rc::clone(self))));
            }
            let sleep = sleep.get_or_insert_with(|| world.sleep_until(end));
            sleep.as_mut().poll(cx).map(|()| Err(Failure::Timeout))
        })
        .await
    }

    /// A connection to this place that waits, if there is one: the last that was used.
    pub(super) fn take(&self, place: &FilterPlace) -> Option<Connection> {
        let mut state = self.state.borrow_mut();
        // The place may have been another before a reload.
        state.idle.retain(|idle| idle.place == *place);
        state.idle.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for the next message, for a while.
    pub(super) fn put(self: &Rc<Self>, shard: &Rc<Shard>, place: &FilterPlace, connection: Connection) {
        let now = shard.world.now();
        let mut state = self.state.borrow_mut();
        state.idle.push(Idle { connection, place: place.clone(), since: now });
        if std::mem::replace(&mut state.is_swept, true) {
            return;
        }
        drop(state);
        let (lane, world) = (Rc::clone(self), Rc::clone(&shard.world));
        shard.world.spawn_aside(Box::pin(async move {
            loop {
                world.sleep_until(world.now() + FILTER_IDLE).await;
                if !lane.sweep(world.now() - FILTER_IDLE) {
                    break;
                }
            }
        }));
    }

    /// Ends connections that have waited since `before`. False when none is left.
    fn sweep(&self, before: Timestamp) -> bool {
        let mut state = self.state.borrow_mut();
        state.idle.retain(|idle| idle.since > before);
        state.is_swept = !state.idle.is_empty();
        state.is_swept
    }

    /// Wakes whoever has waited longest.
    fn call(&self) {
        let first = self.state.borrow().waiting.values().next().cloned();
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

impl Turn<'_> {
    fn is_come(&mut self, max: usize, waker: &Waker) -> bool {
        let mut state = self.lane.state.borrow_mut();
        let is_first = match (self.ticket, state.waiting.keys().next()) {
            (_, None) => true,
            (Some(own), Some(first)) => own == *first,
            (None, Some(_)) => false,
        };
        if is_first && state.in_use < max.max(1) {
            state.in_use += 1;
            return true;
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            state.tickets += 1;
            state.tickets
        });
        state.waiting.insert(ticket, waker.clone());
        false
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        self.lane.state.borrow_mut().waiting.remove(&ticket);
        // The next one may be first now.
        self.lane.call();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state.borrow_mut().in_use -= 1;
        self.0.call();
    }
}
