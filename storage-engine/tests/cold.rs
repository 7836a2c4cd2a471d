use crate::support::{Folder, settle, wait};
use std::time::Instant;
use storage_engine::{Disk, Engine, Options, RowBody, prepare};
#[test]
#[ignore = "temporary"]
#[allow(clippy::disallowed_methods)]
fn cold() {
    let folder = Folder::new("cold");
    let options = Options { partitions: 1, ..Options::default() };
    let disk = Disk::folder(&folder.0);
    let store = prepare(&disk, &options, 1).unwrap();
    let engine = Engine::open(&disk, &options, 0, 1).unwrap();
    for step in 0..10u32 {
        let mut transaction = engine.transaction(0);
        for item in 0..10_000 {
            transaction.put_row(1, 1, step * 10_000 + item, RowBody::None, [0; 40]);
        }
        wait(&engine, transaction.commit()).unwrap();
    }
    engine.install(engine.checkpoint().unwrap().run());
    settle(&engine);
    drop((engine, store));
    for round in 0..3 {
        let run = folder.0.join("index/0000/00000000.run");
        std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("dd if={} iflag=nocache count=0 2>/dev/null", run.display()))
            .status()
            .unwrap();
        let _store = prepare(&disk, &options, 1).unwrap();
        let t = Instant::now();
        let engine = Engine::open(&disk, &options, 0, 1).unwrap();
        println!("round {round} open {:?}", t.elapsed());
        let mut times: Vec<_> = (0..2000u32)
            .map(|n| {
                let t = Instant::now();
                assert!(engine.row(0, 1, 1, n.wrapping_mul(7919) % 100_000).is_some());
                t.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "row median {:?} p99 {:?} max {:?} sum {:?}",
            times[1000],
            times[1980],
            times[1999],
            times.iter().sum::<std::time::Duration>()
        );
    }
}
