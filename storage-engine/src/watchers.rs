//! Who waits for an account's change number to move.

use std::collections::HashMap;
use std::task::Waker;

#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// Of a partition's account: the number of each watcher and its waker.
    waiting: HashMap<(u16, u64), Vec<(u64, Waker)>>,
    next: u64,
}

impl Watchers {
    /// Registers a waker, in place of the watcher's last one; that one is for the caller to drop.
    pub(crate) fn register(
        &mut self,
        partition: u16,
        account: u64,
        watcher: Option<u64>,
        waker: Waker,
    ) -> (u64, Option<Waker>) {
        let waiting = self.waiting.entry((partition, account)).or_default();
        let watcher = watcher.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        if let Some((_, old)) = waiting.iter_mut().find(|(number, _)| *number == watcher) {
            return (watcher, Some(std::mem::replace(old, waker)));
        }
        waiting.push((watcher, waker));
        (watcher, None)
    }

    pub(crate) fn remove(&mut self, partition: u16, account: u64, watcher: u64) -> Option<Waker> {
        let waiting = self.waiting.get_mut(&(partition, account))?;
        let index = waiting.iter().position(|(number, _)| *number == watcher)?;
        let (_, waker) = waiting.swap_remove(index);
        if waiting.is_empty() {
            self.waiting.remove(&(partition, account));
        }
        Some(waker)
    }

    /// The account's number moved: moves all its wakers to `woken`.
    pub(crate) fn take(&mut self, partition: u16, account: u64, woken: &mut Vec<Waker>) {
        if let Some(waiting) = self.waiting.remove(&(partition, account)) {
            woken.extend(waiting.into_iter().map(|(_, waker)| waker));
        }
    }
}
