//! Where mail for another server goes and how well the way there must be protected: decisions over
//! answers of the domain name system, policies and certificates. Layer L2: no I/O, no clock, no chance.
//!
//! ```text
//!   recipient's domain ── mx ──> hosts ── address ──> addresses      find: both, by a lookup
//!                                  │
//!          dane (TLSA records) ────┤
//!          sts (MTA-STS policy) ───┼── hop: what this connection must prove, or that it must not be made
//!          the operator, REQUIRETLS┘      │
//!                                         └── report: what came of it, counted by domain and day
//! ```
//!
//! `certificate` reads what DANE compares; `http` reads the answer that brings a policy; `publish` says what
//! our own domains should publish.

mod address;
mod certificate;
pub mod dane;
mod demand;
mod destination;
mod fault;
pub mod find;
pub mod hop;
pub mod http;
mod limits;
pub mod mx;
pub mod publish;
pub mod report;
pub mod sts;
mod text_record;

pub use address::{AddressOrder, Ourselves, addresses, is_public};
pub use certificate::public_key;
pub use demand::{Demand, Identity, Proof};
pub use destination::Destination;
pub use fault::Fault;
pub use limits::{ADDRESSES_MAX, HOSTS_MAX, STS_HOSTS_MAX, STS_MAX_AGE_S};
