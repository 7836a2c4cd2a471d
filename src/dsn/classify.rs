//! What a refusal is about, for the retry policy and for statistics.
//!
//! Two tables, read from the top: enhanced status codes first, since servers that send them mean them; then, for
//! what these leave open, reply codes and words of the answer. When in doubt the answer is
//! [`Bounce::Unknown`]: a wrong class would suppress a good address.

use crate::limits::RESPONSE_BYTES_MAX;
use crate::status::{Status, reply_code};

/// What a refusal or failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bounce {
    /// There is no such mailbox, or it is switched off.
    BadMailbox,
    /// There is no such domain, or it takes no mail.
    BadDomain,
    /// The mailbox is over its quota.
    MailboxFull,
    /// The message is larger than the other side takes.
    TooLarge,
    /// Refused for what it looks like or where it comes from: spam, block lists, local rules.
    Policy,
    /// SPF, DKIM, DMARC, ARC or the reverse name did not pass, or a login failed.
    Authentication,
    /// Too much, too fast: greylisting, rate limits, "try later".
    RateLimited,
    /// Encryption could not be had or is wanted.
    Tls,
    /// Connections, name servers, timeouts.
    Network,
    /// The message goes in circles.
    RoutingLoop,
    /// The content is malformed or of a kind that is not taken.
    Content,
    /// The other server has a problem of its own: full disk, wrong set-up.
    System,
    /// Nothing that these tables know.
    Unknown,
}

impl Bounce {
    /// Every class, in the order of the type: for counters.
    pub const ALL: [Self; 13] = [
        Self::BadMailbox,
        Self::BadDomain,
        Self::MailboxFull,
        Self::TooLarge,
        Self::Policy,
        Self::Authentication,
        Self::RateLimited,
        Self::Tls,
        Self::Network,
        Self::RoutingLoop,
        Self::Content,
        Self::System,
        Self::Unknown,
    ];

    /// Its name in metrics, logs and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMailbox => "bad-mailbox",
            Self::BadDomain => "bad-domain",
            Self::MailboxFull => "mailbox-full",
            Self::TooLarge => "too-large",
            Self::Policy => "policy",
            Self::Authentication => "authentication",
            Self::RateLimited => "rate-limited",
            Self::Tls => "tls",
            Self::Network => "network",
            Self::RoutingLoop => "routing-loop",
            Self::Content => "content",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the fault lies in this recipient's address, so that other recipients there are not concerned.
    pub fn is_about_recipient(self) -> bool {
        matches!(self, Self::BadMailbox | Self::MailboxFull)
    }
}

/// The class of a failure: by its enhanced status code, else by the reply code and the words of the answer.
///
/// `status` is what was parsed apart, if it was; one at the front of `response` counts otherwise.
pub fn classify(status: Option<Status>, response: &str) -> Bounce {
    let status = status.or_else(|| Status::of_response(response));
    let by_code = status.and_then(by_status);
    let is_certain = by_code.is_some_and(|(_, certainty)| certainty == Certainty::Certain);
    if let Some((class, _)) = by_code.filter(|_| is_certain) {
        return class;
    }
    let end = response.floor_char_boundary(RESPONSE_BYTES_MAX);
    let words = response.get(..end).unwrap_or_default().to_ascii_lowercase();
    by_words(&words)
        .or(by_code.map(|(class, _)| class))
        .or_else(|| reply_code(response).and_then(by_reply))
        .unwrap_or(Bounce::Unknown)
}

/// Whether words of the answer may say it better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    Certain,
    /// Servers use this code for everything; it counts when the words say nothing.
    Vague,
}

fn by_status(status: Status) -> Option<(Bounce, Certainty)> {
    if status.class == 2 {
        return None;
    }
    let fits = |row: &&(Option<u8>, u16, u16, Bounce, Certainty)| {
        row.0.is_none_or(|class| class == status.class) && (row.1, row.2) == (status.subject, status.detail)
    };
    STATUS_RULES.iter().find(fits).map(|row| (row.3, row.4))
}

fn by_words(words: &str) -> Option<Bounce> {
    WORD_RULES
        .iter()
        .find(|(_, patterns)| patterns.iter().any(|pattern| words.contains(pattern)))
        .map(|row| row.0)
}

/// RFC 5321 §4.2.3: what little a bare reply code says.
fn by_reply(code: u16) -> Option<Bounce> {
    match code {
        421 | 450 | 451 => Some(Bounce::System),
        452 | 552 => Some(Bounce::MailboxFull),
        530 | 535 => Some(Bounce::Authentication),
        556 => Some(Bounce::BadDomain),
        _ => None,
    }
    // 550 to 554 are given for everything: they say nothing.
}

use Bounce as B;
use Certainty::{Certain, Vague};

