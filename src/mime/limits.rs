//! Every bound of this crate, with its unit.

/// Bytes of a message that are looked at; offsets are `u32`. What lies behind is not scanned.
pub const MESSAGE_BYTES_MAX: usize = u32::MAX as usize;

/// Parts of a message. The last one takes all that is left as `application/octet-stream`.
pub const PARTS_MAX: usize = 2000;

/// Parts within parts, the message itself being 1. A multipart or an embedded message at this depth
/// is not opened: it counts as `application/octet-stream`.
pub const DEPTH_MAX: usize = 50;

/// Bytes of a boundary. RFC 2046 §5.1.1 allows 70; a line of RFC 5322 §2.1.1 has room for this.
pub const BOUNDARY_BYTES_MAX: usize = 996;

/// Parameters of one field; more are dropped.
pub const PARAMS_MAX: usize = 64;

/// Language tags of one Content-Language field; more are dropped.
pub(crate) const LANGUAGES_MAX: usize = 32;

/// Addresses (group marks included) of one kind in an envelope, or of one value; more are dropped.
pub const ADDRESSES_MAX: usize = 10_000;

/// Bytes of embedded messages' headers that are read for their envelopes, over a whole message.
/// An embedded message beyond has an empty envelope. An address takes up to 50 times its bytes in
/// memory, which is why this is bounded and not left to the size of the message.
pub(crate) const EMBEDDED_HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of an encoded-word's charset and language (RFC 2047 §2 has 75 for the whole word).
pub(crate) const WORD_CHARSET_BYTES_MAX: usize = 64;

/// Bytes of an encoded-word that is made here (RFC 2047 §2).
pub(crate) const WORD_BYTES_MAX: usize = 75;

/// Bytes of a line of a message, without its line end (RFC 5322 §2.1.1).
pub(crate) const LINE_BYTES_MAX: usize = 998;

/// Bytes of an encoded line, without its line end (RFC 2045 §6.7 rule 5, §6.8).
pub(crate) const ENCODED_LINE_BYTES_MAX: usize = 76;

/// Bytes of a line that is made here, without its line end (RFC 5322 §2.1.1).
pub(crate) const LINE_BYTES_WANTED: usize = 78;

/// Bytes of text that are folded at a time when a needle is looked for.
pub(crate) const SEARCH_CHUNK_BYTES: usize = 4096;
