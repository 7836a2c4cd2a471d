//! Destinations that an operator has stopped. They are noted where the directory is, durable before the operator hears of it,
//! and every shard knows them, with what waits for them there.

use std::rc::Rc;

use base::{ShardId, Timestamp};
use queue::{Destination, Error, Suspended};

use crate::Shard;
use crate::limits::{DIRECTORY_PARTITION, STORE_PAUSE};

/// Learns what is stopped, before anything is sent.
pub(super) async fn begin(shard: &Rc<Shard>) {
    let relay = &shard.relay;
    let owner = shard.router.partition_shard(DIRECTORY_PARTITION);
    while !shard.world.is_stopping() {
        let changes = relay.suspensions.get();
        let all = async |there: Rc<Shard>| there.relay.store.suspended(DIRECTORY_PARTITION);
        let Ok(all) = shard.router.on(owner, all).await else {
            shard.world.sleep_until(shard.world.now() + STORE_PAUSE).await;
            continue;
        };
        // What an operator has said meanwhile may be newer than the answer.
        if relay.suspensions.get() == changes {
            for suspended in all {
                if owner == shard.id {
                    let (destination, since_s) = (&suspended.name, suspended.since.as_s());
                    tracing::warn!(event = "relay.destination_suspended", %destination, since_s);
                }
                put(shard, suspended);
            }
            return;
        }
    }
}

/// Stops a destination, or lets it go on at once. Where the directory is; one change at a time, so that all shards hear of
/// them in the same order.
pub(super) async fn change(shard: &Rc<Shard>, name: String, is_suspended: bool) -> Result<(), Error> {
    if shard.relay.is_suspending.replace(true) {
        return Err(Error::Unavailable);
    }
    let done = change_alone(shard, name, is_suspended).await;
    shard.relay.is_suspending.set(false);
    done
}

async fn change_alone(shard: &Rc<Shard>, name: String, is_suspended: bool) -> Result<(), Error> {
    let store = &shard.relay.store;
    let mut known = Suspended { name, since: shard.world.now() };
    if is_suspended {
        known = store.suspend(DIRECTORY_PARTITION, known).await?;
    } else {
        store.resume(DIRECTORY_PARTITION, &known).await?;
    }
    for id in 0..shard.router.shards() {
        let known = known.clone();
        let told = shard.router.on(ShardId(id), move |there: Rc<Shard>| async move {
            there.relay.suspensions.set(there.relay.suspensions.get() + 1);
            if is_suspended { put(&there, known) } else { take(&there, known.destination()) }
        });
        told.await.map_err(|_| Error::Unavailable)?;
    }
    Ok(())
}

fn put(shard: &Shard, suspended: Suspended) {
    let destination = suspended.destination();
    shard.relay.suspended.borrow_mut().insert(destination, suspended);
    shard.relay.schedule.borrow_mut().suspend(destination, true);
}

fn take(shard: &Shard, destination: Destination) {
    shard.relay.suspended.borrow_mut().remove(&destination);
    shard.relay.schedule.borrow_mut().suspend(destination, false);
    shard.relay.bell.ring();
}

/// What is known of a destination that is stopped.
pub(super) fn of(shard: &Shard, destination: Destination) -> Option<(String, Timestamp)> {
    let suspended = shard.relay.suspended.borrow();
    suspended.get(&destination).map(|known| (known.name.clone(), known.since))
}
