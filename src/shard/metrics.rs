//! What a shard counts, for its operator. Plain cells that the shard's own thread adds to: a count costs an
//! addition, an operation two looks at the clock, and nothing is allocated or shared. Whoever wants to know
//! asks each shard for [`Shard::samples`](crate::Shard::samples) ([design/0010-metrics.md](../../docs/design/0010-metrics.md)).

mod connection;
pub mod families;
mod histogram;
mod operation;
mod recorder;
mod samples;
mod wait;

use std::cell::{Cell, OnceCell, RefCell};

use auth::Answer;
use base::{AccountId, Timestamp};
use smtp::{Outcome, Reply, Verdict};

pub use self::connection::ConnectionMeter;
pub use self::families::{FAMILIES, Family, Kind};
pub use self::histogram::{Distribution, Histogram};
pub use self::operation::{Measured, Operation, Protocol};
pub use self::recorder::SlowOperation;
use self::recorder::{Recorder, is_slow};
pub use self::samples::{Sample, Samples, Value};
pub use self::wait::{Mark, Wait, Waits};

/// What the flight recorder takes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowSettings {
    /// Operations from this on, in milliseconds.
    pub slow_ms: u32,
    /// How many of them each shard keeps.
    pub operations_max: usize,
}

impl Default for SlowSettings {
    fn default() -> Self {
        Self { slow_ms: 50, operations_max: 256 }
    }
}

/// What is looked up about an operation only when it was slow.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The time of day.
    pub at: Timestamp,
    /// Whose session it is.
    pub account: Option<AccountId>,
}

/// A count.
type Count = Cell<u64>;

/// What is counted for each protocol.
#[derive(Debug, Default)]
struct Traffic {
    open_plain: Count,
    open_tls: Count,
    opened: Count,
    handshakes_failed: Count,
    proxies_refused: Count,
    received_bytes: Count,
    sent_bytes: Count,
    messages_received: Count,
    messages_rejected: Count,
    recipients_rejected: Count,
    /// By [`Operation`]'s number, made when there is a first one.
    operations: [OnceCell<Box<Histogram>>; Operation::ALL.len()],
}

/// How logins were answered.
#[derive(Debug, Default)]
struct Logins {
    granted: Count,
    denied: Count,
    throttled: Count,
    unavailable: Count,
    challenged: Count,
}

/// One shard's counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By [`Protocol`]'s number.
    traffic: [Traffic; Protocol::ALL.len()],
    logins: Logins,
    delivered: Count,
    policies_served: Count,
    /// Connections that were here so far: the last one's number.
    connections: Count,
    slow_ms: Cell<u32>,
    slow: Count,
    recorder: RefCell<Recorder>,
}

impl Metrics {
    /// Nothing is counted yet.
    pub fn new(settings: SlowSettings) -> Self {
        let metrics = Self::default();
        metrics.configure(settings);
        metrics
    }

    pub(crate) fn configure(&self, settings: SlowSettings) {
        self.slow_ms.set(settings.slow_ms);
        self.recorder.borrow_mut().resize(settings.operations_max);
    }

    /// The slow operations that are kept, oldest first.
    pub fn slow_operations(&self) -> Vec<SlowOperation> {
        self.recorder.borrow().list()
    }

    /// Slow operations so far, those included that are kept no more.
    pub fn slow_count(&self) -> u64 {
        self.slow.get()
    }

    /// Messages put into mailboxes by delivery since the start, one for each recipient.
    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    pub(crate) fn count_delivered(&self, by: u64) {
        self.delivered.set(self.delivered.get() + by);
    }

    pub(crate) fn count_policy_served(&self) {
        count(&self.policies_served);
    }

    pub(crate) fn count_login(&self, answer: &Answer) {
        count(match answer {
            Answer::Granted(_) => &self.logins.granted,
            Answer::Denied => &self.logins.denied,
            Answer::Throttled { .. } => &self.logins.throttled,
            Answer::Unavailable => &self.logins.unavailable,
            Answer::Scram(_) => &self.logins.challenged,
        });
    }

    /// A SCRAM exchange has ended well.
    pub(crate) fn count_proof(&self) {
        count(&self.logins.granted);
    }

    /// A load balancer's connection did not begin with a PROXY header, or with none that can be read.
    pub fn count_proxy_refused(&self, protocol: Protocol) {
        count(&self.traffic(protocol).proxies_refused);
    }

    pub(crate) fn count_recipient(&self, protocol: Protocol, reply: &Reply) {
        if !matches!(reply, Reply::Recipient(Verdict::Accept)) {
            count(&self.traffic(protocol).recipients_rejected);
        }
    }

    pub(crate) fn count_message(&self, protocol: Protocol, outcomes: &[Outcome]) {
        let traffic = self.traffic(protocol);
        let is_taken = outcomes.contains(&Outcome::Stored);
        count(if is_taken { &traffic.messages_received } else { &traffic.messages_rejected });
    }

    fn traffic(&self, protocol: Protocol) -> &Traffic {
        &self.traffic[protocol as usize]
    }

    fn count_operation(&self, protocol: Protocol, operation: Operation, total_ns: u64) {
        let histogram = &self.traffic(protocol).operations[operation as usize];
        histogram.get_or_init(Box::default).record(total_ns);
    }

    /// The milliseconds of an operation if they are too many.
    fn slow_ms(&self, total_ns: u64, waits: &Waits) -> Option<u32> {
        let total_ms = total_ns / 1_000_000;
        let is_slow = is_slow(total_ms, &waits.ms(), self.slow_ms.get());
        is_slow.then(|| u32::try_from(total_ms).unwrap_or(u32::MAX))
    }

    fn put_slow(&self, slow: SlowOperation) {
        count(&self.slow);
        self.recorder.borrow_mut().put(slow);
    }
}

fn count(cell: &Count) {
    cell.set(cell.get() + 1);
}
