//! Several shards, their clients and their disk in one thread, where a seed decides everything: the
//! order of things, how bytes are cut, and which faults come when. After every restart, and at the
//! end, what clients were promised is compared with what is stored.
//!
//! `SIM_SEED=7` runs one seed (`cargo sim` is the short way), `SIM_SEEDS=500` that many fresh ones
//! beside those that always run.

#[path = "../common/alone.rs"]
mod alone;
mod client;
mod collector;
mod connection;
mod idler;
mod imap_talk;
mod keeper;
mod ledger;
#[path = "../common/password.rs"]
mod password;
mod run;
mod sender;
mod server;
#[path = "../common/settings.rs"]
mod settings;
mod verify;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use run::{Outcome, run};

/// Seeds that always run.
const SEEDS: std::ops::Range<u64> = 0..40;
/// Of which so many run twice.
const TWICE: std::ops::Range<u64> = 0..4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs a seed, and says how to have it again should it fail.
fn try_seed(seed: u64) -> Outcome {
    let ran = catch_unwind(AssertUnwindSafe(|| run(seed)));
    let replay = format!("seed {seed}: replay with SIM_SEED={seed} cargo sim");
    match ran {
        Ok(outcome) if outcome.broken.is_empty() => outcome,
        Ok(outcome) => panic!("{replay}\n{}", outcome.broken.join("\n")),
        Err(panic) => {
            println!("{replay}");
            resume_unwind(panic)
        }
    }
}

#[test]
fn promises_are_kept_whatever_the_seed_has_happen() {
    if let Some(seed) = setting("SIM_SEED") {
        println!("{:#?}", try_seed(seed));
        return;
    }
    let (mut restarts, mut acknowledged, mut told) = (0, 0, 0);
    // Fresh seeds differ from run to run of the tests; a failure names its own.
    let fresh = RandomState::new().build_hasher().finish() % 1_000_000_000;
    let seeds = SEEDS.chain(fresh..fresh + setting("SIM_SEEDS").unwrap_or(0));
    for seed in seeds {
        let outcome = try_seed(seed);
        restarts += outcome.restarts;
        acknowledged += outcome.acknowledged;
        told += outcome.told;
    }
    // Otherwise the runs saw nothing of what they are for.
    assert!(restarts > 50 && acknowledged > 1_000 && told > 100, "{restarts} {acknowledged} {told}");
}

#[test]
fn a_seed_has_the_same_happen_again() {
    if setting("SIM_SEED").is_some() {
        return;
    }
    for seed in TWICE {
        let (first, again) = (try_seed(seed), try_seed(seed));
        assert_eq!(first, again, "seed {seed}");
    }
}
