//! No commit resolves before the flush that covers it, and failures of the disk end the acknowledgements.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use crate::support::{self, Random, poll, wait};
use storage_engine::{Disk, Engine, Error, Event, Options, RowBody, Simulated, StoreInfo, prepare};

fn open(simulated: &Simulated) -> (StoreInfo, Engine) {
    let options =
        Options { partitions: 2, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() };
    let disk = Disk::simulated(simulated);
    let store = prepare(&disk, &options, 1).expect("prepared");
    (store, Engine::open(&disk, &options, 0, 1).expect("opened"))
}

fn put(engine: &Engine, item: u32, length: usize) -> storage_engine::Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(Vec::new(), Arc::new(vec![item as u8; length]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

/// Whether everything up to `end` of the file was written, and flushed after its write.
fn is_flushed(events: &[Event], file: &str, end: u64) -> bool {
    let covers = |event: &Event| {
        matches!(event, Event::Write { file: other, offset, length }
            if other == file && (*offset..offset + length).contains(&(end - 1)))
    };
    let flushes = |event: &Event| matches!(event, Event::Flush { file: other } if other == file);
    let written = events.iter().rposition(covers);
    written.is_some_and(|written| events[written..].iter().any(flushes))
}

#[test]
fn no_commit_resolves_before_the_flush_that_covers_it() {
    for seed in 0..40 {
        let simulated = Simulated::new(seed);
        let (_store, engine) = open(&simulated);
        let mut random = Random::new(seed);
        let mut waiting = Vec::new();
        let mut resolved = 0;
        for item in 0..60 {
            waiting.push((item, put(&engine, item, random.below(3000) as usize)));
            if random.below(2) == 0 {
                engine.turn();
            }
            waiting.retain_mut(|(item, commit)| {
                let Some(result) = poll(commit) else {
                    assert_eq!(engine.row(0, 1, 1, *item), None, "visible before it is durable");
                    return true;
                };
                let receipt = result.expect("committed");
                let row = engine.row(0, 1, 1, *item).expect("applied when acknowledged");
                let file = format!("journal-00/{:08x}.log", receipt.position >> 32);
                let end = row.body.offset as u64 + row.body.length as u64;
                assert!(is_flushed(&simulated.events(), &file, end.max(1)));
                resolved += 1;
                false
            });
        }
        assert!(resolved > 0);
    }
}

#[test]
fn a_new_segment_is_acknowledged_only_after_its_name_is_durable() {
    let simulated = Simulated::new(5);
    let (_store, engine) = open(&simulated);
    for item in 0..40 {
        let receipt = wait(&engine, put(&engine, item, 5000)).expect("committed");
        let file = format!("journal-00/{:08x}.log", receipt.position >> 32);
        let events = simulated.events();
        let made = events.iter().position(|event| *event == Event::Create { file: file.clone() });
        let made = made.expect("the segment was made");
        let folder = Event::FlushFolder { folder: "journal-00".into() };
        assert!(events[made..].contains(&folder));
    }
    assert!(engine.stats().segment > 2);
}

#[test]
fn a_failed_write_or_flush_ends_all_acknowledgements() {
    for fails_write in [true, false] {
        let simulated = Simulated::new(3);
        let (_store, engine) = open(&simulated);
        wait(&engine, put(&engine, 1, 100)).expect("committed");
        if fails_write {
            simulated.fail_writes(1);
        } else {
            simulated.fail_flushes(1);
        }
        let commits: Vec<_> = (2..6).map(|item| put(&engine, item, 100)).collect();
        for commit in commits {
            assert!(matches!(wait(&engine, commit), Err(Error::Io { .. })));
        }
        assert!(matches!(engine.failed(), Some(Error::Io { .. })));
        assert_eq!(wait(&engine, put(&engine, 9, 1)), Err(Error::Poisoned));
        // What was acknowledged is still readable, and nothing else is.
        assert!(engine.row(0, 1, 1, 1).is_some());
        assert_eq!(engine.row(0, 1, 1, 2), None);
        assert!(engine.checkpoint().is_none());
    }
}

#[test]
fn a_full_disk_refuses_without_ending_the_engine() {
    let simulated = Simulated::new(4);
    let (_store, engine) = open(&simulated);
    wait(&engine, put(&engine, 0, 100)).expect("committed");
    support::settle(&engine);
    simulated.set_full(true);
    // What was zeroed or reserved ahead is there to be used; behind it commits are refused before they are proposed.
    let mut taken = 0;
    let refusal = loop {
        // Small ones, and some larger than the zeroes ahead.
        let length = if taken % 3 == 2 { 12_000 } else { 1500 };
        match wait(&engine, put(&engine, taken + 1, length)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        support::settle(&engine);
        assert!(taken < 100, "the disk is full");
    };
    assert_eq!(refusal, Error::Full);
    assert!(taken > 0, "the reserve holds some");
    assert_eq!(engine.failed(), None);
    assert!(engine.row(0, 1, 1, taken).is_some());
    assert_eq!(engine.row(0, 1, 1, taken + 1), None);

    simulated.set_full(false);
    support::settle(&engine);
    wait(&engine, put(&engine, taken + 1, 1500)).expect("there is room again");
    assert_eq!(engine.highest_change(0, 1), taken as u64 + 2);
}

#[test]
fn too_large_is_refused_and_uses_no_number() {
    let (_store, engine) = open(&Simulated::new(1));
    assert_eq!(wait(&engine, put(&engine, 1, 64 << 10)), Err(Error::TooLarge));
    let mut transaction = engine.transaction(0);
    transaction.put_value(1, &[0; 256], b"");
    assert_eq!(wait(&engine, transaction.commit()), Err(Error::TooLarge));
    let mut transaction = engine.transaction(0);
    assert_eq!(transaction.change(1), 1);
    assert!(transaction.is_empty());
    wait(&engine, transaction.commit()).expect("an empty transaction is nothing to wait for");
    assert_eq!(engine.highest_change(0, 1), 0);
    // The largest that fits: a whole segment.
    wait(&engine, put(&engine, 1, (64 << 10) - 300)).expect("committed");
    let row = engine.row(0, 1, 1, 1).expect("there");
    assert_eq!(wait(&engine, engine.body(&row.body)).expect("read"), vec![1; (64 << 10) - 300]);
    let range = wait(&engine, engine.body_range(&row.body, 65_000, 10_000)).expect("read");
    assert_eq!(range.len(), (64 << 10) - 300 - 65_000);
}

#[test]
fn changed_resolves_when_the_number_moves_and_not_before() {
    let (_store, engine) = open(&Simulated::new(2));
    let mut other = engine.changed(0, 2, 0);
    let mut changed = engine.changed(0, 1, 0);
    let dropped = engine.changed(0, 1, 0);
    assert_eq!(poll(&mut changed), None);
    drop(dropped);
    wait(&engine, put(&engine, 1, 1)).expect("committed");
    assert_eq!(poll(&mut changed), Some(1));
    assert_eq!(poll(&mut other), None);
    assert_eq!(poll(&mut engine.changed(0, 1, 1)), None);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_waker_is_woken_once_for_each_turn_that_has_something_to_submit() {
    let (_store, engine) = open(&Simulated::new(8));
    let count = Arc::new(Count::default());
    let woken = || count.0.load(Ordering::Relaxed);
    engine.set_waker(count.clone().into());
    assert_eq!(woken(), 0);
    let commits: Vec<_> = (0..3).map(|item| put(&engine, item, 10)).collect();
    assert_eq!(woken(), 1);
    // A pump that sets its waker anew before it has turned must not sleep over what is there.
    engine.set_waker(count.clone().into());
    assert_eq!(woken(), 2);
    engine.turn();
    engine.set_waker(count.clone().into());
    assert_eq!(woken(), 2);
    for commit in commits {
        wait(&engine, commit).expect("committed");
    }
    support::settle(&engine);
    assert_eq!(engine.turn(), storage_engine::TurnResult::default());
    let row = engine.row(0, 1, 1, 1).expect("there");
    let body = engine.body(&row.body);
    assert_eq!(woken(), 2, "an async function does nothing before it is polled");
    assert_eq!(wait(&engine, body).expect("read"), vec![1; 10]);
    assert_eq!(woken(), 3);
}

#[test]
fn counters_say_what_was_done() {
    let (_store, engine) = open(&Simulated::instant());
    for item in 0..5 {
        wait(&engine, put(&engine, item, 10)).expect("committed");
    }
    let row = engine.row(0, 1, 1, 1).expect("there");
    wait(&engine, engine.body(&row.body)).expect("read");
    let job = engine.checkpoint().expect("there is something fresh");
    assert!(engine.checkpoint().is_none(), "one is under way");
    engine.install(job.run());
    let stats = engine.stats();
    assert_eq!((stats.commits, stats.batches, stats.flushes), (5, 5, 5));
    assert_eq!((stats.bytes_written, stats.reads, stats.bytes_read), (5 * 4096, 1, 10));
    assert_eq!((stats.checkpoints, stats.runs, stats.fresh_bytes, stats.pending), (1, 1, 0, 0));
    assert_eq!((stats.batch_commits.count(), stats.batch_commits.max, stats.batch_commits.sum), (5, 1, 5));
    assert_eq!((stats.batch_bytes.sum, stats.batch_bytes.max), (5 * 4096, 4096));
    // A write and a flush each, of the disk's own steps; the first of a segment flushes the folder too.
    assert!(stats.flush_nanos.count() == 5 && (2000..=4000).contains(&stats.flush_nanos.max));
    let used = stats.bytes_written - stats.padding_bytes;
    assert!(used.is_multiple_of(8) && used / 5 > 80 + 10 && used / 5 < 300);
    assert_eq!((stats.in_flight, stats.replay_bytes), (0, 0));
    assert!((4 * 4096..5 * 4096).contains(&stats.journal_bytes));
    assert_eq!(stats.checkpoint_bytes, stats.run_bytes);
    assert_eq!((stats.body_bytes, stats.dead_body_bytes), (5 * 10, 0));
    assert!(engine.is_idle() && engine.checkpoint().is_none());
    let mut transaction = engine.transaction(0);
    transaction.delete_row(1, 1, 1);
    wait(&engine, transaction.commit()).expect("committed");
    assert_eq!(engine.stats().dead_body_bytes, 10);
}

#[test]
fn a_failed_checkpoint_loses_nothing_and_is_tried_again() {
    let simulated = Simulated::new(6);
    let (_store, engine) = open(&simulated);
    for item in 0..4 {
        wait(&engine, put(&engine, item, 10)).expect("committed");
    }
    let job = engine.checkpoint().expect("there is something fresh");
    wait(&engine, put(&engine, 2, 20)).expect("committed while frozen");
    support::settle(&engine);
    simulated.fail_flushes(1);
    let done = job.run();
    assert!(matches!(done.error(), Some(Error::Io { operation: "flush", .. })));
    engine.install(done);
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, 10, &mut rows);
    assert_eq!(
        rows.iter().map(|row| (row.item, row.change)).collect::<Vec<_>>(),
        [(0, 1), (1, 2), (2, 5), (3, 4)]
    );
    let job = engine.checkpoint().expect("there is still something fresh");
    let done = job.run();
    assert_eq!(done.error(), None);
    engine.install(done);
    let mut again = Vec::new();
    engine.rows(0, 1, 1, 0, 10, &mut again);
    assert_eq!(again, rows);
    let mut changes = Vec::new();
    engine.changes(0, 1, 0, 10, &mut changes);
    assert_eq!(changes.iter().map(|change| change.row.change).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn a_checkpoint_is_due_before_a_replay_becomes_long() {
    let disk = Disk::simulated(&Simulated::instant());
    let options = Options { partitions: 1, fresh_bytes_max: usize::MAX, ..Options::default() };
    let _store = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    let mut item = 0;
    while !engine.checkpoint_due() {
        wait(&engine, put(&engine, item, 16 << 20)).expect("committed");
        item += 1;
        assert!(item < 16, "256 MiB");
    }
    assert!((128 << 20..160 << 20).contains(&engine.stats().replay_bytes));
    engine.install(engine.checkpoint().expect("there is something fresh").run());
    assert!(!engine.checkpoint_due());
    assert_eq!(engine.stats().replay_bytes, 0);
}
