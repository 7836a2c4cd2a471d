//! MTA-STS (RFC 8461): a domain's policy about its hosts, fetched over HTTPS and kept for its time.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::time::Duration;

use base::Timestamp;
use base::dns::{Answer, Failure, Query, RecordKind, normal};

use crate::destination::is_name;
use crate::fault::Fault;
use crate::limits::{STS_DOMAINS_MAX, STS_HOSTS_MAX, STS_MAX_AGE_S, STS_RETRY};
use crate::text_record::fields;

/// What a policy asks of senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To deliver to no host that does not satisfy it.
    Enforce,
    /// To report what would fail, and to deliver.
    Testing,
    /// Nothing: there is no policy any more.
    None,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A policy (RFC 8461 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it asks.
    pub mode: Mode,
    /// Host names, lower case; `*.` stands for one label.
    pub hosts: Vec<String>,
    /// For how long it counts, in seconds.
    pub max_age_s: u32,
}

/// The question for the record that says whether there is a policy.
pub fn question(domain: &str) -> Query {
    Query::new(&format!("_mta-sts.{domain}"), RecordKind::Txt)
}

/// The host that serves the policy, over HTTPS and at [`PATH`]. Its certificate must be for this name.
pub fn policy_host(domain: &str) -> String {
    format!("mta-sts.{domain}")
}

/// The domain whose policy a host of this name serves.
pub fn domain_of(host: &str) -> Option<&str> {
    host.strip_prefix("mta-sts.").filter(|domain| !domain.is_empty())
}

/// Where the policy lies on its host.
pub const PATH: &str = "/.well-known/mta-sts.txt";

/// The policy's version by its record (RFC 8461 §3.1). `None` when there is no policy, or when that
/// cannot be found out now: what is kept counts then.
pub fn version(answer: &Result<Answer, Failure>) -> Option<&str> {
    let fields = fields(answer.as_ref().ok()?, "STSv1")?;
    let (_, id) = fields.into_iter().find(|(key, _)| *key == "id")?;
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then_some(id)
}

/// A host as [`Policy::hosts`] has it; `None` when the text is neither a name nor `*.` in front of one.
pub fn host_pattern(text: &str) -> Option<String> {
    let pattern = normal(text);
    is_name(pattern.strip_prefix("*.").unwrap_or(&pattern)).then_some(pattern)
}

impl Policy {
    /// Reads a policy file. `None` when it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (mut version, mut mode, mut max_age_s, mut hosts) = (None, None, None, Vec::new());
        for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
            let Some((key, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    continue;
                }
                return None;
            };
            // Of keys that may stand once, the first counts.
            match (key.trim(), value.trim()) {
                ("version", value) => version = version.or(Some(value)),
                ("mode", value) => mode = mode.or(Some(value)),
                ("max_age", value) => max_age_s = max_age_s.or(Some(value)),
                // What is no name names no host.
                ("mx", value) if hosts.len() < STS_HOSTS_MAX => hosts.extend(host_pattern(value)),
                _ => {}
            }
        }
        let mode = match mode? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            _ => return None,
        };
        let max_age_s = max_age_s.filter(|digits| digits.len() <= 10)?.parse::<u64>().ok()?;
        let max_age_s = u32::try_from(max_age_s).unwrap_or(u32::MAX).min(STS_MAX_AGE_S);
        let is_whole = version == Some("STSv1") && (mode == Mode::None || !hosts.is_empty());
        is_whole.then_some(Self { mode, hosts, max_age_s })
    }

    /// The file, as it is served.
    pub fn text(&self) -> String {
        let mut text = format!("version: STSv1\r\nmode: {}\r\n", self.mode.word());
        for host in &self.hosts {
            // Writing to a string cannot fail.
            let _ = write!(text, "mx: {host}\r\n");
        }
        let _ = write!(text, "max_age: {}\r\n", self.max_age_s);
        text
    }

    /// Whether the policy names this host (RFC 8461 §4.1).
    pub fn names(&self, host: &str) -> bool {
        let host = normal(host);
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            None => *pattern == host,
            Some(suffix) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
            }
        })
    }
}

/// What is remembered of one domain's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The last policy that was fetched.
    pub kept: Option<Kept>,
    /// The last version that could not be fetched: when, and why.
    failed: Option<(String, Timestamp, Fault)>,
}

