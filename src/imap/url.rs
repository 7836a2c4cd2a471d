//! IMAP URLs of a message or of some of its bytes (RFC 5092 §6, §11): `imap://ann@host/box/;UID=1/;SECTION=2`, with
//! who may use them and the proof of it (RFC 4467 §3). Other IMAP URLs, of servers, mailboxes and searches, are
//! refused: nothing here is done with them. Read strictly; a URL that anything is wrong with means nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use base::{Rfc3339, Secret, Timestamp, Uid, UidValidity, parse_rfc3339};

use crate::UrlError;
use crate::command::fetch::{Label, Partial, Section, What, section_spec};
use crate::limits::URL_BYTES_MAX;
use crate::parse::{Cursor, ParseError};
use crate::response::section::write_spec;

/// A message, or some of its bytes, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whose mailbox it is, and who logs in where nothing else is said.
    pub user: Option<String>,
    /// The SASL mechanism to log in by; `*` is any.
    pub auth: Option<String>,
    /// The server: a name or an address, as written.
    pub host: String,
    /// Its port, if not the usual one.
    pub port: Option<u16>,
    /// The mailbox's name in UTF-8.
    pub mailbox: String,
    /// The incarnation of the mailbox that the UID is of.
    pub uid_validity: Option<UidValidity>,
    /// The message.
    pub uid: Uid,
    /// Which of its bytes.
    pub section: Section,
    /// Who may use it, if it is one for others.
    pub grant: Option<Grant>,
}

/// `;URLAUTH=` and what belongs to it (RFC 4467 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The last moment at which it holds.
    pub expires: Option<Timestamp>,
    /// Who may use it.
    pub access: Access,
    /// The proof that it was given; without one it has still to be made.
    pub verifier: Option<Verifier>,
}

/// An access identifier (RFC 4467 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// `submit+user`: the submission server, for that user.
    Submit(String),
    /// `user+user`: that user.
    User(String),
    /// `authuser`: anybody who has logged in as somebody.
    AuthUser,
    /// `anonymous`: anybody.
    Anonymous,
}

/// `:mechanism:token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// In upper case.
    pub mechanism: String,
    /// The token's bytes.
    pub token: Secret<Vec<u8>>,
    /// The URL up to it, byte for byte: what the token is made of (RFC 4467 §6).
    pub rump: String,
}

/// Who asks for what a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlReader {
    /// Somebody by IMAP.
    Session,
    /// The submission server, for somebody who has logged in there.
    Submission,
}

/// The one mechanism there is (RFC 4467 §2.4.1).
pub(crate) const INTERNAL: &str = "INTERNAL";

/// A token has 128 bits or more (RFC 4467 §2.5).
const TOKEN_BYTES_MIN: usize = 16;

