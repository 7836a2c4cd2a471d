//! The server's side of HTTP/1.1 (RFC 9110, RFC 9112): requests, answered one after the other on a connection, without
//! content but where whoever serves says that some is taken. What is asked for and what is answered is others' business.
//!
//! ```text
//! bytes -> head.rs -> session.rs -> Request -> whoever serves
//!                         |                        |
//! bytes <- reply.rs <-----+---- Response <---------+
//! ```
//!
//! `head` is grammar, `session` is order and time, `reply` holds every word the server says.
//!
//! Layer L3: no I/O, no clock, no chance; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod head;
mod limits;
mod reply;
mod session;
#[cfg(test)]
mod tests;

pub use head::{Method, Request};
pub use reply::{Response, Status};
pub use session::{Http, Posts};
