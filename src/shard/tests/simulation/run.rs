//! One run: what the seed decides, the faults as they come, and the comparisons after each.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use sim::{Executor, Group, Progress};
use storage_engine::{Disk, Simulated, check};

use crate::client::Town;
use crate::collector::collect;
use crate::connection::Door;
use crate::idler::{Belief, idle};
use crate::keeper::keep;
use crate::ledger::Ledger;
use crate::sender::bring;
use crate::server::Server;
use crate::verify::verify;

/// Steps after which a run counts as stuck.
const STEPS_MAX: u64 = 3_000_000;
const SHARDS_MAX: u64 = 4;
const ACCOUNTS: usize = 20;
/// Accounts whose INBOX is watched, one of them by two clients.
const WATCHED: [usize; 4] = [0, 0, 3, 7];
/// Accounts that hold little, and how many bytes.
const SMALL: [(usize, u64); 4] = [(1, 20_000), (5, 9_000), (6, 2_000), (8, 40_000)];

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) steps: u64,
    pub(crate) restarts: u64,
    pub(crate) acknowledged: u64,
    pub(crate) told: u64,
    pub(crate) broken: Vec<String>,
}

/// How a process comes to its end.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The machine loses power, now.
    Crash,
    /// The machine loses power at some operation of its disk.
    CrashAtEvent,
    /// The process is killed; the machine goes on.
    Kill,
    /// A write or a flush fails.
    Fault,
    /// It is asked to stop.
    Stop,
}

struct Run {
    executor: Executor,
    town: Rc<Town>,
    server: Rc<Server>,
    /// The tasks of clients, which outlive processes.
    clients: Group,
    beliefs: Vec<Rc<Belief>>,
    /// What happened, for whoever looks into a failure.
    log: Vec<String>,
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64) -> Outcome {
    let executor = Executor::new(seed);
    let server = Server::new(&executor, Simulated::new(seed));
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("p{number:02}")).collect();
    let alias = ("team".to_owned(), vec![names[0].clone(), names[3].clone(), names[9].clone()]);
    let town = Rc::new(Town {
        server: Rc::clone(&server),
        ledger: RefCell::new(Ledger::default()),
        at_work: Cell::new(0),
        names,
        alias,
    });
    let clients = executor.group();
    let mut run = Run { executor, town, server, clients, beliefs: Vec::new(), log: Vec::new() };
    run.begin();
    let ends = run.executor.below(6);
    for _ in 0..ends {
        run.process();
    }
    run.last_process();
    let ledger = run.town.ledger.take();
    run.executor.end_all();
    if !ledger.broken.is_empty() {
        run.log.iter().for_each(|line| println!("{line}"));
    }
    Outcome {
        trace: run.executor.trace(),
        steps: run.executor.steps(),
        restarts: ends,
        acknowledged: ledger.acknowledged,
        told: ledger.told,
        broken: ledger.broken,
    }
}

impl Run {
    fn begin(&mut self) {
        self.start();
        let quota = |index| SMALL.iter().find(|(small, _)| *small == index).map(|(_, bytes)| *bytes);
        let filling = self.server.populate(&self.town.names, quota, self.town.alias.clone());
        self.wait_for(filling);
        self.spawn_clients();
        self.server.is_open.set(true);
    }

    fn spawn_clients(&mut self) {
        let below = |end| self.executor.below(end);
        let name = |index: usize| self.town.names[index].clone();
        let work = |work| self.work(work);
        for number in 0..2 + below(4) as usize {
            let door = if number % 3 == 1 { Door::Lmtp } else { Door::Mx };
            work(boxed(bring(Rc::clone(&self.town), number, door, 8 + below(24))));
        }
        for number in 0..=below(3) as usize {
            work(boxed(keep(Rc::clone(&self.town), number, name(number), true, 20 + below(60))));
        }
        for (number, account) in [(10, 0), (11, 0), (12, 3)].into_iter().take(below(4) as usize) {
            work(boxed(keep(Rc::clone(&self.town), number, name(account), false, 10 + below(30))));
        }
        for account in [3, 4].into_iter().take(below(3) as usize) {
            work(boxed(collect(Rc::clone(&self.town), name(account), 4 + below(12))));
        }
        for account in WATCHED.into_iter().take(1 + below(4) as usize) {
            let belief = Rc::new(Belief { name: name(account), ..Belief::default() });
            self.executor.spawn(self.clients, idle(Rc::clone(&self.town), Rc::clone(&belief)));
            self.beliefs.push(belief);
        }
    }

