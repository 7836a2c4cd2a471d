//! The flight recorder: the last operations that were slow, and where their time went. Never what was
//! in a message, never a name or a password.

use base::{AccountId, Timestamp};

use super::wait::Wait;
use super::{Operation, Protocol};
use crate::limits::{NETWORK_MS_ALLOWED, PASSWORD_MS_ALLOWED};

/// One slow operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowOperation {
    /// When it ended.
    pub at: Timestamp,
    /// The connection's number on its shard.
    pub connection: u64,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// What was asked for.
    pub operation: Operation,
    /// Whose session it is, if that was known.
    pub account: Option<AccountId>,
    /// From the request to its answer, in milliseconds.
    pub total_ms: u32,
    /// Of it, what was spent in waiting, by [`Wait`]'s number; the rest was work.
    pub waits_ms: [u32; Wait::ALL.len()],
}

impl SlowOperation {
    /// Milliseconds that it did not wait: the shard worked on it, or the kernel let the shard wait.
    pub fn work_ms(&self) -> u32 {
        self.waits_ms.iter().fold(self.total_ms, |left, waited| left.saturating_sub(*waited))
    }
}

/// Whether an operation that took `total_ms` is one to look at. A password's hash is slow by design, and
/// a peer far away reads slowly: both may take a while before they count.
pub(super) fn is_slow(total_ms: u64, waits_ms: &[u32; Wait::ALL.len()], slow_ms: u32) -> bool {
    let allowed = |wait: Wait, most: u32| u64::from(waits_ms[wait as usize].min(most));
    let forgiven = allowed(Wait::Password, PASSWORD_MS_ALLOWED) + allowed(Wait::Network, NETWORK_MS_ALLOWED);
    total_ms.saturating_sub(forgiven) >= u64::from(slow_ms)
}

/// A ring of the last ones.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    kept: Vec<SlowOperation>,
    /// The place of the oldest once the ring is full.
    next: usize,
    kept_max: usize,
}

impl Recorder {
    pub(super) fn new(kept_max: usize) -> Self {
        Self { kept: Vec::with_capacity(kept_max), next: 0, kept_max }
    }

    /// With room for another number; the newest stay.
    pub(super) fn resize(&mut self, kept_max: usize) {
        if kept_max != self.kept_max {
            let kept = self.list();
            *self = Self::new(kept_max);
            kept.into_iter().rev().take(kept_max).rev().for_each(|slow| self.put(slow));
        }
    }

    pub(super) fn put(&mut self, slow: SlowOperation) {
        if self.kept.len() < self.kept_max {
            self.kept.push(slow);
        } else if let Some(place) = self.kept.get_mut(self.next) {
            *place = slow;
            self.next = (self.next + 1) % self.kept_max;
        }
    }

    /// Oldest first.
    pub(super) fn list(&self) -> Vec<SlowOperation> {
        let (newer, older) = self.kept.split_at(self.next.min(self.kept.len()));
        [older, newer].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(connection: u64) -> SlowOperation {
        SlowOperation {
            at: Timestamp::from_ms(5),
            connection,
            protocol: Protocol::Imap,
            operation: Operation::Fetch,
            account: Some(AccountId(7)),
            total_ms: 100,
            waits_ms: [1, 20, 30, 0, 0],
        }
    }

    fn kept(recorder: &Recorder) -> Vec<u64> {
        recorder.list().iter().map(|slow| slow.connection).collect()
    }

    #[test]
    fn the_newest_are_kept_in_order() {
        let mut recorder = Recorder::new(3);
        (1..=5).for_each(|connection| recorder.put(slow(connection)));
        assert_eq!(kept(&recorder), [3, 4, 5]);
        recorder.resize(2);
        assert_eq!(kept(&recorder), [4, 5]);
        recorder.resize(4);
        (6..=9).for_each(|connection| recorder.put(slow(connection)));
        assert_eq!(kept(&recorder), [6, 7, 8, 9]);
        recorder.resize(0);
        recorder.put(slow(1));
        assert_eq!(kept(&recorder), [0; 0]);
    }

    #[test]
    fn one_takes_64_bytes() {
        assert_eq!(size_of::<SlowOperation>(), 64);
    }

    #[test]
    fn work_is_what_is_left_and_hashes_and_far_peers_are_forgiven_for_a_while() {
        assert_eq!(slow(1).work_ms(), 49);
        assert!(is_slow(50, &[0; 5], 50) && !is_slow(49, &[0; 5], 50));
        assert!(!is_slow(249, &[0, 0, 0, 0, 240], 50) && is_slow(300, &[0, 0, 0, 0, 290], 50));
        assert!(!is_slow(1040, &[0, 0, 0, 1040, 0], 50) && is_slow(1060, &[0, 0, 0, 1060, 0], 50));
    }
}