impl Url {
    /// `imapurl = "imap://" iserver "/" imessagepart [iurlauth]`, where what lacks the proof may end at the access
    /// identifier.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text.as_bytes());
        if text.len() > URL_BYTES_MAX {
            return cursor.fail("a shorter URL");
        }
        word(&mut cursor, "imap://", "imap://")?;
        let (user, auth) = user_info(&mut cursor)?;
        let (host, port) = server(&mut cursor)?;
        cursor.eat(b'/', "a mailbox")?;
        let (mailbox, uid_validity) = mailbox(&mut cursor)?;
        let uid = Uid(cursor.nz_number()?);
        let section = section(&mut cursor)?;
        let grant = grant(&mut cursor, text)?;
        cursor.end()?;
        Ok(Self { user, auth, host, port, mailbox, uid_validity, uid, section, grant })
    }

    /// An absolute path (RFC 5092 §7), which means what lies in the account at hand: `/box/;UID=1/;SECTION=2`.
    pub(crate) fn of_path(text: &str) -> Result<Self, ParseError> {
        let fail = |expected| Err(ParseError { at: 0, expected });
        // RFC 5092 §7.2: other relative references are not to be accepted.
        if !text.starts_with('/') || text.starts_with("//") {
            return fail("a path that begins with /");
        }
        let url = Self::parse(&["imap://localhost", text].concat())?;
        if url.grant.is_some() { fail("no access identifier") } else { Ok(url) }
    }

    /// Whose the account has to be that asks; `None` is anybody's. An error when such a reader may not ask at all
    /// (RFC 4467 §3). Without a grant a URL is for its user alone, and for submission (RFC 4468 §3.3).
    pub fn reader(&self, reader: UrlReader) -> Result<Option<&str>, UrlError> {
        match (self.grant.as_ref().map(|grant| &grant.access), reader) {
            (None, UrlReader::Submission) => Ok(self.user.as_deref()),
            (Some(Access::Submit(user)), UrlReader::Submission)
            | (Some(Access::User(user)), UrlReader::Session) => Ok(Some(user)),
            (Some(Access::AuthUser | Access::Anonymous), UrlReader::Session) => Ok(None),
            (None | Some(Access::Submit(_)), UrlReader::Session)
            | (Some(Access::User(_) | Access::AuthUser | Access::Anonymous), UrlReader::Submission) => {
                Err(UrlError::Denied)
            }
        }
    }

    /// Whether it means all of a message.
    pub fn is_whole(&self) -> bool {
        let Section { path, what, partial, .. } = &self.section;
        path.is_empty() && *what == What::All && partial.is_none()
    }

    /// Whether the grant has run out (RFC 4467 §3).
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.grant.as_ref().and_then(|grant| grant.expires).is_some_and(|expires| expires < now)
    }
}

fn word(cursor: &mut Cursor<'_>, word: &str, expected: &'static str) -> Result<(), ParseError> {
    if cursor.skip_word(word) { Ok(()) } else { cursor.fail(expected) }
}

/// `[iuserinfo "@"]`, where `iuserinfo = enc-user [iauth] / [enc-user] iauth`.
fn user_info(cursor: &mut Cursor<'_>) -> Result<(Option<String>, Option<String>), ParseError> {
    let authority = cursor.rest().split(|&byte| byte == b'/').next().unwrap_or_default();
    if !authority.contains(&b'@') {
        return Ok((None, None));
    }
    let user = if cursor.peek() == Some(b';') { None } else { Some(decoded(cursor, is_achar)?) };
    let mut auth = None;
    if user.is_none() || cursor.peek() == Some(b';') {
        word(cursor, ";AUTH=", ";AUTH=")?;
        auth = Some(decoded(cursor, is_achar)?);
    }
    cursor.eat(b'@', "@ and a server")?;
    Ok((user, auth))
}

