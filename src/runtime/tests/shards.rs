//! Shards without connections: starting, calling each other, stopping, and not falling asleep.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::ShardId;
use router::Gone;
use runtime::{Local, Queue, ShardSetup, Shards, ShardsConfig, StartError, block_on, yield_now};

struct Context {
    setup: ShardSetup<Context>,
    count: Cell<u64>,
}

fn make(setup: ShardSetup<Context>) -> impl Future<Output = Result<Rc<Context>, Infallible>> {
    ready(Ok(Rc::new(Context { setup, count: Cell::new(0) })))
}

#[test]
fn shards_call_each_other_and_finish_what_was_registered_for_the_stop() {
    let shards = Shards::start(&ShardsConfig::new(3), make).unwrap();
    let router = shards.router().clone();
    assert_eq!(router.shards(), 3);
    let add = |context: Rc<Context>| async move { context.count.set(context.count.get() + 1) };
    // Every shard asks every other, at once and often.
    let ask_all = move |context: Rc<Context>| async move {
        for turn in 0..300 {
            context.setup.router.on(ShardId(turn % 3), add).await?;
        }
        Ok::<_, Gone>(())
    };
    let callers: Vec<_> = (0..3)
        .map(|id| {
            let router = router.clone();
            std::thread::spawn(move || block_on(router.on(ShardId(id), ask_all)))
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), Ok(Ok(())));
    }
    let count = |context: Rc<Context>| async move { context.count.get() };
    let all: u64 = (0..3).map(|id| block_on(router.on(ShardId(id), count)).unwrap()).sum();
    assert_eq!(all, 900);
    let finished = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&finished);
    block_on(router.send(ShardId(1), move |context: Rc<Context>| async move {
        let local = context.setup.local.clone();
        context.setup.local.at_stop(async move {
            local.pause(Duration::from_millis(5)).await;
            seen.fetch_add(1, Ordering::Relaxed);
        });
    }))
    .unwrap();
    shards.stop(Duration::from_secs(1));
    assert_eq!(finished.load(Ordering::Relaxed), 1);
    assert_eq!(block_on(router.on(ShardId(1), count)), Err(Gone));
}

#[test]
fn a_stop_drops_what_tasks_own_even_those_that_never_ran() {
    let shards = Shards::start(&ShardsConfig::new(1), make).unwrap();
    let owned = Arc::new(());
    let held = Arc::clone(&owned);
    let spawn = |context: Rc<Context>| async move {
        for queue in [Queue::Interactive, Queue::Delivery, Queue::Background] {
            let held = Arc::clone(&held);
            context.setup.local.spawn(queue, async move {
                pending::<()>().await;
                drop(held);
            });
        }
        // It runs in the turn of the stop, and what it starts is never polled.
        let late = context.setup.local.clone();
        context.setup.local.at_stop(async move { late.spawn(Queue::Background, async move { drop(held) }) });
    };
    block_on(shards.router().on(ShardId(0), spawn)).unwrap();
    shards.stop(Duration::ZERO);
    assert_eq!(Arc::strong_count(&owned), 1);
}

#[test]
fn a_panic_in_a_call_is_gone_to_the_caller_and_ends_nothing_else() {
    let shards = Shards::start(&ShardsConfig::new(1), make).unwrap();
    let fails = |_: Rc<Context>| async { panic!("on purpose") };
    assert_eq!(block_on(shards.router().on(ShardId(0), fails)), Err::<(), _>(Gone));
    assert_eq!(block_on(shards.router().on(ShardId(0), |_| async { 7 })), Ok(7));
    assert_eq!(shards.panics(), 1);
    shards.stop(Duration::ZERO);
}

#[test]
fn a_shard_that_cannot_start_says_why() {
    let refuse = |setup: ShardSetup<Context>| {
        let end = if setup.id == ShardId(1) { Err("no disk") } else { Ok(()) };
        ready(end.map(|()| Rc::new(Context { setup, count: Cell::new(0) })))
    };
    let error = Shards::start(&ShardsConfig::new(2), refuse).unwrap_err();
    assert_eq!(error, StartError::Context(ShardId(1), "no disk".to_owned()));
    let panics = |_| -> std::future::Ready<Result<Rc<Context>, Infallible>> { panic!("on purpose") };
    let error = Shards::start(&ShardsConfig::new(1), panics).unwrap_err();
    assert_eq!(error, StartError::Panicked(ShardId(0)));
    let mut config = ShardsConfig::new(1);
    config.cpus = vec![100_000];
    let error = Shards::start(&config, make).unwrap_err();
    assert!(matches!(error, StartError::Executor(..) | StartError::Panicked(_)), "{error}");
}

#[test]
fn a_shard_is_pinned_to_its_core() {
    let mut config = ShardsConfig::new(2);
    config.cpus = vec![0, 1];
    let shards = Shards::start(&config, make).unwrap();
    for id in 0..2 {
        let allowed = |_| async {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            line.trim().to_owned()
        };
        assert_eq!(block_on(shards.router().on(ShardId(id), allowed)), Ok(id.to_string()));
    }
    shards.stop(Duration::ZERO);
}

/// The executor goes to sleep with ready tasks when its preemption timer fires before the first has
/// run. With a timer this short that happens where the machine is busy.
#[test]
fn a_shard_put_to_sleep_beside_work_is_woken() {
    let mut config = ShardsConfig::new(1);
    config.upkeep = Duration::from_micros(20);
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let start = move |setup: ShardSetup<Context>| {
        let counted = Arc::clone(&counted);
        setup.local.spawn(Queue::Background, async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        make(setup)
    };
    let shards = Shards::start(&config, start).unwrap();
    let mut last = 0;
    for look in 0..10 {
        std::thread::park_timeout(Duration::from_millis(400));
        // It may be put to sleep again right after it was woken, many times where the machine is busy.
        let mut patience = 2_000;
        while turns.load(Ordering::Relaxed) == last && patience > 0 {
            std::thread::park_timeout(Duration::from_millis(10));
            patience -= 1;
        }
        let now = turns.load(Ordering::Relaxed);
        assert!(now > last, "asleep at look {look} after {now} turns");
        last = now;
    }
    let answer = block_on(shards.router().on(ShardId(0), |_| async { Local::current().is_some() }));
    assert_eq!(answer, Ok(true));
    shards.stop(Duration::ZERO);
}
