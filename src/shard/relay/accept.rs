//! Into the queue, durable before it returns.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use base::Timestamp;
use queue::{Destination, Envelope, Error, Incoming, Origin};
use smtp::Outcome;

use super::route::{Asked, Route, To};
use super::{Counts, moderation, whole_second};
use crate::Shard;

/// Queues a message for recipients elsewhere: `envelope` has only these. Groups are set here.
pub(crate) async fn accept(
    shard: &Rc<Shard>,
    mut envelope: Envelope,
    content: Arc<Vec<u8>>,
    is_held: bool,
    now: Timestamp,
) -> Outcome {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let mut routes = BTreeMap::new();
    let (sender, named) = (envelope.sender.as_deref(), envelope.route.as_deref());
    for recipient in &mut envelope.recipients {
        let route = Route::of(outbound, Asked { sender, recipient: &recipient.address, named });
        match route.to {
            To::Nowhere => return Outcome::Rejected,
            To::Unknown(_) => return Outcome::Unavailable,
            To::Local | To::Direct(_) | To::Smarthost(_) => {}
        }
        recipient.group = route.destination();
        routes.entry(recipient.group).or_insert(route);
    }
    if !shard.relay.is_loaded.get() {
        return Outcome::Unavailable;
    }
    // A notice takes the place of what it is about: if there were no room for it, that could never end.
    let is_notice = envelope.origin == Origin::default();
    if !is_notice && !has_room(shard, routes.len()) {
        return Outcome::NoSpace;
    }
    let terms = envelope.terms;
    // Due times have whole seconds; this one is not to be early.
    let due = terms.release_at.map_or(now, |at| (at + Duration::from_millis(999)).max(now));
    let ends = terms.ends_at().unwrap_or(Timestamp::NEVER);
    // In the order of their numbers, as the envelope has its groups.
    let expires = routes.values().map(|route| ends.min(route.retry(outbound).expires(due))).collect();
    let (due, priority) = (whole_second(due), terms.priority);
    let incoming = Incoming { envelope, content, due, expires, priority, is_held };
    // A task of its own: a client that goes away while the message is being written must not leave behind an entry
    // that nobody knows of.
    let slot = Rc::new(Slot::default());
    let task = {
        let (shard, slot) = (Rc::clone(shard), Rc::clone(&slot));
        Box::pin(async move {
            let outcome = add(&shard, incoming, &routes, now).await;
            slot.fill(outcome);
        })
    };
    shard.world.spawn(task);
    slot.wait().await
}

/// Whether the queue takes so many entries more.
pub(crate) fn has_room(shard: &Rc<Shard>, entries: usize) -> bool {
    shard.relay.store.len() + entries <= shard.settings().outbound.entries_max
}

async fn add(
    shard: &Rc<Shard>,
    incoming: Incoming,
    routes: &BTreeMap<Destination, Route>,
    now: Timestamp,
) -> Outcome {
    let relay = &shard.relay;
    let (envelope, content) = (incoming.envelope.clone(), Arc::clone(&incoming.content));
    let entries = match relay.store.add(incoming, now).await {
        Ok(entries) => entries,
        Err(Error::TooLarge) => return Outcome::TooLarge,
        Err(Error::NoSpace) => return Outcome::NoSpace,
        Err(Error::Gone | Error::Corrupt | Error::Unavailable) => return Outcome::Unavailable,
    };
    Counts::add(&relay.counts.queued, 1);
    let bytes_max = shard.settings().outbound.fresh_bytes_max;
    let envelope = Arc::new(envelope);
    for entry in &entries {
        if entry.due <= now && !entry.is_held {
            let message = (Arc::clone(&envelope), Arc::clone(&content));
            relay.fresh.borrow_mut().put(entry.ticket, message, bytes_max);
        }
        relay.schedule(entry);
        if let Some(route) = routes.get(&entry.destination) {
            relay.know(shard, entry.destination, route);
        }
    }
    moderation::watch(shard, entries);
    Outcome::Stored
}

/// Where a task leaves its outcome.
#[derive(Default)]
struct Slot(RefCell<(Option<Outcome>, Option<Waker>)>);

impl Slot {
    fn fill(&self, outcome: Outcome) {
        let waker = {
            let mut inner = self.0.borrow_mut();
            inner.0 = Some(outcome);
            inner.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) -> Outcome {
        poll_fn(|cx| {
            let mut inner = self.0.borrow_mut();
            if let Some(outcome) = inner.0 {
                return Poll::Ready(outcome);
            }
            inner.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
