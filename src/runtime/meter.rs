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

/// The time of one request. The exact clock is read at its begin and end, a coarse one (a sixth of the
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    use imap::Imap;
    use shard::{Metrics, Protocol};

    use super::*;

    fn meter(metrics: &Rc<Metrics>) -> Meter<Imap> {
        Meter::new(ConnectionMeter::opened(metrics, Protocol::Imap))
    }

    /// One request that waits once, and for what `wait` says.
    fn one(meter: &Meter<Imap>, session: &Imap, wait: Option<Wait>) {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut timing = Timing::begin();
        let mut has_waited = false;
        let mut work = pin!(poll_fn(|_| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            if let Some(wait) = wait {
                wait.begins();
            }
            Poll::Pending
        }));
        while timing.poll(cx, work.as_mut()).is_pending() {}
        meter.ended(Operation::Fetch, &timing, session);
    }

    fn session() -> Imap {
        Imap::new(std::sync::Arc::new(imap::Config::new("mail.example")), base::Secret::new([[0; 18]; _]))
    }

    #[test]
    fn a_request_is_counted_and_taken_down_when_everything_is_slow() {
        // Nothing is kept and everything is slow by default.
        let metrics = Rc::<Metrics>::default();
        let meter = meter(&metrics);
        one(&meter, &session(), Some(Wait::Network));
        one(&meter, &session(), None);
        assert_eq!(metrics.slow_count(), 2);
        assert!(metrics.slow_operations().is_empty());
    }

    /// What metrics cost a request: `cargo test --release -p runtime --lib -- --ignored --nocapture metrics_cost`.
    #[test]
    #[ignore = "a measurement"]
    fn metrics_cost() {
        const ROUNDS: u32 = 5_000_000;
        let metrics = Rc::new(Metrics::new(shard::SlowSettings::default()));
        let (meter, session) = (meter(&metrics), session());
        let begun = clock::thread_cpu_ns();
        (0..ROUNDS).for_each(|_| one(&meter, &session, None));
        let each = (clock::thread_cpu_ns() - begun) / u64::from(ROUNDS);
        println!("a request that waits once: {each} ns");
        let begun = clock::thread_cpu_ns();
        (0..ROUNDS).for_each(|_| {
            std::hint::black_box((clock::coarse_ms(), clock::coarse_ms()));
        });
        println!(
            "of it the coarse clock, twice: {} ns",
            (clock::thread_cpu_ns() - begun) / u64::from(ROUNDS)
        );
        let begun = clock::thread_cpu_ns();
        (0..ROUNDS).for_each(|_| {
            std::hint::black_box((clock::monotonic_ns(), clock::monotonic_ns()));
        });
        println!("of it the exact clock, twice: {} ns", (clock::thread_cpu_ns() - begun) / u64::from(ROUNDS));
    }
}
