//! Every bound of this folder, with its unit. What a filter sends is as little trusted as what a client sends.

/// A packet that a milter may send, in bytes after its length. libmilter's are 64 KiB at most; filters that
/// do not use it have been seen to send a whole new body at once.
pub(crate) const MILTER_PACKET_BYTES_MAX: usize = 1024 * 1024;

/// What one of our packets may hold, in bytes after its command letter: libmilter drops the connection over more.
pub(crate) const MILTER_DATA_BYTES_MAX: usize = 65_535;

/// Macros that a milter may ask for at one stage: Sendmail's own bound.
pub(crate) const MILTER_SYMBOLS_MAX: usize = 50;

/// A macro's value, in bytes; longer ones are cut.
pub(crate) const MILTER_MACRO_BYTES_MAX: usize = 1024;

/// Changes that a filter may ask for in one message.
pub(crate) const MODIFICATIONS_MAX: usize = 1000;

/// All header fields, addresses and reasons of one message's changes together, in bytes.
pub(crate) const MODIFICATION_BYTES_MAX: usize = 1024 * 1024;

/// A header field's name, in bytes: what fits a line of RFC 5322 §2.1.1 with its colon.
pub(crate) const FIELD_NAME_BYTES_MAX: usize = 997;

/// An address that a filter gives, in bytes: a path of RFC 5321 §4.5.3.1.3, and room for SMTPUTF8.
pub(crate) const ADDRESS_BYTES_MAX: usize = 512;

/// Parameters that a filter gives with an address, in bytes.
pub(crate) const PARAMETERS_BYTES_MAX: usize = 1024;

/// Lines of a reply that a filter words: libmilter's own bound.
pub(crate) const REPLY_LINES_MAX: usize = 32;

/// Header fields that are told apart in one message when it is changed. What comes after them is kept as it is: a
/// message that is all fields would otherwise take many times its size.
pub(crate) const FIELDS_MAX: usize = 10_000;

/// Names and values of header fields that an HTTP hook is told, in bytes; the rest is left out.
pub(crate) const HOOK_FIELD_BYTES_MAX: usize = 1024 * 1024;

/// A reply line's text, in bytes: 512 (RFC 5321 §4.5.3.1.5) without both codes, their separators and CRLF.
pub(crate) const REPLY_TEXT_BYTES_MAX: usize = 490;

/// Why a message is held, in bytes; longer reasons are cut.
pub(crate) const REASON_BYTES_MAX: usize = 512;

/// Output made at once, in bytes: more is made when it has been written.
pub(crate) const OUTPUT_BYTES: usize = 64 * 1024;

/// The status line and header fields of an HTTP answer, in bytes.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of an HTTP answer.
pub(crate) const HTTP_FIELDS_MAX: usize = 64;

/// A chunk's size line or a trailer field, in bytes.
pub(crate) const HTTP_LINE_BYTES_MAX: usize = 1024;

/// Trailer fields after a chunked body, in bytes together.
pub(crate) const HTTP_TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Interim answers (100, 103) before the real one.
pub(crate) const HTTP_INTERIM_MAX: u32 = 8;

/// A value that we put into a request's header field, in bytes; longer ones are cut.
pub(crate) const HTTP_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Symbols of an rspamd answer that are kept; it can have many hundreds.
pub(crate) const RSPAMD_SYMBOLS_MAX: usize = 1000;

/// An answer of clamd, in bytes: a signature's name and a few words.
pub(crate) const CLAMD_ANSWER_BYTES_MAX: usize = 4096;

/// The most points that a hook may give or take at a stage.
pub(crate) const HOOK_POINTS_MAX: f64 = 1000.0;
