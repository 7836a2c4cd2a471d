//! What an operator sees of a shard's queue, and does to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use base::{Timestamp, give_way};
use queue::{Action, Attempt, Destination, Entry, Envelope, Error, LaneView, Progress, Trace, TraceFilter};

use super::route::{Asked, Route, To};
use super::{local, suspension};
use crate::Shard;
use crate::limits::{DIRECTORY_PARTITION, ENTRIES_PER_TURN, ORDER_SHARE};

/// Which entries are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// All of them.
    All,
    /// Those of one message.
    Id(u64),
    /// Those with this destination: a domain, or a smarthost as `host:port`; with ` via ` and the name of a route for
    /// those that go one.
    Destination(String),
}

/// What is done to entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Not tried until released.
    Hold,
    /// Held ones are tried again, now.
    Release,
    /// Tried now.
    Retry,
    /// Given up, and the sender is told why.
    Bounce(String),
    /// Taken out, and nobody is told.
    Remove,
    /// It goes the route of this name from now on, and is tried now; by none it goes the way of its addresses.
    Reroute(Option<String>),
}

/// An entry with what is known of it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its row.
    pub entry: Entry,
    /// Whose message it is.
    pub envelope: Envelope,
    /// How far it has come.
    pub progress: Progress,
}

/// A destination that something waits for, or that is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name, if anything went there since the start or it is stopped.
    pub name: Option<String>,
    /// Since when it is stopped.
    pub suspended_since: Option<Timestamp>,
    /// Its state.
    pub view: LaneView,
}

impl Select {
    fn means(&self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Id(id) => entry.id == *id,
            Self::Destination(name) => entry.destination == Destination::of(&full_name(name)),
        }
    }
}

/// Entries of this shard's queue, as they lie, at most `limit`; and how many are meant in all.
pub async fn list(shard: &Rc<Shard>, select: &Select, limit: usize) -> Result<(Vec<Listed>, usize), Error> {
    let store = &shard.relay.store;
    let (mut found, mut count) = (Vec::new(), 0);
    store
        .each(|entry| {
            if select.means(&entry) {
                count += 1;
                if found.len() < limit {
                    found.push(entry);
                }
            }
        })
        .await;
    let mut listed = Vec::with_capacity(found.len());
    for entry in found {
        let progress = store.progress(entry.ticket);
        // One that cannot be read must not hide the others.
        let envelope = match store.envelope(&entry).await {
            Ok(envelope) => envelope,
            Err(Error::Corrupt | Error::Gone) => continue,
            Err(error) => return Err(error),
        };
        listed.push(Listed { entry, envelope, progress });
    }
    Ok((listed, count))
}

/// Does something to entries of this shard's queue; to how many.
pub async fn act(shard: &Rc<Shard>, select: &Select, deed: &Deed) -> Result<usize, Error> {
    let mut found = Vec::new();
    shard.relay.store.each(|entry| found.extend(select.means(&entry).then_some(entry))).await;
    let (mut count, mut lanes) = (0, BTreeSet::new());
    for entry in found {
        lanes.insert(entry.destination);
        match act_on(shard, entry, deed).await {
            Ok(is_done) => count += usize::from(is_done),
            // It went meanwhile, or cannot be read.
            Err(Error::Gone | Error::Corrupt) => {}
            Err(error) => return Err(error),
        }
    }
    for lane in lanes {
        put_in_order(shard, lane, count).await;
    }
    Ok(count)
}

/// Takes out of a lane what does not wait there any more, or is in it twice, if after `changes` that may be much of it.
async fn put_in_order(shard: &Rc<Shard>, lane: Destination, changes: usize) {
    let relay = &shard.relay;
    let tickets = {
        let mut schedule = relay.schedule.borrow_mut();
        if changes.saturating_mul(ORDER_SHARE) < schedule.waiting(lane) {
            return;
        }
        let mut tickets = schedule.take_all(lane);
        tickets.sort_unstable();
        tickets.dedup();
        tickets
    };
    for (at, ticket) in (1..).zip(tickets) {
        let entry = relay.store.entry(ticket);
        // What is given up is in the schedule elsewhere.
        let waits = |entry: &Entry| !entry.is_held && entry.destination == lane && !entry.ends_when_due();
        if let Some(entry) = entry.filter(waits) {
            relay.schedule(&entry);
        }
        if at % ENTRIES_PER_TURN == 0 {
            give_way().await;
        }
    }
}

