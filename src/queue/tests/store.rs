//! The queue over a simulated disk: what is queued is there after a restart, with all that became of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::{PartitionId, Timestamp};
use queue::{
    Action, Attempt, Body, DeliverBy, Destination, Entry, Envelope, Error, Here, Incoming, Moderation,
    Notify, Origin, Progress, Recipient, Return, Schedule, Store, Suspended, Terms, Trace, TraceFilter,
    Window,
};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

/// With an instant disk nothing waits.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("the disk is instant, and yet this waits")
}

/// Turns an engine until the future is ready.
fn turning<F: Future>(engine: &Engine, future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
        engine.turn();
    }
    panic!("it waits for ever")
}

fn open(disk: &Disk) -> Store {
    let options = Options { partitions: 16, segment_bytes: 1 << 20, ..Options::default() };
    prepare(disk, &options, 1).expect("a simulated store");
    Store::new(Engine::open(disk, &options, 0, 1).expect("it was just prepared"))
}

fn loaded(disk: &Disk) -> (Store, Vec<Entry>) {
    let store = open(disk);
    let mut entries = Vec::new();
    ready(store.load(|entry| entries.push(entry)));
    (store, entries)
}

fn recipient(address: &str) -> Recipient {
    let domain = address.rsplit_once('@').expect("an address").1;
    Recipient { address: address.to_owned(), orcpt: None, notify: None, group: Destination::of(domain) }
}

fn envelope(id: u64, to: &[&str]) -> Envelope {
    Envelope {
        id,
        sender: Some("ann@example.org".to_owned()),
        recipients: to.iter().map(|address| recipient(address)).collect(),
        body: Body::EightBitMime,
        is_smtputf8: true,
        ret: Some(Return::Headers),
        envid: Some("e".to_owned()),
        requires_tls: true,
        terms: Terms {
            priority: -3,
            release_at: Some(NOW),
            deliver_by: Some(DeliverBy { at: NOW, is_returned: true, is_traced: false }),
            verp: base::VerpSigns::parse("-="),
        },
        route: Some("bulk".to_owned()),
        received: NOW,
        origin: Origin {
            peer: "192.0.2.1".to_owned(),
            helo: "client".to_owned(),
            account: Some(7),
            message_id: Some("<m@example.org>".to_owned()),
        },
        moderation: Some(Moderation { by: vec!["boss@example.org".to_owned()], tells_sender: true }),
        here: Some(Here { is_junk: true }),
    }
}

fn incoming(id: u64, to: &[&str]) -> Incoming {
    let envelope = envelope(id, to);
    let groups = envelope.groups().len();
    Incoming {
        envelope,
        content: Arc::new(format!("message {id}").into_bytes()),
        due: NOW,
        expires: vec![Timestamp::from_s(NOW.as_s() + 1000); groups],
        priority: -3,
        is_held: false,
    }
}

fn attempt(recipients: &[u32], action: Action, reply: &str) -> Attempt {
    Attempt {
        at: NOW,
        host: "mx".to_owned(),
        tls: String::new(),
        reply: reply.to_owned(),
        recipients: recipients.to_vec(),
        action,
    }
}

