//! The kernel's side of the ring: entries in, completions out. What an entry points to lives here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::limits::{RING_COMPLETIONS, RING_ENTRIES};

/// What an entry is about, and with it its completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Whether a descriptor can be read, by its place; it stays until it is forgotten.
    Input(usize),
    /// Whether a descriptor can be written, by its place; once.
    Output(usize),
    /// A moment, in nanoseconds since the ring was made.
    Alarm(u64),
    /// Taking back an entry; its completion says nothing.
    Forget,
}

/// The lowest bits of an entry's user data say what it is about, the others which.
const KIND_BITS: u64 = 2;

/// What has happened.
#[derive(Debug)]
pub(super) struct News {
    pub(super) what: What,
    /// Of a poll: the events, or an error as its negative number.
    pub(super) result: i32,
    /// More of the same entry will come.
    pub(super) has_more: bool,
}

pub(super) struct Uring {
    ring: IoUring,
    /// Entries for which the queue had no room.
    waiting: VecDeque<squeue::Entry>,
    /// Alarms in flight. The kernel reads the duration when it takes the entry.
    alarms: BTreeMap<u64, Box<Timespec>>,
}

impl Uring {
    /// To be called on the thread that will use it.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            // Completions are made when this thread asks for them, and it is told that there are some.
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(RING_COMPLETIONS)
            .build(RING_ENTRIES)?;
        Ok(Self { ring, waiting: VecDeque::new(), alarms: BTreeMap::new() })
    }

    /// Watches a descriptor for `events`.
    pub(super) fn watch(&mut self, fd: RawFd, events: u32, what: What) {
        let is_lasting = matches!(what, What::Input(_));
        let entry = opcode::PollAdd::new(Fd(fd), events).multi(is_lasting).build();
        self.push(entry.user_data(what.user_data()));
    }

    /// Takes a watch back. Its last completion is still to come. By a cancel: the kernel refuses to remove a
    /// poll that is just about to tell something, and it would stay, and the socket with it.
    pub(super) fn forget(&mut self, what: What) {
        let entry = opcode::AsyncCancel::new(what.user_data()).build();
        self.push(entry.user_data(What::Forget.user_data()));
    }

    /// Whether an alarm is set for this moment or an earlier one.
    pub(super) fn has_alarm_by(&self, at: u64) -> bool {
        self.alarms.first_key_value().is_some_and(|(first, _)| *first <= at)
    }

    /// Sets an alarm for a moment that is `left` away; it has none yet.
    pub(super) fn alarm(&mut self, at: u64, left: Duration) {
        let left = self.alarms.entry(at).or_insert(Box::new(Timespec::from(left)));
        let entry = opcode::Timeout::new(&raw const **left).build();
        self.push(entry.user_data(What::Alarm(at).user_data()));
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.waiting.push_back(entry);
        self.fill();
    }

    #[allow(unsafe_code)]
    fn fill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.waiting.front() {
            // SAFETY: polls point to nothing; an alarm's duration stays in `alarms` until its completion.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Whether something has happened that can be had without waiting.
    pub(super) fn has_news(&mut self) -> bool {
        let is_told = {
            let queue = self.ring.submission();
            queue.taskrun() || queue.cq_overflow()
        };
        is_told || !self.ring.completion().is_empty()
    }

    /// Whether entries wait for the kernel.
    pub(super) fn has_entries(&mut self) -> bool {
        !self.waiting.is_empty() || !self.ring.submission().is_empty()
    }

    /// Gives the kernel what is new and has it make completions; sleeps until there is one if that is
    /// asked for.
    pub(super) fn enter(&mut self, is_to_sleep: bool) {
        loop {
            self.fill();
            let want = usize::from(is_to_sleep && self.waiting.is_empty());
            match self.ring.submit_and_wait(want) {
                Ok(_) => {}
                // A signal, or the kernel is short of memory: what is queued goes with a later turn.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) =>
                {
                    return;
                }
                Err(error) => panic!("the shard's ring cannot go on: {error}"),
            }
            if self.waiting.is_empty() {
                return;
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<News> {
        let entry = self.ring.completion().next()?;
        let what = What::of(entry.user_data());
        if let What::Alarm(at) = what {
            self.alarms.remove(&at);
        }
        Some(News { what, result: entry.result(), has_more: cqueue::more(entry.flags()) })
    }
}

impl What {
    fn user_data(self) -> u64 {
        match self {
            Self::Input(place) => (place as u64) << KIND_BITS,
            Self::Output(place) => (place as u64) << KIND_BITS | 1,
            Self::Alarm(at) => at << KIND_BITS | 2,
            Self::Forget => 3,
        }
    }

    fn of(user_data: u64) -> Self {
        let which = user_data >> KIND_BITS;
        match user_data & 3 {
            0 => Self::Input(which as usize),
            1 => Self::Output(which as usize),
            2 => Self::Alarm(which),
            _ => Self::Forget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_known_by_its_completion() {
        for what in [What::Input(0), What::Output(77), What::Alarm(1 << 60), What::Forget] {
            assert_eq!(What::of(what.user_data()), what);
        }
    }
}
