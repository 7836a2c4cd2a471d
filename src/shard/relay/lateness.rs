//! What has waited too long: its sender is told, or it is given up.

use std::rc::Rc;

use base::{Timestamp, give_way};
use queue::{Action, Destination, Entry, Progress, Terms};

use super::attempt::{case, settle};
use super::parcel::{Report, Told};
use crate::Shard;
use crate::limits::{ENTRIES_PER_TURN, LOOK_OVER_PAUSE, STORE_PAUSE};

/// What is said of mail for a destination that an operator has stopped.
const SUSPENDED: &str = "450 4.3.2 mail for this destination is suspended by the operator";

/// Whether the sender is to be told that an entry is late.
pub(super) fn is_late(shard: &Rc<Shard>, entry: &Entry, terms: &Terms, now: Timestamp) -> bool {
    let retry = shard.relay.retry(&shard.settings().outbound, entry.destination);
    retry.is_late(entry.queued, now) || terms.late_at().is_some_and(|at| now >= at)
}

/// As [`is_late`], for an entry that nothing else is known of.
async fn is_overdue(shard: &Rc<Shard>, entry: &Entry, now: Timestamp) -> bool {
    let terms = if entry.is_timed {
        shard.relay.store.envelope(entry).await.map(|envelope| envelope.terms).unwrap_or_default()
    } else {
        Terms::default()
    };
    is_late(shard, entry, &terms, now)
}

pub(super) fn expired(progress: &Progress) -> String {
    match progress.attempts.last() {
        // An operator's word.
        Some(last) if last.recipients.is_empty() => last.reply.clone(),
        Some(last) => format!("554 5.4.7 given up; the last answer was: {}", last.reply),
        None => "554 5.4.7 given up before it could be tried".to_owned(),
    }
}

/// Entries of a destination that is down are not tried one by one; but they expire, and their senders are told that
/// they are late. So from time to time each is looked at, beside everything else.
pub(super) fn look_over(shard: &Rc<Shard>, lane: Destination, report: &Report) {
    let now = shard.world.now();
    let Some(told) = report.results.first() else { return };
    {
        let mut looked = shard.relay.looked_over.borrow_mut();
        looked.retain(|_, at| now.since(*at) < LOOK_OVER_PAUSE);
        if looked.contains_key(&lane) {
            return;
        }
        looked.insert(lane, now);
    }
    let (shard, told) = (Rc::clone(shard), told.clone());
    let task = Rc::clone(&shard);
    shard.world.spawn_aside(Box::pin(async move { look_at_each(&task, lane, &told).await }));
}

/// The same for destinations that an operator has stopped, for as long as the shard runs.
pub(super) async fn watch_suspended(shard: Rc<Shard>) {
    let told = Told {
        recipients: Vec::new(),
        action: Action::Delayed,
        host: String::new(),
        tls: String::new(),
        reply: SUSPENDED.to_owned(),
        passes_dsn: false,
        is_for_another_round: false,
    };
    while !shard.world.is_stopping() {
        let lanes: Vec<Destination> = {
            let schedule = shard.relay.schedule.borrow();
            let stopped = schedule.lanes().filter(|lane| lane.is_suspended && lane.waiting > 0);
            stopped.map(|lane| lane.destination).collect()
        };
        for lane in lanes {
            look_at_each(&shard, lane, &told).await;
        }
        shard.world.sleep_until(shard.world.now() + LOOK_OVER_PAUSE).await;
    }
}

async fn look_at_each(shard: &Rc<Shard>, lane: Destination, told: &Told) {
    let (relay, now) = (&shard.relay, shard.world.now());
    let tickets = relay.schedule.borrow_mut().take_all(lane);
    let mut due = Vec::new();
    // What is not due is back before anybody is told of the rest, which takes longer.
    for (at, ticket) in (1..).zip(tickets) {
        let Some(entry) = relay.store.entry(ticket) else { continue };
        let is_due = now >= entry.expires || (!entry.is_late && is_overdue(shard, &entry, now).await);
        if is_due && !entry.is_held {
            due.push((ticket, entry.id));
        } else {
            relay.schedule.borrow_mut().add(&entry);
        }
        if at % ENTRIES_PER_TURN == 0 {
            give_way().await;
        }
    }
    relay.bell.ring();
    for (ticket, id) in due {
        let entry = relay.store.entry(ticket).filter(|entry| entry.id == id && !entry.is_held);
        let Some(entry) = entry else { continue };
        let now = shard.world.now();
        // An operator may have let it go on meanwhile, or somebody may have told its sender.
        let is_stopped = entry.destination == lane && relay.schedule.borrow().is_stopped(lane);
        let is_due = now >= entry.expires || (is_stopped && !entry.is_late);
        let again = if is_due { untried(shard, entry, told, now).await } else { Some(entry) };
        if let Some(entry) = again {
            relay.schedule(&entry);
        }
    }
}

/// An entry that was not tried, since its destination is down or stopped: given up, or told of.
async fn untried(shard: &Rc<Shard>, entry: Entry, told: &Told, now: Timestamp) -> Option<Entry> {
    let is_free = shard.relay.busy.borrow_mut().insert(entry.ticket);
    if !is_free {
        return Some(entry);
    }
    let again = match case(shard, entry).await {
        Err(_) => Some(entry.due_at(now + STORE_PAUSE)),
        Ok(case) => {
            let (action, reply) = if now >= entry.expires {
                (Action::Failed, given_up(&case.progress, told))
            } else {
                (Action::Delayed, told.reply.clone())
            };
            let told = Told { recipients: case.pending(), action, reply, ..told.clone() };
            settle(shard, case, Report { results: vec![told], is_down: false, is_in_doubt: false }).await
        }
    };
    shard.relay.busy.borrow_mut().remove(&entry.ticket);
    // There may have been no place for others among those that are being tried.
    shard.relay.bell.ring();
    again
}

fn given_up(progress: &Progress, told: &Told) -> String {
    match progress.attempts.last() {
        Some(last) if last.recipients.is_empty() => expired(progress),
        _ => format!("554 5.4.7 given up; the last answer was: {}", told.reply),
    }
}
