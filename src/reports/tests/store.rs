//! Counts and reports in a store: what comes back, what takes another's place, and what a crash leaves.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base::{PartitionId, Timestamp};
use mailauth::dmarc::ReportAddress;
use mailauth::report::{Disposition, Published, Row};
use reports::{
    Begun, CountKind, CountStore, Counts, Filter, Kept, Kind, Origin, POSTED_KEPT_MAX, Piece, Put, Seen,
    Summary,
};
use storage_engine::{Disk, Engine, Options, Simulated, StoreInfo, prepare};
use transport::report::Day;

struct Rig {
    disk: Simulated,
    engine: Engine,
    #[expect(dead_code, reason = "keeps the store locked")]
    lock: StoreInfo,
}

impl Rig {
    fn open(disk: Simulated) -> Self {
        Self::open_as(disk, 0, 1)
    }

    /// As one of some shards.
    fn open_as(disk: Simulated, shard: u16, shards: u16) -> Self {
        let options = Options {
            partitions: 4,
            segment_bytes: 1 << 20,
            batch_bytes_max: 64 << 10,
            ..Options::default()
        };
        let place = Disk::simulated(&disk);
        let lock = prepare(&place, &options, shards).expect("the store is made or in order");
        let engine = Engine::open(&place, &options, shard, shards).expect("the store was prepared");
        Self { disk, engine, lock }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..100_000 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
            self.engine.turn();
        }
        panic!("the future is never ready");
    }

    /// The same store after a crash: nothing is there but what was flushed.
    fn crash(self) -> Self {
        let disk = self.disk.crash();
        drop(self.engine);
        Self::open(disk)
    }

    fn counts(&self) -> CountStore {
        CountStore::new(self.engine.clone())
    }

    fn kept(&self) -> Kept {
        Kept::new(self.engine.clone(), PartitionId(0))
    }
}

fn day(number: i64) -> Day {
    Day::of(Timestamp::from_s(number * 86_400))
}

/// A message's count as pieces.
fn counted(day: Day, domain: &str, ip: &str) -> Vec<Piece> {
    let mut counts = Counts::default();
    let published = Published { domain: domain.to_owned(), ..Published::default() };
    let row = Row {
        source_ip: ip.parse().expect("an address"),
        count: 1,
        disposition: Disposition::Reject,
        has_aligned_dkim: false,
        has_aligned_spf: false,
        reasons: Vec::new(),
        header_from: domain.to_owned(),
        envelope_from: None,
        envelope_to: None,
        dkim: Vec::new(),
        spf: Vec::new(),
    };
    let to = [ReportAddress { address: format!("r@{domain}"), bytes_max: None }];
    assert!(counts.note(day, published, &to, row));
    let pieces = counts.pieces().into_iter();
    pieces.map(|(day, domain, value)| Piece { kind: CountKind::Dmarc, day, domain, value }).collect()
}

/// All that is stored of a domain, and where.
fn all(store: &CountStore, day: Day, domain: &str) -> (Seen, Vec<reports::Part>) {
    let (mut seen, mut parts) = (Seen::default(), Vec::new());
    loop {
        let pieces = store.pieces(CountKind::Dmarc, (day, domain), parts.last());
        if pieces.parts.is_empty() {
            return (seen, parts);
        }
        seen.merge(pieces.seen());
        parts.extend(pieces.parts);
    }
}

#[test]
fn counts_survive_a_crash_and_go_when_they_are_told() {
    let rig = Rig::open(Simulated::new(1));
    for hour in 0..40 {
        rig.wait(rig.counts().put(counted(day(1), "a.example", &format!("192.0.2.{}", hour % 4)))).unwrap();
    }
    rig.wait(rig.counts().put(counted(day(1), "b.example", "192.0.2.1"))).unwrap();
    rig.wait(rig.counts().put(counted(day(1), "a.example.net", "192.0.2.1"))).unwrap();
    rig.wait(rig.counts().put(counted(day(2), "a.example", "192.0.2.1"))).unwrap();
    rig.wait(rig.counts().put(vec![Piece::tls(day(1), "c.example".to_owned(), "{}")])).unwrap();
    rig.wait(rig.counts().set_sent(Timestamp::from_s(5))).unwrap();
    let rig = rig.crash();
    let store = rig.counts();
    let named = |kind, before| rig.wait(store.domains(kind, day(before)));
    let a = || (day(1), "a.example".to_owned());
    assert_eq!(
        named(CountKind::Dmarc, 2),
        [a(), (day(1), "a.example.net".to_owned()), (day(1), "b.example".to_owned())]
    );
    assert_eq!(named(CountKind::Dmarc, 3).len(), 4);
    assert_eq!(named(CountKind::Tls, 2), [(day(1), "c.example".to_owned())]);
    assert_eq!((named(CountKind::Dmarc, 1).len(), store.sent_until()), (0, Timestamp::from_s(5)));
    let (seen, parts) = all(&store, day(1), "a.example");
    let rows = seen.rows();
    assert_eq!((rows.len(), rows[0].count, parts.len()), (4, 10, 40));
    assert_eq!(seen.to[0].address, "r@a.example");
    // What comes while it is being told stays.
    rig.wait(store.put(counted(day(1), "a.example", "192.0.2.9"))).unwrap();
    rig.wait(store.remove(&parts)).unwrap();
    let rig = rig.crash();
    assert_eq!(all(&rig.counts(), day(1), "a.example").0.rows().len(), 1);
    assert_eq!(rig.wait(rig.counts().domains(CountKind::Dmarc, day(3))).len(), 4);
}