    fn work(&self, work: std::pin::Pin<std::boxed::Box<dyn Future<Output = ()>>>) {
        self.town.at_work.set(self.town.at_work.get() + 1);
        self.executor.spawn(self.clients, work);
    }

    fn note(&mut self, what: &str) {
        self.executor.note(what.as_bytes());
        self.log.push(format!("step {}: {what}", self.executor.steps()));
    }

    /// Starts on the disk as it is, with a number of shards by the seed; that may crash or fail too.
    fn start(&mut self) {
        let shards = 1 + self.executor.below(SHARDS_MAX) as u16;
        let disk = self.server.disk();
        let is_new = disk.files().is_empty();
        let mut is_full = false;
        match self.executor.below(9) {
            0 | 1 if !is_new && disk.event_count() == 0 => disk.crash_at(self.executor.below(60) as usize),
            2 if !is_new => disk.fail_flush_after(self.executor.below(30) as u32),
            3 if !is_new => is_full = true,
            _ => {}
        }
        self.server.may_refuse.set(false);
        self.server.set_full(is_full);
        self.note(&format!("start with {shards} shards{}", if is_full { " on a full disk" } else { "" }));
        let started = self.server.start(shards);
        let image = disk.crash_image();
        if let Some(image) = image {
            self.note("crash at the start");
            self.server.end(image.clone());
            self.server.put(image);
            return self.start();
        }
        match started {
            Ok(()) => {}
            Err(error) => {
                self.note(&format!("no start: {error}"));
                self.server.put(disk.kill());
                self.start();
            }
        }
    }

    fn step(&mut self) -> Progress {
        let progress = self.executor.step();
        assert!(self.executor.steps() < STEPS_MAX, "too many steps: {}", self.log.join("\n"));
        progress
    }

