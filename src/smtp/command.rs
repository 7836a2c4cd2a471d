//! The grammar: a line to a command (RFC 5321 §4.1.1 and the extensions). Knows no state.

use crate::announced::Announced;
use crate::parameters::{MailParameters, RcptParameters, number};
use crate::path::{Path, PathError, is_helo_name, take_bracketed};

/// What the client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `HELO name` (RFC 5321 §4.1.1.1).
    Helo(&'a str),
    /// `EHLO name` (RFC 5321 §4.1.1.1).
    Ehlo(&'a str),
    /// `LHLO name` (RFC 2033 §4.1).
    Lhlo(&'a str),
    /// `MAIL FROM:<path>` (RFC 5321 §4.1.1.2); `None` is the null path.
    Mail(Option<Path>, MailParameters),
    /// `RCPT TO:<path>` (RFC 5321 §4.1.1.3).
    Rcpt(RcptTo, RcptParameters),
    /// `DATA` (RFC 5321 §4.1.1.4).
    Data,
    /// `BDAT bytes [LAST]` (RFC 3030 §2).
    Bdat {
        /// Length of the chunk that follows the line.
        bytes: u64,
        /// Whether the message ends with it.
        is_last: bool,
    },
    /// `BURL url [LAST]` (RFC 4468 §3.5).
    Burl {
        /// Where the next piece of the message is, as written.
        url: &'a str,
        /// Whether the message ends with it.
        is_last: bool,
    },
    /// `RSET` (RFC 5321 §4.1.1.5).
    Rset,
    /// `VRFY word` (RFC 5321 §4.1.1.6).
    Vrfy,
    /// `HELP [word]` (RFC 5321 §4.1.1.8).
    Help,
    /// `NOOP [word]` (RFC 5321 §4.1.1.9).
    Noop,
    /// `QUIT` (RFC 5321 §4.1.1.10).
    Quit,
    /// `STARTTLS` (RFC 3207 §4).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954 §4).
    Auth {
        /// The mechanism's name as it was written.
        mechanism: &'a str,
        /// In Base64, or `=` for an empty one.
        initial: Option<&'a str>,
    },
    /// `XCLIENT attribute=value ..`: for whom a gateway speaks.
    Xclient(Announced),
    /// A command that exists and is not here: EXPN, TURN, ETRN, SEND and their kind (RFC 5321 §4.2.4).
    NotImplemented,
}

/// A forward-path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RcptTo {
    /// A mailbox.
    Path(Path),
    /// `<Postmaster>`, in any case, without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The verb is none we know.
    Unknown,
    /// Octets that are no UTF-8 (RFC 6531 §3.3).
    Encoding,
    /// A missing argument, or one where none may be.
    Arguments,
    /// A word out of place.
    Syntax,
    /// The reverse-path.
    Sender(PathError),
    /// The forward-path.
    Recipient(PathError),
    /// A MAIL or RCPT parameter that was not offered.
    Parameter,
    /// A parameter with a value it cannot have, or with two.
    ParameterValue,
    /// BDAT with a length nobody can read: where the next command begins is then unknown.
    ChunkSize,
}

/// Commands we know of and do not have; each gets 502 instead of 500.
const NOT_IMPLEMENTED: [&str; 7] = ["EXPN", "ETRN", "ATRN", "TURN", "SEND", "SOML", "SAML"];

impl<'a> Command<'a> {
    /// Reads one line without its CRLF.
    pub fn parse(line: &'a [u8]) -> Result<Self, ParseError> {
        let line = core::str::from_utf8(line).map_err(|_| ParseError::Encoding)?;
        // RFC 5321 §4.1.1: trailing white space is to be borne.
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        match verb {
            _ if is("HELO") => helo(rest).map(Self::Helo),
            _ if is("EHLO") => helo(rest).map(Self::Ehlo),
            _ if is("LHLO") => helo(rest).map(Self::Lhlo),
            _ if is("MAIL") => mail(rest),
            _ if is("RCPT") => rcpt(rest),
            _ if is("DATA") => alone(rest, Self::Data),
            _ if is("BDAT") => bdat(rest),
            _ if is("BURL") => burl(rest),
            _ if is("RSET") => alone(rest, Self::Rset),
            _ if is("VRFY") && rest.is_empty() => Err(ParseError::Arguments),
            _ if is("VRFY") => Ok(Self::Vrfy),
            _ if is("HELP") => Ok(Self::Help),
            _ if is("NOOP") => Ok(Self::Noop),
            _ if is("QUIT") => alone(rest, Self::Quit),
            _ if is("STARTTLS") => alone(rest, Self::StartTls),
            _ if is("AUTH") => auth(rest),
            _ if is("XCLIENT") => Announced::parse(rest).map(Self::Xclient),
            _ if NOT_IMPLEMENTED.iter().any(|name| is(name)) => Ok(Self::NotImplemented),
            _ => Err(ParseError::Unknown),
        }
    }
}

fn alone<'a>(rest: &str, command: Command<'a>) -> Result<Command<'a>, ParseError> {
    if rest.trim_matches(' ').is_empty() { Ok(command) } else { Err(ParseError::Arguments) }
}

