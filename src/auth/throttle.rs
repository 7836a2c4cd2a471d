//! Penalties for failures, so that guessing passwords is slow and mistyping one is not.

use core::hash::{BuildHasher as _, Hash};
use core::net::IpAddr;
use core::time::Duration;
use std::hash::RandomState;

use base::Timestamp;
use directory::BoundedMap;

use crate::limits::{
    FAILURES_FORGOTTEN_AFTER, LOGIN_FAILURES_FREE, LOGIN_PENALTY_S_MAX, SOURCE_FAILURES_FREE,
    SOURCE_PENALTY_S_MAX, THROTTLE_ENTRIES_MAX,
};

/// One shard's count of failures, by source address and by login name. After a few free ones each
/// failure doubles the wait. Somebody who logged in from a source before is counted apart from all
/// else there: strangers can make neither a name nor a shared address wait for its owner.
pub struct Throttle {
    failures: BoundedMap<Subject, Failures>,
    /// Who has logged in from where.
    known: BoundedMap<Subject, ()>,
    hasher: RandomState,
}

/// What failures are counted of, as a hash: a name may be long and is the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Source(u64),
    Login(u64),
    Pair(u64),
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl core::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Throttle").field("subjects", &self.failures.len()).finish_non_exhaustive()
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Throttle {
    /// Nobody has failed yet.
    pub fn new() -> Self {
        Self {
            failures: BoundedMap::new(THROTTLE_ENTRIES_MAX),
            known: BoundedMap::new(THROTTLE_ENTRIES_MAX),
            hasher: RandomState::new(),
        }
    }

    /// Seconds to wait before an attempt is looked at, at least 1, or `None`: look at it now. `login`
    /// is `None` before the name is known, when only the source can be judged.
    pub fn check(&self, now: Timestamp, source: IpAddr, login: Option<&str>) -> Option<u32> {
        self.subjects(source, login).into_iter().flatten().filter_map(|s| self.wait_s(now, s)).max()
    }

    /// An attempt was looked at and failed.
    pub fn failed(&mut self, now: Timestamp, source: IpAddr, login: Option<&str>) {
        for subject in self.subjects(source, login).into_iter().flatten() {
            let count = self.recent(now, subject).map_or(0, |failures| failures.count);
            self.failures.insert(subject, Failures { count: count.saturating_add(1), last: now });
        }
    }

    /// An attempt succeeded. The source's other failures stay: an account of one's own does not buy
    /// guesses at others.
    pub fn succeeded(&mut self, source: IpAddr, login: &str) {
        let pair = self.pair(source, login);
        self.known.insert(pair, ());
        self.failures.remove(&pair);
        self.failures.remove(&self.login(login));
    }

    /// What an attempt counts for: a known pair for itself, others for both of their halves.
    fn subjects(&self, source: IpAddr, login: Option<&str>) -> [Option<Subject>; 2] {
        let Some(login) = login else { return [Some(self.source(source)), None] };
        let pair = self.pair(source, login);
        if self.known.get(&pair).is_some() {
            return [Some(pair), None];
        }
        [Some(self.source(source)), Some(self.login(login))]
    }

    fn recent(&self, now: Timestamp, subject: Subject) -> Option<Failures> {
        let failures = self.failures.get(&subject)?;
        (now.since(failures.last) < FAILURES_FORGOTTEN_AFTER).then_some(*failures)
    }

    fn wait_s(&self, now: Timestamp, subject: Subject) -> Option<u32> {
        let Failures { count, last } = self.recent(now, subject)?;
        let (free, penalty_s_max) = match subject {
            Subject::Source(_) => (SOURCE_FAILURES_FREE, SOURCE_PENALTY_S_MAX),
            Subject::Login(_) => (LOGIN_FAILURES_FREE, LOGIN_PENALTY_S_MAX),
            Subject::Pair(_) => (LOGIN_FAILURES_FREE, SOURCE_PENALTY_S_MAX),
        };
        let doublings = count.checked_sub(free)?.min(31);
        let penalty_s = (1_u32 << doublings).min(penalty_s_max);
        let until = last + Duration::from_secs(u64::from(penalty_s));
        let left_ms = until.since(now).as_millis();
        (left_ms > 0).then(|| left_ms.div_ceil(1_000) as u32)
    }

    fn source(&self, source: IpAddr) -> Subject {
        Subject::Source(self.hasher.hash_one(network(source)))
    }

    fn login(&self, login: &str) -> Subject {
        Subject::Login(self.hasher.hash_one(login.to_lowercase()))
    }

    fn pair(&self, source: IpAddr, login: &str) -> Subject {
        Subject::Pair(self.hasher.hash_one((network(source), login.to_lowercase())))
    }
}

