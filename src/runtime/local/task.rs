//! A task and the list of all of them.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use router::LocalFuture;

use super::wake::Handle;
use super::{Local, Shared};
use crate::watchdog::Pulse;

/// The tasks that have not ended: the executor would leave what they own undropped at its end.
#[derive(Default)]
pub(super) struct Tasks {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// All but the root, those that were never polled included.
    pub(super) count: usize,
    /// Tasks in the executor's queues: the shard may sleep when there are none.
    ready: usize,
    pub(super) are_cancelled: bool,
}

/// A task that has been polled.
struct Entry {
    /// The executor's.
    waker: Waker,
    /// It is in the executor's queue.
    is_ready: bool,
}

impl Tasks {
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// Puts a task into the executor's queue unless it is there. What has ended is not woken; a place that
    /// has been given to another task wakes that one for nothing.
    pub(super) fn wake(&mut self, place: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(place)
            && !std::mem::replace(&mut entry.is_ready, true)
        {
            self.ready += 1;
            entry.waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&mut self) {
        (0..self.entries.len()).for_each(|place| self.wake(place));
    }

    /// A task that was spawned is in a queue before it has a place.
    fn spawned(&mut self, is_root: bool) {
        self.ready += 1;
        self.count += usize::from(!is_root);
    }

    /// A task is out of the queue, to be polled.
    fn begins(&mut self, handle: &Handle, waker: &Waker) {
        if let Some(place) = handle.place() {
            let entry = self.entries[place].as_mut().expect("a task's place is its own until it ends");
            self.ready -= usize::from(std::mem::take(&mut entry.is_ready));
            return;
        }
        self.ready -= 1;
        let place = self.free.pop().unwrap_or(self.entries.len());
        if place == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[place] = Some(Entry { waker: waker.clone(), is_ready: false });
        handle.move_to(Some(place));
    }

    fn ends(&mut self, handle: &Handle, is_root: bool) {
        self.count -= usize::from(!is_root);
        let Some(place) = handle.place() else { return };
        handle.move_to(None);
        // It may have woken itself while it ended.
        let entry = self.entries[place].take();
        self.ready -= usize::from(entry.is_some_and(|entry| entry.is_ready));
        self.free.push(place);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Connection,
    /// What the shard's thread runs; it ends the others, and nobody ends it.
    Root,
}

/// A task: catches what its future panics with, also in its destructors, and counts its turns. By
/// hand, and with the future in a box, because an `async` block around a future holds it twice.
pub(super) struct Task {
    future: Option<LocalFuture>,
    shard: Rc<Shared>,
    handle: Arc<Handle>,
    /// Of `handle`.
    waker: Waker,
    kind: Kind,
}

impl Task {
    pub(super) fn new(local: &Local, future: LocalFuture, kind: Kind) -> Self {
        let shard = Rc::clone(&local.0);
        shard.connections.set(shard.connections.get() + usize::from(kind == Kind::Connection));
        shard.tasks.borrow_mut().spawned(kind == Kind::Root);
        let handle = Handle::new(&shard.bell);
        let waker = Waker::from(Arc::clone(&handle));
        Self { future: Some(future), shard, handle, waker, kind }
    }

    /// False once the future has ended.
    fn run(&mut self) -> bool {
        let Some(future) = &mut self.future else { return false };
        let cx = &mut Context::from_waker(&self.waker);
        if self.kind == Kind::Root {
            // Its panic ends the shard.
            return future.as_mut().poll(cx).is_pending();
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.is_pending(),
            Err(panic) => {
                report(&self.shard.pulse, panic.as_ref());
                false
            }
        }
    }

    fn end(&mut self) {
        let future = self.future.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            report(&self.shard.pulse, panic.as_ref());
        }
        self.shard.tasks.borrow_mut().ends(&self.handle, self.kind == Kind::Root);
        let connections = &self.shard.connections;
        connections.set(connections.get() - usize::from(self.kind == Kind::Connection));
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shard.pulse.turned();
        let mut tasks = self.shard.tasks.borrow_mut();
        tasks.begins(&self.handle, cx.waker());
        let is_cancelled = tasks.are_cancelled && self.kind != Kind::Root;
        drop(tasks);
        let goes_on = !is_cancelled && self.run();
        if !goes_on {
            self.end();
        }
        self.shard.has_run();
        if goes_on { Poll::Pending } else { Poll::Ready(()) }
    }
}

fn report(pulse: &Pulse, panic: &(dyn Any + Send)) {
    pulse.count_panic();
    let message =
        panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(event = "runtime.task_panicked", message = message.unwrap_or("not a text"));
}
