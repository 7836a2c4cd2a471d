//! The outbound queue: messages that wait for another system, durable before they are acknowledged.
//!
//! ```text
//! Envelope + content ──Store::add──▶ one transaction: the content once, one row for each destination
//!                                       │
//! Schedule (memory, rebuilt from rows) ─┴─ next(now) ─▶ Ticket ─▶ Store::entry, Store::content
//!                                                          │
//!            Store::defer, Store::finish ◀── what the destination said
//! ```
//!
//! - `envelope`: from whom, to whom and how, stored in front of the content.
//! - `entry`: a message for one destination, as a row; `progress`: which of its recipients are done, and what was tried.
//! - `store`: the transactions; `trace`: what is kept of a message when it has gone.
//! - `suspended`: destinations that an operator has stopped.
//! - `schedule`: what is due when, without a clock; `retry`: when to try again, and when to give up.
//!
//! The queue of a partition is an account of its own in it ([`QUEUE_ACCOUNT`]), so it is replicated, backed up and
//! restored with the partition. The format is `docs/formats/queue.md`.

mod codec;
mod destination;
mod entry;
mod envelope;
mod limits;
mod progress;
mod retry;
mod schedule;
mod slots;
mod store;
mod suspended;
mod trace;

pub use base::{Notify, Return};
pub use codec::{Reader, Writer};
pub use destination::Destination;
pub use entry::{Entry, Ticket};
pub use envelope::{Body, DeliverBy, Envelope, Here, Moderation, Origin, Recipient, Terms};
pub use limits::{ATTEMPTS_KEPT_MAX, QUEUE_ACCOUNT, REPLY_BYTES_MAX, SUSPENDED_MAX, TRACES_PER_PARTITION};
pub use progress::{Action, Attempt, Progress};
pub use retry::RetryPolicy;
pub use schedule::{LaneView, Schedule, Window};
pub use store::{Error, Incoming, Store};
pub use suspended::Suspended;
pub use trace::{Trace, TraceFilter};
