//! One try for one entry: on the shard where it lies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{ShardId, Timestamp};
use queue::{Action, Attempt, Destination, Entry, Envelope, Error, Progress, Ticket, Trace};

use super::notice::{self, Notice};
use super::parcel::{Parcel, Report, Told};
use super::route::Route;
use super::{Counts, chance, courier, whole_second};
use crate::Shard;
use crate::limits::{DESTINATION_PAUSE_MAX, STORE_PAUSE};

/// Tries what is due, and sees to it that the entry ends or comes again.
pub(super) async fn attempt(shard: &Rc<Shard>, ticket: Ticket, lane: Destination) {
    let is_first = shard.relay.busy.borrow_mut().insert(ticket);
    let again = if is_first { work(shard, ticket, lane).await } else { None };
    if is_first {
        shard.relay.busy.borrow_mut().remove(&ticket);
    }
    let mut schedule = shard.relay.schedule.borrow_mut();
    schedule.done(lane);
    if let Some(entry) = again {
        schedule.add(&entry);
    }
    drop(schedule);
    shard.relay.bell.ring();
}

/// An entry with all that is known of it.
struct Case {
    entry: Entry,
    envelope: Arc<Envelope>,
    progress: Progress,
    content: Option<Arc<Vec<u8>>>,
}

/// The entry as it waits on, if it does.
async fn work(shard: &Rc<Shard>, ticket: Ticket, lane: Destination) -> Option<Entry> {
    let relay = &shard.relay;
    let entry = relay.store.entry(ticket)?;
    // Held, or put off since it was scheduled: then it is, or will be, in the schedule again.
    if entry.is_held || entry.due > shard.world.now() {
        return None;
    }
    match case(shard, entry).await {
        Ok(case) => tried(shard, case, lane).await,
        Err(error) => {
            tracing::warn!(event = "relay.store_failed", ?error, id = format!("{:016x}", entry.id));
            Some(entry.due_at(shard.world.now() + STORE_PAUSE))
        }
    }
}

async fn case(shard: &Rc<Shard>, entry: Entry) -> Result<Case, Error> {
    let relay = &shard.relay;
    let fresh = relay.fresh.borrow_mut().take(entry.ticket);
    let progress = relay.store.progress(entry.ticket);
    if let Some((envelope, content)) = fresh {
        return Ok(Case { entry, envelope, progress, content: Some(content) });
    }
    let envelope = Arc::new(relay.store.envelope(&entry).await?);
    Ok(Case { entry, envelope, progress, content: None })
}

impl Case {
    /// Its recipients that need something, by their place in the envelope.
    fn pending(&self) -> Vec<u32> {
        let all = (0..).zip(&self.envelope.recipients);
        let own = all.filter(|(_, recipient)| recipient.group == self.entry.group).map(|(at, _)| at);
        own.filter(|at| !self.progress.is_done(*at)).collect()
    }

    async fn content(&mut self, shard: &Rc<Shard>) -> Result<Arc<Vec<u8>>, Error> {
        if let Some(content) = &self.content {
            return Ok(Arc::clone(content));
        }
        let content = Arc::new(shard.relay.store.content(&self.entry).await?);
        self.content = Some(Arc::clone(&content));
        Ok(content)
    }
}

async fn tried(shard: &Rc<Shard>, mut case: Case, lane: Destination) -> Option<Entry> {
    let now = shard.world.now();
    let pending = case.pending();
    if now >= case.entry.expires {
        let reply = expired(&case.progress);
        let told = Told {
            recipients: pending,
            action: Action::Failed,
            host: String::new(),
            tls: String::new(),
            reply,
            passes_dsn: false,
            is_for_another_round: false,
        };
        return settle(shard, case, Report { results: vec![told], is_down: false, is_in_doubt: false }).await;
    }
    let settings = shard.settings();
    let route = match routes(&settings.outbound, &case.envelope, &pending).as_slice() {
        [(route, _)] if route.destination() == lane => {
            shard.relay.name(lane, || route.name());
            route.clone()
        }
        [] => return settle(shard, case, Report::default()).await,
        others => return rerouted(shard, case, others).await,
    };
    let content = match case.content(shard).await {
        Ok(content) => content,
        Err(error) => {
            tracing::error!(
                event = "relay.content_unreadable",
                ?error,
                id = format!("{:016x}", case.entry.id)
            );
            return Some(case.entry.due_at(now + STORE_PAUSE));
        }
    };
    Counts::add(&shard.relay.counts.attempts, 1);
    let parcel = Parcel { route, envelope: Arc::clone(&case.envelope), recipients: pending, content };
    let report = send(shard, lane, parcel).await;
    note_lane(shard, lane, &report);
    settle(shard, case, report).await
}

