//! Every bound of this folder: its name, its unit, and the clause it comes from.

/// What an operator may set, per listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for the next command, in milliseconds; RFC 1939 §3 asks for ten minutes or more.
    pub idle_ms_max: u64,
    /// Longest time from the start of a connection to its login, in milliseconds, however busy.
    pub login_ms_max: u64,
    /// Commands on one connection that are none or stand in the wrong place; the next one ends it.
    pub bad_commands_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle_ms_max: 10 * 60 * 1000, login_ms_max: 10 * 60 * 1000, bad_commands_max: 20 }
    }
}

/// Times a connection may try to log in; each try uses up one nonce of [`crate::Entropy`].
pub const LOGIN_ATTEMPTS_MAX: usize = 5;

/// A command line with its CRLF, in bytes. RFC 2449 §4 asks for 255; passwords may be longer.
pub(crate) const COMMAND_BYTES_MAX: usize = 2048;

/// A line of an AUTH exchange with its CRLF, in bytes (RFC 5034 §4).
pub(crate) const AUTH_LINE_BYTES_MAX: usize = auth::limits::LINE_BYTES_MAX + 2;

/// Input kept while commands are worked on, in bytes: more than the longest line. It bounds the
/// answers that may gather too: a session's own answer to the shortest command has 400 bytes at most.
pub(crate) const INPUT_BYTES_MAX: usize = 8 * 1024;

/// How much of a message is read, sent and waited for at a time, in bytes.
pub(crate) const PIECE_BYTES: u32 = 64 * 1024;

/// The same for TOP, which mostly wants the header section alone.
pub(crate) const TOP_PIECE_BYTES: u32 = 16 * 1024;

/// Messages taken from the index at a time for LIST.
pub(crate) const LIST_CHUNK: usize = 1024;

/// A line of a server's answer that the client takes, in bytes. RFC 2449 §4 bounds the first line
/// of an answer by 512; lines of messages may be longer.
pub(crate) const CLIENT_LINE_BYTES_MAX: usize = 1024 * 1024;

/// A whole answer that the client takes, in bytes: a large message and its dots.
pub(crate) const CLIENT_ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
