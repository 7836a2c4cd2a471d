//! A scenario on one or several threads, each with a loop and connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{Load, Plan, Scenario, Setup};
use crate::measured::Measured;
use crate::socket;
use crate::wrong::Wrong;

/// Points of a run, the same for all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Every connection is ready; the operations begin when this returns.
    Prepared,
    /// Every operation is complete.
    Ran,
}

enum Said {
    Prepared,
    Ran(Box<Measured>),
    Failed(Wrong),
}

/// One thread's part.
pub(crate) struct Part<S> {
    pub(crate) scenario: S,
    pub(crate) setup: Setup,
    pub(crate) plan: Plan,
    pub(crate) cpu: Option<usize>,
}

/// Runs all parts, with `at` called between their phases, and gives the scenarios back.
pub(crate) fn drive<S: Scenario>(
    parts: &mut [Part<S>],
    at: &mut dyn FnMut(Moment) -> Result<(), Wrong>,
) -> Result<Measured, Wrong> {
    let count = parts.len();
    let total = parts.iter().map(|part| part.plan.count).sum();
    let progress = Arc::clone(&parts[0].setup.progress);
    let (say, said) = channel();
    std::thread::scope(|scope| {
        let mut orders = Vec::new();
        for part in parts {
            let (order, ordered) = channel();
            orders.push(order);
            let say = say.clone();
            scope.spawn(move || {
                if let Err(wrong) = run(part, &say, &ordered) {
                    // Whoever would hear it may have given up already.
                    let _heard = say.send(Said::Failed(wrong));
                }
            });
        }
        drop(say);
        let bar = Bar::new(total, progress);
        // When this returns early, `orders` is dropped, and the threads end.
        conduct(count, &said, &orders, &bar, at)
    })
}

fn conduct(
    count: usize,
    said: &Receiver<Said>,
    orders: &[Sender<()>],
    bar: &Bar,
    at: &mut dyn FnMut(Moment) -> Result<(), Wrong>,
) -> Result<Measured, Wrong> {
    let mut total = Measured::new();
    for moment in [Moment::Prepared, Moment::Ran] {
        for _ in 0..count {
            match bar.wait(said)? {
                Said::Prepared => {}
                Said::Ran(measured) => total.add(&measured),
                Said::Failed(wrong) => return Err(wrong),
            }
        }
        at(moment)?;
        for order in orders {
            // A thread that is gone has said why, and that is read next.
            let _gone = order.send(());
        }
    }
    // The goodbyes: threads end by themselves, and only a failure is news.
    while let Ok(last) = said.recv() {
        if let Said::Failed(wrong) = last {
            return Err(wrong);
        }
    }
    Ok(total)
}

fn run<S: Scenario>(part: &mut Part<S>, say: &Sender<Said>, ordered: &Receiver<()>) -> Result<(), Wrong> {
    if let Some(cpu) = part.cpu {
        socket::pin(cpu)?;
    }
    let mut load = Load::new(part.setup.clone())?;
    load.prepare(&mut part.scenario)?;
    // A closed channel means that another thread failed: end quietly.
    if say.send(Said::Prepared).is_err() || ordered.recv().is_err() {
        return Ok(());
    }
    let measured = load.run(&mut part.scenario, &part.plan)?;
    if say.send(Said::Ran(Box::new(measured))).is_err() || ordered.recv().is_err() {
        return Ok(());
    }
    load.finish(&mut part.scenario)
}

/// Progress on standard error, when that is a terminal.
struct Bar {
    bar: ProgressBar,
    operations: Arc<AtomicU64>,
}

impl Bar {
    fn new(total: Option<u64>, operations: Arc<AtomicU64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style =
            ProgressStyle::with_template("{spinner} {elapsed_precise} {human_pos} operations, {per_sec}")
                .expect("a template that parses");
        bar.set_style(style);
        Self { bar, operations }
    }

    fn wait(&self, said: &Receiver<Said>) -> Result<Said, Wrong> {
        loop {
            match said.recv_timeout(Duration::from_millis(200)) {
                Ok(said) => return Ok(said),
                Err(RecvTimeoutError::Timeout) => {
                    self.bar.set_position(self.operations.load(Ordering::Relaxed));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Wrong::World("a load thread ended without a word".into()));
                }
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