fn helo(rest: &str) -> Result<&str, ParseError> {
    let name = rest.trim_matches(' ');
    if is_helo_name(name) { Ok(name) } else { Err(ParseError::Arguments) }
}

fn mail(rest: &str) -> Result<Command<'_>, ParseError> {
    let (mailbox, rest) = take_bracketed(after_keyword(rest, "FROM:")?).map_err(ParseError::Sender)?;
    let parameters = MailParameters::parse(rest)?;
    if mailbox.is_empty() {
        return Ok(Command::Mail(None, parameters));
    }
    let path = Path::parse(mailbox).map_err(ParseError::Sender)?;
    Ok(Command::Mail(Some(path), parameters))
}

fn rcpt(rest: &str) -> Result<Command<'_>, ParseError> {
    let (mailbox, rest) = take_bracketed(after_keyword(rest, "TO:")?).map_err(ParseError::Recipient)?;
    let parameters = RcptParameters::parse(rest)?;
    if mailbox.eq_ignore_ascii_case("postmaster") {
        return Ok(Command::Rcpt(RcptTo::Postmaster, parameters));
    }
    let path = Path::parse(mailbox).map_err(ParseError::Recipient)?;
    Ok(Command::Rcpt(RcptTo::Path(path), parameters))
}

/// `FROM:` and `TO:` in any case. Deviates from RFC 5321 §3.3: a space after the colon is borne, since
/// several widespread clients write it.
fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Result<&'a str, ParseError> {
    let (word, path) = rest.split_at_checked(keyword.len()).ok_or(ParseError::Syntax)?;
    if !word.eq_ignore_ascii_case(keyword) {
        return Err(ParseError::Syntax);
    }
    Ok(path.trim_start_matches(' '))
}

/// `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]` (RFC 3030 §2).
fn bdat(rest: &str) -> Result<Command<'_>, ParseError> {
    let (size, end) = rest.split_once(' ').map_or((rest, None), |(size, end)| (size, Some(end)));
    let bytes = number(size).ok_or(ParseError::ChunkSize)?;
    match end {
        None => Ok(Command::Bdat { bytes, is_last: false }),
        Some(end) if end.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { bytes, is_last: true }),
        Some(_) => Err(ParseError::ChunkSize),
    }
}

/// `burl-cmd = "BURL" SP absolute-URI [SP end-marker]` (RFC 4468 §3.5). What the URL means is not ours to know.
fn burl(rest: &str) -> Result<Command<'_>, ParseError> {
    let (url, end) = rest.split_once(' ').map_or((rest, None), |(url, end)| (url, Some(end)));
    if url.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ParseError::Arguments);
    }
    match end {
        None => Ok(Command::Burl { url, is_last: false }),
        Some(end) if end.eq_ignore_ascii_case("LAST") => Ok(Command::Burl { url, is_last: true }),
        Some(_) => Err(ParseError::Arguments),
    }
}