/// A policy with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its version.
    pub id: String,
    /// The policy.
    pub policy: Policy,
    /// Until when it counts.
    pub until: Timestamp,
}

/// What is to be done before a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// There is no policy.
    Nothing,
    /// The policy in [`Memory::kept`] counts.
    UseKept,
    /// This version is to be fetched; then ask again.
    Fetch(String),
    /// There is a policy, and it cannot be had now. What is sent is sent without, and reported.
    Without(Fault),
}

impl Memory {
    /// What is to be done, by what the record says now ([`version`]).
    pub fn plan(&self, version: Option<&str>, now: Timestamp) -> Plan {
        let kept = self.kept.as_ref().filter(|kept| now < kept.until);
        let (Some(version), known) = (version, kept.map(|kept| kept.id.as_str())) else {
            // RFC 8461 §3.3: a record that has gone, or is kept from us, does not end a policy.
            return if kept.is_some() { Plan::UseKept } else { Plan::Nothing };
        };
        let failed = self.failed.as_ref().filter(|(id, at, _)| id == version && now.since(*at) < STS_RETRY);
        match (known, failed) {
            (Some(known), _) if known == version => Plan::UseKept,
            (Some(_), Some(_)) => Plan::UseKept,
            (None, Some((.., fault))) => Plan::Without(*fault),
            (_, None) => Plan::Fetch(version.to_owned()),
        }
    }

    /// What the fetching of a version came to.
    pub fn fetched(&mut self, id: &str, fetched: Result<Policy, Fault>, now: Timestamp) {
        match fetched {
            Ok(policy) => {
                let until = now + Duration::from_secs(policy.max_age_s.into());
                self.kept = Some(Kept { id: id.to_owned(), policy, until });
                self.failed = None;
            }
            Err(fault) => self.failed = Some((id.to_owned(), now, fault)),
        }
    }

    /// The policy, while it counts and asks for anything.
    pub fn policy(&self, now: Timestamp) -> Option<&Policy> {
        let kept = self.kept.as_ref().filter(|kept| now < kept.until)?;
        (kept.policy.mode != Mode::None).then_some(&kept.policy)
    }

    /// Whether there is nothing in it that still counts.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.until <= now)
            && self.failed.as_ref().is_none_or(|(_, at, _)| now.since(*at) >= STS_RETRY)
    }
}

impl Kept {
    /// When it was fetched.
    fn fetched(&self) -> Timestamp {
        Timestamp::from_ms(self.until.as_ms() - i64::from(self.policy.max_age_s) * 1000)
    }

    /// As it is written down: until when it counts in milliseconds, the length of its version and the version, and the
    /// policy's file.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.until.as_ms().to_le_bytes().to_vec();
        bytes.push(u8::try_from(self.id.len()).unwrap_or(0));
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(self.policy.text().as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (until, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (id, text) = rest.split_at_checked(usize::from(*length))?;
        let until = Timestamp::from_ms(i64::from_le_bytes(*until));
        Some(Self { id: String::from_utf8(id.to_vec()).ok()?, policy: Policy::parse(text)?, until })
    }
}

/// What is remembered of many domains, up to a bound.
#[derive(Debug, Default)]
pub struct Policies {
    domains: HashMap<String, Memory>,
    /// Domains whose policy has changed, or gone, since it was written down.
    changed: BTreeSet<String>,
}

/// What counts for a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The domain's policy, if it has one that asks for anything.
    pub policy: Option<Policy>,
    /// There is one, and it cannot be had now: to be counted as a failure.
    pub fault: Option<Fault>,
}

impl Policies {
    /// What is remembered of a domain.
    pub fn find(&self, domain: &str) -> Option<&Memory> {
        self.domains.get(domain)
    }

    /// What the fetching of a version came to. Where there is no more room, those go first that count no
    /// longer, then the one whose time ends first.
    pub fn fetched(&mut self, domain: &str, id: &str, fetched: Result<Policy, Fault>, now: Timestamp) {
        if self.domains.len() >= STS_DOMAINS_MAX && !self.domains.contains_key(domain) {
            let stale = self.domains.iter().filter(|(_, memory)| memory.is_stale(now));
            for domain in stale.map(|(domain, _)| domain.clone()).collect::<Vec<_>>() {
                self.forget(&domain);
            }
        }
        if self.domains.len() >= STS_DOMAINS_MAX && !self.domains.contains_key(domain) {
            let until = |memory: &Memory| memory.kept.as_ref().map(|kept| kept.until);
            let first =
                self.domains.iter().min_by_key(|(_, memory)| until(memory)).map(|(domain, _)| domain.clone());
            if let Some(first) = first {
                self.forget(&first);
            }
        }
        if fetched.is_ok() {
            self.changed.insert(domain.to_owned());
        }
        self.domains.entry(domain.to_owned()).or_default().fetched(id, fetched, now);
    }

