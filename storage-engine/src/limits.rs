//! Every bound of the engine, with its unit.

/// Bytes of a row that belong to the caller.
pub const ROW_DATA_BYTES: usize = 40;
/// Longest key of a value, bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest value, bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most partitions of a store.
pub(crate) const PARTITIONS_MAX: u16 = 1024;
/// Most shards of a store.
pub(crate) const SHARDS_MAX: u16 = 1024;
/// Smallest segment, bytes.
pub(crate) const SEGMENT_BYTES_MIN: u32 = 64 << 10;
/// Largest segment, bytes: an offset and a length fit 32 bits with room to spare.
pub(crate) const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// The unit of direct writes, bytes; batches start and end at multiples of it.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Zeroes are written this far ahead of the write position, bytes.
pub(crate) const ZERO_AHEAD_BYTES: u32 = 4 << 20;
/// Room is taken from the file system in steps of these bytes where no zeroes went ahead.
pub(crate) const RESERVE_BYTES: u32 = 1 << 20;
/// Zeroes of one write, bytes.
pub(crate) const ZERO_WRITE_BYTES: usize = 1 << 20;
/// Most batches in flight.
pub(crate) const IN_FLIGHT_MAX: usize = 64;
/// Most body reads in flight in one ring; further ones wait in order.
pub(crate) const READS_IN_FLIGHT_MAX: usize = 128;
/// Most segment files kept open for reading in one shard.
pub(crate) const READ_FILES_MAX: usize = 128;
/// A checkpoint is due when a replay would read more of the journal than this, bytes.
pub(crate) const REPLAY_BYTES_MAX: u64 = 512 << 20;
/// Runs of one partition after a checkpoint, at most.
pub(crate) const RUNS_MAX: usize = 6;
/// A run up to this many times as large as what is merged so far joins a merge.
pub(crate) const MERGE_FACTOR: u64 = 3;
/// Bytes of a run covered by one checksum.
pub(crate) const RUN_BLOCK_BYTES: usize = 64 << 10;
/// Largest run whose pages are brought in when it is opened, bytes.
pub(crate) const POPULATE_BYTES_MAX: usize = 16 << 20;
/// Runs whose pages one opening of a shard brings in, bytes in all.
pub(crate) const POPULATE_OPENING_BYTES_MAX: usize = 64 << 20;
/// Pages brought in by one call, bytes.
pub(crate) const POPULATE_STEP_BYTES: usize = 1 << 20;
/// Rounds of submitting and reaping in one turn, so that a turn ends however fast the disk is.
pub(crate) const TURN_ROUNDS_MAX: usize = 64;
/// Largest limit of a batch, bytes.
pub(crate) const BATCH_BYTES_MAX: usize = 64 << 20;
/// Bodies a check reads between two reports of its progress.
pub(crate) const BODIES_A_STEP: usize = 256;
