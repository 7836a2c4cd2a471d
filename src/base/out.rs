//! Large answers: a bounded buffer whose only waiting call is [`Out::room`].

use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::{Context, Poll};

/// The peer has gone: stop working for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Whatever carries bytes to the peer: a connection, or nothing at all in tests.
pub trait Drain {
    /// Sends all of `bytes` and empties it, or takes what it can and waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>>;
}

/// Where a handler writes an answer of any size: append to [`Out::buffer`], and call
/// [`Out::room`] between items. Memory stays within [`Out::HIGH_BYTES`] and one item.
pub struct Out<'a> {
    /// What is not sent yet. A handler appends whole items.
    pub buffer: Vec<u8>,
    drain: Option<&'a mut dyn Drain>,
}

impl core::fmt::Debug for Out<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Out").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl<'a> Out<'a> {
    /// From here on [`Out::room`] sends before it returns.
    pub const HIGH_BYTES: usize = 64 * 1024;

    /// Answers go to `drain`; `buffer` is what the session had already said.
    pub fn new(buffer: Vec<u8>, drain: &'a mut dyn Drain) -> Self {
        Self { buffer, drain: Some(drain) }
    }

    /// Answers stay in memory: for tests and transcripts.
    pub fn in_memory(buffer: Vec<u8>) -> Self {
        Self { buffer, drain: None }
    }

    /// Returns once the buffer has room for the next item: at once below [`Out::HIGH_BYTES`],
    /// else after all of it was handed to the peer. `Err` when the peer has gone.
    pub async fn room(&mut self) -> Result<(), Closed> {
        if self.buffer.len() < Self::HIGH_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// Hands all that is buffered to the peer.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        let Self { buffer, drain } = self;
        match drain {
            None => Ok(()),
            Some(drain) => poll_fn(|cx| drain.poll_drain(cx, buffer)).await,
        }
    }
}