#[test]
fn an_envelope_comes_back_as_it_went_in_and_nothing_else_is_one() {
    let mut whole = envelope(9, &["a@x.example", "b@y.example"]);
    whole.recipients[1].orcpt = Some("rfc822;c@z.example".to_owned());
    whole.recipients[1].notify = Some(Notify { on_success: true, on_failure: false, on_delay: true });
    let bytes = whole.encode();
    assert_eq!(Envelope::decode(&bytes), Some(whole.clone()));
    for end in 0..bytes.len() {
        assert_eq!(Envelope::decode(&bytes[..end]), None, "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        // Anything but a panic.
        let _other = Envelope::decode(&changed);
    }
    let (origin, terms) = (Origin::default(), Terms::default());
    let bare = Envelope { sender: None, envid: None, ret: None, origin, terms, ..whole };
    assert_eq!(Envelope::decode(&bare.encode()), Some(bare));
}

#[test]
fn what_is_queued_survives_a_crash_with_all_that_became_of_it() {
    let simulated = Simulated::instant();
    let disk = Disk::simulated(&simulated);
    let (store, none) = loaded(&disk);
    assert!(none.is_empty());
    let entries = ready(store.add(incoming(1, &["a@x.example", "b@y.example", "c@x.example"]), NOW)).unwrap();
    assert_eq!(entries.len(), 2, "one for each destination");
    let on_x = *entries.iter().find(|entry| entry.destination == Destination::of("x.example")).unwrap();
    let mut progress = Progress::default();
    progress.push(attempt(&[0], Action::Relayed, "250 ok"));
    progress.push(attempt(&[2], Action::Delayed, "450 later"));
    let due = Timestamp::from_s(NOW.as_s() + 60);
    let updated = ready(store.update(&on_x, Some(&progress), |entry| {
        entry.due = due;
        entry.attempts += 1;
        entry.is_late = true;
    }));
    assert_eq!(updated.unwrap().due, due);
    drop(store);

    let (store, mut entries) = loaded(&Disk::simulated(&simulated.crash()));
    entries.sort_by_key(|entry| entry.attempts);
    let [on_y, on_x] = entries.as_slice() else { panic!("two entries: {entries:?}") };
    assert_eq!((on_x.due, on_x.attempts, on_x.is_late, on_x.priority), (due, 1, true, -3));
    assert_eq!((on_y.attempts, on_y.is_held, on_y.id), (0, false, 1));
    assert_eq!(
        ready(store.envelope(on_x)).unwrap(),
        envelope(1, &["a@x.example", "b@y.example", "c@x.example"])
    );
    assert_eq!(ready(store.content(on_y)).unwrap(), b"message 1");
    assert_eq!(store.progress(on_x.ticket), progress);
    assert!(store.progress(on_x.ticket).is_done(0) && !store.progress(on_x.ticket).is_done(2));
    assert_eq!(store.progress(on_y.ticket), Progress::default());
}

#[test]
fn what_has_gone_leaves_its_place_and_its_story() {
    let disk = Disk::simulated(&Simulated::instant());
    let (store, _) = loaded(&disk);
    let mut places = std::collections::BTreeSet::new();
    for id in 0..200 {
        let entry = ready(store.add(incoming(id, &["a@x.example"]), NOW)).unwrap()[0];
        places.insert(entry.ticket);
        let mut progress = Progress::default();
        progress.push(attempt(&[0], Action::Relayed, "250 ok"));
        let envelope = ready(store.envelope(&entry)).unwrap();
        let ended = Some(Timestamp::from_s(NOW.as_s() + id.cast_signed()));
        let trace = Trace { ended, size: entry.size, group: entry.group, envelope, progress };
        ready(store.finish(&trace, &entry)).unwrap();
        assert_eq!(ready(store.finish(&trace, &entry)), Err(Error::Gone));
        assert_eq!(store.entry(entry.ticket), None);
    }
    assert_eq!(places.len(), 16, "one place in each partition, again and again");
    let found = |filter: TraceFilter, limit| ready(store.traces(&filter, limit)).unwrap();
    let one = found(TraceFilter::Id(77), 10);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].progress.attempts[0].reply, "250 ok");
    let latest = found(TraceFilter::Address("A@X.example".to_owned()), 3);
    assert_eq!(latest.iter().map(|trace| trace.envelope.id).collect::<Vec<_>>(), [199, 198, 197]);
    assert_eq!(found(TraceFilter::MessageId("m@example.org".to_owned()), 1000).len(), 200);
    assert!(found(TraceFilter::Address("nobody@x.example".to_owned()), 10).is_empty());
    drop(store);
    assert!(loaded(&disk).1.is_empty(), "nothing waits");
}

#[test]
fn what_has_gone_does_not_come_back_in_the_place_of_another() {
    let disk = Disk::simulated(&Simulated::instant());
    let (store, _) = loaded(&disk);
    let story = |entry: &Entry| {
        let envelope = ready(store.envelope(entry)).unwrap();
        Trace {
            ended: Some(NOW),
            size: entry.size,
            group: entry.group,
            envelope,
            progress: Progress::default(),
        }
    };
    // An operator takes it out while it is being tried, and its place goes to the next message.
    let old = ready(store.add(incoming(1, &["a@x.example"]), NOW)).unwrap()[0];
    let old_story = story(&old);
    ready(store.finish(&old_story, &old)).unwrap();
    let mut new = (2..18).map(|id| ready(store.add(incoming(id, &["a@x.example"]), NOW)).unwrap()[0]);
    let new = new.rfind(|new| new.ticket == old.ticket).expect("the partitions go by turns");
    assert_eq!(store.len(), 16);
    // Whatever the attempt finds, it is not the new message's.
    assert_eq!(ready(store.finish(&old_story, &old)), Err(Error::Gone));
    assert_eq!(ready(store.update(&old, None, |entry| entry.attempts += 1)), Err(Error::Gone));
    let parts = vec![(Destination::of("y.example"), Progress::default())];
    assert_eq!(ready(store.split(&old, parts)), Err(Error::Gone));
    assert_eq!(store.entry(new.ticket), Some(new));
    ready(store.finish(&story(&new), &new)).unwrap();
    assert_eq!(store.len(), 15);
}

