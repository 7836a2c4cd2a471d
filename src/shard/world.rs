//! What the composition needs of the world, handed in by `runtime` (or by a test).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base::Timestamp;
use base::dns::{Answer, Failure, Query};
use smtp::{ClientConfig, Extensions, Mail, Sent, ServerReply};
use transport::sts::Policy;
use transport::{Demand, Fault};

/// A future that stays on its shard.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The pool has too much to do already; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// How one shard's thread and executor do, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// A clock that never jumps, in nanoseconds: for rates.
    pub clock_ns: u64,
    /// Processor time of the thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Time in which tasks of a queue ran, in nanoseconds, by the queue's name.
    pub queues_ns: Vec<(&'static str, u64)>,
    /// Turns of the executor's loop.
    pub turns: u64,
    /// Tasks that were run until they waited.
    pub polls: u64,
    /// Times the watchdog has woken the shard.
    pub watchdog_wakes: u64,
    /// Tasks that a bug has ended.
    pub panics: u64,
}

/// How the whole process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// When it was started.
    pub started: Timestamp,
    /// Processor time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory that is in RAM, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Work that waits for a thread of the blocking pool.
    pub pool_waiting: u64,
}

/// One address of another mail system, and how to talk to it.
#[derive(Debug)]
pub struct Hop {
    /// Where it listens.
    pub address: SocketAddr,
    /// Our own address; `None` leaves it to the machine.
    pub source: Option<IpAddr>,
    /// How we introduce ourselves.
    pub client: ClientConfig,
    /// TLS begins with the connection (RFC 8314 §3).
    pub is_implicit_tls: bool,
    /// What TLS has to prove, where it is used.
    pub demand: Demand,
}

/// A connection over which messages are sent, one after the other.
pub trait Carrier {
    /// What the other system offers.
    fn extensions(&self) -> &Extensions;

    /// What protects the connection, for people to read; empty for nothing.
    fn tls(&self) -> &str;

    /// What TLS lacks that was wanted but not demanded.
    fn lacks(&self) -> Option<Fault>;

    /// Sends a message. The carrier comes back where another may follow.
    fn send(self: Box<Self>, mail: Mail) -> LocalFuture<Carried>;

    /// Says goodbye.
    fn quit(self: Box<Self>);
}

/// What became of a message on a connection.
pub enum Carried {
    /// It has its answers.
    Answered(Sent, Option<Box<dyn Carrier>>),
    /// The connection ended. When it is in doubt, the other system had all of the message and may have taken it.
    Lost {
        /// Why.
        why: Unopened,
        /// Whether it may have been taken.
        is_in_doubt: bool,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// No connection came about, or it ended; why, for people to read.
    Network(String),
    /// The other system said no.
    Refused(ServerReply),
    /// What it said is not SMTP.
    Protocol,
    /// It does not offer TLS, and there is nothing without.
    NoTls,
    /// TLS failed; why, for people to read, and in the words of reports.
    Tls(String, Fault),
    /// It takes no login, or not the one we know.
    NoAuth,
    /// It took too long.
    TimedOut,
}

/// Where a filter, or who takes a report, listens, and how to get there.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where.
    pub endpoint: Endpoint,
    /// What its certificate has to prove; `None` is without TLS.
    pub tls: Option<Demand>,
    /// TLS may go on from an earlier session, and is remembered for a later one.
    pub may_resume: bool,
    /// The longest time until the connection can be used; TLS has as long once more.
    pub limit: Duration,
}

/// An address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket, by its path.
    Unix(PathBuf),
}

/// A connection that carries bytes and knows nothing of them. Dropping it closes it.
pub trait Wire {
    /// Takes all of `bytes` to be written after what waits already, and leaves it empty.
    fn give(&mut self, bytes: &mut Vec<u8>);

    /// Ready once the kernel has everything that was given; the error says why it never will, for people to read.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>>;

    /// Reads at most `max` bytes and gives them to `take`. Ready with their count; 0 means that the other side has
    /// closed.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<usize, String>>;

    /// What TLS lacks that was wanted but not demanded.
    fn lacks(&self) -> Option<Fault> {
        None
    }
}

/// Time, chance, the network and helpers off the shard.
pub trait World {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` from the system's generator.
    fn random(&self, bytes: &mut [u8]);

    /// Runs slow work on the blocking pool; resolves when it has run.
    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>>;

    /// Asks the domain name system, or what this shard remembers of it. Where there is no name
    /// server to ask, nothing is known.
    fn lookup(&self, query: Query) -> LocalFuture<Result<Answer, Failure>> {
        drop(query);
        Box::pin(std::future::ready(Err(Failure::Temporary)))
    }

    /// Fetches a domain's MTA-STS policy. Where there is no network, there is none to be had.
    fn fetch_policy(&self, domain: &str) -> LocalFuture<Result<Policy, Fault>> {
        let _ = domain;
        Box::pin(std::future::ready(Err(Fault::StsPolicyFetchError)))
    }

    /// Runs a task beside the others of this shard, at the share of deliveries. A server that is stopped waits for it,
    /// as it does for connections.
    fn spawn(&self, task: LocalFuture<()>);

    /// As [`World::spawn`], for a task that is dropped when the server stops.
    fn spawn_aside(&self, task: LocalFuture<()>);

    /// Whether the server is being stopped, so that nothing long should begin.
    fn is_stopping(&self) -> bool;

    /// Resolves at a moment.
    fn sleep_until(&self, moment: Timestamp) -> LocalFuture<()>;

    /// Connects to another mail system and introduces us, within the bounds of RFC 5321 §4.5.3.2.
    fn open(&self, hop: Hop) -> LocalFuture<Result<Box<dyn Carrier>, Unopened>>;

    /// Connects to a filter; the error says why there is no connection, for people to read. Where there is no network,
    /// there is none.
    fn dial(&self, dial: Dial) -> LocalFuture<Result<Box<dyn Wire>, String>> {
        drop(dial);
        Box::pin(std::future::ready(Err("there is no network here".to_owned())))
    }

    /// How this shard's thread and executor do; `None` where there is no executor to ask.
    fn vitals(&self) -> Option<Vitals> {
        None
    }

    /// How the process does; `None` where nobody looks.
    fn process(&self) -> Option<Process> {
        None
    }
}

/// Runs `work` off the shard and brings its value back.
pub(crate) async fn off_shard<T: Send + 'static>(
    world: &dyn World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Overloaded> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let job = move || {
        let value = work();
        if let Ok(mut slot) = filled.lock() {
            *slot = Some(value);
        }
    };
    world.off_shard(Box::new(job)).await?;
    slot.lock().ok().and_then(|mut slot| slot.take()).ok_or(Overloaded)
}
