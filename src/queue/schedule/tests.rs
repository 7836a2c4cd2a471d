//! What is due when: by itself, and for as long as a destination is down.

use base::{PartitionId, Random, Timestamp};
use storage_engine::BodyRef;

use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_s(1_795_500_000 + s)
}

fn entry(item: u32, destination: &str, due_s: i64, priority: i8) -> Entry {
    let destination = Destination::of(destination);
    Entry {
        ticket: Ticket { partition: PartitionId(3), item },
        id: u64::from(item),
        destination,
        group: destination,
        due: at(due_s),
        queued: at(0),
        expires: at(10_000),
        attempts: 0,
        priority,
        is_held: false,
        is_late: false,
        is_timed: false,
        is_moderated: false,
        is_asked: false,
        size: 1,
        body: BodyRef::NONE,
    }
}

fn schedule(first: u32, max: u32) -> Schedule {
    Schedule::new(Window { first, max })
}

/// Everything that is due, in the order it is given out.
fn drain(schedule: &mut Schedule, now: Timestamp) -> Vec<u32> {
    std::iter::from_fn(|| schedule.next(now)).map(|(ticket, _)| ticket.item).collect()
}

#[test]
fn entries_come_when_they_are_due_the_urgent_ones_first() {
    let mut schedule = schedule(100, 100);
    for (item, due, priority) in [(1, 10, 0), (2, 5, 0), (3, 5, 0), (4, 8, 4), (5, 20, 9)] {
        schedule.add(&entry(item, "a", due, priority));
    }
    assert_eq!(schedule.wake_at(), Some(at(5)));
    assert_eq!(drain(&mut schedule, at(4)), [0; 0]);
    assert_eq!(drain(&mut schedule, at(10)), [4, 2, 3, 1]);
    assert_eq!(schedule.wake_at(), Some(at(20)));
    assert_eq!(schedule.counts(), (1, 4));
}

#[test]
fn a_lane_gives_out_no_more_than_its_window_which_grows_with_success() {
    let mut schedule = schedule(2, 4);
    (0..20).for_each(|item| schedule.add(&entry(item, "a", 0, 0)));
    let lane = Destination::of("a");
    assert_eq!(drain(&mut schedule, at(1)).len(), 2);
    assert_eq!(schedule.wake_at(), None, "nothing until one is done");
    schedule.succeeded(lane);
    schedule.done(lane);
    assert_eq!(drain(&mut schedule, at(1)).len(), 2, "one for the one that is done, and one more");
    for _ in 0..10 {
        schedule.succeeded(lane);
    }
    assert_eq!(drain(&mut schedule, at(1)).len(), 1, "four at most");
}

#[test]
fn a_dead_destination_is_probed_by_one_at_a_time_and_holds_up_nobody_else() {
    let mut schedule = schedule(5, 5);
    (0..1000).for_each(|item| schedule.add(&entry(item, "dead", 0, 0)));
    (1000..1010).for_each(|item| schedule.add(&entry(item, "alive", 1, 0)));
    let (dead, alive) = (Destination::of("dead"), Destination::of("alive"));
    let given = drain(&mut schedule, at(1));
    assert_eq!(given.len(), 10, "five of each");
    for item in given {
        let lane = if item < 1000 { dead } else { alive };
        if lane == dead {
            schedule.failed(dead, |failures| at(60 * i64::from(failures)));
            schedule.add(&entry(item, "dead", 60, 0));
        } else {
            schedule.succeeded(alive);
        }
        schedule.done(lane);
    }
    assert_eq!(drain(&mut schedule, at(1)).len(), 5, "the other goes on");
    let view = schedule.lanes().find(|lane| lane.destination == dead).unwrap();
    assert_eq!((view.waiting, view.failures, view.window), (1000, 5, 1));
    assert_eq!(view.blocked_until, at(300), "the longest pause of those that failed together");
    assert_eq!(drain(&mut schedule, at(299)), [0; 0]);
    assert_eq!(drain(&mut schedule, at(300)).len(), 1, "one finds out whether it is back");
    schedule.succeeded(dead);
    schedule.done(dead);
    assert_eq!(drain(&mut schedule, at(300)).len(), 2, "and then it goes on, slowly at first");
}

#[test]
fn an_operator_stops_a_destination_and_lets_it_go_on() {
    let mut schedule = schedule(5, 5);
    (0..3).for_each(|item| schedule.add(&entry(item, "a", 0, 0)));
    let lane = Destination::of("a");
    schedule.suspend(lane, true);
    assert_eq!(drain(&mut schedule, at(100)), [0; 0]);
    schedule.failed(lane, |_| at(5000));
    schedule.suspend(lane, false);
    assert_eq!(drain(&mut schedule, at(100)).len(), 3, "its failures are forgotten too");
    // A lane that is stopped stays so when nothing waits in it.
    let other = Destination::of("b");
    schedule.suspend(other, true);
    schedule.add(&entry(9, "b", 0, 0));
    assert_eq!(drain(&mut schedule, at(100)), [0; 0]);
    assert!(schedule.lanes().any(|lane| lane.destination == other && lane.is_suspended));
}