#[test]
fn another_number_of_shards_finds_what_others_have_counted() {
    let mut disk = Simulated::new(3);
    for shard in 0..2 {
        let rig = Rig::open_as(disk, shard, 2);
        rig.wait(rig.counts().put(counted(day(1), "a.example", "192.0.2.1"))).unwrap();
        disk = rig.disk.crash();
    }
    let rig = Rig::open(disk);
    let (seen, parts) = all(&rig.counts(), day(1), "a.example");
    assert_eq!(seen.rows()[0].count, 2);
    assert_eq!(parts.iter().map(|(partition, _)| partition.0).collect::<Vec<_>>(), [0, 1]);
    rig.wait(rig.counts().remove(&parts)).unwrap();
    assert!(all(&rig.counts(), day(1), "a.example").0.is_empty());
}

#[test]
fn what_was_begun_is_known_after_a_crash_and_takes_nothing_that_comes_later() {
    let rig = Rig::open(Simulated::new(3));
    let about = (day(1), "a.example");
    rig.wait(rig.counts().put(counted(day(1), "a.example", "192.0.2.1"))).unwrap();
    let (_, parts) = all(&rig.counts(), day(1), "a.example");
    let mut begun = Begun::new(Timestamp::from_s(5), Timestamp::from_s(9), &parts);
    begun.told.push("r@a.example".to_owned());
    rig.wait(rig.counts().set_begun(CountKind::Dmarc, about, Some(&begun))).unwrap();
    let rig = rig.crash();
    rig.wait(rig.counts().put(counted(day(1), "a.example", "192.0.2.2"))).unwrap();
    let store = rig.counts();
    assert_eq!(store.begun(CountKind::Dmarc, about), Some(begun.clone()));
    assert_eq!(store.begun(CountKind::Tls, about), None);
    let named = vec![(day(1), "a.example".to_owned())];
    assert_eq!(store.all_begun(CountKind::Dmarc, day(2)), named);
    assert_eq!(
        (store.all_begun(CountKind::Dmarc, day(1)), store.all_begun(CountKind::Tls, day(2))),
        (vec![], vec![])
    );
    // It is no count itself.
    assert_eq!(rig.wait(store.domains(CountKind::Dmarc, day(2))), named);
    let (_, later) = all(&store, day(1), "a.example");
    assert_eq!(later.iter().map(|part| begun.has(part)).collect::<Vec<_>>(), [true, false]);
    rig.wait(store.set_begun(CountKind::Dmarc, about, None)).unwrap();
    assert_eq!(rig.crash().counts().begun(CountKind::Dmarc, about), None);
}

fn summary(id: &str, received_s: i64, origin: Origin) -> Summary {
    Summary {
        kind: Kind::Dmarc,
        domain: "a.example".to_owned(),
        reporter: "r.example".to_owned(),
        report_id: id.to_owned(),
        begin: Timestamp::from_s(received_s),
        end: Timestamp::from_s(received_s),
        total: 1,
        failed: 0,
        sender: String::new(),
        received: Timestamp::from_s(received_s),
        origin,
        about: None,
    }
}

fn proven(domain: &str) -> Origin {
    Origin::Proven(domain.to_owned())
}

fn put(rig: &Rig, summary: &Summary, text: &str) -> Put {
    rig.wait(rig.kept().put(summary, text.as_bytes().to_vec())).expect("there is room")
}

