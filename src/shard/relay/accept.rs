//! Into the queue, durable before it returns.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::slice;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use base::Timestamp;
use queue::{Destination, Envelope, Error, Incoming, Origin};
use smtp::Outcome;

use super::outbound::Outbound;
use super::route::{Asked, Route, To};
use super::{Counts, moderation, whole_second};
use crate::Shard;

/// A message for the queue.
pub(crate) struct Outgoing {
    /// With nobody but those whom it is queued for. Their groups are set when it is.
    pub(crate) envelope: Envelope,
    pub(crate) content: Arc<Vec<u8>>,
}

/// The ways of a message's recipients.
type Routes = BTreeMap<Destination, Route>;

/// Queues messages for recipients elsewhere, all of them or none.
pub(crate) async fn accept(
    shard: &Rc<Shard>,
    messages: Vec<Outgoing>,
    is_held: bool,
    now: Timestamp,
) -> Outcome {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let (mut all, mut wanted) = (Vec::with_capacity(messages.len()), 0);
    for message in messages {
        // A notice takes the place of what it is about, and so does the rest of a message that is taken already: if there
        // were no room for it, that could never end.
        let is_sure = message.envelope.origin == Origin::default() || message.envelope.here.is_some();
        match incoming(outbound, message, is_held, now) {
            Ok(one) => {
                wanted += if is_sure { 0 } else { one.1.len() };
                all.push(one);
            }
            Err(refused) => return refused,
        }
    }
    if !shard.relay.is_loaded.get() {
        return Outcome::Unavailable;
    }
    if wanted > 0 && !has_room(shard, wanted) {
        return Outcome::NoSpace;
    }
    // A task of its own: a client that goes away while the message is being written must not leave behind an entry
    // that nobody knows of.
    let slot = Rc::new(Slot::default());
    let task = {
        let (shard, slot) = (Rc::clone(shard), Rc::clone(&slot));
        Box::pin(async move {
            let outcome = add_all(&shard, all, now).await;
            slot.fill(outcome);
        })
    };
    shard.world.spawn(task);
    slot.wait().await
}

/// Whether there is no way to an address, and never will be.
pub(crate) fn leads_nowhere(outbound: &Outbound, envelope: &Envelope, recipient: &str) -> bool {
    let (sender, named) = (envelope.sender.as_deref(), envelope.route.as_deref());
    matches!(Route::of(outbound, Asked { sender, recipient, named }).to, To::Nowhere)
}

fn incoming(
    outbound: &Outbound,
    message: Outgoing,
    is_held: bool,
    now: Timestamp,
) -> Result<(Incoming, Routes), Outcome> {
    let Outgoing { mut envelope, content } = message;
    let mut routes = Routes::new();
    let (sender, named) = (envelope.sender.as_deref(), envelope.route.as_deref());
    for recipient in &mut envelope.recipients {
        let route = if envelope.here.is_some() {
            Route::LOCAL
        } else {
            Route::of(outbound, Asked { sender, recipient: &recipient.address, named })
        };
        match route.to {
            To::Nowhere => return Err(Outcome::Rejected),
            To::Unknown(_) => return Err(Outcome::Unavailable),
            To::Local | To::Direct(_) | To::Smarthost(_) => {}
        }
        recipient.group = route.destination();
        routes.entry(recipient.group).or_insert(route);
    }
    let terms = envelope.terms;
    // Due times have whole seconds; this one is not to be early.
    let due = terms.release_at.map_or(now, |at| (at + Duration::from_millis(999)).max(now));
    let ends = terms.ends_at().unwrap_or(Timestamp::NEVER);
    // In the order of their numbers, as the envelope has its groups.
    let expires = routes.values().map(|route| ends.min(route.retry(outbound).expires(due))).collect();
    let (due, priority) = (whole_second(due), terms.priority);
    Ok((Incoming { envelope, content, due, expires, priority, is_held }, routes))
}

/// Whether the queue takes so many entries more.
fn has_room(shard: &Rc<Shard>, entries: usize) -> bool {
    shard.relay.store.len() + entries <= shard.settings().outbound.entries_max
}

/// In one transaction. Where the log has no room for them in one piece, each for itself.
async fn add_all(shard: &Rc<Shard>, all: Vec<(Incoming, Routes)>, now: Timestamp) -> Outcome {
    let (messages, routes): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let outcome = add(shard, &messages, &routes, now).await;
    if outcome != Outcome::TooLarge || messages.len() < 2 {
        return outcome;
    }
    // The largest first: if there is no room for that one ever, there is none for the others either.
    let mut order: Vec<_> = messages.iter().zip(&routes).collect();
    order.sort_by_key(|(message, _)| Reverse(message.content.len()));
    for (message, routes) in order {
        let outcome = add(shard, slice::from_ref(message), slice::from_ref(routes), now).await;
        if outcome != Outcome::Stored {
            return outcome;
        }
    }
    Outcome::Stored
}

async fn add(shard: &Rc<Shard>, messages: &[Incoming], routes: &[Routes], now: Timestamp) -> Outcome {
    let relay = &shard.relay;
    let added = match relay.store.add_all(messages.to_vec(), now).await {
        Ok(added) => added,
        Err(Error::TooLarge) => return Outcome::TooLarge,
        Err(Error::NoSpace) => return Outcome::NoSpace,
        Err(Error::Gone | Error::Corrupt | Error::Unavailable) => return Outcome::Unavailable,
    };
    let bytes_max = shard.settings().outbound.fresh_bytes_max;
    for ((message, routes), entries) in messages.iter().zip(routes).zip(added) {
        Counts::add(&relay.counts.queued, 1);
        let envelope = Arc::new(message.envelope.clone());
        for entry in &entries {
            if entry.due <= now && !entry.is_held {
                let fresh = (Arc::clone(&envelope), Arc::clone(&message.content));
                relay.fresh.borrow_mut().put(entry.ticket, fresh, bytes_max);
            }
            relay.schedule(entry);
            if let Some(route) = routes.get(&entry.destination) {
                relay.know(shard, entry.destination, route);
            }
        }
        moderation::watch(shard, entries);
    }
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