#[test]
fn of_two_who_decide_at_the_same_time_one_wins() {
    let now = Timestamp::from_s(NOW.as_s() + 1);
    let release = |entry: &mut Entry, _: &mut Progress| {
        (entry.is_held, entry.is_moderated, entry.due) = (false, false, now);
    };
    let give_up = |entry: &mut Entry| {
        (entry.is_held, entry.is_moderated, entry.expires) = (false, false, now);
    };
    for first in ["release", "give up", "take out", "look"] {
        // Its writes wait for the engine to be turned.
        let disk = Disk::simulated(&Simulated::new(1));
        let options = Options { partitions: 1, segment_bytes: 1 << 20, ..Options::default() };
        let _lock = prepare(&disk, &options, 1).expect("a simulated store");
        let engine = Engine::open(&disk, &options, 0, 1).expect("it was just prepared");
        let store = Store::new(engine.clone());
        let mut message = incoming(1, &["a@x.example"]);
        message.is_held = true;
        let known = turning(&engine, store.add(message, NOW)).unwrap()[0];
        let envelope = turning(&engine, store.envelope(&known)).unwrap();
        let trace = Trace {
            ended: Some(NOW),
            size: known.size,
            group: known.group,
            envelope,
            progress: Progress::default(),
        };
        let mut done = pin!(async {
            match first {
                "release" => store.amend(&known, release).await.map(drop),
                "give up" => store.update(&known, None, give_up).await.map(drop),
                "take out" => store.finish(&trace, &known).await,
                // Noting that moderators were asked decides nothing.
                _ => store.update(&known, None, |entry| entry.is_asked = true).await.map(drop),
            }
        });
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(done.as_mut().poll(cx).is_pending(), "it is on its way and not durable yet");
        let second = [
            turning(&engine, store.update(&known, None, give_up)).map(drop),
            turning(&engine, store.amend(&known, release)).map(drop),
            turning(&engine, store.finish(&trace, &known)),
        ];
        turning(&engine, done).unwrap();
        let expected = if first == "look" { Ok(()) } else { Err(Error::Gone) };
        assert_eq!(second, [expected, Err(Error::Gone), Err(Error::Gone)], "{first}");
        let left = store.entry(known.ticket).map(|entry| (entry.due == now, entry.expires == now));
        let as_first = match first {
            "release" => Some((true, false)),
            "take out" => None,
            _ => Some((false, true)),
        };
        assert_eq!(left, as_first, "{first}");
    }
}

#[test]
fn what_is_suspended_is_so_after_a_crash_until_it_is_resumed() {
    const HOME: PartitionId = PartitionId(0);
    let simulated = Simulated::instant();
    let (store, _) = loaded(&Disk::simulated(&simulated));
    let known = |name: &str, s| Suspended { name: name.to_owned(), since: Timestamp::from_s(NOW.as_s() + s) };
    ready(store.suspend(HOME, known("x.example via bulk", 0))).unwrap();
    ready(store.suspend(HOME, known("y.example", 1))).unwrap();
    // It keeps its time, whoever says it again and however it is written.
    let again = ready(store.suspend(HOME, known("Y.example", 9))).unwrap();
    assert_eq!(again, known("y.example", 1));
    assert_eq!(ready(store.suspend(HOME, known(&"x".repeat(1025), 1))), Err(Error::TooLarge));
    drop(store);
    let crashed = simulated.crash();
    let (store, entries) = loaded(&Disk::simulated(&crashed));
    assert!(entries.is_empty(), "it is no entry");
    let mut found = store.suspended(HOME);
    found.sort_by_key(|known| known.since);
    assert_eq!(found, [known("x.example via bulk", 0), known("y.example", 1)]);
    ready(store.resume(HOME, &known("Y.EXAMPLE", 0))).unwrap();
    ready(store.resume(HOME, &known("z.example", 0))).unwrap();
    drop(store);
    let (store, _) = loaded(&Disk::simulated(&crashed.crash()));
    assert_eq!(store.suspended(HOME), [known("x.example via bulk", 0)]);
}

#[test]
fn so_many_are_suspended_and_no_more() {
    let (store, _) = loaded(&Disk::simulated(&Simulated::instant()));
    let home = PartitionId(3);
    let known = |at: usize| Suspended { name: format!("d{at}.example"), since: NOW };
    for at in 0..queue::SUSPENDED_MAX {
        ready(store.suspend(home, known(at))).unwrap();
    }
    assert_eq!(ready(store.suspend(home, known(queue::SUSPENDED_MAX))), Err(Error::TooLarge));
    ready(store.suspend(home, known(7))).unwrap();
    ready(store.resume(home, &known(7))).unwrap();
    ready(store.suspend(home, known(queue::SUSPENDED_MAX))).unwrap();
    assert_eq!(store.suspended(home).len(), queue::SUSPENDED_MAX);
}

