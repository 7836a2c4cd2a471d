//! What one core owns, put together: its engine, its view of the directory, its logins, and the
//! services that stand behind its sessions.
//!
//! ```text
//! socket -> runtime's driver -> session (L3) -> Request
//!                                                 │
//!           SmtpService, ImapService, Pop3Service │  this folder; WebService
//!                                                 ▼
//!   People (directory, own or by the router)   Account (own partitions only)   deliver (any partition)
//! ```
//!
//! Nothing here opens a socket, reads the clock or starts a thread: [`World`] is handed in.

mod delivery;
mod entrance;
mod forwarding;
mod imap_service;
mod inbound;
mod join;
mod limits;
mod local_mail;
mod login;
pub mod metrics;
mod people;
mod pop3_service;
pub mod relay;
pub mod remember;
pub mod reporting;
mod room;
mod settings;
mod shard;
mod smtp_service;
mod submission;
mod urls;
mod web;
mod world;

pub use delivery::{Manner, deliver};
pub use imap_service::ImapService;
pub use inbound::{
    Dmarc, FilterKind, FilterPlace, FilterSettings, FromCheck, HookSettings, Inbound, RspamdSettings,
};
pub use limits::{DIRECTORY_PARTITION, MESSAGE_TARGETS_MAX, SCRAM_ITERATIONS, VERIFIED_TTL_MS};
pub use local_mail::{LocalMail, Unsent, submit_local};
pub use login::Login;
pub use metrics::{
    ConnectionMeter, Distribution, FAMILIES, Family, Kind, Measured, Metrics, Operation, Protocol, Sample,
    Samples, SlowOperation, SlowSettings, Value, Wait, Waits,
};
pub use people::People;
pub use pop3_service::Pop3Service;
pub use relay::{Outbound, Relay, Smarthost, SmarthostTls, TellPostmaster};
pub use reporting::{Reporting, Taking};
pub use settings::Settings;
pub use shard::Shard;
pub use smtp_service::SmtpService;
pub use web::{OwnPolicies, WebService};
pub use world::{
    Carried, Carrier, Dial, Endpoint, Hop, LocalFuture, Overloaded, Process, Unopened, Vitals, Wire, World,
};
