//! Every bound of this crate.

/// Memory of what one shard has counted and not written yet, in bytes.
pub const COUNT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one shard writes of counts on one day, in bytes as they are packed.
pub const STORED_BYTES_A_DAY_MAX: u64 = 256 * 1024 * 1024;

/// Rows of one report that we send.
pub const MERGED_ROWS_MAX: usize = 20_000;

/// Memory of the rows of one domain's report, in bytes.
pub(crate) const MERGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Rows of one piece together, in bytes before they are packed: a value of the store has room for 1 MiB.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;

/// Signatures of one message that are told.
pub(crate) const ROW_SIGNATURES_MAX: usize = 10;

/// A text in a row or in a summary, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 255;

/// What a row takes beside its texts, in bytes.
pub(crate) const ROW_BYTES: usize = 192;

/// Reports of others that are kept; one more takes the place of the oldest.
pub const RECEIVED_KEPT_MAX: u64 = 65_536;

/// The same of those that were posted.
pub const POSTED_KEPT_MAX: u64 = 16_384;

/// One of them, in bytes as it is packed: all together have 2 GiB at most.
pub const POSTED_PACKED_BYTES_MAX: usize = 128 * 1024;

/// What it may unpack to, in bytes.
pub const POSTED_JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A domain that is counted, in bytes: it stands in keys, which have 255. Longer names are nobody's.
pub(crate) const DOMAIN_BYTES_MAX: usize = 200;

/// Rows asked for at once.
pub(crate) const ROWS_PER_LOOK: usize = 1024;

/// Values asked for at once.
pub(crate) const VALUES_PER_LOOK: usize = 16;

/// Sources that a digest tells apart.
pub const DIGEST_SOURCES_MAX: usize = 10_000;