    fn forget(&mut self, domain: &str) {
        if self.domains.remove(domain).is_some_and(|memory| memory.kept.is_some()) {
            self.changed.insert(domain.to_owned());
        }
    }

    /// What is to be written down of what has changed, at most `most`: for each domain its bytes, or nothing where they
    /// are to be taken out.
    pub fn changes(&mut self, most: usize) -> Vec<(String, Option<Vec<u8>>)> {
        let mut changes = Vec::new();
        while changes.len() < most {
            let Some(domain) = self.changed.pop_first() else { break };
            let kept = self.domains.get(&domain).and_then(|memory| memory.kept.as_ref()).map(Kept::encode);
            changes.push((domain, kept));
        }
        changes
    }

    /// What was to be written down of a domain could not be: it is among the next changes, as it is by then.
    pub fn put_back(&mut self, domain: &str) {
        self.changed.insert(domain.to_owned());
    }

    /// Takes in what was written down (RFC 8461 §3.3: a policy counts for its time, also for a server that was started
    /// anew). False when it counts no more: then it is to be taken out.
    pub fn restore(&mut self, domain: &str, bytes: &[u8], now: Timestamp) -> bool {
        let Some(kept) = Kept::decode(bytes).filter(|kept| now < kept.until) else { return false };
        let known = self.find(domain).and_then(|memory| memory.kept.as_ref());
        let is_newer = known.is_none_or(|known| known.fetched() < kept.fetched());
        if is_newer && (self.domains.len() < STS_DOMAINS_MAX || self.domains.contains_key(domain)) {
            self.domains.entry(domain.to_owned()).or_default().kept = Some(kept);
        }
        true
    }

    fn plan(&self, domain: &str, version: Option<&str>, now: Timestamp) -> Plan {
        self.domains
            .get(domain)
            .map_or_else(|| Memory::default().plan(version, now), |memory| memory.plan(version, now))
    }

    fn policy(&self, domain: &str, now: Timestamp) -> Option<Policy> {
        self.domains.get(domain).and_then(|memory| memory.policy(now)).cloned()
    }
}

