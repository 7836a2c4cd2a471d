//! A process without a file descriptor left: commits and reads are refused for now, and nothing else happens.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use storage_engine::{Commit, Disk, Engine, Error, Options, RowBody, Simulated, prepare};

use crate::support::{Folder, run_ignored, settle, wait};

/// Where the child process finds the folder.
const FOLDER: &str = "STORAGE_ENGINE_DESCRIPTORS_FOLDER";

fn options() -> Options {
    Options { partitions: 1, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() }
}

fn put(engine: &Engine, item: u32) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(Vec::new(), Arc::new(vec![item as u8; 9000]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

/// Commits until one is refused; how many there were. A segment that is written to its end gives its descriptor back,
/// so they are taken again each time.
fn commit_until_refused(engine: &Engine, from: u32, take: &dyn Fn()) -> u32 {
    for item in from..from + 100 {
        take();
        if let Err(error) = wait(engine, put(engine, item)) {
            assert_eq!(error, Error::NoDescriptors);
            assert!(error.is_retryable());
            return item - from;
        }
        settle(engine);
    }
    panic!("commits go on without descriptors");
}

/// What is proposed has its descriptor; the segment after is refused, read on, and later taken.
fn exercise(engine: &Engine, take: &dyn Fn(), give: &dyn Fn()) {
    for item in 0..20 {
        wait(engine, put(engine, item)).expect("committed");
    }
    settle(engine);
    // Proposed while there are descriptors, over several segments, and written when there are none.
    let proposed: Vec<Commit> = (20..40).map(|item| put(engine, item)).collect();
    take();
    for commit in proposed {
        wait(engine, commit).expect("what was proposed needs no further descriptor");
    }
    settle(engine);
    let taken = commit_until_refused(engine, 40, take);
    assert_eq!(wait(engine, put(engine, 99)), Err(Error::NoDescriptors));
    assert_eq!(engine.failed(), None);
    assert!(engine.row(0, 1, 1, 39 + taken).is_some());
    assert!(engine.row(0, 1, 1, 40 + taken).is_none());
    if let Some(job) = engine.checkpoint() {
        let done = job.run();
        assert_eq!(done.error(), Some(&Error::NoDescriptors));
        engine.install(done);
    }
    let old = engine.row(0, 1, 1, 0).expect("there");
    let read = wait(engine, engine.body(&old.body));
    assert!(read.is_ok() || read == Err(Error::NoDescriptors), "{read:?}");
    give();
    for item in 0..40 + taken {
        let row = engine.row(0, 1, 1, item).expect("there");
        assert_eq!(wait(engine, engine.body(&row.body)).expect("read"), vec![item as u8; 9000]);
    }
    for item in 40 + taken..80 {
        wait(engine, put(engine, item)).expect("there are descriptors again");
    }
    let done = engine.checkpoint().expect("there is something fresh").run();
    assert_eq!(done.error(), None);
    engine.install(done);
    settle(engine);
    assert_eq!(engine.highest_change(0, 1), 80);
}

#[test]
fn a_simulated_disk_without_descriptors() {
    for seed in 0..10 {
        let simulated = Simulated::new(seed);
        let disk = Disk::simulated(&simulated);
        let _store = prepare(&disk, &options(), 1).expect("prepared");
        let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
        exercise(&engine, &|| simulated.refuse_opens(true), &|| simulated.refuse_opens(false));
    }
}

#[test]
fn a_process_without_descriptors() {
    let folder = Folder::new("descriptors");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).env(FOLDER, &folder.0);
    assert!(run_ignored(command, "descriptors::with_few_descriptors"), "sh can lower the limit");
}

#[test]
#[ignore = "run by the test above, in a process with few descriptors"]
fn with_few_descriptors() {
    let folder = std::env::var(FOLDER).expect("run by the test above");
    let disk = Disk::folder(Path::new(&folder));
    let _store = prepare(&disk, &options(), 1).expect("prepared");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    let taken = std::cell::RefCell::new(Vec::new());
    let take = || taken.borrow_mut().extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    exercise(&engine, &take, &|| taken.borrow_mut().clear());
}
