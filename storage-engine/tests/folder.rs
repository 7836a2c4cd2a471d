//! The real file system: large bodies, several shards on their own threads, engines dropped in mid-flight.

use std::process::Command;
use std::sync::Arc;

use storage_engine::{
    BodyRef, CheckpointDone, CheckpointJob, Commit, Disk, Engine, Error, Metas, Options, RowBody, check,
    prepare,
};

use crate::support::{Folder, Model, Plan, Random, plans_in, settle, wait};

fn put(engine: &Engine, item: u32, body: Vec<u8>) -> Commit {
    let mut transaction = engine.transaction(0);
    let body = transaction.add_body(b"meta".to_vec(), Arc::new(body));
    transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
    transaction.commit()
}

#[test]
fn a_body_larger_than_every_buffer_comes_back() {
    let folder = Folder::new("large");
    let disk = Disk::folder(&folder.0);
    let _store = prepare(&disk, &Options::default(), 1).expect("prepared");
    let engine = Engine::open(&disk, &Options::default(), 0, 1).expect("opened");
    let large: Vec<u8> = (0..40_000_000u32).map(|index| (index / 251) as u8).collect();
    let commits =
        [put(&engine, 1, vec![1; 100]), put(&engine, 2, large.clone()), put(&engine, 3, large.clone())];
    for commit in commits {
        wait(&engine, commit).expect("committed");
    }
    for item in [2, 3] {
        let row = engine.row(0, 1, 1, item).expect("there");
        assert_eq!(wait(&engine, engine.body(&row.body)).expect("read"), large);
        let range = wait(&engine, engine.body_range(&row.body, 39_999_000, 4096)).expect("read");
        assert_eq!(range, large[39_999_000..]);
        assert_eq!(wait(&engine, engine.meta(&row.body)).expect("read"), b"meta");
    }
    assert_eq!(wait(&engine, put(&engine, 4, vec![0; 64 << 20])), Err(Error::TooLarge));
}

#[test]
fn shards_run_on_threads_of_their_own_and_their_number_changes() {
    let folder = Folder::new("threads");
    let options =
        Options { partitions: 6, segment_bytes: 1 << 20, batch_bytes_max: 16 << 10, ..Options::default() };
    let disk = Disk::folder(&folder.0);
    let plan = |number: u64| Plan::random(&mut Random::new(number), 6, number);
    let mut done = 0;
    for shards in [2u16, 3, 1] {
        let _store = prepare(&disk, &options, shards).expect("prepared");
        let numbers = done..done + 200;
        let model = Model::after(&(0..numbers.end).map(plan).collect::<Vec<_>>());
        std::thread::scope(|scope| {
            for shard in 0..shards {
                let (disk, options, numbers, model) = (&disk, &options, numbers.clone(), &model);
                scope.spawn(move || {
                    let engine = Engine::open(disk, options, shard, shards).expect("opened");
                    let own = numbers.map(plan).filter(|plan| engine.owns(plan.partition));
                    let commits: Vec<Commit> = own.map(|plan| plan.propose(&engine)).collect();
                    for commit in commits {
                        wait(&engine, commit).expect("committed");
                    }
                    model.assert_equal(&engine);
                    settle(&engine);
                });
            }
        });
        done += 200;
    }
    let report = check(&disk, &mut |_| {}).expect("checked");
    assert_eq!(report.problems, []);
    assert_eq!(report.frames, done);
}

#[test]
fn an_engine_dropped_in_mid_flight_leaves_a_prefix() {
    let folder = Folder::new("dropped");
    let options =
        Options { partitions: 2, segment_bytes: 1 << 20, batch_bytes_max: 8 << 10, ..Options::default() };
    let disk = Disk::folder(&folder.0);
    let mut plans: Vec<Plan> = Vec::new();
    let mut random = Random::new(4);
    for _ in 0..10 {
        let _store = prepare(&disk, &options, 1).expect("prepared");
        let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
        plans.truncate(plans_in(&engine));
        Model::after(&plans).assert_equal(&engine);
        let mut commits = Vec::new();
        for _ in 0..30 {
            let plan = Plan::random(&mut random, 2, plans.len() as u64);
            commits.push(plan.propose(&engine));
            plans.push(plan);
        }
        engine.turn();
        // A read whose future is gone before it ends.
        if let Some(row) = engine.row(0, 1, 1, 1).filter(|row| !row.body.is_none()) {
            let mut read = Box::pin(engine.body(&row.body));
            assert!(crate::support::poll(&mut read).is_none());
            drop(read);
            engine.turn();
        }
    }
}

#[test]
fn more_waits_than_segments_can_be_open() {
    let folder = Folder::new("backlog");
    let options =
        Options { partitions: 1, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() };
    let disk = Disk::folder(&folder.0);
    let _store = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    // Each fills a segment, and none is submitted before all are proposed.
    let commits: Vec<Commit> = (0..200).map(|item| put(&engine, item, vec![item as u8; 60_000])).collect();
    assert_eq!(engine.stats().pending, 200);
    for commit in commits {
        wait(&engine, commit).expect("committed");
    }
    for item in [0, 100, 199] {
        let row = engine.row(0, 1, 1, item).expect("there");
        assert_eq!(wait(&engine, engine.body(&row.body)).expect("read"), vec![item as u8; 60_000]);
    }
}

