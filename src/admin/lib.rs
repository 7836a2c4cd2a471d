//! What an operator sees: the command line, the configuration file, the control socket's verbs,
//! import and export, and the demo's content.
//!
//! ```text
//! angarium account add …  ->  Request ── control socket ──>  running server: execute() on a shard
//!                                    └── no server running -> Host opens the store, same execute()
//! ```
//!
//! The command line reads the operator's files and writes to the terminal; everything that needs
//! sockets, shards or the store goes through [`Host`], which `runtime` provides.

mod cli;
mod config;
mod control;
mod delegates;
mod demo;
mod dkim;
mod execute;
mod exit;
mod export;
mod failures;
mod forward;
mod host;
mod import;
mod limits;
mod mailqueue;
mod metrics;
mod password;
mod people;
mod postfix;
mod print;
mod publish;
mod reporting;
mod rules;
mod run;
mod sendmail;
mod session;
mod slow;
mod top;
mod tune;

pub use cli::Cli;
pub use config::{Certificate, Config, ConfigError, Listen, ListenAddress, Listeners, Overrides};
pub use control::{Failure, ImportMessage, Request, Response, decode_answer, frame, lengths};
pub use demo::{Demo, DemoAccount, DemoInfo, DemoPorts};
pub use dkim::DkimRequest;
pub use execute::execute;
pub use exit::Exit;
pub use host::{Control, Host, Started};
pub use mailqueue::{Act, Named, QueueRequest};
pub use metrics::{CONTENT_TYPE, Snapshot};
pub use password::Password;
pub use people::postmaster_fault;
pub use publish::DnsRequest;
pub use reporting::ReportsRequest;
pub use run::run;
pub use sendmail::Submission;
pub use session::{Call, ControlService, ControlSession, FrameSession, SubmitService, SubmitSession};
