//! Every bound of an IMAP connection, with its unit and the clause that has a say in it.

use core::time::Duration;

/// What an operator may set; the defaults hold until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line of a command, CRLF included (RFC 7162 §4 asks for 8,192 at least).
    pub line_bytes_max: usize,
    /// Bytes of a literal that is not a message.
    pub literal_bytes_max: usize,
    /// Bytes of a message given to APPEND (RFC 7889 APPENDLIMIT).
    pub append_bytes_max: usize,
    /// Bytes of a whole command, its literals included, that is not APPEND.
    pub command_bytes_max: usize,
    /// Bytes of all messages of one APPEND together (RFC 3502).
    pub append_command_bytes_max: usize,
    /// Bytes of refused literals that one connection may send before it is closed.
    pub discard_bytes_max: u64,
    /// Commands in a row that made no sense before the connection is closed.
    pub bad_commands_max: u32,
    /// Silence after login; 30 minutes at least (RFC 9051 §5.4).
    pub idle_ms_max: u64,
    /// From the connection's start to a login.
    pub preauth_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            literal_bytes_max: 64 * 1024,
            append_bytes_max: 50 * 1024 * 1024,
            command_bytes_max: 256 * 1024,
            append_command_bytes_max: 64 * 1024 * 1024,
            discard_bytes_max: 128 * 1024 * 1024,
            bad_commands_max: 20,
            idle_ms_max: 30 * 60 * 1000,
            preauth_ms_max: 60 * 1000,
        }
    }
}

impl Limits {
    pub(crate) const fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms_max)
    }

    pub(crate) const fn preauth(&self) -> Duration {
        Duration::from_millis(self.preauth_ms_max)
    }
}

/// Times a connection may try to log in; each AUTHENTICATE uses up one nonce of those the session
/// was given.
pub const LOGIN_ATTEMPTS_MAX: usize = 5;
/// Bytes that a session takes from its connection at a time while it has none unused.
pub(crate) const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a command's tag.
pub(crate) const TAG_BYTES_MAX: usize = 256;
/// Parentheses, OR and NOT inside each other in one SEARCH; long chains of OR are common.
pub(crate) const SEARCH_NESTING_MAX: usize = 200;
/// Keys in one SEARCH, all levels together.
pub(crate) const SEARCH_KEYS_MAX: usize = 1_000;
/// From here on a message of an APPEND is kept apart from the command's text, so that it is stored
/// without being copied.
pub(crate) const ATTACHED_BYTES_MIN: u64 = 4 * 1024;
/// Room for a message grows by doubling up to here, in bytes, and by a quarter from here on.
pub(crate) const MESSAGE_DOUBLING_BYTES: usize = 1024 * 1024;
/// Messages in one APPEND (RFC 3502).
pub(crate) const MESSAGES_PER_APPEND_MAX: usize = 500;
/// Parts that one message is put together of (RFC 4469), each of which may be of a whole message.
pub(crate) const PARTS_PER_MESSAGE_MAX: usize = 200;
/// Patterns in one LIST (RFC 5258).
pub(crate) const LIST_PATTERNS_MAX: usize = 20;
/// Rows read from the index at a time by handlers that walk a mailbox.
pub(crate) const ROWS_PER_CHUNK: usize = 512;
/// Bodies up to this size are read whole and their checksum verified; larger ones are streamed.
pub(crate) const WHOLE_BODY_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of a message that are read and sent at a time when it is streamed.
pub(crate) const BODY_PIECE_BYTES: u32 = 64 * 1024;
/// Bytes read first where only a message's header is wanted; four times as many each time they do
/// not reach the header's end.
pub(crate) const HEADER_READ_BYTES: u32 = 16 * 1024;
/// Bytes of a message's header that are looked at; of a longer one this is the header, and what
/// follows counts as body.
pub(crate) const HEADER_BYTES_MAX: u32 = 1024 * 1024;
/// Bytes of messages that a command looks at before others on its thread have their turn.
pub(crate) const TURN_BYTES: usize = 64 * 1024;
/// What looking at one row counts as, in bytes: a turn is about 1,024 rows.
pub(crate) const ROW_COST_BYTES: usize = 64;
/// Keys of one SEARCH that look into messages and not at their rows alone.
pub(crate) const SEARCH_TEXT_KEYS_MAX: usize = 64;
/// Items of one FETCH, each of which may be a whole message.
pub(crate) const FETCH_ITEMS_MAX: usize = 200;
/// Bytes of an IMAP URL: a mailbox's name, two users' and a section, each byte as three.
pub(crate) const URL_BYTES_MAX: usize = 4 * 1024;
/// URLs of one GENURLAUTH or URLFETCH (RFC 4467 §7).
pub(crate) const URLS_MAX: usize = 100;
/// Field names of one HEADER.FIELDS.
pub(crate) const SECTION_FIELDS_MAX: usize = 200;
/// Field names of all sections of one FETCH together.
pub(crate) const FETCH_FIELDS_MAX: usize = 512;
/// `*` and `%` in one pattern of LIST.
pub(crate) const LIST_WILDCARDS_MAX: usize = 10;
/// Bytes of a summary that is stored with a message; a longer one is stored without its structure, or not
/// at all.
pub(crate) const SUMMARY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a header that is summarised when its message is stored.
pub(crate) const SUMMARY_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a message whose structure is found when it is stored: a few milliseconds.
pub(crate) const SUMMARY_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages read at the same time for one FETCH or SEARCH.
pub(crate) const READ_AHEAD_MAX: usize = 16;
/// Bytes of the messages that are read at the same time, unless one alone has more.
pub(crate) const READ_AHEAD_BYTES: u32 = 512 * 1024;
/// Room that the answer about a message needs beside the message's bytes, most often, with what ends the command.
pub(crate) const ANSWER_ROOM_BYTES: usize = 192;
