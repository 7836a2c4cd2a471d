//! The parameters of MAIL and RCPT (RFC 5321 §4.1.2 `esmtp-param`), and `xtext` (RFC 3461 §4).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::command::ParseError;
use base::{Notify, Return, VerpSigns};

use crate::envelope::BodyKind;
use crate::limits::{ENVID_BYTES_MAX, ORCPT_BYTES_MAX};
use crate::terms::{self, By, Hold};

/// What may follow the reverse-path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE (RFC 1870 §6.1), in bytes.
    pub size_bytes: Option<u64>,
    /// BODY (RFC 6152 §3, RFC 3030 §3).
    pub body: Option<BodyKind>,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub is_smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID (RFC 3461 §4.4), decoded.
    pub envid: Option<String>,
    /// Whether AUTH was there (RFC 4954 §5). Its value is checked and not kept: no peer is trusted to
    /// vouch for another's login, so the clause has us treat any value as `<>`.
    pub has_auth: bool,
    /// REQUIRETLS (RFC 8689 §2).
    pub requires_tls: bool,
    /// MT-PRIORITY (RFC 6710 §4).
    pub priority: Option<i8>,
    /// HOLDFOR or HOLDUNTIL (RFC 4865 §3).
    pub hold: Option<Hold>,
    /// BY (RFC 2852).
    pub by: Option<By>,
    /// XVERP, as Postfix has it: with the usual signs, or with those that it names.
    pub verp: Option<VerpSigns>,
}

/// What may follow the forward-path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 §4.2), still encoded.
    pub orcpt: Option<String>,
}

impl MailParameters {
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut found = Self::default();
        for (keyword, value) in parameters(text)? {
            match (Keyword::of(keyword), value) {
                (Keyword::Size, Some(value)) => once(&mut found.size_bytes, number(value))?,
                (Keyword::Body, Some(value)) => once(&mut found.body, body_kind(value))?,
                (Keyword::Smtputf8, None) => found.is_smtputf8 = true,
                (Keyword::Ret, Some(value)) => once(&mut found.ret, ret(value))?,
                (Keyword::Envid, Some(value)) => once(&mut found.envid, envid(value))?,
                (Keyword::Auth, Some(value)) => {
                    xtext(value).ok_or(ParseError::ParameterValue)?;
                    found.has_auth = true;
                }
                (Keyword::RequireTls, None) => found.requires_tls = true,
                (Keyword::Priority, Some(value)) => once(&mut found.priority, terms::priority(value))?,
                (Keyword::HoldFor, Some(value)) => once(&mut found.hold, terms::hold_for(value))?,
                (Keyword::HoldUntil, Some(value)) => once(&mut found.hold, terms::hold_until(value))?,
                (Keyword::By, Some(value)) => once(&mut found.by, terms::by(value))?,
                (Keyword::Verp, value) => {
                    let signs = value.map_or(Some(VerpSigns::default()), VerpSigns::parse);
                    once(&mut found.verp, signs)?;
                }
                (Keyword::Notify | Keyword::Orcpt | Keyword::Unknown, _) => {
                    return Err(ParseError::Parameter);
                }
                _ => return Err(ParseError::ParameterValue),
            }
        }
        Ok(found)
    }
}

impl RcptParameters {
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut found = Self::default();
        for (keyword, value) in parameters(text)? {
            match (Keyword::of(keyword), value) {
                (Keyword::Notify, Some(value)) => once(&mut found.notify, notify(value))?,
                (Keyword::Orcpt, Some(value)) => once(&mut found.orcpt, orcpt(value))?,
                (Keyword::Notify | Keyword::Orcpt, None) => return Err(ParseError::ParameterValue),
                _ => return Err(ParseError::Parameter),
            }
        }
        Ok(found)
    }
}

#[derive(Clone, Copy)]
enum Keyword {
    Size,
    Body,
    Smtputf8,
    Ret,
    Envid,
    Auth,
    RequireTls,
    Priority,
    HoldFor,
    HoldUntil,
    By,
    Verp,
    Notify,
    Orcpt,
    Unknown,
}

