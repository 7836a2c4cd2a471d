//! Connections to one destination: how many there may be, and those that wait for the next message.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use base::Timestamp;

use super::egress::Source;
use super::outbound::Outbound;
use crate::world::Carrier;

/// All pools of a shard, by the names of the ways. Numbers may be shared by two names, and a connection of one must never
/// carry mail of the other: somebody could look for such a name.
#[derive(Debug, Default)]
pub(super) struct Pools(RefCell<HashMap<String, Rc<Pool>>>);

/// The connections to one destination.
#[derive(Default)]
pub(super) struct Pool(RefCell<State>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("in_use", &self.0.borrow().in_use).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    in_use: usize,
    waiting: Vec<Waker>,
    idle: Vec<Idle>,
    is_swept: bool,
    /// For the sources of an egress pool, by their places in it.
    sources: HashMap<usize, OfSource>,
}

/// What a source does for one destination.
#[derive(Default)]
struct OfSource {
    connections: usize,
    /// It may carry its next message then.
    next: Timestamp,
}

/// A connection that waits.
pub(super) struct Idle {
    pub(super) carrier: Box<dyn Carrier>,
    /// Name and address of the host.
    pub(super) host: String,
    /// Messages it has carried.
    pub(super) carried: u32,
    pub(super) seat: Option<Seat>,
    since: Timestamp,
    /// The settings that it was made by.
    by: Arc<Outbound>,
}

/// A connection's place among those of its source; given back by being dropped.
pub(super) struct Seat {
    pool: Weak<Pool>,
    /// The source's place in the egress pool.
    pub(super) source: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What is left over of another time cannot be in use: sweeps and goodbyes drop seats outside of borrows.
        let Some(pool) = self.pool.upgrade() else { return };
        if let Some(own) = pool.0.borrow_mut().sources.get_mut(&self.source) {
            own.connections -= 1;
        }
    }
}

impl Idle {
    pub(super) fn new(
        carrier: Box<dyn Carrier>,
        host: String,
        carried: u32,
        seat: Option<Seat>,
        (by, now): (&Arc<Outbound>, Timestamp),
    ) -> Self {
        Self { carrier, host, carried, seat, since: now, by: Arc::clone(by) }
    }
}

/// The right to use a connection; given back by being dropped.
pub(super) struct Permit(Rc<Pool>);

impl Pools {
    /// The pool of a way.
    pub(super) fn of(&self, name: &str) -> Rc<Pool> {
        Rc::clone(self.0.borrow_mut().entry(name.to_owned()).or_default())
    }

    /// Forgets a pool that nobody uses. One with sources that may carry nothing for a while is kept: when to forget it.
    pub(super) fn forget(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let mut pools = self.0.borrow_mut();
        let pool = pools.get(name).filter(|pool| Rc::strong_count(pool) == 1 && pool.is_empty())?;
        let last = pool.0.borrow().sources.values().map(|own| own.next).max();
        if let Some(last) = last.filter(|last| *last > now) {
            return Some(last);
        }
        pools.remove(name);
        None
    }
}

