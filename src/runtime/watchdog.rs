//! A thread that watches whether the shards turn. The executor can go to sleep although tasks are
//! ready (its preemption timer may fire before the first of them has run); nothing inside the shard
//! can see that, but a wake of the executor from outside ends it.
//!
//! A shard that sleeps in its own ring says so, and is woken by what it waits for. Any other shard that has
//! not turned since the last look is woken; if it was only busy, that is one poll more of its pump.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a shard shows of itself. Only its own thread writes, but for the waker.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Polls of the shard's tasks.
    turns: AtomicU64,
    /// It sleeps in its ring.
    is_asleep: AtomicBool,
    panics: AtomicU64,
    /// Times the watchdog has woken the shard.
    wakes: AtomicU64,
    /// The executor's waker of its first task, and of its pump once that has been polled.
    waker: Mutex<Option<Waker>>,
}

impl Pulse {
    pub(crate) fn turned(&self) {
        // One writer: a load and a store, no locked instruction.
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    pub(crate) fn sleeps(&self, is_asleep: bool) {
        self.is_asleep.store(is_asleep, Ordering::Relaxed);
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker() = Some(waker);
    }

    /// Has the watchdog wake the task that awaits this, which is to be the executor's first, before it
    /// does anything: the executor may fall asleep ahead of the pump's first poll too.
    pub(crate) async fn watched(self: Arc<Self>) -> Watched {
        poll_fn(|cx| {
            self.set_waker(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        Watched(self)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker() {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            waker.wake_by_ref();
        }
    }
}

/// A shard that the watchdog can wake. It is dropped on the shard's thread, while there is an executor, and
/// takes the waker back: one of an executor that has ended must not be dropped.
#[derive(Debug)]
pub(crate) struct Watched(Arc<Pulse>);

impl Drop for Watched {
    fn drop(&mut self) {
        *self.0.waker() = None;
    }
}

/// What the watchdog knows about one shard.
#[derive(Debug, Default)]
struct Seen {
    turns: u64,
}

impl Seen {
    /// One look; true when the shard is to be woken.
    fn look(&mut self, pulse: &Pulse) -> bool {
        let turns = pulse.turns.load(Ordering::Relaxed);
        let has_turned = std::mem::replace(&mut self.turns, turns) != turns;
        !has_turned && !pulse.is_asleep.load(Ordering::Relaxed)
    }
}

type Bell = (Mutex<bool>, Condvar);

/// The running thread; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    end: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Looks at `pulses` every `period`.
    pub(crate) fn start(pulses: Vec<Arc<Pulse>>, period: Duration) -> std::io::Result<Self> {
        let end = Arc::new(Bell::default());
        let bell = Arc::clone(&end);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&pulses, period, &bell))?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn watch(pulses: &[Arc<Pulse>], period: Duration, (is_over, bell): &Bell) {
    let mut seen: Vec<Seen> = pulses.iter().map(|_| Seen::default()).collect();
    let mut over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
    while !*over {
        over = bell.wait_timeout(over, period).unwrap_or_else(PoisonError::into_inner).0;
        for (seen, pulse) in seen.iter_mut().zip(pulses) {
            if seen.look(pulse) {
                pulse.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_woken_until_it_turns_unless_it_sleeps_in_its_ring() {
        let (pulse, mut seen) = (Pulse::default(), Seen::default());
        pulse.turned();
        assert!(!seen.look(&pulse), "it has turned");
        (0..10).for_each(|_| assert!(seen.look(&pulse)));
        pulse.sleeps(true);
        assert!(!seen.look(&pulse));
        pulse.sleeps(false);
        assert!(seen.look(&pulse));
        pulse.turned();
        assert!(!seen.look(&pulse));
    }
}