/// To the shard that has the connections.
async fn send(shard: &Rc<Shard>, lane: Destination, parcel: Parcel) -> Report {
    let there = ShardId(lane.shard(shard.router.shards()));
    if there == shard.id {
        return courier::carry(Rc::clone(shard), parcel).await;
    }
    let lost = parcel.clone();
    let carried = shard.router.on(there, move |there| courier::carry(there, parcel)).await;
    carried.unwrap_or_else(|_| {
        Report::all(&lost, Action::Delayed, String::new(), "450 4.3.2 the server is being stopped".to_owned())
    })
}

fn note_lane(shard: &Rc<Shard>, lane: Destination, report: &Report) {
    let mut schedule = shard.relay.schedule.borrow_mut();
    if report.is_in_doubt {
        Counts::add(&shard.relay.counts.in_doubt, 1);
    }
    if !report.is_down {
        return schedule.succeeded(lane);
    }
    let (now, retry) = (shard.world.now(), shard.settings().outbound.retry.clone());
    let chance = chance(shard) as u32;
    let pause = |failures: u32| retry.wait(u16::try_from(failures).unwrap_or(u16::MAX), chance);
    schedule.failed(lane, |failures| now + pause(failures).min(DESTINATION_PAUSE_MAX));
}

/// The ways of some recipients, each with those that go it.
fn routes(outbound: &super::Outbound, envelope: &Envelope, recipients: &[u32]) -> Vec<(Route, Vec<u32>)> {
    let mut routes = Vec::<(Route, Vec<u32>)>::new();
    for at in recipients {
        let Some(recipient) = envelope.recipients.get(*at as usize) else { continue };
        let Some(route) = Route::of(outbound, &recipient.address) else { continue };
        match routes.iter_mut().find(|(known, _)| known.destination() == route.destination()) {
            Some((_, own)) => own.push(*at),
            None => routes.push((route, vec![*at])),
        }
    }
    routes
}

/// The operator has changed the ways since the entry was queued.
async fn rerouted(shard: &Rc<Shard>, case: Case, routes: &[(Route, Vec<u32>)]) -> Option<Entry> {
    let parts = routes.iter().map(|(route, own)| {
        let mut progress = case.progress.clone();
        let others = routes.iter().flat_map(|(_, all)| all).filter(|at| !own.contains(at));
        progress.done.extend(others);
        progress.done.sort_unstable();
        (route.destination(), progress)
    });
    let parts: Vec<_> = parts.collect();
    match shard.relay.store.split(case.entry.ticket, parts).await {
        Ok(entries) => {
            entries.iter().for_each(|entry| shard.relay.schedule(entry));
            None
        }
        Err(_) => Some(case.entry.due_at(shard.world.now() + STORE_PAUSE)),
    }
}

/// Notes what came of it, tells the sender, and ends the entry or sends it round again.
async fn settle(shard: &Rc<Shard>, mut case: Case, report: Report) -> Option<Entry> {
    let now = shard.world.now();
    for told in &report.results {
        let count = match told.action {
            Action::Relayed => &shard.relay.counts.relayed,
            Action::Delayed => &shard.relay.counts.delayed,
            Action::Failed => &shard.relay.counts.failed,
        };
        Counts::add(count, told.recipients.len());
        log(&case.envelope, told);
        case.progress.push(Attempt {
            at: now,
            host: told.host.clone(),
            tls: told.tls.clone(),
            reply: told.reply.clone(),
            recipients: told.recipients.clone(),
            action: told.action,
        });
    }
    let is_over = case.pending().is_empty();
    let is_late = !is_over && !case.entry.is_late && is_late(shard, &case.entry, now);
    // The sender is told before the entry is changed: after a crash in between they are told twice, never not at all.
    tell(shard, &mut case, &report, is_late).await;
    if is_over {
        finish(shard, case, now).await;
        return None;
    }
    again(shard, case, &report, is_late, now).await
}

