//! XCLIENT, as Postfix's `XCLIENT_README` describes it: a gateway that an operator trusts says for whom it speaks.

use alloc::string::String;
use core::net::{IpAddr, Ipv6Addr};

use crate::command::ParseError;
use crate::parameters::xtext;
use crate::path::is_helo_name;

/// What EHLO says of it: the attributes that are taken.
pub(crate) const KEYWORD: &str = "XCLIENT ADDR PORT NAME HELO PROTO";

/// The client behind a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// ADDR: where it is.
    pub address: Option<IpAddr>,
    /// HELO: its name for itself.
    pub helo: Option<String>,
    /// HELO is not known: what was said of it before counts no more.
    pub is_helo_unknown: bool,
}

impl Announced {
    /// Reads ` NAME=value` words, at least one. NAME and PORT are checked for their form and not used: the server looks
    /// names up itself. An address that the gateway does not know is refused, since all that is decided by addresses
    /// would be decided by the gateway's.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut found = Self::default();
        let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
        if words.peek().is_none() {
            return Err(ParseError::Arguments);
        }
        for word in words {
            let (name, value) = word.split_once('=').ok_or(ParseError::Arguments)?;
            let value = xtext(value).filter(|value| !value.is_empty()).ok_or(ParseError::ParameterValue)?;
            found.take(name, value).ok_or(ParseError::ParameterValue)?;
        }
        Ok(found)
    }

    /// `None` for what cannot be.
    fn take(&mut self, name: &str, value: String) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let is_unknown =
            ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|word| value.eq_ignore_ascii_case(word));
        match name {
            _ if is("ADDR") => self.address = Some(address(&value)?),
            _ if is("HELO") && is_unknown => (self.helo, self.is_helo_unknown) = (None, true),
            _ if is("HELO") => {
                self.helo = Some(value).filter(|name| is_helo_name(name)).map(Some)?;
                self.is_helo_unknown = false;
            }
            _ if is("NAME") => (is_unknown || is_helo_name(&value)).then_some(())?,
            _ if is("PORT") => (is_unknown || value.parse::<u16>().is_ok()).then_some(())?,
            _ if is("PROTO") => {
                ["SMTP", "ESMTP"].iter().any(|word| value.eq_ignore_ascii_case(word)).then_some(())?;
            }
            _ => return None,
        }
        Some(())
    }
}

/// An IPv4 address, or an IPv6 address behind `IPV6:`.
fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IPV6:") => {
            rest.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
        }
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read() {
        let text = " NAME=spike.example ADDR=168.100.189.2 PORT=1234 helo=spike+2Eexample PROTO=ESMTP";
        let found = Announced::parse(text).unwrap();
        assert_eq!(found.address, Some([168, 100, 189, 2].into()));
        assert_eq!(found.helo.as_deref(), Some("spike.example"));
        let found = Announced::parse("ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE] HELO=[UNAVAILABLE]").unwrap();
        assert_eq!(found.address, "2001:db8::1".parse().ok());
        assert_eq!((found.helo, found.is_helo_unknown), (None, true));
    }

    #[test]
    fn attributes_that_cannot_be_are_refused() {
        for (text, error) in [
            ("", ParseError::Arguments),
            (" ", ParseError::Arguments),
            ("ADDR", ParseError::Arguments),
            ("ADDR=", ParseError::ParameterValue),
            ("ADDR=[UNAVAILABLE]", ParseError::ParameterValue),
            ("ADDR=2001:db8::1", ParseError::ParameterValue),
            ("ADDR=IPV6:192.0.2.1", ParseError::ParameterValue),
            ("HELO=a+20b", ParseError::ParameterValue),
            ("HELO=a+0D+0Ab", ParseError::ParameterValue),
            ("PORT=65536", ParseError::ParameterValue),
            ("PROTO=QMQP", ParseError::ParameterValue),
            ("LOGIN=ann", ParseError::ParameterValue),
            ("NAME=+zz", ParseError::ParameterValue),
        ] {
            assert_eq!(Announced::parse(text), Err(error), "{text}");
        }
    }
}
