//! The shards: one executor on its own thread, and where possible its own core, each.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base::ShardId;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use router::{Inbox, Router};

use crate::blocking::block_on;
use crate::limits::{FAILED, INBOX_BATCH, IO_MEMORY_BYTES, START_UPKEEP, TICK, UPKEEP, WATCHDOG};
use crate::local::{Local, Manner, Queue, yield_if_needed};
use crate::watchdog::{Pulse, Watchdog};

/// How many shards, and where.
#[derive(Clone, Debug)]
pub struct ShardsConfig {
    /// At least 1.
    pub shards: u16,
    /// The core of each shard; a shard without one goes where the kernel puts it.
    pub cpus: Vec<usize>,
    /// How exact timers are. Idle time-outs need no more than the default of a second.
    pub tick: Duration,
    /// How often the executor looks after itself while its tasks are busy. It may fall asleep for a moment
    /// when it is kept from its core for this long just then.
    pub upkeep: Duration,
    /// How long a shard looks for news before it sleeps. It keeps its core busy meanwhile: for cores that
    /// nobody else wants.
    pub spin: Duration,
}

impl ShardsConfig {
    /// `shards` shards anywhere.
    pub fn new(shards: u16) -> Self {
        Self { shards, cpus: Vec::new(), tick: TICK, upkeep: UPKEEP, spin: Duration::ZERO }
    }
}

/// What a shard's context is made from, on the shard's own thread.
#[derive(Debug)]
pub struct ShardSetup<C> {
    /// The shard.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The way to the others.
    pub router: Router<C>,
    /// Its queues, timers and tasks.
    pub local: Local,
}

/// Why the shards are not running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The system refuses an executor.
    Executor(ShardId, String),
    /// The context could not be made.
    Context(ShardId, String),
    /// Our bug, while starting.
    Panicked(ShardId),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor(shard, problem) => write!(f, "shard {shard} cannot run: {problem}"),
            Self::Context(shard, problem) => write!(f, "shard {shard} cannot start: {problem}"),
            Self::Panicked(shard) => write!(f, "shard {shard} panicked while starting; see the log"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running shards, held by the thread that started them.
pub struct Shards<C> {
    router: Router<C>,
    threads: Vec<JoinHandle<()>>,
    pulses: Vec<Arc<Pulse>>,
    watchdog: Watchdog,
}

impl<C> fmt::Debug for Shards<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("count", &self.threads.len()).finish_non_exhaustive()
    }
}

/// One shard's share of the start.
struct Start<C> {
    id: ShardId,
    config: ShardsConfig,
    router: Router<C>,
    inbox: Inbox<C>,
    pulse: Arc<Pulse>,
    ready: mpsc::Sender<Result<(), StartError>>,
    is_running: Arc<AtomicBool>,
}

impl<C: 'static> Shards<C> {
    /// Starts the shards. `make` builds each one's context on its thread: it opens what the shard
    /// owns and starts its listeners. Returns when all are ready, or with the first failure; the
    /// process should end then.
    pub fn start<M, F, E>(config: &ShardsConfig, make: M) -> Result<Self, StartError>
    where
        M: Fn(ShardSetup<C>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Rc<C>, E>> + 'static,
        E: fmt::Display + 'static,
    {
        let (router, inboxes) = Router::new(config.shards);
        let pulses: Vec<_> = inboxes.iter().map(|_| Arc::new(Pulse::default())).collect();
        let (ready, readiness) = mpsc::channel();
        let mut threads = Vec::with_capacity(inboxes.len());
        for ((id, inbox), pulse) in (0..).map(ShardId).zip(inboxes).zip(&pulses) {
            let (router, ready) = (router.clone(), ready.clone());
            let (config, pulse, is_running) = (config.clone(), Arc::clone(pulse), Arc::default());
            let start = Start { id, config, router, inbox, pulse, ready, is_running };
            let make = make.clone();
            let thread = thread::Builder::new().name(format!("shard-{id}")).spawn(move || run(start, make));
            threads.push(thread.map_err(|error| StartError::Executor(id, error.to_string()))?);
        }
        let watchdog = Watchdog::start(pulses.clone(), WATCHDOG)
            .map_err(|error| StartError::Executor(ShardId(0), error.to_string()))?;
        for _ in &threads {
            // Each thread reports before it drops its sender, and we hold one, so this cannot fail.
            readiness.recv().expect("a shard reports in any case")?;
        }
        Ok(Self { router, threads, pulses, watchdog })
    }

    /// The way to the shards, for other threads.
    pub fn router(&self) -> &Router<C> {
        &self.router
    }

    /// Panics of tasks so far, in all shards.
    pub fn panics(&self) -> u64 {
        self.pulses.iter().map(|pulse| pulse.panics()).sum()
    }

    /// Stops in good order: no new connections, sessions are told and given `grace`, then every
    /// shard finishes what it registered with [`Local::at_stop`].
    pub fn stop(self, grace: Duration) {
        let all = || (0..self.router.shards()).map(ShardId);
        // All drain at once. No shard leaves before all have drained: their last requests may need it.
        let drain = |id| {
            let router = self.router.clone();
            thread::spawn(move || {
                block_on(router.on(id, move |_| async move {
                    if let Some(local) = Local::current() {
                        local.drain(grace).await;
                    }
                }))
            })
        };
        let drains: Vec<_> = all().map(drain).collect();
        for drain in drains {
            let _gone_already = drain.join();
        }
        for id in all() {
            let stop = |_| async {
                if let Some(local) = Local::current() {
                    local.stop();
                }
            };
            let _gone_already = block_on(self.router.send(id, stop));
        }
        for thread in self.threads {
            let _panicked = thread.join();
        }
        drop(self.watchdog);
    }
}

