//! The world as the shards' composition sees it.

use std::cell::RefCell;

use base::Timestamp;
use shard::{LocalFuture, Overloaded, Process, Vitals, World};

use crate::limits::RANDOM_BYTES;
use crate::vitals::{Watch, process};
use crate::{Blocking, Local, clock};

/// Clock, generator and blocking pool of this process.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) blocking: Blocking,
    pub(super) local: Local,
    pub(super) watch: Watch,
    pub(super) started: Timestamp,
}

impl World for Here {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn random(&self, bytes: &mut [u8]) {
        random(bytes);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        let blocking = self.blocking.clone();
        Box::pin(async move { blocking.run(work).await.map_err(|_| Overloaded) })
    }

    fn vitals(&self) -> Option<Vitals> {
        Some(self.watch.look(&self.local))
    }

    fn process(&self) -> Option<Process> {
        Some(process(self.started, &self.blocking))
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; RANDOM_BYTES], left: 0 }) };
}

/// Random bytes fetched ahead: every connection wants a few, and a system call for each is dear.
struct Pool {
    bytes: [u8; RANDOM_BYTES],
    /// So many at the front are unused.
    left: usize,
}

impl Pool {
    /// Fills `bytes`, which are fewer than the pool has when it is full. What was given is wiped.
    fn give(&mut self, bytes: &mut [u8]) {
        if self.left < bytes.len() {
            ask(&mut self.bytes);
            self.left = self.bytes.len();
        }
        let given = &mut self.bytes[self.left - bytes.len()..self.left];
        bytes.copy_from_slice(given);
        given.fill(0);
        self.left -= bytes.len();
    }
}

/// Fills `bytes` with what nobody can foretell.
pub(super) fn random(bytes: &mut [u8]) {
    if bytes.len() > RANDOM_BYTES / 2 {
        ask(bytes);
        return;
    }
    POOL.with_borrow_mut(|pool| pool.give(bytes));
}

/// Fills `bytes` from the kernel's generator.
#[allow(unsafe_code)]
fn ask(bytes: &mut [u8]) {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is valid for writes of its length, which is what the call is told.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // EINTR before the pool is ready, at boot, is the only failure there is.
        filled += usize::try_from(got).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_twice_nor_kept() {
        let mut pool = Pool { bytes: [0; RANDOM_BYTES], left: 0 };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let mut bytes = [0; 18];
            pool.give(&mut bytes);
            assert!(seen.insert(bytes), "given twice");
            assert!(pool.bytes[pool.left..].iter().take(18).all(|byte| *byte == 0), "kept");
        }
        let (mut small, mut large) = ([0; 32], [0; 2 * RANDOM_BYTES]);
        random(&mut small);
        random(&mut large);
        assert!(small != [0; 32] && large[RANDOM_BYTES..] != [0; RANDOM_BYTES]);
    }
}
