//! An executor without threads and without real time: a seed picks which of the tasks that can go on
//! does so next, and time moves when none can.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use base::{Random, Timestamp};

use crate::Clock;

/// Although tasks can go on, time moves to the next timer once in so many steps.
const EARLY_TIMER_ONE_IN: u64 = 200;
/// But not by more than this, in milliseconds: who waits with a deadline waits for tasks that can go on.
const EARLY_TIMER_MS_MAX: u64 = 1_000;

thread_local! {
    static CURRENT: RefCell<Option<(Executor, Group)>> = const { RefCell::new(None) };
}

/// Tasks that end together: those of a shard, or those of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(u64);

/// What [`Executor::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A task was polled.
    Polled,
    /// No task could go on, or the seed would have it so: time moved to the next timer.
    Waited,
    /// No task can go on and no timer is set: nothing will ever happen again.
    Stuck,
}

/// A handle; clones are the same executor. The same seed and the same tasks give the same run.
#[derive(Clone)]
pub struct Executor(Rc<Inner>);

struct Inner {
    random: RefCell<Random>,
    clock: Clock,
    elapsed_ms: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<Vec<u64>>>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    /// The last number given to a task, a group or a timer.
    last_number: Cell<u64>,
    steps: Cell<u64>,
    trace: Cell<u64>,
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    group: Group,
    /// None while it is polled.
    work: Option<Work>,
    flag: Arc<Flag>,
}

struct Flag {
    task: u64,
    is_ready: AtomicBool,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("steps", &self.0.steps.get()).finish_non_exhaustive()
    }
}

impl Executor {
    /// Everything that is left to chance comes from `seed`.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds would begin alike.
        let mut random = Random::new(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let trace = random.next_u64();
        Self(Rc::new(Inner {
            random: RefCell::new(random),
            clock: Clock::new(),
            elapsed_ms: Cell::new(0),
            tasks: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            last_number: Cell::new(0),
            steps: Cell::new(0),
            trace: Cell::new(trace),
        }))
    }

    /// The executor that polls the caller, and the caller's group.
    pub fn current() -> Option<(Self, Group)> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// A number from 0 up to, not including, `end`; 0 when `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        let random = self.0.random.borrow_mut().next_u64();
        // The low bits of a product are the poor ones.
        if end == 0 { 0 } else { (random >> 16) % end }
    }

    /// True once in `n` on average.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// The clock on the wall, which moves with the executor's time and can be set.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Time since the beginning, in milliseconds, whatever the clock on the wall was set to.
    pub fn elapsed_ms(&self) -> u64 {
        self.0.elapsed_ms.get()
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    /// A hash of all that has happened: which tasks were polled in which order, and what was noted.
    pub fn trace(&self) -> u64 {
        self.0.trace.get()
    }

    /// Adds bytes to the trace.
    pub fn note(&self, bytes: &[u8]) {
        // FNV-1a: enough to tell runs apart.
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        self.0.trace.set(bytes.iter().fold(self.0.trace.get(), mix));
    }

    /// A new group, without tasks.
    pub fn group(&self) -> Group {
        Group(self.number())
    }

    /// Begins a task.
    pub fn spawn(&self, group: Group, work: impl Future<Output = ()> + 'static) {
        let task = self.number();
        let flag = Flag { task, is_ready: AtomicBool::new(false), ready: Arc::clone(&self.0.ready) };
        let flag = Arc::new(flag);
        self.0
            .tasks
            .borrow_mut()
            .insert(task, Task { group, work: Some(Box::pin(work)), flag: Arc::clone(&flag) });
        flag.wake();
    }

    /// Ends a group's tasks where they are. None of them may be the caller.
    pub fn end(&self, group: Group) {
        let ended: Vec<Task> = self
            .0
            .tasks
            .borrow_mut()
            .extract_if(.., |_, task| task.group == group)
            .map(|(_, task)| task)
            .collect();
        // What is dropped here may wake others and begin tasks.
        drop(ended);
    }

    /// Ends all tasks; the executor and what its tasks held of it would live on otherwise.
    pub fn end_all(&self) {
        let ended = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(ended);
        let timers = std::mem::take(&mut *self.0.timers.borrow_mut());
        drop(timers);
    }

    /// True when a task can go on without time having to move.
    pub fn is_ready(&self) -> bool {
        !self.ready().is_empty()
    }

    /// Polls one task, or moves time.
    pub fn step(&self) -> Progress {
        self.0.steps.set(self.steps() + 1);
        let count = self.ready().len() as u64;
        if count == 0 || self.one_in(EARLY_TIMER_ONE_IN) {
            if self.wait(if count == 0 { u64::MAX } else { EARLY_TIMER_MS_MAX }) {
                return Progress::Waited;
            }
            if count == 0 {
                return Progress::Stuck;
            }
        }
        let chosen = self.below(count) as usize;
        let task = self.ready().swap_remove(chosen);
        self.poll(task);
        Progress::Polled
    }

    /// Resolves after `ms` milliseconds, whatever happens to the clock on the wall.
    pub fn sleep(&self, ms: u64) -> Sleep {
        Sleep { executor: self.clone(), end: End::Elapsed(self.elapsed_ms().saturating_add(ms)), timer: None }
    }

    /// Resolves when the clock on the wall shows `moment` or later.
    pub fn until(&self, moment: Timestamp) -> Sleep {
        Sleep { executor: self.clone(), end: End::Shown(moment), timer: None }
    }

    /// Lets others go first, if the seed would have it so.
    pub async fn pass(&self) {
        let mut is_passed = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_passed, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.0.last_number.set(self.0.last_number.get() + 1);
        self.0.last_number.get()
    }

    fn poll(&self, number: u64) {
        let taken = self.0.tasks.borrow_mut().get_mut(&number).and_then(|task| {
            task.flag.is_ready.store(false, Ordering::Relaxed);
            Some((task.work.take()?, task.group, Arc::clone(&task.flag)))
        });
        // A task that has ended may have been woken before.
        let Some((mut work, group, flag)) = taken else { return };
        self.note(&number.to_le_bytes());
        CURRENT.set(Some((self.clone(), group)));
        let polled = work.as_mut().poll(&mut Context::from_waker(&Waker::from(flag)));
        CURRENT.set(None);
        let mut tasks = self.0.tasks.borrow_mut();
        if polled.is_ready() {
            tasks.remove(&number);
        } else if let Some(task) = tasks.get_mut(&number) {
            task.work = Some(work);
            return;
        }
        drop(tasks);
        drop(work);
    }

    /// Moves time to the next timer; false when there is none, or none so soon.
    fn wait(&self, ms_max: u64) -> bool {
        let Some(&(next, _)) = self.0.timers.borrow().keys().next() else { return false };
        let by = next.saturating_sub(self.elapsed_ms());
        if by > ms_max {
            return false;
        }
        self.0.elapsed_ms.set(self.elapsed_ms() + by);
        self.0.clock.set(self.0.clock.now() + Duration::from_millis(by));
        self.note(&next.to_le_bytes());
        let later = self.0.timers.borrow_mut().split_off(&(next + 1, 0));
        let due = self.0.timers.replace(later);
        due.into_values().for_each(Waker::wake);
        true
    }
}

