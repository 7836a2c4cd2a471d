//! Bounds and fixed choices of the queue.

/// The account that a partition's queue is. No person's account has this number: the directory counts up from 1.
pub const QUEUE_ACCOUNT: u64 = u64::MAX;

/// The collection of entries that wait.
pub(crate) const WAITING: u32 = 1;

/// The collection of traces of entries that have gone.
pub(crate) const TRACES: u32 = 2;

/// Traces kept in one partition; a newer one takes the place of the oldest.
pub const TRACES_PER_PARTITION: u32 = 16_384;

/// Attempts kept with an entry; between the first and the latest ones the others are only counted.
pub const ATTEMPTS_KEPT_MAX: usize = 16;

/// What is kept of a server's reply, in bytes.
pub const REPLY_BYTES_MAX: usize = 512;

/// Destinations that an operator may have stopped at a time.
pub const SUSPENDED_MAX: usize = 1000;

/// The longest name of one, in bytes: a domain's, and a route's.
pub(crate) const SUSPENDED_NAME_BYTES_MAX: usize = 1024;

/// Rows asked for at once when the schedule is rebuilt.
pub(crate) const ROWS_PER_LOOK: usize = 4096;

/// Lanes that are kept though they are empty, so that a busy destination keeps its window.
pub(crate) const LANES_KEPT_MAX: usize = 10_000;
