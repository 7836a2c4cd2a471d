//! Every bound of this folder: its name, its unit, and the clause it comes from.

/// What an operator may set, per listener. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Content of one message, in bytes, without the header fields we add (RFC 1870 §3).
    pub message_bytes_max: usize,
    /// Recipients of one message; at least 100 (RFC 5321 §4.5.3.1.8). Told as RCPTMAX (RFC 9422 §4.2).
    pub recipients_max: usize,
    /// Messages on one connection, told as MAILMAX (RFC 9422 §4.1).
    pub transactions_max: u32,
    /// Messages in any one minute on one connection. Trusted peers are exempt.
    pub messages_per_minute_max: u32,
    /// Commands refused for good (5yz) between two stored messages; the next one ends the connection.
    /// Refused recipients and refused content count elsewhere.
    pub bad_commands_max: u32,
    /// Refused recipients on one connection; the next one ends it. Trusted peers are exempt.
    pub bad_recipients_max: u32,
    /// Commands that move no mail (NOOP, RSET, VRFY, HELP, HELO, EHLO) between two messages.
    pub idle_commands_max: u32,
    /// Longest time for which a message may be asked to be held, in seconds (RFC 4865 §3); 0 offers no FUTURERELEASE.
    pub hold_s_max: u32,
    /// Longest wait for the next bytes; RFC 5321 §4.5.3.2.7 asks for five minutes or more.
    pub idle_ms_max: i64,
    /// Longest time the content of one message may take, however steadily it drips.
    pub message_ms_max: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 50 * 1024 * 1024,
            recipients_max: 1000,
            transactions_max: 100_000,
            messages_per_minute_max: 60_000,
            bad_commands_max: 20,
            bad_recipients_max: 100,
            idle_commands_max: 100,
            hold_s_max: 30 * 24 * 3600,
            idle_ms_max: 5 * 60 * 1000,
            message_ms_max: 60 * 60 * 1000,
        }
    }
}

/// Times a connection may try AUTH; each try uses up one nonce of [`crate::Entropy`].
pub const AUTH_ATTEMPTS_MAX: usize = 5;

/// A command line with its CRLF. RFC 5321 §4.5.3.1.4 says 512; the extensions offered here add 26 for SIZE
/// (RFC 1870 §3), 10 for SMTPUTF8 (RFC 6531 §3.4), 100 + 8 for ENVID and RET and 500 + 28 for ORCPT and
/// NOTIFY (RFC 3461 §5.4), 500 for AUTH (RFC 4954 §5), and fewer than 100 together for REQUIRETLS, MT-PRIORITY,
/// HOLDUNTIL and BY.
pub(crate) const COMMAND_BYTES_MAX: usize = 2048;

/// An AUTH command or one of its answers, with its CRLF (RFC 4954 §4).
pub(crate) const AUTH_LINE_BYTES_MAX: usize = 12_288;

/// A BURL command with its CRLF: a URL has a mailbox's name, two users' and a proof, each byte as three.
pub(crate) const BURL_LINE_BYTES_MAX: usize = 4096;

/// How much of a line beyond its limit is dropped unread before the connection is ended, in bytes.
pub(crate) const OVERLONG_BYTES_MAX: usize = 1024 * 1024;

/// Input kept while commands are being worked on, in bytes: more than the longest line.
pub(crate) const INPUT_BYTES_MAX: usize = 16 * 1024;

/// Input taken at once while content is streaming, in bytes; it goes straight to the message.
pub(crate) const BODY_INPUT_BYTES_MAX: usize = 64 * 1024;

/// A chunk that will be read, to the message or to nowhere, in bytes; a larger one ends the connection.
pub(crate) const CHUNK_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Room made for content at its start, in bytes, however large the SIZE that was promised.
pub(crate) const CONTENT_START_BYTES: usize = 16 * 1024;

/// Room for content grows by doubling up to here, in bytes, and by a quarter from here on.
pub(crate) const CONTENT_DOUBLING_BYTES: usize = 1024 * 1024;

/// Header section of a message, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Received fields in a message, after which it goes in circles. Deviates from RFC 5321 §6.3, which thinks of
/// 100: real paths are shorter than half of this, and a loop is the cheaper the sooner it is cut.
pub(crate) const RECEIVED_FIELDS_MAX: usize = 50;

/// The argument of HELO, EHLO or LHLO, in bytes (RFC 5321 §4.5.3.1.2).
pub(crate) const HELO_BYTES_MAX: usize = 255;

/// A local part in bytes. RFC 5321 §4.5.3.1.1 says 64, and that what can be taken without limit should be:
/// bounce addresses of large senders are longer.
pub(crate) const LOCAL_PART_BYTES_MAX: usize = 255;

/// A domain in bytes (RFC 5321 §4.5.3.1.2).
pub(crate) const DOMAIN_BYTES_MAX: usize = 255;

/// The lowest priority of a message (RFC 6710 §4).
pub(crate) const PRIORITY_MIN: i8 = -9;

/// The highest.
pub(crate) const PRIORITY_MAX: i8 = 9;

/// The shortest time in which a message can be asked to be there or to be returned, in seconds, told with DELIVERBY
/// (RFC 2852): one attempt may take so long.
pub(crate) const DELIVER_BY_S_MIN: i64 = 60;

/// ENVID, in decoded bytes (RFC 3461 §4.4).
pub(crate) const ENVID_BYTES_MAX: usize = 100;

/// ORCPT, in encoded bytes (RFC 3461 §4.2).
pub(crate) const ORCPT_BYTES_MAX: usize = 500;

/// One line of a server's reply that the client takes, in bytes (RFC 5321 §4.5.3.1.5 says 512).
pub(crate) const REPLY_LINE_BYTES_MAX: usize = 16 * 1024;

/// Lines of one reply that the client keeps.
pub(crate) const REPLY_LINES_MAX: usize = 256;

/// A message that the client sends as one chunk right behind its recipients, in bytes.
pub(crate) const CLIENT_CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Content that the client writes in one piece, in bytes.
pub(crate) const CLIENT_PIECE_BYTES: usize = 256 * 1024;

/// The text of a refusal in an operator's or a filter's words, in bytes: a line of a reply has 512 (RFC 5321 §4.5.3.1.5).
pub(crate) const REFUSED_TEXT_BYTES_MAX: usize = 490;
