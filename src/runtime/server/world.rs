//! The world as the shards' composition sees it.

use base::Timestamp;
use shard::{LocalFuture, Overloaded, World};

use crate::{Blocking, clock};

/// Clock, generator and blocking pool of this process.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub(super) blocking: Blocking,
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
}

/// Fills `bytes` from the kernel's generator.
#[allow(unsafe_code)]
pub(super) fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is valid for writes of its length, which is what the call is told.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // EINTR before the pool is ready, at boot, is the only failure there is.
        filled += usize::try_from(got).unwrap_or(0);
    }
}
