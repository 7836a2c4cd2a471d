//! Senders that wait for room in a full queue, first come first served.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

#[derive(Default)]
struct Line {
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// Who waits for room. The lock is taken only while a queue is full.
#[derive(Default)]
pub(crate) struct Senders {
    line: Mutex<Line>,
    /// The length of the line, so that the receiver need not lock to learn that nobody waits.
    count: AtomicUsize,
}

impl Senders {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the line, or keeps the place that `ticket` names. The caller must try the queue once
    /// more afterwards: room may have come between its last try and this call.
    pub(crate) fn wait(&self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let mut line = self.line();
        let ticket = ticket.unwrap_or_else(|| {
            line.next_ticket += 1;
            line.next_ticket
        });
        line.waiting.insert(ticket, waker.clone());
        self.count.store(line.waiting.len(), Ordering::Relaxed);
        drop(line);
        // Pairs with the fence in `room`: either the receiver sees this line, or the caller's next
        // try sees the receiver's room.
        fence(Ordering::SeqCst);
        ticket
    }

    /// Leaves the line. False when the ticket had been called: its room is then still unused.
    pub(crate) fn leave(&self, ticket: u64) -> bool {
        let mut line = self.line();
        let was_waiting = line.waiting.remove(&ticket).is_some();
        self.count.store(line.waiting.len(), Ordering::Relaxed);
        was_waiting
    }

    /// The receiver has made room for one.
    pub(crate) fn room(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut line = self.line();
        let first = line.waiting.pop_first();
        self.count.store(line.waiting.len(), Ordering::Relaxed);
        drop(line);
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    /// There will be no room any more: everybody is to look.
    pub(crate) fn wake_all(&self) {
        let mut line = self.line();
        let all = std::mem::take(&mut line.waiting);
        self.count.store(0, Ordering::Relaxed);
        drop(line);
        all.into_values().for_each(Waker::wake);
    }
}
