//! What is published in the place of an item, and whether it serves.

use std::net::IpAddr;

use base::dns::{Answer, Failure, Query, Record, RecordKind, normal};
use directory::DkimState;
use filter::Url;
use mailauth::dmarc::{self, Policy as Asks};
use mailauth::spf::{self, RecordState, Sender, SpfResult};
use mailauth::{Lookup, reverse_name};
use serde::Serialize;
use transport::Fault;
use transport::publish::{Found, Published};
use transport::report;
use transport::sts::Policy;

use super::items::{Check, Facts, Item, Key, Need};
use super::policy::{policy_host, transport_policy};

/// The name system, and the policies that domains serve.
pub(super) trait Names: Lookup {
    /// Fetches a domain's MTA-STS policy.
    async fn policy(&self, domain: &str) -> Result<Policy, Fault>;
}

/// How an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It serves.
    Right,
    /// There is nothing.
    Missing,
    /// There is something else, which is not wrong by itself.
    Differs,
    /// What is there does harm.
    Wrong,
    /// It is there, and nobody may believe it: the zone is not signed, or nobody checks here.
    Unproven,
    /// The name system did not answer.
    Unknown,
    /// Nothing can be looked up.
    NotChecked,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Missing => "missing",
            Self::Differs => "differs",
            Self::Wrong => "wrong",
            Self::Unproven => "unproven",
            Self::Unknown => "unknown",
            Self::NotChecked => "not-checked",
        }
    }

    /// Whether an operator should do something now.
    pub(super) const fn is_bad(self, need: Need) -> bool {
        match self {
            Self::Right | Self::NotChecked | Self::Unproven => false,
            Self::Wrong | Self::Unknown => true,
            Self::Missing | Self::Differs => matches!(need, Need::Required),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: State,
    /// What is published, as a zone has it.
    pub(super) found: Vec<String>,
    /// What is wrong, or what to know.
    pub(super) note: Option<String>,
}

impl Finding {
    pub(super) const fn bare(state: State) -> Self {
        Self { state, found: Vec::new(), note: None }
    }

    pub(super) fn with(state: State, note: impl Into<String>) -> Self {
        Self { state, found: Vec::new(), note: Some(note.into()) }
    }
}

/// Looks one item up.
pub(super) async fn judge<N: Names>(names: &N, facts: &Facts<'_>, item: &Item<'_>) -> Finding {
    let (mut found, answer) = match item.records.first() {
        None => (Vec::new(), None),
        Some(record) => {
            let answer = names.ask(record.query.clone()).await;
            (texts_of(&record.query, &answer), Some(answer))
        }
    };
    let mut finding = match (&item.check, &answer) {
        (Check::NoKey, _) => Finding::bare(State::Missing),
        (Check::Addresses, _) => {
            let (finding, addresses) = located(names, facts).await;
            found = addresses;
            finding
        }
        (Check::PolicyHost, _) => {
            let (finding, addresses) = policy_host(names, facts).await;
            found = addresses;
            finding
        }
        (Check::Reverse, _) => reversed(names, facts).await,
        // Nothing to publish, or nothing that can be looked up.
        (Check::Nothing, _) | (_, None) => Finding::bare(State::NotChecked),
        (_, Some(Err(failure))) => absent(*failure),
        (check, Some(Ok(answer))) => present(names, facts, item, (check, answer)).await,
    };
    finding.found.extend(found);
    finding
}

async fn present<N: Names>(
    names: &N,
    facts: &Facts<'_>,
    item: &Item<'_>,
    (check, answer): (&Check<'_>, &Answer),
) -> Finding {
    match check {
        Check::Mx => exchangers(facts, answer),
        Check::Spf(name) => sender_policy(names, facts, name, answer).await,
        Check::Dkim(key) => key_record(facts.domain, key, answer),
        Check::Dmarc => author_policy(names, facts, answer).await,
        Check::Sts => transport_policy(names, facts, answer).await,
        Check::Consent => {
            let is_one = texts(answer).iter().any(|text| dmarc::Record::read(text).is_some());
            let note = "it is no DMARC record: nobody sends reports there";
            if is_one { Finding::bare(State::Right) } else { Finding::with(State::Wrong, note) }
        }
        Check::TlsReports => match report::recipients(answer) {
            Some(to) => posted(facts, &to),
            None => Finding::with(State::Wrong, "no reports come: there is not one record that can be read"),
        },
        Check::Tlsa | Check::Service => match item.records.first().map(|record| compare(record, answer)) {
            Some(Found::Right) => Finding::bare(State::Right),
            Some(Found::Unproven) => Finding::with(
                State::Unproven,
                "no signature proves it: senders take no notice; sign the zone (DNSSEC)",
            ),
            _ if matches!(check, Check::Tlsa) => Finding::with(
                State::Wrong,
                "none is that of the certificate: senders with DANE hold mail back; publish it, or take all away",
            ),
            _ => Finding::bare(State::Differs),
        },
        Check::Nothing | Check::NoKey | Check::Addresses | Check::PolicyHost | Check::Reverse => {
            Finding::bare(State::NotChecked)
        }
    }
}

fn compare(record: &Published, answer: &Answer) -> Found {
    record.found(&Ok(answer.clone()))
}

pub(super) fn absent(failure: Failure) -> Finding {
    match failure {
        Failure::NoSuchName(_) | Failure::NoRecords(_) => Finding::bare(State::Missing),
        Failure::Temporary => Finding::with(State::Unknown, "no name server answered"),
        Failure::Bogus => Finding::with(
            State::Unknown,
            "the answer's signatures are wrong: whoever checks them sees nothing",
        ),
    }
}

/// Records in the form of zones.
fn texts_of(query: &Query, answer: &Result<Answer, Failure>) -> Vec<String> {
    let text = |record: &Record| Published { query: query.clone(), record: record.clone() }.text();
    answer.iter().flat_map(|answer| answer.records.iter().map(text)).collect()
}

fn texts(answer: &Answer) -> Vec<Vec<u8>> {
    let text = |record: &Record| if let Record::Txt(text) = record { Some(text.clone()) } else { None };
    answer.records.iter().filter_map(text).collect()
}

fn exchangers(facts: &Facts<'_>, answer: &Answer) -> Finding {
    let hosts = answer.records.iter().filter_map(|record| match record {
        Record::Mx { host, .. } => Some(host.as_str()),
        _ => None,
    });
    let hosts: Vec<&str> = hosts.collect();
    if hosts.contains(&"") {
        return Finding::with(State::Wrong, "it says that the domain takes no mail (RFC 7505)");
    }
    let others: Vec<&str> = hosts.iter().copied().filter(|host| *host != facts.hostname).collect();
    match (others.len() == hosts.len(), others.is_empty()) {
        (true, _) => Finding::with(State::Differs, "mail for the domain goes elsewhere"),
        (false, true) => Finding::bare(State::Right),
        (false, false) => Finding::with(State::Right, format!("mail goes to {} too", others.join(", "))),
    }
}

/// The addresses of a host; none when the name system does not say.
pub(super) async fn addresses<N: Names>(names: &N, host: &str) -> Result<Vec<IpAddr>, Failure> {
    let mut found = Vec::new();
    for kind in [RecordKind::A, RecordKind::Aaaa] {
        match names.ask(Query::new(host, kind)).await {
            Ok(answer) => found.extend(answer.records.into_iter().filter_map(|record| match record {
                Record::A(address) => Some(IpAddr::V4(address)),
                Record::Aaaa(address) => Some(IpAddr::V6(address)),
                _ => None,
            })),
            Err(failure) if failure.absence().is_some() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

async fn located<N: Names>(names: &N, facts: &Facts<'_>) -> (Finding, Vec<String>) {
    match addresses(names, facts.hostname).await {
        Err(failure) => (absent(failure), Vec::new()),
        Ok(found) if found.is_empty() => (Finding::bare(State::Missing), Vec::new()),
        Ok(found) => {
            let alias = names.ask(Query::new(facts.hostname, RecordKind::Cname)).await.is_ok();
            let texts = found.iter().map(ToString::to_string).collect();
            if alias {
                let note = "an MX must not name an alias (RFC 5321 §5.1): give the name addresses of its own";
                return (Finding::with(State::Wrong, note), texts);
            }
            (Finding::bare(State::Right), texts)
        }
    }
}

async fn reversed<N: Names>(names: &N, facts: &Facts<'_>) -> Finding {
    let all = match addresses(names, facts.hostname).await {
        Ok(all) => all,
        Err(failure) => return absent(failure),
    };
    if all.is_empty() {
        return Finding::with(State::Missing, "the host has no address that could have a name");
    }
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for address in all {
        let query = Query::new(&reverse_name(address), RecordKind::Ptr);
        let answer = names.ask(query.clone()).await;
        if matches!(answer, Err(Failure::Temporary | Failure::Bogus)) {
            return Finding::with(State::Unknown, format!("no name server answered about {address}"));
        }
        found.extend(texts_of(&query, &answer));
        let is_ours = |record: &Record| matches!(record, Record::Ptr(name) if normal(name) == facts.hostname);
        if !answer.is_ok_and(|answer| answer.records.iter().any(is_ours)) {
            wrong.push(address.to_string());
        }
    }
    if wrong.is_empty() {
        return Finding { state: State::Right, found, note: None };
    }
    let note = format!("not the name of this host: {}", wrong.join(", "));
    Finding { state: State::Wrong, found, note: Some(note) }
}

async fn sender_policy<N: Names>(names: &N, facts: &Facts<'_>, name: &str, answer: &Answer) -> Finding {
    match spf::record_state(&texts(answer)) {
        RecordState::Missing => return Finding::bare(State::Missing),
        RecordState::Several => {
            let note = "there are several SPF records, which counts as an error: make one of them";
            return Finding::with(State::Wrong, note);
        }
        RecordState::Malformed => {
            return Finding::with(State::Wrong, "the SPF record cannot be read, which counts as an error");
        }
        RecordState::Good => {}
    }
    if facts.has_smarthost {
        return Finding::with(
            State::Right,
            "whether it names the smarthost, only the smarthost's owner can say",
        );
    }
    let own = addresses(names, facts.hostname).await.unwrap_or_default();
    if own.is_empty() {
        return Finding::with(
            State::Right,
            "whether it names this server cannot be told: its host has no address",
        );
    }
    for ip in own {
        let mail_from = format!("postmaster@{name}");
        let sender = Sender {
            ip,
            helo: facts.hostname,
            mail_from: &mail_from,
            receiver: facts.hostname,
            now: facts.now,
        };
        let result = spf::check_mail_from(names, &sender).await.result;
        if result != SpfResult::Pass {
            let note = format!(
                "mail from {ip} gets {:?}: put mx, a:{} or its address into it",
                result.word(),
                facts.hostname
            );
            return Finding::with(State::Wrong, note);
        }
    }
    Finding::bare(State::Right)
}

fn key_record(domain: &str, key: &Key, answer: &Answer) -> Finding {
    let all = texts(answer);
    let judged: Vec<_> = all.iter().map(|text| key.private.is_published_by(text)).collect();
    match judged.as_slice() {
        [] => Finding::bare(State::Missing),
        [Ok(())] if key.state == DkimState::Waiting => Finding::with(
            State::Right,
            format!("it can be made active: angarium domain dkim state {domain} {} active", key.selector),
        ),
        [Ok(())] => Finding::bare(State::Right),
        [Err(trouble)] => Finding::with(State::Wrong, format!("it is not this key: {}", trouble.words())),
        _ => Finding::with(State::Wrong, "there are several records: verifiers take any of them; leave one"),
    }
}

async fn author_policy<N: Names>(names: &N, facts: &Facts<'_>, answer: &Answer) -> Finding {
    let all = texts(answer);
    let mut read = all.iter().filter_map(|text| dmarc::Record::read(text));
    let record = match (read.next(), read.next()) {
        (None, _) => return Finding::bare(State::Missing),
        (Some(_), Some(_)) => {
            return Finding::with(
                State::Wrong,
                "there are several DMARC records, which count as none: leave one",
            );
        }
        (Some(Err(_)), None) => return Finding::with(State::Wrong, "the DMARC record cannot be read"),
        (Some(Ok(record)), None) => record,
    };
    for target in dmarc::report_targets(names, facts.domain, &record.aggregate_to).await {
        if target.may_receive == Some(false) {
            let note = format!(
                "no reports go to {}: its domain does not say that it takes them (RFC 9990 §4)",
                target.to.address
            );
            return Finding::with(State::Wrong, note);
        }
    }
    let to: Vec<String> = record.aggregate_to.iter().map(|to| to.address.clone()).collect();
    let reading = unread(facts, &to);
    if reading.state != State::Right {
        return reading;
    }
    let finding = asked(&record);
    let notes = [finding.note, reading.note].into_iter().flatten().collect::<Vec<_>>();
    Finding { note: (!notes.is_empty()).then(|| notes.join("; ")), ..finding }
}

/// Whether anybody reads what is sent to these addresses, as far as that can be told here.
fn unread(facts: &Facts<'_>, to: &[String]) -> Finding {
    let is_same = |one: &String, other: &String| one.eq_ignore_ascii_case(other);
    let deaf = to.iter().find(|to| facts.deaf.iter().any(|deaf| is_same(deaf, to)));
    if let Some(deaf) = deaf {
        let note = format!("reports to {deaf} come back: make an account or an alias of that address");
        return Finding::with(State::Wrong, note);
    }
    if to.is_empty() {
        return Finding::with(State::Right, "it asks for no reports");
    }
    let is_read = |to: &String| facts.receivers.iter().any(|own| is_same(own, to));
    let is_ours = |to: &&String| {
        to.rsplit_once('@').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(facts.domain))
    };
    match to.iter().find(|to| is_ours(to) && !is_read(to)) {
        Some(address) => Finding::with(
            State::Right,
            format!("reports to {address} are not read here: name it in [reports] receive"),
        ),
        None => Finding::bare(State::Right),
    }
}

/// The same of TLS reports, which may be posted too.
fn posted(facts: &Facts<'_>, to: &report::Recipients) -> Finding {
    let is_mailed = !to.mail.is_empty();
    let finding = if is_mailed { unread(facts, &to.mail) } else { Finding::bare(State::Right) };
    let Some(own) = facts.https.filter(|_| finding.state == State::Right) else { return finding };
    if to.https.iter().any(|https| https == own) {
        return finding;
    }
    let host = |text: &str| Url::parse(text).ok().map(|url| (url.host().to_ascii_lowercase(), url.port()));
    if let Some(wrong) = to.https.iter().find(|https| host(https) == host(own)) {
        let note = format!("nothing is taken at {wrong}: reports are posted to {own}");
        return Finding::with(State::Wrong, note);
    }
    let note = format!("reports can be posted to {own} too: add it to rua=");
    let note = [finding.note, Some(note)].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Finding::with(State::Right, note)
}

/// What the record asks others to do.
fn asked(record: &dmarc::Record) -> Finding {
    match record.policy {
        None => Finding::with(State::Wrong, "p= is missing or none of none, quarantine, reject"),
        Some(Asks::None) => Finding::with(State::Right, "p=none asks for nothing yet: forged mail passes"),
        Some(_) if record.is_test => {
            Finding::with(State::Right, "it is a test (t=y or pct=0): forged mail passes")
        }
        Some(_) => Finding::bare(State::Right),
    }
}
