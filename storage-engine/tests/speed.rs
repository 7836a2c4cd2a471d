//! What the README and `docs/performance.md` say the engine costs, measured: `cargo test --release -p storage-engine
//! speed -- --ignored --nocapture --test-threads 1`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_engine::{Commit, Disk, Engine, Options, Row, RowBody, Simulated, Stats, prepare};

use crate::support::{Folder, poll, settle, wait};

const ROWS: u32 = 100_000;
const ROUNDS: usize = 30;
/// For the first read, and for the median of all.
const ENOUGH: Duration = Duration::from_millis(5);

/// The time of reading all rows into a list that has no memory yet: the first and the median.
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn time_of_all_rows(engine: &Engine) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut rows: Vec<Row> = Vec::new();
            engine.rows(0, 1, 1, 0, usize::MAX >> 1, &mut rows);
            let took = start.elapsed();
            assert_eq!(rows.len(), ROWS as usize);
            took
        })
        .collect();
    let first = times[0];
    times.sort_unstable();
    (first, times[ROUNDS / 2])
}

#[test]
#[ignore = "a measurement, of an optimised build on a quiet machine"]
fn all_rows_of_a_large_mailbox() {
    for is_ascending in [true, false] {
        let disk = Disk::simulated(&Simulated::instant());
        let options = Options { partitions: 1, ..Options::default() };
        let _store = prepare(&disk, &options, 1).expect("prepared");
        let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
        for step in 0..ROWS / 100 {
            let mut transaction = engine.transaction(0);
            for item in step * 100..step * 100 + 100 {
                let item =
                    if is_ascending { item } else { (u64::from(item) * 70_001 % u64::from(ROWS)) as u32 };
                transaction.put_row(1, 1, item, RowBody::None, [item as u8; 40]);
            }
            wait(&engine, transaction.commit()).expect("committed");
        }
        let fresh = time_of_all_rows(&engine);
        let done = engine.checkpoint().expect("there is something fresh").run();
        assert_eq!(done.error(), None);
        engine.install(done);
        let run = time_of_all_rows(&engine);
        println!("ascending {is_ascending}: fresh {fresh:?}, run {run:?}");
        for took in [fresh.0, fresh.1, run.0, run.1] {
            assert!(took < ENOUGH, "fresh {fresh:?}, run {run:?}");
        }
    }
}

/// Where the durable commits go: a folder of the file system to be measured, or else a temporary one.
const FOLDER: &str = "STORAGE_ENGINE_SPEED_FOLDER";
const EACH: Duration = Duration::from_millis(1500);
/// Between two looks at what has ended.
const NAP: Duration = Duration::from_micros(5);

struct Load {
    stats: Stats,
    waits: Vec<Duration>,
    took: Duration,
}

/// Lets this thread's short sleeps be short; without it they take 50 us more.
fn sleep_exactly() {
    let own = std::fs::read_link("/proc/thread-self").expect("Linux");
    let thread = own.file_name().expect("PID/task/TID").to_owned();
    let _ = std::fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1");
}

/// Commits of `bytes` each, `producers` at a time, each the next as soon as its last is durable.
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn load(engine: &Engine, producers: u32, bytes: usize) -> Load {
    let body: Arc<Vec<u8>> = Arc::new((0..bytes).map(|index| (index * 7) as u8).collect());
    let mut item = 0;
    let mut put = || -> (Commit, Instant) {
        item += 1;
        let mut transaction = engine.transaction(0);
        let body = transaction.add_body(Vec::new(), body.clone());
        transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
        (transaction.commit(), Instant::now())
    };
    let mut waits = Vec::new();
    let start = Instant::now();
    let mut waiting: Vec<(Commit, Instant)> = (0..producers).map(|_| put()).collect();
    while start.elapsed() < EACH {
        if engine.turn().acknowledged == 0 {
            // Spinning would keep the kernel's own threads, which flush, from a core of a small machine.
            std::thread::sleep(NAP);
            continue;
        }
        for waiting in &mut waiting {
            let Some(committed) = poll(&mut waiting.0) else { continue };
            committed.expect("committed");
            waits.push(waiting.1.elapsed());
            *waiting = put();
        }
    }
    let took = start.elapsed();
    settle(engine);
    waits.sort_unstable();
    Load { stats: engine.stats(), waits, took }
}

