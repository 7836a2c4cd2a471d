//! Name resolution against a name server of our own: what is answered, what fails, and what is asked again.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[path = "support/names.rs"]
mod names;
mod support;

use std::rc::Rc;
use std::time::Duration;

use base::ShardId;
use base::dns::{Absence, Answer, Failure, Query, Record, RecordKind};
use hickory_resolver::proto::rr::{RData, rdata};
use names::{NameServer, Table, a, cname, mx, txt};
use runtime::{Asker, DnsError, DnsSettings, Resolver, Sidecar, block_on};
use support::{Begin, Context, Plan, Server};

struct World {
    server: Server,
    names: NameServer,
    sidecar: Sidecar,
    settings: DnsSettings,
}

impl World {
    fn new() -> Self {
        let tlsa = rdata::TLSA::new(3.into(), 1.into(), 1.into(), vec![7; 32]);
        let table = Table::from([
            ("mail.example.", vec![(300, a(1)), (200, a(2))]),
            (
                "example.",
                vec![(60, mx(10, "Mail.Example.")), (60, mx(0, ".")), (60, txt(&["v=spf1 ", "-all"]))],
            ),
            ("_25._tcp.mail.example.", vec![(60, RData::TLSA(tlsa))]),
            ("alias.example.", vec![(30, cname("second.example."))]),
            ("second.example.", vec![(90, cname("mail.example."))]),
            ("loop.example.", vec![(60, cname("loop2.example."))]),
            ("loop2.example.", vec![(60, cname("loop.example."))]),
            ("dangling.example.", vec![(60, cname("nowhere.example."))]),
            ("brief.example.", vec![(0, a(9))]),
            ("large.example.", (0..60).map(|_| (60, txt(&[&"x".repeat(200)]))).collect()),
        ]);
        let names = NameServer::start(table);
        let settings = DnsSettings {
            servers: vec![names.address],
            validate: Some(false),
            timeout: Duration::from_secs(20),
            ..DnsSettings::default()
        };
        let (server, sidecar) = (Server::start(&Plan::new(1, Begin::Plain)), Sidecar::start().unwrap());
        Self { server, names, sidecar, settings }
    }

