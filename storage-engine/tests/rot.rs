//! Rot in a run that is in use: no read gives it out, and the engine says what is wrong and stops.

use std::panic::{AssertUnwindSafe, catch_unwind};

use storage_engine::{Disk, Engine, Error, Options, RowBody, Simulated, prepare};

use crate::support::wait;

const RUN: &str = "index/0000/00000000.run";
/// Enough rows and values for several blocks of 64 KiB each.
const ROWS: u32 = 3000;
const VALUES: u32 = 400;

fn options() -> Options {
    Options { partitions: 1, ..Options::default() }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number:04}").into_bytes()
}

fn value(number: u32) -> Vec<u8> {
    vec![number as u8; 600]
}

/// A store whose one run holds rows of two accounts and the first one's values.
fn store() -> Simulated {
    let simulated = Simulated::instant();
    let disk = Disk::simulated(&simulated);
    let _store = prepare(&disk, &options(), 1).expect("prepared");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    let mut transaction = engine.transaction(0);
    for item in 0..ROWS {
        transaction.put_row(1, 1, item, RowBody::None, [item as u8; 40]);
        transaction.put_row(2, 1, item, RowBody::None, [item as u8; 40]);
    }
    for number in 0..VALUES {
        transaction.put_value(1, &key(number), &value(number));
    }
    wait(&engine, transaction.commit()).expect("committed");
    let done = engine.checkpoint().expect("there is something fresh").run();
    assert_eq!(done.error(), None);
    engine.install(done);
    simulated
}

fn open(simulated: &Simulated) -> Result<Engine, Error> {
    let disk = Disk::simulated(simulated);
    let _store = prepare(&disk, &options(), 1)?;
    Engine::open(&disk, &options(), 0, 1)
}

/// Runs reads of every kind, each that ends must be right; what the engine says in the end.
fn read_everything(engine: &Engine) -> Option<Error> {
    let attempt = |read: &dyn Fn()| {
        let is_refused = catch_unwind(AssertUnwindSafe(read)).is_err();
        assert!(!is_refused || engine.failed().is_some(), "a refused read says why");
    };
    attempt(&|| {
        let mut rows = Vec::new();
        engine.rows(0, 1, 1, 0, usize::MAX >> 1, &mut rows);
        assert!(rows.len() == ROWS as usize && rows.iter().all(|row| row.data == [row.item as u8; 40]));
    });
    attempt(&|| {
        let mut changes = Vec::new();
        engine.changes(0, 1, 0, usize::MAX >> 1, &mut changes);
        assert!(changes.len() == ROWS as usize && changes.iter().zip(0..).all(|(a, b)| a.row.item == b));
    });
    attempt(&|| {
        let values = engine.values(0, 1, b"", None, usize::MAX);
        assert!(values.len() == VALUES as usize);
        assert!(values.iter().zip(0..).all(|(pair, number)| *pair == (key(number), value(number))));
    });
    for item in (0..ROWS).step_by(100) {
        attempt(&|| assert_eq!(engine.row(0, 2, 1, item).expect("there").data, [item as u8; 40]));
    }
    for number in (0..VALUES).step_by(20) {
        attempt(&|| assert_eq!(engine.value(0, 1, &key(number)), Some(value(number))));
    }
    engine.failed()
}

#[test]
fn no_read_gives_out_a_rotten_block() {
    let simulated = store();
    assert_eq!(read_everything(&open(&simulated).expect("opened")), None);
    let length = simulated.bytes(RUN).expect("there").len() as u64;
    let mut at_opening = 0;
    for block in 0..length.div_ceil(64 << 10) {
        for offset in [100, 30_000, 65_000] {
            let at = (block << 16) + offset;
            let rotten = simulated.crash();
            if at >= length || !rotten.flip_bit(RUN, at, 3) {
                continue;
            }
            match open(&rotten) {
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt { what: "run", .. }), "{error}");
                    at_opening += 1;
                }
                Ok(engine) => {
                    let failed = read_everything(&engine);
                    let expected = "a block with the checksum written for it";
                    let said =
                        Error::Corrupt { what: "run", file: RUN.into(), offset: block << 16, expected };
                    assert_eq!(failed, Some(said), "byte {at}");
                    let mut transaction = engine.transaction(0);
                    transaction.put_value(3, b"key", b"value");
                    assert_eq!(wait(&engine, transaction.commit()), Err(Error::Poisoned));
                    assert!(engine.checkpoint().is_none());
                }
            }
        }
    }
    assert!(at_opening <= 3, "only the last block, with the accounts, is read at opening");
}

#[test]
fn rot_elsewhere_in_a_run_hinders_no_read() {
    let simulated = store();
    assert!(simulated.flip_bit(RUN, 290_000, 0));
    let engine = open(&simulated).expect("opened");
    // The first rows of one account, the last of the other, a value: none needs the rotten block.
    let mut rows = Vec::new();
    engine.rows(0, 1, 1, 0, 500, &mut rows);
    assert_eq!(rows.len(), 500);
    assert!(engine.row(0, 2, 1, ROWS - 1).is_some());
    assert_eq!(engine.value(0, 1, &key(VALUES - 1)), Some(value(VALUES - 1)));
    assert_eq!(engine.failed(), None);
}