/// Class or any, subject, detail; the first that fits counts.
const STATUS_RULES: &[(Option<u8>, u16, u16, Bounce, Certainty)] = &[
    (None, 1, 0, B::BadMailbox, Vague),
    (Some(5), 1, 1, B::BadMailbox, Vague),
    // A passing 4.1.1 is most often greylisting in disguise.
    (Some(4), 1, 1, B::RateLimited, Vague),
    (None, 1, 2, B::BadDomain, Certain),
    (None, 1, 3, B::BadMailbox, Certain),
    (None, 1, 4, B::BadMailbox, Certain),
    (None, 1, 6, B::BadMailbox, Certain),
    // About the sender's address.
    (None, 1, 7, B::Policy, Vague),
    (None, 1, 8, B::Policy, Vague),
    (None, 1, 10, B::BadDomain, Certain),
    (None, 2, 0, B::BadMailbox, Vague),
    (None, 2, 1, B::BadMailbox, Vague),
    (None, 2, 2, B::MailboxFull, Certain),
    (None, 2, 3, B::TooLarge, Certain),
    (None, 2, 4, B::BadMailbox, Vague),
    (None, 3, 0, B::System, Vague),
    (None, 3, 1, B::System, Certain),
    (None, 3, 2, B::System, Vague),
    (None, 3, 3, B::Content, Vague),
    (None, 3, 4, B::TooLarge, Certain),
    (None, 3, 5, B::System, Vague),
    (None, 4, 0, B::Network, Vague),
    (None, 4, 1, B::Network, Vague),
    (None, 4, 2, B::Network, Vague),
    (None, 4, 3, B::Network, Vague),
    (Some(5), 4, 4, B::BadDomain, Vague),
    (Some(4), 4, 4, B::Network, Vague),
    (None, 4, 5, B::RateLimited, Vague),
    (None, 4, 6, B::RoutingLoop, Certain),
    (None, 4, 7, B::Network, Vague),
    (None, 5, 3, B::RateLimited, Vague),
    (None, 6, 0, B::Content, Vague),
    (None, 6, 1, B::Content, Certain),
    (None, 6, 2, B::Content, Certain),
    (None, 6, 3, B::Content, Certain),
    (None, 6, 5, B::Content, Certain),
    (None, 6, 7, B::Content, Certain),
    (None, 6, 9, B::Content, Certain),
    (None, 7, 0, B::Policy, Vague),
    (None, 7, 1, B::Policy, Vague),
    (None, 7, 2, B::Policy, Certain),
    (None, 7, 4, B::Tls, Vague),
    (None, 7, 5, B::Tls, Vague),
    (None, 7, 7, B::Authentication, Vague),
    (None, 7, 8, B::Authentication, Certain),
    (None, 7, 9, B::Authentication, Certain),
    (None, 7, 10, B::Tls, Certain),
    (None, 7, 11, B::Tls, Certain),
    (None, 7, 13, B::BadMailbox, Vague),
    (None, 7, 17, B::BadMailbox, Certain),
    (None, 7, 18, B::BadDomain, Certain),
    (None, 7, 20, B::Authentication, Certain),
    (None, 7, 21, B::Authentication, Certain),
    (None, 7, 22, B::Authentication, Certain),
    (None, 7, 23, B::Authentication, Certain),
    (None, 7, 24, B::Authentication, Certain),
    (None, 7, 25, B::Authentication, Certain),
    (None, 7, 26, B::Authentication, Certain),
    (None, 7, 27, B::Policy, Certain),
    (None, 7, 28, B::RateLimited, Certain),
    (None, 7, 29, B::Authentication, Certain),
    (None, 7, 30, B::Tls, Certain),
];

