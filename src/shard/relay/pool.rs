//! Connections to one destination: how many there may be, and those that wait for the next message.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::world::Carrier;
use base::Timestamp;

/// All pools of a shard, by the names of the ways. Numbers may be shared by two names, and a connection of one must never
/// carry mail of the other: somebody could look for such a name.
#[derive(Debug, Default)]
pub(super) struct Pools(RefCell<HashMap<String, Rc<Pool>>>);

/// The connections to one destination.
#[derive(Default)]
pub(super) struct Pool(RefCell<State>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("in_use", &self.0.borrow().in_use).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    in_use: usize,
    waiting: Vec<Waker>,
    idle: Vec<Idle>,
    is_swept: bool,
}

/// A connection that waits.
pub(super) struct Idle {
    pub(super) carrier: Box<dyn Carrier>,
    /// Name and address of the host.
    pub(super) host: String,
    /// Messages it has carried.
    pub(super) carried: u32,
    since: Timestamp,
}

/// The right to use a connection; given back by being dropped.
pub(super) struct Permit(Rc<Pool>);

impl Pools {
    /// The pool of a way.
    pub(super) fn of(&self, name: &str) -> Rc<Pool> {
        Rc::clone(self.0.borrow_mut().entry(name.to_owned()).or_default())
    }

    /// Forgets a pool that nobody uses.
    pub(super) fn forget(&self, name: &str) {
        let mut pools = self.0.borrow_mut();
        if pools.get(name).is_some_and(|pool| Rc::strong_count(pool) == 1 && pool.is_empty()) {
            pools.remove(name);
        }
    }
}

impl Pool {
    /// Waits until fewer than `max` are in use.
    pub(super) async fn permit(self: &Rc<Self>, max: usize) -> Permit {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.in_use < max.max(1) {
                state.in_use += 1;
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Permit(Rc::clone(self))
    }

    /// The connection that has waited shortest.
    pub(super) fn take(&self) -> Option<Idle> {
        self.0.borrow_mut().idle.pop()
    }

    /// Keeps a connection for the next message. True when nobody looks after idle ones: then the caller has to see
    /// that [`Pool::sweep`] is called.
    pub(super) fn put(&self, carrier: Box<dyn Carrier>, host: String, carried: u32, now: Timestamp) -> bool {
        let mut state = self.0.borrow_mut();
        state.idle.push(Idle { carrier, host, carried, since: now });
        !std::mem::replace(&mut state.is_swept, true)
    }

    /// Ends connections that have waited since `before`. False when none is left.
    pub(super) fn sweep(&self, before: Timestamp) -> bool {
        let mut state = self.0.borrow_mut();
        let (old, young): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.idle).into_iter().partition(|idle| idle.since <= before);
        state.idle = young;
        state.is_swept = !state.idle.is_empty();
        let is_left = state.is_swept;
        drop(state);
        for idle in old {
            idle.carrier.quit();
        }
        is_left
    }

    fn is_empty(&self) -> bool {
        let state = self.0.borrow();
        state.in_use == 0 && state.idle.is_empty() && state.waiting.is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.0.borrow_mut();
            state.in_use -= 1;
            std::mem::take(&mut state.waiting)
        };
        // All of them, for one that does not want it any more would keep it from the others; they are few.
        waiting.into_iter().for_each(Waker::wake);
    }
}
