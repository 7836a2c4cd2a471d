//! Greylisting (RFC 6647): mail from strangers waits once.

use std::net::IpAddr;

use base::Timestamp;

use super::bounded::{Bounded, Bytes, Kept, Written};
use super::key::{Home, Key, KeyMaker};
use crate::limits::{GREYLIST_SOURCES_MAX, GREYLIST_TRIPLETS_MAX};
use crate::network::network_of;

/// `[policy.greylist]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreylistSettings {
    /// How long a new triplet waits, in milliseconds.
    pub delay_ms: u64,
    /// Until when it must have come again, in milliseconds from its first try.
    pub window_ms: u64,
    /// How long one that has passed is remembered, in milliseconds from its last mail.
    pub keep_ms: u64,
    /// Triplets of a source network that must have passed for it to wait no more; 0 is never.
    pub trust_after: u32,
    /// Bits of IPv4 addresses that count.
    pub network_v4: u8,
    /// Bits of IPv6 addresses that count.
    pub network_v6: u8,
}

impl Default for GreylistSettings {
    fn default() -> Self {
        let hour = 3_600_000;
        Self {
            delay_ms: 5 * 60_000,
            window_ms: 24 * hour,
            keep_ms: 36 * 24 * hour,
            trust_after: 5,
            network_v4: 24,
            network_v6: 64,
        }
    }
}

/// Which triplets of source network, sender and recipient have come again.
#[derive(Clone, Debug)]
pub struct Greylist {
    maker: KeyMaker,
    triplets: Bounded<Triplet>,
    sources: Bounded<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Triplet {
    /// First try, or last mail when it has passed.
    at_ms: i64,
    has_passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    passed: u32,
    at_ms: i64,
}

impl Greylist {
    /// One that knows nobody; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self {
            maker,
            triplets: Bounded::new(GREYLIST_TRIPLETS_MAX),
            sources: Bounded::new(GREYLIST_SOURCES_MAX),
        }
    }

    /// Takes a try down. Says how many seconds are left to wait: 0 when the mail may pass.
    pub fn check(
        &mut self,
        now: Timestamp,
        settings: &GreylistSettings,
        source: IpAddr,
        sender: &str,
        recipient: &str,
    ) -> u32 {
        let now = now.as_ms();
        let (source, triplet) = self.keys(settings, source, sender, recipient);
        if self.is_trusted(now, settings, source) {
            self.sources.touch(source, || unreachable!("it is known")).at_ms = now;
            return 0;
        }
        let fresh = Triplet { at_ms: now, has_passed: false };
        let entry = self.triplets.touch(triplet, || fresh);
        let age = now.saturating_sub(entry.at_ms);
        let life = if entry.has_passed { settings.keep_ms } else { settings.window_ms };
        // A clock that was set back makes ages negative: then it begins anew.
        if age < 0 || age.unsigned_abs() > life {
            *entry = fresh;
        }
        let age = now.saturating_sub(entry.at_ms).unsigned_abs();
        if entry.has_passed {
            entry.at_ms = now;
            return 0;
        }
        if age < settings.delay_ms {
            return u32::try_from((settings.delay_ms - age).div_ceil(1000)).unwrap_or(u32::MAX);
        }
        *entry = Triplet { at_ms: now, has_passed: true };
        let source = self.sources.touch(source, || Source { passed: 0, at_ms: now });
        if now.saturating_sub(source.at_ms).unsigned_abs() > settings.keep_ms {
            source.passed = 0;
        }
        *source = Source { passed: source.passed.saturating_add(1), at_ms: now };
        0
    }

    fn is_trusted(&self, now: i64, settings: &GreylistSettings, source: Key) -> bool {
        let Some(known) = self.sources.get(source).filter(|_| settings.trust_after > 0) else { return false };
        known.passed >= settings.trust_after
            && now.saturating_sub(known.at_ms).unsigned_abs() <= settings.keep_ms
    }

    fn keys(&self, settings: &GreylistSettings, source: IpAddr, sender: &str, recipient: &str) -> (Key, Key) {
        let (is_v4, network) = network_of(source, settings.network_v4, settings.network_v6);
        let (kind, network) = ([u8::from(is_v4)], network.to_be_bytes());
        let (sender, recipient) = (plain_sender(sender), recipient.to_lowercase());
        let home = Home::of_source(source);
        let parts: [&[u8]; 5] = [b"triplet", &kind, &network, sender.as_bytes(), recipient.as_bytes()];
        (self.maker.key(home, &[b"source", &kind, &network]), self.maker.key(home, &parts))
    }

    /// Triplets and source networks that are remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.triplets.len(), self.sources.len())
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// What is to be written down of triplets that have changed, at most `most`.
    pub(crate) fn triplet_changes(&mut self, most: usize) -> Written {
        self.triplets.changes(most, |_| true)
    }

    /// The same of sources.
    pub(crate) fn source_changes(&mut self, most: usize) -> Written {
        self.sources.changes(most, |_| true)
    }

    pub(crate) fn put_back_triplet(&mut self, key: Key) {
        self.triplets.put_back(key);
    }

    pub(crate) fn put_back_source(&mut self, key: Key) {
        self.sources.put_back(key);
    }

    /// Takes in what was written down of triplets and of sources, but for what counts no more.
    pub(crate) fn restore(
        &mut self,
        now: Timestamp,
        settings: &GreylistSettings,
        triplets: Vec<(Key, Vec<u8>)>,
        sources: Vec<(Key, Vec<u8>)>,
    ) {
        let age = |at_ms: i64| now.as_ms().saturating_sub(at_ms).unsigned_abs();
        let life = |has_passed| if has_passed { settings.keep_ms } else { settings.window_ms };
        self.triplets.restore(triplets, |triplet| age(triplet.at_ms) <= life(triplet.has_passed));
        self.sources.restore(sources, |source| age(source.at_ms) <= settings.keep_ms);
    }
}

