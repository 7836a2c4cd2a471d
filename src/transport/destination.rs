//! What stands behind the `@` of a recipient.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base::dns::{NAME_BYTES_MAX, normal};

/// A domain, or the address of a host (RFC 5321 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Lower case, without the last dot.
    Domain(String),
    /// Only this host, without any look-up.
    Address(IpAddr),
}

impl Destination {
    /// Reads `example.org`, `[192.0.2.1]` or `[IPv6:2001:db8::1]`. Letters beyond ASCII must be A-labels
    /// by now. `None` when it is none of them.
    pub fn parse(domain: &str) -> Option<Self> {
        let Some(literal) = domain.strip_prefix('[') else {
            let name = normal(domain);
            return is_name(&name).then_some(Self::Domain(name));
        };
        let literal = literal.strip_suffix(']')?;
        let tagged = literal.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
        let address = match tagged {
            Some((_, address)) => IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical(),
            None => IpAddr::V4(literal.parse::<Ipv4Addr>().ok()?),
        };
        Some(Self::Address(address))
    }
}

/// Whether a name can be asked for: labels of 1 to 63 letters, digits, `-` and `_`. The last is no letter
/// of host names, but some have it.
pub(crate) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_address_literals_are_told_apart() {
        let domain = |name: &str| Some(Destination::Domain(name.to_owned()));
        let address = |text: &str| Some(Destination::Address(text.parse().unwrap()));
        assert_eq!(Destination::parse("Example.ORG."), domain("example.org"));
        assert_eq!(Destination::parse("[192.0.2.1]"), address("192.0.2.1"));
        assert_eq!(Destination::parse("[ipv6:2001:db8::1]"), address("2001:db8::1"));
        // IPv4 in IPv6 is IPv4: it must not get around rules for addresses.
        assert_eq!(Destination::parse("[IPv6:::ffff:127.0.0.1]"), address("127.0.0.1"));
        for wrong in ["", ".", "a..b", "a b", "[192.0.2.1", "[2001:db8::1]", "[x]", "ä.example"] {
            assert_eq!(Destination::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Destination::parse(&"a.".repeat(140)), None);
    }
}
