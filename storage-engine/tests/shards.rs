//! The number of shards changes between starts: nothing moves but the index, and bodies stay where they are.

use crate::support::{Model, Plan, Random, settle, wait};
use storage_engine::{Disk, Engine, Options, Simulated, check, prepare, shards_of};

fn options() -> Options {
    Options { partitions: 5, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() }
}

#[test]
fn a_store_opens_with_any_number_of_shards() {
    for seed in 0..4 {
        let simulated = Simulated::new(seed);
        let disk = Disk::simulated(&simulated);
        let mut random = Random::new(seed);
        let mut plans: Vec<Plan> = Vec::new();
        assert_eq!(shards_of(&disk), Ok(None));
        for (round, shards) in [1u16, 3, 2, 2, 5, 1, 4].into_iter().enumerate() {
            let store = prepare(&disk, &options(), shards).expect("prepared");
            assert_eq!(store.created, round == 0);
            assert_eq!(shards_of(&disk), Ok(Some(shards)));
            let open = |shard| Engine::open(&disk, &options(), shard, shards).expect("opened");
            let engines: Vec<Engine> = (0..shards).map(open).collect();
            let model = Model::after(&plans);
            for engine in &engines {
                model.assert_equal(engine);
            }
            for _ in 0..20 {
                let plan = Plan::random(&mut random, 5, plans.len() as u64);
                let engine = &engines[(plan.partition % shards) as usize];
                assert!(engine.owns(plan.partition));
                wait(engine, plan.propose(engine)).expect("committed");
                plans.push(plan);
            }
            let model = Model::after(&plans);
            for engine in &engines {
                settle(engine);
                model.assert_equal(engine);
            }
        }
        let report = check(&disk, &mut |_| {}).expect("checked");
        assert_eq!(report.problems, []);
    }
}

#[test]
fn a_crash_while_the_number_of_shards_changes_loses_nothing() {
    let simulated = Simulated::new(9);
    let disk = Disk::simulated(&simulated);
    let mut random = Random::new(9);
    let mut plans = Vec::new();
    {
        let _store = prepare(&disk, &options(), 2).expect("prepared");
        let engines: Vec<Engine> =
            (0..2).map(|shard| Engine::open(&disk, &options(), shard, 2).expect("opened")).collect();
        for number in 0..40 {
            let plan = Plan::random(&mut random, 5, number);
            let engine = &engines[(plan.partition % 2) as usize];
            wait(engine, plan.propose(engine)).expect("committed");
            plans.push(plan);
        }
        engines.iter().for_each(settle);
    }
    let model = Model::after(&plans);
    let mut crashes = 0;
    for event in 0.. {
        let changing = simulated.crash();
        changing.crash_at(event);
        drop(prepare(&Disk::simulated(&changing), &options(), 3).expect("prepared"));
        let Some(image) = changing.crash_image() else { break };
        crashes += 1;
        // Whatever number comes next: the old one, the one that was under way, or another.
        for shards in [2, 3, 1] {
            let copy = image.crash();
            let disk = Disk::simulated(&copy);
            let _store = prepare(&disk, &options(), shards).expect("prepared after a crash");
            for shard in 0..shards {
                model.assert_equal(&Engine::open(&disk, &options(), shard, shards).expect("opened"));
            }
        }
    }
    assert!(crashes > 20, "{crashes} events");
}
