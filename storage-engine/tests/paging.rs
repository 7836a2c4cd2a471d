//! Pages of changes: those of one change number come together, however many they are.

use storage_engine::{Change, Disk, Engine, Options, RowBody, Simulated, prepare};

use crate::support::wait;

fn put_many(engine: &Engine, items: std::ops::Range<u32>) {
    let mut transaction = engine.transaction(0);
    for item in items {
        transaction.put_row(1, 1 + item % 2, item, RowBody::None, [0; 40]);
    }
    wait(engine, transaction.commit()).expect("committed");
}

fn checkpoint(engine: &Engine) {
    engine.install(engine.checkpoint().expect("there is something fresh").run());
}

/// All changes, read a page at a time as a caller does: after the last change number of the page before.
fn by_pages(engine: &Engine, limit: usize) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let before = all.len();
        let after = all.last().map_or(0, |last| last.row.change);
        engine.changes(0, 1, after, limit, &mut all);
        if all.len() == before {
            return all;
        }
        // As many as asked for, and what belongs to the last one's number.
        let page = &all[before..];
        let last = page[page.len() - 1].row.change;
        assert!(page.iter().filter(|change| change.row.change != last).count() < limit);
    }
}

#[test]
fn a_page_never_splits_a_change_number() {
    let disk = Disk::simulated(&Simulated::instant());
    let options = Options { partitions: 1, ..Options::default() };
    let _store = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    for layers in 0..3 {
        put_many(&engine, 0..3);
        put_many(&engine, 3..53);
        put_many(&engine, 10..20);
        put_many(&engine, 60 + layers..61 + layers);
        let mut all = Vec::new();
        engine.changes(0, 1, 0, usize::MAX >> 1, &mut all);
        assert_eq!(all.len(), 54 + layers as usize);
        for limit in [1, 2, 3, 7, 40, 41, 100] {
            assert_eq!(by_pages(&engine, limit), all, "pages of {limit}");
        }
        let mut none = Vec::new();
        engine.changes(0, 1, 0, 0, &mut none);
        assert_eq!(none, []);
        // The same through a run, and through a run, fresh rows and both.
        checkpoint(&engine);
        assert_eq!(by_pages(&engine, 2), all);
    }
}