    /// Polls tasks until a future of the run itself is ready.
    fn wait_for<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        self.executor.spawn(self.clients, async move { *slot.borrow_mut() = Some(future.await) });
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            assert_ne!(self.step(), Progress::Stuck, "it waits for ever: {}", self.log.join("\n"));
        }
    }

    /// Compares what is stored with the ledger, while nobody can change it.
    fn verify(&mut self) {
        let town = Rc::clone(&self.town);
        self.wait_for(async move {
            let mut ledger = town.ledger.take();
            verify(&town.server, &mut ledger).await;
            town.ledger.replace(ledger);
        });
        let broken = self.town.ledger.borrow().broken.len();
        self.note(&format!("{broken} broken promises"));
    }

    fn is_done(&self) -> bool {
        self.town.at_work.get() == 0
    }

    /// One process from its start to its end, and the start after it.
    fn process(&mut self) {
        let executor = self.executor.clone();
        let ends = [End::Crash, End::CrashAtEvent, End::Kill, End::Fault, End::Stop];
        let end = ends[executor.below(ends.len() as u64) as usize];
        let steps = 50 + executor.below(2_000);
        let disk = self.server.disk();
        self.server.slowness_ms.set(if executor.one_in(3) { 1 + executor.below(40) } else { 0 });
        self.note(&format!("to end by {end:?} after {steps} steps"));
        if matches!(end, End::CrashAtEvent) {
            disk.crash_at(disk.event_count() + executor.below(400) as usize);
        }
        for _ in 0..steps {
            if self.is_done() || !self.goes_on(&disk) {
                break;
            }
            self.disturb();
        }
        match end {
            End::Stop => self.stop(&disk),
            // A process that has ended by itself.
            _ if self.server.has_failed() => {}
            End::Fault => self.fault(&disk),
            End::Crash | End::CrashAtEvent | End::Kill => {}
        }
        self.mend();
        let found = match (disk.crash_image(), end) {
            (Some(image), _) => image,
            (None, End::Kill) => disk.kill(),
            (None, End::Stop) if !self.server.has_failed() => disk,
            (None, End::Fault) if executor.one_in(2) => disk.kill(),
            (None, _) => disk.crash(),
        };
        self.restart(found);
    }

    /// Ends the process if it runs, and starts the next one on what it left.
    fn restart(&mut self, found: Simulated) {
        self.server.end(found);
        self.start();
        self.verify();
        self.server.is_open.set(true);
    }

    /// What may happen at any time.
    fn disturb(&mut self) {
        if !self.executor.one_in(400) {
            return;
        }
        match self.executor.below(6) {
            0 => {
                let is_full = self.executor.one_in(2);
                self.server.set_full(is_full);
                self.note(&format!("full: {is_full}"));
            }
            1 => {
                let s = self.executor.below(2 * 3600).cast_signed() - 3600;
                let clock = self.executor.clock();
                let by = Duration::from_secs(s.unsigned_abs());
                clock.set(if s < 0 { clock.now() - by } else { clock.now() + by });
                self.server.may_close.set(true);
                self.note(&format!("clock set by {s} s"));
            }
            2 => {
                let ms = self.executor.below(100);
                self.server.slowness_ms.set(ms);
                self.note(&format!("a turn takes up to {ms} ms"));
            }
            3 => {
                let is_refused = self.executor.one_in(2);
                self.server.refuse_opens(is_refused);
                self.note(&format!("no descriptors: {is_refused}"));
            }
            _ => self.mend(),
        }
    }

    /// There is room again, and descriptors are.
    fn mend(&self) {
        self.server.set_full(false);
        self.server.refuse_opens(false);
    }

    /// A write or flush fails, of the journal or of a checkpoint: the process ends if it must.
    fn fault(&mut self, disk: &Simulated) {
        if self.executor.one_in(2) {
            disk.fail_flushes(1);
        } else {
            disk.fail_writes(1);
        }
        for _ in 0..2_000 {
            if self.is_done() || !self.goes_on(disk) {
                break;
            }
        }
        let has_failed = self.server.has_failed();
        self.note(&format!("fault met: {has_failed}"));
    }

    /// Sessions are told, and have some time; then what was begun is made durable.
    fn stop(&mut self, disk: &Simulated) {
        self.server.drain();
        for _ in 0..self.executor.below(3_000) {
            if !self.goes_on(disk) {
                return;
            }
        }
        self.mend();
        self.server.hang_up();
        while !self.server.is_idle() && self.goes_on(disk) {}
    }

    /// One step, unless the process has come to its end: nothing that happens after a crash counts.
    fn goes_on(&mut self, disk: &Simulated) -> bool {
        disk.crash_image().is_none() && !self.server.has_failed() && self.step() != Progress::Stuck
    }

    /// Runs without faults until all work is done, and looks at everything while the server runs, after
    /// a crash, and in what the offline verifier says.
    fn last_process(&mut self) {
        self.server.slowness_ms.set(0);
        // A fault of its start may still be to come.
        self.server.disk().fail_flush_after(u32::MAX);
        while self.server.has_failed() {
            self.restart(self.server.disk().crash());
            self.server.disk().fail_flush_after(u32::MAX);
        }
        self.mend();
        self.note("the last process");
        while !self.is_done() {
            assert_ne!(self.step(), Progress::Stuck, "somebody waits for ever: {}", self.log.join("\n"));
            assert!(!self.server.has_failed(), "a disk without faults failed: {:?}", self.server.failures());
        }
        self.note("all work is done");
        while !self.is_quiet() {
            assert_ne!(self.step(), Progress::Stuck, "idlers wait for ever: {}", self.log.join("\n"));
        }
        self.verify();
        self.idlers();
        let image = self.server.disk().crash();
        self.server.end(image);
        let mut problems = check(&Disk::simulated(&self.server.disk()), &mut |_| {});
        if let Ok(report) = &mut problems
            && report.problems.is_empty()
        {
            self.start();
            return self.verify();
        }
        self.town.ledger.borrow_mut().wrong(format!("the verifier says {problems:?}"));
    }

    /// All idlers idle, and nothing is under way.
    fn is_quiet(&self) -> bool {
        let is_waiting = self.beliefs.iter().all(|belief| belief.exists.get().is_some());
        is_waiting && !self.executor.is_ready() && self.server.is_idle()
    }

    /// Whoever idles knows how many messages there are.
    fn idlers(&mut self) {
        for entry in self.server.entries() {
            let inbox = self.server.account(&entry).mailbox(&account::MailboxName::inbox());
            let exists = inbox.expect("everybody has one").status.exists;
            for belief in &self.beliefs {
                if entry.address.to_string().starts_with(&belief.name) && belief.exists.get() != Some(exists)
                {
                    let (name, believed) = (&belief.name, belief.exists.get());
                    let what = format!("{name}: there are {exists}, an idler was told of {believed:?}");
                    self.town.ledger.borrow_mut().wrong(what);
                }
            }
        }
    }
}

fn boxed(
    work: impl Future<Output = ()> + 'static,
) -> std::pin::Pin<std::boxed::Box<dyn Future<Output = ()>>> {
    std::boxed::Box::pin(work)
}
