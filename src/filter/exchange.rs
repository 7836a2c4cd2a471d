//! The contract between a filter's client and whoever drives it, the same for all kinds of filters.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base::Timestamp;

use crate::Failure;

/// The largest read that a driver gives at once, in bytes.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// What a client wants next. In all cases the output, if there is any, is to be written first.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<A> {
    /// Then ask again: there is more to say before the filter answers. What the filter has sent meanwhile may
    /// be given in between.
    Write,
    /// Then give it bytes, or say that there are none ([`Exchange::ended`]), and ask again.
    Read,
    /// The filter's answer.
    Answer(A),
    /// No answer will come; the connection is of no more use.
    Failed(Failure),
}

/// One side of a conversation with a filter, as a plain value: bytes and moments in, bytes and an answer out.
pub trait Exchange {
    /// What comes of it.
    type Answer;

    /// Takes bytes from the filter: at most [`READ_BYTES_MAX`] between two calls of
    /// [`Exchange::next`].
    fn input(&mut self, bytes: &[u8]);

    /// The filter has closed the connection, or writing to it has failed. What it said before is given first.
    fn ended(&mut self);

    /// Works on the input until something must be done outside.
    fn next(&mut self, now: Timestamp) -> Next<Self::Answer>;

    /// When to call [`Exchange::next`] even if nothing arrives: it fails then.
    fn deadline(&self) -> Timestamp;

    /// Bytes for the filter; the driver takes them all.
    fn output(&mut self) -> &mut Vec<u8>;
}

/// A message as filters are shown it. Copies share the bytes.
#[derive(Clone)]
pub struct Content {
    data: Arc<Vec<u8>>,
    own_bytes: usize,
}

/// Without the bytes, which are somebody's mail.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes, {} of our own)", self.data.len(), self.own_bytes)
    }
}

impl Content {
    /// A message whose first `own_bytes` are header fields that we added (Received): filters judge what the
    /// client sent, as with other mail servers, and do not see these.
    pub fn new(data: Arc<Vec<u8>>, own_bytes: usize) -> Self {
        let own_bytes = own_bytes.min(data.len());
        Self { data, own_bytes }
    }

    /// What the client sent.
    pub fn shown(&self) -> &[u8] {
        self.data.get(self.own_bytes..).unwrap_or_default()
    }
}
