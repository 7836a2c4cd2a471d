//! Penalties for failures, so that guessing passwords is slow and mistyping one is not.

use core::hash::{BuildHasher as _, Hash};
use core::net::IpAddr;
use core::time::Duration;
use std::hash::RandomState;

use base::Timestamp;
use directory::BoundedMap;
use std::collections::HashMap;

use crate::limits::{
    FAILURES_FORGOTTEN_AFTER, LOGIN_FAILURES_FREE, LOGIN_PENALTY_S_MAX, SOURCE_FAILURES_FREE,
    SOURCE_PENALTY_S_MAX, THROTTLE_ENTRIES_MAX,
};

/// One shard's count of failures, by source address and by login name. After a few free ones each
/// failure doubles the wait. Somebody who logged in from a source before is counted apart from all
/// else there: strangers can make neither a name nor a shared address wait for its owner.
pub struct Throttle {
    failures: BoundedMap<Subject, Failures>,
    /// Attempts that are being looked at.
    pending: HashMap<Subject, u32>,
    /// By pair: which of its source's failures are its own.
    shares: BoundedMap<Subject, Share>,
    /// Who has logged in from where.
    known: BoundedMap<Subject, ()>,
    hasher: RandomState,
}

/// What failures are counted of, as a hash: a name may be long and is the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What one pair has done to its source's count.
#[derive(Clone, Copy)]
struct Share {
    count: u32,
    /// When the source had failed last before the first of them, and when it did by the last of them.
    before: Timestamp,
    last: Timestamp,
}

/// Whether an attempt has its turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Look at it now, and say so by [`Throttle::end`] when that is done, whatever came of it.
    Now(Attempt),
    /// As many attempts are being looked at as may fail: ask again when one of them has ended.
    Busy,
    /// Not before so many seconds.
    Later {
        /// At least 1.
        retry_after_s: u32,
    },
}