#[test]
fn an_entry_parts_when_its_recipients_do() {
    let disk = Disk::simulated(&Simulated::instant());
    let (store, _) = loaded(&disk);
    let mut all = incoming(1, &["a@x.example", "b@y.example"]);
    all.envelope.recipients.iter_mut().for_each(|to| to.group = Destination::of("smarthost:25"));
    let entry = ready(store.add(all, NOW)).unwrap()[0];
    let fast = |_: &mut Entry, progress: &mut Progress| progress.route = Some("fast".to_owned());
    let entry = ready(store.amend(&entry, fast)).unwrap();
    let stale = ready(store.update(&entry, Some(&Progress::default()), |_| {})).unwrap();
    assert_eq!(
        store.progress(stale.ticket).route.as_deref(),
        Some("fast"),
        "an attempt that began before knows nothing of it"
    );
    let only = |other: u32| Progress { done: vec![other], ..Progress::default() };
    let parts = vec![(Destination::of("x.example"), only(1)), (Destination::of("y.example"), only(0))];
    let parted = ready(store.split(&entry, parts)).unwrap();
    assert_eq!(parted.len(), 2);
    drop(store);
    let (store, entries) = loaded(&disk);
    for entry in &entries {
        let is_x = entry.destination == Destination::of("x.example");
        let progress = store.progress(entry.ticket);
        assert_eq!(
            (progress.done.as_slice(), progress.route.as_deref()),
            (&[u32::from(is_x)][..], Some("fast"))
        );
        assert_eq!(entry.group, Destination::of("smarthost:25"), "whose it is does not change");
    }
    assert_eq!(entries.len(), 2);
}

#[test]
fn attempts_are_kept_up_to_a_bound_the_first_among_them() {
    let mut progress = Progress::default();
    for number in 0..50 {
        progress.push(attempt(&[0], Action::Delayed, &format!("450 {number} {}", "ä".repeat(600))));
    }
    assert_eq!(progress.attempts.len(), queue::ATTEMPTS_KEPT_MAX);
    assert!(progress.attempts[0].reply.starts_with("450 0 "));
    assert!(progress.attempts.last().unwrap().reply.starts_with("450 49 "));
    assert!(progress.attempts.iter().all(|attempt| attempt.reply.len() <= queue::REPLY_BYTES_MAX));
}

#[test]
fn of_several_messages_all_are_queued_or_none() {
    let simulated = Simulated::instant();
    let disk = Disk::simulated(&simulated);
    let (store, _) = loaded(&disk);
    let all = || vec![incoming(1, &["a@x.example", "b@y.example"]), incoming(1, &["c@x.example"])];
    let entries = ready(store.add_all(all(), NOW)).unwrap();
    let to = |entry: &Entry| ready(store.envelope(entry)).unwrap().recipients[0].address.clone();
    assert_eq!((entries[0].len(), entries[1].len(), to(&entries[1][0])), (2, 1, "c@x.example".to_owned()));
    let mut large = all();
    large[1].content = Arc::new(vec![b'x'; 2 << 20]);
    assert_eq!(ready(store.add_all(large, NOW)), Err(Error::TooLarge));
    assert_eq!(store.len(), 3, "the first of them is not there without the second");
    simulated.set_full(true);
    let refused = (0..100_000).map(|_| ready(store.add_all(all(), NOW))).find(Result::is_err);
    assert_eq!(refused.expect("what is left is used up"), Err(Error::NoSpace));
    assert_eq!(store.len() % 3, 0);
}

#[test]
fn the_queue_of_a_restart_gives_out_the_same() {
    let disk = Disk::simulated(&Simulated::instant());
    let (store, _) = loaded(&disk);
    for id in 0..20 {
        let mut message = incoming(id, &["a@x.example"]);
        message.due = Timestamp::from_s(NOW.as_s() + 100 - id.cast_signed());
        message.is_held = id == 7;
        message.priority = 0;
        ready(store.add(message, NOW)).unwrap();
    }
    drop(store);
    let (store, entries) = loaded(&disk);
    let mut schedule = Schedule::new(Window { first: 100, max: 100 });
    for entry in &entries {
        schedule.add(entry);
    }
    let mut given = Vec::new();
    while let Some((ticket, _)) = schedule.next(Timestamp::from_s(NOW.as_s() + 1000)) {
        given.push(store.entry(ticket).unwrap().id);
    }
    assert_eq!(given, (0..20).rev().filter(|id| *id != 7).collect::<Vec<_>>());
}
