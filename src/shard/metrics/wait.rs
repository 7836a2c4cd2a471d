//! Where an operation's time goes. An operation is a future, so it waits by returning `Pending`; whoever
//! made it wait leaves a mark on the thread, and whoever polls it reads the mark.

use std::cell::Cell;

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Others on the shard: it has given way in the middle of long work.
    Turn,
    /// The store: a commit's flush, or bytes from the disk.
    Store,
    /// An answer of another shard.
    OtherShard,
    /// The peer, who does not read what is being written.
    Network,
    /// The pool of threads where passwords are hashed.
    Password,
}

impl Wait {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 5] = [Self::Turn, Self::Store, Self::OtherShard, Self::Network, Self::Password];

    /// Its name in what is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Store => "store",
            Self::OtherShard => "other_shard",
            Self::Network => "network",
            Self::Password => "password",
        }
    }

    /// Says that what this thread waits for from here on is this, until the mark is dropped.
    #[must_use = "the mark holds until it is dropped"]
    pub fn mark(self) -> Mark {
        change(self, |marks| marks.saturating_add(1));
        Mark(self)
    }

    /// Says that the poll that goes on now ends in waiting for this, whatever is marked.
    pub fn begins(self) {
        ENDING.set(Some(self));
    }
}

/// How many marks of each wait hold. An operation may ask several shards at a time, and their answers, which
/// end the marks, come in any order.
#[derive(Clone, Copy, Debug, Default)]
struct Marks([u16; Wait::ALL.len()]);

impl Marks {
    /// What is waited for, as far as marks say: of several the one with the greatest number.
    fn wait(self) -> Option<Wait> {
        Wait::ALL.into_iter().rev().find(|wait| self.0[*wait as usize] > 0)
    }
}

thread_local! {
    /// What is marked.
    static CURRENT: Cell<Marks> = const { Cell::new(Marks([0; Wait::ALL.len()])) };
    /// What the poll that goes on ends in.
    static ENDING: Cell<Option<Wait>> = const { Cell::new(None) };
}

fn change(wait: Wait, by: impl FnOnce(u16) -> u16) {
    let mut marks = CURRENT.get();
    let count = &mut marks.0[wait as usize];
    *count = by(*count);
    CURRENT.set(marks);
}

/// A wait that was said; dropping it takes that back.
#[derive(Debug)]
pub struct Mark(Wait);

impl Drop for Mark {
    fn drop(&mut self) {
        // An operation that is given up is dropped outside of its polls, where its marks are not.
        change(self.0, |marks| marks.saturating_sub(1));
    }
}

/// How long one operation has waited, by reason. Times come from a clock that may be coarse: its owner is
/// interested in what is slow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// Milliseconds, by [`Wait`]'s number.
    ms: [u32; Wait::ALL.len()],
    /// The marks at the end of the last poll.
    marks: Marks,
    /// What the last poll left it waiting for.
    reason: Option<Wait>,
    since_ms: u64,
}

impl Waits {
    /// To be called before each poll. `now_ms` is asked only when the operation has waited.
    pub fn resume(&mut self, now_ms: impl FnOnce() -> u64) {
        if let Some(reason) = self.reason.take() {
            let waited = now_ms().saturating_sub(self.since_ms);
            let sum = &mut self.ms[reason as usize];
            *sum = sum.saturating_add(u32::try_from(waited).unwrap_or(u32::MAX));
        }
        CURRENT.set(self.marks);
        ENDING.set(None);
    }

    /// To be called after a poll that came to no end. `unmarked` is what it waits for if nobody said.
    pub fn suspend(&mut self, now_ms: u64, unmarked: Wait) {
        self.marks = CURRENT.take();
        self.reason = Some(ENDING.take().or_else(|| self.marks.wait()).unwrap_or(unmarked));
        self.since_ms = now_ms;
    }

    /// Milliseconds waited, by [`Wait`]'s number.
    pub const fn ms(&self) -> [u32; Wait::ALL.len()] {
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_counted_for_what_was_said() {
        let mut waits = Waits::default();
        waits.resume(|| unreachable!("it has not waited"));
        let mark = Wait::OtherShard.mark();
        waits.suspend(10, Wait::Turn);
        // Another operation on the thread says what it likes.
        drop(Wait::Network.mark());
        waits.resume(|| 25);
        waits.suspend(30, Wait::Turn);
        waits.resume(|| 32);
        Wait::Network.begins();
        waits.suspend(32, Wait::Turn);
        waits.resume(|| 39);
        drop(mark);
        waits.suspend(40, Wait::Store);
        waits.resume(|| 100);
        waits.suspend(100, Wait::Turn);
        waits.resume(|| 101);
        assert_eq!(waits.ms(), [1, 60, 17, 7, 0]);
        assert!(Wait::ALL.iter().enumerate().all(|(place, wait)| *wait as usize == place));
    }

    #[test]
    fn marks_that_end_in_any_order_leave_none_behind() {
        let mut waits = Waits::default();
        waits.resume(|| unreachable!("it has not waited"));
        // Two shards are asked at the same time, and the first one answers first.
        let (first, second) = (Wait::OtherShard.mark(), Wait::OtherShard.mark());
        waits.suspend(0, Wait::Turn);
        waits.resume(|| 5);
        drop(first);
        waits.suspend(5, Wait::Store);
        waits.resume(|| 12);
        drop(second);
        waits.suspend(12, Wait::Store);
        waits.resume(|| 112);
        assert_eq!(waits.ms(), [0, 100, 12, 0, 0]);
        // One that is dropped where it was not said takes nothing away from others.
        let elsewhere = Wait::Password.mark();
        waits.resume(|| unreachable!("it has not waited"));
        drop(elsewhere);
        waits.suspend(200, Wait::Turn);
        waits.resume(|| 201);
        assert_eq!(waits.ms(), [1, 100, 12, 0, 0]);
    }
}
