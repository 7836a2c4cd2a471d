//! Every bound of this crate, with its unit.

/// Rules of one kind in a configuration.
pub const RULES_MAX: usize = 10_000;
/// Conditions within conditions (`all`, `any`, `not`).
pub(crate) const CONDITION_DEPTH_MAX: usize = 16;
/// Patterns with `*` or `?` in one list: each is tried, where whole names are looked up.
pub(crate) const GLOBS_MAX: usize = 10_000;
/// Bytes of a pattern that is no network.
pub(crate) const PATTERN_BYTES_MAX: usize = 320;
/// Bytes of one compiled regular expression.
pub(crate) const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the text of an answer to a client. RFC 5321 §4.5.3.1.5 has 512 for the whole line.
pub(crate) const REPLY_TEXT_BYTES_MAX: usize = 400;
/// Bytes of a value that is put into a reply's text.
pub(crate) const REPLY_VALUE_BYTES_MAX: usize = 100;
/// Bytes of a header field's value that a rule writes: one line, even if nothing in it can be folded.
pub(crate) const FIELD_BYTES_MAX: usize = 900;
/// Bytes of a field's name that a rule writes.
pub(crate) const FIELD_NAME_BYTES_MAX: usize = 76;
/// Bytes of one form of a disclaimer, and of a line of it: it is one line of the message.
pub(crate) const DISCLAIMER_LINE_BYTES_MAX: usize = 900;
/// Bytes of one form of a disclaimer.
pub(crate) const DISCLAIMER_BYTES_MAX: usize = 64 * 1024;
/// The longest wait that a rule can order, in milliseconds: RFC 5321 §4.5.3.2 lets clients wait five minutes.
pub const TARPIT_MS_MAX: u32 = 120_000;
/// Decoded text of a message that mail-flow rules look into, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Attachments of a message that mail-flow rules look at.
pub const ATTACHMENTS_MAX: usize = 1000;
/// Addresses of From that mail-flow rules look at.
pub(crate) const FROM_ADDRESSES_MAX: usize = 100;
/// Addresses that one rule adds, redirects to or asks.
pub(crate) const TARGETS_MAX: usize = 50;
/// Ranges of answers that one DNS list names.
pub(crate) const ANSWERS_MAX: usize = 64;

/// Greylisting: triplets that are remembered on a shard; about 100 bytes each.
pub const GREYLIST_TRIPLETS_MAX: usize = 200_000;
/// Greylisting: source networks that have earned trust on a shard.
pub const GREYLIST_SOURCES_MAX: usize = 50_000;
/// Rate limits: buckets of all limits together on a shard.
pub const RATE_BUCKETS_MAX: usize = 200_000;
/// Concurrency: keys with something open at a time on a shard.
pub const CONCURRENT_KEYS_MAX: usize = 100_000;
/// Rate limits: a bucket that is full again sooner than this is not written down, in milliseconds.
pub(crate) const RATE_MS_MIN: i64 = 60_000;
/// The test before the greeting: sources that have passed, on a shard.
pub const PREGREET_SOURCES_MAX: usize = 100_000;
/// Reputation: sources that are remembered on a shard.
pub const REPUTATION_SOURCES_MAX: usize = 200_000;

/// Bytes of a line of text that is made here, without its end (RFC 5322 §2.1.1).
pub(crate) const LINE_BYTES_MAX: usize = 998;
/// Bytes of an encoded line, without its end (RFC 2045 §6.7, §6.8).
pub(crate) const ENCODED_LINE_BYTES_MAX: usize = 76;
