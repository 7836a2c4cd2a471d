//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051) with the extensions of [`CAPABILITIES`], as a
//! session that owns no handle and handlers that act on an account.
//!
//! ```text
//! bytes ─ input (lines, literals) ─> command/ (grammar) ─> session (what is legal now)
//!    ─> Act ─> handlers/ (one file a command, on account::Account) ─> response/ (untagged data)
//!    ─> Done ─> reply (the tagged line; errors to response codes)
//! ```
//!
//! Start with `session.rs`, then `handlers/mod.rs`, then `view.rs`: what a client knows of its
//! mailbox, and how it is brought up to date by `handlers/sync.rs`.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(test)]
mod agreement;
mod around;
mod capability;
pub mod command;
mod config;
mod handlers;
mod input;
mod limits;
mod names;
mod parse;
mod reply;
mod response;
mod session;
mod summary;
#[cfg(test)]
mod tests;
mod url;
mod view;

pub use around::{Around, Waiting};
pub use capability::{CAPABILITIES, Capability, Enabled, Listed};
pub use config::Config;
pub use handlers::{Act, Action, Done, Reply, UrlBytes, UrlError, UrlProof, handle, url_bytes, url_size};
pub use limits::{LOGIN_ATTEMPTS_MAX, Limits};
pub use parse::{Cursor, FlagList, ParseError, SequenceNumber, SequenceSet, Text};
pub use reply::{Code, Failure, Success};
pub use session::{Imap, Request};
pub use summary::summarize;
pub use url::{Access, Grant, Url, UrlReader, Verifier};
pub use view::{BadSequence, Numbering, Selected};
