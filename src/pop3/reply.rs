//! Every word the server says, and the one place where errors become response codes
//! (RFC 2449 §8, RFC 3206).

use alloc::vec::Vec;

use account::Error;
use auth::{Failure, Policy, Unsupported};
use base::{TlsInfo, Uid, UidValidity};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Config, Maildrop, OpenError, ParseError};

/// Where the capabilities are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// In the AUTHORIZATION state.
    BeforeLogin,
    /// In the TRANSACTION state.
    AfterLogin,
}

/// What does not depend on state or settings, each with its specification.
const CAPABILITIES: &[&str] = &[
    "TOP",            // RFC 1939 §7, RFC 2449 §6.1
    "UIDL",           // RFC 1939 §7, RFC 2449 §6.8
    "RESP-CODES",     // RFC 2449 §6.4
    "AUTH-RESP-CODE", // RFC 3206
    "PIPELINING",     // RFC 2449 §6.6
    "EXPIRE NEVER",   // RFC 2449 §6.7
    "UTF8 USER",      // RFC 6856 §2
    "LANG",           // RFC 6856 §3
];

/// The greeting. It holds no timestamp in angle brackets, so APOP is not offered (RFC 1939 §7).
pub(crate) fn greeting(hostname: &str, out: &mut Vec<u8>) {
    line(out, &[b"+OK ", hostname.as_bytes(), b" POP3 ready"]);
}

/// A positive answer of one line.
pub(crate) fn ok(text: &str, out: &mut Vec<u8>) {
    line(out, &[b"+OK ", text.as_bytes()]);
}

/// A negative answer; `text` may begin with a response code in brackets.
pub(crate) fn err(text: &str, out: &mut Vec<u8>) {
    line(out, &[b"-ERR ", text.as_bytes()]);
}

/// The last answer of a session whose account is gone or switched off (RFC 3206 §4).
pub(crate) fn closed(out: &mut Vec<u8>) {
    err("[SYS/PERM] the account is closed", out);
}

/// `CAPA` (RFC 2449 §5).
pub(crate) fn capabilities(config: &Config, tls: Option<&TlsInfo>, asked: Asked, out: &mut Vec<u8>) {
    ok("capabilities follow", out);
    for capability in CAPABILITIES {
        line(out, &[capability.as_bytes()]);
    }
    // A capability that could not be used now is not announced (RFC 2595 §4 for STLS).
    if is_plaintext_allowed(tls, config.auth) {
        line(out, &[b"USER"]);
    }
    if config.starttls && tls.is_none() {
        line(out, &[b"STLS"]);
    }
    out.extend_from_slice(b"SASL");
    for mechanism in auth::mechanisms(tls, &config.auth) {
        out.push(b' ');
        out.extend_from_slice(mechanism.as_bytes());
    }
    line(out, &[]);
    // Strangers need not know what runs here (RFC 2449 §6.9).
    if asked == Asked::AfterLogin {
        line(out, &[b"IMPLEMENTATION Angarium"]);
    }
    end(out);
}

/// Whether USER and PASS may be used now.
pub(crate) const fn is_plaintext_allowed(tls: Option<&TlsInfo>, policy: Policy) -> bool {
    tls.is_some() || policy.allow_plaintext_without_tls
}

/// `LANG` without a tag: the languages, each with its own name for itself (RFC 6856 §3.1).
pub(crate) fn languages(out: &mut Vec<u8>) {
    ok("languages follow", out);
    line(out, &[b"en English"]);
    line(out, &[b"i-default International default"]);
    end(out);
}

/// `LANG tag`: `*` leaves the choice to us (RFC 6856 §3.1).
pub(crate) fn language(tag: &str, out: &mut Vec<u8>) {
    if tag == "*" || tag.eq_ignore_ascii_case("en") {
        return ok("en Language is English", out);
    }
    if tag.eq_ignore_ascii_case("i-default") {
        return ok("i-default Language is English", out);
    }
    err("that language is not spoken here", out);
}

/// A challenge of an AUTH exchange (RFC 5034 §4).
pub(crate) fn challenge(bytes: &[u8], out: &mut Vec<u8>) {
    line(out, &[b"+ ", STANDARD.encode(bytes).as_bytes()]);
}

/// `STAT` (RFC 1939 §5).
pub(crate) fn stat(maildrop: &Maildrop, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK ");
    number(maildrop.count() as u64, out);
    out.push(b' ');
    number(maildrop.bytes(), out);
    line(out, &[]);
}

/// The first line of the answers to a successful login and to RSET.
pub(crate) fn holds(text: &str, maildrop: &Maildrop, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b", ");
    number(maildrop.count() as u64, out);
    out.extend_from_slice(b" messages in ");
    number(maildrop.bytes(), out);
    line(out, &[b" octets"]);
}

