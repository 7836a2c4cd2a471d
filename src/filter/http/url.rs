//! The address of an HTTP filter, as an operator writes it.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;

/// An `http://` or `https://` address (RFC 9110 §4.2). For `https` whoever drives the exchange does TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    is_tls: bool,
    host: String,
    port: u16,
    target: String,
}

/// Why an address is none; a person reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// There is no host, or it holds what no host has.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// A user, a fragment, a space or another character that does not belong there.
    Character,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it must begin with http:// or https://",
            Self::Host => "it has no host name or address",
            Self::Port => "its port is no number from 1 to 65535",
            Self::Character => "it holds a user name, a fragment or a character that may not stand there",
        })
    }
}

impl Url {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (is_tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(UrlError::Scheme),
        };
        if !rest
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\'))
        {
            return Err(UrlError::Character);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        if authority.contains('@') {
            return Err(UrlError::Character);
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, after)) => {
                address.parse::<core::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
                (
                    address,
                    after
                        .strip_prefix(':')
                        .or_else(|| after.is_empty().then_some(""))
                        .ok_or(UrlError::Port)?,
                )
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(UrlError::Host);
        }
        let port = match port {
            "" => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            digits => digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?,
        };
        let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
        Ok(Self { is_tls, host: host.to_string(), port, target })
    }

    /// Whether TLS goes around it.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as the request line has them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// For the Host field: the port only where it is not the scheme's.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_operators_write_them() {
        let read = |text: &str| {
            Url::parse(text).map(|url| (url.is_tls, url.authority(), url.port, url.target.clone()))
        };
        let is = |tls, host: &str, port, target: &str| Ok((tls, host.to_string(), port, target.to_string()));
        assert_eq!(read("http://localhost:11333/checkv2"), is(false, "localhost:11333", 11333, "/checkv2"));
        assert_eq!(read("https://a.example"), is(true, "a.example", 443, "/"));
        assert_eq!(read("https://a.example?x=1"), is(true, "a.example", 443, "/?x=1"));
        assert_eq!(read("http://[::1]:8080/x"), is(false, "[::1]:8080", 8080, "/x"));
        assert_eq!(read("http://[::1]/"), is(false, "[::1]", 80, "/"));
        for (text, error) in [
            ("ftp://x/", UrlError::Scheme),
            ("http:///x", UrlError::Host),
            ("http://[::zz]/", UrlError::Host),
            ("http://a:0/", UrlError::Port),
            ("http://a:99999/", UrlError::Port),
            ("http://[::1]x/", UrlError::Port),
            ("http://u@a/", UrlError::Character),
            ("http://a/ b", UrlError::Character),
            ("http://a/\r\nX: y", UrlError::Character),
            ("http://a/#b", UrlError::Character),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
