//! A process that is killed while it writes to a real folder: what it said was acknowledged is there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use storage_engine::{Disk, Engine, Options, StoreInfo, check, prepare};

use crate::support::{Folder, Model, Plan, Random, plans_in, poll};

/// Where the child process finds the folder, and how many transactions are there.
const FOLDER: &str = "STORAGE_ENGINE_KILL_FOLDER";
const BEFORE: &str = "STORAGE_ENGINE_KILL_BEFORE";
const ROUNDS: usize = 6;
const ACKNOWLEDGED: &str = "acknowledged ";

fn options() -> Options {
    Options {
        partitions: 2,
        segment_bytes: 1 << 20,
        fresh_bytes_max: 100_000,
        batch_bytes_max: 16 << 10,
        ..Options::default()
    }
}

fn open(folder: &Path) -> (StoreInfo, Engine) {
    let disk = Disk::folder(folder);
    let store = prepare(&disk, &options(), 1).expect("prepared");
    let engine = Engine::open(&disk, &options(), 0, 1).expect("opened");
    (store, engine)
}

/// Plan `number` of the endless sequence both processes know.
fn plan(number: u64) -> Plan {
    Plan::random(&mut Random::new(1000 + number), 2, number)
}

#[test]
#[ignore = "run by the test below, as a process to be killed"]
fn write_until_killed() {
    let folder = std::env::var(FOLDER).expect("run by the test below");
    let before: u64 = std::env::var(BEFORE).expect("run by the test below").parse().expect("a number");
    let (_store, engine) = open(Path::new(&folder));
    let mut waiting = std::collections::VecDeque::new();
    for number in before.. {
        waiting.push_back((number, plan(number).propose(&engine)));
        engine.turn();
        while let Some((number, commit)) = waiting.front_mut() {
            let Some(result) = poll(commit) else { break };
            result.expect("committed");
            println!("{ACKNOWLEDGED}{number}");
            waiting.pop_front();
        }
        if engine.checkpoint_due()
            && let Some(job) = engine.checkpoint()
        {
            engine.install(job.run());
        }
        while waiting.len() > 8 {
            engine.turn();
            if let Some((_, commit)) = waiting.front_mut()
                && poll(commit).is_some_and(|result| result.is_ok())
            {
                let (number, _) = waiting.pop_front().expect("looked at above");
                println!("{ACKNOWLEDGED}{number}");
            }
        }
    }
}

/// A child that does not outlive the test, whatever becomes of that.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, before: usize) -> Writer {
    let child = Command::new(std::env::current_exe().expect("this test program"))
        .args(["--exact", "kill::write_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(BEFORE, before.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    Writer(child)
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let folder = Folder::new("kill");
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut child = start(&folder.0, before);
        let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
        let mut acknowledged = before;
        let enough = before + 20 + round * 17;
        let number = |line: &str| line.split_once(ACKNOWLEDGED).and_then(|(_, number)| number.parse().ok());
        while acknowledged < enough {
            let line = lines.next().expect("the child goes on").expect("readable");
            acknowledged = number(&line).map_or(acknowledged, |number: usize| number + 1);
        }
        child.0.kill().expect("killed");
        // What it had said by then counts too; a last line may be cut off.
        for line in lines.map_while(Result::ok) {
            let said = number(&line).map_or(0, |number: usize| number + 1);
            acknowledged = if said == acknowledged + 1 { said } else { acknowledged };
        }
        let (store, engine) = open(&folder.0);
        let survived = plans_in(&engine);
        assert!(survived >= acknowledged, "{survived} survived of {acknowledged} acknowledged");
        let plans: Vec<Plan> = (0..survived as u64).map(plan).collect();
        Model::after(&plans).assert_equal(&engine);
        before = survived;
        drop((engine, store));
    }
    let report = check(&Disk::folder(&folder.0), &mut |_| {}).expect("checked");
    assert_eq!(report.problems, []);
    assert_eq!(report.frames, before as u64);
}
