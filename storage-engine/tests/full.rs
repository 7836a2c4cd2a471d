//! A full device: the store opens and is read, commits are refused until there is room, and nothing is lost.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use storage_engine::{Commit, Disk, Engine, Error, Event, Options, RowBody, Simulated, StoreInfo, prepare};

use crate::support::{Folder, run_ignored, settle, wait};

/// Where the process that sees a small file system finds it.
const FOLDER: &str = "STORAGE_ENGINE_FULL_FOLDER";
const OPENED: &str = "journal-00/opened";

fn options() -> Options {
    Options { partitions: 2, segment_bytes: 1 << 20, batch_bytes_max: 16 << 10, ..Options::default() }
}

fn open(disk: &Disk) -> (StoreInfo, Engine) {
    let store = prepare(disk, &options(), 1).expect("prepared");
    let engine = Engine::open(disk, &options(), 0, 1).expect("opened");
    (store, engine)
}

fn put(engine: &Engine, item: u32) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(Vec::new(), Arc::new(vec![item as u8; 500]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

fn put_large(engine: &Engine, item: u32) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(Vec::new(), Arc::new(vec![item as u8; 30_000]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

/// Puts items above `highest`, with a checkpoint now and then, until there is no room; the highest that was taken.
fn put_until_full(engine: &Engine, mut highest: u32, put: fn(&Engine, u32) -> Commit) -> u32 {
    loop {
        match wait(engine, put(engine, highest + 1)) {
            Ok(_) => highest += 1,
            Err(error) => {
                assert_eq!(error, Error::Full);
                settle(engine);
                assert_eq!(engine.failed(), None);
                return highest;
            }
        }
        assert!(highest < 10_000, "the device is small");
        if highest.is_multiple_of(100)
            && let Some(job) = engine.checkpoint()
        {
            engine.install(job.run());
        }
    }
}

fn assert_items(engine: &Engine, expected: std::ops::RangeInclusive<u32>) {
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, usize::MAX >> 1, &mut rows);
    assert_eq!(rows.iter().map(|row| row.item).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    for row in rows {
        assert_eq!(wait(engine, engine.body(&row.body)).expect("read"), vec![row.item as u8; 500]);
    }
}

/// A store with rows in a run and rows in the tail of the log.
fn fill(disk: &Disk) {
    let (_store, engine) = open(disk);
    for item in 1..=3 {
        wait(&engine, put(&engine, item)).expect("committed");
    }
    let done = engine.checkpoint().expect("there is something fresh").run();
    assert_eq!(done.error(), None);
    engine.install(done);
    for item in 4..=6 {
        wait(&engine, put(&engine, item)).expect("committed");
    }
    settle(&engine);
}

#[test]
fn a_store_on_a_full_device_opens_and_is_read() {
    let simulated = Simulated::new(21);
    let disk = Disk::simulated(&simulated);
    fill(&disk);
    simulated.set_full(true);
    // However often it is opened: nothing needs room.
    for _ in 0..3 {
        let (_store, engine) = open(&disk);
        assert_items(&engine, 1..=6);
        for _ in 0..2 {
            assert_eq!(wait(&engine, put(&engine, 7)), Err(Error::Full));
            settle(&engine);
        }
        assert_eq!(engine.failed(), None);
        assert_items(&engine, 1..=6);
        assert_eq!(engine.highest_change(0, 1), 6);
        // An empty transaction needs no room either.
        wait(&engine, engine.transaction(0).commit()).expect("nothing to write");
    }
    let (store, engine) = open(&disk);
    assert_eq!(wait(&engine, put(&engine, 7)), Err(Error::Full));
    let before = simulated.event_count();
    simulated.set_full(false);
    wait(&engine, put(&engine, 7)).expect("there is room again");
    // The opening is noted, durably, before the first frame of its generation is written.
    let events = &simulated.events()[before..];
    let renamed = Event::Rename { from: format!("{OPENED}.new"), to: OPENED.into() };
    let noted = events.iter().position(|event| *event == renamed).expect("the opening is noted");
    let is_frame = |event: &Event| matches!(event, Event::Write { file, .. } if file.contains(".log"));
    let first = events.iter().position(is_frame).expect("the frame is written");
    assert!(events[noted..first].contains(&Event::FlushFolder { folder: "journal-00".into() }));
    wait(&engine, put(&engine, 8)).expect("committed");
    let notes = simulated.events()[before..].iter().filter(|event| **event == renamed).count();
    assert_eq!(notes, 1, "noted once");
    drop((engine, store));
    let (_store, engine) = open(&Disk::simulated(&simulated.crash()));
    assert_items(&engine, 1..=8);
}

#[test]
fn a_crash_at_any_moment_of_a_postponed_opening_loses_nothing() {
    let filled = Simulated::new(22);
    fill(&Disk::simulated(&filled));
    for event in 0..40 {
        let simulated = filled.crash();
        let disk = Disk::simulated(&simulated);
        simulated.set_full(true);
        let (_store, engine) = open(&disk);
        assert_eq!(wait(&engine, put(&engine, 7)), Err(Error::Full));
        simulated.set_full(false);
        simulated.crash_at(simulated.event_count() + event);
        for item in 7..=9 {
            wait(&engine, put(&engine, item)).expect("committed");
        }
        let Some(image) = simulated.crash_image() else { return };
        let (_store, engine) = open(&Disk::simulated(&image));
        let highest = engine.highest_change(0, 1) as u32;
        assert!((6..=9).contains(&highest));
        assert_items(&engine, 1..=highest);
        wait(&engine, put(&engine, highest + 1)).expect("committed");
        assert_items(&engine, 1..=highest + 1);
    }
    panic!("more events than three commits have");
}

#[test]
fn another_number_of_shards_needs_room_and_the_old_one_does_not() {
    let simulated = Simulated::new(23);
    let disk = Disk::simulated(&simulated);
    fill(&disk);
    simulated.set_full(true);
    assert_eq!(prepare(&disk, &options(), 2).expect_err("the device is full"), Error::Full);
    let (store, engine) = open(&disk);
    assert_items(&engine, 1..=6);
    drop((engine, store));
    simulated.set_full(false);
    let _store = prepare(&disk, &options(), 2).expect("there is room again");
    assert_items(&Engine::open(&disk, &options(), 0, 2).expect("opened"), 1..=6);
}

#[test]
fn a_checkpoint_that_finds_no_room_gives_back_what_it_took() {
    let simulated = Simulated::new(24);
    let disk = Disk::simulated(&simulated);
    let (_store, engine) = open(&disk);
    wait(&engine, put(&engine, 1)).expect("committed");
    let job = engine.checkpoint().expect("there is something fresh");
    simulated.fail_writes(1);
    let done = job.run();
    assert!(done.error().is_some());
    engine.install(done);
    assert!(!simulated.files().iter().any(|name| name.contains(".new")), "{:?}", simulated.files());
    assert_items(&engine, 1..=1);
}

#[test]
fn a_small_file_system_that_is_full() {
    let folder = Folder::new("full");
    std::fs::create_dir_all(&folder.0).expect("made");
    // A mount of its own, seen by the child alone, and gone with it.
    let mount = "mount -t tmpfs -o size=12m tmpfs \"$0\" || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", mount]).arg(&folder.0);
    command.env(FOLDER, &folder.0);
    if !run_ignored(command, "full::on_a_small_file_system") {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no small file system may be mounted on this machine");
    }
}

#[test]
#[ignore = "run by the test above, where a small file system is mounted"]
fn on_a_small_file_system() {
    let folder = std::env::var(FOLDER).expect("run by the test above");
    let disk = Disk::folder(Path::new(&folder));
    fill(&disk);
    let filler = Path::new(&folder).join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    // A file system that allocates late has some room again once it has flushed.
    while file.write_all(&[1; 4096]).is_ok() {
        while file.write_all(&[1; 4096]).is_ok() {}
        let _ = file.sync_all();
    }
    drop(file);
    let (store, engine) = open(&disk);
    assert_items(&engine, 1..=6);
    // Some file systems keep room for small files; then what was zeroed ahead is there to be used.
    let mut highest = put_until_full(&engine, 6, put);
    drop((engine, store));
    let (store, engine) = open(&disk);
    assert_items(&engine, 1..=highest);
    highest = put_until_full(&engine, highest, put);
    std::fs::remove_file(&filler).expect("removed");
    for item in highest + 1..highest + 4 {
        wait(&engine, put(&engine, item)).expect("there is room again");
    }
    settle(&engine);
    drop((engine, store));
    let (store, engine) = open(&disk);
    assert_items(&engine, 1..=highest + 3);
    // Now the store itself fills the device, zeroes ahead, checkpoints and all.
    highest = put_until_full(&engine, highest + 3, put_large);
    if let Some(job) = engine.checkpoint() {
        engine.install(job.run());
    }
    drop((engine, store));
    let (_store, engine) = open(&disk);
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, usize::MAX >> 1, &mut rows);
    assert_eq!(rows.len(), highest as usize);
    assert_eq!(engine.failed(), None);
}
