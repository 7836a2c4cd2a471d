//! When to try again, and when to give up (RFC 5321 §4.5.4.1).

use core::time::Duration;

use base::Timestamp;

/// The schedule of one class of mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Waits after the first, second, .. failed attempt; the last one repeats. Never empty.
    pub waits: Vec<Duration>,
    /// How long it is tried.
    pub expires_after: Duration,
    /// After how long the sender is told that it is late; `None` for never.
    pub late_after: Option<Duration>,
}

impl Default for RetryPolicy {
    /// Five days, as RFC 5321 §4.5.4.1 asks for, and quick at first: most refusals are greylisting.
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            waits: [2, 5, 10, 20, 40, 60, 120, 240].map(minutes).into(),
            expires_after: minutes(5 * 24 * 60),
            late_after: Some(minutes(4 * 60)),
        }
    }
}

impl RetryPolicy {
    /// The wait after `attempts` failed ones, lengthened or shortened by up to an eighth so that what failed
    /// together does not come back together. `chance` is any number.
    pub fn wait(&self, attempts: u16, chance: u32) -> Duration {
        let at = usize::from(attempts.max(1) - 1).min(self.waits.len().saturating_sub(1));
        let wait = self.waits.get(at).copied().unwrap_or(Duration::from_mins(1));
        let eighth = wait / 8;
        wait.saturating_sub(eighth) + eighth * 2 * (chance % 1024) / 1024
    }

    /// When mail that is queued now is given up.
    pub fn expires(&self, now: Timestamp) -> Timestamp {
        now + self.expires_after
    }

    /// Whether the sender of mail queued at `queued` is to be told that it is late.
    pub fn is_late(&self, queued: Timestamp, now: Timestamp) -> bool {
        self.late_after.is_some_and(|after| now.since(queued) >= after)
    }
}
