//! SMTP (RFC 5321), message submission (RFC 6409) and LMTP (RFC 2033): one session value in three
//! modes, and a client of the same kind.
//!
//! ```text
//! bytes -> command.rs (path.rs, parameters.rs) -> session.rs -> Request -> a handler outside
//!                                   body.rs -> Message ^            |
//! bytes <- reply.rs <----------------------------------- Reply <----+
//! ```
//!
//! `command` is grammar and knows no state, `session` is order and knows no store, `body` is the law of
//! lines for message content, `reply` holds every word and code the server says. A handler answers three
//! questions: who logs in, whether a recipient is ours, and whether a message is stored.
//!
//! Layer L3: no I/O, no clock, no chance; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod announced;
mod body;
mod client;
mod command;
mod config;
mod envelope;
mod headers;
mod limits;
mod parameters;
mod path;
mod reply;
mod request;
mod session;
mod terms;
#[cfg(test)]
mod tests;

pub use base::{Notify, Return};
pub use client::{
    Awaited, Client, ClientConfig, ClientError, ClientNext, Extensions, Mail, MailTo, Sent, ServerReply,
    StartTls,
};
pub use command::{Command, ParseError};
pub use config::{Config, Entropy, Mode, Peer, Rights};
pub use envelope::{BodyKind, Envelope, Message, Recipient, TransactionId};
pub use headers::return_path_header;
pub use limits::{AUTH_ATTEMPTS_MAX, Limits};
pub use path::{Path, PathError};
pub use request::{Outcome, RecipientCheck, Refused, Reply, Request, UrlFault, UrlRequest, Verdict, Waited};
pub use session::Smtp;
pub use terms::{By, ByMode, DeliverBy, Terms};