/// `host [":" port]`.
fn server(cursor: &mut Cursor<'_>) -> Result<(String, Option<u16>), ParseError> {
    let start = cursor.clone();
    let host = if cursor.skip(b'[') {
        cursor.take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        cursor.eat(b']', "a closing bracket")?;
        start.rest().get(..cursor.position() - start.position()).unwrap_or_default()
    } else {
        cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    if host.is_empty() {
        return start.fail("a server");
    }
    let port = if cursor.skip(b':') {
        let at = cursor.position();
        let port = u16::try_from(cursor.nz_number()?);
        Some(port.map_err(|_| ParseError { at, expected: "a port" })?)
    } else {
        None
    };
    Ok((String::from_utf8_lossy(host).into_owned(), port))
}

/// `enc-mailbox [uidvalidity] "/;UID="`. A slash is part of a mailbox's name, so it is known only behind the name
/// whether its last one was.
fn mailbox(cursor: &mut Cursor<'_>) -> Result<(String, Option<UidValidity>), ParseError> {
    let start = cursor.clone();
    let mut name = cursor.take_while(is_bchar);
    let mut uid_validity = None;
    if cursor.skip_word(";UIDVALIDITY=") {
        uid_validity = Some(UidValidity(cursor.nz_number()?));
        cursor.eat(b'/', "/;UID=")?;
    } else {
        name = match name.split_last() {
            Some((b'/', name)) => name,
            _ => return cursor.fail("/;UID="),
        };
    }
    word(cursor, ";UID=", ";UID=")?;
    Ok((percent_decoded(name, &start)?, uid_validity))
}

/// `[isection] [ipartial]`.
fn section(cursor: &mut Cursor<'_>) -> Result<Section, ParseError> {
    let all =
        Section { label: Label::Body, path: Vec::new(), what: What::All, partial: None, sets_seen: false };
    let mut section = all;
    if cursor.skip_word("/;SECTION=") {
        let start = cursor.clone();
        let mut spec = cursor.take_while(is_bchar);
        if cursor.rest().get(..9).is_some_and(|next| next.eq_ignore_ascii_case(b";PARTIAL=")) {
            let Some((b'/', front)) = spec.split_last() else { return cursor.fail("/;PARTIAL=") };
            spec = front;
            cursor.skip_word(";");
            section.partial = Some(partial(cursor)?);
        }
        let spec = percent_decoded(spec, &start)?;
        if !spec.is_ascii() {
            return start.fail("a section in ASCII");
        }
        (section.path, section.what) = section_spec(spec.as_bytes())
            .map_err(|error| ParseError { at: start.position(), expected: error.expected })?;
    } else if cursor.skip_word("/;") {
        section.partial = Some(partial(cursor)?);
    }
    Ok(section)
}

/// `"PARTIAL=" number ["." nz-number]`; without a length, all that follows.
fn partial(cursor: &mut Cursor<'_>) -> Result<Partial, ParseError> {
    word(cursor, "PARTIAL=", "SECTION= or PARTIAL=")?;
    let offset = u64::from(cursor.number()?);
    let length = if cursor.skip(b'.') { u64::from(cursor.nz_number()?) } else { u64::MAX };
    Ok(Partial { offset, length })
}

/// `[[";EXPIRE=" date-time] ";URLAUTH=" access [":" mechanism ":" token]]`.
fn grant(cursor: &mut Cursor<'_>, text: &str) -> Result<Option<Grant>, ParseError> {
    if cursor.is_end() {
        return Ok(None);
    }
    let mut expires = None;
    if cursor.skip_word(";EXPIRE=") {
        let at = cursor.position();
        let moment = cursor.take_while(|byte| byte != b';');
        let moment = core::str::from_utf8(moment).ok().and_then(parse_rfc3339);
        expires = Some(moment.ok_or(ParseError { at, expected: "a date and time" })?);
    }
    word(cursor, ";URLAUTH=", ";URLAUTH= or the end of the URL")?;
    let access = access(cursor)?;
    let verifier = if cursor.is_end() { None } else { Some(verifier(cursor, text)?) };
    Ok(Some(Grant { expires, access, verifier }))
}

fn access(cursor: &mut Cursor<'_>) -> Result<Access, ParseError> {
    if cursor.skip_word("submit+") {
        return decoded(cursor, is_achar).map(Access::Submit);
    }
    if cursor.skip_word("user+") {
        return decoded(cursor, is_achar).map(Access::User);
    }
    if cursor.skip_word("authuser") {
        return Ok(Access::AuthUser);
    }
    word(cursor, "anonymous", "an access identifier").map(|()| Access::Anonymous)
}

/// `":" uauth-mechanism ":" enc-urlauth`.
fn verifier(cursor: &mut Cursor<'_>, text: &str) -> Result<Verifier, ParseError> {
    let rump = text.get(..cursor.position()).unwrap_or_default().to_string();
    cursor.eat(b':', "a mechanism")?;
    let mechanism = mechanism(cursor)?;
    cursor.eat(b':', "a token")?;
    let start = cursor.clone();
    let token = unhex(cursor.take_while(|byte| byte.is_ascii_hexdigit()));
    let Some(token) = token.filter(|token| token.len() >= TOKEN_BYTES_MIN) else {
        return start.fail("a token in hexadecimal digits");
    };
    Ok(Verifier { mechanism, token: Secret::new(token), rump })
}

/// `uauth-mechanism = "INTERNAL" / 1*(ALPHA / DIGIT / "-" / ".")`, in upper case.
pub(crate) fn mechanism(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    let text = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if text.is_empty() {
        return cursor.fail("a mechanism");
    }
    Ok(String::from_utf8_lossy(text).to_ascii_uppercase())
}

/// One or more characters of a kind, percent-encoding undone.
fn decoded(cursor: &mut Cursor<'_>, is_part: impl Fn(u8) -> bool) -> Result<String, ParseError> {
    let start = cursor.clone();
    percent_decoded(cursor.take_while(is_part), &start)
}

/// Undoes the percent-encoding of a text that is not empty; what comes out is UTF-8 without control characters.
fn percent_decoded(text: &[u8], start: &Cursor<'_>) -> Result<String, ParseError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => return start.fail("two hexadecimal digits behind each %"),
            },
            (b'%', _) => return start.fail("two hexadecimal digits behind each %"),
            _ => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
    match String::from_utf8(out) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(text),
        _ => start.fail("UTF-8 without control characters"),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Two hexadecimal digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// `achar = unreserved / sub-delims without ";" / pct-encoded`.
fn is_achar(byte: u8) -> bool {
    is_plain(byte) || byte == b'%'
}

/// `bchar = achar / ":" / "@" / "/"`.
fn is_bchar(byte: u8) -> bool {
    is_achar(byte) || matches!(byte, b':' | b'@' | b'/')
}

/// What an `achar` can be without being encoded.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*+,&=".contains(&byte)
}