/// Bytes of a mapped file, and how many of them are in this process's memory.
fn mapped(file: &std::path::Path) -> (u64, u64) {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("readable");
    let (_, map) = maps.split_once(file.to_str().expect("a plain path")).expect("mapped");
    let of = |name: &str| {
        let line = map.lines().find_map(|line| line.strip_prefix(name)).expect("every map says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    };
    (of("Size:"), of("Rss:"))
}

#[test]
fn small_runs_are_in_memory_before_they_are_read() {
    let folder = Folder::new("populated");
    let options = Options { partitions: 1, ..Options::default() };
    let disk = Disk::folder(&folder.0);
    let store = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    let mut transaction = engine.transaction(0);
    for item in 0..20_000 {
        transaction.put_row(1, 1, item, RowBody::None, [0; 40]);
    }
    wait(&engine, transaction.commit()).expect("committed");
    let done = engine.checkpoint().expect("there is something fresh").run();
    assert_eq!(done.error(), None);
    engine.install(done);
    let run = folder.0.join("index/0000/00000000.run");
    let (size, resident) = mapped(&run);
    assert!(size > 1_500_000 && resident == size, "{resident} of {size} after the checkpoint");
    settle(&engine);
    drop((engine, store));
    let _store = prepare(&disk, &options, 1).expect("prepared");
    let _engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    assert_eq!(mapped(&run), (size, size), "after opening");
}

#[test]
fn jobs_and_disks_may_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Disk>();
    is_send::<CheckpointJob>();
    is_send::<CheckpointDone>();
    is_send::<storage_engine::StoreInfo>();
}

#[test]
fn meta_blocks_are_read_from_memory_and_from_the_disk_alike() {
    let folder = Folder::new("metas");
    let disk = Disk::folder(&folder.0);
    // Those of the last messages alone are kept.
    let options = Options { segment_bytes: 1 << 20, recent_bytes_max: 64 << 10, ..Options::default() };
    let _store = prepare(&disk, &options, 1).expect("prepared");
    let engine = Engine::open(&disk, &options, 0, 1).expect("opened");
    let mut random = Random::new(3);
    let mut stored = Vec::new();
    for item in 0..600u32 {
        let length = if random.below(8) == 0 { 0 } else { random.below(900) as usize };
        let meta: Vec<u8> = (0..length).map(|at| (at as u32 ^ item) as u8).collect();
        let bytes = if random.below(9) == 0 { 70_000 } else { random.below(6_000) as usize };
        let mut transaction = engine.transaction(0);
        let body = transaction.add_body(meta.clone(), Arc::new(vec![item as u8; bytes]));
        transaction.put_row(1, 1, item, RowBody::New(body), [0; 40]);
        wait(&engine, transaction.commit()).expect("committed");
        stored.push((meta, engine.row(0, 1, 1, item).expect("there").body));
    }
    let mut metas = Metas::default();
    // What is written goes past the page cache, so the first round reads from the disk; the second has all in memory, and
    // the third some.
    for round in 0..3 {
        if round == 2 {
            forget(&folder);
        }
        let mut order: Vec<usize> = (0..stored.len()).collect();
        if round > 0 {
            order.sort_by_key(|index| (index % 7, *index));
        }
        for asked in order.chunks(100) {
            let bodies: Vec<BodyRef> = asked.iter().map(|index| stored[*index].1).collect();
            wait(&engine, engine.metas(&bodies, &mut metas));
            for (at, index) in asked.iter().enumerate() {
                let want = Some(stored[*index].0.as_slice()).filter(|meta| !meta.is_empty());
                assert_eq!(metas.get(at), want, "{index} in round {round}");
            }
        }
        assert_eq!(metas.get(100), None);
    }
    // The same past the system's memory, which is what a wrong checksum leads to.
    for (meta, body) in stored.iter().step_by(50).filter(|(meta, _)| !meta.is_empty()) {
        let wrong = BodyRef { meta_crc: body.meta_crc ^ 1, ..*body };
        assert!(matches!(wait(&engine, engine.meta(&wrong)), Err(Error::Corrupt { .. })));
        assert_eq!(wait(&engine, engine.meta(body)).expect("read"), *meta);
    }
    // A row that says what is not so is not believed, wherever it points to.
    let mut bodies = vec![stored[1].1, stored[2].1, stored[3].1, stored[4].1];
    bodies[0].meta_crc ^= 1;
    bodies[1].segment = 9_999;
    bodies[2].offset = (1 << 20) - 10;
    bodies[3].meta_length += 1;
    wait(&engine, engine.metas(&bodies, &mut metas));
    assert!((0..4).all(|at| metas.get(at).is_none()));
}

/// Has the system forget some of the segments it has in memory.
fn forget(folder: &Folder) {
    let segments = std::fs::read_dir(folder.0.join("journal-00")).expect("there");
    for segment in segments.step_by(2) {
        let input = format!("if={}", segment.expect("listed").path().display());
        let told = Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]).status();
        assert!(told.expect("dd is there").success());
    }
}
