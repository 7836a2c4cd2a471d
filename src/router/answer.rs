//! The way back: a slot for one value, filled on one thread and awaited on another.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Gone;

impl<R> fmt::Debug for AnswerSender<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerSender")
    }
}

impl<R> fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

enum State<R> {
    Empty(Option<Waker>),
    Ready(R),
    Gone,
}

struct Slot<R>(Mutex<State<R>>);

/// The end that fills the slot. Dropped unfilled (the work panicked, or never ran), it says so.
pub struct AnswerSender<R>(Arc<Slot<R>>);

/// The end that waits. Dropping it does not stop the work.
pub struct Answer<R>(Arc<Slot<R>>);

/// A new slot, by its two ends.
pub fn answer_slot<R>() -> (AnswerSender<R>, Answer<R>) {
    let slot = Arc::new(Slot(Mutex::new(State::Empty(None))));
    (AnswerSender(Arc::clone(&slot)), Answer(slot))
}

impl<R> Slot<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        // Nothing panics while the lock is held, so a poisoned state is still a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, end: State<R>) {
        let mut state = self.state();
        let State::Empty(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = end;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> AnswerSender<R> {
    /// Hands the value over.
    pub fn fill(self, value: R) {
        self.0.settle(State::Ready(value));
    }
}

impl<R> Drop for AnswerSender<R> {
    fn drop(&mut self) {
        self.0.settle(State::Gone);
    }
}

impl<R> Future for Answer<R> {
    type Output = Result<R, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        match &mut *state {
            State::Empty(waker) => {
                if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Gone => Poll::Ready(Err(Gone)),
            State::Ready(_) => match std::mem::replace(&mut *state, State::Gone) {
                State::Ready(value) => Poll::Ready(Ok(value)),
                State::Empty(_) | State::Gone => Poll::Ready(Err(Gone)),
            },
        }
    }
}
