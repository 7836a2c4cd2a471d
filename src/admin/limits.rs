//! Bounds of the control protocol and of imports.

/// A control request or answer as JSON, in bytes.
pub(crate) const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The bytes of messages that go with a request or an answer.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Messages of one import transaction.
pub(crate) const IMPORT_MESSAGES_MAX: usize = 256;
/// Bytes after which an import transaction is sent without waiting for more messages.
pub(crate) const IMPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of messages in one answer to an export.
pub(crate) const EXPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries of one listing answer.
pub(crate) const LIST_ENTRIES_MAX: usize = 1000;
/// How long a control connection may be idle, in milliseconds.
pub(crate) const CONTROL_IDLE_MS_MAX: i64 = 60 * 60 * 1000;
/// A message that one request can carry, in bytes; an import leaves larger ones out unread.
pub(crate) const IMPORT_MESSAGE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Bytes at the front of an mbox by which an import knows it again.
pub(crate) const IMPORT_MARK_BYTES: u64 = 4096;
/// Keywords that a Maildir has letters for: a to z.
pub(crate) const MAILDIR_KEYWORDS_MAX: usize = 26;
/// Recipients of one message that a server must take (RFC 5321 §4.5.3.1.8).
pub(crate) const RECIPIENTS_MIN: usize = 100;
/// A message content of this size must be taken (RFC 5321 §4.5.3.1.7), in bytes; and a SIZE of 0 would say that there is
/// no limit (RFC 1870 §4).
pub(crate) const MESSAGE_BYTES_MIN: usize = 64 * 1024;
/// The least fresh index a shard works with, in bytes: less, and it would write runs all the time.
pub(crate) const FRESH_BYTES_MIN: usize = 64 * 1024;
/// The engine's bounds of a segment, in bytes; a test compares them.
pub(crate) const SEGMENT_BYTES_MIN: u32 = 64 * 1024;
/// As [`SEGMENT_BYTES_MIN`].
pub(crate) const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;
/// A segment is a multiple of this, in bytes.
pub(crate) const SEGMENT_BYTES_UNIT: u32 = 4096;
/// What messages that are coming in may hold on each shard unless it is set, in bytes.
pub(crate) const CONTENT_BYTES_DEFAULT: usize = 256 * 1024 * 1024;
/// Room that a frame needs beside its message: our header fields, and the rows of all recipients.
pub(crate) const FRAME_ROOM_BYTES: usize = 4 * 1024 * 1024;
/// Descriptors beside connections and listeners that the server keeps for its store.
pub(crate) const DESCRIPTORS_BESIDE: u64 = 1100;
/// From this many physical cores on, one of them is better left to interrupts and helpers.
pub(crate) const HELPER_CORE_FROM: usize = 4;
/// What a listener asks of the kernel: connections that wait to be accepted.
pub(crate) const LISTEN_BACKLOG: i64 = 1024;
/// Memory that must be lockable at least, in bytes.
pub(crate) const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Memory that a shard locks when all its buffers are registered, in bytes.
pub(crate) const LOCKED_BYTES_A_SHARD: u64 = 6 * 1024 * 1024;
/// Memory of a shard beside contents and fresh index: buffers, caches, connections; in bytes.
pub(crate) const SHARD_BYTES_BESIDE: u64 = 96 * 1024 * 1024;
/// Ports that connections to other servers should have.
pub(crate) const PORT_RANGE_MIN: i64 = 20_000;
/// Percent of its time that a virtual machine may lose to others before it is worth a word.
pub(crate) const STOLEN_PERCENT_MAX: f64 = 1.0;
/// Ticks a second below which helpers that share a core wait long.
pub(crate) const TICKS_MIN: u32 = 1000;
/// Slow operations that each shard's flight recorder can be told to keep; one takes 64 bytes.
pub(crate) const SLOW_OPERATIONS_MAX: usize = 65_536;
/// Seconds between two looks of `top`, at least.
pub(crate) const TOP_INTERVAL_S_MIN: f64 = 0.1;
/// As [`TOP_INTERVAL_S_MIN`], at most.
pub(crate) const TOP_INTERVAL_S_MAX: f64 = 3600.0;
/// Lines of the terminal that `top` keeps for details; the table of shards gets the rest.
pub(crate) const TOP_DETAIL_LINES: u16 = 13;

/// Values of Postfix within values within values: it gives up at 100 itself.
pub(crate) const POSTFIX_DEPTH_MAX: usize = 100;
/// Names that one value of Postfix is expanded through: what needs more is cut, as it grows without end.
pub(crate) const POSTFIX_NAMES_MAX: usize = 10_000;
/// A table or list of Postfix that is read, in bytes.
pub(crate) const POSTFIX_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Characters of the name of a rule or list that is made of Postfix's words.
pub(crate) const POSTFIX_RULE_NAME_CHARS_MAX: usize = 60;
/// Characters of a Postfix value that a comment repeats.
pub(crate) const POSTFIX_SHOWN_CHARS_MAX: usize = 200;

/// Messages of the queue, or stories of messages, in one answer.
pub(crate) const QUEUE_LIST_MAX: usize = 10_000;
/// Reports in one answer.
pub(crate) const REPORT_LIST_MAX: usize = 10_000;
/// Failure reports an hour to one domain, from each shard, unless it is set.
pub(crate) const REPORT_FAILURES_DEFAULT: u32 = 10;
/// TLS reports that are posted in an hour from one network, unless it is set.
pub(crate) const REPORT_POSTS_DEFAULT: u32 = 600;
/// Days for which reports may be kept.
pub(crate) const REPORT_DAYS_MAX: u64 = 3650;

/// A filter's name, in bytes.
pub(crate) const FILTER_NAME_BYTES_MAX: usize = 64;
/// Seconds that a filter may be given for a message: its client waits ten minutes for an answer (RFC 5321 §4.5.3.2.6).
pub(crate) const FILTER_TIMEOUT_S_MAX: u64 = 540;
/// Seconds that a filter has for a message unless it is set.
pub(crate) const FILTER_TIMEOUT_S_DEFAULT: u64 = 120;
/// Seconds until a filter can be talked to unless it is set.
pub(crate) const FILTER_CONNECT_S_DEFAULT: u64 = 5;
/// Messages that one shard asks a filter about at the same time unless it is set.
pub(crate) const FILTER_CONNECTIONS_DEFAULT: usize = 16;
/// The largest message for clamd unless it is set, in bytes: its own usual bound of a stream.
pub(crate) const CLAMD_BYTES_DEFAULT: usize = 25 * 1024 * 1024;

/// Hours for which a message may be held at the sender's wish: ten years. RFC 4865 §3 has nine digits for the seconds.
pub(crate) const HOLD_HOURS_MAX: u64 = 10 * 365 * 24;
/// How long a local program may be silent while it hands mail in, in milliseconds.
pub(crate) const SUBMIT_IDLE_MS_MAX: i64 = 60 * 1000;
/// The largest message that the sendmail command reads, in bytes; the server has its own bound.
pub(crate) const SENDMAIL_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX as u64;
