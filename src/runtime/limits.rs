//! Every bound of this crate.

use std::time::Duration;

/// Bytes one read takes from a socket at most, and the size of a shard's scratch buffers. One TLS
/// record (RFC 8446 §5.2: 16,384 + 256 + 5 bytes) fits several times.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// Bytes of plain text that are encrypted at once: with the overhead of its records it must fit
/// into [`SCRATCH_BYTES`].
pub(crate) const ENCRYPT_BYTES_MAX: usize = 48 * 1024;

/// Bytes one connection may write before other tasks get their turn.
pub(crate) const FLUSH_BYTES_A_TURN: usize = 256 * 1024;

/// Bytes of TLS handshake and alert records that may wait for a peer that does not read.
pub(crate) const TLS_WAITING_BYTES_MAX: usize = 64 * 1024;

/// Bytes of replies that may gather, while pipelined requests are run, before they are written.
pub(crate) const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// A buffer with more capacity than this is given back when its connection falls idle. The replies to
/// one pipelined SMTP transaction fit.
pub(crate) const IDLE_BUFFER_BYTES_MAX: usize = 256;

/// Bytes thrown away from a peer that still sends after our last word (see `Conn::poll_finish`).
pub(crate) const LINGER_BYTES_MAX: usize = 256 * 1024;

/// How long such a peer is given to close its side.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How long a load balancer may take for its PROXY header. The protocol has it send that at once.
pub(crate) const PROXY_HEADER: Duration = Duration::from_secs(10);

/// How long a peer may take for a TLS handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(30);

/// Questions that a shard asks name servers at once.
pub(crate) const DNS_FLIGHTS_MAX: usize = 256;

/// Questions that wait for that; more are answered "later".
pub(crate) const DNS_WAITING_MAX: usize = 8192;

/// How often a question is handed to a sidecar that is busy, every [`POOL_PAUSE`].
pub(crate) const DNS_TRIES_MAX: usize = 500;

/// Aliases that are followed from a name.
pub(crate) const DNS_ALIASES_MAX: usize = 8;

/// How long after name servers have passed no signatures on they are looked at again.
pub(crate) const DNS_UNSIGNED: Duration = Duration::from_hours(1);

/// Answers that a shard remembers.
pub(crate) const DNS_CACHE_ENTRIES_MAX: usize = 16_384;

/// Bytes of the answers that a shard remembers, about.
pub(crate) const DNS_CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The least time for which an answer is remembered: those who ask at once ask once.
pub(crate) const DNS_KEPT_MIN: Duration = Duration::from_secs(5);

/// The longest time for which records are remembered.
pub(crate) const DNS_ANSWER_MAX: Duration = Duration::from_hours(24);

/// The longest time for which it is remembered that there are none (RFC 2308 §5).
pub(crate) const DNS_ABSENCE_MAX: Duration = Duration::from_hours(1);

/// For how long it is remembered that nobody answered usably (RFC 2308 §7).
pub(crate) const DNS_FAILURE: Duration = Duration::from_secs(10);

/// How long an MTA-STS policy may take to come (RFC 8461 §3.3).
pub(crate) const STS_FETCH: Duration = Duration::from_mins(1);

/// How long its server may take to be connected to, and for the handshake.
pub(crate) const STS_CONNECT: Duration = Duration::from_secs(15);

/// TLS sessions with other servers that a shard remembers; rustls keeps up to 8 for each name.
pub(crate) const CLIENT_SESSIONS_MAX: usize = 1024;

/// How long a peer may leave our output unread before the connection is given up.
pub(crate) const WRITE_STALL: Duration = Duration::from_mins(2);

/// Timers fire at multiples of this, never early.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Bytes that a shard asks the kernel's generator for at once; what is used is wiped.
pub(crate) const RANDOM_BYTES: usize = 1024;

/// Connections that a shard must have had before the memory of those that went is given back.
pub(crate) const CROWD: usize = 256;

/// How long after most of a crowd has gone: the rest of it may be leaving too.
pub(crate) const CROWD_GONE_PAUSE: Duration = Duration::from_secs(2);

/// How long an accept loop waits after running out of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections the kernel keeps for a listener that is busy.
pub(crate) const BACKLOG: i32 = 1024;

/// Bytes of a Unix socket's path, without its NUL (unix(7)).
pub(crate) const UNIX_PATH_BYTES_MAX: usize = 107;

/// The mode of a Unix socket about which nothing is said: its owner alone may connect.
pub(crate) const OWNER_ALONE: u32 = 0o600;

/// Connections to the control socket, which has its own places: an operator must get in when all
/// the others are taken.
pub(crate) const CONTROL_CONNECTIONS_MAX: usize = 64;

/// Connections of local programs that hand mail in.
pub(crate) const SUBMIT_CONNECTIONS_MAX: usize = 32;

/// How often the sendmail command comes again when all of them are taken.
pub(crate) const SUBMIT_TRIES: u32 = 20;

/// How long it waits in between.
pub(crate) const SUBMIT_PAUSE: Duration = Duration::from_millis(500);

