//! Coarse timers: one per shard for all its connections, with one clock behind them. A timer of
//! the executor per connection would cost more memory and work than the connection's idle state.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use base::Timestamp;

use crate::clock;
use crate::net::Ring;

#[derive(Default)]
struct Entries {
    /// By tick, then by id.
    waiting: BTreeMap<(u64, u64), Waker>,
    next_id: u64,
    /// The ticking task, asleep while nobody waits.
    clockwork: Option<Waker>,
}

struct Shared {
    entries: RefCell<Entries>,
    start: Instant,
    tick: Duration,
    is_draining: Cell<bool>,
}

/// One shard's timers. Cheap to clone.
#[derive(Clone)]
pub struct Timers(Rc<Shared>);

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("waiting", &self.0.entries.borrow().waiting.len()).finish()
    }
}

impl Timers {
    /// Timers that fire at multiples of `tick`. Somebody must run [`Timers::turn`].
    pub fn new(tick: Duration) -> Self {
        Self(Rc::new(Shared {
            entries: RefCell::default(),
            start: clock::instant(),
            tick,
            is_draining: Cell::new(false),
        }))
    }

    /// A deadline that is not set yet.
    pub fn deadline(&self) -> Deadline {
        Deadline { timers: self.clone(), entry: None }
    }

    /// Resolves at the first tick at or after `moment`.
    pub async fn sleep_until(&self, moment: Timestamp) {
        let mut deadline = self.deadline();
        poll_fn(|cx| deadline.poll(cx, moment)).await;
    }

    /// Resolves at the first tick at or after `duration` from now.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(clock::now() + duration).await;
    }

    /// Whether the shard is about to stop.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.get()
    }

    /// Says that the shard is about to stop, and wakes everybody who waits.
    pub fn drain(&self) {
        self.0.is_draining.set(true);
        self.fire(u64::MAX);
    }

    /// Turns the clockwork for ever, by the shard's ring.
    pub(crate) async fn turn(self, ring: Rc<Ring>) {
        loop {
            poll_fn(|cx| self.poll_waiting(cx)).await;
            ring.pause(self.0.tick).await;
            self.fire(self.tick_at(clock::instant()));
        }
    }

    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut entries = self.0.entries.borrow_mut();
        if !entries.waiting.is_empty() {
            return Poll::Ready(());
        }
        entries.clockwork = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Wakes everybody whose tick has come. The borrow ends before each wake: a woken task may be
    /// dropped by it, and its `Deadline` with it.
    fn fire(&self, tick: u64) {
        loop {
            let mut entries = self.0.entries.borrow_mut();
            let Some(entry) = entries.waiting.first_entry().filter(|entry| entry.key().0 <= tick) else {
                return;
            };
            let waker = entry.remove();
            drop(entries);
            waker.wake();
        }
    }

    fn tick_at(&self, instant: Instant) -> u64 {
        let ticks =
            instant.saturating_duration_since(self.0.start).as_millis() / self.0.tick.as_millis().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The first tick that is not before `moment`.
    fn tick_after(&self, moment: Timestamp) -> u64 {
        if moment == Timestamp::NEVER {
            return u64::MAX;
        }
        let left = moment.since(clock::now());
        clock::instant().checked_add(left).map_or(u64::MAX, |instant| self.tick_at(instant) + 1)
    }

    fn insert(&self, tick: u64, waker: &Waker) -> (u64, u64) {
        let mut entries = self.0.entries.borrow_mut();
        entries.next_id += 1;
        let key = (tick, entries.next_id);
        entries.waiting.insert(key, waker.clone());
        let clockwork = entries.clockwork.take();
        drop(entries);
        if let Some(clockwork) = clockwork {
            clockwork.wake();
        }
        key
    }

    /// Keeps the entry's waker current. False when it has fired.
    fn refresh(&self, key: (u64, u64), waker: &Waker) -> bool {
        let mut entries = self.0.entries.borrow_mut();
        let Some(known) = entries.waiting.get_mut(&key) else { return false };
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
        true
    }

    fn remove(&self, key: (u64, u64)) {
        self.0.entries.borrow_mut().waiting.remove(&key);
    }
}

/// A moment that moves. Moving it later costs nothing: the old entry stays until it fires and is
/// then set anew, so a busy connection touches the timers once a tick at most.
#[derive(Debug)]
pub struct Deadline {
    timers: Timers,
    entry: Option<(u64, u64)>,
}

impl Deadline {
    /// Ready once `moment` has come; else the task is woken then, and also when the shard is to
    /// stop (see [`Timers::is_draining`]).
    pub fn poll(&mut self, cx: &mut Context<'_>, moment: Timestamp) -> Poll<()> {
        if moment <= clock::now() {
            self.clear();
            return Poll::Ready(());
        }
        let tick = self.timers.tick_after(moment);
        let is_early_enough = self.entry.is_some_and(|(known, _)| known <= tick);
        if let Some(key) = self.entry.filter(|_| is_early_enough)
            && self.timers.refresh(key, cx.waker())
        {
            return Poll::Pending;
        }
        self.clear();
        self.entry = Some(self.timers.insert(tick, cx.waker()));
        Poll::Pending
    }

    fn clear(&mut self) {
        if let Some(key) = self.entry.take() {
            self.timers.remove(key);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wakes::Wakes;

    #[test]
    fn a_deadline_moved_later_keeps_one_entry_and_is_set_anew_when_that_fires() {
        let timers = Timers::new(Duration::from_secs(1));
        let (wakes, waker) = Wakes::counted();
        let cx = &mut Context::from_waker(&waker);
        let mut deadline = timers.deadline();
        let soon = clock::now() + Duration::from_mins(1);
        assert!(deadline.poll(cx, soon).is_pending());
        let first = deadline.entry;
        assert!(deadline.poll(cx, soon + Duration::from_mins(30)).is_pending());
        assert_eq!(deadline.entry, first);
        timers.fire(62);
        assert_eq!(wakes.count(), 1);
        assert!(deadline.poll(cx, soon + Duration::from_mins(30)).is_pending());
        assert_ne!(deadline.entry, first);
        // Earlier than what is set: it must be set anew.
        assert!(deadline.poll(cx, soon).is_pending());
        assert!(deadline.entry.is_some_and(|(tick, _)| tick <= 61));
        drop(deadline);
        assert_eq!(timers.0.entries.borrow().waiting.len(), 0);
    }

    #[test]
    fn draining_wakes_even_those_without_a_deadline() {
        let timers = Timers::new(Duration::from_secs(1));
        let (wakes, waker) = Wakes::counted();
        let mut deadline = timers.deadline();
        assert!(deadline.poll(&mut Context::from_waker(&waker), Timestamp::NEVER).is_pending());
        timers.drain();
        assert!(timers.is_draining());
        assert_eq!(wakes.count(), 1);
        let past = clock::now();
        assert!(deadline.poll(&mut Context::from_waker(&waker), past).is_ready());
    }
}
