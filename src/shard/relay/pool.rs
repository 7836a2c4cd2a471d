//! Connections to one destination: how many there may be, and those that wait for the next message.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use base::Timestamp;

use super::egress::Source;
use super::outbound::Outbound;
use super::parcel::Urgency;
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
    /// Those that want one, the most urgent first; of the same urgency, in the order in which they came.
    waiting: BTreeMap<(Urgency, u64), Waker>,
    came: u64,
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

/// A place among those that wait. Whoever gives it up may have been called, and calls the next.
struct Place<'a> {
    pool: &'a Pool,
    key: (Urgency, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.0.borrow_mut().waiting.remove(&self.key);
        self.pool.call_first();
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
    /// Waits until fewer than `max` are in use and nobody more urgent waits.
    pub(super) async fn permit(self: &Rc<Self>, max: usize, urgency: Urgency) -> Permit {
        let place = self.queue_up(urgency);
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            let is_first = state.waiting.first_key_value().is_none_or(|(first, _)| *first >= place.key);
            if !is_first || state.in_use >= max.max(1) {
                state.waiting.insert(place.key, cx.waker().clone());
                return Poll::Pending;
            }
            state.in_use += 1;
            Poll::Ready(())
        })
        .await;
        Permit(Rc::clone(self))
    }

    fn queue_up(&self, urgency: Urgency) -> Place<'_> {
        let mut state = self.0.borrow_mut();
        state.came += 1;
        Place { pool: self, key: (urgency, state.came) }
    }

    /// Lets the most urgent of those that wait look again.
    fn call_first(&self) {
        let waker = self.0.borrow().waiting.first_key_value().map(|(_, waker)| waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
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

    /// Takes back a count of [`Pool::slot`]: the message did not go.
    pub(super) fn give_back(&self, place: usize, source: &Source) {
        let Some(per_minute) = source.messages_per_minute_max else { return };
        if let Some(own) = self.0.borrow_mut().sources.get_mut(&place) {
            own.next = own.next - Duration::from_mins(1) / per_minute.get();
        }
    }

    fn is_empty(&self) -> bool {
        let state = self.0.borrow();
        state.in_use == 0 && state.idle.is_empty() && state.waiting.is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.borrow_mut().in_use -= 1;
        self.0.call_first();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Called(AtomicUsize);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody who waits, and how often they were called.
    fn look(permit: Pin<&mut impl Future<Output = Permit>>, called: &Arc<Called>) -> Option<Permit> {
        match permit.poll(&mut Context::from_waker(&Arc::clone(called).into())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn urgency(priority: i8, due_s: i64) -> Urgency {
        Urgency::new(priority, Timestamp::from_s(due_s))
    }

    #[test]
    fn what_was_due_first_goes_first_wherever_it_comes_from() {
        let pool = Rc::new(Pool::default());
        let called: Vec<Arc<Called>> = (0..4).map(|_| Arc::default()).collect();
        let count = |at: usize| called[at].0.load(Ordering::Relaxed);
        let first = look(pin!(pool.permit(1, urgency(0, 100))), &called[0]).expect("nobody else is there");
        let mut late = pin!(pool.permit(1, urgency(0, 9)));
        assert!(look(late.as_mut(), &called[1]).is_none());
        let mut early = pin!(pool.permit(1, urgency(0, 8)));
        assert!(look(early.as_mut(), &called[2]).is_none());
        let mut urgent = Box::pin(pool.permit(1, urgency(1, 10)));
        assert!(look(urgent.as_mut(), &called[3]).is_none());
        drop(first);
        assert_eq!([count(1), count(2), count(3)], [0, 0, 1], "the most urgent is called alone");
        assert!(look(early.as_mut(), &called[2]).is_none(), "it is not the first");
        // One that was called and gives up lets the next know.
        drop(urgent);
        assert_eq!([count(1), count(2)], [0, 1]);
        let second = look(early.as_mut(), &called[2]).expect("its turn");
        assert!(look(late.as_mut(), &called[1]).is_none(), "all are in use");
        drop(second);
        drop(look(late.as_mut(), &called[1]).expect("its turn"));
        assert!(pool.is_empty());
    }

    #[test]
    fn two_that_come_free_at_once_are_two_turns() {
        let pool = Rc::new(Pool::default());
        let called: Arc<Called> = Arc::default();
        let taken: Vec<_> =
            (0..2).filter_map(|_| look(pin!(pool.permit(2, urgency(0, 1))), &called)).collect();
        let (one, other): (Arc<Called>, Arc<Called>) = Default::default();
        let mut first = pin!(pool.permit(2, urgency(0, 2)));
        let mut second = pin!(pool.permit(2, urgency(0, 3)));
        assert!(look(first.as_mut(), &one).is_none() && look(second.as_mut(), &other).is_none());
        drop(taken);
        let before = other.0.load(Ordering::Relaxed);
        let _first = look(first.as_mut(), &one).expect("its turn");
        assert!(other.0.load(Ordering::Relaxed) > before, "there is room for the next");
        assert!(look(second.as_mut(), &other).is_some());
    }
}
