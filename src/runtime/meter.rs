//! What the driver tells metrics: bytes, handshakes, and how long each request took and why.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use base::{AccountId, Session};
use shard::metrics::About;
use shard::{ConnectionMeter, Measured, Operation, Protocol, Wait, Waits};

use crate::clock;

/// One connection's meter, with the words for its requests.
pub struct Meter<S: Session> {
    connection: ConnectionMeter,
    operation: fn(&S::Request) -> Operation,
    account: fn(&S) -> Option<AccountId>,
}

impl<S: Session> std::fmt::Debug for Meter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.connection.fmt(f)
    }
}

impl<S: Measured> Meter<S> {
    /// For a connection.
    pub fn new(connection: ConnectionMeter) -> Self {
        Self { connection, operation: S::operation, account: S::account }
    }
}

impl<S: Session> Meter<S> {
    /// Of a connection on which TLS has been tried.
    pub fn handshake(&mut self, has_succeeded: bool) {
        if has_succeeded { self.connection.secured() } else { self.connection.handshake_failed() }
    }

    /// What the connection speaks.
    pub const fn protocol(&self) -> Protocol {
        self.connection.protocol()
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.connection.received(bytes);
    }

    pub(crate) fn sent_in_all(&mut self, bytes: u64) {
        self.connection.sent_in_all(bytes);
    }

    pub(crate) fn operation(&self, request: &S::Request) -> Operation {
        (self.operation)(request)
    }

    /// The request that `timing` was about is answered.
    pub(crate) fn ended(&self, operation: Operation, timing: &Timing, session: &S) {
        let total_ns = clock::monotonic_ns().saturating_sub(timing.begun_ns);
        let about = || About { at: clock::now(), account: (self.account)(session) };
        self.connection.ended(operation, total_ns, &timing.waits, about);
    }
}

/// The time of one request. The exact clock is read at its begin and end, a coarse one (a quarter of the
/// price, a few milliseconds exact) where it waits.
#[derive(Debug)]
pub(crate) struct Timing {
    begun_ns: u64,
    waits: Waits,
}

impl Timing {
    pub(crate) fn begin() -> Self {
        Self { begun_ns: clock::monotonic_ns(), waits: Waits::default() }
    }

    /// Polls what answers the request.
    pub(crate) fn poll<F: Future>(&mut self, cx: &mut Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.waits.resume(clock::coarse_ms);
        let store_waits = storage_engine::waits();
        let poll = future.poll(cx);
        if poll.is_pending() {
            let for_store = storage_engine::waits() != store_waits;
            self.waits.suspend(clock::coarse_ms(), if for_store { Wait::Store } else { Wait::Turn });
        }
        poll
    }
}
