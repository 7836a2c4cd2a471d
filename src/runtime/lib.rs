//! The one crate that touches the world for everybody else: executors pinned to cores, sockets,
//! TLS, timers, signals, threads, and the clock. Layer L5.
//!
//! ```text
//!   main ── preflight ── Shards::start ──┬─ shard 0: executor, timers, inbox, store pump, listeners
//!            │                           └─ shard 1: ...
//!            ├─ watchdog thread (wakes a shard that sleeps beside work)
//!            ├─ blocking pool (password hashing, checkpoints)
//!            └─ sidecar thread (crates bound to tokio)
//!
//!   one connection:  Conn (socket + TLS) ── drive() ── Session (a value) ── Service (handlers)
//! ```
//!
//! glommio, which schedules the tasks, is named in `local`, `executor` and `vitals` only, and no public item
//! shows it. What a shard waits for is on its own ring (`net/ring`).

mod blocking;
mod carrier;
mod clock;
mod dns;
mod drive;
mod executor;
mod limits;
mod local;
mod memory;
mod meter;
mod net;
mod preflight;
mod server;
mod sidecar;
mod signals;
mod store_pump;
mod sts;
mod timers;
mod tls;
mod vitals;
#[cfg(test)]
mod wakes;
mod watchdog;
mod wire;

pub use blocking::{Blocking, NotRun, block_on, block_on_for};
pub use clock::{instant, now};
pub use dns::{Asker, DnsError, DnsSettings, Resolver};
pub use drive::{DriveContext, End, drive, drive_metered, secure};
pub use executor::{ShardSetup, Shards, ShardsConfig, StartError};
pub use limits::{ConnectionLimits, INTERACTIVE_SHARES};
pub use local::{Local, Queue, yield_if_needed, yield_now};
pub use meter::Meter;
use net::SocketPath;
pub use net::{
    Address, Conn, ConnError, DetachedConn, Gate, ListenError, Listener, Peer, Place, Refusal, accept,
    bind_all, bind_local,
};
pub use preflight::{Unready, cores, descriptors, preflight};
pub use server::Machine;
pub use sidecar::Sidecar;
pub use signals::{Signal, Signals};
pub use store_pump::start_store;
pub use sts::policy_from;
pub use timers::{Deadline, Timers};
pub use tls::{Authorities, Certificate, Certificates, TlsAcceptor, TlsConnector, TlsError};
