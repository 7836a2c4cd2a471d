//! POP3 (RFC 1939) with its extensions: CAPA and response codes (RFC 2449, RFC 3206), STLS
//! (RFC 2595), AUTH (RFC 5034), UTF8 and LANG (RFC 6856). Read this folder first: every protocol
//! has the same files.
//!
//! ```text
//! bytes -> command.rs -> session.rs -> Request -> handlers/ (on account::Account) -> Reply
//!                            |                        |                               |
//! bytes <- reply.rs <--------+------------------------+ <-----------------------------+
//! ```
//!
//! `command` is grammar and knows no state, `session` is order and knows no store, `handlers` act
//! and build no protocol text, `reply` holds every word the server says, `body` is the law of lines
//! for messages. A maildrop is INBOX as it was at login ([`Maildrop`]): a few ranges of numbers
//! however many messages it has.
//!
//! Layer L3: no I/O, no clock, no chance; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod body;
mod client;
mod command;
mod config;
mod handlers;
mod limits;
mod maildrop;
mod reply;
mod request;
mod session;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Response};
pub use command::{Command, ParseError};
pub use config::{Config, Entropy};
pub use handlers::{handle, open};
pub use limits::{LOGIN_ATTEMPTS_MAX, Limits};
pub use maildrop::Maildrop;
pub use request::{Act, Action, OpenError, Outcome, Reply, Request};
pub use session::Pop3;
