//! Every kind of record, right and wrong, in a zone that is a table.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use base::dns::{Absence, Answer, Failure, Query, Record, RecordKind};
use directory::DkimState;
use mailauth::{Algorithm, Lookup, PrivateKey};
use transport::Fault;
use transport::publish::Published;
use transport::sts::{Mode, Policy};

use super::items::{Facts, Item, Key, Need, items};
use super::judge::{Finding, Names, State, judge};

const HOST: &str = "mail.example.org";

#[derive(Default)]
struct Zone {
    records: HashMap<Query, Vec<Record>>,
    is_signed: bool,
    is_down: bool,
    policy: Option<Policy>,
}

impl Lookup for Zone {
    async fn ask(&self, query: Query) -> Result<Answer, Failure> {
        if self.is_down {
            return Err(Failure::Temporary);
        }
        let alias = self.records.get(&Query::new(&query.name, RecordKind::Cname));
        if let (Some([Record::Cname(target)]), false) =
            (alias.map(Vec::as_slice), query.kind == RecordKind::Cname)
        {
            return Box::pin(self.ask(Query::new(target, query.kind))).await;
        }
        let records = self.records.get(&query).cloned().ok_or(Failure::NoSuchName(Absence::default()))?;
        Ok(Answer { records, name: query.name, is_secure: self.is_signed, ttl_s: 60 })
    }
}

impl Names for Zone {
    async fn policy(&self, _: &str) -> Result<Policy, Fault> {
        self.policy.clone().ok_or(Fault::StsPolicyFetchError)
    }
}

impl Zone {
    fn add(&mut self, name: &str, kind: RecordKind, record: Record) {
        self.records.entry(Query::new(name, kind)).or_default().push(record);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.add(name, RecordKind::Txt, Record::Txt(text.as_bytes().to_vec()));
    }

    /// Everything that is printed, and what only the operator knows.
    fn of(facts: &Facts<'_>) -> Self {
        let mut zone = Self::default();
        for published in items(facts).into_iter().flat_map(|item| item.records) {
            zone.records.entry(published.query).or_default().push(published.record);
        }
        zone.add(HOST, RecordKind::A, Record::A([192, 0, 2, 1].into()));
        zone.add("x.example", RecordKind::A, Record::A([192, 0, 2, 9].into()));
        zone.add("1.2.0.192.in-addr.arpa", RecordKind::Ptr, Record::Ptr(HOST.to_owned()));
        zone
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("a table lets nobody wait");
}

fn key(selector: &str, state: DkimState) -> Key {
    let private = PrivateKey::generate(Algorithm::Ed25519Sha256).expect("a key");
    Key { selector: selector.to_owned(), state, private }
}

static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy { mode: Mode::Enforce, hosts: vec![HOST.to_owned()], max_age_s: 604_800 });

fn facts<'a>(keys: &'a [Key], services: &'a [(String, u16)]) -> Facts<'a> {
    Facts {
        domain: "example.org",
        hostname: HOST,
        keys,
        services,
        certificate_key: vec![7; 32],
        is_self_signed: false,
        policy: &POLICY,
        serves_policy: true,
        has_smarthost: false,
        receivers: &[],
        deaf: &[],
        https: None,
        now: Timestamp::from_s(1_795_500_000),
    }
}

fn found(zone: &Zone, facts: &Facts<'_>, what: &str) -> Finding {
    let all = items(facts);
    let item = all.iter().find(|item| item.what == what).expect("there is such an item");
    now(judge(zone, facts, item))
}

#[test]
fn every_record_is_printed_as_a_zone_has_it() {
    let keys = [key("k", DkimState::Active)];
    let services = [("imaps".to_owned(), 993)];
    let facts = facts(&keys, &services);
    let lines: Vec<String> =
        items(&facts).iter().flat_map(|item| item.records.iter().map(Published::text)).collect();
    let dkim =
        format!("k._domainkey.example.org. IN TXT \"{}\"", keys[0].private.record().expect("a record"));
    let sts =
        format!("_mta-sts.example.org. IN TXT \"v=STSv1; id={};\"", transport::publish::policy_id(&POLICY));
    let expected = [
        "example.org. IN MX 10 mail.example.org.",
        "example.org. IN TXT \"v=spf1 mx -all\"",
        "mail.example.org. IN TXT \"v=spf1 a -all\"",
        &dkim,
        "_dmarc.example.org. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@example.org\"",
        &format!("_25._tcp.mail.example.org. IN TLSA 3 1 1 {}", "07".repeat(32)),
        &sts,
        "mta-sts.example.org. IN CNAME mail.example.org.",
        "_smtp._tls.example.org. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
        "_imaps._tcp.example.org. IN SRV 0 1 993 mail.example.org.",
    ];
    assert_eq!(lines, expected);
    let by_hand: Vec<String> = items(&facts).into_iter().flat_map(|item| item.by_hand).collect();
    assert!(by_hand.contains(&"    mx: mail.example.org".to_owned()), "{by_hand:?}");
}

