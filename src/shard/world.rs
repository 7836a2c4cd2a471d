//! What the composition needs of the world, handed in by `runtime` (or by a test).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base::Timestamp;

/// A future that stays on its shard.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The pool has too much to do already; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// How one shard's thread and executor do, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// A clock that never jumps, in nanoseconds: for rates.
    pub clock_ns: u64,
    /// Processor time of the thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Time in which tasks of a queue ran, in nanoseconds, by the queue's name.
    pub queues_ns: Vec<(&'static str, u64)>,
    /// Turns of the executor's loop.
    pub turns: u64,
    /// Tasks that were run until they waited.
    pub polls: u64,
    /// Times the watchdog has woken the shard.
    pub watchdog_wakes: u64,
    /// Tasks that a bug has ended.
    pub panics: u64,
}

/// How the whole process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// When it was started.
    pub started: Timestamp,
    /// Processor time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory that is in RAM, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Work that waits for a thread of the blocking pool.
    pub pool_waiting: u64,
}

/// Time, chance and helpers off the shard.
pub trait World {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` from the system's generator.
    fn random(&self, bytes: &mut [u8]);

    /// Runs slow work on the blocking pool; resolves when it has run.
    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>>;

    /// How this shard's thread and executor do; `None` where there is no executor to ask.
    fn vitals(&self) -> Option<Vitals> {
        None
    }

    /// How the process does; `None` where nobody looks.
    fn process(&self) -> Option<Process> {
        None
    }
}

/// Runs `work` off the shard and brings its value back.
pub(crate) async fn off_shard<T: Send + 'static>(
    world: &dyn World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Overloaded> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let job = move || {
        let value = work();
        if let Ok(mut slot) = filled.lock() {
            *slot = Some(value);
        }
    };
    world.off_shard(Box::new(job)).await?;
    slot.lock().ok().and_then(|mut slot| slot.take()).ok_or(Overloaded)
}
