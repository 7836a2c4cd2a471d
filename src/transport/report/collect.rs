//! What is counted: connections by day, domain and policy, and failures by their kind. Counts of several
//! shards are added up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DateRange, FailureDetails, PolicyResult, PolicyText, Report, Summary};
use crate::dane::{Dane, Tlsa};
use crate::fault::Fault;
use crate::find::Host;
use crate::hop::Applied;
use crate::limits::{REPORT_DOMAINS_MAX, REPORT_FAILURES_MAX, REPORT_POLICIES_MAX};
use crate::sts::Policy;

/// A day of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

const DAY_S: i64 = 86_400;

impl Day {
    /// The day of a moment.
    pub const fn of(moment: Timestamp) -> Self {
        Self(moment.as_s().div_euclid(DAY_S))
    }

    /// Its first moment.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_s(self.0 * DAY_S)
    }

    /// Its last second.
    pub const fn end(self) -> Timestamp {
        Timestamp::from_s(self.0 * DAY_S + DAY_S - 1)
    }
}

impl fmt::Display for Day {
    /// `2026-11-24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, ..) = self.start().civil_utc();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The policy that a connection was made under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Used {
    /// Of which kind.
    pub applied: Applied,
    /// Its text: the TLSA records ([`Tlsa::text`](crate::dane::Tlsa::text)), or the lines of the file.
    pub lines: Vec<String>,
    /// The hosts of the policy's `mx` lines, or the host with the records.
    pub hosts: Vec<String>,
}

impl Used {
    /// The policy that was applied to a host ([`Protection::applied`](crate::hop::Protection::applied), or
    /// the first of [`Decision::Skip`](crate::hop::Decision::Skip)).
    pub fn of(applied: Applied, host: &Host, sts: Option<&Policy>) -> Self {
        let (lines, hosts) = match (applied, &host.dane, sts) {
            (Applied::Tlsa, Dane::Records(records), _) => {
                (records.iter().map(Tlsa::text).collect(), vec![host.base.clone()])
            }
            (Applied::Tlsa, ..) => (Vec::new(), vec![host.base.clone()]),
            (Applied::Sts, _, Some(policy)) => {
                (policy.text().lines().map(str::to_owned).collect(), policy.hosts.clone())
            }
            (Applied::Sts, _, None) | (Applied::Nothing, ..) => (Vec::new(), Vec::new()),
        };
        Self { applied, lines, hosts }
    }
}

/// One connection that was made, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    /// The host.
    pub host: &'a str,
    /// Its address, where it got as far as that.
    pub address: Option<IpAddr>,
    /// Ours.
    pub source: Option<IpAddr>,
    /// What went wrong; `None` when it was protected as the policy asks.
    pub fault: Option<Fault>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Kind {
    fault: Fault,
    host: String,
    address: Option<IpAddr>,
    source: Option<IpAddr>,
}

/// The counts of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    good: u64,
    failed: u64,
    /// By kind, up to a bound; what goes beyond is in `failed` alone.
    kinds: BTreeMap<Kind, u64>,
}

/// The counts of one policy of a domain, as they are stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    used: Used,
    good: u64,
    failed: u64,
    kinds: Vec<(Kind, u64)>,
}