impl Keyword {
    fn of(text: &str) -> Self {
        const ALL: [(&str, Keyword); 14] = [
            ("SIZE", Keyword::Size),
            ("BODY", Keyword::Body),
            ("SMTPUTF8", Keyword::Smtputf8),
            ("RET", Keyword::Ret),
            ("ENVID", Keyword::Envid),
            ("AUTH", Keyword::Auth),
            ("REQUIRETLS", Keyword::RequireTls),
            ("MT-PRIORITY", Keyword::Priority),
            ("HOLDFOR", Keyword::HoldFor),
            ("HOLDUNTIL", Keyword::HoldUntil),
            ("BY", Keyword::By),
            ("XVERP", Keyword::Verp),
            ("NOTIFY", Keyword::Notify),
            ("ORCPT", Keyword::Orcpt),
        ];
        ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map_or(Self::Unknown, |found| found.1)
    }
}

/// Splits ` KEYWORD[=value] ...`. Each begins after a space; more than one space is borne.
fn parameters(text: &str) -> Result<Vec<(&str, Option<&str>)>, ParseError> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(ParseError::Syntax);
    }
    let mut found = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let is_keyword =
            !keyword.is_empty() && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_keyword || value.is_some_and(|value| value.is_empty() || value.contains(char::is_control)) {
            return Err(ParseError::Syntax);
        }
        found.push((keyword, value));
    }
    Ok(found)
}

/// Keeps a value. One that contradicts an earlier one is an error; one that repeats it is not, since client
/// libraries add parameters to those their user gave.
fn once<T: PartialEq>(place: &mut Option<T>, value: Option<T>) -> Result<(), ParseError> {
    let value = value.ok_or(ParseError::ParameterValue)?;
    if place.as_ref().is_some_and(|earlier| *earlier != value) {
        return Err(ParseError::ParameterValue);
    }
    *place = Some(value);
    Ok(())
}

/// `size-value = 1*20DIGIT` (RFC 1870 §6.1). What does not fit is larger than any limit.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn body_kind(text: &str) -> Option<BodyKind> {
    match text {
        t if t.eq_ignore_ascii_case("7BIT") => Some(BodyKind::SevenBit),
        t if t.eq_ignore_ascii_case("8BITMIME") => Some(BodyKind::EightBitMime),
        t if t.eq_ignore_ascii_case("BINARYMIME") => Some(BodyKind::BinaryMime),
        _ => None,
    }
}

fn ret(text: &str) -> Option<Return> {
    match text {
        t if t.eq_ignore_ascii_case("FULL") => Some(Return::Full),
        t if t.eq_ignore_ascii_case("HDRS") => Some(Return::Headers),
        _ => None,
    }
}

/// ENVID is printable ASCII once decoded (RFC 3461 §4.4).
fn envid(text: &str) -> Option<String> {
    xtext(text)
        .filter(|id| id.len() <= ENVID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
}

/// `NEVER`, alone, or a list of the three occasions (RFC 3461 §4.1).
fn notify(text: &str) -> Option<Notify> {
    if text.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::default());
    }
    let mut notify = Notify::default();
    for word in text.split(',') {
        match word {
            w if w.eq_ignore_ascii_case("SUCCESS") => notify.on_success = true,
            w if w.eq_ignore_ascii_case("FAILURE") => notify.on_failure = true,
            w if w.eq_ignore_ascii_case("DELAY") => notify.on_delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// `addr-type ";" xtext` (RFC 3461 §4.2); with the type `utf-8` it may hold UTF-8 as it is (RFC 6533 §3).
fn orcpt(text: &str) -> Option<String> {
    let (kind, address) = text.split_once(';')?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_address =
        if kind.eq_ignore_ascii_case("utf-8") { !address.is_empty() } else { xtext(address).is_some() };
    (is_kind && is_address && text.len() <= ORCPT_BYTES_MAX).then(|| text.into())
}

/// Encodes `xtext` (RFC 3461 §4).
pub(crate) fn to_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b'!'..=b'~').contains(&byte) && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            write!(out, "+{byte:02X}").expect("a String takes all");
        }
    }
    out
}