/// How long it waits for an answer: a message goes through filters meanwhile.
pub(crate) const SUBMIT_ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// Bytes of an answer: an id, or words.
pub(crate) const SUBMIT_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The mode of the socket that every local user may hand mail in on.
pub(crate) const EVERYBODY: u32 = 0o666;

/// The mode of the folder around that socket, where it is made here.
pub(crate) const SUBMIT_FOLDER_MODE: u32 = 0o755;

/// Descriptors beside connections and listeners: segments, runs, rings, libraries.
pub(crate) const FILES: u64 = 1024;

/// Places for connections below which a server does not start, unless it is told to have fewer.
pub(crate) const CONNECTIONS_MIN: usize = 1024;

/// Glommio registers this much memory per ring; its buffers are not used, so it is kept small
/// (RLIMIT_MEMLOCK counts it).
pub(crate) const IO_MEMORY_BYTES: usize = 64 * 1024;

/// The tasks that are ready give way to other queues, and to timers and sockets, after this.
pub(crate) const PREEMPT: Duration = Duration::from_millis(1);

/// How often the executor looks after itself while its tasks are busy. Nothing waits for it; a shard that
/// is kept from its core for this long at a wrong moment needs the watchdog.
pub(crate) const UPKEEP: Duration = Duration::from_secs(1);

/// As [`UPKEEP`], until a shard's first task has been polled: what sleeps before that sleeps for ever. No
/// thread is kept from its core for so long.
pub(crate) const START_UPKEEP: Duration = Duration::from_hours(1);

/// Entries that a shard's ring takes at once; more wait for the next turn.
pub(crate) const RING_ENTRIES: u32 = 256;

/// Completions that a shard's ring has room for; the kernel keeps what is over.
pub(crate) const RING_COMPLETIONS: u32 = 4096;

/// Connections accepted on one listener before others get their turn.
pub(crate) const ACCEPT_BATCH: usize = 64;

/// Shares of a shard's time, by queue, when all of them have work.
pub const INTERACTIVE_SHARES: usize = 1000;
/// As [`INTERACTIVE_SHARES`], for deliveries and relaying.
pub(crate) const DELIVERY_SHARES: usize = 500;
/// As [`INTERACTIVE_SHARES`], for compaction, indexing and expiry.
pub(crate) const BACKGROUND_SHARES: usize = 100;

/// How long after a failed checkpoint the next is tried.
pub(crate) const CHECKPOINT_PAUSE: Duration = Duration::from_secs(10);

/// How long a checkpoint waits before it asks again for a place in the blocking pool.
pub(crate) const POOL_PAUSE: Duration = Duration::from_millis(20);

/// How long a thread of the blocking pool waits for more work before it gives its memory back.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(2);

/// How often a stopping shard looks whether its store, or its connections, are done.
pub(crate) const STOP_PAUSE: Duration = Duration::from_millis(5);

/// Jobs of other shards taken from the inbox before its task looks whether others wait.
pub(crate) const INBOX_BATCH: usize = 64;

/// How often the watchdog looks.
pub(crate) const WATCHDOG: Duration = Duration::from_millis(100);

/// Bytes of a request for metrics.
pub(crate) const METRICS_REQUEST_BYTES_MAX: usize = 8 * 1024;

/// How long a scraper may take over its request, the shards over the answer, and the scraper over reading it.
pub(crate) const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the metrics thread waits after an accept that failed, and for a scraper to close its side.
pub(crate) const METRICS_PAUSE: Duration = Duration::from_millis(200);

/// Jobs that wait for the sidecar thread.
pub(crate) const SIDECAR_JOBS_MAX: usize = 1024;

/// The least RLIMIT_MEMLOCK the executors start with, in bytes.
pub(crate) const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Days a certificate that we made for ourselves is valid.
pub(crate) const SELF_SIGNED_DAYS: u64 = 3650;

/// The exit code after which the process is to be started again and recovers (EX_SOFTWARE of
/// sysexits.h).
pub(crate) const FAILED: i32 = 70;

/// How many connections are let in.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// In the whole process.
    pub connections_max: usize,
    /// From one source: an IPv4 address or an IPv6 /64.
    pub per_source_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 100_000, per_source_max: 200 }
    }
}

/// How long a connection to another mail system may take to come about.
pub(crate) const CLIENT_CONNECT: Duration = Duration::from_secs(30);

/// How long it may take to say its first word (RFC 5321 §4.5.3.2.1).
pub(crate) const CLIENT_GREETING: Duration = Duration::from_mins(5);

/// How long it may take to answer a command (RFC 5321 §4.5.3.2.2 to §4.5.3.2.4).
pub(crate) const CLIENT_COMMAND: Duration = Duration::from_mins(5);

/// How long it may take to answer a whole message (RFC 5321 §4.5.3.2.6).
pub(crate) const CLIENT_ACCEPTANCE: Duration = Duration::from_mins(10);

/// How long it may take to close a connection after our last word.
pub(crate) const CLIENT_FAREWELL: Duration = Duration::from_secs(5);

/// What is read at once of another system's replies, in bytes.
pub(crate) const CLIENT_READ_BYTES_MAX: usize = 16 * 1024;

/// How long a Unix socket is left alone when too many wait there to be let in.
pub(crate) const LOCAL_CONNECT_PAUSE: Duration = Duration::from_millis(50);
