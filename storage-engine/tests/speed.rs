//! What the README says a read of a large mailbox costs, measured: `cargo test --release -p storage-engine speed --
//! --ignored`.

use std::time::{Duration, Instant};

use storage_engine::{Disk, Engine, Options, Row, RowBody, Simulated, prepare};

use crate::support::wait;

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