/// Words in lower case; the first row of which any stands in the answer counts. What names a cause stands before
/// what is common in answers of every kind.
const WORD_RULES: &[(Bounce, &[&str])] = &[
    (B::RoutingLoop, &["too many hops", "hop count", "mail loop", "routing loop", "loops back to"]),
    (
        B::RateLimited,
        &[
            "greylist",
            "graylist",
            "rate limit",
            "rate-limit",
            "ratelimit",
            "too many messages",
            "too many connections",
            "too many recipients",
            "too many concurrent",
            "too much mail",
            "sending rate",
            "throttl",
        ],
    ),
    (
        B::MailboxFull,
        &[
            "mailbox full",
            "mailbox is full",
            "mailbox exceed",
            "over quota",
            "quota exceeded",
            "exceeded quota",
            "out of storage space",
            "exceeded storage",
        ],
    ),
    (
        B::TooLarge,
        &[
            "message too large",
            "message too big",
            "message size exceeds",
            "exceeds size limit",
            "exceeded maximum message size",
            "size exceeds",
        ],
    ),
    (
        B::Authentication,
        &[
            "dmarc",
            "dkim",
            " spf ",
            "spf check",
            "spf fail",
            "spf record",
            "reverse dns",
            "ptr record",
            "unauthenticated email",
        ],
    ),
    (B::Tls, &["starttls", "tls required", "must use tls", "certificate verif", "encryption required"]),
    (
        B::Policy,
        &[
            "spam",
            "blacklist",
            "blocklist",
            "block list",
            "listed at",
            "listed by",
            "rbl",
            "dnsbl",
            "reputation",
            "unsolicited",
            "virus",
            "malware",
            "phish",
            "policy",
            "relay access denied",
            "relaying denied",
            "relay not permitted",
        ],
    ),
    (
        B::BadMailbox,
        &[
            "user unknown",
            "unknown user",
            "no such user",
            "no such mailbox",
            "no such recipient",
            "no such address",
            "mailbox not found",
            "user not found",
            "recipient not found",
            "unknown recipient",
            "recipient unknown",
            "address unknown",
            "does not exist",
            "doesn't exist",
            "mailbox unavailable",
            "invalid recipient",
            "invalid mailbox",
            "not a valid mailbox",
            "no mailbox here",
            "account disabled",
            "account is disabled",
            "mailbox disabled",
            "mailbox is disabled",
            "account has been disabled",
            "inactive user",
        ],
    ),
    (
        B::BadDomain,
        &["host not found", "domain not found", "no such domain", "unknown domain", "nxdomain", "null mx"],
    ),
    (
        B::Network,
        &[
            "timed out",
            "timeout",
            "connection refused",
            "connection reset",
            "no route to host",
            "network unreachable",
            "network is unreachable",
        ],
    ),
    (
        B::Content,
        &[
            "attachment",
            "malformed",
            "bare lf",
            "bare cr",
            "line too long",
            "invalid header",
            "headers are missing",
        ],
    ),
    (
        B::System,
        &[
            "insufficient system storage",
            "disk full",
            "server error",
            "internal error",
            "try again later",
            "temporarily unavailable",
            "service unavailable",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_classified() {
        for (response, class) in [
            ("550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown", B::BadMailbox),
            ("550 No such user here", B::BadMailbox),
            ("550 5.1.1 Mailbox quota exceeded", B::MailboxFull),
            ("450 4.1.1 <bob@example.net>: unverified address", B::RateLimited),
            ("451 4.7.1 Greylisted, please come back in five minutes", B::RateLimited),
            ("550 5.7.1 Our system has detected that this message is likely unsolicited mail", B::Policy),
            (
                "550 5.7.1 Unauthenticated email from example.org is not accepted due to DMARC policy",
                B::Authentication,
            ),
            ("550-5.7.26 This mail has been blocked", B::Authentication),
            ("554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using a block list", B::Policy),
            ("554 5.7.1 <bob@example.net>: Relay access denied", B::Policy),
            ("552 5.2.2 over quota", B::MailboxFull),
            ("452 4.2.2 The email account that you tried to reach is over quota", B::MailboxFull),
            ("552 5.3.4 Message size exceeds fixed limit", B::TooLarge),
            ("554 5.4.6 Too many hops", B::RoutingLoop),
            ("421 4.4.5 too busy", B::RateLimited),
            ("421 4.7.28 unusual rate", B::RateLimited),
            ("530 5.7.10 Encryption needed", B::Tls),
            ("530 Must issue a STARTTLS command first", B::Tls),
            ("535 authentication failed", B::Authentication),
            ("556 null", B::BadDomain),
            ("5.4.4 Host not found", B::BadDomain),
            ("4.4.1 connect to mx.example.net: Connection refused", B::Network),
            ("connection timed out", B::Network),
            ("554 5.6.0 bare LF in message", B::Content),
            ("452 4.3.1 Insufficient system storage", B::System),
            ("550 5.1.10 null MX", B::BadDomain),
            ("550 rejected", B::Unknown),
            ("554 Transaction failed", B::Unknown),
            ("250 2.1.5 ok", B::Unknown),
            ("", B::Unknown),
            ("\u{1f600}", B::Unknown),
        ] {
            assert_eq!(classify(None, response), class, "{response}");
        }
        assert_eq!(classify(Some(Status::new(5, 2, 2)), "550 spam"), B::MailboxFull);
        assert_eq!(classify(Some(Status::new(5, 7, 1)), "no thanks"), B::Policy);
    }

    #[test]
    fn names_are_different_and_patterns_can_match() {
        for (at, class) in Bounce::ALL.iter().enumerate() {
            assert!(Bounce::ALL.iter().skip(at + 1).all(|other| other.as_str() != class.as_str()));
        }
        for (class, patterns) in WORD_RULES {
            for pattern in *patterns {
                assert_eq!(*pattern, pattern.to_ascii_lowercase());
                assert_eq!(by_words(pattern), Some(*class), "{pattern} is hidden by an earlier row");
            }
        }
        for (at, row) in STATUS_RULES.iter().enumerate() {
            let covers = |earlier: &&(Option<u8>, u16, u16, Bounce, Certainty)| {
                (earlier.1, earlier.2) == (row.1, row.2) && (earlier.0.is_none() || earlier.0 == row.0)
            };
            assert!(STATUS_RULES[..at].iter().find(covers).is_none(), "{}.{} is never reached", row.1, row.2);
        }
    }
}