async fn act_on(shard: &Rc<Shard>, entry: Entry, deed: &Deed) -> Result<bool, Error> {
    let (relay, now) = (&shard.relay, shard.world.now());
    let due = super::whole_second(now);
    match deed {
        Deed::Hold => {
            relay.store.update(&entry, None, |entry| entry.is_held = true).await?;
        }
        Deed::Release | Deed::Retry => {
            let is_released = *deed == Deed::Release;
            if entry.is_held != is_released {
                return Ok(false);
            }
            if entry.is_held && entry.is_moderated {
                super::moderation::release(shard, &entry, "250 2.7.0 released by an operator".to_owned())
                    .await?;
                return Ok(true);
            }
            let changed = relay.store.update(&entry, None, |entry| {
                entry.is_held = false;
                entry.due = due;
            });
            relay.schedule.borrow_mut().unblock(entry.destination);
            relay.schedule(&changed.await?);
        }
        Deed::Reroute(route) => {
            let way = way_of(shard, &entry, route.as_deref().unwrap_or_default()).await?;
            let changed = relay.store.amend(&entry, |entry, progress| {
                progress.route = Some(route.clone().unwrap_or_default());
                // What has a time of its own keeps it until then.
                entry.due = if entry.attempts == 0 { entry.due.max(due) } else { due };
                if let Some(way) = &way {
                    entry.destination = way.destination();
                }
            });
            let changed = changed.await?;
            relay.schedule(&changed);
            if let Some(way) = &way {
                relay.know(shard, changed.destination, way);
            }
            relay.schedule.borrow_mut().unblock(changed.destination);
        }
        Deed::Bounce(reason) => {
            let changed = relay.store.amend(&entry, |entry, progress| {
                progress.push(word(now, format!("554 5.3.0 {reason}"), Action::Delayed));
                (entry.is_held, entry.is_moderated) = (false, false);
                (entry.due, entry.expires) = (due, due);
            });
            relay.schedule(&changed.await?);
        }
        Deed::Remove => {
            let envelope = match relay.store.envelope(&entry).await {
                Ok(envelope) => envelope,
                Err(Error::Corrupt) => {
                    relay.store.forget(&entry).await?;
                    return Ok(true);
                }
                Err(error) => return Err(error),
            };
            relay.fresh.borrow_mut().take(entry.ticket);
            let mut progress = relay.store.progress(entry.ticket);
            progress.push(word(now, "554 5.3.0 removed by an operator".to_owned(), Action::Failed));
            let trace = Trace { ended: Some(now), size: entry.size, group: entry.group, envelope, progress };
            relay.store.finish(&trace, &entry).await?;
        }
    }
    Ok(true)
}

/// The way that an entry goes by a route's name, an empty one for none: that of its first recipient who needs something.
/// Others that part from it there are parted when it is tried.
async fn way_of(shard: &Rc<Shard>, entry: &Entry, named: &str) -> Result<Option<Route>, Error> {
    let envelope = shard.relay.store.envelope(entry).await?;
    let progress = Progress { route: Some(named.to_owned()), ..shard.relay.store.progress(entry.ticket) };
    let mut own = (0..).zip(&envelope.recipients).filter(|(_, recipient)| recipient.group == entry.group);
    let Some((_, first)) = own.find(|(at, _)| !progress.is_done(*at)) else { return Ok(None) };
    if envelope.here.is_some() {
        return Ok(Some(Route::LOCAL));
    }
    let Some(is_ours) = local::is_ours(shard, &first.address).await else { return Err(Error::Unavailable) };
    let asked = Asked::of(&envelope, &progress, &first.address);
    let settings = shard.settings();
    Ok(Some(if is_ours { Route::LOCAL } else { Route::of(&settings.outbound, asked) }))
}

/// A destination by the name that a person gives it: as the configuration has it, or as lists show it.
fn full_name(name: &str) -> String {
    let (host, via) = name.split_once(" via ").map_or((name, None), |(host, via)| (host, Some(via)));
    let host = match (host.parse::<SocketAddr>(), transport::Destination::parse(host)) {
        (Ok(address), _) => format!("[{}]:{}", address.ip(), address.port()),
        (_, Some(host)) => Route { to: To::Direct(host), via: None }.name(),
        _ => host.to_owned(),
    };
    match via {
        Some(via) => format!("{host} via {via}"),
        None => host,
    }
}

fn word(at: Timestamp, reply: String, action: Action) -> Attempt {
    Attempt { at, host: String::new(), tls: String::new(), reply, recipients: Vec::new(), action }
}

/// The destinations of this shard's queue.
pub fn lanes(shard: &Shard) -> Vec<Lane> {
    let ways = shard.relay.ways.borrow();
    let schedule = shard.relay.schedule.borrow();
    let busy = schedule.lanes().filter(|view| view.waiting > 0 || view.out > 0 || view.is_suspended);
    let lane = |view: LaneView| {
        let (named, suspended_since) = suspension::of(shard, view.destination).unzip();
        let name = ways.get(&view.destination).map(|known| known.name.clone()).or(named);
        Lane { name, suspended_since, view }
    };
    busy.map(lane).collect()
}

/// Stops a destination on all shards, or lets it go on at once. Durable when it returns.
pub async fn suspend(shard: &Rc<Shard>, name: &str, is_suspended: bool) -> Result<(), Error> {
    let (name, owner) = (full_name(name), shard.router.partition_shard(DIRECTORY_PARTITION));
    let work = move |there: Rc<Shard>| async move { suspension::change(&there, name, is_suspended).await };
    shard.router.on(owner, work).await.map_err(|_| Error::Unavailable)?
}

/// The stories of this shard's entries that a filter means: those that wait, then those that have gone, latest first.
pub async fn trace(shard: &Rc<Shard>, filter: &TraceFilter, limit: usize) -> Result<Vec<Trace>, Error> {
    let store = &shard.relay.store;
    let mut waiting = Vec::new();
    store.each(|entry| waiting.push(entry)).await;
    let mut found = Vec::new();
    for entry in waiting {
        if matches!(filter, TraceFilter::Id(id) if *id != entry.id) {
            continue;
        }
        let envelope = match store.envelope(&entry).await {
            Ok(envelope) => envelope,
            Err(Error::Corrupt | Error::Gone) => continue,
            Err(error) => return Err(error),
        };
        if filter.matches(&envelope) && found.len() < limit {
            let progress = store.progress(entry.ticket);
            found.push(Trace { ended: None, size: entry.size, group: entry.group, envelope, progress });
        }
    }
    found.extend(store.traces(filter, limit).await?);
    found.truncate(limit);
    Ok(found)
}
