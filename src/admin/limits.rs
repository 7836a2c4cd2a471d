//! Bounds of the control protocol and of imports.

/// A control request or answer as JSON, in bytes.
pub(crate) const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The bytes of messages that go with a request or an answer.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Messages of one import transaction.
pub(crate) const IMPORT_MESSAGES_MAX: usize = 256;
/// Bytes after which an import transaction is sent without waiting for more messages.
pub(crate) const IMPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of messages in one answer to an export.
pub(crate) const EXPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries of one listing answer.
pub(crate) const LIST_ENTRIES_MAX: usize = 1000;
/// How long a control connection may be idle, in milliseconds.
pub(crate) const CONTROL_IDLE_MS_MAX: i64 = 60 * 60 * 1000;
/// Room that a frame needs beside its message: our header fields, and the rows of all recipients.
pub(crate) const FRAME_ROOM_BYTES: usize = 4 * 1024 * 1024;