#[test]
fn a_zone_with_all_of_them_is_right() {
    let keys = [key("k", DkimState::Active), key("old", DkimState::Retiring), key("new", DkimState::Waiting)];
    let services = [("imaps".to_owned(), 993), ("submissions".to_owned(), 465)];
    let facts = facts(&keys, &services);
    let zone = Zone { is_signed: true, policy: Some(POLICY.clone()), ..Zone::of(&facts) };
    for item in items(&facts) {
        let finding = now(judge(&zone, &facts, &item));
        let expected = if item.what == "CAA" { State::NotChecked } else { State::Right };
        assert_eq!(finding.state, expected, "{}: {finding:?}", item.what);
    }
}

#[test]
fn nothing_is_missing_and_silence_is_unknown() {
    let facts = facts(&[], &[]);
    let silent = Zone { is_down: true, ..Zone::default() };
    for Item { what, need, .. } in items(&facts) {
        let expected = if what == "CAA" { State::NotChecked } else { State::Missing };
        assert_eq!(found(&Zone::default(), &facts, what).state, expected, "{what}");
        let state = found(&silent, &facts, what).state;
        let expected = match what {
            "CAA" => State::NotChecked,
            "DKIM" => State::Missing,
            _ => State::Unknown,
        };
        assert_eq!(state, expected, "{what}");
        assert_eq!(state.is_bad(need), !["CAA", "DKIM"].contains(&what), "{what}");
    }
}

/// Something that goes wrong in a zone.
type Change = Box<dyn Fn(&mut Zone)>;

fn text(name: &'static str, text: impl Into<String>) -> Change {
    let text = text.into();
    Box::new(move |zone| {
        zone.records.remove(&Query::new(name, RecordKind::Txt));
        zone.text(name, &text);
    })
}

fn more(name: &'static str, text: impl Into<String>) -> Change {
    let text = text.into();
    Box::new(move |zone| zone.text(name, &text))
}

fn put(name: &'static str, kind: RecordKind, record: Record) -> Change {
    Box::new(move |zone| {
        zone.records.insert(Query::new(name, kind), vec![record.clone()]);
    })
}

/// What an item comes to after a change, and words of the note.
type Case = (&'static str, Change, State, &'static str);

fn each(cases: Vec<Case>) {
    let keys = [key("k", DkimState::Active)];
    let services = [("imaps".to_owned(), 993)];
    let facts = facts(&keys, &services);
    for (what, change, state, words) in cases {
        let mut zone = Zone::of(&facts);
        change(&mut zone);
        let finding = found(&zone, &facts, what);
        assert_eq!(finding.state, state, "{what}: {finding:?}");
        let note = finding.note.clone().unwrap_or_default();
        assert!(note.contains(words), "{what}: {finding:?}");
        assert!(!finding.found.is_empty(), "{what}: {finding:?}");
    }
}

#[test]
fn each_fault_of_the_way_in_is_found() {
    let mx = |preference, host: &str| Record::Mx { preference, host: host.to_owned() };
    let tlsa = Record::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![8; 32] };
    let srv = Record::Srv { priority: 0, weight: 0, port: 993, host: String::new() };
    let cname = Record::Cname("x.example".to_owned());
    let ptr = Record::Ptr("x.example".to_owned());
    let elsewhere = Record::Cname("x.example".to_owned());
    let add_mx: Change = Box::new(|zone| {
        zone.add("example.org", RecordKind::Mx, Record::Mx { preference: 1, host: "b.example".to_owned() });
    });
    each(vec![
        ("MX", put("example.org", RecordKind::Mx, mx(1, "b.example")), State::Differs, "elsewhere"),
        ("MX", put("example.org", RecordKind::Mx, mx(0, "")), State::Wrong, "takes no mail"),
        ("MX", add_mx, State::Right, "b.example too"),
        ("address", put(HOST, RecordKind::Cname, cname), State::Wrong, "alias"),
        ("PTR", put("1.2.0.192.in-addr.arpa", RecordKind::Ptr, ptr), State::Wrong, "192.0.2.1"),
        ("TLSA", put("_25._tcp.mail.example.org", RecordKind::Tlsa, tlsa), State::Wrong, "hold mail back"),
        ("MTA-STS", text("_mta-sts.example.org", "v=STSv1; id=1;"), State::Wrong, "cannot be fetched"),
        (
            "MTA-STS host",
            put("mta-sts.example.org", RecordKind::Cname, elsewhere),
            State::Differs,
            "elsewhere",
        ),
        ("TLS-RPT", text("_smtp._tls.example.org", "v=TLSRPTv1; rua=x"), State::Wrong, "no reports"),
        ("SRV", put("_imaps._tcp.example.org", RecordKind::Srv, srv), State::Differs, ""),
    ]);
}