impl Pool {
    /// Waits until fewer than `max` are in use.
    pub(super) async fn permit(self: &Rc<Self>, max: usize) -> Permit {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.in_use < max.max(1) {
                state.in_use += 1;
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Permit(Rc::clone(self))
    }

    /// Ends connections that wait and were made by other settings: they may have another source, login or protection.
    pub(super) fn discard(&self, current: &Arc<Outbound>) {
        self.end(|_, idle| !Arc::ptr_eq(&idle.by, current));
    }

    /// Ends connections that wait until there are, with those in use, at most `max`.
    pub(super) fn keep_at_most(&self, max: usize) {
        let in_use = self.0.borrow().in_use;
        // The connection that this is asked for may be one of them.
        let room = (max + 1).saturating_sub(in_use);
        self.end(|at, _| at >= room);
    }

    /// Ends a connection of a source that waits, so that another may be made.
    pub(super) fn give_up_idle(&self, place: usize) {
        let is_it = |idle: &Idle| idle.seat.as_ref().is_some_and(|seat| seat.source == place);
        let found = {
            let mut state = self.0.borrow_mut();
            let at = state.idle.iter().position(is_it);
            at.map(|at| state.idle.remove(at))
        };
        if let Some(idle) = found {
            idle.carrier.quit();
        }
    }

    /// Ends those that wait and are meant, by their place and themselves.
    fn end(&self, is_meant: impl Fn(usize, &Idle) -> bool) {
        if self.0.borrow().idle.is_empty() {
            return;
        }
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (at, idle) in std::mem::take(&mut self.0.borrow_mut().idle).into_iter().enumerate() {
            if is_meant(at, &idle) { gone.push(idle) } else { kept.push(idle) }
        }
        self.0.borrow_mut().idle = kept;
        for idle in gone {
            idle.carrier.quit();
        }
    }

    /// The connection that has waited shortest, of those whose source may carry a message now.
    pub(super) fn take(&self, now: Timestamp) -> Option<Idle> {
        let mut state = self.0.borrow_mut();
        let is_ready = |idle: &Idle| {
            let source = idle.seat.as_ref().and_then(|seat| state.sources.get(&seat.source));
            source.is_none_or(|own| own.next <= now)
        };
        let at = state.idle.iter().rposition(is_ready)?;
        Some(state.idle.remove(at))
    }

    /// The connection that has waited shortest.
    pub(super) fn take_any(&self) -> Option<Idle> {
        self.0.borrow_mut().idle.pop()
    }

    /// Keeps a connection for the next message. True when nobody looks after idle ones: then the caller has to see
    /// that [`Pool::sweep`] is called.
    pub(super) fn put(&self, idle: Idle) -> bool {
        let mut state = self.0.borrow_mut();
        state.idle.push(idle);
        !std::mem::replace(&mut state.is_swept, true)
    }

    /// Ends connections that have waited since `before`. False when none is left.
    pub(super) fn sweep(&self, before: Timestamp) -> bool {
        let mut state = self.0.borrow_mut();
        let (old, young): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.idle).into_iter().partition(|idle| idle.since <= before);
        state.idle = young;
        state.is_swept = !state.idle.is_empty();
        let is_left = state.is_swept;
        drop(state);
        for idle in old {
            idle.carrier.quit();
        }
        is_left
    }

    /// Takes a place among a source's connections; `None` when it has as many as it may.
    pub(super) fn seat(self: &Rc<Self>, place: usize, source: &Source) -> Option<Seat> {
        let mut state = self.0.borrow_mut();
        let own = state.sources.entry(place).or_default();
        if source.connections_max.is_some_and(|max| own.connections >= max) {
            return None;
        }
        own.connections += 1;
        drop(state);
        Some(Seat { pool: Rc::downgrade(self), source: place })
    }

    /// Whether a source may carry a message now.
    pub(super) fn is_ready(&self, place: usize, now: Timestamp) -> bool {
        self.0.borrow().sources.get(&place).is_none_or(|own| own.next <= now)
    }

    /// Counts a message against a source's rate; when it may go.
    pub(super) fn slot(&self, place: usize, source: &Source, now: Timestamp) -> Timestamp {
        let Some(per_minute) = source.messages_per_minute_max else { return now };
        let mut state = self.0.borrow_mut();
        let own = state.sources.entry(place).or_default();
        let slot = own.next.max(now);
        own.next = slot + Duration::from_mins(1) / per_minute.get();
        slot
    }

    fn is_empty(&self) -> bool {
        let state = self.0.borrow();
        state.in_use == 0 && state.idle.is_empty() && state.waiting.is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.0.borrow_mut();
            state.in_use -= 1;
            std::mem::take(&mut state.waiting)
        };
        // All of them, for one that does not want it any more would keep it from the others; they are few.
        waiting.into_iter().for_each(Waker::wake);
    }
}