/// What cannot be stored now is kept here until it can: trying the message anew instead would send it twice.
async fn tell(shard: &Rc<Shard>, case: &mut Case, report: &Report, is_late: bool) {
    let content = loop {
        let notice =
            Notice { envelope: &case.envelope, entry: &case.entry, results: &report.results, is_late };
        if !notice.is_wanted() {
            return;
        }
        match case.content(shard).await {
            Ok(content) => break Some(content),
            Err(Error::Unavailable) => shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await,
            Err(_) => break None,
        }
    };
    let notice = Notice { envelope: &case.envelope, entry: &case.entry, results: &report.results, is_late };
    let content = content.as_ref().map(|content| content.as_slice());
    while !notice::tell(shard, &notice, content, shard.world.now()).await {
        shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await;
    }
}

async fn finish(shard: &Rc<Shard>, case: Case, now: Timestamp) {
    let trace = Trace {
        ended: Some(now),
        size: case.entry.size,
        group: case.entry.group,
        envelope: Envelope::clone(&case.envelope),
        progress: case.progress,
    };
    while let Err(error) = shard.relay.store.finish(&trace, case.entry.ticket).await {
        if error == Error::Gone {
            return;
        }
        not_noted(shard, &case.entry, error).await;
    }
}

async fn again(
    shard: &Rc<Shard>,
    case: Case,
    report: &Report,
    is_late: bool,
    now: Timestamp,
) -> Option<Entry> {
    let settings = shard.settings();
    let attempts = case.entry.attempts.saturating_add(1);
    let pause = if report.results.iter().any(|told| told.is_for_another_round) {
        Duration::ZERO
    } else {
        settings.outbound.retry.wait(attempts, chance(shard) as u32)
    };
    let due = whole_second(now + pause).min(case.entry.expires);
    let change = |entry: &mut Entry| {
        entry.attempts = attempts;
        entry.due = due;
        entry.is_late |= is_late;
    };
    loop {
        match shard.relay.store.update(case.entry.ticket, Some(&case.progress), change).await {
            Ok(entry) => return Some(entry),
            Err(Error::Gone) => return None,
            Err(error) => not_noted(shard, &case.entry, error).await,
        }
    }
}

async fn not_noted(shard: &Rc<Shard>, entry: &Entry, error: Error) {
    tracing::error!(event = "relay.not_noted", ?error, id = format!("{:016x}", entry.id));
    shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await;
}

fn is_late(shard: &Rc<Shard>, entry: &Entry, now: Timestamp) -> bool {
    shard.settings().outbound.retry.is_late(entry.queued, now)
}

fn expired(progress: &Progress) -> String {
    match progress.attempts.last() {
        Some(last) => format!("554 5.4.7 given up; the last answer was: {}", last.reply),
        None => "554 5.4.7 given up before it could be tried".to_owned(),
    }
}

fn log(envelope: &Envelope, told: &Told) {
    let id = format_args!("{:016x}", envelope.id);
    let (action, host, tls, reply) = (told.action.name(), &told.host, &told.tls, &told.reply);
    for at in &told.recipients {
        let recipient =
            envelope.recipients.get(*at as usize).map_or("", |recipient| recipient.address.as_str());
        // What went well stands in the trace; a line for each would be more than the work itself.
        if told.action == Action::Relayed {
            tracing::debug!(event = "relay.attempt", %id, recipient, action, host, tls, reply);
        } else {
            tracing::info!(event = "relay.attempt", %id, recipient, action, host, tls, reply);
        }
    }
}
