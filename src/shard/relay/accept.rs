//! Into the queue, durable before it returns.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use base::Timestamp;
use queue::{Envelope, Error, Incoming};
use smtp::Outcome;

use super::route::Route;
use super::{Counts, whole_second};
use crate::Shard;

/// Queues a message for recipients elsewhere: `envelope` has only these. Groups are set here.
pub(crate) async fn accept(
    shard: &Rc<Shard>,
    mut envelope: Envelope,
    content: Arc<Vec<u8>>,
    now: Timestamp,
) -> Outcome {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let (waiting, out) = shard.relay.schedule.borrow().counts();
    let groups = {
        for recipient in &mut envelope.recipients {
            let Some(route) = Route::of(outbound, &recipient.address) else { return Outcome::Rejected };
            recipient.group = route.destination();
            shard.relay.name(recipient.group, || route.name());
        }
        envelope.groups().len()
    };
    if waiting + out + groups > outbound.entries_max || !shard.relay.is_loaded.get() {
        return Outcome::NoSpace;
    }
    let expires = outbound.retry.expires(now);
    let incoming =
        Incoming { envelope, content, due: whole_second(now), expires, priority: 0, is_held: false };
    // A task of its own: a client that goes away while the message is being written must not leave behind an entry
    // that nobody knows of.
    let slot = Rc::new(Slot::default());
    let task = {
        let (shard, slot) = (Rc::clone(shard), Rc::clone(&slot));
        Box::pin(async move {
            let outcome = add(&shard, incoming, now).await;
            slot.fill(outcome);
        })
    };
    shard.world.spawn(task);
    slot.wait().await
}

async fn add(shard: &Rc<Shard>, incoming: Incoming, now: Timestamp) -> Outcome {
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
        relay.fresh.borrow_mut().put(entry.ticket, (Arc::clone(&envelope), Arc::clone(&content)), bytes_max);
        relay.schedule(entry);
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