#[test]
fn each_fault_of_the_sender_is_found() {
    let other = key("k", DkimState::Active).private.record().expect("a record");
    let (spf, dkim, dmarc) = ("example.org", "k._domainkey.example.org", "_dmarc.example.org");
    let elsewhere = "v=DMARC1; p=reject; rua=mailto:x@b.example";
    each(vec![
        ("SPF", more(spf, "v=spf1 -all"), State::Wrong, "several SPF"),
        ("SPF", text(spf, "v=spf1 nonsense"), State::Wrong, "cannot be read"),
        ("SPF", text(spf, "v=spf1 ip4:192.0.2.9 ~all"), State::Wrong, "softfail"),
        ("SPF", text(spf, "v=spf1 ip4:192.0.2.1 ~all"), State::Right, ""),
        ("SPF", text(spf, "something else"), State::Missing, ""),
        ("DKIM", text(dkim, other.clone()), State::Wrong, "not this key"),
        ("DKIM", text(dkim, "v=DKIM1; p="), State::Wrong, "revoked"),
        ("DKIM", more(dkim, other), State::Wrong, "several"),
        ("DMARC", more(dmarc, "v=DMARC1; p=none"), State::Wrong, "several DMARC"),
        ("DMARC", text(dmarc, "v=DMARC1; none"), State::Wrong, "cannot be read"),
        ("DMARC", text(dmarc, "v=DMARC1; p=maybe"), State::Wrong, "p= is missing"),
        ("DMARC", text(dmarc, elsewhere), State::Wrong, "takes them"),
        ("DMARC", text(dmarc, "v=DMARC1; p=reject; t=y"), State::Right, "test"),
        ("DMARC", text(dmarc, "v=DMARC1; p=reject"), State::Right, ""),
    ]);
}

#[test]
fn a_policy_that_is_served_elsewhere_must_name_the_hosts() {
    let facts = Facts { serves_policy: false, ..facts(&[], &[]) };
    assert!(items(&facts).iter().all(|item| item.what != "MTA-STS host"));
    for (mode, host, state) in [
        (Mode::Enforce, "other.example", State::Wrong),
        (Mode::Testing, "other.example", State::Wrong),
        (Mode::Enforce, "*.example.org", State::Right),
        (Mode::Testing, HOST, State::Right),
        (Mode::None, HOST, State::Differs),
    ] {
        let policy = Policy { mode, hosts: vec![host.to_owned()], max_age_s: 1 };
        let zone = Zone { policy: Some(policy), ..Zone::of(&facts) };
        assert_eq!(found(&zone, &facts, "MTA-STS").state, state, "{mode:?} {host}");
    }
    // Mail for the domain may go to others too, or to others only.
    let mut zone = Zone { policy: Some(POLICY.clone()), ..Zone::of(&facts) };
    let more = Record::Mx { preference: 20, host: "b.example".to_owned() };
    zone.add("example.org", RecordKind::Mx, more.clone());
    let finding = found(&zone, &facts, "MTA-STS");
    assert_eq!(finding.state, State::Wrong);
    assert_eq!(finding.note.as_deref(), Some("the policy does not name b.example: senders hold mail back"));
    zone.records.insert(Query::new("example.org", RecordKind::Mx), vec![more]);
    zone.policy = Some(Policy { hosts: vec!["b.example".to_owned()], ..POLICY.clone() });
    assert_eq!(found(&zone, &facts, "MTA-STS").state, State::Right);
}

