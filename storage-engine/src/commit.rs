//! The futures: they store the poller's waker and are driven by `Engine::turn`, under any executor.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::engine::Engine;
use crate::error::Error;

/// Proof that a transaction is durable and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the frame stands: segment in the high half, offset in the low.
    pub position: u64,
    /// The transaction's number in its partition.
    pub sequence: u64,
}

/// Where an answer is left for the future that waits for it.
pub(crate) struct Answer<T> {
    value: RefCell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.value.borrow().is_some() { "Answer(ready)" } else { "Answer(pending)" })
    }
}

/// Where a commit's answer is left.
pub(crate) type Slot = Answer<Result<Receipt, Error>>;

thread_local! {
    static WAITS: Cell<u64> = const { Cell::new(0) };
}

/// How often a future of an engine on this thread has come to nothing yet: between two looks, whether somebody
/// waited for the store.
pub fn waits() -> u64 {
    WAITS.get()
}

impl<T> Answer<T> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { value: RefCell::new(None), waker: Cell::new(None) })
    }

    pub(crate) fn ready(answer: T) -> Rc<Self> {
        Rc::new(Self { value: RefCell::new(Some(answer)), waker: Cell::new(None) })
    }

    /// Leaves the answer; the waker is for the caller to wake when it holds no borrow.
    pub(crate) fn resolve(&self, answer: T) -> Option<Waker> {
        *self.value.borrow_mut() = Some(answer);
        self.waker.take()
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<T> {
        if let Some(answer) = self.value.borrow_mut().take() {
            return Poll::Ready(answer);
        }
        self.waker.set(Some(context.waker().clone()));
        WAITS.set(WAITS.get() + 1);
        Poll::Pending
    }
}

/// Resolves when the transaction is durable *and* applied. Dropping it does not undo the commit.
#[derive(Debug)]
#[must_use = "a transaction is not acknowledged before this resolves"]
pub struct Commit {
    slot: Rc<Slot>,
}

impl Commit {
    pub(crate) const fn new(slot: Rc<Slot>) -> Self {
        Self { slot }
    }

    pub(crate) fn ready(answer: Result<Receipt, Error>) -> Self {
        Self { slot: Slot::ready(answer) }
    }
}

impl Future for Commit {
    type Output = Result<Receipt, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.poll(context)
    }
}

/// Resolves with the account's applied change number once it is above the one asked about. Dropping it
/// unregisters it.
pub struct Changed {
    engine: Engine,
    partition: u16,
    account: u64,
    after: u64,
    watcher: Option<u64>,
}

impl Changed {
    pub(crate) const fn new(engine: Engine, partition: u16, account: u64, after: u64) -> Self {
        Self { engine, partition, account, after, watcher: None }
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changed({}/{} after {})", self.partition, self.account, self.after)
    }
}

impl Future for Changed {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let highest = self.engine.highest_change(self.partition, self.account);
        if highest > self.after {
            return Poll::Ready(highest);
        }
        let waker = context.waker().clone();
        let watcher = self.engine.watch(self.partition, self.account, self.watcher, waker);
        self.watcher = Some(watcher);
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher {
            self.engine.unwatch(self.partition, self.account, watcher);
        }
    }
}
