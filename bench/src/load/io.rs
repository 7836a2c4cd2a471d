//! What a scenario can do: write, and say how far it is.

use std::collections::VecDeque;
use std::time::Instant;

/// The scenario's side of the loop.
pub(crate) struct Io {
    /// When the bytes that are being worked on arrived.
    pub(crate) now: Instant,
    outgoing: Vec<Vec<u8>>,
    pub(super) touched: Vec<usize>,
    pub(super) effects: VecDeque<(usize, Effect)>,
}

pub(super) enum Effect {
    Ready,
    Listening,
    /// Since when the latency counts, if not since the intended start.
    Done(Option<Instant>),
    Close,
}

impl Io {
    pub(super) fn new(connections: usize, now: Instant) -> Self {
        Self { now, outgoing: vec![Vec::new(); connections], touched: Vec::new(), effects: VecDeque::new() }
    }

    /// Bytes for the server: append only.
    pub(crate) fn output(&mut self, id: usize) -> &mut Vec<u8> {
        self.touch(id);
        &mut self.outgoing[id]
    }

    /// The connection may be given operations.
    pub(crate) fn ready(&mut self, id: usize) {
        self.effects.push_back((id, Effect::Ready));
    }

    /// The connection is as far as it shall go, and is given no operations.
    pub(crate) fn listening(&mut self, id: usize) {
        self.effects.push_back((id, Effect::Listening));
    }

    /// The operation on this connection is complete.
    pub(crate) fn done(&mut self, id: usize) {
        self.effects.push_back((id, Effect::Done(None)));
    }

    /// As [`Io::done`], with the latency counted from `since`.
    pub(crate) fn done_since(&mut self, id: usize, since: Instant) {
        self.effects.push_back((id, Effect::Done(Some(since))));
    }

    /// The server is about to close the connection, and may. Comes before [`Io::done`] where the end of
    /// an operation is meant.
    pub(crate) fn close(&mut self, id: usize) {
        self.effects.push_back((id, Effect::Close));
    }

    pub(super) fn touch(&mut self, id: usize) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    pub(super) fn take(&mut self, id: usize) -> Vec<u8> {
        std::mem::take(&mut self.outgoing[id])
    }

    /// A send is over: its buffer serves again, and what was written meanwhile is sent next.
    pub(super) fn sent(&mut self, id: usize, spare: Vec<u8>) {
        if self.outgoing[id].is_empty() {
            self.outgoing[id] = spare;
        } else {
            self.touch(id);
        }
    }

    pub(super) fn clear(&mut self, id: usize) {
        self.outgoing[id].clear();
    }
}
