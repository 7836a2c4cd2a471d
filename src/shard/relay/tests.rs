//! Relaying on shards that are tasks of an executor: over a simulated disk, to hosts that do as a test says, in a time of
//! its own.

pub(crate) mod rig;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dsn::Decision;
use policy::{Rate, Taken};
use queue::{DeliverBy, RetryPolicy, Terms, TraceFilter};
use transport::sts::{Mode, Policy};

use super::control::{self, Deed, Select};
use super::{EgressPool, Outbound, Source, moderation, suspension};
use rig::{Rig, outbound};

/// Where mail goes, and where its sender is told.
const THERE: &str = "192.0.2.7";
const SENDERS: &str = "192.0.2.8";
const MINUTE: Duration = Duration::from_mins(1);
/// The most by which what waits for a stopped destination is looked at late.
const PAUSE: Duration = Duration::from_mins(11);

fn suspend(rig: &Rig, is_suspended: bool) {
    let shard = rig.shard();
    let done = async move { control::suspend(&shard, "[192.0.2.7]", is_suspended).await };
    rig.wait(done).expect("the store takes it");
}

fn count(rig: &Rig) -> usize {
    let shard = rig.shard();
    rig.wait(async move { control::list(&shard, &Select::All, 1000).await }).expect("readable").1
}

fn act(rig: &Rig, deed: Deed) -> usize {
    let shard = rig.shard();
    rig.wait(async move { control::act(&shard, &Select::All, &deed).await }).expect("the store takes it")
}

#[test]
fn what_waits_for_a_suspended_destination_is_late_and_expires_like_all_else() {
    let rig = Rig::new(outbound());
    suspend(&rig, true);
    rig.queue(THERE, Terms::default());
    let RetryPolicy { late_after, expires_after, .. } = RetryPolicy::default();
    let late_after = late_after.expect("by default there is one");
    rig.pass(late_after.saturating_sub(MINUTE));
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.pass(MINUTE + PAUSE);
    let told = rig.told();
    assert!(told.len() == 1 && told[0].contains("Action: delayed"), "{told:?}");
    assert!(told[0].contains("suspended"), "{told:?}");
    rig.pass(expires_after.saturating_sub(late_after));
    let told = rig.told();
    assert!(told.len() == 2 && told[1].contains("Action: failed"), "{told:?}");
    assert_eq!((count(&rig), rig.sent(THERE)), (0, 0));
}

#[test]
fn what_is_told_of_has_its_turn_where_one_is_tried_at_a_time() {
    let rig = Rig::new(Outbound { attempts_max: 1, ..outbound() });
    suspend(&rig, true);
    rig.queue(THERE, Terms::default());
    rig.pass(RetryPolicy::default().expires_after + PAUSE);
    let told = rig.told();
    assert!(told.iter().any(|told| told.contains("Action: failed")), "{told:?}");
}

#[test]
fn a_destination_that_is_resumed_goes_on_though_senders_are_being_told() {
    const MESSAGES: usize = 200;
    let rig = Rig::new(outbound());
    suspend(&rig, true);
    for _ in 0..MESSAGES {
        rig.queue(THERE, Terms::default());
    }
    rig.pass(RetryPolicy::default().late_after.expect("by default there is one"));
    while rig.told().is_empty() {
        rig.pass(Duration::from_millis(1));
    }
    suspend(&rig, false);
    rig.pass(MINUTE);
    let told = rig.told().len();
    assert!(told < MESSAGES / 2, "{told} were told that it is suspended");
    assert!(rig.sent(THERE) + told >= MESSAGES, "{} went", rig.sent(THERE));
}

#[test]
fn what_cannot_be_read_is_taken_out_by_an_operator_and_is_in_nobodys_way() {
    let rig = Rig::new(outbound());
    rig.hosts.set_down(THERE, true);
    rig.queue(THERE, Terms::default());
    rig.pass(MINUTE);
    rig.spoil();
    let rig = rig.restarted();
    rig.queue(THERE, Terms::default());
    let (shard, filter) = (rig.shard(), TraceFilter::Address(format!("x@[{THERE}]")));
    let traced = rig.wait(async move { control::trace(&shard, &filter, 10).await });
    assert_eq!(traced.expect("one can be read").len(), 1);
    assert_eq!(act(&rig, Deed::Remove), 2);
    let rig = rig.restarted();
    assert_eq!((rig.waiting(), count(&rig)), (0, 0));
}

#[test]
fn what_expired_while_nobody_looked_is_given_back_at_the_start() {
    let rig = Rig::new(outbound());
    suspend(&rig, true);
    let at = rig.now() + MINUTE;
    let by = DeliverBy { at, is_returned: true, is_traced: false };
    rig.queue(THERE, Terms { deliver_by: Some(by), ..Terms::default() });
    rig.queue(THERE, Terms::default());
    let rig = rig.restarted();
    rig.pass(MINUTE);
    let rig = rig.restarted();
    rig.pass(MINUTE);
    assert_eq!((rig.told().len(), count(&rig), rig.sent(THERE)), (1, 1, 0), "and it is suspended still");
    suspend(&rig, false);
    rig.pass(MINUTE);
    assert_eq!((rig.told().len(), count(&rig), rig.sent(THERE)), (1, 0, 1));
}

