//! The end of every command: the tagged line, and the one match from an account's errors to response
//! codes (RFC 5530, RFC 9051 §7.1).

use alloc::vec::Vec;

use base::{Ranges, UidValidity};

use crate::response::list::write_mailbox_id;
use crate::response::text::{write_number, write_ranges};
use crate::view::BadSequence;

/// A command that was done: `tag OK [code] text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Its response code.
    pub code: Option<Code>,
    /// For people.
    pub text: &'static str,
}

impl Success {
    /// Done, with nothing more to say than `text`.
    pub const fn plain(text: &'static str) -> Self {
        Self { code: None, text }
    }

    /// Done, with a response code.
    pub const fn with(code: Code, text: &'static str) -> Self {
        Self { code: Some(code), text }
    }
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer has gone: nothing more can be said.
    Closed,
    /// `BAD`: the command contradicts the state or itself.
    Bad(&'static str),
    /// `NO`, with a code if one fits.
    No(Option<Code>, &'static str),
    /// What the account says.
    Account(account::Error),
}

impl From<account::Error> for Failure {
    fn from(error: account::Error) -> Self {
        Self::Account(error)
    }
}

impl From<base::Closed> for Failure {
    fn from(_: base::Closed) -> Self {
        Self::Closed
    }
}

impl From<BadSequence> for Failure {
    fn from(_: BadSequence) -> Self {
        Self::Bad("there is no message with that sequence number")
    }
}

/// Response codes that answers carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// One of those that are a word.
    Word(&'static str),
    /// APPENDUID (RFC 4315 §3).
    AppendUid(UidValidity, Ranges),
    /// COPYUID (RFC 4315 §3): sources and targets in the same order.
    CopyUid(UidValidity, Ranges, Ranges),
    /// MODIFIED (RFC 7162 §3.1.3): UIDs or sequence numbers.
    Modified(Ranges),
    /// HIGHESTMODSEQ
    HighestModSeq(u64),
    /// MAILBOXID (RFC 8474 §4.1)
    MailboxId(base::MailboxId),
    /// BADURL (RFC 4469 §4.1)
    BadUrl(Vec<u8>),
    /// BADCHARSET (RFC 9051 §7.1): what would do is UTF-8 and US-ASCII.
    BadCharset,
}

/// Writes the tagged line of a command. Nothing when the peer has gone.
pub(crate) fn write_tagged(out: &mut Vec<u8>, tag: &str, outcome: &Result<Success, Failure>) {
    let (status, code, text) = match outcome {
        Ok(success) => ("OK", success.code.as_ref(), success.text),
        Err(Failure::Closed) => return,
        Err(Failure::Bad(text)) => ("BAD", None, *text),
        Err(Failure::No(code, text)) => ("NO", code.as_ref(), *text),
        Err(Failure::Account(error)) => {
            let (word, text) = account_error(error);
            return write_line(out, tag, "NO", Some(&Code::Word(word)), text);
        }
    };
    write_line(out, tag, status, code, text);
}

/// `tag status [code] text`
pub(crate) fn write_line(out: &mut Vec<u8>, tag: &str, status: &str, code: Option<&Code>, text: &str) {
    out.extend_from_slice(tag.as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        write_code(out, code);
        out.extend_from_slice(b"] ");
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// An account's error as a response code (RFC 5530 §3) and words for people.
const fn account_error(error: &account::Error) -> (&'static str, &'static str) {
    use account::{Error, NameError};
    match error {
        Error::NotFound => ("NONEXISTENT", "there is no such mailbox"),
        Error::Exists => ("ALREADYEXISTS", "a mailbox of that name exists"),
        Error::Denied => ("CANNOT", "that cannot be done to this mailbox"),
        Error::OverQuota => ("OVERQUOTA", "the account is over its quota"),
        Error::LimitReached => ("LIMIT", "a limit of the account is reached"),
        Error::InvalidName(NameError::Empty) => ("CANNOT", "a mailbox name has no empty level"),
        Error::InvalidName(NameError::TooLong) => ("CANNOT", "the mailbox name is too long"),
        Error::InvalidName(NameError::TooDeep) => ("CANNOT", "the mailbox name has too many levels"),
        Error::InvalidName(NameError::Character) => {
            ("CANNOT", "the mailbox name has a character that is not allowed")
        }
        Error::TooLarge => ("TOOBIG", "the message is too large"),
        // RFC 5530 §3 has no code for a full disk; this one says that it is our fault and may pass.
        Error::NoSpace => ("UNAVAILABLE", "the server's disk is full, try again later"),
        Error::Unavailable => ("UNAVAILABLE", "the store cannot do that now, try again later"),
        Error::Corrupt => ("CORRUPTION", "stored data is damaged"),
    }
}

fn write_code(out: &mut Vec<u8>, code: &Code) {
    match code {
        Code::Word(word) => out.extend_from_slice(word.as_bytes()),
        Code::AppendUid(validity, uids) => {
            out.extend_from_slice(b"APPENDUID ");
            write_number(out, u64::from(validity.0));
            out.push(b' ');
            write_ranges(out, uids);
        }
        Code::CopyUid(validity, sources, targets) => {
            out.extend_from_slice(b"COPYUID ");
            write_number(out, u64::from(validity.0));
            out.push(b' ');
            write_ranges(out, sources);
            out.push(b' ');
            write_ranges(out, targets);
        }
        Code::Modified(numbers) => {
            out.extend_from_slice(b"MODIFIED ");
            write_ranges(out, numbers);
        }
        Code::HighestModSeq(change) => {
            out.extend_from_slice(b"HIGHESTMODSEQ ");
            write_number(out, *change);
        }
        Code::MailboxId(id) => write_mailbox_id(out, *id),
        Code::BadUrl(url) => {
            out.extend_from_slice(b"BADURL ");
            // RFC 4469 §5: what cannot stand there is no part of a URL either.
            let is_text = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b']' | b'\\');
            out.extend(url.iter().map(|&byte| if is_text(byte) { byte } else { b'?' }));
        }
        Code::BadCharset => out.extend_from_slice(b"BADCHARSET (UTF-8 US-ASCII)"),
    }
}
