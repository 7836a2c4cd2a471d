//! One shard's queue of jobs: many senders on all cores, one receiver on its own.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use crate::senders::Senders;
use crate::{Gone, Job};

/// How full one shard's inbox is, and was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Jobs that wait now.
    pub waiting: u64,
    /// The most that have waited when the receiver looked.
    pub waiting_max: u64,
    /// Jobs that were taken out.
    pub taken: u64,
}

/// What the receiver counts, on a line of memory that no sender touches.
#[derive(Default)]
struct Seen {
    waiting_max: AtomicU64,
    taken: AtomicU64,
}

/// What the two sides share.
pub(crate) struct Queue<C> {
    jobs: ArrayQueue<Job<C>>,
    /// The receiver sleeps and `waker` is to be called; whoever resets it makes the call.
    is_armed: AtomicBool,
    waker: Mutex<Option<Waker>>,
    senders: Senders,
    is_closed: AtomicBool,
    seen: CachePadded<Seen>,
}

impl<C> Queue<C> {
    pub(crate) fn new(jobs_max: usize) -> Arc<Self> {
        Arc::new(Self {
            jobs: ArrayQueue::new(jobs_max),
            is_armed: AtomicBool::new(false),
            waker: Mutex::new(None),
            senders: Senders::default(),
            is_closed: AtomicBool::new(false),
            seen: CachePadded::default(),
        })
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth {
            waiting: self.jobs.len() as u64,
            waiting_max: self.seen.waiting_max.load(Ordering::Relaxed),
            taken: self.seen.taken.load(Ordering::Relaxed),
        }
    }

    fn set_waker(&self, waker: Option<Waker>) -> Option<Waker> {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, waker)
    }

    /// Puts a job in, or gives it back when the queue is full.
    fn push(&self, job: Job<C>) -> Result<(), Job<C>> {
        self.jobs.push(job)?;
        // Pairs with the fence in `Inbox::poll_next`: the receiver sees the job or we see it armed.
        fence(Ordering::SeqCst);
        if self.is_armed.swap(false, Ordering::AcqRel)
            && let Some(waker) = self.set_waker(None)
        {
            waker.wake();
        }
        // The receiver may have left after our look at `is_closed`; then nobody else empties it.
        if self.is_closed.load(Ordering::SeqCst) {
            self.empty();
        }
        Ok(())
    }

    /// Puts a job in as soon as there is room.
    pub(crate) async fn send(&self, job: Job<C>) -> Result<(), Gone> {
        let mut place = Place { queue: self, ticket: None };
        let mut job = Some(job);
        poll_fn(|cx| place.poll_send(cx, &mut job)).await
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.empty();
        self.senders.wake_all();
    }

    /// Drops what is queued, so that the callers learn that nobody will do it.
    fn empty(&self) {
        while self.jobs.pop().is_some() {}
    }
}

/// A sender's place in the line; left when the sending future ends or is dropped.
struct Place<'a, C> {
    queue: &'a Queue<C>,
    ticket: Option<u64>,
}

impl<C> Place<'_, C> {
    fn poll_send(&mut self, cx: &mut Context<'_>, job: &mut Option<Job<C>>) -> Poll<Result<(), Gone>> {
        // Two tries: the second after joining the line, since room may have come in between.
        for is_in_line in [false, true] {
            if self.queue.is_closed.load(Ordering::SeqCst) {
                return Poll::Ready(Err(Gone));
            }
            let Some(this) = job.take() else { return Poll::Ready(Ok(())) };
            match self.queue.push(this) {
                Ok(()) => {
                    // The room was used, whether or not we had been called for it.
                    if let Some(ticket) = self.ticket.take() {
                        self.queue.senders.leave(ticket);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(back) => *job = Some(back),
            }
            if !is_in_line {
                self.ticket = Some(self.queue.senders.wait(self.ticket, cx.waker()));
            }
        }
        Poll::Pending
    }
}

impl<C> Drop for Place<'_, C> {
    fn drop(&mut self) {
        // Called but gone before using the room: the next in line gets it.
        if let Some(ticket) = self.ticket
            && !self.queue.senders.leave(ticket)
        {
            self.queue.senders.room();
        }
    }
}

/// The receiving end of a shard's queue; exactly one task awaits it. Dropping it, or
/// [`Inbox::close`], makes every waiting and every later caller get [`Gone`].
pub struct Inbox<C>(Arc<Queue<C>>);

impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("jobs", &self.0.jobs.len()).finish()
    }
}

impl<C> Inbox<C> {
    pub(crate) fn new(queue: Arc<Queue<C>>) -> Self {
        Self(queue)
    }

    /// The next job, waiting for one. Dropping the future loses no job.
    pub async fn next(&self) -> Job<C> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next job if one is there.
    pub fn try_next(&self) -> Option<Job<C>> {
        let job = self.0.jobs.pop()?;
        // One writer: a load and a store, no locked instruction.
        let taken = &self.0.seen.taken;
        taken.store(taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.0.senders.room();
        Some(job)
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.0.jobs.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.0.jobs.is_empty()
    }

    /// Takes no more jobs and drops those that wait.
    pub fn close(&self) {
        self.0.close();
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Job<C>> {
        let (waiting, most) = (self.0.jobs.len() as u64, &self.0.seen.waiting_max);
        if waiting > most.load(Ordering::Relaxed) {
            most.store(waiting, Ordering::Relaxed);
        }
        if let Some(job) = self.try_next() {
            return Poll::Ready(job);
        }
        self.0.set_waker(Some(cx.waker().clone()));
        self.0.is_armed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        match self.try_next() {
            Some(job) => {
                self.0.is_armed.store(false, Ordering::Release);
                Poll::Ready(job)
            }
            None => Poll::Pending,
        }
    }
}

impl<C> Drop for Inbox<C> {
    fn drop(&mut self) {
        self.0.close();
    }
}
