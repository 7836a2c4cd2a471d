//! Whether zeroes go ahead of the log, chosen by the load.
//!
//! The file system does its own bookkeeping when a block is written for the first time, and the flush of such a write
//! waits for it: 0.1 ms without a journal of its own, 0.2 ms with one. Overwriting zeroes is free of that, but writes
//! every byte twice. So zeroes go ahead where somebody waits for a small flush, and batches go straight into reserved
//! blocks where there is much to write. Flushes that do bookkeeping hinder one another, so fewer are in flight then.

use crate::limits::{AHEAD_BATCH_BYTES, PACE_BATCHES, STRAIGHT_BATCH_BYTES, STRAIGHT_IN_FLIGHT_MAX};

/// What a transaction counts that is alone in its batch while no other batch is on its way: somebody waits for just it.
const ALONE_DIVISOR: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The moving mean of what batches count, bytes times `PACE_BATCHES`, so that small steps are not lost.
    scaled_mean: u32,
    is_straight: bool,
}

impl Pace {
    /// Notes a batch that is given to the disk.
    pub(super) fn count(&mut self, bytes: u32, is_alone: bool) {
        let counts = if is_alone { bytes / ALONE_DIVISOR } else { bytes };
        self.scaled_mean = self.scaled_mean - self.scaled_mean / PACE_BATCHES + counts;
        let mean = self.scaled_mean / PACE_BATCHES;
        // Between the two bounds it stays what it is.
        if mean > STRAIGHT_BATCH_BYTES {
            self.is_straight = true;
        } else if mean < AHEAD_BATCH_BYTES {
            self.is_straight = false;
        }
    }

    /// Batches are written into reserved blocks; otherwise over zeroes that went ahead.
    pub(super) const fn is_straight(&self) -> bool {
        self.is_straight
    }

    /// Batches that may be in flight, of `configured` ones.
    pub(super) fn in_flight_max(&self, configured: usize) -> usize {
        if self.is_straight { configured.min(STRAIGHT_IN_FLIGHT_MAX) } else { configured }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BATCH_BYTES_MAX;

    /// Whether so many bytes a batch, for a long time, end in the straight way, from either side.
    fn settles(bytes: u32, is_alone: bool) -> [bool; 2] {
        [1, 1 << 20].map(|before| {
            let mut pace = Pace::default();
            (0..1000).for_each(|_| pace.count(before, false));
            (0..1000).for_each(|_| pace.count(bytes, is_alone));
            pace.is_straight()
        })
    }

    #[test]
    fn zeroes_go_ahead_of_small_batches_only() {
        for bytes in [4096, 8192, AHEAD_BATCH_BYTES - 1] {
            assert_eq!(settles(bytes, false), [false, false], "{bytes}");
        }
        for bytes in [STRAIGHT_BATCH_BYTES + 4096, 1 << 20, BATCH_BYTES_MAX as u32] {
            assert_eq!(settles(bytes, false), [true, true], "{bytes}");
        }
        assert_eq!(settles(AHEAD_BATCH_BYTES + 1024, false), [false, true], "between the bounds it stays");
        assert_eq!(settles(64 << 10, true), [false, false], "somebody waits for just this one");
        assert_eq!(settles(1 << 20, true), [true, true], "the bytes are what takes the time");
    }

    #[test]
    fn a_single_batch_changes_nothing() {
        let mut pace = Pace::default();
        (0..1000).for_each(|_| pace.count(8192, false));
        pace.count(64 << 10, false);
        assert!(!pace.is_straight());
        assert_eq!(pace.in_flight_max(4), 4);
        (0..1000).for_each(|_| pace.count(1 << 20, false));
        pace.count(8192, false);
        assert!(pace.is_straight());
        assert_eq!((pace.in_flight_max(4), pace.in_flight_max(1)), (2, 1));
    }
}
