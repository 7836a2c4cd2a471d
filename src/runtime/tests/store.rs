//! Shards that drive their storage engines.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::future::ready;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use base::{PartitionId, ShardId};
use router::Router;
use runtime::{Blocking, Local, Queue, ShardSetup, Shards, ShardsConfig, block_on, start_store};
use storage_engine::{Body, Disk, Engine, Options, RowBody, Simulated, Stats, prepare};

const PARTITIONS: u16 = 4;

struct Context {
    engine: Engine,
    local: Local,
}

fn options() -> Options {
    // Small enough that the checkpoints of a test are many.
    Options {
        partitions: PARTITIONS,
        segment_bytes: 4 << 20,
        fresh_bytes_max: 64 << 10,
        ..Options::default()
    }
}

fn start(disk: &Disk, shards: u16) -> Shards<Context> {
    let blocking = Blocking::start(1, 1).unwrap();
    let disk = disk.clone();
    let make = move |setup: ShardSetup<Context>| {
        let ShardSetup { id, shards, local, .. } = setup;
        let engine = Engine::open(&disk, &options(), id.0, shards).unwrap();
        start_store(&local, &engine, &blocking);
        ready(Ok::<_, String>(Rc::new(Context { engine, local })))
    };
    Shards::start(&ShardsConfig::new(shards), make).unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("runtime-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn text(account: u64, number: u32) -> Vec<u8> {
    format!("message {number} of {account}\r\n").repeat(20).into_bytes()
}

/// Puts messages from `first` on, each its own transaction, all at once.
async fn fill(context: Rc<Context>, partition: u16, first: u32, count: u32) {
    let account = u64::from(partition) + 100;
    let (told, done) = router::answer_slot();
    let told = Rc::new(told);
    for item in first..first + count {
        let (engine, told) = (context.engine.clone(), Rc::clone(&told));
        context.local.spawn(Queue::Delivery, async move {
            let mut transaction = engine.transaction(partition);
            let body = transaction.add_body(Vec::new(), Body::new(text(account, item)));
            transaction.put_row(account, 1, item, RowBody::New(body), [7; 40]);
            transaction.commit().await.unwrap();
            if let Some(told) = Rc::into_inner(told) {
                told.fill(());
            }
        });
    }
    drop(told);
    done.await.unwrap();
}

async fn verify(context: Rc<Context>, partition: u16, count: u32) {
    let (engine, account) = (&context.engine, u64::from(partition) + 100);
    for item in 1..=count {
        let row = engine.row(partition, account, 1, item).unwrap();
        assert_eq!(engine.body(&row.body).await.unwrap(), text(account, item));
    }
    assert_eq!(engine.highest_change(partition, account), u64::from(count));
}

fn in_every_partition(router: &Router<Context>, work: fn(Rc<Context>, u16) -> router::LocalFuture) {
    let calls = (0..PARTITIONS).map(|partition| {
        let router = router.clone();
        std::thread::spawn(move || {
            let shard = router.partition_shard(PartitionId(partition));
            block_on(router.on(shard, move |context| work(context, partition)))
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.join().unwrap().unwrap();
    }
}

fn stats(router: &Router<Context>, shard: u16) -> Stats {
    block_on(router.on(ShardId(shard), |context| async move { context.engine.stats() })).unwrap()
}

#[test]
fn commits_are_gathered_checkpoints_made_and_everything_is_there_after_a_stop() {
    let folder = Folder::new("store");
    let disk = Disk::folder(&folder.0);
    let lock = prepare(&disk, &options(), 2).unwrap();
    let shards = start(&disk, 2);
    let router = shards.router().clone();
    in_every_partition(&router, |context, partition| Box::pin(fill(context, partition, 1, 500)));
    in_every_partition(&router, |context, partition| Box::pin(verify(context, partition, 500)));
    for shard in 0..2 {
        let stats = stats(&router, shard);
        assert_eq!(stats.commits, 1000);
        assert!(stats.batches < 500, "{} batches: nothing was gathered", stats.batches);
    }
    in_every_partition(&router, |context, partition| Box::pin(fill(context, partition, 501, 500)));
    in_every_partition(&router, |context, partition| {
        Box::pin(async move {
            while context.engine.stats().checkpoints == 0 {
                context.local.pause(Duration::from_millis(5)).await;
            }
            verify(context, partition, 1000).await;
        })
    });
    shards.stop(Duration::ZERO);
    let spawning = SPAWNING.lock().unwrap();
    drop(lock);
    let _lock = prepare(&disk, &options(), 3).unwrap();
    drop(spawning);
    let shards = start(&disk, 3);
    in_every_partition(shards.router(), |context, partition| Box::pin(verify(context, partition, 1000)));
    // The stop left nothing to be replayed.
    assert_eq!(stats(shards.router(), 0).fresh_bytes, 0);
    shards.stop(Duration::ZERO);
}

#[test]
fn a_disk_that_answers_later_is_driven_without_an_eventfd() {
    let simulated = Simulated::new(7);
    let disk = Disk::simulated(&simulated);
    let _lock = prepare(&disk, &options(), 1).unwrap();
    let shards = start(&disk, 1);
    in_every_partition(shards.router(), |context, partition| Box::pin(fill(context, partition, 1, 50)));
    in_every_partition(shards.router(), |context, partition| Box::pin(verify(context, partition, 50)));
    shards.stop(Duration::ZERO);
}

/// A new process has copies of all descriptors until its program runs, and with them a store's lock.
static SPAWNING: Mutex<()> = Mutex::new(());

/// The process that a failed flush ends; a test of its own does nothing.
const CHILD: &str = "RUNTIME_TEST_FAILED_FLUSH";

#[test]
fn a_failed_flush_ends_the_process_before_anything_is_acknowledged() {
    if std::env::var_os(CHILD).is_some() {
        lose_a_flush();
        return;
    }
    let name = "a_failed_flush_ends_the_process_before_anything_is_acknowledged";
    let program = std::env::current_exe().unwrap();
    let spawning = SPAWNING.lock().unwrap();
    let child = Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(spawning);
    let child = child.wait_with_output().unwrap();
    assert_eq!(child.status.code(), Some(70), "{child:?}");
    assert!(!String::from_utf8_lossy(&child.stdout).contains("acknowledged:"), "{child:?}");
}

fn lose_a_flush() {
    let simulated = Simulated::new(3);
    let disk = Disk::simulated(&simulated);
    let _lock = prepare(&disk, &options(), 1).unwrap();
    let shards = start(&disk, 1);
    in_every_partition(shards.router(), |context, partition| Box::pin(fill(context, partition, 1, 1)));
    simulated.fail_flushes(1);
    let put = |context: Rc<Context>| async move {
        let mut transaction = context.engine.transaction(0);
        transaction.put_value(1, b"key", b"value");
        let result = transaction.commit().await;
        println!("acknowledged: {}", result.is_ok());
        result.is_ok()
    };
    let acknowledged = block_on(shards.router().on(ShardId(0), put));
    panic!("still running: {acknowledged:?}");
}
