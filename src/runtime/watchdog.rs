//! A thread that watches whether the shards turn. The executor can go to sleep although tasks are
//! ready (its preemption timer may fire before the first of them has run); nothing inside the shard
//! can see that, but any wake from outside ends it.
//!
//! A shard that has turned since the last look is left alone. One that has not is woken; when it
//! answers several times without doing anything else, it is idle and left asleep.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::limits::IDLE_LOOKS;

/// What a shard shows of itself. Only its own thread writes, but for the waker.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Polls of the shard's tasks.
    turns: AtomicU64,
    /// Polls of the task that only answers the watchdog.
    answers: AtomicU64,
    panics: AtomicU64,
    /// Times the watchdog has woken the shard.
    wakes: AtomicU64,
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

    /// The shard's answering task: it never ends, and each wake counts.
    pub(crate) fn beat(self: Arc<Self>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if waker.is_none() {
                *waker = Some(cx.waker().clone());
            }
            self.answers.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        })
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            waker.wake_by_ref();
        }
    }
}

/// What the watchdog knows about one shard.
#[derive(Debug, Default)]
struct Seen {
    turns: u64,
    answers: u64,
    idle_looks: u8,
}

impl Seen {
    /// One look; true when the shard is to be woken.
    fn look(&mut self, pulse: &Pulse) -> bool {
        let (turns, answers) = (pulse.turns.load(Ordering::Relaxed), pulse.answers.load(Ordering::Relaxed));
        if turns != self.turns {
            *self = Self { turns, answers, idle_looks: 0 };
            return false;
        }
        if self.idle_looks == IDLE_LOOKS {
            return false;
        }
        // The first look without a turn has asked nothing yet; later ones count only if answered.
        if answers != self.answers {
            self.idle_looks += 1;
        }
        self.answers = answers;
        self.idle_looks < IDLE_LOOKS
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
    fn a_shard_is_woken_until_it_turns_or_has_answered_that_it_is_idle() {
        let (pulse, mut seen) = (Pulse::default(), Seen::default());
        pulse.turned();
        assert!(!seen.look(&pulse), "it has turned");
        // Asleep beside work: woken at each look, for as long as it does not answer.
        (0..10).for_each(|_| assert!(seen.look(&pulse)));
        pulse.turned();
        assert!(!seen.look(&pulse));
        // Idle: it answers, and is left alone after a few.
        for look in 0..10 {
            assert_eq!(seen.look(&pulse), look < IDLE_LOOKS);
            pulse.answers.fetch_add(1, Ordering::Relaxed);
        }
        pulse.turned();
        assert!(!seen.look(&pulse));
        assert!(seen.look(&pulse), "after work it is looked after again");
    }
}
