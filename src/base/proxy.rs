//! The PROXY protocol, versions 1 and 2: a load balancer says in front of everything else from where a connection
//! really comes. The specification is HAProxy's `proxy-protocol.txt`; the paragraphs are its own.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken, in bytes: a version 2 header with both Unix addresses and room for what clouds
/// and TLS offloaders add (certificates' names, identifiers). Longer ones are refused.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;

/// The longest header of version 1, in bytes with its CRLF (§2.1).
const V1_BYTES_MAX: usize = 107;

/// What version 2 begins with (§2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says of the connection behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// The client's address, and the one that it connected to.
    Addresses {
        /// Where the client is.
        source: SocketAddr,
        /// Where it wanted to go.
        destination: SocketAddr,
    },
    /// The proxy itself, asking whether we are alive: the connection's own addresses hold (`LOCAL`).
    Local,
    /// A client whose address is not known or is none of IP: the connection's own addresses hold (`UNKNOWN`,
    /// `AF_UNSPEC`, `AF_UNIX`).
    Unknown,
}

/// Why the bytes are no header. The specification has the connection closed then (§2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// It begins as neither version does.
    NoHeader,
    /// Version 1: the line is not as it must be, or does not end in time.
    Line,
    /// Version 2: another version or command than are defined.
    Command,
    /// Version 2: fewer bytes than the family's addresses need.
    Short,
    /// Version 2: something else than a stream.
    Transport,
    /// Longer than [`PROXY_HEADER_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "no PROXY header",
            Self::Line => "a PROXY line that is not as it must be",
            Self::Command => "a PROXY header of an unknown version or command",
            Self::Short => "a PROXY header without room for its addresses",
            Self::Transport => "a PROXY header for something else than a stream",
            Self::TooLong => "a PROXY header that is too long",
        })
    }
}

/// Reads the header in front of a connection's bytes: what it says, and how many bytes it takes. `None` when more bytes
/// are needed. What follows the addresses in version 2 (TLVs) is passed over. Only for connections from proxies that
/// an operator has named: anybody can write such a header.
pub fn parse_proxy(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    if begins_as(bytes, V2_SIGNATURE) {
        return version_2(bytes);
    }
    if begins_as(bytes, b"PROXY ") {
        return version_1(bytes);
    }
    Err(ProxyError::NoHeader)
}

