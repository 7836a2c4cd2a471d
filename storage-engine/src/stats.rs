//! Counters of one shard's store.

/// Powers of two a [`Histogram`] tells apart: the last takes everything above 2^46 (of nanoseconds, 19 hours).
const BUCKETS: usize = 48;

/// How many values of a measure fell between which powers of two. Counting costs three additions and no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Bucket 0 counts zeroes, bucket n the values from 2^(n-1) to 2^n - 1; the last also all above it.
    pub counts: [u64; BUCKETS],
    /// Sum of all values.
    pub sum: u64,
    /// The largest value.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts a value.
    pub(crate) fn add(&mut self, value: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean; 0 when nothing was counted.
    pub fn mean(&self) -> u64 {
        self.sum / self.count().max(1)
    }

    /// The largest value of a bucket.
    pub const fn bucket_end(bucket: usize) -> u64 {
        if bucket + 1 >= BUCKETS { u64::MAX } else { (1 << bucket) - 1 }
    }

    /// A value that `percent` of all values are not above, rounded up to the end of its bucket and never above the
    /// largest; 0 when nothing was counted.
    pub fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Self::bucket_end(bucket.unwrap_or(BUCKETS)).min(self.max)
    }
}

/// A copy of the counters; sums since the engine was opened, except where "now" is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions acknowledged.
    pub commits: u64,
    /// Batches written and flushed: a batch is what one commit of the journal covers.
    pub batches: u64,
    /// Bytes given to the journal in batches, padding included.
    pub bytes_written: u64,
    /// Of those, bytes that only fill batches up to whole blocks.
    pub padding_bytes: u64,
    /// Bytes of zeroes written ahead of the batches.
    pub zero_bytes: u64,
    /// Bytes of runs that checkpoints wrote.
    pub checkpoint_bytes: u64,
    /// Flushes of the journal that a batch waited for.
    pub flushes: u64,
    /// Body and meta reads.
    pub reads: u64,
    /// Bytes those reads brought.
    pub bytes_read: u64,
    /// Transactions of each batch.
    pub batch_commits: Histogram,
    /// Bytes of each batch, padding included.
    pub batch_bytes: Histogram,
    /// Nanoseconds from giving a batch to the disk until its flush was seen to have ended. On a simulated disk the time is
    /// counted in its steps.
    pub flush_nanos: Histogram,
    /// Checkpoints installed.
    pub checkpoints: u64,
    /// Bytes of meta blocks and bodies applied. With `dead_body_bytes` an estimate of what is live in the journal
    /// since the engine was opened, and of what a compaction would give back.
    pub body_bytes: u64,
    /// Bytes of meta blocks and bodies of rows that were deleted. An estimate from above: a body that several rows share
    /// is counted for each of them.
    pub dead_body_bytes: u64,
    /// Batches on their way to the disk, now.
    pub in_flight: u64,
    /// Bytes of the journal from its first segment to where it is written, now. Nothing gives any back yet.
    pub journal_bytes: u64,
    /// Bytes of the journal a replay would read, now.
    pub replay_bytes: u64,
    /// Bytes of the fresh and frozen parts, now.
    pub fresh_bytes: u64,
    /// Runs, now.
    pub runs: u64,
    /// Bytes of runs, now.
    pub run_bytes: u64,
    /// The number of the segment being written, now.
    pub segment: u32,
    /// Transactions proposed and not yet durable, now.
    pub pending: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_between_powers_of_two() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.mean(), histogram.percentile(99)), (0, 0, 0));
        for value in [0, 1, 2, 3, 4, 1000, u64::MAX >> 8] {
            histogram.add(value);
        }
        assert_eq!(histogram.counts[..4], [1, 1, 2, 1]);
        assert_eq!((histogram.counts[10], histogram.counts[BUCKETS - 1]), (1, 1));
        assert_eq!((histogram.count(), histogram.max), (7, u64::MAX >> 8));
        assert_eq!((histogram.percentile(1), histogram.percentile(50)), (0, 3));
        assert_eq!((histogram.percentile(85), histogram.percentile(100)), (1023, u64::MAX >> 8));
    }

    #[test]
    fn a_bucket_ends_where_its_largest_value_is() {
        for value in [0, 1, 2, 7, 8, 4095, 4096] {
            let mut histogram = Histogram::default();
            histogram.add(value);
            let bucket = histogram.counts.iter().position(|count| *count > 0).expect("counted");
            assert!(Histogram::bucket_end(bucket) >= value);
            assert!(bucket == 0 || Histogram::bucket_end(bucket - 1) < value);
        }
    }
}