/// The whole life of a shard's thread. glommio panics where it should report (a forbidden io_uring,
/// an unreadable /sys), so that is caught here.
fn run<C, M, F, E>(start: Start<C>, make: M)
where
    C: 'static,
    M: Fn(ShardSetup<C>) -> F + 'static,
    F: Future<Output = Result<Rc<C>, E>> + 'static,
    E: fmt::Display + 'static,
{
    let (id, ready, is_running) = (start.id, start.ready.clone(), Arc::clone(&start.is_running));
    let life = catch_unwind(AssertUnwindSafe(|| match executor(id, &start.config) {
        Ok(executor) => executor.run(begin(start, make)),
        Err(problem) => {
            let _nobody_waits = start.ready.send(Err(StartError::Executor(id, problem)));
        }
    }));
    if life.is_err() {
        tracing::error!(event = "runtime.shard_panicked", shard = id.0);
        if is_running.load(Ordering::SeqCst) {
            // Its accounts are out of reach: a restart brings them back, going on does not.
            std::process::exit(FAILED);
        }
        let _nobody_waits = ready.send(Err(StartError::Panicked(id)));
    }
}

fn executor(id: ShardId, config: &ShardsConfig) -> Result<LocalExecutor, String> {
    let placement =
        config.cpus.get(usize::from(id.0)).map_or(Placement::Unbound, |cpu| Placement::Fixed(*cpu));
    LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY_BYTES)
        // Before its first task has been polled nobody could wake it. From then on it is each queue's.
        .preempt_timer(START_UPKEEP)
        // One thread that is not bound to the shard's core. Nothing of ours is given to it.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(|error| error.to_string())
}

async fn begin<C, M, F, E>(start: Start<C>, make: M)
where
    C: 'static,
    M: Fn(ShardSetup<C>) -> F + 'static,
    F: Future<Output = Result<Rc<C>, E>> + 'static,
    E: fmt::Display + 'static,
{
    // Until the last line, also when the shard panics.
    let _watched = Arc::clone(&start.pulse).watched().await;
    let ShardsConfig { tick, spin, upkeep, .. } = start.config;
    let manner = Manner { tick, spin, upkeep };
    match Local::start(start.id, manner, Arc::clone(&start.pulse)) {
        Ok(local) => local.clone().run(live(start, make, local)).await,
        Err(error) => {
            let problem = format!("its ring: {error}");
            let _nobody_waits = start.ready.send(Err(StartError::Executor(start.id, problem)));
        }
    }
}

async fn live<C, M, F, E>(start: Start<C>, make: M, local: Local)
where
    C: 'static,
    M: Fn(ShardSetup<C>) -> F,
    F: Future<Output = Result<Rc<C>, E>>,
    E: fmt::Display,
{
    let Start { id, config, router, inbox, ready, is_running, .. } = start;
    let setup = ShardSetup { id, shards: config.shards, router, local: local.clone() };
    let context = match make(setup).await {
        Ok(context) => context,
        Err(error) => {
            local.cancel_tasks().await;
            let _nobody_waits = ready.send(Err(StartError::Context(id, error.to_string())));
            return;
        }
    };
    let inbox = Rc::new(inbox);
    local.spawn(Queue::Interactive, take_jobs(Rc::clone(&inbox), context, local.clone()));
    is_running.store(true, Ordering::SeqCst);
    let _nobody_waits = ready.send(Ok(()));
    local.stopped().await;
    // Callers that still wait are told, and then nothing of the shard outlives it.
    inbox.close();
    local.cancel_tasks().await;
}

/// Starts the jobs that other shards send. Each is a task of its own: one that waits for the disk
/// keeps no other back.
async fn take_jobs<C: 'static>(inbox: Rc<Inbox<C>>, context: Rc<C>, local: Local) {
    loop {
        let first = inbox.next().await;
        local.spawn_boxed(Queue::Interactive, first.run(Rc::clone(&context)));
        for _ in 1..INBOX_BATCH {
            let Some(job) = inbox.try_next() else { break };
            local.spawn_boxed(Queue::Interactive, job.run(Rc::clone(&context)));
        }
        yield_if_needed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_has_not_come_to_its_pump_yet_is_woken() {
        let make = |setup: ShardSetup<()>| {
            // The thread is kept here: neither its pump nor any other task has been polled.
            let patience = crate::clock::instant() + Duration::from_secs(20);
            while setup.local.watchdog_wakes() == 0 && crate::clock::instant() < patience {
                thread::park_timeout(Duration::from_millis(1));
            }
            let is_woken = setup.local.watchdog_wakes() > 0;
            std::future::ready(if is_woken { Ok(Rc::new(())) } else { Err("nobody would have woken it") })
        };
        let shards = Shards::start(&ShardsConfig::new(1), make).unwrap();
        let answer = block_on(shards.router().on(ShardId(0), |_| async { 7 }));
        assert_eq!(answer, Ok(7));
        shards.stop(Duration::ZERO);
    }
}
