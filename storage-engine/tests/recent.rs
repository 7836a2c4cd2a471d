//! What was stored last is told without asking the disk.

use std::sync::Arc;

use storage_engine::{BodyRef, Disk, Engine, Metas, Options, RowBody, Simulated, prepare};

use crate::support::{Folder, settle, wait};

const MESSAGES: u32 = 500;

/// Stores messages and gives them in their order: several in a transaction, some without a block.
fn store(engine: &Engine) -> Vec<BodyRef> {
    for first in (0..MESSAGES).step_by(5) {
        let mut transaction = engine.transaction(0);
        for item in first..first + 5 {
            let body = transaction.add_body(meta(item), Arc::new(vec![item as u8; 3000]));
            transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
        }
        wait(engine, transaction.commit()).expect("committed");
    }
    settle(engine);
    (0..MESSAGES).map(|item| engine.row(0, 1, 1, item).expect("there").body).collect()
}

fn meta(item: u32) -> Vec<u8> {
    let length = if item.is_multiple_of(7) { 0 } else { 50 + item as usize % 40 };
    vec![item as u8; length]
}

/// Asks for all; gives how many reads that took.
fn ask(engine: &Engine, bodies: &[BodyRef]) -> u64 {
    let (before, mut metas) = (engine.stats().reads, Metas::default());
    wait(engine, engine.metas(bodies, &mut metas));
    for item in 0..MESSAGES {
        let want = Some(meta(item)).filter(|meta| !meta.is_empty());
        assert_eq!(metas.get(item as usize).map(<[u8]>::to_vec), want, "{item}");
    }
    engine.stats().reads - before
}

#[test]
fn meta_blocks_of_what_was_stored_last_need_no_read() {
    let folder = Folder::new("recent");
    for disk in [Disk::folder(&folder.0), Disk::simulated(&Simulated::new(5))] {
        let all = Options { partitions: 1, segment_bytes: 1 << 20, ..Options::default() };
        let kept = prepare(&disk, &all, 1).expect("prepared");
        let engine = Engine::open(&disk, &all, 0, 1).expect("opened");
        let bodies = store(&engine);
        assert_eq!(ask(&engine, &bodies), 0);
        drop((engine, kept));
        // After a start nothing is kept.
        let _kept = prepare(&disk, &all, 1).expect("prepared");
        let engine = Engine::open(&disk, &all, 0, 1).expect("opened");
        assert!(ask(&engine, &bodies) > 0);
    }
}

#[test]
fn the_oldest_are_let_go_of_and_read_again() {
    let some =
        Options { partitions: 1, segment_bytes: 1 << 20, recent_bytes_max: 16 << 10, ..Options::default() };
    let disk = Disk::simulated(&Simulated::new(6));
    let _kept = prepare(&disk, &some, 1).expect("prepared");
    let engine = Engine::open(&disk, &some, 0, 1).expect("opened");
    let bodies = store(&engine);
    assert!(ask(&engine, &bodies) > 0);
    let (last, mut metas) = (&bodies[MESSAGES as usize - 50..], Metas::default());
    let before = engine.stats().reads;
    wait(&engine, engine.metas(last, &mut metas));
    assert_eq!(engine.stats().reads, before, "the last ones are kept");
    // A row that says what is not so is not believed, though what stands there is kept.
    let wrong = [
        BodyRef { meta_crc: last[1].meta_crc ^ 1, ..last[1] },
        BodyRef { meta_length: last[2].meta_length - 1, ..last[2] },
    ];
    wait(&engine, engine.metas(&wrong, &mut metas));
    assert_eq!((metas.get(0), metas.get(1)), (None, None));
}

#[test]
fn a_body_in_memory_is_appended_and_another_one_is_not() {
    let folder = Folder::new("append-body");
    let disk = Disk::folder(&folder.0);
    let options = Options { partitions: 1, segment_bytes: 1 << 20, ..Options::default() };
    let _kept = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    let body = store(&engine)[400];
    let mut out = b"before ".to_vec();
    // It was written past the page cache, so the first time it may have to be waited for.
    if !engine.append_body(&body, &mut out) {
        assert_eq!(out, b"before ");
        assert_eq!(wait(&engine, engine.body(&body)).expect("read"), vec![400u32 as u8; 3000]);
        assert!(engine.append_body(&body, &mut out));
    }
    assert_eq!(out, [b"before ".to_vec(), vec![400u32 as u8; 3000]].concat());
    // Where it is not, and what it is not.
    for wrong in [
        BodyRef { crc: body.crc ^ 1, ..body },
        BodyRef { segment: 99, ..body },
        BodyRef { offset: (1 << 20) - 10, ..body },
    ] {
        assert!(!engine.append_body(&wrong, &mut out));
        assert_eq!(out.len(), 3007);
    }
}
