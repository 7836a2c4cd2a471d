//! SPF records as values. All of a record is parsed before any of it is evaluated (RFC 7208 §4.6).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::SpfResult;
use super::macros::{Macros, Use};

/// The record has a syntax error: `permerror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Prefix lengths of `a` and `mx`, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Macros),
    A(Option<Macros>, Prefixes),
    Mx(Option<Macros>, Prefixes),
    Ptr(Option<Macros>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Macros),
}

/// A mechanism, what a match of it means, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) result: SpfResult,
    pub(super) mechanism: Mechanism,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Macros>,
    pub(super) explanation: Option<Macros>,
}

/// Whether a TXT record is an SPF record at all (RFC 7208 §4.5).
pub(super) fn is_spf(record: &[u8]) -> bool {
    let Some((version, rest)) = record.split_at_checked(6) else { return false };
    version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|byte| *byte == b' ')
}

/// Parses a record for which [`is_spf`] holds.
pub(super) fn parse(record: &[u8]) -> Result<Record, Malformed> {
    let text = std::str::from_utf8(record).ok().filter(|text| text.is_ascii()).ok_or(Malformed)?;
    let mut parsed = Record::default();
    for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
        let end = term.find([':', '/', '=']).unwrap_or(term.len());
        let (name, rest) = term.split_at(end);
        if let Some(value) = rest.strip_prefix('=') {
            modifier(&mut parsed, name, value)?;
        } else {
            parsed.directives.push(directive(term)?);
        }
    }
    Ok(parsed)
}

/// `modifier = redirect / explanation / unknown-modifier`; the first two once each (RFC 7208 §6).
fn modifier(record: &mut Record, name: &str, value: &str) -> Result<(), Malformed> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_name {
        return Err(Malformed);
    }
    let slot = if name.eq_ignore_ascii_case("redirect") {
        &mut record.redirect
    } else if name.eq_ignore_ascii_case("exp") {
        &mut record.explanation
    } else {
        Macros::parse(value, Use::AnyText)?;
        return Ok(());
    };
    if slot.is_some() {
        return Err(Malformed);
    }
    *slot = Some(Macros::parse(value, Use::Domain)?);
    Ok(())
}

/// `directive = [ qualifier ] mechanism`
fn directive(term: &str) -> Result<Directive, Malformed> {
    let (result, body) = match term.as_bytes().first() {
        Some(b'+') => (SpfResult::Pass, term.get(1..)),
        Some(b'-') => (SpfResult::Fail, term.get(1..)),
        Some(b'~') => (SpfResult::SoftFail, term.get(1..)),
        Some(b'?') => (SpfResult::Neutral, term.get(1..)),
        _ => (SpfResult::Pass, Some(term)),
    };
    let body = body.ok_or(Malformed)?;
    let (name, rest) = body.split_at(body.find([':', '/']).unwrap_or(body.len()));
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(domain(rest)?.ok_or(Malformed)?),
        "exists" => Mechanism::Exists(domain(rest)?.ok_or(Malformed)?),
        "ptr" => Mechanism::Ptr(domain(rest)?),
        "a" => {
            let (rest, prefixes) = dual_prefix(rest)?;
            Mechanism::A(domain(rest)?, prefixes)
        }
        "mx" => {
            let (rest, prefixes) = dual_prefix(rest)?;
            Mechanism::Mx(domain(rest)?, prefixes)
        }
        "ip4" => {
            let (address, bits) = network(rest, 32)?;
            Mechanism::Ip4(address.parse().map_err(|_| Malformed)?, bits)
        }
        "ip6" => {
            let (address, bits) = network(rest, 128)?;
            Mechanism::Ip6(address.parse().map_err(|_| Malformed)?, bits)
        }
        _ => return Err(Malformed),
    };
    Ok(Directive { result, mechanism, text: body.to_owned() })
}

/// `[ ":" domain-spec ]`
fn domain(rest: &str) -> Result<Option<Macros>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let spec = rest.strip_prefix(':').ok_or(Malformed)?;
    Macros::parse(spec, Use::Domain).map(Some)
}

/// `":" address [ "/" bits ]`
fn network(rest: &str, bits_max: u8) -> Result<(&str, u8), Malformed> {
    let rest = rest.strip_prefix(':').ok_or(Malformed)?;
    match rest.split_once('/') {
        Some((address, text)) => Ok((address, bits(text, bits_max)?)),
        None => Ok((rest, bits_max)),
    }
}

/// `"0" / %x31-39 *2DIGIT`, no more than the family has.
fn bits(text: &str, bits_max: u8) -> Result<u8, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let value: u8 = text.parse().map_err(|_| Malformed)?;
    if !is_plain || value > bits_max {
        return Err(Malformed);
    }
    Ok(value)
}

/// `dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]`, taken off the end of a term.
fn dual_prefix(rest: &str) -> Result<(&str, Prefixes), Malformed> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut left = rest;
    if let Some((before, text)) = split_digits(left)
        && let Some(before) = before.strip_suffix('/')
    {
        prefixes.v6 = bits(text, 128)?;
        left = before;
    }
    if let Some((before, text)) = split_digits(left) {
        prefixes.v4 = bits(text, 32)?;
        left = before;
    }
    Ok((left, prefixes))
}

/// `before "/" digits` at the end of a text.
fn split_digits(text: &str) -> Option<(&str, &str)> {
    let (before, digits) = text.rsplit_once('/')?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some((before, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_text() {
        assert!(is_spf(b"v=spf1"));
        assert!(is_spf(b"V=SPF1 -all"));
        assert!(!is_spf(b"v=spf10 -all"));
        assert!(!is_spf(b"v=spf"));
    }

    #[test]
    fn prefixes_come_off_the_end() {
        assert_eq!(dual_prefix("/24//64"), Ok(("", Prefixes { v4: 24, v6: 64 })));
        assert_eq!(dual_prefix(":example.com//64"), Ok((":example.com", Prefixes { v4: 32, v6: 64 })));
        assert_eq!(dual_prefix("/33"), Err(Malformed));
        assert_eq!(dual_prefix("/08"), Err(Malformed));
    }

    #[test]
    fn an_error_anywhere_spoils_the_record() {
        for record in [
            "v=spf1 a:museum -all",
            "v=spf1 -all:x",
            "v=spf1 ip4:1.2.3",
            "v=spf1 redirect=a.b redirect=c.d",
            "v=spf1 moo -all",
            "v=spf1 =x -all",
            "v=spf1 include -all",
            "v=spf1 a:%{q}.com",
        ] {
            assert_eq!(parse(record.as_bytes()), Err(Malformed), "{record}");
        }
        let record = parse(b"v=spf1  a/24 ?mx:%{d}//64 moo=%{c} -all ").unwrap();
        assert_eq!(record.directives.len(), 3);
        assert_eq!(record.directives[1].result, SpfResult::Neutral);
    }
}
