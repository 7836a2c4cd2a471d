//! No `250`, no `OK` and no `+OK` leaves a session before the flush that covers what it acknowledges,
//! on a disk whose every step is the test's; none for what failed; and what was acknowledged is
//! there after a crash at any moment.

mod support;

use smtp::Mode;
use support::deed::{CRASHES, Kind, changes, deeds, message};
use support::rush::rush;
use support::{Rig, TURNS_MAX, address, login};

/// How many disks each command runs on, each with an order of its own.
const DISKS: usize = 6;

#[test]
fn no_acknowledgement_leaves_before_the_flush_that_covers_it() {
    for deed in deeds() {
        for _ in 0..DISKS {
            let (rig, mut client) = deed.begin();
            let since = rig.disk.event_count();
            client.send(deed.command.as_bytes());
            let mut waits = 0;
            loop {
                client.poll();
                let said = client.said();
                let frames = rig.frames(since);
                let is_durable = frames.len() >= deed.frames && frames.iter().all(|frame| frame.is_covered);
                if deed.is_acknowledged(&said) {
                    assert!(is_durable, "{}: said before it was durable: {said}", deed.name);
                    assert_eq!(rig.engine.stats().pending, 0, "{}: more is on its way", deed.name);
                    break;
                }
                waits += usize::from(!is_durable);
                assert!(waits < TURNS_MAX, "{}: never acknowledged: {said}", deed.name);
                rig.engine.turn();
            }
            // Otherwise nothing was seen of the time before the flush.
            assert!(waits > 0, "{}: acknowledged at once", deed.name);
            assert!((deed.is_done)(&rig), "{}: acknowledged and not done", deed.name);
            deed.assert_survives(&rig.disk);
        }
    }
}

#[test]
fn nothing_is_acknowledged_that_could_not_be_written_or_flushed() {
    for deed in deeds() {
        for fails_write in [true, false] {
            let (rig, mut client) = deed.begin();
            if fails_write {
                rig.disk.fail_writes(1);
            } else {
                rig.disk.fail_flushes(1);
            }
            client.send(deed.command.as_bytes());
            for _ in 0..TURNS_MAX {
                client.poll();
                if rig.engine.failed().is_some() {
                    break;
                }
                rig.engine.turn();
            }
            // Whatever it asks for from here on is refused at once.
            client.poll();
            let said = client.said();
            assert!(rig.engine.failed().is_some(), "{}: the fault was not met", deed.name);
            assert!(!deed.is_acknowledged(&said), "{}: {said}", deed.name);
            let is_refused = said.lines().any(|line| line.starts_with(deed.refusal)) || said.contains("451 ");
            assert!(is_refused, "{}: {said}", deed.name);
            assert!(!(deed.is_done)(&rig), "{}: refused and visible", deed.name);
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_at_any_moment() {
    for deed in deeds() {
        for event in 0.. {
            let (rig, mut client) = deed.begin();
            let crash = rig.disk.event_count() + event;
            rig.disk.crash_at(crash);
            client.send(deed.command.as_bytes());
            let mut acknowledged = None;
            for _ in 0..TURNS_MAX {
                client.poll();
                if deed.is_acknowledged(&client.said()) {
                    acknowledged.get_or_insert(rig.disk.event_count());
                }
                if acknowledged.is_some() && rig.engine.is_idle() {
                    break;
                }
                rig.engine.turn();
            }
            let acknowledged = acknowledged.expect("it is acknowledged in the end");
            let Some(image) = rig.disk.crash_image() else {
                deed.assert_survives(&rig.disk);
                assert!(event >= 2, "{}: {event} events", deed.name);
                break;
            };
            let after = Rig::open(image);
            assert!(acknowledged > crash || (deed.is_done)(&after), "{}: lost at {event}", deed.name);
        }
    }
}

/// What another connection has proposed a moment before may leave nothing to be written. `OK` still says
/// that it is so, and must wait until it is.
#[test]
fn having_nothing_left_to_do_is_acknowledged_only_when_that_is_durable() {
    let mut broken = Vec::new();
    // One maildrop has one session (RFC 1939 §8).
    for deed in changes().iter().filter(|deed| matches!(deed.kind, Kind::Imap)) {
        let (rig, mut first) = deed.begin();
        let mut second = deed.connect(&rig);
        rig.settle();
        first.send(deed.command.as_bytes());
        second.send(deed.command.as_bytes());
        for _ in 0..TURNS_MAX {
            first.poll();
            second.poll();
            if second.said().contains("a9 ") {
                break;
            }
            rig.engine.turn();
        }
        let said = second.said();
        assert!(said.contains("a9 "), "{}: no answer", deed.name);
        let lost = (0..CRASHES).filter(|_| !(deed.is_done)(&Rig::open(rig.disk.crash()))).count();
        if said.contains("a9 OK") && lost > 0 {
            broken.push(format!("{}: `{}` and lost in {lost} of {CRASHES} crashes", deed.name, said.trim()));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn of_many_at_the_same_time_each_waits_for_its_own_flush() {
    for _ in 0..DISKS {
        let rig = Rig::new();
        let since = rig.disk.event_count();
        let mut look = |token: &str| {
            let frames = rig.frames(since);
            let own: Vec<_> = frames.iter().filter(|frame| frame.has(token)).collect();
            assert!(!own.is_empty() && own.iter().all(|frame| frame.is_covered), "{token}");
        };
        rush(&rig, 5, &mut look);
        let stats = rig.engine.stats();
        assert!(stats.segment > 1, "more than one segment was written");
        assert!(stats.batch_commits.max > 1, "several were acknowledged by one flush");
    }
}

#[test]
fn of_many_at_the_same_time_none_that_was_acknowledged_is_lost_by_a_crash() {
    for event in (0..).step_by(3) {
        let rig = Rig::new();
        let crash = rig.disk.event_count() + event;
        rig.disk.crash_at(crash);
        let acknowledged = rush(&rig, 3, &mut |_| {});
        let Some(image) = rig.disk.crash_image() else { return assert!(event > 30, "{event} events") };
        let after = Rig::open(image);
        for (token, names, _) in acknowledged.iter().filter(|(.., events)| *events <= crash) {
            for name in names {
                assert_eq!(after.with_token(name, token), 1, "{token} of {name} at {event}");
            }
        }
    }
}

/// What is told unasked is durable too: a change that a crash takes back was never shown.
#[test]
fn an_idle_connection_hears_of_a_message_only_when_it_is_durable() {
    for _ in 0..DISKS {
        let rig = Rig::new();
        let mut idle = rig.imap();
        rig.talk(&mut idle, &[login("ann"), "a1 SELECT INBOX".to_owned(), "a2 IDLE".to_owned()]);
        let mut sender = rig.smtp(Mode::Mx);
        let rcpt = format!("RCPT TO:<{}>", address("ann"));
        rig.talk(&mut sender, &["EHLO x".to_owned(), "MAIL FROM:<>".to_owned(), rcpt, "DATA".to_owned()]);
        let since = rig.disk.event_count();
        sender.send(format!("{}.\r\n", message("news")).as_bytes());
        let mut waits = 0;
        while !idle.said().contains("EXISTS") {
            waits += 1;
            assert!(waits < TURNS_MAX, "never told");
            sender.poll();
            rig.engine.turn();
            idle.poll();
        }
        let frames = rig.frames(since);
        assert!(waits > 0 && frames.len() == 1 && frames[0].is_covered);
        for _ in 0..CRASHES {
            assert_eq!(Rig::open(rig.disk.crash()).messages("ann", "INBOX", |_| true), 1);
        }
    }
}
