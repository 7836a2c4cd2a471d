//! One shard, seen from inside: its queues, timers and tasks. The only way to start a task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::ShardId;
use glommio::{Latency, Shares, TaskQueueHandle, executor};
use router::LocalFuture;

use crate::limits::{BACKGROUND_SHARES, DELIVERY_SHARES, INTERACTIVE_SHARES, PREEMPT, STOP_PAUSE};
use crate::timers::Timers;
use crate::watchdog::Pulse;

/// Whose share of the shard a task uses when all have work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Somebody waits for it: connections, calls from other shards.
    Interactive,
    /// Deliveries and relaying.
    Delivery,
    /// Compaction, indexing, expiry.
    Background,
}

struct Shared {
    id: ShardId,
    timers: Timers,
    queues: [TaskQueueHandle; 3],
    pulse: Arc<Pulse>,
    connections: Cell<usize>,
    /// Whoever waits for `connections` to become 0, or for the stop.
    waiting: RefCell<Vec<Waker>>,
    on_drain: RefCell<Vec<Box<dyn FnOnce()>>>,
    at_stop: RefCell<Vec<LocalFuture>>,
    is_stopping: Cell<bool>,
    tasks: RefCell<Tasks>,
}

/// The tasks that have not ended: the executor would leave what they own undropped at its end.
#[derive(Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Those that were never polled included.
    count: usize,
    are_cancelled: bool,
}

