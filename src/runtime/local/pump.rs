//! The pump: the one task that talks to the ring, and the only place where a shard sleeps.
//!
//! It has a queue of its own and is in it only when it has something to do: when no other task is ready,
//! or when the others have had their time. A queue that is left and entered again starts level with the
//! others, so that the time slept here is not held against anybody.
//!
//! The executor never sleeps by itself, because one of its tasks is always ready or asleep in here: its
//! timers, its sockets and its ways of waking are not used.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::executor;

use super::Shared;
use crate::clock;
use crate::limits::PREEMPT;
use crate::net::Source;

/// The pump's state between its polls.
pub(super) struct Pump {
    shard: Rc<Shared>,
    /// Tells when the bell was rung.
    bell: Source,
    wakers: Vec<Waker>,
}

impl Pump {
    pub(super) fn new(shard: Rc<Shared>) -> Self {
        let bell = Source::new(&shard.ring, shard.bell.fd());
        Self { shard, bell, wakers: Vec::new() }
    }

    fn pump(&mut self) {
        let mut is_first = true;
        loop {
            if is_first && self.shard.tasks.borrow().ready() > 0 {
                // Others wait for their turn: what has come in the meantime joins them.
                self.shard.ring.turn();
            }
            is_first = false;
            self.take_in();
            if self.shard.tasks.borrow().ready() > 0 {
                return;
            }
            self.sleep();
        }
    }

    fn take_in(&mut self) {
        self.shard.ring.collect(&mut self.wakers);
        // The bell says only that there is somebody in the list, which is looked at in any case. To wait
        // for it anew sets its watch, which what was just collected may have ended.
        while self.bell.poll_event(&mut Context::from_waker(Waker::noop())).is_ready() {}
        self.wakers.drain(..).for_each(Waker::wake);
        while let Some(place) = self.shard.bell.next() {
            self.shard.wake(place);
        }
    }

    fn sleep(&self) {
        let Shared { ring, bell, pulse, .. } = &*self.shard;
        if self.is_spared() {
            return ring.turn();
        }
        if bell.lie_down() {
            pulse.sleeps(true);
            ring.sleep();
            pulse.sleeps(false);
            bell.get_up();
        }
    }

    /// Whether something has happened, now or in the time that the shard may spend looking.
    fn is_spared(&self) -> bool {
        let Shared { ring, bell, spin, .. } = &*self.shard;
        if ring.has_news() || bell.is_rung() {
            return true;
        }
        if *spin == Duration::ZERO {
            return false;
        }
        ring.turn();
        let end = clock::instant() + *spin;
        while clock::instant() < end {
            if ring.has_news() || bell.is_rung() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shard = Rc::clone(&self.shard);
        if shard.is_over.get() {
            return Poll::Ready(());
        }
        if shard.pump.borrow().is_none() {
            *shard.pump.borrow_mut() = Some(cx.waker().clone());
            shard.pulse.set_waker(cx.waker().clone());
        }
        shard.pulse.turned();
        self.pump();
        shard.turn_began.set(clock::instant());
        Poll::Pending
    }
}

impl Shared {
    /// A task has been polled: when it was the last that was ready, or the time is up, the pump is next.
    pub(super) fn has_run(&self) {
        let is_up = self.is_time_up();
        if !is_up && self.tasks.borrow().ready() > 0 {
            return;
        }
        if let Some(pump) = &*self.pump.borrow() {
            pump.wake_by_ref();
        }
        if is_up {
            // The first poll is what has the executor leave the queue.
            let executor = executor();
            let mut leaving = pin!(executor.yield_task_queue_now());
            let _ = leaving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Whether the tasks have run for as long as they may before the ring is looked at.
    pub(super) fn is_time_up(&self) -> bool {
        clock::instant() - self.turn_began.get() > PREEMPT
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use base::ShardId;

    use super::*;
    use crate::limits::RING_COMPLETIONS;
    use crate::local::Local;
    use crate::{Shards, ShardsConfig, block_on_for};

    #[test]
    fn a_bell_whose_watch_ended_is_heard_all_the_same() {
        let make = |_| std::future::ready(Ok::<_, Infallible>(Rc::new(())));
        let shards = Shards::start(&ShardsConfig::new(1), make).unwrap();
        let patience = Duration::from_secs(20);
        // Nobody takes the completions in meanwhile: the queue is full, which ends watches.
        let rings = |_: Rc<()>| async {
            let Some(local) = Local::current() else { return };
            for _ in 0..RING_COMPLETIONS + 10 {
                local.0.bell.tell();
                local.0.ring.turn();
            }
        };
        let router = shards.router();
        assert_eq!(block_on_for(router.on(ShardId(0), rings), patience), Some(Ok(())));
        for _ in 0..10 {
            std::thread::park_timeout(Duration::from_millis(10));
            assert_eq!(block_on_for(router.on(ShardId(0), |_| async { 7 }), patience), Some(Ok(7)));
        }
        shards.stop(Duration::ZERO);
    }
}
