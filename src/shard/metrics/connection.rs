//! One connection, as far as metrics know it.

use std::rc::Rc;

use super::wait::Waits;
use super::{Metrics, Operation, Protocol};

/// Counts for one connection on the shard where it is; dropping it counts the connection as gone.
#[derive(Debug)]
pub struct ConnectionMeter {
    metrics: Rc<Metrics>,
    number: u64,
    /// Of what the connection has sent in all, so much is counted.
    sent: u64,
    protocol: Protocol,
    is_secure: bool,
}

impl ConnectionMeter {
    /// Of a connection that was let in here.
    pub fn opened(metrics: &Rc<Metrics>, protocol: Protocol) -> Self {
        let opened = &metrics.traffic(protocol).opened;
        opened.set(opened.get() + 1);
        Self::arrived(metrics, protocol, false)
    }

    /// Of a connection that comes from another shard.
    pub fn arrived(metrics: &Rc<Metrics>, protocol: Protocol, is_secure: bool) -> Self {
        let number = metrics.connections.get() + 1;
        metrics.connections.set(number);
        let meter = Self { metrics: Rc::clone(metrics), number, sent: 0, protocol, is_secure };
        let open = meter.open();
        open.set(open.get() + 1);
        meter
    }

    /// What it speaks.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A TLS handshake has succeeded.
    pub fn secured(&mut self) {
        self.close();
        self.is_secure = true;
        let open = self.open();
        open.set(open.get() + 1);
    }

    /// A TLS handshake has not.
    pub fn handshake_failed(&self) {
        let failed = &self.metrics.traffic(self.protocol).handshakes_failed;
        failed.set(failed.get() + 1);
    }

    /// So many bytes have come in.
    pub fn received(&self, bytes: usize) {
        let received = &self.metrics.traffic(self.protocol).received_bytes;
        received.set(received.get() + bytes as u64);
    }

    /// In all, so many bytes have gone out on the connection since it is here.
    pub fn sent_in_all(&mut self, bytes: u64) {
        let sent = &self.metrics.traffic(self.protocol).sent_bytes;
        sent.set(sent.get() + bytes.saturating_sub(self.sent));
        self.sent = bytes;
    }

    /// An operation has ended after `total_ns`. `account` is asked when it was slow.
    pub fn ended(
        &self,
        operation: Operation,
        total_ns: u64,
        waits: &Waits,
        about: impl FnOnce() -> super::About,
    ) {
        self.metrics.count_operation(self.protocol, operation, total_ns);
        if let Some(total_ms) = self.metrics.slow_ms(total_ns, waits) {
            let super::About { at, account } = about();
            self.metrics.put_slow(super::SlowOperation {
                at,
                connection: self.number,
                protocol: self.protocol,
                operation,
                account,
                total_ms,
                waits_ms: waits.ms(),
            });
        }
    }

    fn open(&self) -> &std::cell::Cell<u64> {
        let traffic = self.metrics.traffic(self.protocol);
        if self.is_secure { &traffic.open_tls } else { &traffic.open_plain }
    }

    fn close(&self) {
        let open = self.open();
        open.set(open.get() - 1);
    }
}

impl Drop for ConnectionMeter {
    fn drop(&mut self) {
        self.close();
    }
}
