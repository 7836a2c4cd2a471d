//! Every bound of this crate.

use std::time::Duration;

/// Connections that may be between connect and ready at a time unless told: more would measure the backlog.
pub(crate) const OPENING_MAX: usize = 64;

/// How often a connection is tried before operations begin, where it is refused or not answered.
pub(crate) const CONNECT_TRIES: u32 = 10;

/// The pause before a connection is tried again.
pub(crate) const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// An EXISTS that is not there so long after the delivery's `250` is late: the client renews its IDLE.
pub(crate) const NOTIFY_LATE: Duration = Duration::from_secs(2);

/// No answer to anything for this long fails the run.
pub(crate) const STALL: Duration = Duration::from_mins(1);

/// The longest wait of an event loop; also how soon a stall is seen.
pub(crate) const TURN: Duration = Duration::from_millis(100);

/// How long connections are given to say goodbye before they are dropped.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);

/// How long acknowledged messages may take to show up in their mailboxes, or one more of them where the
/// server is given time.
pub(crate) const HELD: Duration = Duration::from_mins(1);

/// The pause between two counts of the mailboxes.
pub(crate) const HELD_POLL: Duration = Duration::from_millis(20);

/// A server is at rest when so many looks at its memory, one each [`REST_STEP`], agree: three seconds.
pub(crate) const REST_LOOKS: usize = 7;
/// See [`REST_LOOKS`].
pub(crate) const REST_STEP: Duration = Duration::from_millis(500);

/// The server is waited for no longer than so many looks: half a minute.
pub(crate) const REST_LOOKS_MAX: usize = 60;

/// Two readings of a server's memory that differ by no more than this, in KiB, are the same.
pub(crate) const MEMORY_NOISE_KIB: u64 = 128;

/// Submission queue entries of a ring.
pub(crate) const RING_ENTRIES: u32 = 4096;

/// Receive buffers of a ring: a power of two, and the bytes of each.
pub(crate) const BUFFERS: u16 = 256;
/// See [`BUFFERS`].
pub(crate) const BUFFER_BYTES: usize = 32 * 1024;

/// Connections from one source address on loopback, so that ports and a server's limit suffice.
pub(crate) const CONNECTIONS_A_SOURCE: usize = 100;

/// Where each operation opens a connection, source addresses are as for so many connections.
pub(crate) const OPENING_SPREAD: usize = 32 * CONNECTIONS_A_SOURCE;

/// Longest response line or literal a server may send, in bytes.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest latency that is told apart, in nanoseconds.
pub(crate) const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Messages in one APPEND where the server takes several (RFC 3502).
pub(crate) const APPEND_BATCH: usize = 32;

/// The smallest message: its header fields must fit.
pub(crate) const MESSAGE_BYTES_MIN: usize = 512;

/// The block of a direct write, in bytes.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Bytes of the file that direct writes go round in.
pub(crate) const RAW_FILE_BYTES: usize = 64 * 1024 * 1024;

/// One step of a run's throughput over time.
pub(crate) const SERIES_STEP: Duration = Duration::from_millis(100);

/// Connections that a server of ours has on one thread; further ones are closed.
pub(crate) const SERVED_MAX: usize = 16 * 1024;

/// Connections that wait to be accepted by a server of ours.
pub(crate) const BACKLOG: i32 = 4096;

/// Longest command line that the sink takes, in bytes.
pub(crate) const SINK_LINE_BYTES_MAX: usize = 4096;

/// Of so many relayed messages one is compared byte for byte.
pub(crate) const RELAY_SAMPLE: u64 = 16;

/// How often relayed messages are looked for, and how long after the last one further copies are.
pub(crate) const RELAY_POLL: Duration = Duration::from_millis(1);
/// See [`RELAY_POLL`].
pub(crate) const RELAY_REST: Duration = Duration::from_millis(300);

/// The pause before a server that is starting is asked again.
pub(crate) const CONNECT_AGAIN: Duration = Duration::from_micros(200);

/// How long a server that was started for the first time may refuse logins.
pub(crate) const FIRST_LOGIN: Duration = Duration::from_secs(20);

/// How long a server may take to end after SIGTERM.
pub(crate) const END_BY_ITSELF: Duration = Duration::from_secs(30);
