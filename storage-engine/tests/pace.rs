//! Where the log is written by load: small batches over zeroes that went ahead, large ones straight into reserved blocks.

use std::sync::Arc;

use storage_engine::{Commit, Disk, Engine, Error, Options, RowBody, Simulated, StoreInfo, check, prepare};

use crate::support::{Random, settle, wait};

const LARGE: usize = 40_000;
const SMALL: usize = 100;

fn options() -> Options {
    Options { partitions: 1, segment_bytes: 4 << 20, batch_bytes_max: 64 << 10, ..Options::default() }
}

fn open(simulated: &Simulated) -> (StoreInfo, Engine) {
    let disk = Disk::simulated(simulated);
    let store = prepare(&disk, &options(), 1).expect("prepared");
    (store, Engine::open(&disk, &options(), 0, 1).expect("opened"))
}

fn put(engine: &Engine, item: u32, bytes: usize) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(Vec::new(), Arc::new(vec![item as u8; bytes]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

/// Rounds of a few at a time, so that batches stand in line; the item after the last.
fn load(engine: &Engine, mut item: u32, rounds: u32, bytes: usize) -> u32 {
    for _ in 0..rounds {
        let commits: Vec<Commit> = (item..item + 6).map(|item| put(engine, item, bytes)).collect();
        item += 6;
        for commit in commits {
            wait(engine, commit).expect("committed");
        }
    }
    settle(engine);
    item
}

#[test]
fn zeroes_stop_for_large_batches_and_come_back_for_small_ones() {
    let (_store, engine) = open(&Simulated::new(31));
    let item = load(&engine, 0, 20, SMALL);
    let ahead = engine.stats().zero_bytes;
    assert!(ahead > 0, "small batches are written over zeroes");
    let item = load(&engine, item, 30, LARGE);
    let straight = engine.stats();
    let item = load(&engine, item, 60, LARGE);
    let later = engine.stats();
    assert_eq!(later.zero_bytes, straight.zero_bytes, "every byte is written once");
    assert!(later.segment > straight.segment, "in new segments too");
    // One at a time, each in an idle log.
    for item in item..item + 200 {
        wait(&engine, put(&engine, item, SMALL)).expect("committed");
    }
    settle(&engine);
    assert!(engine.stats().zero_bytes > later.zero_bytes, "zeroes go ahead again");
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, usize::MAX >> 1, &mut rows);
    assert_eq!(rows.len() as u32, item + 200);
}

#[test]
fn a_crash_of_straight_batches_loses_nothing_whatever_stands_behind_the_log() {
    let mut chance = Random::new(7);
    for seed in 0..40 {
        let simulated = Simulated::new(100 + seed);
        let (store, engine) = open(&simulated);
        let durable = load(&engine, 0, 12, LARGE);
        let zero_bytes = engine.stats().zero_bytes;
        simulated.crash_at(simulated.event_count() + chance.below(20) as usize);
        let item = load(&engine, durable, 5, LARGE);
        assert_eq!(engine.stats().zero_bytes, zero_bytes, "straight");
        let segment = format!("journal-00/{:08x}.log", engine.stats().segment);
        drop((engine, store));
        let image = simulated.crash_image().expect("five rounds have more events");
        // Blocks that were given to the log may hold anything: what somebody deleted, for one.
        if let Some(mut bytes) = image.bytes(&segment) {
            bytes.extend((0..64 << 10).map(|_| chance.next() as u8));
            bytes.truncate(options().segment_bytes as usize);
            image.put(&segment, bytes);
        }
        let (store, engine) = open(&image);
        let highest = engine.highest_change(0, 1) as u32;
        assert!((durable..=item).contains(&highest), "{highest} of {durable} to {item}");
        for at in [0, durable - 1, highest - 1] {
            let row = engine.row(0, 1, 1, at).expect("acknowledged");
            assert_eq!(wait(&engine, engine.body(&row.body)).expect("read"), vec![at as u8; LARGE]);
        }
        let next = load(&engine, highest, 2, LARGE);
        settle(&engine);
        drop((engine, store));
        let (_store, engine) = open(&image.crash());
        assert_eq!(engine.highest_change(0, 1) as u32, next);
        drop(engine);
        assert_eq!(check(&Disk::simulated(&image), &mut |_| {}).expect("checked").problems, []);
    }
}

#[test]
fn when_one_of_two_straight_batches_fails_nothing_behind_it_is_acknowledged() {
    for seed in 0..40 {
        let simulated = Simulated::new(200 + seed);
        let (store, engine) = open(&simulated);
        let durable = load(&engine, 0, 12, LARGE);
        if seed % 2 == 0 {
            simulated.fail_writes(1);
        } else {
            simulated.fail_flush_after((seed / 2 % 3) as u32);
        }
        let commits: Vec<Commit> = (durable..durable + 6).map(|item| put(&engine, item, LARGE)).collect();
        let results: Vec<bool> = commits.into_iter().map(|commit| wait(&engine, commit).is_ok()).collect();
        let acknowledged = results.iter().take_while(|is_ok| **is_ok).count();
        assert!(acknowledged < 6 && results[acknowledged..].iter().all(|is_ok| !is_ok), "{results:?}");
        assert!(engine.failed().is_some());
        drop((engine, store));
        let image = simulated.crash();
        let (store, engine) = open(&image);
        let highest = engine.highest_change(0, 1) as u32;
        assert!((durable + acknowledged as u32..=durable + 6).contains(&highest), "{highest}");
        let next = load(&engine, highest, 2, LARGE);
        drop((engine, store));
        let (_store, engine) = open(&image.crash());
        assert_eq!(engine.highest_change(0, 1) as u32, next);
    }
}

#[test]
fn a_full_disk_refuses_straight_batches_and_takes_nothing_back() {
    let simulated = Simulated::new(9);
    let (store, engine) = open(&simulated);
    let mut item = load(&engine, 0, 30, LARGE);
    simulated.set_full(true);
    let refusal = loop {
        match wait(&engine, put(&engine, item, LARGE)) {
            Ok(_) => item += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refusal, engine.failed()), (Error::Full, None));
    simulated.set_full(false);
    let item = load(&engine, item, 5, LARGE);
    drop((engine, store));
    let (_store, engine) = open(&simulated.crash());
    assert_eq!(engine.highest_change(0, 1) as u32, item);
}
