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
/// The first zeroes where none are ahead yet, bytes: the next batch waits for them.
pub(crate) const ZERO_FIRST_BYTES: u32 = 256 << 10;
/// Room is taken from the file system in steps of these bytes where no zeroes went ahead.
pub(crate) const RESERVE_BYTES: u32 = 4 << 20;
/// Batches of more bytes in the mean are written straight into reserved blocks, with no zeroes ahead.
pub(crate) const STRAIGHT_BATCH_BYTES: u32 = 20 << 10;
/// Zeroes go ahead again when batches have fewer bytes in the mean.
pub(crate) const AHEAD_BATCH_BYTES: u32 = 16 << 10;
/// The mean goes back over about this many batches.
pub(crate) const PACE_BATCHES: u32 = 64;
/// A batch of up to these bytes that is written over zeroes is one operation; a larger one is two that are linked.
pub(crate) const DURABLE_WRITE_BYTES_MAX: usize = 128 << 10;
/// The mean time of the way in use goes back over about this many batches.
pub(crate) const WAY_BATCHES: u64 = 32;
/// That of the way that is only tried, over about this many.
pub(crate) const TRIED_WAY_BATCHES: u64 = 2;
/// The way that is not in use is tried with every so many-th batch: fewer than one in a hundred wait for that.
pub(crate) const TRY_BATCHES: u64 = 128;
/// The same while the way in use is slow: what makes it so may have nothing to do with the disk.
pub(crate) const TRY_SLOW_BATCHES: u64 = 8;
/// Slow is a mean time above this, nanoseconds: a tick of the scheduler is 1 to 10 ms, and no flash disk takes as long.
pub(crate) const SLOW_WAY_NANOS: u64 = 1_000_000;
/// A time counts as no more than so many means, so that one that is far out changes nothing.
pub(crate) const WAY_OUTLIER_MEANS: u64 = 12;
/// Most batches in flight while they are written straight.
pub(crate) const STRAIGHT_IN_FLIGHT_MAX: usize = 2;
/// Zeroes of one write, bytes.
pub(crate) const ZERO_WRITE_BYTES: usize = 1 << 20;
/// Most batches in flight.
pub(crate) const IN_FLIGHT_MAX: usize = 64;
/// Most body reads in flight in one ring; further ones wait in order.
pub(crate) const READS_IN_FLIGHT_MAX: usize = 128;
/// Most segments of which the page cache is read in place; the one used longest ago gives way.
pub(crate) const VIEWS_MAX: usize = 16;
/// Pages of which it is asked at a time whether they are in memory: 2 MiB.
pub(crate) const VIEW_WINDOW_PAGES: usize = 512;
/// Meta blocks are read with what is between them when that is no more than this, bytes.
pub(crate) const SPAN_GAP_BYTES_MAX: usize = 32 << 10;
/// Longest read of several meta blocks, bytes.
pub(crate) const SPAN_BYTES_MAX: usize = 512 << 10;
/// Reads of meta blocks in flight for one question: so many, and no further one above these bytes.
pub(crate) const SPANS_MAX: usize = 64;
/// See [`SPANS_MAX`].
pub(crate) const SPANS_BYTES_MAX: usize = 4 << 20;
/// One read of a file that is read forward, bytes.
pub(crate) const AHEAD_BYTES: usize = 512 << 10;
/// Such reads under way at a time: 4 MiB.
pub(crate) const AHEAD_READS: usize = 8;
/// Meta blocks kept in memory lie in so many pieces, of which the oldest goes as a whole.
pub(crate) const RECENT_CHUNKS: usize = 40;
/// What finding one of them takes, bytes.
pub(crate) const RECENT_PLACE_BYTES: usize = 16;
/// Most segment files kept open for reading in one shard.
pub(crate) const READ_FILES_MAX: usize = 128;
/// A checkpoint is due when a replay would read more of the journal than this, bytes.
pub(crate) const REPLAY_BYTES_MAX: u64 = 128 << 20;
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
