//! Every bound of this crate, with its unit and the clause it comes from.

/// A word of a field that is written here, in bytes. A longer one is cut in two, so that with the field's name
/// it still fits into the 998 of a line (RFC 5322 §2.1.1).
pub(crate) const WORD_BYTES_MAX: usize = 900;

/// Columns of the text for people; what a value makes longer is wrapped. Quoted-printable leaves such lines whole.
pub(crate) const TEXT_COLUMNS_MAX: usize = 72;

/// What is given back of a remote server's answer, in bytes.
pub(crate) const RESPONSE_BYTES_MAX: usize = 1000;

/// An address or identifier that is written, in characters; longer than any that SMTP carries.
pub(crate) const PRINTABLE_CHARACTERS_MAX: usize = 1000;

/// What is given back of the original Subject, in bytes.
pub(crate) const SUBJECT_BYTES_MAX: usize = 160;

/// Header section of the original message that is given back, in bytes; cut between two fields.
pub const RETURNED_HEADER_BYTES_MAX: usize = 64 * 1024;

/// Original message that is given back in full unless the caller says otherwise, in bytes.
pub const RETURNED_BYTES_DEFAULT: usize = 1024 * 1024;

/// A file of templates, in bytes.
pub const TEMPLATES_BYTES_MAX: usize = 256 * 1024;

/// Recipients of one incoming report that are kept; more are dropped and [`crate::DeliveryReport::is_cut`] says so.
pub const REPORTED_RECIPIENTS_MAX: usize = 1000;

/// Values of one repeatable field of a feedback report that are kept.
pub(crate) const REPEATED_FIELDS_MAX: usize = 100;

/// A value that is kept of an incoming report, in bytes; the rest of it is dropped.
pub(crate) const VALUE_BYTES_MAX: usize = 2000;

/// A machine-readable part of an incoming report that is read, in bytes after decoding.
pub(crate) const REPORT_PART_BYTES_MAX: usize = 1024 * 1024;

/// Parts of an incoming message in which a report is looked for.
pub(crate) const PARTS_SEARCHED_MAX: usize = 50;

/// A local part that is made here, in bytes (RFC 5321 §4.5.3.1.1).
pub(crate) const LOCAL_PART_BYTES_MAX: usize = 64;

/// A path without its brackets that is made here, in bytes (RFC 5321 §4.5.3.1.3 has 256 with them).
pub(crate) const ADDRESS_BYTES_MAX: usize = 254;

/// Characters of the keyed hash in an address by which moderators decide: 80 bits.
pub(crate) const TOKEN_HASH_CHARS: usize = 20;

/// Recipients of a message that a moderator is shown.
pub(crate) const MODERATED_RECIPIENTS_MAX: usize = 50;

/// Bytes of a line of a stranger's text that a moderator is shown.
pub(crate) const MODERATED_LINE_BYTES_MAX: usize = 300;
