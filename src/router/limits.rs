//! Every bound of this crate.

/// Jobs that wait in one shard's inbox; above it senders wait.
pub const INBOX_JOBS_MAX: usize = 1024;