/// A sender whose address has a number in it for each message (bounces+123@...) is one sender: details
/// are cut off, and digits count as one.
fn plain_sender(sender: &str) -> String {
    let sender = sender.to_lowercase();
    let (local, domain) = sender.rsplit_once('@').unwrap_or((&sender, ""));
    let local = local.split('+').next().unwrap_or_default();
    let mut plain = String::with_capacity(sender.len());
    for c in local.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !plain.ends_with('#') {
            plain.push(c);
        }
    }
    plain.push('@');
    plain.push_str(domain);
    plain
}

impl Kept for Triplet {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.at_ms.to_le_bytes());
        out.push(self.has_passed.into());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let at_ms = bytes.i64()?;
        let [has_passed] = bytes.take()?;
        (has_passed <= 1).then_some(Self { at_ms, has_passed: has_passed == 1 })
    }

    fn at_ms(&self) -> i64 {
        self.at_ms
    }
}

impl Kept for Source {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.passed.to_le_bytes());
        out.extend(self.at_ms.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self { passed: bytes.u32()?, at_ms: bytes.i64()? })
    }

    fn at_ms(&self) -> i64 {
        self.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    struct Case {
        list: Greylist,
        settings: GreylistSettings,
    }

    impl Case {
        fn new() -> Self {
            Self { list: Greylist::new(KeyMaker::new(1)), settings: GreylistSettings::default() }
        }

        fn at(&mut self, ms: i64, source: &str, sender: &str) -> u32 {
            let source = source.parse().unwrap();
            self.list.check(Timestamp::from_ms(ms), &self.settings, source, sender, "Ann@example.org")
        }
    }

    #[test]
    fn a_stranger_waits_once_and_comes_back_from_its_network() {
        let mut case = Case::new();
        assert_eq!(case.at(0, "192.0.2.1", "a@x.test"), 300);
        assert_eq!(case.at(MINUTE, "192.0.2.2", "A@x.test"), 240);
        assert_eq!(case.at(5 * MINUTE - 1, "192.0.2.1", "a@x.test"), 1);
        assert_eq!(case.at(5 * MINUTE, "192.0.2.9", "a@x.test"), 0);
        assert_eq!(case.at(30 * DAY, "192.0.2.1", "a@x.test"), 0);
        assert_eq!(case.at(60 * DAY, "192.0.2.1", "a@x.test"), 0, "each mail makes it last");
        assert_eq!(case.at(97 * DAY, "192.0.2.1", "a@x.test"), 300, "it was forgotten");
        assert_eq!(case.at(97 * DAY, "198.51.100.1", "a@x.test"), 300, "another network");
    }

    #[test]
    fn who_does_not_come_again_in_time_begins_anew() {
        let mut case = Case::new();
        assert_eq!(case.at(0, "::1", "a@x.test"), 300);
        assert_eq!(case.at(DAY + 1, "::1", "a@x.test"), 300);
        assert_eq!(case.at(DAY + 1 - 10 * MINUTE, "::1", "a@x.test"), 300, "the clock went back");
        assert_eq!(case.at(DAY, "::1", "a@x.test"), 0);
    }

    #[test]
    fn a_source_that_has_passed_often_waits_no_more() {
        let mut case = Case::new();
        for n in 0..5 {
            let sender = format!("{}@x.test", ["a", "b", "c", "d", "e"][n]);
            assert_eq!(case.at(0, "192.0.2.1", &sender), 300);
            assert_eq!(case.at(6 * MINUTE, "192.0.2.1", &sender), 0);
        }
        assert_eq!(case.at(7 * MINUTE, "192.0.2.77", "new@y.test"), 0);
        let mut back = Case::new();
        let written =
            |written: Written| written.into_iter().map(|(key, bytes)| (key, bytes.unwrap())).collect();
        let (triplets, sources) = (case.list.triplet_changes(99), case.list.source_changes(99));
        let now = Timestamp::from_ms(8 * MINUTE);
        back.list.restore(now, &case.settings, written(triplets.clone()), written(sources.clone()));
        assert_eq!(back.list.len(), case.list.len());
        let later = Timestamp::from_ms(8 * MINUTE + 37 * DAY);
        let mut empty = Case::new();
        empty.list.restore(later, &case.settings, written(triplets), written(sources));
        assert!(empty.list.is_empty(), "all of it is over");
        assert_eq!(back.at(8 * MINUTE, "192.0.2.77", "newer@y.test"), 0);
        assert_eq!(back.at(8 * MINUTE + 37 * DAY, "192.0.2.77", "newest@y.test"), 300);
    }

    #[test]
    fn numbered_senders_are_one() {
        let mut case = Case::new();
        assert_eq!(case.at(0, "::1", "bounce-123@x.test"), 300);
        assert_eq!(case.at(5 * MINUTE, "::1", "bounce-4567+ann=example.org@x.test"), 0);
    }
}