#[test]
fn a_report_has_one_place_among_those_of_its_sender() {
    let rig = Rig::open(Simulated::new(2));
    assert_eq!(put(&rig, &summary("1", 10, Origin::Mail), "a"), Put::New(2));
    assert_eq!(put(&rig, &summary("2", 20, proven("r.example")), "b"), Put::New(4));
    assert_eq!(put(&rig, &summary("1", 30, Origin::Mail), "c"), Put::Replaced(2));
    // Who knows its name and is somebody else does not take its place, whatever they prove of themselves.
    assert_eq!(put(&rig, &summary("2", 21, Origin::Mail), "d"), Put::New(6));
    assert_eq!(put(&rig, &summary("2", 22, proven("evil.example")), "e"), Put::New(8));
    assert_eq!(put(&rig, &summary("2", 23, proven("R.example")), "f"), Put::Replaced(4));
    let rig = rig.crash();
    let kept = rig.kept();
    let ids = |filter: &Filter, limit| {
        let found = rig.wait(kept.list(filter, limit)).unwrap();
        found.into_iter().map(|listed| listed.id).collect::<Vec<_>>()
    };
    assert_eq!((ids(&Filter::default(), 10), ids(&Filter::default(), 1)), (vec![2, 4, 8, 6], vec![2]));
    let of = |domain: &str| Filter { domain: Some(domain.to_owned()), ..Filter::default() };
    assert_eq!((ids(&of("a.example"), 10).len(), ids(&of("b.example"), 10).len()), (4, 0));
    assert_eq!(ids(&Filter { kind: Some(Kind::Tls), ..Filter::default() }, 10), [0; 0]);
    assert_eq!(ids(&Filter { since: Some(Timestamp::from_s(25)), ..Filter::default() }, 10), [2]);
    let (found, content) = rig.wait(kept.report(4)).unwrap().expect("it is there");
    assert_eq!((found, content.as_slice()), (summary("2", 23, proven("R.example")), b"f".as_slice()));
    assert_eq!(rig.wait(kept.report(3)).unwrap(), None);
    assert_eq!(rig.wait(kept.expire(Timestamp::from_s(25))).unwrap(), 3);
    assert_eq!((ids(&Filter::default(), 10), rig.wait(kept.report(4)).unwrap()), (vec![2], None));
    // Its name is free again.
    assert!(matches!(put(&rig, &summary("2", 50, proven("r.example")), "g"), Put::New(_)));
}

#[test]
fn what_is_posted_again_waits_until_the_first_is_durable() {
    let rig = Rig::open(Simulated::new(3));
    let kept = rig.kept();
    let summary = summary("1", 11, Origin::Posted);
    let mut first = Box::pin(kept.put(&summary, b"first".to_vec()));
    let mut second = Box::pin(kept.put(&summary, b"second".to_vec()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending(), "nothing is flushed yet");
    assert_eq!((rig.wait(first).unwrap(), rig.wait(second).unwrap()), (Put::New(3), Put::Kept(3)));
}

#[test]
fn what_is_posted_takes_nothing_from_anybody() {
    let rig = Rig::open(Simulated::new(4));
    assert_eq!(put(&rig, &summary("1", 10, Origin::Mail), "mailed"), Put::New(2));
    assert_eq!(put(&rig, &summary("1", 11, Origin::Posted), "first"), Put::New(3));
    // Not even from an earlier one of the same name, whoever posted that.
    assert_eq!(put(&rig, &summary("1", 12, Origin::Posted), "second"), Put::Kept(3));
    assert_eq!(put(&rig, &summary("1", 13, Origin::Mail), "mailed again"), Put::Replaced(2));
    for number in 1..POSTED_KEPT_MAX + 2 {
        assert_eq!(
            put(&rig, &summary(&format!("n{number}"), 20, Origin::Posted), "x"),
            Put::New(number * 2 + 3)
        );
    }
    assert_eq!(put(&rig, &summary("2", 30, Origin::Mail), "by mail"), Put::New(4));
    let rig = rig.crash();
    let kept = rig.kept();
    let said =
        |id| rig.wait(kept.report(id)).unwrap().map(|(_, content)| String::from_utf8(content).unwrap());
    assert_eq!((said(2).as_deref(), said(4).as_deref()), (Some("mailed again"), Some("by mail")));
    assert_eq!((said(3), said(5)), (None, None), "the oldest posted ones went");
    assert_eq!(
        rig.wait(kept.list(&Filter::default(), usize::MAX)).unwrap().len() as u64,
        POSTED_KEPT_MAX + 2
    );
    // The name of one that went is free.
    assert!(matches!(put(&rig, &summary("1", 40, Origin::Posted), "y"), Put::New(_)));
}
