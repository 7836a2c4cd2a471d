//! The grammar: what a client can say (RFC 1939 §3, RFC 2449 §9). It knows no state.

use alloc::string::String;
use alloc::vec::Vec;

use base::Secret;

/// A command, its arguments parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `AUTH mechanism [initial-response]` (RFC 5034 §4); the response is still in base64.
    Auth(String, Option<Secret<Vec<u8>>>),
    /// `CAPA` (RFC 2449 §5)
    Capa,
    /// `DELE msg` (RFC 1939 §5)
    Dele(u32),
    /// `LANG [tag]` (RFC 6856 §3)
    Lang(Option<String>),
    /// `LIST [msg]` (RFC 1939 §5)
    List(Option<u32>),
    /// `NOOP` (RFC 1939 §5)
    Noop,
    /// `PASS string` (RFC 1939 §7)
    Pass(Secret<Vec<u8>>),
    /// `QUIT` (RFC 1939 §5)
    Quit,
    /// `RETR msg` (RFC 1939 §5)
    Retr(u32),
    /// `RSET` (RFC 1939 §5)
    Rset,
    /// `STAT` (RFC 1939 §5)
    Stat,
    /// `STLS` (RFC 2595 §4)
    Stls,
    /// `TOP msg n` (RFC 1939 §7)
    Top(u32, u32),
    /// `UIDL [msg]` (RFC 1939 §7)
    Uidl(Option<u32>),
    /// `USER name` (RFC 1939 §7)
    User(Vec<u8>),
    /// `UTF8` (RFC 6856 §2.1)
    Utf8,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// No command of ours has that keyword.
    Unknown,
    /// There are too few arguments, too many, or one is not of its form.
    Arguments,
}

impl Command {
    /// Parses a line without its CRLF. Keywords are compared without regard to case (RFC 1939 §3).
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let (keyword, rest) = match memchr::memchr(b' ', line).and_then(|at| line.split_at_checked(at)) {
            Some((keyword, rest)) => (keyword, rest.get(1..)),
            None => (line, None),
        };
        let mut buffer = [0; KEYWORD_BYTES_MAX];
        match upper(keyword, &mut buffer) {
            // A password is all that follows the one space, further spaces included (RFC 1939 §7).
            b"PASS" => Ok(Self::Pass(Secret::new(text(rest)?.to_vec()))),
            b"USER" => Ok(Self::User(text(rest)?.to_vec())),
            b"AUTH" => auth(rest),
            b"LANG" => lang(rest),
            b"CAPA" => none(rest, Self::Capa),
            b"NOOP" => none(rest, Self::Noop),
            b"QUIT" => none(rest, Self::Quit),
            b"RSET" => none(rest, Self::Rset),
            b"STAT" => none(rest, Self::Stat),
            b"STLS" => none(rest, Self::Stls),
            b"UTF8" => none(rest, Self::Utf8),
            b"DELE" => Ok(Self::Dele(number(text(rest)?)?)),
            b"RETR" => Ok(Self::Retr(number(text(rest)?)?)),
            b"LIST" => Ok(Self::List(optional_number(rest)?)),
            b"UIDL" => Ok(Self::Uidl(optional_number(rest)?)),
            b"TOP" => top(text(rest)?),
            _ => Err(ParseError::Unknown),
        }
    }
}

/// Keywords have three or four letters (RFC 1939 §3).
const KEYWORD_BYTES_MAX: usize = 4;

/// A keyword in capitals; empty when it is too long to be one.
fn upper<'a>(keyword: &[u8], buffer: &'a mut [u8; KEYWORD_BYTES_MAX]) -> &'a [u8] {
    let Some(target) = buffer.get_mut(..keyword.len()) else { return b"" };
    target.copy_from_slice(keyword);
    target.make_ascii_uppercase();
    target
}

/// An argument that must be there.
fn text(rest: Option<&[u8]>) -> Result<&[u8], ParseError> {
    rest.filter(|rest| !rest.is_empty()).ok_or(ParseError::Arguments)
}

/// Arguments that must not be there. A space at the end does no harm.
fn none(rest: Option<&[u8]>, command: Command) -> Result<Command, ParseError> {
    match rest.map(<[u8]>::trim_ascii) {
        None | Some(b"") => Ok(command),
        Some(_) => Err(ParseError::Arguments),
    }
}

