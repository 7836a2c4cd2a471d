//! Mailbox names: UTF-8 with `/` between levels. How a protocol spells them (modified UTF-7,
//! RFC 3501 §5.1.3) is that protocol's business.

use core::fmt;

use crate::limits::{MAILBOX_DEPTH_MAX, MAILBOX_NAME_BYTES_MAX};

/// A valid mailbox name. `INBOX` in any case is the one INBOX (RFC 9051 §5.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

/// Why a name cannot be a mailbox name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No characters, or an empty level (`a//b`, `/a`, `a/`).
    Empty,
    /// More than [`MAILBOX_NAME_BYTES_MAX`] bytes.
    TooLong,
    /// More than [`MAILBOX_DEPTH_MAX`] levels.
    TooDeep,
    /// A control character (RFC 5198 §2), or a wildcard that no LIST could tell from itself.
    Character,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a mailbox name has no empty level",
            Self::TooLong => "the mailbox name is too long",
            Self::TooDeep => "the mailbox name has too many levels",
            Self::Character => "the mailbox name has a character that is not allowed",
        })
    }
}

impl MailboxName {
    /// What separates levels.
    pub const SEPARATOR: char = '/';
    /// The name every account has.
    pub const INBOX: &'static str = "INBOX";

    /// Checks and normalises a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.len() > MAILBOX_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if name.split(Self::SEPARATOR).any(str::is_empty) {
            return Err(NameError::Empty);
        }
        if name.split(Self::SEPARATOR).count() > MAILBOX_DEPTH_MAX {
            return Err(NameError::TooDeep);
        }
        if name.chars().any(|c| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}')) {
            return Err(NameError::Character);
        }
        let (first, rest) = name.split_at(name.find(Self::SEPARATOR).unwrap_or(name.len()));
        if first.eq_ignore_ascii_case(Self::INBOX) {
            return Ok(Self(format!("{}{rest}", Self::INBOX)));
        }
        Ok(Self(name.to_owned()))
    }

    /// The INBOX.
    pub fn inbox() -> Self {
        Self(Self::INBOX.to_owned())
    }

    /// Whether this is the INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == Self::INBOX
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name one level up, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0.rfind(Self::SEPARATOR).and_then(|at| self.0.get(..at)).map(|up| Self(up.to_owned()))
    }

    /// Whether `self` lies below `other` in the hierarchy.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.0.as_str()).is_some_and(|rest| rest.starts_with(Self::SEPARATOR))
    }

    /// This name with the leading `from` replaced by `to`, when it is `from` or lies below it.
    pub fn rebased(&self, from: &Self, to: &Self) -> Option<Result<Self, NameError>> {
        if self != from && !self.is_below(from) {
            return None;
        }
        self.0.get(from.0.len()..).map(|rest| Self::new(&format!("{}{rest}", to.0)))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxName({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_inbox_has_one_spelling() {
        for (name, want) in [
            ("inbox", Ok("INBOX")),
            ("Inbox/Sub", Ok("INBOX/Sub")),
            ("inboxes", Ok("inboxes")),
            ("Entwürfe/2026", Ok("Entwürfe/2026")),
            ("", Err(NameError::Empty)),
            ("a//b", Err(NameError::Empty)),
            ("a/", Err(NameError::Empty)),
            ("a\u{7}", Err(NameError::Character)),
            ("100%", Err(NameError::Character)),
        ] {
            assert_eq!(
                MailboxName::new(name).as_ref().map(MailboxName::as_str).map_err(|e| *e),
                want,
                "{name}"
            );
        }
        assert_eq!(MailboxName::new(&"a".repeat(201)), Err(NameError::TooLong));
        assert_eq!(MailboxName::new("a/".repeat(40).trim_end_matches('/')), Err(NameError::TooDeep));
    }

    #[test]
    fn names_move_with_their_parent() {
        let name = |s: &str| MailboxName::new(s).expect("valid");
        assert_eq!(name("a/b").rebased(&name("a"), &name("c/d")), Some(Ok(name("c/d/b"))));
        assert_eq!(name("ab").rebased(&name("a"), &name("c")), None);
        assert!(name("a/b").is_below(&name("a")));
        assert!(!name("ab").is_below(&name("a")));
        assert_eq!(name("a/b/c").parent(), Some(name("a/b")));
    }
}
