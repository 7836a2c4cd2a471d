//! What mail servers tell each other about mail: delivery status notifications, written and read; feedback
//! reports, read; what a bounce means; and the return paths that lead a bounce home (VERP, SRS).
//!
//! Layer L2: plain values, no I/O, no clock. Everything that came from a stranger is bounded (`limits.rs`), and
//! any bytes give an answer.
//!
//! ```text
//! recipients' outcomes ── notice_for, undeliverable ──> Notice ── compose(Original, Reporter) ──> Report (a message from <>)
//! a remote's answer ───── classify ───> Bounce (for retries and statistics)
//! an incoming message ─── read_report ─> Delivery | Feedback (`reduce`: what is kept of it)
//! sender, recipient ───── Verp, Srs ───> a return path, and back
//! ```
//!
//! - `notice`: who is to be told (RFC 3461 §5.2); `template`, `render`: what people read;
//! - `compose`, `fields`: the message (RFC 3464, 6522, 6533);
//! - `status`, `classify`: what codes and words mean;
//! - `moderation`: asking those who have to approve a message.

mod address;
mod classify;
mod compose;
mod feedback;
mod fields;
pub mod limits;
mod moderation;
mod notice;
mod read;
mod reduce;
mod render;
mod srs;
mod status;
mod template;
mod verp;
mod write;
mod xtext;

pub use base::{Notify, Return};
pub use classify::{Bounce, classify};
pub use compose::{Content, Original, Report, Reporter, compose, is_for_postmaster, wants_whole};
pub use feedback::{FeedbackKind, FeedbackReport};
pub use limits::{RETURNED_BYTES_DEFAULT, RETURNED_HEADER_BYTES_MAX, TEMPLATES_BYTES_MAX};
pub use moderation::{Asked, Decision, Tokens, answer, ask};
pub use notice::{Action, Notice, Outcome, Recipient, notice_for, undeliverable};
pub use read::{DeliveryReport, Incoming, ReportedRecipient, Returned, read_report};
pub use reduce::reduced;
pub use srs::{Srs, SrsConfig, SrsConfigError, SrsError, SrsHash};
pub use status::Status;
pub use template::{TemplateError, TemplateProblem, Templates};
pub use verp::Verp;
pub use xtext::{decode_xtext, encode_xtext};