    /// Asks everything at the same time, on one shard, with an empty memory.
    fn ask_all(&self, queries: Vec<Query>) -> Vec<Result<Answer, Failure>> {
        let (asker, sidecar) = (Asker::new(&self.settings).unwrap(), self.sidecar.clone());
        let work = move |context: Rc<Context>| async move {
            let resolver = Resolver::new(context.local.clone(), sidecar, asker);
            let mut asked: Vec<_> =
                queries.into_iter().map(|query| Box::pin(resolver.lookup(query))).collect();
            let mut outcomes = vec![None; asked.len()];
            std::future::poll_fn(|cx| {
                for (asked, outcome) in asked.iter_mut().zip(&mut outcomes) {
                    if outcome.is_none()
                        && let std::task::Poll::Ready(ready) = asked.as_mut().poll(cx)
                    {
                        *outcome = Some(ready);
                    }
                }
                if outcomes.iter().all(Option::is_some) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            outcomes.into_iter().map(Option::unwrap).collect()
        };
        block_on(self.server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
    }

    fn ask(&self, name: &str, kind: RecordKind) -> Result<Answer, Failure> {
        self.ask_all(vec![Query::new(name, kind)]).remove(0)
    }
}

fn sorted(answer: Result<Answer, Failure>) -> Vec<Record> {
    let mut records = answer.unwrap().records;
    records.sort();
    records
}

const NOTHING: Absence = Absence { is_secure: false, ttl_s: 77 };

#[test]
fn records_come_as_they_are() {
    let world = World::new();
    let addresses = world.ask("MAIL.example.", RecordKind::A).unwrap();
    assert_eq!((addresses.name.as_str(), addresses.ttl_s, addresses.is_secure), ("mail.example", 200, false));
    assert_eq!(sorted(Ok(addresses)), [1, 2].map(|last| Record::A([192, 0, 2, last].into())));
    let hosts = [(0, ""), (10, "mail.example")];
    let hosts = hosts.map(|(preference, host)| Record::Mx { preference, host: host.to_owned() });
    assert_eq!(sorted(world.ask("example", RecordKind::Mx)), hosts);
    assert_eq!(sorted(world.ask("example", RecordKind::Txt)), [Record::Txt(b"v=spf1 -all".to_vec())]);
    let tlsa = Record::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    assert_eq!(sorted(world.ask("_25._tcp.mail.example", RecordKind::Tlsa)), [tlsa]);
    // More than a datagram holds comes by TCP.
    assert_eq!(world.ask("large.example", RecordKind::Txt).unwrap().records.len(), 60);
}

#[test]
fn aliases_are_followed_to_their_end_and_no_further() {
    let world = World::new();
    let answer = world.ask("alias.example", RecordKind::A).unwrap();
    assert_eq!((answer.name.as_str(), answer.ttl_s, answer.records.len()), ("mail.example", 30, 2));
    let alias = vec![Record::Cname("second.example".to_owned())];
    assert_eq!(world.ask("alias.example", RecordKind::Cname).unwrap().records, alias);
    let short = Absence { ttl_s: 30, ..NOTHING };
    assert_eq!(world.ask("alias.example", RecordKind::Mx), Err(Failure::NoRecords(short)));
    let short = Absence { ttl_s: 60, ..NOTHING };
    assert_eq!(world.ask("dangling.example", RecordKind::A), Err(Failure::NoSuchName(short)));
    assert_eq!(world.ask("loop.example", RecordKind::A), Err(Failure::Temporary));
    assert!(world.names.count("loop.example.") < 10);
}

#[test]
fn absence_and_failure_are_told_apart() {
    let mut world = World::new();
    world.settings.timeout = Duration::from_millis(500);
    assert_eq!(world.ask("nowhere.example", RecordKind::A), Err(Failure::NoSuchName(NOTHING)));
    assert_eq!(world.ask("mail.example", RecordKind::Aaaa), Err(Failure::NoRecords(NOTHING)));
    for failing in ["silent.example", "servfail.example", "refused.example", "garbage.example"] {
        assert_eq!(world.ask(failing, RecordKind::A), Err(Failure::Temporary), "{failing}");
    }
    let long = format!("{}.example", "x".repeat(64));
    for impossible in ["a..example", &long, &"a.".repeat(200)] {
        let absence = Absence::default();
        assert_eq!(world.ask(impossible, RecordKind::A), Err(Failure::NoSuchName(absence)), "{impossible}");
    }
    // Nobody listens on port 1.
    world.settings.servers = vec!["127.0.0.1:1".parse().unwrap()];
    assert_eq!(world.ask("mail.example", RecordKind::A), Err(Failure::Temporary));
}

#[test]
fn who_asks_at_the_same_time_or_soon_after_asks_once() {
    let world = World::new();
    let same: Vec<Query> = (0..500).map(|_| Query::new("brief.example", RecordKind::A)).collect();
    let outcomes = world.ask_all(same);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| answer.records.len() == 1)));
    assert_eq!(world.names.count("brief.example."), 1);
    // More questions than are asked at once wait for each other.
    let many = (0..1000).map(|number| Query::new(&format!("h{number}.example"), RecordKind::A)).collect();
    let outcomes = world.ask_all(many);
    assert!(outcomes.into_iter().all(|outcome| outcome == Err(Failure::NoSuchName(NOTHING))));
}

#[test]
fn servers_that_pass_no_signatures_on_are_used_without() {
    let mut world = World::new();
    world.settings.validate = None;
    let answer = world.ask("mail.example", RecordKind::A).unwrap();
    assert!(!answer.is_secure && answer.records.len() == 2);
    // Whoever insists gets nothing unproven: the root itself has no signature here.
    world.settings.validate = Some(true);
    assert_eq!(world.ask("mail.example", RecordKind::A), Err(Failure::Bogus));
}

#[test]
fn keys_that_cannot_be_read_are_told_at_the_start() {
    let file = std::env::temp_dir().join(format!("runtime-anchor-{}", std::process::id()));
    let fault = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let settings = DnsSettings { trust_anchor: Some(file.clone()), ..DnsSettings::default() };
        Asker::new(&settings).unwrap_err().to_string()
    };
    assert!(fault("").contains("holds no key"), "{}", fault(""));
    assert!(fault("nonsense").contains("DNSKEY records"));
    std::fs::remove_file(&file).unwrap();
    let settings = DnsSettings { trust_anchor: Some(file.clone()), ..DnsSettings::default() };
    assert!(matches!(Asker::new(&settings), Err(DnsError::TrustAnchor { .. })));
}
