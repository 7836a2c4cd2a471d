//! One try for one entry: on the shard where it lies.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use queue::{
    ATTEMPTS_KEPT_MAX, Action, Attempt, Destination, Entry, Envelope, Error, Progress, Ticket, Trace,
};

use super::lateness::{expired, is_late, look_over};
use super::notice::{self, Notice};
use super::parcel::{Parcel, Report, STOPPING, Told, Urgency};
use super::route::{Asked, Route, To};
use super::{Counts, chance, courier, local, whole_second};
use crate::Shard;
use crate::limits::{DESTINATION_PAUSE_MAX, LOOK_OVER_PAUSE, NOTICE_TRIES_MAX, STORE_PAUSE};

/// Rows have whole seconds: what is due at a moment is due at the second after it.
const SECOND: Duration = Duration::from_secs(1);

/// Tries what is due, and sees to it that the entry ends or comes again.
pub(super) async fn attempt(shard: &Rc<Shard>, ticket: Ticket, lane: Destination) {
    let is_first = shard.relay.busy.borrow_mut().insert(ticket);
    let turn = Turn { shard, lane, is_over: Cell::new(false) };
    let again = if is_first { work(shard, ticket, &turn).await } else { after_another(shard, ticket) };
    if is_first {
        shard.relay.busy.borrow_mut().remove(&ticket);
    }
    turn.end();
    if let Some(entry) = again {
        shard.relay.schedule.borrow_mut().add(&entry);
    }
    shard.relay.bell.ring();
}

/// An entry in whose place another attempt is under way: perhaps that is for one that an operator has taken out, and this
/// one has come after it.
fn after_another(shard: &Rc<Shard>, ticket: Ticket) -> Option<Entry> {
    let now = shard.world.now();
    let entry = shard.relay.store.entry(ticket).filter(|entry| !entry.is_held && entry.due <= now);
    entry.map(|entry| entry.due_at(now + SECOND))
}

/// A place among those of a lane that are being tried.
struct Turn<'a> {
    shard: &'a Rc<Shard>,
    lane: Destination,
    is_over: Cell<bool>,
}

impl Turn<'_> {
    /// Gives the place to the next entry: what is left to do is to note what came of this one, which is no matter of the
    /// destination.
    fn end(&self) {
        if !self.is_over.replace(true) {
            self.shard.relay.schedule.borrow_mut().done(self.lane);
            self.shard.relay.bell.ring();
        }
    }
}

/// An entry with all that is known of it.
pub(super) struct Case {
    pub(super) entry: Entry,
    envelope: Arc<Envelope>,
    pub(super) progress: Progress,
    content: Option<Arc<Vec<u8>>>,
}

/// The entry as it waits on, if it does.
async fn work(shard: &Rc<Shard>, ticket: Ticket, turn: &Turn<'_>) -> Option<Entry> {
    let relay = &shard.relay;
    let Some(entry) = relay.store.entry(ticket) else {
        relay.fresh.borrow_mut().take(ticket);
        return None;
    };
    // Held, or put off since it was scheduled: then it is, or will be, in the schedule again.
    if entry.is_held || entry.due > shard.world.now() {
        return None;
    }
    match case(shard, entry).await {
        Ok(case) => tried(shard, case, turn).await,
        Err(error) => {
            tracing::warn!(event = "relay.store_failed", ?error, id = format!("{:016x}", entry.id));
            // What is written wrong stays so, and nobody can be told: it waits for the operator.
            let pause = if error == Error::Corrupt { LOOK_OVER_PAUSE } else { STORE_PAUSE };
            Some(entry.due_at(shard.world.now() + pause))
        }
    }
}

pub(super) async fn case(shard: &Rc<Shard>, entry: Entry) -> Result<Case, Error> {
    let relay = &shard.relay;
    // Its place may have been another message's.
    let fresh = relay.fresh.borrow_mut().take(entry.ticket).filter(|(envelope, _)| envelope.id == entry.id);
    let progress = relay.store.progress(entry.ticket);
    if let Some((envelope, content)) = fresh {
        return Ok(Case { entry, envelope, progress, content: Some(content) });
    }
    let envelope = Arc::new(relay.store.envelope(&entry).await?);
    Ok(Case { entry, envelope, progress, content: None })
}

impl Case {
    /// Its recipients that need something, by their place in the envelope. First those that were tried longest ago: of
    /// a host that takes a few at once, the same ones must not take the others' turn for ever.
    pub(super) fn pending(&self) -> Vec<u32> {
        let all = (0..).zip(&self.envelope.recipients);
        let own = all.filter(|(_, recipient)| recipient.group == self.entry.group).map(|(at, _)| at);
        let mut pending: Vec<u32> = own.filter(|at| !self.progress.is_done(*at)).collect();
        let tried = self.last_tried();
        pending.sort_by_key(|at| tried.get(*at as usize).copied());
        pending
    }

