//! The test before the greeting: a mail server waits for it (RFC 5321 §3.1), much of what sends junk
//! does not. The waiting itself is done by whoever drives the connection.

use std::net::IpAddr;

use base::Timestamp;

use super::bounded::{Bounded, Bytes, Kept, Written};
use super::key::{Home, Key, KeyMaker};
use crate::limits::PREGREET_SOURCES_MAX;
use crate::network::{Networks, network_of};

/// `[policy.pregreet]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreGreet {
    /// How long to wait before the greeting, in milliseconds; 0 is not at all.
    pub wait_ms: u32,
    /// For how long a source that has waited need not do it again, in milliseconds.
    pub keep_ms: u64,
    /// Who speaks first is refused; else it is greeted, and rules may ask.
    pub refuses: bool,
    /// Added to the score of a connection whose client spoke first.
    pub score: i32,
    /// A source of this reputation or a better one does not wait.
    pub reputation_min: Option<i32>,
    pub(crate) exempt: Networks,
}

impl PreGreet {
    /// Whether a source might have to wait: there is a test, and it is not one of the networks that are exempt.
    pub fn tests(&self, source: IpAddr) -> bool {
        self.wait_ms > 0 && !self.exempt.contains(source)
    }
}

/// Sources that have waited for their greeting.
#[derive(Clone, Debug)]
pub struct Passes {
    maker: KeyMaker,
    sources: Bounded<Passed>,
}

/// When it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passed(i64);

impl Passes {
    /// One that knows nobody; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self { maker, sources: Bounded::new(PREGREET_SOURCES_MAX) }
    }

    /// Takes down that a source has waited.
    pub fn note(&mut self, now: Timestamp, source: IpAddr) {
        let passed = Passed(now.as_ms());
        *self.sources.touch(self.key(source), || passed) = passed;
    }

    /// Whether a source has waited not long ago.
    pub fn knows(&self, now: Timestamp, settings: &PreGreet, source: IpAddr) -> bool {
        self.sources.get(self.key(source)).is_some_and(|passed| passed.counts(now, settings))
    }

    /// Single addresses count, of IPv6 the network that a customer has.
    fn key(&self, source: IpAddr) -> Key {
        let (is_v4, network) = network_of(source, 32, 64);
        self.maker.key(Home::of_source(source), &[&[u8::from(is_v4)], &network.to_be_bytes()])
    }

    /// What is to be written down of sources that have changed, at most `most`.
    pub(crate) fn changes(&mut self, most: usize) -> Written {
        self.sources.changes(most, |_| true)
    }

    pub(crate) fn put_back(&mut self, key: Key) {
        self.sources.put_back(key);
    }

    /// Takes in what was written down, but for what counts no more.
    pub(crate) fn restore(&mut self, now: Timestamp, settings: &PreGreet, written: Vec<(Key, Vec<u8>)>) {
        self.sources.restore(written, |passed| passed.counts(now, settings));
    }
}

impl Passed {
    fn counts(self, now: Timestamp, settings: &PreGreet) -> bool {
        now.as_ms().saturating_sub(self.0).unsigned_abs() <= settings.keep_ms
    }
}

impl Kept for Passed {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        bytes.i64().map(Self)
    }

    fn at_ms(&self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_does_not_wait_again_for_a_time() {
        let settings = PreGreet { wait_ms: 6000, keep_ms: 1000, ..PreGreet::default() };
        let mut passes = Passes::new(KeyMaker::new(1));
        let (at, source) = (Timestamp::from_ms, "192.0.2.1".parse().unwrap());
        let other = "192.0.2.2".parse().unwrap();
        assert!(!passes.knows(at(0), &settings, source));
        passes.note(at(0), source);
        assert!(passes.knows(at(1000), &settings, source) && !passes.knows(at(1001), &settings, source));
        assert!(!passes.knows(at(0), &settings, other), "it is one address");
        let written: Vec<_> =
            passes.changes(9).into_iter().map(|(key, bytes)| (key, bytes.unwrap())).collect();
        for (moment, is_known) in [(1000, true), (1001, false)] {
            let mut again = Passes::new(KeyMaker::new(1));
            again.restore(at(moment), &settings, written.clone());
            assert_eq!(again.sources.len(), usize::from(is_known));
        }
    }

    #[test]
    fn networks_may_be_exempt() {
        let exempt = Networks::compile(["192.0.2.0/24"].into_iter()).unwrap();
        let settings = PreGreet { wait_ms: 1, exempt, ..PreGreet::default() };
        assert!(
            !settings.tests("192.0.2.9".parse().unwrap()) && settings.tests("192.0.3.9".parse().unwrap())
        );
        assert!(!PreGreet::default().tests("192.0.3.9".parse().unwrap()), "there is no test");
    }
}
