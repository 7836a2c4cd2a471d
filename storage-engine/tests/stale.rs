//! Pages of the system's memory that are older than what was written past it: the kernel takes them out with each such
//! write, and where it cannot, since somebody else reads one at that moment, it only warns.

use std::ops::Range;
use std::sync::Arc;

use storage_engine::{
    BodyRef, Commit, Disk, Engine, Error, Metas, Options, RowBody, Simulated, StoreInfo, check, prepare,
};

use crate::support::{settle, wait};

const SEGMENT: &str = "journal-00/00000001.log";

fn open(simulated: &Simulated) -> (StoreInfo, Engine) {
    let options =
        Options { partitions: 1, segment_bytes: 1 << 20, recent_bytes_max: 0, ..Options::default() };
    let disk = Disk::simulated(simulated);
    let store = prepare(&disk, &options, 1).expect("prepared");
    (store, Engine::open(&disk, &options, 0, 1).expect("opened"))
}

fn put(engine: &Engine, item: u32) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(format!("meta {item}").into_bytes(), Arc::new(vec![item as u8; 9000]));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

/// Where the body and its meta block stand.
fn range(body: &BodyRef) -> Range<usize> {
    body.offset as usize..(body.offset + body.meta_length + body.length) as usize
}

#[test]
fn what_is_not_right_in_memory_is_read_from_the_disk() {
    for instant in [true, false] {
        let simulated = if instant { Simulated::instant() } else { Simulated::new(3) };
        let (_store, engine) = open(&simulated);
        for item in 1..=3 {
            wait(&engine, put(&engine, item)).expect("committed");
        }
        settle(&engine);
        let bodies: Vec<BodyRef> =
            (1..=3).map(|item| engine.row(0, 1, 1, item).expect("there").body).collect();
        let stale = || assert!(simulated.make_stale(SEGMENT, range(&bodies[1])));
        stale();
        let mut out = b"before".to_vec();
        assert!(!engine.append_body(&bodies[1], &mut out), "it is not right in memory");
        assert_eq!(out, b"before");
        assert_eq!(engine.append_body(&bodies[2], &mut out), instant);
        assert_eq!(out.len(), if instant { 9006 } else { 6 });
        assert_eq!(wait(&engine, engine.body(&bodies[1])).expect("read"), vec![2; 9000]);
        stale();
        assert_eq!(wait(&engine, engine.meta(&bodies[1])).expect("read"), b"meta 2");
        stale();
        let mut metas = Metas::default();
        wait(&engine, engine.metas(&bodies, &mut metas));
        assert!((0..3).all(|index| metas.get(index) == Some(format!("meta {}", index + 1).as_bytes())));
        // What is rotten on the disk too stays an error.
        assert!(simulated.flip_bit(SEGMENT, range(&bodies[1]).end as u64 - 1, 0));
        assert!(simulated.flip_bit(SEGMENT, range(&bodies[1]).start as u64, 0));
        assert!(matches!(wait(&engine, engine.body(&bodies[1])), Err(Error::Corrupt { what: "body", .. })));
        assert!(matches!(wait(&engine, engine.meta(&bodies[1])), Err(Error::Corrupt { what: "body", .. })));
        wait(&engine, engine.metas(&bodies, &mut metas));
        assert_eq!((metas.get(0), metas.get(1)), (Some(&b"meta 1"[..]), None));
    }
}

#[test]
fn an_opening_after_a_kill_does_not_take_stale_pages_for_the_end_of_the_log() {
    for last in 1..=3 {
        let simulated = Simulated::new(4);
        let (store, engine) = open(&simulated);
        for item in 1..=3 {
            wait(&engine, put(&engine, item)).expect("committed");
        }
        settle(&engine);
        let start = engine.row(0, 1, 1, last).expect("there").body.offset as usize / 4096 * 4096;
        drop((engine, store));
        let killed = simulated.kill();
        assert!(killed.make_stale(SEGMENT, start..usize::MAX));
        let (store, engine) = open(&killed);
        assert_eq!(engine.highest_change(0, 1), 3, "from {last} on");
        drop((engine, store));
        assert_eq!(check(&Disk::simulated(&killed), &mut |_| {}).expect("checked").problems, []);
    }
}
