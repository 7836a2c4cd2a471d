//! The messages between cores: a job is a `Send` closure that is carried to the shard owning the
//! data, runs there with that shard's context, and brings its answer back the same way.
//!
//! Layer L2: no I/O and no threads of its own; it only stores and calls wakers.
//!
//! ```text
//!   shard 0                                     shard 1
//!   router.on(shard 1, work).await  --queue-->  inbox.next() -> Job::run(context), spawned
//!            ^                                         |
//!            +------------- one-shot answer -----------+
//! ```
//!
//! A queue that is full makes its senders wait: back-pressure, never growth. A shard that is gone,
//! or work that panicked, is [`Gone`] to its caller, never a hang.

mod answer;
mod inbox;
mod job;
mod limits;
mod router;
mod senders;

pub use answer::{Answer, AnswerSender, answer_slot};
pub use inbox::{Depth, Inbox};
pub use job::{Job, LocalFuture};
pub use limits::INBOX_JOBS_MAX;
pub use router::{Gone, Router};
