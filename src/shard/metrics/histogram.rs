//! Counts by size, so fine that quantiles can be read from them and so plain that a record is two
//! additions: eight steps to each power of two (a value is told to within an eighth).

use std::cell::Cell;

/// Steps to a power of two, as bits.
const STEP_BITS: u32 = 3;
/// Steps to a power of two.
const STEPS: usize = 1 << STEP_BITS;
/// What is larger than this power of two is counted in the last bucket: 137 seconds in nanoseconds.
const EXPONENT_MAX: u32 = 36;
/// The first [`STEPS`] values have a bucket each.
const BUCKETS: usize = STEPS * (EXPONENT_MAX - STEP_BITS + 2) as usize;

/// What a shard counts into. The unit is the caller's: nanoseconds, bytes or pieces.
pub struct Histogram {
    counts: [Cell<u64>; BUCKETS],
    sum: Cell<u64>,
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.read().fmt(f)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Cell::default()), sum: Cell::default() }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn record(&self, value: u64) {
        let count = &self.counts[place(value)];
        count.set(count.get() + 1);
        self.sum.set(self.sum.get().wrapping_add(value));
    }

    /// What was counted so far.
    pub fn read(&self) -> Distribution {
        let counts = self.counts.iter().map(Cell::get).enumerate();
        Distribution::new(counts.map(|(place, count)| (end(place), count)), self.sum.get())
    }
}

/// What a histogram had counted at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The first value above a bucket, and how many values were in it and not in the one before.
    buckets: Vec<(u64, u64)>,
    sum: u64,
}

impl Distribution {
    /// From buckets in order, each the first value above it and its count; `sum` is what all values add up to.
    pub fn new(buckets: impl IntoIterator<Item = (u64, u64)>, sum: u64) -> Self {
        Self { buckets: buckets.into_iter().filter(|(_, count)| *count != 0).collect(), sum }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// What they add up to.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many were below `limit`, as far as the buckets tell: exact for powers of two.
    pub fn below(&self, limit: u64) -> u64 {
        self.buckets.iter().take_while(|(end, _)| *end <= limit).map(|(_, count)| count).sum()
    }

    /// The buckets in which something is: the first value above each, and its count.
    pub fn buckets(&self) -> &[(u64, u64)] {
        &self.buckets
    }
}

impl From<&storage_engine::Histogram> for Distribution {
    fn from(histogram: &storage_engine::Histogram) -> Self {
        let end = |bucket| storage_engine::Histogram::bucket_end(bucket).saturating_add(1);
        let buckets = histogram.counts.iter().enumerate().map(|(bucket, count)| (end(bucket), *count));
        Self::new(buckets, histogram.sum)
    }
}

/// The bucket of a value.
fn place(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let exponent = value.ilog2();
    let step = (value >> (exponent - STEP_BITS)) as usize % STEPS;
    ((exponent - STEP_BITS + 1) as usize * STEPS + step).min(BUCKETS - 1)
}

/// The first value above a bucket.
fn end(place: usize) -> u64 {
    if place < STEPS {
        return place as u64 + 1;
    }
    let shift = place / STEPS - 1;
    ((STEPS + place % STEPS + 1) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_is_told_to_an_eighth() {
        let values =
            (0..2000).chain((0..36).flat_map(|shift| [(1 << shift) - 1, 1 << shift, 3 << shift >> 1]));
        for value in values {
            let at = place(value);
            let begin = if at == 0 { 0 } else { end(at - 1) };
            assert!((begin..end(at)).contains(&value), "{value}: {begin}..{}", end(at));
            assert!(end(at) - begin <= (value / 8).max(1), "{value}: {begin}..{}", end(at));
        }
        assert_eq!(place(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_read_is_what_was_recorded() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read(), Distribution::default());
        for value in [0, 5, 5, 1000, 70_000] {
            histogram.record(value);
        }
        let read = histogram.read();
        assert_eq!((read.count(), read.sum()), (5, 71_010));
        assert_eq!([read.below(1), read.below(8), read.below(1024), read.below(1 << 20)], [1, 3, 4, 5]);
        assert_eq!(read.buckets(), [(1, 1), (6, 2), (1024, 1), (73_728, 1)]);
    }

    #[test]
    fn the_engines_counts_keep_their_bounds() {
        let mut counted = storage_engine::Histogram { sum: 1030, ..storage_engine::Histogram::default() };
        (counted.counts[0], counted.counts[11], counted.counts[47]) = (2, 1, 4);
        let read = Distribution::from(&counted);
        assert_eq!((read.buckets(), read.sum()), (&[(1, 2), (2048, 1), (u64::MAX, 4)][..], 1030));
    }
}
