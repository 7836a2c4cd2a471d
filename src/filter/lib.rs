//! Programs that judge mail, asked by us: milters, rspamd, clamd, and HTTP hooks of an operator's own. Each is a
//! value that takes bytes and moments and gives bytes and an answer.
//!
//! ```text
//! event, message -> Milter | Rspamd | Clamd | Hook -> bytes -> the filter
//!                        Outcome <- their parsers <- bytes <---------+
//!                           |
//!                           +-> Verdict, and Modifications -> apply -> another message
//! ```
//!
//! `exchange` is the contract with whoever owns the socket, `outcome` what all filters' answers become, `apply`
//! does to a message what they ask for. `milter` speaks Sendmail's protocol, `http` one request of HTTP/1.1 for
//! `rspamd`, `hook` and `post` (which asks nothing, and brings a report somewhere), `clamd` its own commands.
//!
//! Layer L3: no I/O, no clock, no chance; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod apply;
mod clamd;
mod exchange;
mod facts;
mod hook;
mod http;
mod limits;
mod message;
mod milter;
mod outcome;
mod post;
mod reply;
mod rspamd;

pub use apply::{apply, is_same_address};
pub use clamd::{Clamd, ClamdAnswer, ClamdConfig, OnVirus};
pub use exchange::{Content, Exchange, Next, READ_BYTES_MAX};
pub use facts::Facts;
pub use hook::{Hook, HookConfig, HookShare, HookStage};
pub use http::{HttpConfig, Url, UrlError};
pub use milter::{ClientAddress, Event, Milter, MilterConfig, Reuse};
pub use outcome::{Failure, FailurePolicy, Modification, Outcome, Verdict, Which};
pub use post::Post;
pub use reply::Reply;
pub use rspamd::{Assessment, Rspamd, RspamdConfig, RspamdRequest, Symbol};