/// What one party commonly has: an IPv4 address, or an IPv6 network of 64 bits (RFC 6177 §2). An
/// IPv4 address in IPv6 clothes is an IPv4 address.
fn network(source: IpAddr) -> impl Hash {
    match source.to_canonical() {
        IpAddr::V4(address) => (4, u64::from(address.to_bits())),
        IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: Option<&str> = Some("bob@example.org");

    fn at(s: i64) -> Timestamp {
        Timestamp::from_s(s)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_waits_longer_with_each_failure_up_to_its_limit() {
        let mut throttle = Throttle::new();
        let mut waits = Vec::new();
        for i in 0..12_u8 {
            let source = IpAddr::from([192, 0, 2, i]);
            throttle.failed(at(0), source, BOB);
            waits.push(throttle.check(at(0), ip("198.51.100.1"), Some("BOB@example.org")).unwrap_or(0));
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(throttle.check(at(29), ip("198.51.100.1"), BOB), Some(1));
        assert_eq!(throttle.check(at(30), ip("198.51.100.1"), BOB), None);
        assert_eq!(throttle.check(at(0), ip("198.51.100.1"), Some("eve@example.org")), None);
        assert_eq!(throttle.check(at(0), ip("192.0.2.1"), None), None, "one failure of each source is free");
    }

    #[test]
    fn a_source_waits_whatever_the_names() {
        let mut throttle = Throttle::new();
        for i in 0..30 {
            throttle.failed(at(0), ip("2001:db8:0:1::1"), Some(&format!("user{i}@example.org")));
        }
        assert_eq!(throttle.check(at(0), ip("2001:db8:0:1:ffff::2"), None), Some(SOURCE_PENALTY_S_MAX));
        assert_eq!(throttle.check(at(0), ip("2001:db8:0:2::1"), None), None);
        assert_eq!(throttle.check(at(3_599), ip("2001:db8:0:1::1"), None), None);
        throttle.failed(at(3_600), ip("2001:db8:0:1::1"), BOB);
        assert_eq!(
            throttle.check(at(3_600), ip("2001:db8:0:1::1"), None),
            None,
            "an hour's rest forgets all"
        );
        for _ in 0..11 {
            throttle.failed(at(0), ip("::ffff:192.0.2.1"), None);
        }
        assert_eq!(throttle.check(at(0), ip("192.0.2.1"), None), Some(2));
    }

    #[test]
    fn the_longer_wait_counts_until_somebody_is_in() {
        let mut throttle = Throttle::new();
        let (source, elsewhere) = (ip("192.0.2.1"), ip("198.51.100.1"));
        for _ in 0..11 {
            throttle.failed(at(0), source, BOB);
        }
        assert_eq!(throttle.check(at(0), source, None), Some(2));
        assert_eq!(throttle.check(at(0), source, BOB), Some(30));
        assert_eq!(throttle.check(at(0), elsewhere, BOB), Some(30));
        throttle.succeeded(ip("203.0.113.1"), "bob@example.org");
        assert_eq!(throttle.check(at(0), elsewhere, BOB), None, "the owner's login clears the name");
        assert_eq!(throttle.check(at(0), source, BOB), Some(2), "and not who guessed at it");
    }

    #[test]
    fn strangers_cannot_make_a_known_user_wait() {
        let mut throttle = Throttle::new();
        let (home, away) = (ip("192.0.2.1"), ip("198.51.100.1"));
        throttle.succeeded(home, "bob@example.org");
        for _ in 0..40 {
            throttle.failed(at(0), away, BOB);
            throttle.failed(at(0), home, Some("eve@example.org"));
        }
        assert!(throttle.check(at(0), away, BOB).is_some());
        assert!(throttle.check(at(0), home, Some("eve@example.org")).is_some());
        assert_eq!(throttle.check(at(0), home, BOB), None);
        for _ in 0..LOGIN_FAILURES_FREE {
            throttle.failed(at(0), home, BOB);
        }
        assert_eq!(throttle.check(at(0), home, BOB), Some(1), "but guesses from home are counted");
        throttle.succeeded(home, "bob@example.org");
        assert_eq!(throttle.check(at(0), home, BOB), None);
    }
}
