//! What a sender asks of the way a message goes: TLS on each hop (RFC 8689), its turn among others (RFC 6710), when it
//! may go (RFC 4865), by when it is to be there (RFC 2852), and where its
//! bounces go (VERP).

use core::fmt;
use core::time::Duration;

use base::{Timestamp, VerpSigns};

use crate::limits::{PRIORITY_MAX, PRIORITY_MIN};

/// What was asked at MAIL, as far as it was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// REQUIRETLS: no hop without TLS (RFC 8689 §4).
    pub requires_tls: bool,
    /// MT-PRIORITY, -9 to 9; higher goes first (RFC 6710 §4).
    pub priority: i8,
    /// It waits until then (RFC 4865 §3).
    pub release_at: Option<Timestamp>,
    /// It is to be there by then (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// Each recipient gets it from an address of its own (VERP).
    pub verp: Option<VerpSigns>,
}

/// By when a message is to be delivered, and what follows when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// The moment: what the client said, counted from its MAIL command.
    pub at: Timestamp,
    /// What follows.
    pub mode: ByMode,
    /// The sender wants to hear of each hop (RFC 2852, `by-trace`).
    pub is_traced: bool,
}

/// What follows when a message is not delivered in time (RFC 2852).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByMode {
    /// `R`: it is given up and returned.
    Return,
    /// `N`: the sender is told, and it is tried on.
    Notify,
}

/// BY, as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// From the command on, in seconds; above 0 with [`ByMode::Return`].
    pub seconds: i64,
    /// What follows.
    pub mode: ByMode,
    /// Whether each hop is to be told of.
    pub is_traced: bool,
}

/// HOLDFOR or HOLDUNTIL, as it was said (RFC 4865 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Seconds from the command on, above 0.
    For(u32),
    /// A moment.
    Until(Timestamp),
}

impl Hold {
    pub(crate) fn ends(self, now: Timestamp) -> Timestamp {
        match self {
            Self::For(seconds) => now + Duration::from_secs(seconds.into()),
            Self::Until(moment) => moment,
        }
    }
}

impl By {
    pub(crate) fn from(self, now: Timestamp) -> DeliverBy {
        let By { seconds, mode, is_traced } = self;
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let at = if seconds < 0 { now - distance } else { now + distance };
        DeliverBy { at, mode, is_traced }
    }
}

/// `BY=` as a client says it to the next system.
impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Return => 'R',
            ByMode::Notify => 'N',
        };
        write!(f, "{};{mode}{}", self.seconds, if self.is_traced { "T" } else { "" })
    }
}

/// `priority-value = (["-"] NZDIGIT) / "0"` (RFC 6710).
pub(crate) fn priority(text: &str) -> Option<i8> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_grammar = digits.len() == 1 && digits.bytes().all(|b| b.is_ascii_digit()) && text != "-0";
    let value = text.parse().ok().filter(|_| is_grammar)?;
    (PRIORITY_MIN..=PRIORITY_MAX).contains(&value).then_some(value)
}

/// One to nine digits, the first not 0 (RFC 4865 §3).
pub(crate) fn hold_for(text: &str) -> Option<Hold> {
    let is_grammar = text.len() <= 9 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_grammar).map(Hold::For)
}

/// A date and time of RFC 3339 §5.6.
pub(crate) fn hold_until(text: &str) -> Option<Hold> {
    base::parse_rfc3339(text).map(Hold::Until)
}

/// `by-time ";" by-mode [by-trace]`, where the time has up to nine digits and may have a sign (RFC 2852). What is to
/// be returned when it is late cannot be late already.
pub(crate) fn by(text: &str) -> Option<By> {
    let (seconds, mode) = text.split_once(';')?;
    let digits = seconds.strip_prefix(['+', '-']).unwrap_or(seconds);
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let seconds = seconds.parse().ok().filter(|_| is_number)?;
    let (mode, is_traced) = match mode.as_bytes() {
        [b'R' | b'r'] => (ByMode::Return, false),
        [b'N' | b'n'] => (ByMode::Notify, false),
        [b'R' | b'r', b'T' | b't'] => (ByMode::Return, true),
        [b'N' | b'n', b'T' | b't'] => (ByMode::Notify, true),
        _ => return None,
    };
    (mode == ByMode::Notify || seconds > 0).then_some(By { seconds, mode, is_traced })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_bounds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("9", Some(9)),
            ("-9", Some(-9)),
            ("10", None),
            ("-0", None),
            ("+1", None),
            ("-", None),
        ] {
            assert_eq!(priority(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1", Some(Hold::For(1))),
            ("999999999", Some(Hold::For(999_999_999))),
            ("0", None),
            ("01", None),
            ("1000000000", None),
            ("-1", None),
            ("+1", None),
        ] {
            assert_eq!(hold_for(text), expected, "{text}");
        }
    }

    #[test]
    fn a_time_limit_is_read_and_said() {
        for text in ["120;R", "120;RT", "0;N", "-5;NT", "999999999;N"] {
            assert_eq!(alloc::format!("{}", by(text).unwrap()), text);
        }
        assert_eq!(by("+120;n"), by("120;N"));
        for text in
            ["0;R", "-1;R", "120", "120;", "120;X", "120;TR", "1000000000;N", ";N", "+;N", "1.5;N", "--1;N"]
        {
            assert_eq!(by(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_limit_counts_from_its_command() {
        let now = Timestamp::from_s(1000);
        assert_eq!(by("60;R").unwrap().from(now).at, Timestamp::from_s(1060));
        assert_eq!(by("-60;N").unwrap().from(now).at, Timestamp::from_s(940));
    }
}
