//! Work that would stop a shard: password hashing, index merges. A few plain threads, bound to no
//! core, with a bounded queue.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender, TrySendError};
use router::{Answer, answer_slot};

use crate::clock::instant;
use crate::limits::POOL_IDLE;
use crate::memory::give_back;

pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Why work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// The queue is full: say so to whoever asked, in the protocol's words for "later".
    Busy,
    /// It panicked; the log has the message.
    Panicked,
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too much work waits already",
            Self::Panicked => "the work panicked",
        })
    }
}

impl std::error::Error for NotRun {}

/// The pool. Cheap to clone, from any thread; its threads end with its last clone.
#[derive(Clone, Debug)]
pub struct Blocking(Sender<Work>);

impl Blocking {
    /// Starts `threads` threads (at least 1), with room for `waiting_max` pieces of work that wait.
    pub fn start(threads: usize, waiting_max: usize) -> std::io::Result<Self> {
        let (sender, receiver) = channel::bounded(waiting_max);
        for number in 0..threads.max(1) {
            let receiver = receiver.clone();
            thread::Builder::new().name(format!("blocking-{number}")).spawn(move || serve(&receiver))?;
        }
        Ok(Self(sender))
    }

    /// Runs `work` there. Dropping the future does not stop it.
    pub async fn run<R, W>(&self, work: W) -> Result<R, NotRun>
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        let (work, answer) = Self::prepare(work);
        self.try_start(work).map_err(|_| NotRun::Busy)?;
        // Work that panics drops its sender unfilled.
        answer.await.map_err(|_| NotRun::Panicked)
    }

    /// Work and where its result will be.
    pub(crate) fn prepare<R, W>(work: W) -> (Work, Answer<R>)
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        let (sender, answer) = answer_slot();
        (Box::new(move || sender.fill(work())), answer)
    }

    /// Work that waits for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.0.len()
    }

    /// Queues work, or gives it back when the queue is full.
    pub(crate) fn try_start(&self, work: Work) -> Result<(), Work> {
        self.0.try_send(work).map_err(|error| match error {
            // The threads live as long as this sender, so `Disconnected` does not come.
            TrySendError::Full(work) | TrySendError::Disconnected(work) => work,
        })
    }
}

fn serve(receiver: &Receiver<Work>) {
    while let Ok(work) = receiver.recv() {
        run(work);
        // A password's hash takes 19 MiB for some milliseconds: kept for the next one while there is one.
        loop {
            match receiver.recv_timeout(POOL_IDLE) {
                Ok(work) => run(work),
                Err(RecvTimeoutError::Timeout) => break give_back(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn run(work: Work) {
    // The panic's message has been printed; its caller learns of it by the dropped sender.
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(event = "runtime.blocking_panicked");
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on a plain thread. Never on a shard: it would wait for itself.
pub fn block_on<F: Future>(future: F) -> F::Output {
    wait(future, || {
        thread::park();
        true
    })
    .expect("there is no end to the patience")
}

/// As [`block_on`], `time` long at most; then the future is dropped.
pub fn block_on_for<F: Future>(future: F, time: Duration) -> Option<F::Output> {
    let end = instant() + time;
    wait(future, || {
        thread::park_timeout(end.saturating_duration_since(instant()));
        instant() < end
    })
}

/// Polls until the future is ready or `park` says that it has been long enough.
fn wait<F: Future>(future: F, mut park: impl FnMut() -> bool) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Some(value);
        }
        if !park() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_comes_back_and_a_panic_is_told_and_costs_no_thread() {
        let pool = Blocking::start(1, 4).unwrap();
        let panicked: Result<(), _> = block_on(pool.run(|| panic!("on purpose")));
        assert_eq!(panicked, Err(NotRun::Panicked));
        assert_eq!(block_on(pool.run(|| 6 * 7)), Ok(42));
    }

    #[test]
    fn patience_can_have_an_end() {
        assert_eq!(block_on_for(async { 3 }, Duration::from_mins(1)), Some(3));
        assert_eq!(block_on_for(std::future::pending::<()>(), Duration::from_millis(1)), None);
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let pool = Blocking::start(1, 1).unwrap();
        let (go_on, wait) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut first = pin!(pool.run(move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        }));
        assert!(first.as_mut().poll(cx).is_pending());
        start.recv().unwrap();
        let mut second = pin!(pool.run(|| 2));
        assert!(second.as_mut().poll(cx).is_pending());
        assert_eq!(block_on(pool.run(|| 3)), Err(NotRun::Busy));
        go_on.send(()).unwrap();
        assert_eq!(block_on(first), Ok(()));
        assert_eq!(block_on(second), Ok(2));
    }
}
