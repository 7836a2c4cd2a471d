//! When operations begin: as soon as a connection is ready, or at intended times.

use std::time::{Duration, Instant};

use crate::limits::TURN;

/// How much is to be done, by one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// End after so many operations.
    pub(crate) count: Option<u64>,
    /// Begin none after this.
    pub(crate) duration: Duration,
    /// Intended operations a second; `None`: one after the other on each connection.
    pub(crate) rate: Option<f64>,
}

impl Plan {
    /// One operation on each of `connections` that are ready: they take turns.
    pub(crate) const fn once_each(connections: usize) -> Self {
        Self { count: Some(connections as u64), duration: Duration::from_hours(1), rate: None }
    }
}

pub(super) struct Pacing {
    began: Instant,
    end: Instant,
    count: u64,
    rate: Option<f64>,
    issued: u64,
}

impl Pacing {
    pub(super) fn new(plan: &Plan, began: Instant) -> Self {
        let count = plan.count.unwrap_or(u64::MAX);
        Self { began, end: began + plan.duration, count, rate: plan.rate, issued: 0 }
    }

    /// The intended start of operation `number`.
    fn intended(&self, number: u64) -> Option<Instant> {
        self.rate.map(|rate| self.began + Duration::from_secs_f64(number as f64 / rate))
    }

    /// The intended start of the next operation, if it may begin now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        match self.intended(self.issued) {
            None => Some(now),
            Some(due) => (due <= now && due < self.end).then_some(due),
        }
    }

    /// The operation that was due has been given to a connection.
    pub(super) fn taken(&mut self) {
        self.issued += 1;
    }

    /// Whether no further operation will begin.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.issued >= self.count || now >= self.end
    }

    /// When the loop has to look again even if nothing arrives.
    pub(super) fn next_look(&self, now: Instant, are_all_busy: bool) -> Instant {
        let latest = (now + TURN).min(self.end.max(now + Duration::from_millis(1)));
        match self.intended(self.issued) {
            Some(due) if !are_all_busy => due.min(latest),
            _ => latest,
        }
    }

    /// The intended starts that came before the end and found no connection free.
    pub(super) fn never_began(&self, now: Instant) -> impl Iterator<Item = Instant> + '_ {
        let last = self.end.min(now);
        (self.issued..self.count).map_while(|number| self.intended(number)).take_while(move |due| *due < last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_open_loop_keeps_its_times_however_late_it_is_served() {
        let began = crate::clock::now();
        let plan = Plan { count: None, duration: 10 * MS, rate: Some(1000.0) };
        let mut pacing = Pacing::new(&plan, began);
        assert_eq!(pacing.due(began), Some(began));
        pacing.taken();
        assert_eq!(pacing.due(began), None);
        assert_eq!(pacing.next_look(began, false), began + MS);
        // Seven milliseconds late: the second operation still counts from its own time.
        assert_eq!(pacing.due(began + 8 * MS), Some(began + MS));
        pacing.taken();
        assert!(pacing.is_over(began + 10 * MS));
        assert_eq!(pacing.never_began(began + 12 * MS).count(), 8);
        assert_eq!(pacing.never_began(began + 12 * MS).next(), Some(began + 2 * MS));
    }

    #[test]
    fn a_closed_loop_ends_by_count() {
        let began = crate::clock::now();
        let mut pacing = Pacing::new(&Plan::once_each(2), began);
        for _ in 0..2 {
            assert_eq!(pacing.due(began + MS), Some(began + MS));
            pacing.taken();
        }
        assert_eq!((pacing.due(began + MS), pacing.is_over(began + MS)), (None, true));
        assert_eq!(pacing.never_began(began + MS).count(), 0);
    }
}
