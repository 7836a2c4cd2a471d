//! What a server offers (RFC 5321 §4.1.1.1).

use super::wire::ServerReply;
use crate::limits::CLIENT_CHUNK_BYTES_MAX;

/// The extensions that matter to whoever sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of its own")]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870); the most it takes in bytes, `None` when it does not say.
    pub size: Option<Option<u64>>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// MT-PRIORITY (RFC 6710).
    pub priority: bool,
    /// DELIVERBY (RFC 2852); the least time for what is to be returned, in seconds.
    pub deliver_by_s_min: Option<i64>,
    /// AUTH with PLAIN (RFC 4954, RFC 4616).
    pub auth_plain: bool,
    /// RCPTMAX of LIMITS (RFC 9422 §4.2): recipients of one message.
    pub recipients_max: Option<usize>,
    /// MAILMAX of LIMITS (RFC 9422 §4.1): messages on one connection.
    pub mails_max: Option<usize>,
}

impl Extensions {
    /// Whether binary content of that size can be sent as it is: this client sends one chunk, with all commands at once.
    pub fn takes_binary(&self, bytes: usize) -> bool {
        self.binary_mime && self.chunking && self.pipelining && bytes <= CLIENT_CHUNK_BYTES_MAX
    }

    pub(super) fn of(reply: &ServerReply) -> Self {
        let has = |keyword: &str| reply.extension(keyword).is_some();
        let limit = |name: &str| {
            let words = reply.extension("LIMITS")?.split(' ');
            words
                .filter_map(|word| word.split_once('='))
                .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.parse().ok()).flatten())
        };
        // RFC 1870 §3: nothing or 0 is no promise.
        let size = |value: &str| value.trim().parse().ok().filter(|size| *size > 0);
        Self {
            pipelining: has("PIPELINING"),
            size: reply.extension("SIZE").map(size),
            eight_bit_mime: has("8BITMIME"),
            smtputf8: has("SMTPUTF8"),
            dsn: has("DSN"),
            chunking: has("CHUNKING"),
            binary_mime: has("BINARYMIME"),
            starttls: has("STARTTLS"),
            requiretls: has("REQUIRETLS"),
            priority: has("MT-PRIORITY"),
            deliver_by_s_min: reply.extension("DELIVERBY").map(|least| least.trim().parse().unwrap_or(0)),
            auth_plain: reply
                .extension("AUTH")
                .is_some_and(|names| names.split(' ').any(|name| name.eq_ignore_ascii_case("PLAIN"))),
            recipients_max: limit("RCPTMAX"),
            mails_max: limit("MAILMAX"),
        }
    }
}
