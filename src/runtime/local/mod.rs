//! One shard, seen from inside: its queues, timers and tasks. The only way to start a task.
//!
//! The executor keeps the queues and shares out the time. What a shard waits for, and its sleep, are in its
//! ring (`net/ring`), which the pump turns.

mod pump;
mod task;
mod wake;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use base::ShardId;
use glommio::{Latency, Shares, TaskQueueHandle, executor};
use router::LocalFuture;

use crate::clock;
use crate::limits::{BACKGROUND_SHARES, DELIVERY_SHARES, INTERACTIVE_SHARES, STOP_PAUSE};
use crate::net::{Ring, Source};
use crate::timers::Timers;
use crate::watchdog::Pulse;
use pump::Pump;
use task::{Kind, Task, Tasks};
use wake::Bell;

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
    ring: Rc<Ring>,
    bell: Arc<Bell>,
    /// The executor's waker of the pump, from its first poll on.
    pump: RefCell<Option<Waker>>,
    /// When the pump last let the others run.
    turn_began: Cell<Instant>,
    /// How long the shard looks for news before it sleeps.
    spin: Duration,
    /// The root has ended, and the pump is to.
    is_over: Cell<bool>,
}

/// How a shard behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How exact its coarse timers are.
    pub(crate) tick: Duration,
    /// How long it looks for news before it sleeps.
    pub(crate) spin: Duration,
    /// How often its executor looks after itself while there is work.
    pub(crate) upkeep: Duration,
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
    pub(crate) fn start(id: ShardId, manner: Manner, pulse: Arc<Pulse>) -> io::Result<Self> {
        // With this "latency" the executor looks after itself as often as it is to while the queue has work.
        let upkeep = Latency::Matters(manner.upkeep);
        let queue = |shares, name| executor().create_task_queue(Shares::Static(shares), upkeep, name);
        let [interactive, delivery, background] = Self::QUEUES;
        let queues = [
            queue(INTERACTIVE_SHARES, interactive),
            queue(DELIVERY_SHARES, delivery),
            queue(BACKGROUND_SHARES, background),
        ];
        let local = Self(Rc::new(Shared {
            id,
            timers: Timers::new(manner.tick),
            queues,
            pulse,
            connections: Cell::new(0),
            waiting: RefCell::default(),
            on_drain: RefCell::default(),
            at_stop: RefCell::default(),
            is_stopping: Cell::new(false),
            tasks: RefCell::default(),
            ring: Rc::new(Ring::new()?),
            bell: Bell::new()?,
            pump: RefCell::default(),
            turn_began: Cell::new(clock::instant()),
            spin: manner.spin,
            is_over: Cell::new(false),
        }));
        CURRENT.set(Some(local.clone()));
        let pump = Pump::new(Rc::clone(&local.0));
        spawn_into(queue(INTERACTIVE_SHARES, "pump"), pump);
        let ring = Rc::clone(&local.0.ring);
        local.spawn(Queue::Interactive, local.timers().clone().turn(ring));
        Ok(local)
    }

    /// Runs what ends the shard when it ends; nothing of the shard is left afterwards.
    pub(crate) async fn run(self, root: impl Future<Output = ()> + 'static) {
        Task::new(&self, Box::pin(root), Kind::Root).await;
        self.0.is_over.set(true);
        let pump = self.0.pump.take();
        pump.into_iter().for_each(Waker::wake);
        CURRENT.set(None);
    }

    /// Watches a descriptor on the shard of this thread.
    pub(crate) fn watch(fd: std::os::fd::RawFd) -> Source {
        let local = Self::current().expect("descriptors are watched on a shard's thread");
        Source::new(&local.0.ring, fd)
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
        self.spawn_task(queue, Task::new(self, future, Kind::Plain));
    }

    /// As [`Local::spawn`], and a stop waits for it.
    pub fn spawn_connection(&self, queue: Queue, future: impl Future<Output = ()> + 'static) {
        self.spawn_task(queue, Task::new(self, Box::pin(future), Kind::Connection));
    }

    /// As [`Local::spawn_connection`], for a future that is on the heap already.
    pub fn spawn_boxed_connection(&self, queue: Queue, future: LocalFuture) {
        self.spawn_task(queue, Task::new(self, future, Kind::Connection));
    }

    /// Connections that [`Local::spawn_connection`] runs now.
    pub fn connections(&self) -> usize {
        self.0.connections.get()
    }

    /// Waits by the ring's own timer, which is exact and dearer than [`Local::timers`].
    pub async fn pause(&self, duration: Duration) {
        self.0.ring.pause(duration).await;
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
            self.0.tasks.borrow_mut().wake_all();
            executor().yield_task_queue_now().await;
        }
    }

    fn spawn_task(&self, queue: Queue, task: Task) {
        spawn_into(self.0.queues[queue as usize], task);
    }
}

impl Shared {
    /// Wakes a task of this shard, on its thread.
    fn wake(&self, place: usize) {
        self.tasks.borrow_mut().wake(place);
    }
}

fn spawn_into(queue: TaskQueueHandle, future: impl Future<Output = ()> + 'static) {
    // The queues live as long as the executor, so this cannot fail.
    glommio::spawn_local_into(future, queue).expect("the shard's queues are never removed").detach();
}

/// Lets other tasks run if this one has had its time. For loops that may not wait otherwise.
pub async fn yield_if_needed() {
    if CURRENT.with_borrow(|current| current.as_ref().is_some_and(|local| local.0.is_time_up())) {
        yield_now().await;
    }
}

/// Lets every task of the queue that is ready run before this one goes on.
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
