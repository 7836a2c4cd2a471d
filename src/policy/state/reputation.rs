//! What mail of a source was like, newer mail counting more.

use std::net::IpAddr;

use base::Timestamp;

use super::bounded::{Bounded, Bytes, Kept, Written};
use super::key::{Home, Key, KeyMaker};
use crate::limits::REPUTATION_SOURCES_MAX;
use crate::network::network_of;

/// `[policy.reputation]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReputationSettings {
    /// After so many milliseconds a message counts half.
    pub half_life_ms: u64,
    /// Bits of IPv4 addresses that count.
    pub network_v4: u8,
    /// Bits of IPv6 addresses that count.
    pub network_v6: u8,
}

impl Default for ReputationSettings {
    fn default() -> Self {
        Self { half_life_ms: 7 * 86_400_000, network_v4: 32, network_v6: 64 }
    }
}

/// What a message or a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Mail that was delivered and not junk.
    Good,
    /// Mail that went to Junk, by a rule or by its reader's hand.
    Junk,
    /// Mail or a connection that was refused by policy, an early talker, recipients that nobody is.
    Bad,
}

/// Counts by source.
#[derive(Clone, Debug)]
pub struct Reputation {
    maker: KeyMaker,
    sources: Bounded<Counts>,
}

/// Thousandths of a message, as of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    good: u32,
    junk: u32,
    bad: u32,
    at_ms: i64,
}

/// One message in the counts.
const ONE: u32 = 1000;
/// As many messages of no opinion are added to every source, so that one alone does not decide.
const STRANGE: i64 = 5 * ONE as i64;

impl Reputation {
    /// One that knows nobody; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self { maker, sources: Bounded::new(REPUTATION_SOURCES_MAX) }
    }

    /// Takes down what a source has done.
    pub fn note(&mut self, now: Timestamp, settings: &ReputationSettings, source: IpAddr, conduct: Conduct) {
        let now = now.as_ms();
        let key = self.key(settings, source);
        let counts = self.sources.touch(key, || Counts { at_ms: now, ..Counts::default() });
        *counts = counts.aged(now, settings.half_life_ms);
        let count = match conduct {
            Conduct::Good => &mut counts.good,
            Conduct::Junk => &mut counts.junk,
            Conduct::Bad => &mut counts.bad,
        };
        *count = count.saturating_add(ONE);
    }

    /// From -100, nothing but bad, to 100, much that was good; 0 for a stranger. Junk counts as bad.
    pub fn score(&self, now: Timestamp, settings: &ReputationSettings, source: IpAddr) -> i32 {
        let Some(counts) = self.sources.get(self.key(settings, source)) else { return 0 };
        let counts = counts.aged(now.as_ms(), settings.half_life_ms);
        let (good, wrong) = (i64::from(counts.good), i64::from(counts.junk) + i64::from(counts.bad));
        ((good - wrong) * 100 / (good + wrong + STRANGE)) as i32
    }

    fn key(&self, settings: &ReputationSettings, source: IpAddr) -> Key {
        let (is_v4, network) = network_of(source, settings.network_v4, settings.network_v6);
        self.maker.key(Home::of_source(source), &[&[u8::from(is_v4)], &network.to_be_bytes()])
    }

    /// Sources that are remembered.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written down of sources that have changed, at most `most`.
    pub(crate) fn changes(&mut self, most: usize) -> Written {
        self.sources.changes(most, |_| true)
    }

    pub(crate) fn put_back(&mut self, key: Key) {
        self.sources.put_back(key);
    }

    /// Takes in what was written down, but for sources of whom nothing is left.
    pub(crate) fn restore(
        &mut self,
        now: Timestamp,
        settings: &ReputationSettings,
        written: Vec<(Key, Vec<u8>)>,
    ) {
        self.sources.restore(written, |counts| {
            let left = counts.aged(now.as_ms(), settings.half_life_ms);
            left.good.max(left.junk).max(left.bad) > 0
        });
    }
}

impl Counts {
    /// The counts at a later moment: halved for each half-life, and by a straight line between. Whole
    /// numbers only, so that every machine finds the same.
    fn aged(self, now_ms: i64, half_life_ms: u64) -> Self {
        let age = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        let half_life = half_life_ms.max(1);
        let (halvings, rest) = (age / half_life, age % half_life);
        let aged = |count: u32| {
            let whole = u64::from(count) >> halvings.min(63);
            (whole - (u128::from(whole) * u128::from(rest) / u128::from(half_life) / 2) as u64) as u32
        };
        Self { good: aged(self.good), junk: aged(self.junk), bad: aged(self.bad), at_ms: now_ms }
    }
}

impl Kept for Counts {
    fn write(&self, out: &mut Vec<u8>) {
        for count in [self.good, self.junk, self.bad] {
            out.extend(count.to_le_bytes());
        }
        out.extend(self.at_ms.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self { good: bytes.u32()?, junk: bytes.u32()?, bad: bytes.u32()?, at_ms: bytes.i64()? })
    }

    fn at_ms(&self) -> i64 {
        self.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_source_is_what_its_mail_was_and_old_mail_counts_less() {
        let mut memory = Reputation::new(KeyMaker::new(1));
        let settings = ReputationSettings::default();
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let at = |day: i64| Timestamp::from_ms(day * DAY);
        assert_eq!(memory.score(at(0), &settings, source), 0);
        memory.note(at(0), &settings, source, Conduct::Bad);
        assert_eq!(memory.score(at(0), &settings, source), -16);
        for _ in 0..95 {
            memory.note(at(0), &settings, source, Conduct::Bad);
        }
        let worst = memory.score(at(0), &settings, source);
        assert_eq!(worst, -95);
        let written: Vec<_> =
            memory.changes(99).into_iter().map(|(key, bytes)| (key, bytes.unwrap())).collect();
        let again = |day: i64| {
            let mut memory = Reputation::new(KeyMaker::new(1));
            memory.restore(at(day), &settings, written.clone());
            memory
        };
        assert!(again(7000).is_empty(), "nothing is left of it");
        let memory = again(0);
        let later: Vec<i32> =
            [0, 7, 14, 28, 70, 7000].map(|day| memory.score(at(day), &settings, source)).into();
        assert!(later.is_sorted() && later[1] == -90 && later[5] == 0, "{later:?}");
    }

    #[test]
    fn good_mail_makes_up_for_bad() {
        let mut memory = Reputation::new(KeyMaker::new(1));
        let settings = ReputationSettings::default();
        let source: IpAddr = "2001:db8::1".parse().unwrap();
        let now = Timestamp::from_ms(0);
        memory.note(now, &settings, source, Conduct::Junk);
        for _ in 0..20 {
            memory.note(now, &settings, "2001:db8::2".parse().unwrap(), Conduct::Good);
        }
        assert_eq!(memory.score(now, &settings, source), 73);
        assert_eq!(memory.len(), 1);
    }
}