/// Decodes `xtext`: printable ASCII where `+` begins two upper-case hex digits (RFC 3461 §4).
pub(crate) fn xtext(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(hex(bytes.next()?)? << 4 | hex(bytes.next()?)?),
            b'=' => return None,
            b if b.is_ascii_graphic() => decoded.push(b),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok()
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_mail_are_read() {
        let text = " SIZE=1000 body=8bitmime SMTPUTF8 RET=HDRS ENVID=QQ+2B314 AUTH=e+3Dmc2@example.com";
        let found = MailParameters::parse(text).unwrap();
        assert_eq!(found.size_bytes, Some(1000));
        assert_eq!(found.body, Some(BodyKind::EightBitMime));
        assert_eq!(found.ret, Some(Return::Headers));
        assert_eq!(found.envid.as_deref(), Some("QQ+314"));
        assert!(found.is_smtputf8 && found.has_auth);
        assert_eq!(MailParameters::parse(" SIZE=99999999999999999999").unwrap().size_bytes, Some(u64::MAX));
        let repeated = MailParameters::parse(" SMTPUTF8 BODY=8BITMIME BODY=8BITMIME SMTPUTF8").unwrap();
        assert!(repeated.is_smtputf8 && repeated.body == Some(BodyKind::EightBitMime));
        assert_eq!(MailParameters::parse(" XVERP").unwrap().verp, Some(VerpSigns::default()));
        assert_eq!(MailParameters::parse(" xverp=-= SIZE=1").unwrap().verp, VerpSigns::parse("-="));
        assert_eq!(MailParameters::parse(""), Ok(MailParameters::default()));
    }

    #[test]
    fn a_wrong_parameter_of_mail_has_its_own_error() {
        for (text, error) in [
            (" FOO", ParseError::Parameter),
            (" NOTIFY=NEVER", ParseError::Parameter),
            (" SIZE", ParseError::ParameterValue),
            (" SIZE=x", ParseError::ParameterValue),
            (" SIZE=1 SIZE=2", ParseError::ParameterValue),
            (" SMTPUTF8=1", ParseError::ParameterValue),
            (" BODY=9BIT", ParseError::ParameterValue),
            (" ENVID=+4", ParseError::ParameterValue),
            (" AUTH=+zz", ParseError::ParameterValue),
            (" REQUIRETLS=YES", ParseError::ParameterValue),
            (" MT-PRIORITY=10", ParseError::ParameterValue),
            (" HOLDFOR=60 HOLDUNTIL=2030-01-01T00:00:00Z", ParseError::ParameterValue),
            (" BY=60", ParseError::ParameterValue),
            (" XVERP=+", ParseError::ParameterValue),
            (" XVERP=+-", ParseError::ParameterValue),
            (" XVERP=xy", ParseError::ParameterValue),
            (" XVERP XVERP=-=", ParseError::ParameterValue),
            (" XVERP=", ParseError::Syntax),
            ("SIZE=1", ParseError::Syntax),
            (" =1", ParseError::Syntax),
            (" SIZE=", ParseError::Syntax),
        ] {
            assert_eq!(MailParameters::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn parameters_of_rcpt_are_read() {
        let found = RcptParameters::parse(" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2B@example.com").unwrap();
        assert_eq!(found.notify, Some(Notify { on_success: true, on_failure: false, on_delay: true }));
        assert_eq!(found.orcpt.as_deref(), Some("rfc822;Bob+2B@example.com"));
        assert_eq!(RcptParameters::parse(" NOTIFY=NEVER").unwrap().notify, Some(Notify::default()));
        for (text, error) in [
            (" NOTIFY=NEVER,SUCCESS", ParseError::ParameterValue),
            (" NOTIFY", ParseError::ParameterValue),
            (" ORCPT=bob", ParseError::ParameterValue),
            (" ORCPT=rfc822;a=b", ParseError::ParameterValue),
            (" SIZE=1", ParseError::Parameter),
        ] {
            assert_eq!(RcptParameters::parse(text), Err(error), "{text}");
        }
    }
}