    /// For each recipient of the envelope the last attempt that was about it, counted from 1.
    fn last_tried(&self) -> Vec<usize> {
        let mut tried = vec![0; self.envelope.recipients.len()];
        for (number, attempt) in (1..).zip(&self.progress.attempts) {
            for at in &attempt.recipients {
                if let Some(last) = tried.get_mut(*at as usize) {
                    *last = number;
                }
            }
        }
        tried
    }

    /// Whether those whom the host would not hear with the others go at once: if this round has ended for somebody, or
    /// some of them were never tried. Else the host has refused all for now, and there is a pause.
    fn goes_on(&self, report: &Report) -> bool {
        let is_first_turn = usize::from(self.entry.attempts) < ATTEMPTS_KEPT_MAX;
        let tried = self.last_tried();
        let is_new = |at: &u32| is_first_turn && tried.get(*at as usize) == Some(&0);
        let mut unheard = report.results.iter().filter(|told| told.is_for_another_round).peekable();
        unheard.peek().is_some()
            && (report.results.iter().any(|told| told.action != Action::Delayed)
                || unheard.any(|told| told.recipients.iter().any(is_new)))
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

async fn tried(shard: &Rc<Shard>, mut case: Case, turn: &Turn<'_>) -> Option<Entry> {
    let (now, lane) = (shard.world.now(), turn.lane);
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
    let Some(ways) = routes(shard, &settings.outbound, &case, &pending).await else {
        return Some(case.entry.due_at(now + STORE_PAUSE));
    };
    let route = match ways.as_slice() {
        [(route, _)] if route.destination() == lane => {
            shard.relay.know(shard, lane, route);
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
    let (urgency, envelope) = (Urgency::from(&case.entry), Arc::clone(&case.envelope));
    let parcel = Parcel { route, envelope, recipients: pending, content, urgency };
    let report = match &parcel.route.to {
        To::Local => local::deliver_here(shard, &parcel).await,
        To::Nowhere => {
            let reply = "550 5.1.3 the address has no domain that mail could go to".to_owned();
            Report::all(&parcel, Action::Failed, String::new(), reply)
        }
        To::Unknown(name) => {
            let reply = format!("451 4.3.5 there is no route {name:?}");
            Report::all(&parcel, Action::Delayed, String::new(), reply)
        }
        To::Direct(_) | To::Smarthost(_) => send(shard, parcel).await,
    };
    note_lane(shard, lane, &report);
    if report.is_down {
        look_over(shard, lane, &report);
    }
    turn.end();
    settle(shard, case, report).await
}

/// To the shard that has the connections.
async fn send(shard: &Rc<Shard>, parcel: Parcel) -> Report {
    let settings = shard.settings();
    let (there, _) = parcel.route.connections(&settings.outbound, shard.router.shards(), shard.id);
    if there == shard.id {
        return courier::carry(Rc::clone(shard), parcel).await;
    }
    let lost = parcel.clone();
    let carried = shard.router.on(there, move |there| courier::carry(there, parcel)).await;
    carried.unwrap_or_else(|_| Report::all(&lost, Action::Delayed, String::new(), STOPPING.to_owned()))
}

fn note_lane(shard: &Rc<Shard>, lane: Destination, report: &Report) {
    if report.is_in_doubt {
        Counts::add(&shard.relay.counts.in_doubt, 1);
    }
    if !report.is_down {
        return shard.relay.schedule.borrow_mut().succeeded(lane);
    }
    let (now, retry) = (shard.world.now(), shard.relay.retry(&shard.settings().outbound, lane));
    let chance = chance(shard) as u32;
    let pause = |failures: u32| retry.wait(u16::try_from(failures).unwrap_or(u16::MAX), chance);
    let mut schedule = shard.relay.schedule.borrow_mut();
    schedule.failed(lane, |failures| now + pause(failures).min(DESTINATION_PAUSE_MAX));
}

/// The ways of some recipients, each with those that go it; `None` when the directory cannot be asked.
async fn routes(
    shard: &Rc<Shard>,
    outbound: &super::Outbound,
    case: &Case,
    recipients: &[u32],
) -> Option<Vec<(Route, Vec<u32>)>> {
    let mut routes = Vec::<(Route, Vec<u32>)>::new();
    for at in recipients {
        let Some(recipient) = case.envelope.recipients.get(*at as usize) else { continue };
        let is_ours = case.envelope.here.is_some() || local::is_ours(shard, &recipient.address).await?;
        let asked = Asked::of(&case.envelope, &case.progress, &recipient.address);
        let route = if is_ours { Route::LOCAL } else { Route::of(outbound, asked) };
        match routes.iter_mut().find(|(known, _)| known.name() == route.name()) {
            Some((_, own)) => own.push(*at),
            None => routes.push((route, vec![*at])),
        }
    }
    Some(routes)
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
    match shard.relay.store.split(&case.entry, parts).await {
        Ok(entries) => {
            for entry in &entries {
                shard.relay.schedule(entry);
            }
            None
        }
        Err(_) => Some(case.entry.due_at(shard.world.now() + STORE_PAUSE)),
    }
}

/// Notes what came of it, tells the sender, and ends the entry or sends it round again.
pub(super) async fn settle(shard: &Rc<Shard>, mut case: Case, report: Report) -> Option<Entry> {
    let now = shard.world.now();
    for told in report.results.iter().filter(|told| !told.is_for_another_round) {
        let count = match told.action {
            Action::Relayed => &shard.relay.counts.relayed,
            Action::Delayed => &shard.relay.counts.delayed,
            Action::Failed => &shard.relay.counts.failed,
        };
        Counts::add(count, told.recipients.len());
        shard.relay.count(case.entry.destination, told.action, told.recipients.len());
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
    let is_late = !is_over && !case.entry.is_late && is_late(shard, &case.entry, &case.envelope.terms, now);
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
        let notice = Notice {
            envelope: &case.envelope,
            entry: &case.entry,
            results: &report.results,
            is_late,
            told: Cell::default(),
        };
        if !notice.is_wanted(&shard.settings().outbound) {
            return;
        }
        match case.content(shard).await {
            Ok(content) => break Some(content),
            Err(Error::Unavailable) => shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await,
            Err(_) => break None,
        }
    };
    let notice = Notice {
        envelope: &case.envelope,
        entry: &case.entry,
        results: &report.results,
        is_late,
        told: Cell::default(),
    };
    let content = content.as_ref().map(|content| content.as_slice());
    for _ in 0..NOTICE_TRIES_MAX {
        if notice::tell(shard, &notice, content, shard.world.now()).await {
            return;
        }
        shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await;
    }
    // What was sent must be noted at last, or it is sent again after a restart.
    tracing::error!(event = "relay.notice_given_up", id = format!("{:016x}", case.entry.id));
}

async fn finish(shard: &Rc<Shard>, case: Case, now: Timestamp) {
    let trace = Trace {
        ended: Some(now),
        size: case.entry.size,
        group: case.entry.group,
        envelope: Envelope::clone(&case.envelope),
        progress: case.progress,
    };
    while let Err(error) = shard.relay.store.finish(&trace, &case.entry).await {
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
    let pause = if case.goes_on(report) {
        Duration::ZERO
    } else {
        shard.relay.retry(&settings.outbound, case.entry.destination).wait(attempts, chance(shard) as u32)
    };
    // Whom it is to be told of at a time is told then, and not at the try after it.
    let late_at = case.envelope.terms.late_at().filter(|at| *at > now && !case.entry.is_late);
    let due = late_at.map_or(now + pause, |at| (now + pause).min(at + SECOND));
    let due = whole_second(due);
    let change = |entry: &mut Entry| {
        entry.attempts = attempts;
        // An operator may have given it up meanwhile.
        entry.due = due.min(entry.expires);
        entry.is_late |= is_late;
    };
    loop {
        match shard.relay.store.update(&case.entry, Some(&case.progress), change).await {
            Ok(entry) => return Some(unless_rerouted(shard, &case, entry).await),
            Err(Error::Gone) => return None,
            Err(error) => not_noted(shard, &case.entry, error).await,
        }
    }
}

/// An operator has named another route while it was being tried: then it is tried on that one now, and not later.
async fn unless_rerouted(shard: &Rc<Shard>, case: &Case, entry: Entry) -> Entry {
    let relay = &shard.relay;
    if relay.store.progress(entry.ticket).route == case.progress.route {
        return entry;
    }
    let due = whole_second(shard.world.now());
    relay.store.update(&entry, None, |entry| entry.due = due).await.unwrap_or(entry)
}

async fn not_noted(shard: &Rc<Shard>, entry: &Entry, error: Error) {
    tracing::error!(event = "relay.not_noted", ?error, id = format!("{:016x}", entry.id));
    shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await;
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