/// A scan listing (RFC 1939 §5, LIST); `size` is the bytes stored.
pub(crate) fn scan_listing(message: u32, size: u32, out: &mut Vec<u8>) {
    number(u64::from(message), out);
    out.push(b' ');
    number(u64::from(size), out);
    line(out, &[]);
}

/// A unique-id listing (RFC 1939 §7, UIDL): UIDVALIDITY and UID, so that a name never comes back.
pub(crate) fn unique_id_listing(message: u32, uid_validity: UidValidity, uid: Uid, out: &mut Vec<u8>) {
    number(u64::from(message), out);
    out.push(b' ');
    number(u64::from(uid_validity.0), out);
    out.push(b'.');
    number(u64::from(uid.0), out);
    line(out, &[]);
}

/// The first line of the answer to RETR; `size` is the bytes stored, the same as in LIST.
pub(crate) fn retrieved(size: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK ");
    number(u64::from(size), out);
    line(out, &[b" octets"]);
}

/// The answer to DELE.
pub(crate) fn marked(message: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK message ");
    number(u64::from(message), out);
    line(out, &[b" deleted"]);
}

/// The end of a multi-line answer (RFC 1939 §3).
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b".\r\n");
}

/// Why a line is no command.
pub(crate) fn parse_error(error: ParseError, out: &mut Vec<u8>) {
    let text = match error {
        ParseError::Unknown => "unknown command",
        ParseError::Arguments => "bad arguments",
    };
    err(text, out);
}

/// Why a mechanism cannot be had.
pub(crate) fn unsupported(error: Unsupported, out: &mut Vec<u8>) {
    let text = match error {
        Unsupported::Unknown => "no such mechanism",
        Unsupported::NeedsEncryption => "passwords need TLS here: use STLS first",
        Unsupported::NeedsBinding => "that mechanism needs TLS with a channel binding",
    };
    err(text, out);
}

/// Why a login failed. AUTH tells the client that name or password are at fault, SYS/TEMP that
/// they need not be (RFC 3206 §4, §5).
pub(crate) fn login_failure(failure: Failure, out: &mut Vec<u8>) {
    let text = match failure {
        Failure::Denied => "[AUTH] wrong name or password",
        Failure::Unavailable => "[SYS/TEMP] logins cannot be checked now, try again later",
        Failure::Throttled { .. } => "[SYS/TEMP] too many failed logins, try again later",
        Failure::Malformed => "the authentication exchange is malformed",
        Failure::Cancelled => "authentication cancelled",
        Failure::TooLong => "the authentication exchange is too long",
    };
    err(text, out);
}

/// Why a maildrop is not open. IN-USE is RFC 2449 §8.1.2.
pub(crate) fn open_error(error: &OpenError, out: &mut Vec<u8>) {
    match error {
        OpenError::InUse => err("[IN-USE] another session has this maildrop", out),
        OpenError::Account(error) => account_error(error, out),
    }
}

/// Why the account refused (RFC 3206 §4).
pub(crate) fn account_error(error: &Error, out: &mut Vec<u8>) {
    let text = match error {
        Error::NotFound => "no such message",
        Error::NoSpace => "[SYS/TEMP] the server's disk is full, try again later",
        Error::Unavailable => "[SYS/TEMP] the store cannot do that now, try again later",
        Error::Corrupt => "[SYS/PERM] the stored message is damaged, tell the postmaster",
        // POP3 asks for nothing that these forbid; they would be a fault of ours to be looked into.
        Error::Exists
        | Error::Denied
        | Error::OverQuota
        | Error::LimitReached
        | Error::InvalidName(_)
        | Error::TooLarge => "[SYS/PERM] the maildrop does not allow that, tell the postmaster",
    };
    err(text, out);
}

fn line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

fn number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut rest = value;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }
    }

    #[test]
    fn first_lines_of_answers_stay_within_their_bound() {
        // RFC 2449 §4: 512 octets, CRLF included.
        let mut out = Vec::new();
        for failure in [Failure::Denied, Failure::Throttled { retry_after_s: u32::MAX }, Failure::TooLong] {
            login_failure(failure, &mut out);
        }
        account_error(&Error::Corrupt, &mut out);
        open_error(&OpenError::InUse, &mut out);
        unique_id_listing(u32::MAX, UidValidity(u32::MAX), Uid(u32::MAX), &mut out);
        assert!(out.split(|b| *b == b'\n').all(|line| line.len() < 512));
        assert!(out.ends_with(b"4294967295 4294967295.4294967295\r\n"));
    }
}