fn optional_number(rest: Option<&[u8]>) -> Result<Option<u32>, ParseError> {
    match rest.map(<[u8]>::trim_ascii) {
        None | Some(b"") => Ok(None),
        Some(digits) => number(digits).map(Some),
    }
}

/// Decimal digits and nothing else (RFC 1939 §5); one beyond 32 bits names no message.
fn number(digits: &[u8]) -> Result<u32, ParseError> {
    let digits = digits.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::Arguments);
    }
    let add = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    Ok(digits.iter().fold(0, add))
}

fn top(rest: &[u8]) -> Result<Command, ParseError> {
    let rest = rest.trim_ascii();
    let space = memchr::memchr(b' ', rest).ok_or(ParseError::Arguments)?;
    let (message, lines) = rest.split_at_checked(space).ok_or(ParseError::Arguments)?;
    Ok(Command::Top(number(message)?, number(lines)?))
}

fn auth(rest: Option<&[u8]>) -> Result<Command, ParseError> {
    let mut words = text(rest)?.split(|b| *b == b' ');
    let mechanism = words.next().unwrap_or_default();
    let initial = words.next().filter(|initial| !initial.is_empty());
    if words.next().is_some() {
        return Err(ParseError::Arguments);
    }
    let mechanism = core::str::from_utf8(mechanism).map_err(|_| ParseError::Arguments)?;
    Ok(Command::Auth(mechanism.into(), initial.map(|initial| Secret::new(initial.to_vec()))))
}

fn lang(rest: Option<&[u8]>) -> Result<Command, ParseError> {
    match rest.map(<[u8]>::trim_ascii) {
        None | Some(b"") => Ok(Command::Lang(None)),
        Some(tag) => {
            let tag = core::str::from_utf8(tag).map_err(|_| ParseError::Arguments)?;
            Ok(Command::Lang(Some(tag.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    #[test]
    fn lines_become_commands() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        for (line, want) in [
            ("quit", Ok(Command::Quit)),
            ("Stat ", Ok(Command::Stat)),
            ("STAT 1", Err(ParseError::Arguments)),
            ("LIST", Ok(Command::List(None))),
            ("LIST 12", Ok(Command::List(Some(12)))),
            ("LIST -1", Err(ParseError::Arguments)),
            ("LIST 99999999999", Ok(Command::List(Some(u32::MAX)))),
            ("UIDL x", Err(ParseError::Arguments)),
            ("RETR", Err(ParseError::Arguments)),
            ("RETR 0", Ok(Command::Retr(0))),
            ("DELE 1 2", Err(ParseError::Arguments)),
            ("TOP 1 0", Ok(Command::Top(1, 0))),
            ("TOP 1", Err(ParseError::Arguments)),
            ("USER ann b", Ok(Command::User(b"ann b".to_vec()))),
            ("USER ", Err(ParseError::Arguments)),
            ("PASS  two  words ", Ok(Command::Pass(secret(" two  words ")))),
            ("PASS", Err(ParseError::Arguments)),
            ("AUTH PLAIN", Ok(Command::Auth("PLAIN".into(), None))),
            ("AUTH PLAIN =", Ok(Command::Auth("PLAIN".into(), Some(secret("="))))),
            ("AUTH PLAIN a b", Err(ParseError::Arguments)),
            ("AUTH", Err(ParseError::Arguments)),
            ("LANG", Ok(Command::Lang(None))),
            ("LANG *", Ok(Command::Lang(Some("*".into())))),
            ("UTF8", Ok(Command::Utf8)),
            ("APOP ann 0", Err(ParseError::Unknown)),
            ("STATS", Err(ParseError::Unknown)),
            ("", Err(ParseError::Unknown)),
            (" STAT", Err(ParseError::Unknown)),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), want, "{line:?}");
        }
    }

    #[test]
    fn passwords_do_not_print() {
        let commands = [&b"PASS hunter2"[..], b"AUTH PLAIN hunter2"].map(Command::parse);
        assert!(!format!("{commands:?}").contains("hunter2"));
    }

    #[test]
    fn no_bytes_upset_the_parser() {
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let mut line = b"TOP 1 2".to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(line.len() as u64 + 1) as usize;
                line.insert(at, random.next_u64() as u8);
            }
            let _ = Command::parse(&line);
        }
    }
}
