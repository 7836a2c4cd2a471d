//! Rate limits: so much in a time, with some of it at once. One number a bucket: the moment at which it
//! will be full again (the generic cell rate algorithm).

use std::time::Duration;

use base::Timestamp;

use super::bounded::{Bounded, Bytes, Kept, Written};
use super::key::{Home, Key, KeyMaker};
use crate::limits::{RATE_BUCKETS_MAX, RATE_MS_MIN};

/// How much may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many (messages, recipients, bytes, ...), at least 1.
    pub count: u64,
    /// In so many milliseconds, at least 1.
    pub every_ms: u64,
    /// So many at once, at least 1.
    pub burst: u64,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is within the limit and was counted.
    Within,
    /// It is not, and was not counted. After this time it would be.
    Over(Duration),
}

/// The buckets of all limits.
#[derive(Clone, Debug)]
pub struct Rates {
    maker: KeyMaker,
    buckets: Bounded<Bucket>,
}

/// When the bucket is full again, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket(i64);

/// Whether a bucket stays less than full for long enough to be written down.
fn worth(now: Timestamp) -> impl Fn(&Bucket) -> bool {
    let least_us = now.as_ms().saturating_add(RATE_MS_MIN).saturating_mul(1000);
    move |bucket| bucket.0 > least_us
}

impl Rates {
    /// One in which all buckets are full; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self { maker, buckets: Bounded::new(RATE_BUCKETS_MAX) }
    }

    /// The key of a subject of a limit, for [`Rates::take`].
    pub fn key(&self, limit: &str, subject: &str) -> Key {
        self.maker.key(Home::of_subject(subject), &[limit.as_bytes(), subject.as_bytes()])
    }

    /// Takes `amount` out of a bucket. More than the burst can never pass at once, so it counts as the
    /// burst: a large message waits for a full bucket and no longer.
    pub fn take(&mut self, now: Timestamp, rate: &Rate, key: Key, amount: u64) -> Taken {
        let now = now.as_ms().saturating_mul(1000);
        let burst = rate.burst.max(1);
        let cost = |amount: u64| {
            let us = u128::from(amount) * u128::from(rate.every_ms) * 1000 / u128::from(rate.count.max(1));
            i64::try_from(us).unwrap_or(i64::MAX)
        };
        let depth = cost(burst);
        let bucket = self.buckets.touch(key, || Bucket(now));
        // A bucket that would be full later than an empty one is from before the clock was set back.
        let full_at = if bucket.0 > now.saturating_add(depth) { now } else { bucket.0.max(now) };
        let after = full_at.saturating_add(cost(amount.min(burst)));
        let over = after.saturating_sub(now).saturating_sub(depth);
        if over > 0 {
            bucket.0 = full_at;
            return Taken::Over(Duration::from_micros(over.unsigned_abs()));
        }
        bucket.0 = after;
        Taken::Within
    }

    /// Buckets that are remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written down of buckets that have changed, at most `most`. Those that are full again before long are
    /// not worth it.
    pub(crate) fn changes(&mut self, now: Timestamp, most: usize) -> Written {
        self.buckets.changes(most, worth(now))
    }

    pub(crate) fn put_back(&mut self, key: Key) {
        self.buckets.put_back(key);
    }

    /// Takes in what was written down, but for buckets that are full again.
    pub(crate) fn restore(&mut self, now: Timestamp, written: Vec<(Key, Vec<u8>)>) {
        self.buckets.restore(written, worth(now));
    }
}

impl Kept for Bucket {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        bytes.i64().map(Self)
    }

    fn at_ms(&self) -> i64 {
        self.0 / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    const RATE: Rate = Rate { count: 10, every_ms: 60_000, burst: 3 };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_800_000_000_000 + ms)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut rates = Rates::new(KeyMaker::new(1));
        let (ann, bob) = (rates.key("x", "ann"), rates.key("x", "bob"));
        for _ in 0..3 {
            assert_eq!(rates.take(at(0), &RATE, ann, 1), Taken::Within);
        }
        assert_eq!(rates.take(at(0), &RATE, ann, 1), Taken::Over(Duration::from_secs(6)));
        assert_eq!(rates.take(at(0), &RATE, bob, 1), Taken::Within);
        assert_eq!(rates.take(at(5999), &RATE, ann, 1), Taken::Over(Duration::from_millis(1)));
        assert_eq!(rates.take(at(6000), &RATE, ann, 1), Taken::Within);
        assert_eq!(rates.take(at(6000), &RATE, ann, 1), Taken::Over(Duration::from_secs(6)));
        assert_eq!(rates.take(at(-1_000_000), &RATE, ann, 1), Taken::Within, "the clock went back");
    }

    #[test]
    fn what_is_full_before_long_is_not_written() {
        let mut rates = Rates::new(KeyMaker::new(1));
        let slow = Rate { count: 1, every_ms: 3_600_000, burst: 1 };
        let (ann, bob) = (rates.key("x", "ann"), rates.key("x", "bob"));
        assert_eq!(rates.take(at(0), &slow, ann, 1), Taken::Within);
        assert_eq!(rates.take(at(0), &RATE, bob, 1), Taken::Within);
        let written = rates.changes(at(0), 99);
        let [(key, Some(bytes))] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!(*key, ann);
        let again = |moment: i64| {
            let mut rates = Rates::new(KeyMaker::new(1));
            rates.restore(at(moment), vec![(ann, bytes.clone())]);
            rates.take(at(moment), &slow, ann, 1)
        };
        assert_eq!(again(600_000), Taken::Over(Duration::from_mins(50)));
        assert_eq!(again(3_600_000), Taken::Within);
    }

    #[test]
    fn more_than_a_burst_waits_for_a_full_bucket() {
        let mut rates = Rates::new(KeyMaker::new(1));
        let key = rates.key("x", "ann");
        assert_eq!(rates.take(at(0), &RATE, key, 1_000_000), Taken::Within);
        assert_eq!(rates.take(at(0), &RATE, key, 1_000_000), Taken::Over(Duration::from_secs(18)));
        assert_eq!(rates.take(at(18_000), &RATE, key, u64::MAX), Taken::Within);
    }

    #[test]
    fn no_sequence_lets_more_pass_than_rate_and_burst() {
        let mut random = Random::new(9);
        let mut rates = Rates::new(KeyMaker::new(1));
        let key = rates.key("x", "ann");
        let (mut now, mut passed) = (0, 0);
        while now < 600_000 {
            now += random.below(3000).cast_signed();
            let amount = 1 + random.below(3);
            if rates.take(at(now), &RATE, key, amount) == Taken::Within {
                passed += amount;
            }
        }
        let most = RATE.burst + now.cast_unsigned() * RATE.count / RATE.every_ms + 1;
        assert!(passed <= most && passed + 6 >= most, "{passed} of {most}");
    }
}
