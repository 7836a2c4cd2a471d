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
    let duration = parts[0].plan.duration;
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
        let bar = Bar::new(total, duration, progress);
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
        if moment == Moment::Prepared {
            bar.begin();
        }
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

/// Progress on standard error, when that is a terminal: operations of those that were asked for, or else time gone by.
struct Bar {
    line: ProgressBar,
    is_counted: bool,
    operations: Arc<AtomicU64>,
}

impl Bar {
    fn new(total: Option<u64>, duration: Duration, operations: Arc<AtomicU64>) -> Self {
        let length = total.unwrap_or_else(|| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let template = if total.is_some() {
            "{elapsed_precise} [{bar:40}] {human_pos} of {human_len} operations, {per_sec}, {eta} left"
        } else {
            "{elapsed_precise} [{bar:40}] {msg}"
        };
        let style =
            ProgressStyle::with_template(template).expect("a template that parses").progress_chars("=> ");
        let line = ProgressBar::new(length).with_style(style).with_message("getting ready");
        Self { line, is_counted: total.is_some(), operations }
    }

    /// The operations begin now.
    fn begin(&self) {
        self.line.reset_elapsed();
        self.line.reset_eta();
    }

    fn show(&self) {
        let operations = self.operations.load(Ordering::Relaxed);
        if self.is_counted {
            self.line.set_position(operations);
        } else if operations > 0 {
            let elapsed = self.line.elapsed();
            let rate = operations as f64 / elapsed.as_secs_f64().max(1e-3);
            self.line.set_message(format!("{operations} operations, {rate:.0}/s"));
            self.line.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        }
    }

    fn wait(&self, said: &Receiver<Said>) -> Result<Said, Wrong> {
        loop {
            match said.recv_timeout(Duration::from_millis(200)) {
                Ok(said) => return Ok(said),
                Err(RecvTimeoutError::Timeout) => self.show(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Wrong::World("a load thread ended without a word".into()));
                }
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
