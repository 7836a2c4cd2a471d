//! The values everything else is made of: ids, moments, change numbers, number sets, secrets, lines,
//! what the domain name system is asked (`dns`), and the contract between a line protocol's session and whoever drives it.
//!
//! Layer L0: no I/O, no clock, no threads; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod budget;
pub mod dns;
mod give_way;
mod ids;
mod line;
mod notify;
mod out;
mod proxy;
mod random;
mod ranges;
mod rfc3339;
mod secret;
mod service;
mod session;
mod time;
mod verp;

pub use budget::{Budget, Charge};
pub use give_way::give_way;
pub use ids::{AccountId, ChangeNumber, MailboxId, MessageId, PartitionId, ShardId, Uid, UidValidity};
pub use line::{Line, LineError, take_line};
pub use notify::{Notify, Return};
pub use out::{Closed, Drain, Out};
pub use proxy::{PROXY_HEADER_BYTES_MAX, Proxied, ProxyError, parse_proxy};
pub use random::Random;
pub use ranges::Ranges;
pub use rfc3339::{Rfc3339, parse_rfc3339};
pub use secret::Secret;
pub use service::{Handled, Service};
pub use session::{ChannelBinding, Next, Session, TlsInfo};
pub use time::Timestamp;
pub use verp::VerpSigns;
