//! One piece of work on its way to a shard.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// A future that stays on the thread that polls it.
pub type LocalFuture = Pin<Box<dyn Future<Output = ()> + 'static>>;

type Start<C> = dyn FnOnce(Rc<C>) -> LocalFuture + Send + 'static;

/// Work for the shard it arrives at. Dropping it unrun tells its caller [`crate::Gone`].
pub struct Job<C>(Box<Start<C>>);

impl<C> fmt::Debug for Job<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

impl<C: 'static> Job<C> {
    pub(crate) fn new<F>(start: impl FnOnce(Rc<C>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        // `start` is called inside the future, so that its panic is the spawned task's and not
        // that of the loop which takes jobs off the queue.
        Self(Box::new(|context| Box::pin(async move { start(context).await })))
    }

    /// The work as a future for the shard's spawner. Nothing runs before its first poll.
    pub fn run(self, context: Rc<C>) -> LocalFuture {
        (self.0)(context)
    }
}
