//! Crashes at every write, flush and change of a name: every acknowledged transaction is there, the others wholly
//! or not at all, and only as a suffix; after a second crash on top of the first too.

use crate::support::{Model, Plan, Random, plans_in, poll};
use storage_engine::{Commit, Disk, Engine, Options, Simulated, check, prepare};

fn options() -> Options {
    Options {
        partitions: 2,
        segment_bytes: 64 << 10,
        fresh_bytes_max: 10_000,
        in_flight_max: 3,
        batch_bytes_max: 8 << 10,
        recent_bytes_max: 16 << 10,
    }
}

/// What a run left: the plans, and for each the number of disk events before its acknowledgement was seen.
struct Run {
    plans: Vec<Plan>,
    acknowledged: Vec<usize>,
}

/// Opens the store and commits plans, with checkpoints in between, until all are acknowledged.
fn run(simulated: &Simulated, seed: u64, mut plans: Vec<Plan>, count: usize) -> Run {
    let disk = Disk::simulated(simulated);
    let mut random = Random::new(seed);
    let _store = prepare(&disk, &options(), 1).expect("prepared");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    // What is there was acknowledged before this run's disk had any event.
    let mut acknowledged = vec![0; plans.len()];
    let mut waiting: Vec<Commit> = Vec::new();
    for _ in 0..count {
        let plan = Plan::random(&mut random, 2, plans.len() as u64);
        waiting.push(plan.propose(&engine));
        plans.push(plan);
        if random.below(2) == 0 {
            turn(&engine, simulated, &mut waiting, &mut acknowledged);
        }
        if random.below(9) == 0
            && let Some(job) = engine.checkpoint()
        {
            engine.install(job.run());
        }
    }
    while !waiting.is_empty() {
        turn(&engine, simulated, &mut waiting, &mut acknowledged);
    }
    Run { plans, acknowledged }
}

fn turn(engine: &Engine, simulated: &Simulated, waiting: &mut Vec<Commit>, acknowledged: &mut Vec<usize>) {
    engine.turn();
    let mut is_waiting = false;
    waiting.retain_mut(|commit| {
        let Some(result) = poll(commit) else {
            is_waiting = true;
            return true;
        };
        assert!(!is_waiting, "acknowledged before an earlier one");
        result.expect("committed");
        acknowledged.push(simulated.event_count());
        false
    });
}

/// Recovers what a crash left and compares it with the model; the plans that survived.
fn recover(image: &Simulated, plans: &[Plan], acknowledged: usize) -> Vec<Plan> {
    let disk = Disk::simulated(image);
    let store = prepare(&disk, &options(), 1).expect("prepared after a crash");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened after a crash");
    let survived = plans_in(&engine);
    assert!(survived >= acknowledged, "{survived} survived of {acknowledged} acknowledged");
    Model::after(&plans[..survived]).assert_equal(&engine);
    drop((engine, store));
    let report = check(&disk, &mut |_| {}).expect("checked");
    assert_eq!(report.problems, []);
    plans[..survived].to_vec()
}

fn crash_everywhere(seed: u64, count: usize) -> usize {
    for event in 0.. {
        let simulated = Simulated::new(seed);
        simulated.crash_at(event);
        let first = run(&simulated, seed, Vec::new(), count);
        let Some(image) = simulated.crash_image() else { return event };
        let acknowledged = first.acknowledged.iter().filter(|events| **events <= event).count();
        let survived = recover(&image.crash(), &first.plans, acknowledged);

        // The same image again, and a crash somewhere while it is recovered and written on.
        let mut random = Random::new(seed ^ event as u64);
        let second_event = random.below(40) as usize;
        let kept = survived_again(&image, seed, event, second_event, &first.plans, acknowledged);
        assert!(kept >= acknowledged && survived.len() >= acknowledged);
    }
    unreachable!("a run has finitely many events");
}

fn survived_again(
    image: &Simulated,
    seed: u64,
    event: usize,
    second_event: usize,
    plans: &[Plan],
    acknowledged: usize,
) -> usize {
    let copy = image.crash();
    let survived = {
        let disk = Disk::simulated(&copy);
        let _store = prepare(&disk, &options(), 1).expect("prepared after a crash");
        let engine = Engine::open(&disk, &options(), 0, 1).expect("opened after a crash");
        plans_in(&engine)
    };
    assert!(survived >= acknowledged);
    let copy = image.crash();
    copy.crash_at(second_event);
    let before = {
        // What this crash of the image kept is not what the copy above kept: ask again.
        let disk = Disk::simulated(&copy);
        let _store = prepare(&disk, &options(), 1).expect("prepared after a crash");
        let engine = Engine::open(&disk, &options(), 0, 1).expect("opened after a crash");
        plans_in(&engine)
    };
    assert!(before >= acknowledged);
    let offset = copy.event_count();
    let second = run(&copy, seed + event as u64, plans[..before].to_vec(), 6);
    let Some(again) = copy.crash_image() else { return before };
    let counted = second.acknowledged.iter().enumerate();
    let acknowledged_again = counted
        .filter(
            |(index, events)| if *index < before { offset <= second_event } else { **events <= second_event },
        )
        .count();
    recover(&again, &second.plans, acknowledged_again.max(acknowledged)).len()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let seeds: u64 = std::env::var("CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        let events = crash_everywhere(seed, 30);
        assert!(events > 40, "the run has {events} events");
    }
}

/// Many crashes of long runs at random moments, each disk crashing again and again.
#[test]
fn a_disk_that_crashes_again_and_again_keeps_what_was_acknowledged() {
    for seed in 100..120 {
        let mut random = Random::new(seed);
        let mut simulated = Simulated::new(seed);
        let mut plans = Vec::new();
        for round in 0..8 {
            let event = random.below(120) as usize;
            simulated.crash_at(event);
            let ran = run(&simulated, seed * 31 + round, plans.clone(), 20);
            let image = simulated.crash_image().unwrap_or_else(|| simulated.crash());
            let event = if simulated.crash_image().is_some() { event } else { usize::MAX };
            let acknowledged = ran.acknowledged.iter().filter(|events| **events <= event).count();
            plans = recover(&image, &ran.plans, acknowledged.max(plans.len()));
            simulated = image;
        }
    }
}

/// The process is killed with writes in flight, another opens the store from what the cache has, and then the
/// machine crashes: what the second process showed its readers must still be there.
#[test]
fn what_an_opening_has_shown_survives_a_crash_right_after() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let simulated = Simulated::new(seed);
        let disk = Disk::simulated(&simulated);
        let mut plans = Vec::new();
        let killed = {
            let _store = prepare(&disk, &options(), 1).expect("prepared");
            let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
            for number in 0..=random.below(20) {
                let plan = Plan::random(&mut random, 2, number);
                drop(plan.propose(&engine));
                plans.push(plan);
                engine.turn();
            }
            simulated.kill()
        };
        let shown = {
            let disk = Disk::simulated(&killed);
            let _store = prepare(&disk, &options(), 1).expect("prepared");
            let engine = Engine::open(&disk, &options(), 0, 1).expect("opened after the kill");
            let shown = plans_in(&engine);
            Model::after(&plans[..shown]).assert_equal(&engine);
            shown
        };
        let survived = recover(&killed.crash(), &plans, shown);
        assert_eq!(survived.len(), shown, "nothing comes that was cut off before");
    }
}