#[test]
fn the_policy_that_we_serve_has_to_be_the_one_that_is_published() {
    let facts = facts(&[], &[]);
    let (name, whole) =
        ("_mta-sts.example.org", || Zone { policy: Some(POLICY.clone()), ..Zone::of(&facts) });
    let is_wrong = |zone: &Zone, words: &str| {
        let finding = found(zone, &facts, "MTA-STS");
        assert_eq!(finding.state, State::Wrong, "{words}: {finding:?}");
        assert!(finding.note.as_ref().is_some_and(|note| note.contains(words)), "{words}: {finding:?}");
    };
    let mut zone = whole();
    text(name, "v=STSv1; id=20261124;")(&mut zone);
    is_wrong(&zone, "the id is not that of the policy");
    let other = Policy { max_age_s: 86_400, ..POLICY.clone() };
    is_wrong(&Zone { policy: Some(other), ..whole() }, "another server answers there");
    is_wrong(&Zone { policy: None, ..whole() }, "(sts-policy-fetch-error): mta-sts.example.org cannot be");
    let mut zone = whole();
    zone.records.remove(&Query::new(name, RecordKind::Txt));
    assert_eq!(found(&zone, &facts, "MTA-STS").state, State::Missing);
}

#[test]
fn a_record_that_nobody_proves_is_no_harm() {
    let facts = facts(&[], &[]);
    let finding = found(&Zone::of(&facts), &facts, "TLSA");
    assert_eq!((finding.state, finding.state.is_bad(Need::Recommended)), (State::Unproven, false));
}

#[test]
fn reports_go_where_they_are_read() {
    let keys = [key("k", DkimState::Active)];
    let receivers = ["r@elsewhere.example".to_owned(), "reports@example.org".to_owned()];
    let facts = Facts { receivers: &receivers, ..facts(&keys, &[]) };
    let mut zone = Zone::of(&facts);
    let lines: Vec<String> =
        items(&facts).iter().flat_map(|item| item.records.iter().map(Published::text)).collect();
    assert!(lines.iter().any(|line| line.ends_with("\"v=DMARC1; p=none; rua=mailto:reports@example.org\"")));
    assert!(lines.iter().any(|line| line.ends_with("\"v=TLSRPTv1; rua=mailto:reports@example.org\"")));
    let note = |zone: &Zone, facts: &Facts<'_>, what| found(zone, facts, what).note.unwrap_or_default();
    assert!(!note(&zone, &facts, "DMARC").contains("not read"));
    // An address that nobody has, and one that nothing reads.
    let deaf = Facts { deaf: &receivers[1..], ..facts };
    assert_eq!(found(&zone, &deaf, "DMARC").state, State::Wrong);
    assert_eq!(found(&zone, &deaf, "TLS-RPT").state, State::Wrong);
    let deaf = Facts { deaf: &[], receivers: &receivers[..1], ..deaf };
    assert!(
        note(&zone, &deaf, "DMARC")
            .ends_with("reports to reports@example.org are not read here: name it in [reports] receive")
    );
    // One elsewhere has to agree.
    assert_eq!(found(&zone, &deaf, "DMARC reports").state, State::Missing);
    zone.text("example.org._report._dmarc.elsewhere.example", "v=DMARC1");
    assert_eq!(found(&zone, &deaf, "DMARC reports").state, State::Right);
}

#[test]
fn reports_are_posted_where_they_are_taken() {
    let keys = [key("k", DkimState::Active)];
    let receivers = ["reports@example.org".to_owned()];
    let https = Some("https://mail.example.org/tlsrpt");
    let facts = Facts { receivers: &receivers, https, ..facts(&keys, &[]) };
    let text = "v=TLSRPTv1; rua=mailto:reports@example.org,https://mail.example.org/tlsrpt";
    let lines: Vec<String> =
        items(&facts).iter().flat_map(|item| item.records.iter().map(Published::text)).collect();
    assert!(lines.contains(&format!("_smtp._tls.example.org. IN TXT \"{text}\"")), "{lines:?}");
    let judged = |text: &str| {
        let mut zone = Zone::default();
        zone.text("_smtp._tls.example.org", text);
        let finding = found(&zone, &facts, "TLS-RPT");
        (finding.state, finding.note.unwrap_or_default())
    };
    assert_eq!(judged(text), (State::Right, String::new()));
    let elsewhere = "v=TLSRPTv1; rua=mailto:reports@example.org,https://other.example/x";
    assert_eq!(
        judged(elsewhere),
        (
            State::Right,
            "reports can be posted to https://mail.example.org/tlsrpt too: add it to rua=".to_owned()
        )
    );
    let (state, note) = judged("v=TLSRPTv1; rua=https://MAIL.example.org:443/old");
    assert_eq!(state, State::Wrong);
    assert!(note.starts_with("nothing is taken at https://MAIL.example.org:443/old"), "{note}");
    assert_eq!(judged("v=TLSRPTv1; rua=mailto:x@example.org").0, State::Right);
}