fn auth(rest: &str) -> Result<Command<'_>, ParseError> {
    let mut words = rest.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) if !mechanism.is_empty() => Ok(Command::Auth { mechanism, initial }),
        _ => Err(ParseError::Arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    #[test]
    fn lines_become_commands() {
        let path = |text| Some(Path::parse(text).unwrap());
        let none = MailParameters::default;
        for (line, command) in [
            ("EHLO mx.example.com", Command::Ehlo("mx.example.com")),
            ("helo [192.0.2.1] ", Command::Helo("[192.0.2.1]")),
            ("LHLO x", Command::Lhlo("x")),
            ("MAIL FROM:<>", Command::Mail(None, none())),
            ("mail from: <a@b> ", Command::Mail(path("a@b"), none())),
            ("RCPT TO:<POSTmaster>", Command::Rcpt(RcptTo::Postmaster, RcptParameters::default())),
            ("DATA", Command::Data),
            ("BDAT 86 LAST", Command::Bdat { bytes: 86, is_last: true }),
            ("BDAT 0", Command::Bdat { bytes: 0, is_last: false }),
            ("BURL imap://h/i/;UID=1", Command::Burl { url: "imap://h/i/;UID=1", is_last: false }),
            ("burl x: last ", Command::Burl { url: "x:", is_last: true }),
            ("NOOP anything", Command::Noop),
            ("VRFY ann", Command::Vrfy),
            ("EXPN staff", Command::NotImplemented),
            ("AUTH PLAIN", Command::Auth { mechanism: "PLAIN", initial: None }),
            ("AUTH PLAIN =", Command::Auth { mechanism: "PLAIN", initial: Some("=") }),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_says_why() {
        for (line, error) in [
            (&b"FROB"[..], ParseError::Unknown),
            (b"", ParseError::Unknown),
            (b"EHLO", ParseError::Arguments),
            (b"EHLO a b", ParseError::Arguments),
            (b"EHLO \xff", ParseError::Encoding),
            (b"DATA now", ParseError::Arguments),
            (b"STARTTLS x", ParseError::Arguments),
            (b"MAIL", ParseError::Syntax),
            (b"MAIL TO:<a@b>", ParseError::Syntax),
            (b"MAIL FROM:a@b", ParseError::Sender(PathError::Brackets)),
            (b"MAIL FROM:<a>", ParseError::Sender(PathError::Mailbox)),
            (b"MAIL FROM:<a@b>SIZE=1", ParseError::Syntax),
            (b"RCPT TO:<>", ParseError::Recipient(PathError::Mailbox)),
            (b"BDAT", ParseError::ChunkSize),
            (b"BDAT -1", ParseError::ChunkSize),
            (b"BDAT 1 FIRST", ParseError::ChunkSize),
            (b"BURL", ParseError::Arguments),
            (b"BURL  LAST", ParseError::Arguments),
            (b"BURL x: FIRST", ParseError::Arguments),
            (b"BURL x: LAST now", ParseError::Arguments),
            ("BURL é".as_bytes(), ParseError::Arguments),
            (b"AUTH", ParseError::Arguments),
            (b"AUTH PLAIN a b", ParseError::Arguments),
        ] {
            assert_eq!(Command::parse(line), Err(error), "{line:?}");
        }
    }

    #[test]
    fn noise_never_panics() {
        let seeds =
            ["MAIL FROM:<\"a b\"@c> SIZE=1 ENVID=+4B", "RCPT TO:<@x:é@b> NOTIFY=NEVER", "BDAT 12 LAST"];
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let mut line = seeds[random.below(seeds.len() as u64) as usize].as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(line.len() as u64) as usize;
                line[at] = random.next_u64() as u8;
            }
            line.truncate(random.below(line.len() as u64 + 1) as usize);
            let _ = Command::parse(&line);
        }
    }
}
