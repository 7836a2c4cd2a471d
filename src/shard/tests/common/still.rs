//! The world of tests in which no time passes.

use std::cell::Cell;
use std::future::ready;

use base::Timestamp;
use shard::{LocalFuture, Overloaded, World};

use super::alone::without_network;

/// The clock stands still: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_s(1_767_225_600);

/// Time and chance of a test; what would run off the shard runs at once.
#[derive(Default)]
pub(crate) struct Still(Cell<u8>);

impl World for Still {
    without_network!();

    fn now(&self) -> Timestamp {
        NOW
    }

    fn random(&self, bytes: &mut [u8]) {
        self.0.set(self.0.get().wrapping_add(1));
        bytes.fill(self.0.get());
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        work();
        Box::pin(ready(Ok(())))
    }
}
