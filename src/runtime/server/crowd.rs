//! The memory of connections that have gone. The allocator keeps what was freed for its next use, which
//! after a crowd may never come: it is given back to the system when most of the crowd has left.

use std::cell::Cell;
use std::rc::Rc;

use shard::Shard;

use crate::limits::{CROWD, CROWD_GONE_PAUSE};
use crate::memory::{give_back, let_go};
use crate::{Local, Queue};

thread_local! {
    static SEEN: Seen = const { Seen { most: Cell::new(0), is_leaving: Cell::new(false) } };
}

/// What a shard has seen since it last gave memory back.
struct Seen {
    /// Connections at the same time, at most.
    most: Cell<usize>,
    is_leaving: Cell<bool>,
}

impl Seen {
    /// One connection more or less; there are `connections` now. True when most of a crowd has gone and
    /// nobody was told so yet.
    fn look(&self, connections: usize) -> bool {
        self.most.set(self.most.get().max(connections));
        let has_gone = self.most.get() >= CROWD && connections < self.most.get() / 2;
        has_gone && !self.is_leaving.replace(true)
    }

    /// The memory is given back.
    fn forget(&self, connections: usize) {
        self.most.set(connections);
        self.is_leaving.set(false);
    }
}

/// One connection of this shard, from its first to its last moment here.
pub(super) struct Present {
    local: Local,
    shard: Rc<Shard>,
}

impl Present {
    /// Notes that a connection is there.
    pub(super) fn new(local: &Local, shard: &Rc<Shard>) -> Self {
        SEEN.with(|seen| seen.look(local.connections()));
        Self { local: local.clone(), shard: Rc::clone(shard) }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if !SEEN.with(|seen| seen.look(self.local.connections())) {
            return;
        }
        let (local, shard) = (self.local.clone(), Rc::clone(&self.shard));
        self.local.spawn(Queue::Background, async move {
            local.pause(CROWD_GONE_PAUSE).await;
            SEEN.with(|seen| seen.forget(local.connections()));
            // The pool's thread makes the system calls. When the pool has no room, it does the same of itself as
            // soon as it is idle.
            let _given_or_busy = shard.off_shard(give_back).await;
            let_go();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_when_more_than_half_of_a_crowd_has_gone() {
        let seen = Seen { most: Cell::new(0), is_leaving: Cell::new(false) };
        assert!((1..CROWD).chain((0..CROWD).rev()).all(|count| !seen.look(count)), "they were few");
        let rush = 4 * CROWD;
        assert!((1..=rush).chain((rush / 2..rush).rev()).all(|count| !seen.look(count)), "half are there");
        assert!(seen.look(rush / 2 - 1));
        assert!(!seen.look(rush / 2 - 2), "once");
        seen.forget(0);
        assert!(!seen.look(1));
    }
}