#[test]
fn what_is_given_up_when_it_is_due_waits_for_no_destination() {
    let mut schedule = schedule(1, 1);
    let lane = Destination::of("a");
    schedule.suspend(lane, true);
    schedule.failed(Destination::of("b"), |_| at(50_000));
    for (item, name) in [(0, "a"), (1, "a"), (2, "b"), (3, "c")] {
        schedule.add(&Entry { expires: at(20), ..entry(item, name, 20, 0) });
        schedule.add(&entry(item + 10, name, 0, 0));
    }
    assert_eq!(drain(&mut schedule, at(19)), [13], "nothing is given up early");
    assert_eq!(drain(&mut schedule, at(20)), [0, 1, 2, 3]);
    assert_eq!((schedule.waiting(lane), schedule.counts()), (2, (3, 5)));
    assert_eq!(schedule.lanes().count(), 3, "it is no destination that anybody has");
    assert!(schedule.is_stopped(lane) && schedule.is_stopped(Destination::of("b")));
    assert!(!schedule.is_stopped(Destination::of("c")) && !schedule.is_stopped(Destination::of("d")));
}

#[test]
fn what_is_given_up_leaves_room_for_other_mail() {
    let mut schedule = schedule(1, 1);
    for item in 0..1000 {
        schedule.add(&Entry { expires: at(20), ..entry(item, "a", 20, 0) });
    }
    schedule.add(&entry(1000, "b", 30, 0));
    let given = drain(&mut schedule, at(40));
    assert!(given.len() < 100 && given.contains(&1000), "{}", given.len());
}

#[test]
fn all_of_a_lane_can_be_looked_at_though_it_is_blocked() {
    let mut schedule = schedule(5, 5);
    (0..3).for_each(|item| schedule.add(&entry(item, "a", i64::from(item), 0)));
    schedule.add(&entry(9, "b", 0, 0));
    let lane = Destination::of("a");
    schedule.failed(lane, |_| at(500));
    let mut all: Vec<u32> = schedule.take_all(lane).into_iter().map(|ticket| ticket.item).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    assert_eq!(schedule.counts(), (1, 0));
    for item in all {
        schedule.add(&entry(item, "a", i64::from(item), 0));
    }
    assert_eq!(drain(&mut schedule, at(499)), [9], "it stays blocked");
    assert_eq!(drain(&mut schedule, at(500)).len(), 1);
}

/// Whatever happens, an entry is given out once for each time it is put in, and the counts are right.
#[test]
fn nothing_is_lost_or_given_twice_whatever_the_destinations_do() {
    let mut random = Random::new(11);
    let mut schedule = schedule(2, 6);
    let (mut out, mut inside) = (Vec::new(), std::collections::BTreeSet::new());
    let mut now = 0;
    for step in 0..20_000_u32 {
        match random.below(6) {
            0 | 1 => {
                let name = format!("d{}", random.below(20));
                let due = now + random.below(50).cast_signed();
                schedule.add(&entry(step, &name, due, random.below(5) as i8 - 2));
                inside.insert(step);
            }
            2 | 3 => {
                if let Some((ticket, lane)) = schedule.next(at(now)) {
                    assert!(inside.remove(&ticket.item), "given twice");
                    out.push(lane);
                }
            }
            4 if !out.is_empty() => {
                let lane = out.swap_remove(random.below(out.len() as u64) as usize);
                match random.below(3) {
                    0 => {
                        schedule.failed(lane, |failures| at(now + i64::from(failures.min(5)) * 10));
                    }
                    _ => schedule.succeeded(lane),
                }
                schedule.done(lane);
            }
            _ => now += random.below(3).cast_signed(),
        }
        assert_eq!(schedule.counts(), (inside.len(), out.len()));
    }
    now += 100_000;
    loop {
        out.drain(..).for_each(|lane| schedule.done(lane));
        let Some((ticket, lane)) = schedule.next(at(now)) else { break };
        assert!(inside.remove(&ticket.item));
        out.push(lane);
    }
    assert!(inside.is_empty(), "{} were never given out", inside.len());
}

#[test]
fn a_paced_lane_gives_out_evenly_and_saves_nothing_up() {
    let mut schedule = schedule(100, 100);
    (0..20).for_each(|item| schedule.add(&entry(item, "a", 0, 0)));
    let lane = Destination::of("a");
    // One every half second.
    schedule.pace(lane, Some(Duration::from_millis(500)));
    assert_eq!(drain(&mut schedule, at(10)).len(), 2);
    assert_eq!(schedule.wake_at(), Some(at(11)));
    assert_eq!(drain(&mut schedule, at(11)).len(), 2);
    assert_eq!(drain(&mut schedule, at(60)).len(), 2, "what was not used is gone");
    schedule.pace(lane, Some(Duration::from_mins(1)));
    assert_eq!(drain(&mut schedule, at(61)).len(), 1);
    assert_eq!(schedule.wake_at(), Some(at(121)));
    schedule.pace(lane, None);
    assert_eq!(drain(&mut schedule, at(61)).len(), 13);
}
