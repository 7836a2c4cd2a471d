//! Orders of events that once were not thought of: answers that come too early, checkpoints that half fail, and a frame
//! that was cut off and is written again.

use std::sync::Arc;

use storage_engine::{Commit, Disk, Engine, Error, Options, RowBody, Simulated, StoreInfo, check, prepare};

use crate::support::{poll, settle, wait};

const SEGMENT: &str = "journal-00/00000001.log";

fn options() -> Options {
    Options { partitions: 2, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() }
}

fn open(simulated: &Simulated) -> (StoreInfo, Engine) {
    let disk = Disk::simulated(simulated);
    let store = prepare(&disk, &options(), 1).expect("prepared");
    (store, Engine::open(&disk, &options(), 0, 1).expect("opened"))
}

fn put(engine: &Engine, partition: u16, account: u64, item: u32, body: &[u8]) -> Commit {
    let mut transaction = engine.transaction(partition);
    let body = transaction.add_body(Vec::new(), Arc::new(body.to_vec()));
    transaction.put_row(account, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

#[test]
fn a_transaction_that_finds_nothing_to_do_waits_for_what_it_saw() {
    for fails in [false, true] {
        let simulated = Simulated::new(3);
        let (_store, engine) = open(&simulated);
        let mut first = engine.transaction(0);
        first.put_value(1, b"key", b"value");
        let first = first.commit();
        let second = engine.transaction(0);
        assert_eq!(second.value(1, b"key").as_deref(), Some(&b"value"[..]), "it sees what is proposed");
        assert!(second.is_empty());
        let mut second = second.commit();
        assert_eq!(poll(&mut second), None, "what it saw is not durable yet");
        simulated.fail_flushes(u32::from(fails));
        let first = wait(&engine, first);
        assert_eq!(first.is_err(), fails);
        assert_eq!(poll(&mut second).map(|second| second.is_err()), Some(fails));
        if !fails {
            settle(&engine);
            let mut idle = engine.transaction(0).commit();
            assert!(poll(&mut idle).expect("nothing is on its way").is_ok());
        }
    }
}

/// A checkpoint that fails at its flush number `failing`, and a further one, with a crash before event `event` of it.
/// None when the first one did not fail, or the second has no such event.
fn crash_in_the_checkpoint_after(failing: u32, event: usize) -> Option<Simulated> {
    let simulated = Simulated::new(9);
    let (_store, engine) = open(&simulated);
    for item in 0..5 {
        wait(&engine, put(&engine, 0, 1, item, &[item as u8; 300])).expect("committed");
        wait(&engine, put(&engine, 1, 1, item, &[item as u8; 300])).expect("committed");
    }
    settle(&engine);
    let job = engine.checkpoint().expect("there is something fresh");
    simulated.fail_flush_after(failing);
    let done = job.run();
    let has_failed = done.error().is_some();
    engine.install(done);
    if !has_failed {
        return None;
    }
    wait(&engine, put(&engine, 0, 1, 77, &[7; 300])).expect("committed");
    settle(&engine);
    let job = engine.checkpoint().expect("there is something fresh");
    simulated.crash_at(simulated.event_count() + event);
    let done = job.run();
    assert_eq!(done.error(), None);
    engine.install(done);
    simulated.crash_image()
}

#[test]
fn a_crash_in_the_checkpoint_after_one_that_failed_leaves_a_store_that_opens() {
    let mut count = 0;
    for failing in 0..20 {
        // Every other event with each flush, and the ones between with the next.
        for event in (failing as usize % 2..60).step_by(2) {
            let Some(image) = crash_in_the_checkpoint_after(failing, event) else { break };
            count += 1;
            let (store, engine) = open(&image);
            for item in [0, 1, 2, 3, 4, 77] {
                assert!(engine.row(0, 1, 1, item).is_some(), "{item}, flush {failing}, event {event}");
            }
            drop((engine, store));
            assert_eq!(check(&Disk::simulated(&image), &mut |_| {}).expect("checked").problems, []);
        }
    }
    assert!(count > 40, "{count} crashes");
}

#[test]
fn a_checkpoint_that_fails_half_way_leaves_no_runs_behind() {
    let simulated = Simulated::new(10);
    let (_store, engine) = open(&simulated);
    wait(&engine, put(&engine, 0, 1, 1, &[1])).expect("committed");
    wait(&engine, put(&engine, 1, 1, 1, &[1])).expect("committed");
    settle(&engine);
    let is_run = |name: &String| name.contains(".run");
    for _ in 0..3 {
        let job = engine.checkpoint().expect("there is something fresh");
        // The first partition's run has two flushes; the second partition's fails.
        simulated.fail_flush_after(2);
        let done = job.run();
        assert!(done.error().is_some());
        engine.install(done);
        assert_eq!(simulated.files().into_iter().filter(is_run).collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn a_frame_behind_a_cut_does_not_come_back_by_its_like() {
    let body: Vec<u8> = (0..2000u32).map(|index| (index * 7) as u8).collect();
    let simulated = Simulated::new(1);
    let (store, engine) = open(&simulated);
    wait(&engine, put(&engine, 0, 1, 1, &[1; 100])).expect("committed");
    settle(&engine);
    drop((engine, store));
    // A frame of account 1, of which one sector does not reach the disk.
    let first = simulated.crash();
    let (store, engine) = open(&first);
    wait(&engine, put(&engine, 0, 1, 10, &body)).expect("committed");
    settle(&engine);
    drop((engine, store));
    let lost = 4096 + 2 * 512..4096 + 3 * 512;
    let mut torn = first.bytes(SEGMENT).expect("there");
    torn[lost.clone()].fill(0);
    // It is cut off. Account 2 gets the same body, at the same place, and something more; both are in flight together,
    // so that neither says that the other was flushed.
    let mut seen = None;
    for _ in 0..200 {
        let second = first.crash();
        second.put(SEGMENT, torn.clone());
        let (_store, engine) = open(&second);
        assert!(engine.row(0, 1, 1, 10).is_none(), "it was cut");
        let same = put(&engine, 0, 2, 10, &body);
        engine.turn();
        let more = put(&engine, 0, 2, 11, &[5; 100]);
        wait(&engine, same).expect("committed");
        wait(&engine, more).expect("committed");
        settle(&engine);
        let bytes = second.bytes(SEGMENT).expect("there");
        let watermark = u32::from_le_bytes(bytes[8192 + 48..][..4].try_into().expect("four bytes"));
        if bytes[8192..].starts_with(b"AngF") && watermark < 4096 {
            seen = Some((second, bytes));
            break;
        }
    }
    let (second, bytes) = seen.expect("both are in flight together sooner or later");
    // The crash: of the first only the sector that was lost before reaches the disk, of the second all.
    let mut both = torn;
    both[lost.clone()].copy_from_slice(&bytes[lost]);
    both[8192..12288].copy_from_slice(&bytes[8192..12288]);
    second.put(SEGMENT, both);
    let (store, engine) = open(&second);
    assert!(engine.row(0, 1, 1, 10).is_none(), "cut off stays cut off");
    assert_eq!((engine.highest_change(0, 1), engine.highest_change(0, 2)), (1, 0));
    wait(&engine, put(&engine, 0, 2, 12, &[6; 100])).expect("committed");
    settle(&engine);
    drop((engine, store));
    assert_eq!(check(&Disk::simulated(&second), &mut |_| {}).expect("checked").problems, []);
}

#[test]
fn a_segment_that_cannot_be_readied_fails_every_commit_that_waits() {
    let simulated = Simulated::new(5);
    let (_store, engine) = open(&simulated);
    simulated.fail_registrations(1);
    let commits: Vec<Commit> = (0..3).map(|item| put(&engine, 0, 1, item, &[1; 5000])).collect();
    for commit in commits {
        assert!(matches!(wait(&engine, commit), Err(Error::Io { operation: "register", .. })));
    }
    assert!(engine.failed().is_some());
}