#[test]
fn a_shard_that_asks_while_an_operator_speaks_ends_up_with_their_word() {
    for seed in 0..200 {
        let rig = Rig::of_seed(seed, outbound());
        suspend(&rig, true);
        let shard = rig.shard();
        rig.spawn(async move { suspension::begin(&shard).await });
        suspend(&rig, false);
        rig.pass(MINUTE);
        assert_eq!(control::lanes(&rig.shard()), [], "seed {seed}: the older answer came later");
    }
}

/// What became of a message that a moderator and an operator have decided about at the same time.
fn crossed(seed: u64, decision: Decision, deed: &Deed) -> (usize, usize) {
    let rig = Rig::of_seed(seed, outbound());
    let id = rig.queue_moderated(THERE);
    let (decided, slot) = (Rc::new(Cell::new(None)), rig.shard());
    let answer = Rc::clone(&decided);
    rig.spawn(async move { answer.set(moderation::decide(&slot, id, decision, "ann").await.ok()) });
    let done = act(&rig, deed.clone());
    rig.pass(MINUTE);
    let decided = decided.get().expect("the store takes it");
    // What has been approved can still be taken out; but nothing is approved that an operator has decided about.
    let (goes, is_told) = match (done, deed) {
        (1, Deed::Release) => (1, 0),
        (1, Deed::Bounce(_)) => (0, 1),
        (1, _) => (0, 0),
        _ if decision == Decision::Approve => (1, 0),
        _ => (0, 1),
    };
    let became = (rig.sent(THERE), rig.told().len(), count(&rig));
    assert_eq!(became, (goes, is_told, 0), "seed {seed}: {decision:?} {decided}, {deed:?} {done}");
    assert!(decided + done == 1 || *deed != Deed::Release, "seed {seed}: {decision:?}, {deed:?}");
    (decided, done)
}

#[test]
fn of_a_moderator_and_an_operator_one_decides() {
    for decision in [Decision::Approve, Decision::Reject] {
        for deed in [Deed::Release, Deed::Remove, Deed::Bounce("no".to_owned())] {
            let all: BTreeSet<_> = (0..60).map(|seed| crossed(seed, decision, &deed)).collect();
            assert!(
                all.contains(&(0, 1)) && all.iter().any(|(decided, _)| *decided == 1),
                "{all:?} {deed:?}"
            );
        }
    }
}

#[test]
fn what_an_operator_gives_up_needs_no_destination() {
    for is_suspended in [true, false] {
        let rig = Rig::new(outbound());
        rig.hosts.set_down(THERE, true);
        if is_suspended {
            suspend(&rig, true);
        }
        for _ in 0..40 {
            rig.queue(THERE, Terms::default());
        }
        rig.pass(MINUTE);
        assert_eq!((rig.told().len(), count(&rig)), (0, 40));
        assert_eq!(act(&rig, Deed::Bounce("we have moved".to_owned())), 40);
        rig.pass(MINUTE);
        let told = rig.told();
        assert_eq!((told.len(), count(&rig)), (40, 0), "suspended: {is_suspended}");
        assert!(told.iter().all(|told| told.contains("we have moved")), "{told:?}");
    }
}

#[test]
fn a_connection_that_had_ended_costs_its_source_nothing() {
    let source = Source {
        ipv4: Some("192.0.2.1".parse().expect("an address")),
        ipv6: None,
        ehlo: None,
        weight: 1,
        connections_max: None,
        messages_per_minute_max: NonZeroU32::new(6),
    };
    let pool = Some(Arc::new(EgressPool { name: "own".to_owned(), sources: vec![source] }));
    let rig = Rig::new(Outbound { pool, idle: MINUTE, ..outbound() });
    rig.queue(THERE, Terms::default());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.sent(THERE), 1);
    rig.hosts.close_all();
    rig.queue(THERE, Terms::default());
    // Ten seconds are its turn.
    rig.pass(Duration::from_secs(15));
    assert_eq!((rig.sent(THERE), rig.hosts.connections.get()), (2, 2));
    rig.queue(THERE, Terms::default());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.sent(THERE), 2, "its rate counts as before");
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.sent(THERE), 3);
}

#[test]
fn what_cannot_be_written_down_is_written_when_there_is_room_again() {
    let rig = Rig::new(outbound());
    let rate = Rate { count: 1, every_ms: 3_600_000, burst: 1 };
    let take = |rig: &Rig| {
        let (shard, now) = (rig.shard(), rig.now());
        let rates = &mut shard.memory.remembered.borrow_mut().rates;
        let key = rates.key("x", "ann");
        rates.take(now, &rate, key, 1)
    };
    let knows = |rig: &Rig| rig.shard().relay.policies.borrow().find("example.org").is_some();
    rig.remember();
    rig.fill();
    assert_eq!(take(&rig), Taken::Within);
    let policy = Policy { mode: Mode::Testing, hosts: vec!["mx.example.org".to_owned()], max_age_s: 86_400 };
    rig.shard().relay.policies.borrow_mut().fetched("example.org", "1", Ok(policy), rig.now());
    rig.pass(MINUTE);
    assert_eq!(rig.remembered(), 0, "there is no room");
    rig.disk.set_full(false);
    rig.pass(MINUTE);
    assert_eq!(rig.remembered(), 2);
    let rig = rig.restarted();
    assert!(!knows(&rig));
    rig.remember();
    assert!(knows(&rig) && matches!(take(&rig), Taken::Over(_)));
}
