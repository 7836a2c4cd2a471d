//! Counters of one shard's store.

/// A copy of the counters; sums since the engine was opened, except where "now" is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions acknowledged.
    pub commits: u64,
    /// Batches written and flushed.
    pub batches: u64,
    /// Bytes written to the journal, padding included.
    pub bytes_written: u64,
    /// Flushes of the journal.
    pub flushes: u64,
    /// Body and meta reads.
    pub reads: u64,
    /// Bytes those reads brought.
    pub bytes_read: u64,
    /// Sum of transactions over batches (for the mean batch size).
    pub batch_commits_sum: u64,
    /// Largest batch, transactions.
    pub batch_commits_max: u64,
    /// Sum of turns a batch was under way (for the mean; the engine has no clock).
    pub batch_turns_sum: u64,
    /// Checkpoints installed.
    pub checkpoints: u64,
    /// Bytes of the fresh and frozen parts, now.
    pub fresh_bytes: u64,
    /// Runs, now.
    pub runs: u64,
    /// Bytes of runs, now.
    pub run_bytes: u64,
    /// The number of the segment being written, now.
    pub segment: u32,
    /// Transactions proposed and not yet durable, now.
    pub pending: u64,
}