/// Text with all but `achar`, and the characters of `beside`, percent-encoded.
struct Encoded<'a>(&'a [u8], &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            if is_plain(byte) || self.1.contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(user) => write!(f, "submit+{}", Encoded(user.as_bytes(), b"")),
            Self::User(user) => write!(f, "user+{}", Encoded(user.as_bytes(), b"")),
            Self::AuthUser => f.write_str("authuser"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// The URL in its one form, which need not be the one that a token was made of.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("imap://")?;
        if let Some(user) = &self.user {
            write!(f, "{}", Encoded(user.as_bytes(), b""))?;
        }
        if let Some(auth) = &self.auth {
            write!(f, ";AUTH={}", Encoded(auth.as_bytes(), b""))?;
        }
        if self.user.is_some() || self.auth.is_some() {
            f.write_str("@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", Encoded(self.mailbox.as_bytes(), b"/"))?;
        if let Some(validity) = self.uid_validity {
            write!(f, ";UIDVALIDITY={validity}")?;
        }
        write!(f, "/;UID={}", self.uid)?;
        let mut spec = Vec::new();
        write_spec(&mut spec, &self.section);
        if !spec.is_empty() {
            write!(f, "/;SECTION={}", Encoded(&spec, b""))?;
        }
        match self.section.partial {
            Some(Partial { offset, length: u64::MAX }) => write!(f, "/;PARTIAL={offset}")?,
            Some(Partial { offset, length }) => write!(f, "/;PARTIAL={offset}.{length}")?,
            None => {}
        }
        let Some(grant) = &self.grant else { return Ok(()) };
        if let Some(expires) = grant.expires {
            write!(f, ";EXPIRE={}", Rfc3339(expires))?;
        }
        write!(f, ";URLAUTH={}", grant.access)?;
        match &grant.verifier {
            Some(verifier) => write!(f, ":{}:{}", verifier.mechanism, hex(verifier.token.reveal())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    const TOKEN: &str = "91354a473744909de610943775f92038";

    fn whole() -> Url {
        let section = Section {
            label: Label::Body,
            path: Vec::new(),
            what: What::All,
            partial: None,
            sets_seen: false,
        };
        Url {
            user: None,
            auth: None,
            host: "h".into(),
            port: None,
            mailbox: "INBOX".into(),
            uid_validity: None,
            uid: Uid(7),
            section,
            grant: None,
        }
    }

    #[test]
    fn urls_of_messages_are_read_and_written() {
        let granted = |access, verifier| Some(Grant { expires: None, access, verifier });
        let part = |path: &[u32], what| Section { path: path.to_vec(), what, ..whole().section };
        let cut = |offset, length| Section { partial: Some(Partial { offset, length }), ..whole().section };
        let names = Vec::from([b"From".to_vec(), b"To".to_vec()]);
        for (text, url) in [
            ("imap://h/INBOX/;UID=7", whole()),
            (
                "imap://ann%40x.org;AUTH=SCRAM-SHA-1@h:1143/INBOX/;UID=7",
                Url {
                    user: Some("ann@x.org".into()),
                    auth: Some("SCRAM-SHA-1".into()),
                    port: Some(1143),
                    ..whole()
                },
            ),
            ("imap://;AUTH=*@h/INBOX/;UID=7", Url { auth: Some("*".into()), ..whole() }),
            ("imap://[2001:db8::1]/INBOX/;UID=7", Url { host: "[2001:db8::1]".into(), ..whole() }),
            (
                "imap://h/%E6%97%A5%E6%9C%AC/a%20b%3B;UIDVALIDITY=385759045/;UID=7",
                Url {
                    mailbox: "日本/a b;".into(), uid_validity: Some(UidValidity(385_759_045)), ..whole()
                },
            ),
            ("imap://h/INBOX/;UID=7/;SECTION=1.2", Url { section: part(&[1, 2], What::All), ..whole() }),
            (
                "imap://h/INBOX/;UID=7/;SECTION=3.HEADER.FIELDS%20(From%20To)",
                Url { section: part(&[3], What::Fields(names)), ..whole() },
            ),
            ("imap://h/INBOX/;UID=7/;PARTIAL=0.1024", Url { section: cut(0, 1024), ..whole() }),
            ("imap://h/INBOX/;UID=7/;PARTIAL=5", Url { section: cut(5, u64::MAX), ..whole() }),
            (
                "imap://h/INBOX/;UID=7/;SECTION=TEXT/;PARTIAL=1.2;URLAUTH=authuser",
                Url {
                    section: Section { what: What::Text, ..cut(1, 2) },
                    grant: granted(Access::AuthUser, None),
                    ..whole()
                },
            ),
            (
                "imap://joe@h/INBOX/;UID=7;URLAUTH=submit+fred%40x.org",
                Url {
                    user: Some("joe".into()),
                    grant: granted(Access::Submit("fred@x.org".into()), None),
                    ..whole()
                },
            ),
        ] {
            assert_eq!(Url::parse(text), Ok(url.clone()), "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn a_proof_is_of_the_url_as_it_was_written() {
        let rump =
            "IMAP://Joe@H/inbox/;uid=20/;section=1.2;expire=2026-01-31T09:00:00+01:00;urlauth=user+fr%65d";
        let text = [rump, ":internal:", &TOKEN.to_ascii_uppercase()].concat();
        let url = Url::parse(&text).unwrap();
        let grant = url.grant.clone().unwrap();
        assert_eq!(grant.access, Access::User("fred".into()));
        assert_eq!(grant.expires, parse_rfc3339("2026-01-31T08:00:00Z"));
        let verifier = grant.verifier.unwrap();
        assert_eq!((verifier.mechanism.as_str(), verifier.rump.as_str()), ("INTERNAL", rump));
        assert_eq!(hex(verifier.token.reveal()), TOKEN);
        assert!(!alloc::format!("{:?}", Url::parse(&text)).contains("145"), "0x91 is no secret any more");
        let at = |s: i64| Timestamp::from_s(1_769_846_400 + s);
        assert_eq!((url.is_expired(at(0)), url.is_expired(at(1))), (false, true));
        assert!(!whole().is_expired(Timestamp::NEVER));
    }

    #[test]
    fn what_is_no_url_of_a_message_is_refused() {
        for text in [
            "",
            "imap:",
            "http://h/INBOX/;UID=7",
            "imap://h",
            "imap://h/",
            "imap://h/INBOX",
            "imap://h/INBOX;UIDVALIDITY=1",
            "imap://h/INBOX?SUBJECT%20x",
            "imap://h/INBOX/;UID=0",
            "imap://h/INBOX/;UID=4294967296",
            "imap://h/INBOX/;UID=7/",
            "imap://h/INBOX;UID=7",
            "imap://h//;UID=7x",
            "imap://h/;UID=7",
            "imap:///INBOX/;UID=7",
            "imap://@h/INBOX/;UID=7",
            "imap://a@b@h/INBOX/;UID=7",
            "imap://a:b@h/INBOX/;UID=7",
            "imap://h:0/INBOX/;UID=7",
            "imap://h:65536/INBOX/;UID=7",
            "imap://h/IN%4/;UID=7",
            "imap://h/IN%GG/;UID=7",
            "imap://h/IN%00/;UID=7",
            "imap://h/IN%0D%0A/;UID=7",
            "imap://h/IN%FF/;UID=7",
            "imap://h/IN BOX/;UID=7",
            "imap://h/日/;UID=7",
            "imap://h/INBOX;UIDVALIDITY=0/;UID=7",
            "imap://h/INBOX;UIDVALIDITY=1;UID=7",
            "imap://h/INBOX/;UID=7/;SECTION=",
            "imap://h/INBOX/;UID=7/;SECTION=0",
            "imap://h/INBOX/;UID=7/;SECTION=1.",
            "imap://h/INBOX/;UID=7/;SECTION=1%5D",
            "imap://h/INBOX/;UID=7/;SECTION=1/",
            "imap://h/INBOX/;UID=7/;SECTION=1;PARTIAL=1",
            "imap://h/INBOX/;UID=7/;PARTIAL=1.0",
            "imap://h/INBOX/;UID=7/;PARTIAL=1.1/;SECTION=1",
            "imap://h/INBOX/;UID=7;EXPIRE=2026-01-31T08:00:00Z",
            "imap://h/INBOX/;UID=7;EXPIRE=yesterday;URLAUTH=anonymous",
            "imap://h/INBOX/;UID=7;URLAUTH=",
            "imap://h/INBOX/;UID=7;URLAUTH=everybody",
            "imap://h/INBOX/;UID=7;URLAUTH=submit+",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous:INTERNAL",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous:INTERNAL:",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous::91354a473744909de610943775f92038",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous:INTERNAL:91354a473744909de610943775f920",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous:INTERNAL:91354a473744909de610943775f920388",
            "imap://h/INBOX/;UID=7;URLAUTH=anonymous:INTERNAL:91354a473744909de610943775f92038;x",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        let long = ["imap://h/", &"a".repeat(URL_BYTES_MAX), "/;UID=7"].concat();
        assert!(Url::parse(&long).is_err());
    }

    #[test]
    fn noise_is_refused_or_means_what_its_one_form_means() {
        let seed = [
            "imap://joe%40x.org;AUTH=*@h.example:143/a/b%20c;UIDVALIDITY=9/;UID=20/;SECTION=1.HEADER/;PARTIAL=1.2",
            ";EXPIRE=2026-01-31T08:00:00Z;URLAUTH=submit+fred:INTERNAL:",
            TOKEN,
        ]
        .concat();
        let bytes = b"%;/:@=+.?-*0aZ \0";
        let mut random = Random::new(11);
        let mut read = 0;
        for _ in 0..20_000 {
            let mut text = seed.clone().into_bytes();
            for _ in 0..=random.below(2) {
                let at = random.below(text.len() as u64) as usize;
                match random.below(3) {
                    0 => text[at] = bytes[random.below(bytes.len() as u64) as usize],
                    1 => drop(text.remove(at)),
                    _ => text.insert(at, bytes[random.below(bytes.len() as u64) as usize]),
                }
            }
            let text = String::from_utf8(text).unwrap();
            let Ok(mut url) = Url::parse(&text) else { continue };
            read += 1;
            let mut again = Url::parse(&url.to_string()).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            // What is proven is the text itself, and each form has another.
            for url in [&mut url, &mut again] {
                if let Some(verifier) = url.grant.as_mut().and_then(|grant| grant.verifier.as_mut()) {
                    verifier.rump.clear();
                }
            }
            assert_eq!(url, again, "{text}");
        }
        assert!(read > 1_000, "{read} were read");
    }
}
