//! Gives out what is due.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use base::give_way;

use super::attempt::attempt;
use crate::Shard;
use crate::limits::ATTEMPTS_PER_TURN;

/// Relays for as long as the shard runs. To be started once, when the shard is up.
pub async fn run(shard: Rc<Shard>) {
    let relay = &shard.relay;
    super::suspension::begin(&shard).await;
    let mut moderated = Vec::new();
    let each = |entry: queue::Entry| {
        relay.schedule.borrow_mut().add(&entry);
        moderated.extend((entry.is_held && entry.is_moderated).then_some(entry));
    };
    relay.store.load(each).await;
    relay.is_loaded.set(true);
    super::moderation::begin(&shard, moderated);
    shard.world.spawn_aside(Box::pin(super::lateness::watch_suspended(Rc::clone(&shard))));
    crate::reporting::start(&shard);
    let (waiting, _) = relay.schedule.borrow().counts();
    if waiting > 0 {
        tracing::info!(event = "relay.queue_loaded", entries = waiting);
    }
    loop {
        let mut given = 0;
        while let Some((ticket, destination)) = next(&shard) {
            let (there, task) = (Rc::clone(&shard), shard.world.as_ref());
            task.spawn(Box::pin(async move { attempt(&there, ticket, destination).await }));
            given += 1;
            if given % ATTEMPTS_PER_TURN == 0 {
                give_way().await;
            }
        }
        wait(&shard).await;
    }
}

fn next(shard: &Rc<Shard>) -> Option<(queue::Ticket, queue::Destination)> {
    if !may_begin(shard) {
        return None;
    }
    shard.relay.schedule.borrow_mut().next(shard.world.now())
}

/// Whether another attempt may begin; if not, the bell rings when one has ended.
fn may_begin(shard: &Rc<Shard>) -> bool {
    // Those that were given out, and those whose end is being noted.
    let out = shard.relay.schedule.borrow().counts().1.max(shard.relay.busy.borrow().len());
    !shard.world.is_stopping() && out < shard.settings().outbound.attempts_max
}

/// Until the bell rings or the next entry is due. What is due already and was not given out waits for others to end.
async fn wait(shard: &Rc<Shard>) {
    let due = shard.relay.schedule.borrow().wake_at();
    // Not by comparing with the clock: it has moved since the last look, perhaps into the second that is waited for.
    let mut sleep: Option<Pin<Box<dyn Future<Output = ()>>>> =
        due.filter(|_| may_begin(shard)).map(|due| shard.world.sleep_until(due));
    poll_fn(|cx| {
        if shard.relay.bell.look(cx.waker()) {
            return Poll::Ready(());
        }
        match &mut sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
}
