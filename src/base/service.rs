//! What stands behind a session: the handlers of one connection. The driver (`runtime`) calls it,
//! the composition (`shard`) provides it, and neither needs to know the other.

use core::future::Future;

use crate::{Out, Session, ShardId};

/// What a handler has come to.
#[derive(Debug)]
pub enum Handled<R> {
    /// Hand this to [`Session::reply`] here.
    Reply(R),
    /// The connection belongs on another shard (its account is owned there): carry it over, and
    /// hand the session this reply there.
    Move(ShardId, R),
}

/// The handlers behind one connection. The futures stay on the shard that polls them.
pub trait Service<S: Session> {
    /// Runs one request to its end. A large answer is streamed into `out`, whose buffer starts
    /// with what the session had already said; an answer of a few lines is left to the reply.
    fn handle(
        &mut self,
        session: &mut S,
        request: S::Request,
        out: &mut Out<'_>,
    ) -> impl Future<Output = Handled<S::Reply>>;

    /// Resolves when the session's account has changed since it last did. Awaited for
    /// [`Next::Watch`](crate::Next::Watch) only; dropping the future loses no change.
    fn changed(&mut self) -> impl Future<Output = ()>;
}
