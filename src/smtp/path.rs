//! Reverse-path and forward-path (RFC 5321 §4.1.2, with the UTF-8 of RFC 6531 §3.3).

use alloc::string::String;
use core::fmt;

use crate::limits::{DOMAIN_BYTES_MAX, HELO_BYTES_MAX, LOCAL_PART_BYTES_MAX};

/// A mailbox, `local@domain`, that obeys the grammar. It is kept as it was written: a quoted local part keeps
/// its quotes, a domain its case. The null path `<>` is `None` of an `Option<Path>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path {
    text: String,
    at: usize,
}

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// No `<` in front or no `>` behind.
    Brackets,
    /// What stands between them is no mailbox.
    Mailbox,
    /// The local part or the domain is longer than the limit.
    TooLong,
}

impl Path {
    /// Reads `Local-part "@" ( Domain / address-literal )`, all of `text`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let at = local_part_end(text).ok_or(PathError::Mailbox)?;
        let (local, rest) = text.split_at_checked(at).ok_or(PathError::Mailbox)?;
        let domain = rest.strip_prefix('@').ok_or(PathError::Mailbox)?;
        if !is_domain(domain) && !is_address_literal(domain) {
            return Err(PathError::Mailbox);
        }
        if local.len() > LOCAL_PART_BYTES_MAX || domain.len() > DOMAIN_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        Ok(Self { text: text.into(), at })
    }

    /// `local@domain`, without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`, quotes included.
    pub fn local_part(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// Whether it can be said to a server without SMTPUTF8 (RFC 6531 §3.2).
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The text by move.
    pub fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path(<{}>)", self.text)
    }
}

/// Takes `"<" text ">"` off the front: the mailbox text, possibly empty, and what follows the `>`.
/// A source route is dropped unread (RFC 5321 §4.1.1.3, appendix C).
pub(crate) fn take_bracketed(text: &str) -> Result<(&str, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let end = bracket_end(inner).ok_or(PathError::Brackets)?;
    let (mailbox, rest) = inner.split_at_checked(end).ok_or(PathError::Brackets)?;
    let rest = rest.strip_prefix('>').ok_or(PathError::Brackets)?;
    Ok((without_route(mailbox)?, rest))
}

/// `Domain = sub-domain *("." sub-domain)`. Deviates from RFC 5321 §4.1.2: `_` is taken as a letter, since
/// real hosts and mail domains have it.
pub(crate) fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_letter(c))
    })
}

/// `address-literal` (RFC 5321 §4.1.3), its address not looked into.
pub(crate) fn is_address_literal(text: &str) -> bool {
    text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).is_some_and(|inner| {
        !inner.is_empty()
            && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
    })
}

/// Whether a client may call itself so. Deviates from RFC 5321 §4.1.1.1: any word of printable ASCII
/// will do, since half of the world's clients do not know their name; it is never believed.
/// Without UTF-8: RFC 6531 §3.7.1 has A-labels here.
pub(crate) fn is_helo_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= HELO_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_utf8_letter(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

fn without_route(mailbox: &str) -> Result<&str, PathError> {
    if !mailbox.starts_with('@') {
        return Ok(mailbox);
    }
    mailbox.split_once(':').map(|(_, mailbox)| mailbox).ok_or(PathError::Mailbox)
}

/// Where the `>` stands that is not inside a quoted string.
fn bracket_end(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `Local-part = Dot-string / Quoted-string`: where it ends, or `None` when there is none.
fn local_part_end(text: &str) -> Option<usize> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (local, _) = text.split_once('@')?;
        let is_dot_string = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
        return is_dot_string.then_some(local.len());
    };
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            // quoted-pairSMTP and qtextSMTP both end where control characters begin.
            c if c.is_control() => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_letter(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_a_local_part_and_a_domain() {
        for (text, local, domain) in [
            ("ann@example.org", "ann", "example.org"),
            ("ann+lists.of=x@EXAMPLE.org", "ann+lists.of=x", "EXAMPLE.org"),
            ("\"a b\\\"@>\"@example.org", "\"a b\\\"@>\"", "example.org"),
            ("\"\"@example.org", "\"\"", "example.org"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
            ("πelé@παράδειγμα.gr", "πelé", "παράδειγμα.gr"),
            ("a@my_host.example", "a", "my_host.example"),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!((path.local_part(), path.domain()), (local, domain), "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            ".a@b.c",
            "a..b@c.d",
            "a.@b",
            "a b@c",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@b c",
            "\"a@b",
            "\"a\"b@c",
            "a@[",
            "a@[]",
            "a@[x\\y]",
            "a@b@c",
            "a(c)@b",
            "\"a\u{7f}\"@b",
            "a@b\u{a0}c",
        ] {
            assert_eq!(Path::parse(text), Err(PathError::Mailbox), "{text}");
        }
        let long = "x".repeat(LOCAL_PART_BYTES_MAX + 1) + "@b";
        assert_eq!(Path::parse(&long), Err(PathError::TooLong));
    }

    #[test]
    fn brackets_end_outside_quotes_and_routes_are_dropped() {
        assert_eq!(take_bracketed("<> SIZE=1"), Ok(("", " SIZE=1")));
        assert_eq!(take_bracketed("<\"a>b\"@c>"), Ok(("\"a>b\"@c", "")));
        assert_eq!(take_bracketed("<@a,@b:c@d> X"), Ok(("c@d", " X")));
        assert_eq!(take_bracketed("a@b"), Err(PathError::Brackets));
        assert_eq!(take_bracketed("<a@b"), Err(PathError::Brackets));
        assert_eq!(take_bracketed("<\"a\\\"@b>"), Err(PathError::Brackets));
        assert_eq!(take_bracketed("<@a>"), Err(PathError::Mailbox));
    }
}
