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
    /// Intended times at random, as of many who know nothing of each other (a Poisson process); else evenly spaced.
    pub(crate) is_random: bool,
}

impl Plan {
    /// One operation on each of `connections` that are ready: they take turns.
    pub(crate) const fn once_each(connections: usize) -> Self {
        Self {
            count: Some(connections as u64),
            duration: Duration::from_hours(1),
            rate: None,
            is_random: false,
        }
    }
}

pub(super) struct Pacing {
    end: Instant,
    count: u64,
    times: Option<Times>,
    issued: u64,
}

/// The intended starts.
#[derive(Clone)]
struct Times {
    next: Instant,
    began: Instant,
    rate: f64,
    /// How many have gone by.
    number: u64,
    random: Option<base::Random>,
}

impl Times {
    fn advance(&mut self) {
        self.number += 1;
        self.next = match &mut self.random {
            // From the beginning, so that roundings do not add up.
            None => self.began + Duration::from_secs_f64(self.number as f64 / self.rate),
            // The gaps of a Poisson process: exponentially distributed. Of 53 bits, and never 0.
            Some(random) => {
                let share = (random.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
                self.next + Duration::from_secs_f64(-share.ln() / self.rate)
            }
        };
    }
}

impl Pacing {
    pub(super) fn new(plan: &Plan, began: Instant) -> Self {
        let times = plan.rate.map(|rate| Times {
            next: began,
            began,
            rate,
            number: 0,
            random: plan.is_random.then(|| base::Random::new(1)),
        });
        let count = plan.count.unwrap_or(u64::MAX);
        Self { end: began + plan.duration, count, times, issued: 0 }
    }

    /// The intended start of the next operation, if it may begin now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        match &self.times {
            None => Some(now),
            Some(times) => (times.next <= now && times.next < self.end).then_some(times.next),
        }
    }

    /// The operation that was due has been given to a connection.
    pub(super) fn taken(&mut self) {
        self.issued += 1;
        if let Some(times) = &mut self.times {
            times.advance();
        }
    }

    /// Whether no further operation will begin.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.issued >= self.count || now >= self.end
    }

    /// When the loop has to look again even if nothing arrives.
    pub(super) fn next_look(&self, now: Instant, are_all_busy: bool) -> Instant {
        if self.is_over(now) {
            return now + TURN;
        }
        let latest = (now + TURN).min(self.end.max(now + Duration::from_millis(1)));
        match &self.times {
            Some(times) if !are_all_busy => times.next.min(latest),
            _ => latest,
        }
    }

    /// The intended starts that came before the end and found no connection free.
    pub(super) fn never_began(&self, now: Instant) -> impl Iterator<Item = Instant> + '_ {
        let last = self.end.min(now);
        let mut times = self.times.clone();
        let mut next = move || {
            let times = times.as_mut()?;
            let due = times.next;
            times.advance();
            Some(due)
        };
        (self.issued..self.count).map_while(move |_| next()).take_while(move |due| *due < last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_open_loop_keeps_its_times_however_late_it_is_served() {
        let began = crate::clock::now();
        let plan = Plan { count: None, duration: 10 * MS, rate: Some(1000.0), is_random: false };
        let mut pacing = Pacing::new(&plan, began);
        assert_eq!(pacing.due(began), Some(began));
        pacing.taken();
        assert_eq!(pacing.due(began), None);
        assert_eq!(pacing.next_look(began, false), began + MS);
        // Seven milliseconds late: the second operation still counts from its own time.
        assert_eq!(pacing.due(began + 8 * MS), Some(began + MS));
        pacing.taken();
        assert!(pacing.is_over(began + 10 * MS));
        // What would be due after the end is not waited for.
        assert_eq!(pacing.next_look(began + 12 * MS, false), began + 12 * MS + TURN);
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

    #[test]
    fn random_times_come_at_the_rate_and_unevenly() {
        let began = crate::clock::now();
        let second = Duration::from_secs(1);
        let plan = Plan { count: None, duration: 10 * second, rate: Some(1000.0), is_random: true };
        let pacing = Pacing::new(&plan, began);
        let times: Vec<Instant> = pacing.never_began(began + 20 * second).collect();
        // Of 10,000 the standard deviation is 100.
        assert!((9_500..10_500).contains(&times.len()), "{} in ten seconds", times.len());
        let short = times.windows(2).filter(|pair| pair[1] - pair[0] < MS / 10).count();
        // One gap in ten is shorter than a tenth of the mean: 1 - e^-0.1.
        assert!((850..1_050).contains(&short), "{short} short gaps");
    }
}