/// A place among those that are being looked at.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the place is given back by Throttle::end"]
pub struct Attempt([Option<Subject>; 2]);

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
            pending: HashMap::new(),
            shares: BoundedMap::new(THROTTLE_ENTRIES_MAX),
            known: BoundedMap::new(THROTTLE_ENTRIES_MAX),
            hasher: RandomState::new(),
        }
    }

    /// Seconds to wait before an attempt is looked at, at least 1, or `None`: look at it now. `login`
    /// is `None` before the name is known, when only the source can be judged.
    pub fn check(&self, now: Timestamp, source: IpAddr, login: Option<&str>) -> Option<u32> {
        self.subjects(source, login).into_iter().flatten().filter_map(|s| self.wait_s(now, s)).max()
    }

    /// Asks for a turn. No more attempts have one at the same time than may fail: guesses do not get
    /// past by coming all at once.
    pub fn begin(&mut self, now: Timestamp, source: IpAddr, login: &str) -> Turn {
        if let Some(retry_after_s) = self.check(now, source, Some(login)) {
            return Turn::Later { retry_after_s };
        }
        let subjects = self.subjects(source, Some(login));
        if subjects.into_iter().flatten().any(|subject| self.is_busy(now, subject)) {
            return Turn::Busy;
        }
        for subject in subjects.into_iter().flatten() {
            *self.pending.entry(subject).or_insert(0) += 1;
        }
        Turn::Now(Attempt(subjects))
    }

    /// Gives a place back. [`Throttle::failed`] or [`Throttle::succeeded`] come beside it.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt ends once")]
    pub fn end(&mut self, attempt: Attempt) {
        for subject in attempt.0.into_iter().flatten() {
            let count = self.pending.get_mut(&subject).expect("an attempt has its place until it ends");
            *count -= 1;
            if *count == 0 {
                self.pending.remove(&subject);
            }
        }
    }

    /// An attempt was looked at and failed, or was let begin and counts as failed until
    /// [`Throttle::succeeded`] takes that back.
    pub fn failed(&mut self, now: Timestamp, source: IpAddr, login: Option<&str>) {
        for subject in self.subjects(source, login).into_iter().flatten() {
            let known = self.recent(now, subject);
            let count = known.map_or(0, |failures| failures.count);
            self.failures.insert(subject, Failures { count: count.saturating_add(1), last: now });
            if let (Subject::Source(_), Some(login)) = (subject, login) {
                let before = known.map_or(now, |failures| failures.last);
                self.add_share(self.pair(source, login), now, before);
            }
        }
    }

    fn add_share(&mut self, pair: Subject, now: Timestamp, before: Timestamp) {
        let known = self.shares.get(&pair).filter(|share| now.since(share.last) < FAILURES_FORGOTTEN_AFTER);
        let (count, before) = known.map_or((0, before), |share| (share.count, share.before));
        self.shares.insert(pair, Share { count: count.saturating_add(1), before, last: now });
    }

    /// An attempt succeeded: what was counted of this name from this source is taken back. The source's
    /// other failures stay: an account of one's own does not buy guesses at others.
    pub fn succeeded(&mut self, source: IpAddr, login: &str) {
        let pair = self.pair(source, login);
        self.known.insert(pair, ());
        self.take_share_back(self.source(source), pair);
        self.failures.remove(&pair);
        self.failures.remove(&self.login(login));
    }

    fn take_share_back(&mut self, source: Subject, pair: Subject) {
        let Some(share) = self.shares.remove(&pair) else { return };
        let Some(failures) = self.failures.get(&source).copied() else { return };
        let count = failures.count.saturating_sub(share.count);
        if count == 0 {
            self.failures.remove(&source);
            return;
        }
        // Nobody else is to wait because somebody has logged in.
        let last = if failures.last == share.last { share.before } else { failures.last };
        self.failures.insert(source, Failures { count, last });
    }

    /// Whether as many are being looked at as may fail: those that are free, else one after another.
    fn is_busy(&self, now: Timestamp, subject: Subject) -> bool {
        let failed = self.recent(now, subject).map_or(0, |failures| failures.count);
        let places = bounds(subject).0.saturating_sub(failed).max(1);
        self.pending.get(&subject).is_some_and(|pending| *pending >= places)
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
        let (free, penalty_s_max) = bounds(subject);
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

/// Failures that cost no wait, and the longest wait in seconds.
const fn bounds(subject: Subject) -> (u32, u32) {
    match subject {
        Subject::Source(_) => (SOURCE_FAILURES_FREE, SOURCE_PENALTY_S_MAX),
        Subject::Login(_) => (LOGIN_FAILURES_FREE, LOGIN_PENALTY_S_MAX),
        Subject::Pair(_) => (LOGIN_FAILURES_FREE, SOURCE_PENALTY_S_MAX),
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

    fn begun(turn: Turn) -> Option<Attempt> {
        if let Turn::Now(attempt) = turn { Some(attempt) } else { None }
    }

    #[test]
    fn guesses_at_the_same_time_are_as_few_as_one_after_another() {
        let mut throttle = Throttle::new();
        let source = |i: u8| IpAddr::from([192, 0, 2, i]);
        let mut attempts: Vec<_> =
            (0..100).map_while(|i| begun(throttle.begin(at(0), source(i), "bob@example.org"))).collect();
        assert_eq!(attempts.len(), LOGIN_FAILURES_FREE as usize);
        assert_eq!(throttle.begin(at(0), source(100), "Bob@example.org"), Turn::Busy);
        assert!(begun(throttle.begin(at(0), source(100), "eve@example.org")).is_some(), "others go on");
        for (i, attempt) in attempts.drain(..).enumerate() {
            throttle.end(attempt);
            throttle.failed(at(0), source(i as u8), BOB);
        }
        assert_eq!(throttle.begin(at(0), source(100), "bob@example.org"), Turn::Later { retry_after_s: 1 });
        // After the wait it is one at a time.
        let one = begun(throttle.begin(at(1), source(100), "bob@example.org")).unwrap();
        assert_eq!(throttle.begin(at(1), source(101), "bob@example.org"), Turn::Busy);
        throttle.end(one);
        assert!(begun(throttle.begin(at(1), source(101), "bob@example.org")).is_some());
    }

    #[test]
    fn a_success_takes_back_what_its_own_attempts_were_counted_for() {
        let mut throttle = Throttle::new();
        let source = ip("192.0.2.1");
        for i in 0..SOURCE_FAILURES_FREE {
            throttle.failed(at(0), source, Some(&format!("user{i}@example.org")));
        }
        assert_eq!(throttle.check(at(0), source, Some("eve@example.org")), Some(1));
        // Counted when they begin, five of one user at the same time.
        for _ in 0..5 {
            throttle.failed(at(100), source, BOB);
        }
        assert_eq!(throttle.check(at(100), source, None), Some(32));
        throttle.succeeded(source, "bob@example.org");
        assert_eq!(throttle.check(at(100), source, None), None, "as it was before");
        throttle.failed(at(100), source, Some("eve@example.org"));
        assert_eq!(throttle.check(at(100), source, None), Some(2), "and what others did stays");
        throttle.succeeded(source, "bob@example.org");
        assert_eq!(throttle.check(at(100), source, None), Some(2));
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