enum End {
    Elapsed(u64),
    Shown(Timestamp),
}

/// A timer; see [`Executor::sleep`] and [`Executor::until`].
pub struct Sleep {
    executor: Executor,
    end: End,
    timer: Option<(u64, u64)>,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("timer", &self.timer).finish_non_exhaustive()
    }
}

impl Sleep {
    fn forget(&mut self) {
        let timer = self.timer.take().and_then(|timer| self.executor.0.timers.borrow_mut().remove(&timer));
        drop(timer);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let now = self.executor.elapsed_ms();
        let at = match self.end {
            End::Elapsed(end) => end,
            End::Shown(Timestamp::NEVER) => return Poll::Pending,
            End::Shown(moment) => {
                let left = moment.since(self.executor.clock().now());
                now + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2)
            }
        };
        if at <= now {
            return Poll::Ready(());
        }
        let timer = (at, self.executor.number());
        self.executor.0.timers.borrow_mut().insert(timer, cx.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tasks that pass and sleep, and the order in which they went on.
    fn run(seed: u64) -> (Vec<u32>, u64) {
        let executor = Executor::new(seed);
        let group = executor.group();
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in 0..3 {
            let (at, order) = (executor.clone(), Rc::clone(&order));
            executor.spawn(group, async move {
                for _ in 0..4 {
                    order.borrow_mut().push(name);
                    at.pass().await;
                }
                at.sleep(10).await;
                order.borrow_mut().push(name);
            });
        }
        while executor.step() != Progress::Stuck {}
        assert_eq!((executor.elapsed_ms(), order.borrow().len()), (10, 15));
        (order.take(), executor.trace())
    }

    #[test]
    fn a_seed_gives_the_same_order_again_and_others_give_others() {
        assert_eq!(run(1), run(1));
        assert!((2..9).any(|seed| run(seed).0 != run(1).0));
    }

    #[test]
    fn a_group_ends_without_the_others() {
        let executor = Executor::new(1);
        let (first, second) = (executor.group(), executor.group());
        let done = Rc::new(Cell::new(0));
        for (group, worth) in [(first, 1), (second, 2)] {
            let (at, done) = (executor.clone(), Rc::clone(&done));
            executor.spawn(group, async move {
                at.sleep(5).await;
                done.set(done.get() + worth);
            });
        }
        while executor.is_ready() {
            executor.step();
        }
        executor.end(first);
        while executor.step() != Progress::Stuck {}
        assert_eq!(done.get(), 2);
    }

    #[test]
    fn a_clock_that_is_set_moves_what_waits_for_it_and_nothing_else() {
        let executor = Executor::new(3);
        let group = executor.group();
        let done = Rc::new(RefCell::new(Vec::new()));
        let moment = Clock::START + Duration::from_mins(1);
        let sleeps = [("clock", executor.until(moment)), ("time", executor.sleep(30_000))];
        for (name, sleep) in sleeps {
            let (at, done) = (executor.clone(), Rc::clone(&done));
            executor.spawn(group, async move {
                sleep.await;
                done.borrow_mut().push((name, at.elapsed_ms()));
            });
        }
        while executor.is_ready() {
            executor.step();
        }
        executor.clock().set(Clock::START - Duration::from_mins(1));
        while executor.step() != Progress::Stuck {}
        assert_eq!(*done.borrow(), [("time", 30_000), ("clock", 120_000)]);
    }
}
