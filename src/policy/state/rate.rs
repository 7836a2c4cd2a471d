//! Rate limits: so much in a time, with some of it at once. One number a bucket: the moment at which it
//! will be full again (the generic cell rate algorithm).

use std::time::Duration;

use base::Timestamp;

use super::bounded::{Bounded, Broken, Bytes, Kept, head, read_head};
use super::key::{Key, KeyMaker};
use crate::limits::RATE_BUCKETS_MAX;

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

const KIND: [u8; 4] = *b"RAT1";

impl Rates {
    /// One in which all buckets are full; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self { maker, buckets: Bounded::new(RATE_BUCKETS_MAX) }
    }

    /// The key of a subject of a limit, for [`Rates::take`].
    pub fn key(&self, limit: &str, subject: &str) -> Key {
        self.maker.key(&[limit.as_bytes(), subject.as_bytes()])
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

    /// All of it as bytes.
    pub fn export(&self) -> Vec<u8> {
        let mut out = head(KIND, self.maker);
        self.buckets.write(&mut out);
        out
    }

    /// What [`Rates::export`] gave.
    pub fn import(bytes: &[u8]) -> Result<Self, Broken> {
        let mut bytes = Bytes(bytes);
        let read = |bytes: &mut Bytes<'_>| {
            let maker = read_head(KIND, bytes)?;
            let buckets = Bounded::read(RATE_BUCKETS_MAX, bytes)?;
            bytes.0.is_empty().then_some(Self { maker, buckets })
        };
        read(&mut bytes).ok_or(Broken)
    }
}

impl Kept for Bucket {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        bytes.i64().map(Self)
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
        let mut rates = Rates::import(&rates.export()).unwrap();
        assert_eq!(rates.take(at(6000), &RATE, ann, 1), Taken::Over(Duration::from_secs(6)));
        assert_eq!(rates.take(at(-1_000_000), &RATE, ann, 1), Taken::Within, "the clock went back");
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
