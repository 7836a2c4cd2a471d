//! Damage: a torn tail is cut, corruption before the watermark is refused, frames behind a cut never come back,
//! and `check` finds what is wrong.

use std::sync::Arc;

use crate::support::wait;
use storage_engine::{Disk, Engine, Error, Metas, Options, RowBody, Simulated, check, prepare};

const SEGMENT: &str = "journal-00/00000001.log";

fn options() -> Options {
    Options { partitions: 1, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() }
}

fn open(simulated: &Simulated) -> Result<Engine, Error> {
    let disk = Disk::simulated(simulated);
    let _store = prepare(&disk, &options(), 1)?;
    Engine::open(&disk, &options(), 0, 1)
}

fn put(engine: &Engine, item: u32) -> u64 {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(b"meta".to_vec(), Arc::new(vec![b'x'; 700]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    wait(engine, transaction.commit()).expect("committed").position & 0xffff_ffff
}

fn is_run(name: &str) -> bool {
    name.strip_suffix(".run").is_some()
}

fn items(engine: &Engine) -> Vec<u32> {
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, 1000, &mut rows);
    rows.iter().map(|row| row.item).collect()
}

/// A store with six transactions, each in a batch of its own; the offsets of their frames.
fn store_of_six(seed: u64) -> (Simulated, Vec<u64>) {
    let simulated = Simulated::new(seed);
    let engine = open(&simulated).expect("opened");
    let offsets = (1..=6).map(|item| put(&engine, item)).collect();
    crate::support::settle(&engine);
    (simulated, offsets)
}

#[test]
fn any_flipped_bit_before_the_watermark_is_refused() {
    let (simulated, offsets) = store_of_six(1);
    for offset in &offsets[..5] {
        for byte in (0..64).chain([64, 100, 400, 800]) {
            let damaged = simulated.crash();
            assert!(damaged.flip_bit(SEGMENT, offset + byte, 3));
            let error = open(&damaged).expect_err("a flushed frame is damaged");
            assert!(matches!(error, Error::Corrupt { what: "frame", .. }), "{error}");
        }
    }
}

#[test]
fn damage_of_the_last_frame_is_refused_once_an_opening_has_read_it() {
    let (simulated, offsets) = store_of_six(2);
    let torn = simulated.crash();
    torn.flip_bit(SEGMENT, offsets[5] + 70, 1);
    // Nothing says that the last batch was ever flushed: it is taken for a torn tail.
    assert_eq!(items(&open(&torn).expect("opened")), [1, 2, 3, 4, 5]);

    let read = simulated.crash();
    assert_eq!(items(&open(&read).expect("opened")), [1, 2, 3, 4, 5, 6]);
    read.flip_bit(SEGMENT, offsets[5] + 70, 1);
    assert!(matches!(open(&read), Err(Error::Corrupt { .. })));
}

#[test]
fn a_frame_behind_a_cut_tail_never_comes_back() {
    // A tail of three batches in flight, of which the first is torn and the others are whole.
    let (simulated, offsets) = store_of_six(3);
    let segment = simulated.bytes(SEGMENT).expect("there");
    let stale = segment[offsets[4] as usize..].to_vec();
    let torn = simulated.crash();
    // Frames 5 and 6 carry watermarks before 4's end only if written so; cut the log after frame 4 instead.
    let mut cut = segment[..offsets[4] as usize].to_vec();
    cut.resize(segment.len(), 0);
    torn.put(SEGMENT, cut);
    let engine = open(&torn).expect("opened");
    assert_eq!(items(&engine), [1, 2, 3, 4]);
    // The new generation writes one frame where 5 was; 6 of the old generation stands right behind it again.
    assert_eq!(put(&engine, 50), offsets[4]);
    crate::support::settle(&engine);
    let mut mixed = torn.bytes(SEGMENT).expect("there");
    let from = offsets[5] as usize;
    mixed[from..from + 4096].copy_from_slice(&stale[from - offsets[4] as usize..][..4096]);
    drop(engine);
    let mixed_disk = torn.crash();
    mixed_disk.put(SEGMENT, mixed);
    // Its number, place, end of predecessor and checksum all fit; only its generation is old.
    let opened = open(&mixed_disk);
    match opened {
        Ok(engine) => assert_eq!(items(&engine), [1, 2, 3, 4, 50]),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_missing_segment_or_index_file_is_refused() {
    let (simulated, _) = store_of_six(4);
    let engine = open(&simulated).expect("opened");
    let job = engine.checkpoint().expect("there is something fresh");
    engine.install(job.run());
    drop(engine);
    let names: Vec<String> = simulated.files();
    for name in names.iter().filter(|name| is_run(name) || name.contains("manifest")) {
        for byte in [0, 20, 50] {
            let damaged = simulated.crash();
            assert!(damaged.flip_bit(name, byte, 0), "{name}");
            // Zeroes between fields carry nothing, so a flip there need not be seen at opening; `check` sees it.
            if open(&damaged).is_ok() {
                let report = check(&Disk::simulated(&damaged), &mut |_| {}).expect("checked");
                assert!(!report.problems.is_empty(), "{name} at {byte}");
            }
        }
    }
    let emptied = simulated.crash();
    emptied.put(SEGMENT, Vec::new());
    assert!(matches!(open(&emptied), Err(Error::Corrupt { .. })));
    assert!(matches!(open(&no_store(&simulated)), Err(Error::Corrupt { what: "store", .. })));
}

/// The same files without the one that says what the store is.
fn no_store(simulated: &Simulated) -> Simulated {
    let other = Simulated::new(0);
    for name in simulated.files().iter().filter(|name| *name != "store") {
        other.put(name, simulated.bytes(name).expect("there"));
    }
    other
}

#[test]
fn check_finds_every_flipped_bit_of_a_body_a_run_and_a_frame() {
    let (simulated, offsets) = store_of_six(5);
    let disk = Disk::simulated(&simulated);
    let engine = open(&simulated).expect("opened");
    let job = engine.checkpoint().expect("there is something fresh");
    engine.install(job.run());
    drop(engine);
    let clean = check(&disk, &mut |_| {}).expect("checked");
    assert_eq!((clean.problems.len(), clean.frames, clean.rows, clean.bodies), (0, 6, 6, 6));
    assert_eq!(clean.body_bytes, 6 * 700);

    let body = simulated.crash();
    body.flip_bit(SEGMENT, offsets[2] + 300, 0);
    // The checkpoint covers the frame, so the store opens; the body's own checksum stops it at reading.
    let engine = open(&body).expect("opened");
    let row = engine.row(0, 1, 1, 3).expect("there");
    assert!(matches!(wait(&engine, engine.body(&row.body)), Err(Error::Corrupt { what: "body", .. })));
    drop(engine);
    let report = check(&Disk::simulated(&body), &mut |_| {}).expect("checked");
    assert!(
        report.problems.iter().any(|problem| matches!(problem.error, Error::Corrupt { what: "body", .. }))
    );
    assert!(
        report.problems.iter().any(|problem| matches!(problem.error, Error::Corrupt { what: "frame", .. }))
    );

    let run = simulated.files().into_iter().find(|name| is_run(name)).expect("one run");
    let length = simulated.bytes(&run).expect("there").len() as u64;
    for byte in (0..length).step_by(7) {
        let damaged = simulated.crash();
        damaged.flip_bit(&run, byte, 5);
        let report = check(&Disk::simulated(&damaged), &mut |_| {}).expect("checked");
        assert!(!report.problems.is_empty(), "byte {byte} of the run");
    }
}

#[test]
fn a_newer_format_and_a_second_opener_are_refused() {
    let (simulated, _) = store_of_six(6);
    let mut store = simulated.bytes("store").expect("there");
    store[8] = 9;
    let newer = simulated.crash();
    newer.put("store", store);
    assert_eq!(open(&newer).expect_err("newer"), Error::Version { found: 9, known: 1 });

    let disk = Disk::simulated(&simulated);
    let held = prepare(&disk, &options(), 1).expect("prepared");
    assert_eq!(prepare(&disk, &options(), 1).expect_err("held"), Error::Locked);
    assert!(matches!(check(&disk, &mut |_| {}), Err(Error::Locked)));
    drop(held);
    prepare(&disk, &options(), 1).expect("free again");
}

#[test]
fn every_flipped_bit_of_a_meta_block_is_noticed() {
    let (simulated, _) = store_of_six(7);
    let engine = open(&simulated).expect("opened");
    engine.install(engine.checkpoint().expect("there is something fresh").run());
    let body = engine.row(0, 1, 1, 3).expect("there").body;
    assert_eq!(body.meta_length, 8, "four bytes and their checksum");
    for bit in 0..64 {
        let offset = body.offset as u64 + bit / 8;
        assert!(simulated.flip_bit(SEGMENT, offset, (bit % 8) as u8));
        assert!(matches!(wait(&engine, engine.meta(&body)), Err(Error::Corrupt { what: "body", .. })));
        let mut metas = Metas::default();
        wait(&engine, engine.metas(&[body], &mut metas));
        assert_eq!(metas.get(0), None);
        assert!(simulated.flip_bit(SEGMENT, offset, (bit % 8) as u8));
    }
    assert_eq!(wait(&engine, engine.meta(&body)).expect("read"), b"meta");
    drop(engine);
    assert!(simulated.flip_bit(SEGMENT, body.offset as u64 + 7, 0));
    let report = check(&Disk::simulated(&simulated), &mut |_| {}).expect("checked");
    let is_meta = |error: &Error| matches!(error, Error::Corrupt { what: "body", .. });
    assert!(report.problems.iter().any(|problem| is_meta(&problem.error)));
}
