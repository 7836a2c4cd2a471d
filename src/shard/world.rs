//! What the composition needs of the world, handed in by `runtime` (or by a test).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base::Timestamp;

/// A future that stays on its shard.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The pool has too much to do already; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// Time, chance and helpers off the shard.
pub trait World {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` from the system's generator.
    fn random(&self, bytes: &mut [u8]);

    /// Runs slow work on the blocking pool; resolves when it has run.
    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>>;
}

/// Runs `work` off the shard and brings its value back.
pub(crate) async fn off_shard<T: Send + 'static>(
    world: &dyn World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Overloaded> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let job = move || {
        let value = work();
        if let Ok(mut slot) = filled.lock() {
            *slot = Some(value);
        }
    };
    world.off_shard(Box::new(job)).await?;
    slot.lock().ok().and_then(|mut slot| slot.take()).ok_or(Overloaded)
}
