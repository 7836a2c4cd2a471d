//! What a scenario can do: write, and say how far it is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

/// The scenario's side of the loop.
pub(crate) struct Io {
    /// When the bytes that are being worked on arrived.
    pub(crate) now: Instant,
    /// When the operation that is being begun was to begin.
    pub(crate) due: Instant,
    outgoing: Vec<Vec<u8>>,
    /// By connection: when the last byte handed over was written.
    sent: Vec<Instant>,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    pub(super) touched: Vec<usize>,
    pub(super) effects: VecDeque<(usize, Effect)>,
}

pub(super) enum Effect {
    Ready,
    Listening,
    Done(Latency),
    Close,
    HangUp,
    StartTls,
}

/// What counts as an operation's latency.
pub(super) enum Latency {
    /// From its intended start on.
    Whole,
    /// From then on.
    Since(Instant),
    /// From its intended start on, without so much of it.
    Without(Duration),
}

impl Io {
    pub(super) fn new(connections: usize, now: Instant) -> Self {
        Self {
            now,
            due: now,
            outgoing: vec![Vec::new(); connections],
            sent: vec![now; connections],
            wakes: BinaryHeap::new(),
            touched: Vec::new(),
            effects: VecDeque::new(),
        }
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
        self.effects.push_back((id, Effect::Done(Latency::Whole)));
    }

    /// As [`Io::done`], with the latency counted from `since`.
    pub(crate) fn done_since(&mut self, id: usize, since: Instant) {
        self.effects.push_back((id, Effect::Done(Latency::Since(since))));
    }

    /// As [`Io::done`], without the client's own `pauses`.
    pub(crate) fn done_without(&mut self, id: usize, pauses: Duration) {
        self.effects.push_back((id, Effect::Done(Latency::Without(pauses))));
    }

    /// The server awaits a TLS handshake (STARTTLS).
    pub(crate) fn start_tls(&mut self, id: usize) {
        self.effects.push_back((id, Effect::StartTls));
    }

    /// Calls [`super::Scenario::woken`] after `pause`. A connection has one such call at a time.
    pub(crate) fn wake_after(&mut self, id: usize, pause: Duration) {
        self.wakes.push(Reverse((self.now + pause, id)));
    }

    /// When the last byte of what was output before had been handed to the system.
    pub(crate) fn sent_at(&self, id: usize) -> Instant {
        self.sent[id]
    }

    /// The server is about to close the connection, and may. Comes before [`Io::done`] where the end of
    /// an operation is meant.
    pub(crate) fn close(&mut self, id: usize) {
        self.effects.push_back((id, Effect::Close));
    }

    pub(super) fn note_sent(&mut self, id: usize) {
        self.sent[id] = self.now;
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// The next connection whose time has come.
    pub(super) fn woken(&mut self) -> Option<usize> {
        let due = self.next_wake().is_some_and(|at| at <= self.now);
        if due { self.wakes.pop().map(|Reverse((_, id))| id) } else { None }
    }

    /// Says that nothing more will be sent, where the protocol has no goodbye.
    pub(crate) fn hang_up(&mut self, id: usize) {
        self.effects.push_back((id, Effect::HangUp));
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