/// This shard. Cheap to clone; it stays on its thread.
#[derive(Clone)]
pub struct Local(Rc<Shared>);

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("id", &self.0.id).finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl Local {
    /// Makes the shard of the executor that runs this thread, and starts its clockwork.
    pub(crate) fn start(id: ShardId, tick: Duration, pulse: Arc<Pulse>) -> Self {
        let queue =
            |shares, latency, name| executor().create_task_queue(Shares::Static(shares), latency, name);
        let queues = [
            queue(INTERACTIVE_SHARES, Latency::Matters(PREEMPT), "interactive"),
            queue(DELIVERY_SHARES, Latency::NotImportant, "delivery"),
            queue(BACKGROUND_SHARES, Latency::NotImportant, "background"),
        ];
        let local = Self(Rc::new(Shared {
            id,
            timers: Timers::new(tick),
            queues,
            pulse: Arc::clone(&pulse),
            connections: Cell::new(0),
            waiting: RefCell::default(),
            on_drain: RefCell::default(),
            at_stop: RefCell::default(),
            is_stopping: Cell::new(false),
            tasks: RefCell::default(),
        }));
        CURRENT.set(Some(local.clone()));
        local.spawn_raw(Queue::Interactive, pulse.beat());
        local.spawn(Queue::Interactive, local.timers().clone().turn(glommio::timer::sleep));
        local
    }

    /// The shard of this thread, if it is one.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Its number.
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// Its timers.
    pub fn timers(&self) -> &Timers {
        &self.0.timers
    }

    /// The names of its queues, in the order of [`Queue`].
    pub(crate) const QUEUES: [&'static str; 3] = ["interactive", "delivery", "background"];

    /// Its queues, in the order of [`Queue`].
    pub(crate) fn queue_handles(&self) -> [TaskQueueHandle; 3] {
        self.0.queues
    }

    /// Times the watchdog has woken it.
    pub(crate) fn watchdog_wakes(&self) -> u64 {
        self.0.pulse.wakes()
    }

    /// Panics of this shard's tasks so far.
    pub fn panics(&self) -> u64 {
        self.0.pulse.panics()
    }

    /// Runs a future to its end. Its panic is logged and counted, and ends nothing else.
    pub fn spawn(&self, queue: Queue, future: impl Future<Output = ()> + 'static) {
        self.spawn_boxed(queue, Box::pin(future));
    }

    /// As [`Local::spawn`], for a future that has its box already.
    pub fn spawn_boxed(&self, queue: Queue, future: LocalFuture) {
        self.spawn_raw(queue, Task::new(self, future, false));
    }

    /// As [`Local::spawn`], and a stop waits for it.
    pub fn spawn_connection(&self, queue: Queue, future: impl Future<Output = ()> + 'static) {
        self.spawn_raw(queue, Task::new(self, Box::pin(future), true));
    }

    /// As [`Local::spawn_connection`], for a future that is on the heap already.
    pub fn spawn_boxed_connection(&self, queue: Queue, future: LocalFuture) {
        self.spawn_raw(queue, Task::new(self, future, true));
    }

    /// Connections that [`Local::spawn_connection`] runs now.
    pub fn connections(&self) -> usize {
        self.0.connections.get()
    }

    /// Waits by the executor's own timer, which is exact and dearer than [`Local::timers`].
    pub async fn pause(&self, duration: Duration) {
        glommio::timer::sleep(duration).await;
    }

    /// Has something done when the shard is told to drain, or now when it was told already.
    pub fn on_drain(&self, action: impl FnOnce() + 'static) {
        if self.0.timers.is_draining() {
            action();
        } else {
            self.0.on_drain.borrow_mut().push(Box::new(action));
        }
    }

    /// Has something finished before the shard ends, last come first done.
    pub fn at_stop(&self, future: impl Future<Output = ()> + 'static) {
        self.0.at_stop.borrow_mut().push(Box::pin(future));
    }

    /// Tells listeners and sessions that the shard is about to stop, and waits until the last
    /// connection has gone, `grace` long at most.
    pub(crate) async fn drain(&self, grace: Duration) {
        let actions = self.0.on_drain.take();
        self.0.timers.drain();
        for action in actions {
            action();
        }
        let end = crate::clock::instant() + grace;
        while self.connections() > 0 && crate::clock::instant() < end {
            self.pause(STOP_PAUSE).await;
        }
    }

    /// Lets [`Local::stopped`] return.
    pub(crate) fn stop(&self) {
        self.0.is_stopping.set(true);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Waits for the stop and does what is left for it.
    pub(crate) async fn stopped(&self) {
        poll_fn(|cx| {
            if self.0.is_stopping.get() {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        loop {
            // The borrow ends before the wait: what is being finished may add to the list.
            let next = self.0.at_stop.borrow_mut().pop();
            let Some(next) = next else { return };
            next.await;
        }
    }

    /// Drops every task with what it owns: the engine, and with it the store's lock, among others.
    pub(crate) async fn cancel_tasks(&self) {
        self.0.tasks.borrow_mut().are_cancelled = true;
        while self.0.tasks.borrow().count > 0 {
            let wakers: Vec<_> = self.0.tasks.borrow().wakers.iter().flatten().cloned().collect();
            wakers.into_iter().for_each(Waker::wake);
            executor().yield_task_queue_now().await;
        }
    }

    fn spawn_raw(&self, queue: Queue, future: impl Future<Output = ()> + 'static) {
        let handle = self.0.queues[queue as usize];
        // The queues live as long as the executor, so this cannot fail.
        glommio::spawn_local_into(future, handle).expect("the shard's queues are never removed").detach();
    }
}

impl Tasks {
    fn insert(&mut self, waker: Waker) -> usize {
        let place = self.free.pop().unwrap_or(self.wakers.len());
        if place == self.wakers.len() {
            self.wakers.push(None);
        }
        self.wakers[place] = Some(waker);
        place
    }

    fn remove(&mut self, place: usize) {
        self.wakers[place] = None;
        self.free.push(place);
    }
}

/// A task: catches what its future panics with, also in its destructors, and counts its turns. By
/// hand, and with the future in a box, because an `async` block around a future holds it twice.
struct Task {
    future: Option<LocalFuture>,
    shard: Rc<Shared>,
    place: Option<usize>,
    is_connection: bool,
}

impl Task {
    fn new(local: &Local, future: LocalFuture, is_connection: bool) -> Self {
        let shard = Rc::clone(&local.0);
        shard.connections.set(shard.connections.get() + usize::from(is_connection));
        shard.tasks.borrow_mut().count += 1;
        Self { future: Some(future), shard, place: None, is_connection }
    }

    /// False once the future has ended.
    fn run(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(future) = &mut self.future else { return false };
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
        let mut tasks = self.shard.tasks.borrow_mut();
        tasks.count -= 1;
        if let Some(place) = self.place.take() {
            tasks.remove(place);
        }
        drop(tasks);
        let connections = &self.shard.connections;
        connections.set(connections.get() - usize::from(std::mem::take(&mut self.is_connection)));
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shard.pulse.turned();
        if self.place.is_none() {
            let place = self.shard.tasks.borrow_mut().insert(cx.waker().clone());
            self.place = Some(place);
        }
        let is_cancelled = self.shard.tasks.borrow().are_cancelled;
        if !is_cancelled && self.run(cx) {
            return Poll::Pending;
        }
        self.end();
        Poll::Ready(())
    }
}

fn report(pulse: &Pulse, panic: &(dyn Any + Send)) {
    pulse.count_panic();
    let message =
        panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(event = "runtime.task_panicked", message = message.unwrap_or("not a text"));
}

/// Lets other tasks run if this one has had its time. For loops that may not wait otherwise.
pub async fn yield_if_needed() {
    executor().yield_if_needed().await;
}

/// Lets every task of the queue that is ready run before this one goes on.
pub async fn yield_now() {
    executor().yield_now().await;
}