/// The counts of one shard, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    domains: BTreeMap<(Day, String), BTreeMap<Used, Tally>>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failed += other.failed;
        for (kind, count) in other.kinds {
            self.count(kind, count);
        }
    }

    fn count(&mut self, kind: Kind, count: u64) {
        if self.kinds.len() < REPORT_FAILURES_MAX || self.kinds.contains_key(&kind) {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    fn result(self, domain: &str, used: Used) -> PolicyResult {
        let policy_type = match used.applied {
            Applied::Tlsa => "tlsa",
            Applied::Sts => "sts",
            Applied::Nothing => "no-policy-found",
        };
        let details = self.kinds.into_iter().map(|(kind, count)| FailureDetails {
            result_type: kind.fault,
            sending_mta_ip: kind.source.map(|address| address.to_string()),
            receiving_mx_hostname: Some(kind.host),
            receiving_mx_helo: None,
            receiving_ip: kind.address.map(|address| address.to_string()),
            failed_session_count: count,
            additional_information: None,
            failure_reason_code: None,
        });
        PolicyResult {
            policy: PolicyText {
                policy_type: policy_type.to_owned(),
                policy_string: used.lines,
                policy_domain: domain.to_owned(),
                mx_host: used.hosts,
            },
            summary: Summary {
                total_successful_session_count: self.good,
                total_failure_session_count: self.failed,
            },
            failure_details: details.collect(),
        }
    }
}

impl Collected {
    /// Counts a connection for the recipient's domain. Beyond the bounds it is not counted: a report may
    /// say too little, and memory has an end.
    pub fn note(&mut self, now: Timestamp, domain: &str, used: &Used, session: &Session<'_>) {
        let Some(tally) = self.tally((Day::of(now), domain.to_owned()), used) else { return };
        match session.fault {
            None => tally.good += 1,
            Some(fault) => {
                tally.failed += 1;
                let (host, address, source) = (session.host.to_owned(), session.address, session.source);
                tally.count(Kind { fault, host, address, source }, 1);
            }
        }
    }

    fn tally(&mut self, key: (Day, String), used: &Used) -> Option<&mut Tally> {
        if self.domains.len() >= REPORT_DOMAINS_MAX && !self.domains.contains_key(&key) {
            return None;
        }
        let policies = self.domains.entry(key).or_default();
        if policies.len() >= REPORT_POLICIES_MAX && !policies.contains_key(used) {
            return None;
        }
        Some(policies.entry(used.clone()).or_default())
    }

    /// Adds the counts of another shard.
    pub fn add(&mut self, other: Self) {
        for (key, policies) in other.domains {
            for (used, tally) in policies {
                if let Some(own) = self.tally(key.clone(), &used) {
                    own.add(tally);
                }
            }
        }
    }

    /// Takes out what was counted before `day`.
    #[must_use]
    pub fn take_before(&mut self, day: Day) -> Self {
        let later = self.domains.split_off(&(day, String::new()));
        Self { domains: std::mem::replace(&mut self.domains, later) }
    }

    /// The counts as texts to be stored, one for each day, domain and policy.
    pub fn pieces(&self) -> Vec<(Day, String, String)> {
        let mut pieces = Vec::new();
        for ((day, domain), policies) in &self.domains {
            for (used, tally) in policies {
                let kinds = tally.kinds.iter().map(|(kind, count)| (kind.clone(), *count)).collect();
                let stored = Stored { used: used.clone(), good: tally.good, failed: tally.failed, kinds };
                // Texts and numbers only: there is nothing in it that JSON cannot say.
                pieces.push((*day, domain.clone(), serde_json::to_string(&stored).unwrap_or_default()));
            }
        }
        pieces
    }

    /// Adds what a text of [`Collected::pieces`] says; whether it could be read.
    pub fn add_piece(&mut self, day: Day, domain: &str, text: &str) -> bool {
        let Ok(stored) = serde_json::from_str::<Stored>(text) else { return false };
        let Stored { used, good, failed, kinds } = stored;
        if let Some(own) = self.tally((day, domain.to_owned()), &used) {
            own.add(Tally { good, failed, kinds: kinds.into_iter().collect() });
        }
        true
    }

    /// The days and domains for which there are counts.
    pub fn domains(&self) -> impl Iterator<Item = (Day, &str)> {
        self.domains.keys().map(|(day, domain)| (*day, domain.as_str()))
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Takes a day's counts of a domain out, as the report that the domain is sent. `organization` and
    /// `contact` (a mail address) say who we are.
    pub fn report(&mut self, day: Day, domain: &str, organization: &str, contact: &str) -> Option<Report> {
        let policies = self.domains.remove(&(day, domain.to_owned()))?;
        let policies = policies.into_iter().map(|(used, tally)| tally.result(domain, used));
        Some(Report {
            organization_name: organization.to_owned(),
            date_range: DateRange {
                start_datetime: format!("{day}T00:00:00Z"),
                end_datetime: format!("{day}T23:59:59Z"),
            },
            contact_info: contact.to_owned(),
            report_id: format!("{day}-{domain}@{organization}"),
            policies: policies.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(applied: Applied) -> Used {
        Used { applied, lines: vec!["3 1 1 00".into()], hosts: vec!["mx.example".into()] }
    }

    fn session(fault: Option<Fault>) -> Session<'static> {
        Session { host: "mx.example", address: Some("192.0.2.1".parse().unwrap()), source: None, fault }
    }

    #[test]
    fn counts_of_shards_make_one_report_a_day() {
        let (mut one, mut other) = (Collected::default(), Collected::default());
        let (now, next) = (Timestamp::from_s(86_399), Timestamp::from_s(86_400));
        one.note(now, "example.org", &used(Applied::Tlsa), &session(None));
        one.note(now, "example.org", &used(Applied::Tlsa), &session(Some(Fault::TlsaInvalid)));
        other.note(now, "example.org", &used(Applied::Tlsa), &session(Some(Fault::TlsaInvalid)));
        other.note(next, "example.org", &used(Applied::Nothing), &session(None));
        for (day, domain, text) in other.pieces() {
            assert!(one.add_piece(day, &domain, &text) && !one.add_piece(day, &domain, "{}"));
        }
        let mut ended = one.take_before(Day::of(next));
        assert_eq!(ended.domains().collect::<Vec<_>>(), [(Day::of(now), "example.org")]);
        let report = ended.report(Day::of(now), "example.org", "us.example", "tls@us.example").unwrap();
        assert!(ended.is_empty() && !one.is_empty());
        assert_eq!(report.date_range.start_datetime, "1970-01-01T00:00:00Z");
        let [policy] = &report.policies[..] else { panic!("one policy: {report:?}") };
        assert_eq!(policy.policy.policy_type, "tlsa");
        assert_eq!(policy.summary.total_successful_session_count, 1);
        assert_eq!(policy.summary.total_failure_session_count, 2);
        assert_eq!(policy.failure_details[0].failed_session_count, 2);
        assert_eq!(policy.failure_details[0].receiving_ip.as_deref(), Some("192.0.2.1"));
        assert_eq!(Report::parse(report.json().as_bytes()), Some(report));
    }

    #[test]
    fn a_report_shows_the_policy_as_it_was_published() {
        let records = vec![Tlsa::for_certificate(&crate::certificate::tests::shaped(b"key", true)).unwrap()];
        let host = |dane| Host { name: "mx".into(), addresses: vec![], dane, base: "real".into() };
        let dane = Used::of(Applied::Tlsa, &host(Dane::Records(records)), None);
        assert!(dane.lines[0].starts_with("3 1 1 ") && dane.hosts == ["real"]);
        let text = b"version: STSv1\nmode: testing\nmx: mx.example\nmax_age: 1\n";
        let policy = Policy::parse(text).unwrap();
        let sts = Used::of(Applied::Sts, &host(Dane::None), Some(&policy));
        assert_eq!(sts.lines, ["version: STSv1", "mode: testing", "mx: mx.example", "max_age: 1"]);
        assert_eq!(sts.hosts, ["mx.example"]);
        assert_eq!(Used::of(Applied::Nothing, &host(Dane::None), None).lines, [""; 0]);
    }

    #[test]
    fn counting_has_bounds_and_totals_stay_true() {
        let (mut collected, now) = (Collected::default(), Timestamp::from_s(0));
        for number in 0..2 * REPORT_DOMAINS_MAX {
            collected.note(now, &format!("d{number}"), &used(Applied::Sts), &session(None));
        }
        assert_eq!(collected.domains.len(), REPORT_DOMAINS_MAX);
        let failures = 3 * REPORT_FAILURES_MAX;
        for number in 0..failures {
            let host = format!("h{number}");
            let failed = Session { host: &host, ..session(Some(Fault::ValidationFailure)) };
            collected.note(now, "d0", &used(Applied::Sts), &failed);
        }
        for number in 0..2 * REPORT_POLICIES_MAX {
            let used = Used { lines: vec![number.to_string()], ..used(Applied::Sts) };
            collected.note(now, "d0", &used, &session(None));
        }
        let report = collected.report(Day::of(now), "d0", "us", "us@us").unwrap();
        assert_eq!(report.policies.len(), REPORT_POLICIES_MAX);
        let most = report.policies.iter().max_by_key(|policy| policy.failure_details.len()).unwrap();
        assert_eq!(most.failure_details.len(), REPORT_FAILURES_MAX);
        assert_eq!(most.summary.total_failure_session_count, failures as u64);
    }
}
