//! Which way a small batch over zeroes becomes durable: by one write that is durable itself, or by a flush linked to it.
//!
//! The one write is less work and mostly quicker. But a kernel thread that is bound to one core ends it, and where
//! something else keeps that core busy each batch waits for a tick of the scheduler. Only the times tell; so both are timed,
//! and the one that is not in use is tried now and then.

use crate::disk::Durable;
use crate::limits::{
    SLOW_WAY_NANOS, TRIED_WAY_BATCHES, TRY_BATCHES, TRY_SLOW_BATCHES, WAY_BATCHES, WAY_OUTLIER_MEANS,
};

#[derive(Debug, Default)]
pub(super) struct Ways {
    by_write: Way,
    by_flush: Way,
    is_by_flush: bool,
    batches: u64,
}

/// The moving mean of a way's times, nanoseconds; 0 before the first.
#[derive(Debug, Default)]
struct Way(u64);

impl Ways {
    /// The way for the next batch.
    pub(super) const fn next(&mut self) -> Durable {
        self.batches += 1;
        let (used, other) = if self.is_by_flush {
            (&self.by_flush, &self.by_write)
        } else {
            (&self.by_write, &self.by_flush)
        };
        let every = if used.0 > SLOW_WAY_NANOS { TRY_SLOW_BATCHES } else { TRY_BATCHES };
        let is_unknown = used.0 != 0 && other.0 == 0;
        let is_try = is_unknown || self.batches.is_multiple_of(every);
        if self.is_by_flush == is_try { Durable::ByWrite } else { Durable::ByFlush }
    }

    /// Notes how long a batch that went this way took.
    pub(super) fn took(&mut self, way: Durable, nanos: u64) {
        let is_by_flush = way == Durable::ByFlush;
        let over = if is_by_flush == self.is_by_flush { WAY_BATCHES } else { TRIED_WAY_BATCHES };
        let timed = if is_by_flush { &mut self.by_flush } else { &mut self.by_write };
        timed.count(nanos, over);
        let (write, flush) = (self.by_write.0, self.by_flush.0);
        if write == 0 || flush == 0 {
            return;
        }
        // Half as slow again before the way with less work is left, so that it does not go back and forth.
        if write > flush + flush / 2 {
            self.is_by_flush = true;
        } else if write <= flush {
            self.is_by_flush = false;
        }
    }
}

impl Way {
    fn count(&mut self, nanos: u64, over: u64) {
        let nanos = nanos.max(1);
        if self.0 == 0 {
            self.0 = nanos;
            return;
        }
        let nanos = nanos.min(self.0 * WAY_OUTLIER_MEANS);
        // Rounded up, so that it never becomes 0.
        self.0 = (self.0 * (over - 1) + nanos).div_ceil(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds.
    const US: u64 = 1000;
    const TICK: u64 = 4000 * US;

    /// What each way takes.
    #[derive(Clone, Copy)]
    struct Times {
        by_write: u64,
        by_flush: u64,
    }

    const QUIET: Times = Times { by_write: 90 * US, by_flush: 120 * US };
    /// Something else keeps the core busy that the durable writes end on.
    const BUSY: Times = Times { by_write: TICK, by_flush: 400 * US };

    /// How many of so many batches went by a flush, and the time of all.
    fn run(ways: &mut Ways, batches: u64, times: Times) -> (u64, u64) {
        (0..batches).fold((0, 0), |(flushes, sum), _| {
            let way = ways.next();
            let nanos = if way == Durable::ByFlush { times.by_flush } else { times.by_write };
            ways.took(way, nanos);
            (flushes + u64::from(way == Durable::ByFlush), sum + nanos)
        })
    }

    #[test]
    fn the_quicker_way_is_used_and_the_other_one_tried() {
        let mut ways = Ways::default();
        let (flushes, _) = run(&mut ways, 1280, QUIET);
        assert_eq!(flushes, 1280 / TRY_BATCHES + 1, "the first, to know it, and now and then");
        let other = Times { by_write: 200 * US, by_flush: 100 * US };
        run(&mut ways, 100, other);
        let (flushes, _) = run(&mut ways, 1280, other);
        assert_eq!(flushes, 1280 - 1280 / TRY_BATCHES);
    }

    #[test]
    fn a_busy_core_holds_up_few_batches_and_is_noticed_when_it_is_free_again() {
        let mut ways = Ways::default();
        run(&mut ways, 10_000, QUIET);
        let (flushes, sum) = run(&mut ways, 1000, BUSY);
        assert!(flushes > 985, "{flushes}");
        assert!(sum / 1000 < 470 * US, "{sum}");
        let (flushes, _) = run(&mut ways, 1280, QUIET);
        assert!(flushes < 900, "{flushes}");
        assert_eq!(run(&mut ways, 1280, QUIET).0, 1280 / TRY_BATCHES, "as before");
    }

    #[test]
    fn a_core_that_is_busy_from_the_start_is_noticed_at_once() {
        let mut ways = Ways::default();
        assert!(run(&mut ways, 100, BUSY).0 >= 98);
    }

    #[test]
    fn a_first_time_that_was_bad_luck_is_soon_put_right() {
        let mut ways = Ways::default();
        ways.took(Durable::ByWrite, TICK);
        ways.took(Durable::ByFlush, TICK);
        let (flushes, _) = run(&mut ways, 200, BUSY);
        assert!(flushes > 150, "{flushes}");
    }

    #[test]
    fn where_both_are_slow_neither_hides_behind_an_old_time() {
        let mut ways = Ways::default();
        run(&mut ways, 1000, QUIET);
        run(&mut ways, 1000, Times { by_write: TICK, by_flush: 2 * TICK });
        let (flushes, _) = run(&mut ways, 1280, Times { by_write: TICK, by_flush: 2 * TICK });
        assert_eq!(flushes, 1280 / TRY_SLOW_BATCHES, "the less slow one");
    }

    #[test]
    fn one_time_far_out_changes_nothing() {
        let mut ways = Ways::default();
        run(&mut ways, 200, QUIET);
        for _ in 0..20 {
            ways.took(Durable::ByWrite, 50 * TICK);
            let (flushes, _) = run(&mut ways, 40, QUIET);
            assert_eq!(flushes, tries(&ways, 40));
        }
    }

    /// How many of the last batches were tries.
    fn tries(ways: &Ways, batches: u64) -> u64 {
        ways.batches / TRY_BATCHES - (ways.batches - batches) / TRY_BATCHES
    }

    #[test]
    fn times_of_a_clock_that_hardly_moves_are_times() {
        let mut ways = Ways::default();
        let (flushes, _) = run(&mut ways, 1000, Times { by_write: 0, by_flush: 0 });
        assert!(flushes < 20);
    }
}
