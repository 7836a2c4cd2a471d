//! A store of every released format opens for ever. `UPDATE=1 cargo test -p storage-engine -- --ignored fixture`
//! writes the fixture of the present format; a fixture of a released format is never written again. Format 1 is not
//! released: the checksums of meta blocks came into it late.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage_engine::{Disk, Engine, Options, RowBody, Simulated, check, prepare};

use crate::support::{settle, wait};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

fn options() -> Options {
    Options { partitions: 2, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() }
}

/// Every file of the fixture as a simulated disk, with the zeroes that were left out at their ends.
fn load() -> Simulated {
    let simulated = Simulated::new(1);
    let names = std::fs::read_to_string(fixture().join("FILES")).expect("the fixture is there");
    for line in names.lines() {
        let (name, length) = line.split_once(' ').expect("a name and a length");
        let mut bytes =
            std::fs::read(fixture().join(name.replace('/', "_"))).expect("listed files are there");
        bytes.resize(length.parse().expect("a number"), 0);
        simulated.put(name, bytes);
    }
    simulated
}

/// Everything the store says, as text.
fn dump(engine: &Engine) -> String {
    let mut text = String::new();
    for partition in 0..engine.partitions() {
        for account in engine.accounts(partition) {
            let highest = engine.highest_change(partition, account);
            writeln!(text, "account {partition}/{account} highest {highest}").expect("written");
            let mut changes = Vec::new();
            engine.changes(partition, account, 0, 1000, &mut changes);
            for change in changes {
                let row = change.row;
                let body = wait(engine, engine.body(&row.body)).expect("read");
                let meta = wait(engine, engine.meta(&row.body)).expect("read");
                let place = (row.collection, row.item, row.change, change.live, row.data[0]);
                writeln!(text, "row {place:?} [{}] [{}]", meta.escape_ascii(), body.escape_ascii())
                    .expect("written");
            }
            for (key, value) in engine.values(partition, account, b"", None, 1000) {
                writeln!(text, "value {} {}", key.escape_ascii(), value.escape_ascii()).expect("written");
            }
        }
    }
    text
}

#[test]
fn a_store_of_format_1_opens() {
    let disk = Disk::simulated(&load());
    let report = check(&disk, &mut |_| {}).expect("checked");
    assert_eq!(report.problems, []);
    assert_eq!((report.frames, report.runs, report.rows, report.values), (12, 2, 11, 5));
    let store = prepare(&disk, &options(), 1).expect("prepared");
    assert!(!store.created);
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    let expected = std::fs::read_to_string(fixture().join("EXPECTED")).expect("the fixture is there");
    assert_eq!(dump(&engine), expected);
}

/// Twelve transactions with every kind of op, half of them in runs, and an opening in between.
fn fill(disk: &Disk) {
    for half in 0..2u32 {
        let _store = prepare(disk, &options(), 1).expect("prepared");
        let engine = Engine::open(disk, &options(), 0, 1).expect("opened");
        for number in 0..6u32 {
            let partition = (number % 2) as u16;
            let mut transaction = engine.transaction(partition);
            let text = format!("Subject: {half} {number}\r\n\r\nHello.\r\n");
            let body = transaction.add_body(format!("meta {number}").into(), Arc::new(text.into()));
            let item = half * 10 + number;
            transaction.put_row(7, 1, item, RowBody::New(body), [number as u8; 40]);
            transaction.put_value(7, format!("key {}", number % 3).as_bytes(), &[number as u8, half as u8]);
            if number == 4 {
                transaction.put_row(8, 2, item, RowBody::None, [9; 40]);
                transaction.delete_row(7, 1, half * 10);
                transaction.delete_row(7, 1, 2);
            }
            if number == 5 {
                transaction.delete_value(7, b"key 0");
            }
            wait(&engine, transaction.commit()).expect("committed");
        }
        if half == 0 {
            let job = engine.checkpoint().expect("there is something fresh");
            engine.install(job.run());
        }
        settle(&engine);
    }
}

#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    assert_eq!(std::env::var("UPDATE").as_deref(), Ok("1"), "set UPDATE=1 to write the fixture");
    let simulated = Simulated::new(1);
    let disk = Disk::simulated(&simulated);
    fill(&disk);
    std::fs::create_dir_all(fixture()).expect("made");
    let mut names = String::new();
    for name in simulated.files() {
        let mut bytes = simulated.bytes(&name).expect("there");
        writeln!(names, "{name} {}", bytes.len()).expect("written");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        std::fs::write(fixture().join(name.replace('/', "_")), bytes).expect("written");
    }
    std::fs::write(fixture().join("FILES"), names).expect("written");
    let copy = Disk::simulated(&simulated.crash());
    let _store = prepare(&copy, &options(), 1).expect("prepared");
    let engine = Engine::open(&copy, &options(), 0, 1).expect("opened");
    std::fs::write(fixture().join("EXPECTED"), dump(&engine)).expect("written");
}