/// Whether one is the beginning of the other.
fn begins_as(bytes: &[u8], signature: &[u8]) -> bool {
    let both = bytes.len().min(signature.len());
    bytes.get(..both) == signature.get(..both)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 4321 25` and CRLF (§2.1).
fn version_1(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    let seen = bytes.get(..bytes.len().min(V1_BYTES_MAX)).unwrap_or_default();
    let Some(end) = memchr::memmem::find(seen, b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(ProxyError::Line) };
    };
    let line = seen.get(..end).and_then(|line| core::str::from_utf8(line).ok()).ok_or(ProxyError::Line)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(ProxyError::Line)?;
    if family == "UNKNOWN" {
        // Whatever else is on the line is to be ignored.
        return Ok(Some((Proxied::Unknown, end + 2)));
    }
    let mut address = || words.next().and_then(|word| ip(family, word)).ok_or(ProxyError::Line);
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port_number).ok_or(ProxyError::Line);
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(ProxyError::Line);
    }
    let proxied = Proxied::Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    Ok(Some((proxied, end + 2)))
}

fn ip(family: &str, word: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => word.parse::<Ipv6Addr>().ok().map(plain),
        _ => None,
    }
}

/// Decimal without a sign or leading zeroes (§2.1).
fn port_number(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_plain { word.parse().ok() } else { None }
}

/// Sixteen bytes, addresses, and what else there is (§2.2).
fn version_2(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    let Some((&[command, family, high, low], rest)) =
        bytes.get(V2_SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let (head, body) = (V2_SIGNATURE.len() + 4, usize::from(u16::from_be_bytes([high, low])));
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::Command);
    }
    if head + body > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(body) = rest.get(..body) else { return Ok(None) };
    let bytes = head + body.len();
    if command == 0x20 {
        return Ok(Some((Proxied::Local, bytes)));
    }
    let proxied = match family {
        0x11 => {
            let (source, rest) = body.split_first_chunk::<4>().ok_or(ProxyError::Short)?;
            let (destination, ports) = rest.split_first_chunk::<4>().ok_or(ProxyError::Short)?;
            between(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), ports)?
        }
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(ProxyError::Short)?;
            let (destination, ports) = rest.split_first_chunk::<16>().ok_or(ProxyError::Short)?;
            between(plain(Ipv6Addr::from(*source)), plain(Ipv6Addr::from(*destination)), ports)?
        }
        // Unspecified, or a stream between Unix sockets (two names of 108 bytes).
        0x00 => Proxied::Unknown,
        0x31 if body.len() >= 216 => Proxied::Unknown,
        0x31 => return Err(ProxyError::Short),
        _ => return Err(ProxyError::Transport),
    };
    Ok(Some((proxied, bytes)))
}

fn between(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Result<Proxied, ProxyError> {
    let (source_port, rest) = ports.split_first_chunk::<2>().ok_or(ProxyError::Short)?;
    let (destination_port, _) = rest.split_first_chunk::<2>().ok_or(ProxyError::Short)?;
    Ok(Proxied::Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*destination_port)),
    })
}

/// An IPv4 client of a socket for both is an IPv4 client: what is said of networks must find it.
fn plain(address: Ipv6Addr) -> IpAddr {
    IpAddr::V6(address).to_canonical()
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::Random;

    fn addresses(source: &str, destination: &str) -> Proxied {
        let read = |text: &str| text.parse().expect("an address and a port");
        Proxied::Addresses { source: read(source), destination: read(destination) }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    const FOUR: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x10, 0xe1, 0, 25];

    /// The header with a command behind it is read as this, and no part of it is read as anything.
    fn is_read(header: &[u8], expected: Proxied) {
        let with_more = [header, b"EHLO x\r\n"].concat();
        assert_eq!(parse_proxy(&with_more), Ok(Some((expected, header.len()))), "{header:?}");
        for end in 0..header.len() {
            assert_eq!(parse_proxy(&header[..end]), Ok(None), "{:?}", &header[..end]);
        }
    }

    #[test]
    fn version_1_is_read() {
        is_read(
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4321 25\r\n",
            addresses("192.0.2.1:4321", "198.51.100.1:25"),
        );
        is_read(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", addresses("[2001:db8::1]:1", "[::1]:65535"));
        is_read(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", addresses("192.0.2.1:1", "[::1]:2"));
        is_read(b"PROXY UNKNOWN\r\n", Proxied::Unknown);
        let longest = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), V1_BYTES_MAX);
        is_read(longest, Proxied::Unknown);
    }

    #[test]
    fn lines_that_are_not_as_they_must_be_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 4321\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4321 25 x\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.1 4321 25\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 4321 25\r\n",
            "PROXY TCP4 ::1 ::1 4321 25\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 4321 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 25\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4321 25\n\r\n",
        ] {
            assert_eq!(parse_proxy(line.as_bytes()), Err(ProxyError::Line), "{line:?}");
        }
        let endless = [b"PROXY UNKNOWN".as_slice(), &b" x".repeat(60)].concat();
        assert_eq!(parse_proxy(&endless), Err(ProxyError::Line));
        for other in [&b"EHLO x\r\n"[..], b"PROXX", b"\r\n\r\n\0\r\nQUIT\r", b"\x16\x03\x01"] {
            assert_eq!(parse_proxy(other), Err(ProxyError::NoHeader), "{other:?}");
        }
    }

    #[test]
    fn version_2_is_read() {
        is_read(&v2(0x21, 0x11, FOUR), addresses("192.0.2.1:4321", "198.51.100.1:25"));
        // A TLV behind the addresses.
        is_read(
            &v2(0x21, 0x11, &[FOUR, &[3, 0, 4, 1, 2, 3, 4]].concat()),
            addresses("192.0.2.1:4321", "198.51.100.1:25"),
        );
        let (one, other) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::LOCALHOST);
        let six = [&one.octets()[..], &other.octets(), &[0, 1, 0, 25]].concat();
        is_read(&v2(0x21, 0x21, &six), addresses("[2001:db8::1]:1", "[::1]:25"));
        is_read(&v2(0x20, 0x00, b""), Proxied::Local);
        // What a LOCAL command says of addresses is to be ignored.
        is_read(&v2(0x20, 0x11, FOUR), Proxied::Local);
        is_read(&v2(0x21, 0x00, b"tlv"), Proxied::Unknown);
        is_read(&v2(0x21, 0x31, &[0; 216]), Proxied::Unknown);
    }

    #[test]
    fn headers_that_are_not_as_they_must_be_are_refused() {
        assert_eq!(parse_proxy(&v2(0x11, 0x11, FOUR)), Err(ProxyError::Command));
        assert_eq!(parse_proxy(&v2(0x22, 0x11, FOUR)), Err(ProxyError::Command));
        assert_eq!(parse_proxy(&v2(0x21, 0x11, &FOUR[..11])), Err(ProxyError::Short));
        assert_eq!(parse_proxy(&v2(0x21, 0x21, &[0; 35])), Err(ProxyError::Short));
        assert_eq!(parse_proxy(&v2(0x21, 0x31, &[0; 215])), Err(ProxyError::Short));
        assert_eq!(parse_proxy(&v2(0x21, 0x12, FOUR)), Err(ProxyError::Transport));
        assert_eq!(parse_proxy(&v2(0x21, 0x41, FOUR)), Err(ProxyError::Transport));
        // Refused before its bytes are waited for.
        let long = v2(0x21, 0x11, &[0; PROXY_HEADER_BYTES_MAX]);
        assert_eq!(parse_proxy(&long[..16]), Err(ProxyError::TooLong));
        is_read(&v2(0x21, 0x00, &[0; PROXY_HEADER_BYTES_MAX - 16]), Proxied::Unknown);
    }

    #[test]
    fn noise_never_panics_and_takes_no_more_than_there_is() {
        let goods = [v2(0x21, 0x11, FOUR), b"PROXY TCP4 192.0.2.1 198.51.100.1 4321 25\r\n".to_vec()];
        for seed in 1..5000 {
            let mut random = Random::new(seed);
            let mut bytes = goods[random.below(2) as usize].clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next_u64() as u8;
            }
            bytes.truncate(random.below(60) as usize);
            if let Ok(Some((_, taken))) = parse_proxy(&bytes) {
                assert!(taken <= bytes.len());
            }
        }
    }
}