/// The policy that counts for a domain now: one question, and a fetch where there is a new version. Who
/// answers and who fetches is the caller's.
pub async fn current(
    policies: &RefCell<Policies>,
    domain: &str,
    now: Timestamp,
    lookup: impl AsyncFn(Query) -> Result<Answer, Failure>,
    fetch: impl AsyncFn(&str) -> Result<Policy, Fault>,
) -> Current {
    let answer = lookup(question(domain)).await;
    let mut plan = policies.borrow().plan(domain, version(&answer), now);
    if let Plan::Fetch(id) = &plan {
        let fetched = fetch(domain).await;
        policies.borrow_mut().fetched(domain, id, fetched, now);
        plan = policies.borrow().plan(domain, version(&answer), now);
    }
    let fault = if let Plan::Without(fault) = plan { Some(fault) } else { None };
    Current { policy: policies.borrow().policy(domain, now), fault }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use base::dns::{Absence, Record};

    use super::*;

    const TEXT: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n";

    fn answer(texts: &[&str]) -> Answer {
        let records = texts.iter().map(|text| Record::Txt(text.as_bytes().to_vec())).collect();
        Answer { records, name: String::new(), is_secure: false, ttl_s: 1 }
    }

    #[test]
    fn the_record_tells_the_version_if_it_is_the_only_one() {
        let id = |texts: &[&str]| version(&Ok(answer(texts))).map(str::to_owned);
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]), Some("20160831085700Z".into()));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=1;x=y"]), Some("1".into()));
        for none in [
            &["v=STSv1; id=a", "v=STSv1; id=b"][..],
            &["v=STSv2; id=a"],
            &["v=STSv1;"],
            &["v=STSv1; id=a b"],
            &["id=a; v=STSv1"],
            &["v=STSv1; id=123456789012345678901234567890123"],
        ] {
            assert_eq!(id(none), None, "{none:?}");
        }
        assert_eq!(version(&Err(Failure::NoSuchName(Absence::default()))), None);
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let policy = Policy::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age_s), (Mode::Enforce, 604_800));
        assert_eq!(Policy::parse(policy.text().as_bytes()), Some(policy));
        let lenient = "version: STSv1\nmode:testing\nmode: none\nmx: a\nmax_age: 99999999999\nnew: x\n\n";
        assert_eq!(Policy::parse(lenient.as_bytes()), None, "eleven digits are no age");
        let policy = Policy::parse(lenient.replace("99999999999", "9999999999").as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age_s), (Mode::Testing, STS_MAX_AGE_S));
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 1\n").is_some());
        for wrong in [
            "mode: none\nmax_age: 1\n",
            "version: STSv1\nmode: none\n",
            "version: STSv1\nmode: enforce\nmax_age: 1\n",
            "version: STSv1\nmode: maybe\nmx: a\nmax_age: 1\n",
            "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n",
            "<html>no such page</html>",
            "",
        ] {
            assert_eq!(Policy::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_policy_has_its_host_and_a_host_its_policy() {
        assert_eq!(domain_of(&policy_host("example.org")), Some("example.org"));
        assert_eq!((domain_of("mta-sts."), domain_of("www.example.org")), (None, None));
        assert_eq!(host_pattern("*.Example.ORG."), Some("*.example.org".to_owned()));
        for wrong in ["", "*", "a.*.example", "a b", "https://a"] {
            assert_eq!(host_pattern(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let policy = Policy::parse(TEXT.as_bytes()).unwrap();
        for good in ["mail.example.com", "MAIL.example.COM.", "a.example.net"] {
            assert!(policy.names(good), "{good}");
        }
        for wrong in ["example.net", "a.b.example.net", ".example.net", "xmail.example.com", "aexample.net"] {
            assert!(!policy.names(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_policy_outlives_its_record_and_failures_for_its_time() {
        let (mut memory, at) = (Memory::default(), Timestamp::from_s);
        assert_eq!(memory.plan(None, at(0)), Plan::Nothing);
        assert_eq!(memory.plan(Some("1"), at(0)), Plan::Fetch("1".into()));
        memory.fetched("1", Err(Fault::StsPolicyFetchError), at(0));
        assert_eq!(memory.plan(Some("1"), at(1)), Plan::Without(Fault::StsPolicyFetchError));
        assert_eq!(memory.plan(Some("1"), at(0) + STS_RETRY), Plan::Fetch("1".into()));
        memory.fetched("1", Ok(Policy::parse(TEXT.as_bytes()).unwrap()), at(1000));
        assert_eq!(memory.plan(Some("1"), at(1001)), Plan::UseKept);
        // An attacker who suppresses the record, or the fetching of a new version, gains nothing.
        assert_eq!(memory.plan(None, at(1001)), Plan::UseKept);
        assert_eq!(memory.plan(Some("2"), at(1001)), Plan::Fetch("2".into()));
        memory.fetched("2", Err(Fault::StsWebpkiInvalid), at(1001));
        assert_eq!(memory.plan(Some("2"), at(1002)), Plan::UseKept);
        assert!(memory.policy(at(1002)).is_some() && !memory.is_stale(at(1002)));
        let end = at(1000 + 604_800);
        assert_eq!(memory.plan(None, end), Plan::Nothing);
        assert!(memory.policy(end).is_none() && memory.is_stale(end));
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("everything is answered at once"),
        }
    }

    #[test]
    fn a_version_is_fetched_once_and_a_policy_survives_what_follows() {
        let (policies, fetches) = (RefCell::<Policies>::default(), Cell::new(0));
        let good = Policy::parse(TEXT.as_bytes());
        let look = |id: Option<&str>, fetched: Result<Policy, Fault>, s: i64| {
            let text = id.map(|id| format!("v=STSv1; id={id};"));
            let lookup = async |_: Query| match &text {
                Some(text) => Ok(answer(&[text.as_str()])),
                None => Err(Failure::Temporary),
            };
            let fetch = async |_: &str| {
                fetches.set(fetches.get() + 1);
                fetched.clone()
            };
            run(current(&policies, "example.com", Timestamp::from_s(s), lookup, fetch))
        };
        let fault = Fault::StsPolicyFetchError;
        assert_eq!(look(None, Err(fault), 0), Current::default());
        assert_eq!(look(Some("1"), Err(fault), 0), Current { policy: None, fault: Some(fault) });
        assert_eq!(look(Some("1"), Err(fault), 1).fault, Some(fault));
        assert_eq!(fetches.get(), 1, "not tried again at once");
        let policy = Policy::parse(TEXT.as_bytes()).unwrap();
        let counts = Current { policy: good, fault: None };
        assert_eq!(look(Some("1"), Ok(policy.clone()), 1000), counts);
        assert_eq!(look(Some("1"), Err(fault), 1001), counts);
        assert_eq!(look(None, Err(fault), 1002), counts);
        assert_eq!(fetches.get(), 2);
        assert_eq!(
            look(Some("2"), Err(fault), 1003),
            counts,
            "the new one cannot be had, so the old one counts"
        );
        let none = Policy { mode: Mode::None, ..policy };
        assert_eq!(look(Some("3"), Ok(none), 1004), Current::default());
    }

    #[test]
    fn what_ends_first_goes_when_there_are_too_many_domains() {
        let mut policies = Policies::default();
        let policy = |max_age_s| Policy { max_age_s, ..Policy::parse(TEXT.as_bytes()).unwrap() };
        let at = Timestamp::from_s;
        for number in 0..STS_DOMAINS_MAX {
            policies.fetched(&format!("d{number}"), "1", Ok(policy(1000 + number as u32)), at(0));
        }
        policies.fetched("new", "1", Ok(policy(5000)), at(0));
        assert_eq!(policies.domains.len(), STS_DOMAINS_MAX);
        assert!(policies.find("d0").is_none() && policies.find("d1").is_some());
        let end = at(1000 + i64::try_from(STS_DOMAINS_MAX).unwrap());
        policies.fetched("newer", "1", Ok(policy(5000)), end);
        assert_eq!(policies.domains.len(), 1, "all others have ended");
    }

    #[test]
    fn a_policy_holds_after_a_restart_for_its_time_and_no_longer() {
        let (mut policies, at) = (Policies::default(), Timestamp::from_s);
        let policy = Policy::parse(TEXT.as_bytes()).unwrap();
        policies.fetched("example.com", "7", Ok(policy.clone()), at(0));
        policies.fetched("broken.example", "1", Err(Fault::StsPolicyFetchError), at(0));
        let lost = policies.changes(9);
        assert!(lost.len() == 1 && policies.changes(9).is_empty());
        policies.put_back(&lost[0].0);
        let written = policies.changes(9);
        let [(domain, Some(bytes))] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((domain.as_str(), policies.changes(9).len()), ("example.com", 0));
        let mut again = Policies::default();
        assert!(again.restore(domain, bytes, at(604_799)));
        assert_eq!(again.policy(domain, at(604_799)), Some(policy.clone()));
        assert_eq!(again.plan(domain, Some("7"), at(1)), Plan::UseKept);
        assert!(again.changes(9).is_empty(), "it is written down already");
        assert!(!Policies::default().restore(domain, bytes, at(604_800)), "its time is over");
        assert!((0..bytes.len() - "604800\r\n".len()).all(|end| !Policies::default().restore(
            domain,
            &bytes[..end],
            at(1)
        )));
        // A copy from before, of another number of shards, does not take the place of a newer one.
        again.fetched(domain, "8", Ok(Policy { max_age_s: 10, ..policy }), at(100));
        assert!(again.restore(domain, bytes, at(101)));
        assert_eq!(again.plan(domain, Some("8"), at(101)), Plan::UseKept);
    }

    #[test]
    fn what_had_to_go_is_taken_out() {
        let (mut policies, at) = (Policies::default(), Timestamp::from_s);
        let policy = Policy { max_age_s: 1000, ..Policy::parse(TEXT.as_bytes()).unwrap() };
        for number in 0..STS_DOMAINS_MAX {
            policies.fetched(&format!("d{number}"), "1", Ok(policy.clone()), at(0));
        }
        while !policies.changes(1000).is_empty() {}
        policies.fetched("new", "1", Ok(policy), at(1000));
        let changes = policies.changes(STS_DOMAINS_MAX + 9);
        let gone = changes.iter().filter(|(_, bytes)| bytes.is_none()).count();
        assert_eq!((gone, changes.len()), (STS_DOMAINS_MAX, STS_DOMAINS_MAX + 1));
    }
}