fn print_load(producers: u32, bytes: usize, load: &Load) {
    let Load { stats, waits, took } = load;
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_micros();
    // Hundredths of the bytes that were to be stored.
    let share = |part: u64| part * 100 / stats.body_bytes;
    println!(
        "{bytes:>6} B x {producers:>3}: {:>7}/s, p50 {:>5} us, p99 {:>6} us; batch {:>7} B, flush {:>5} us; written \
         {}% = log {}% (padding {}%) + zeroes {}%",
        waits.len() as u128 * 1_000_000 / took.as_micros(),
        at(50),
        at(99),
        stats.batch_bytes.mean(),
        stats.flush_nanos.mean() / 1000,
        share(stats.bytes_written + stats.zero_bytes),
        share(stats.bytes_written),
        share(stats.padding_bytes),
        share(stats.zero_bytes),
    );
}

#[test]
#[ignore = "a measurement, of an optimised build on a quiet machine"]
fn durable_commits() {
    let temporary = Folder::new("speed");
    sleep_exactly();
    let parent = std::env::var_os(FOLDER).map_or_else(|| temporary.0.clone(), PathBuf::from);
    for (producers, bytes) in [(1, 4 << 10), (8, 4 << 10), (32, 4 << 10), (1, 64 << 10), (32, 64 << 10)] {
        let folder: &Path = &parent.join(format!("speed-{}", std::process::id()));
        let disk = Disk::folder(folder);
        let options = Options { partitions: 1, fresh_bytes_max: usize::MAX, ..Options::default() };
        let store = prepare(&disk, &options, 1).expect("prepared");
        let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
        print_load(producers, bytes, &load(&engine, producers, bytes));
        drop((engine, store));
        std::fs::remove_dir_all(folder).expect("removed");
    }
}

/// Bytes of bodies behind the last checkpoint: as many as a replay may have to read.
const TAIL_BYTES: usize = 120 << 20;
/// Commits on their way at a time while the tail is made.
const TAIL_WAITING: usize = 64;
const OPENINGS: usize = 7;

#[test]
#[ignore = "a measurement, of an optimised build on a quiet machine"]
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn openings_after_a_kill() {
    let temporary = Folder::new("openings");
    let parent = std::env::var_os(FOLDER).map_or_else(|| temporary.0.clone(), PathBuf::from);
    let options = Options { partitions: 64, ..Options::default() };
    for bytes in [512, 4 << 10, 64 << 10] {
        let folder: &Path = &parent.join(format!("openings-{}", std::process::id()));
        let disk = Disk::folder(folder);
        let store = prepare(&disk, &options, 1).expect("prepared");
        let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
        let body: Arc<Vec<u8>> = Arc::new((0..bytes).map(|index| (index * 7) as u8).collect());
        let count = (TAIL_BYTES / bytes).min(100_000);
        for number in 0..count {
            let mut transaction = engine.transaction(number as u16 % options.partitions);
            let body = transaction.add_body(Vec::new(), body.clone());
            transaction.put_row(1, 1, number as u32 + 1, RowBody::New(body), [0; 40]);
            drop(transaction.commit());
            if number % TAIL_WAITING == 0 {
                settle(&engine);
            }
        }
        settle(&engine);
        drop((engine, store));
        let mut times: Vec<Duration> = (0..OPENINGS)
            .map(|_| {
                let store = prepare(&disk, &options, 1).expect("prepared");
                let start = Instant::now();
                let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
                let took = start.elapsed();
                assert_eq!(engine.highest_change(0, 1), count.div_ceil(64) as u64);
                drop((engine, store));
                took
            })
            .collect();
        times.sort_unstable();
        let (median, most) = (times[OPENINGS / 2], times[OPENINGS - 1]);
        println!("{count:>6} commits of {bytes:>6} B: opened in {median:.1?}, at most {most:.1?}");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
