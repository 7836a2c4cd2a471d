//! Drives a shard's storage engine, which neither spawns nor sleeps: submits what gathered when
//! there is something, reaps when the kernel says that completions wait, and has checkpoints made
//! off the shard.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use storage_engine::{CheckpointDone, CheckpointJob, Engine, Error};

use crate::blocking::{Blocking, NotRun};
use crate::limits::{CHECKPOINT_PAUSE, FAILED, POOL_PAUSE, STOP_PAUSE};
use crate::local::{Local, Queue, yield_now};
use crate::net::Source;

struct Pump {
    engine: Engine,
    blocking: Blocking,
    local: Local,
    is_checkpointing: Cell<bool>,
}

/// Starts driving this shard's engine, until the shard stops. When the engine has failed, the
/// process ends: what the page cache holds after a failed flush is not to be trusted, and recovery
/// from the log is the path that is tested.
pub fn start_store(local: &Local, engine: &Engine, blocking: &Blocking) {
    // The engine keeps its eventfd open as long as it lives, and the pump keeps the engine.
    let events = engine.event_fd().map(Local::watch);
    let pump = Rc::new(Pump {
        engine: engine.clone(),
        blocking: blocking.clone(),
        local: local.clone(),
        is_checkpointing: Cell::new(false),
    });
    local.spawn(Queue::Interactive, Rc::clone(&pump).submit(events.is_none()));
    if let Some(events) = events {
        local.spawn(Queue::Interactive, Rc::clone(&pump).complete(events));
    }
    local.at_stop(pump.finish());
}

impl Pump {
    /// Turns the engine whenever it has something to submit. `is_alone`: nothing tells of
    /// completions (the disk is simulated), so it is turned until it is idle.
    async fn submit(self: Rc<Self>, is_alone: bool) {
        loop {
            self.turn();
            if !is_alone || self.engine.is_idle() {
                self.work_to_submit().await;
            }
            // Tasks that are ready now may commit too: they join this batch, at no delay.
            yield_now().await;
        }
    }

    /// Turns the engine whenever completions wait.
    async fn complete(self: Rc<Self>, events: Source) {
        loop {
            poll_fn(|cx| events.poll_event(cx)).await;
            self.turn();
        }
    }

    fn work_to_submit(&self) -> impl Future<Output = ()> {
        let mut has_asked = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut has_asked, true) {
                return Poll::Ready(());
            }
            self.engine.set_waker(cx.waker().clone());
            Poll::Pending
        })
    }

    fn turn(self: &Rc<Self>) {
        let guard = FailOnPanic;
        self.engine.turn();
        std::mem::forget(guard);
        if let Some(error) = self.engine.failed() {
            fail(&error.to_string());
        }
        if self.engine.checkpoint_due() && !self.is_checkpointing.replace(true) {
            self.local.spawn(Queue::Background, Rc::clone(self).checkpoint());
        }
    }

    async fn checkpoint(self: Rc<Self>) {
        if let Some(error) = self.make_checkpoint().await {
            tracing::warn!(event = "runtime.checkpoint_failed", %error, "nothing is lost; it is tried again");
            self.local.pause(CHECKPOINT_PAUSE).await;
        }
        self.is_checkpointing.set(false);
    }

    /// Makes a checkpoint if there is anything to write, and says why it failed if it did.
    async fn make_checkpoint(&self) -> Option<Error> {
        let guard = FailOnPanic;
        let job = self.engine.checkpoint();
        std::mem::forget(guard);
        let done = self.run_off_shard(job?).await;
        let error = done.error().cloned();
        let guard = FailOnPanic;
        self.engine.install(done);
        std::mem::forget(guard);
        error
    }

    /// A checkpoint that was begun must be ended, so it waits for room where others are refused.
    async fn run_off_shard(&self, job: CheckpointJob) -> CheckpointDone {
        let (mut work, done) = Blocking::prepare(move || job.run());
        while let Err(back) = self.blocking.try_start(work) {
            work = back;
            self.local.pause(POOL_PAUSE).await;
        }
        match done.await {
            Ok(done) => done,
            Err(_) => fail(&format!("a checkpoint: {}", NotRun::Panicked)),
        }
    }

    /// Everything that was committed becomes durable, and a last checkpoint makes the next start
    /// quick. It is no loss if that one fails: the log has everything.
    async fn finish(self: Rc<Self>) {
        while !self.engine.is_idle() || self.is_checkpointing.get() {
            self.turn();
            self.local.pause(STOP_PAUSE).await;
        }
        self.is_checkpointing.set(true);
        if let Some(error) = self.make_checkpoint().await {
            tracing::warn!(event = "runtime.checkpoint_failed", %error, "the next start replays the log");
        }
    }
}

/// A broken invariant of the engine must not be caught like a handler's panic: the tasks that wait
/// for their commits would wait for ever.
struct FailOnPanic;

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        fail("the storage engine panicked");
    }
}

fn fail(problem: &str) -> ! {
    tracing::error!(
        event = "runtime.store_failed",
        problem,
        "the process ends, so that it recovers from its log"
    );
    std::process::exit(FAILED);
}
