//! Random transactions, checkpoints and reopenings against plain maps, on many seeds; and the same on a real
//! folder.

use crate::support::{Folder, Model, Plan, Random, plans_in, settle, wait};
use storage_engine::{Disk, Engine, Options, Simulated, check, prepare};

fn options() -> Options {
    Options {
        partitions: 3,
        segment_bytes: 256 << 10,
        fresh_bytes_max: 20_000,
        in_flight_max: 3,
        batch_bytes_max: 16 << 10,
        recent_bytes_max: 16 << 10,
    }
}

/// Proposes plans, a few at a time, and acknowledges them all.
fn run_plans(engine: &Engine, random: &mut Random, plans: &mut Vec<Plan>, count: usize) {
    let mut commits = Vec::new();
    for _ in 0..count {
        let plan = Plan::random(random, engine.partitions(), plans.len() as u64);
        commits.push(plan.propose(engine));
        plans.push(plan);
        if random.below(3) == 0 {
            engine.turn();
        }
    }
    for commit in commits {
        wait(engine, commit).expect("committed");
    }
}

fn exercise(disk: &Disk, seed: u64, rounds: u64) {
    let mut random = Random::new(seed);
    let mut plans = Vec::new();
    for round in 0..rounds {
        let _store = prepare(disk, &options(), 1).expect("prepared");
        let engine = Engine::open(disk, &options(), 0, 1).expect("opened");
        Model::after(&plans).assert_equal(&engine);
        for _ in 0..3 {
            run_plans(&engine, &mut random, &mut plans, 12);
            Model::after(&plans).assert_equal(&engine);
            if random.below(2) == 0
                && let Some(job) = engine.checkpoint()
            {
                run_plans(&engine, &mut random, &mut plans, 2);
                Model::after(&plans).assert_equal(&engine);
                let done = job.run();
                assert_eq!(done.error(), None);
                engine.install(done);
                Model::after(&plans).assert_equal(&engine);
            }
        }
        settle(&engine);
        assert_eq!(plans_in(&engine), plans.len(), "round {round}");
        assert_eq!(engine.failed(), None);
    }
    let report = check(disk, &mut |_| {}).expect("checked");
    assert_eq!(report.problems, []);
    let live = Model::after(&plans).rows.values().filter(|row| row.live).count();
    assert_eq!(report.rows, live as u64);
    assert!(report.frames >= plans.len() as u64);
}

#[test]
fn random_transactions_agree_with_plain_maps() {
    for seed in 0..12 {
        exercise(&Disk::simulated(&Simulated::new(seed)), seed, 4);
    }
}

#[test]
fn an_instant_disk_answers_at_the_first_poll() {
    let disk = Disk::simulated(&Simulated::instant());
    let _store = prepare(&disk, &options(), 1).expect("prepared");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    let mut random = Random::new(7);
    let mut plans = Vec::new();
    for number in 0..50 {
        let plan = Plan::random(&mut random, 3, number);
        let mut commit = plan.propose(&engine);
        assert!(crate::support::poll(&mut commit).expect("ready at once").is_ok());
        plans.push(plan);
    }
    Model::after(&plans).assert_equal(&engine);
}

#[test]
fn a_real_folder_agrees_with_plain_maps() {
    let folder = Folder::new("model");
    exercise(&Disk::folder(&folder.0), 99, 3);
}
