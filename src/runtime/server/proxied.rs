//! Connections of load balancers: the PROXY header in front says who is behind one. It is read to its last byte and not
//! beyond: what follows may be TLS.

use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;

use base::{Proxied, ProxyError, parse_proxy};

use crate::limits::PROXY_HEADER;
use crate::{Conn, ConnError, Peer, Refusal, Timers, clock};

/// Who is behind a proxy that does not know it: no network that anybody trusts has it.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Why nobody is served.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unannounced {
    /// The header is none, or cannot be read.
    Header(ProxyError),
    /// It did not come.
    Connection(ConnError),
    /// Who is behind it has as many connections as it may.
    Refused(Refusal),
}

impl fmt::Display for Unannounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Connection(error) => error.fmt(f),
            Self::Refused(why) => write!(f, "{why:?}"),
        }
    }
}

/// Reads the header in front of a connection, and has the connection come from where it says.
pub(super) async fn announce(conn: &mut Conn, timers: &Timers) -> Result<(), Unannounced> {
    match header(conn, timers).await? {
        Proxied::Addresses { source, .. } => conn.announce(Peer::Tcp(source)).map_err(Unannounced::Refused),
        // The proxy speaks for itself: then it is the peer.
        Proxied::Local => Ok(()),
        // A client that it cannot name is not to have the rights that the proxy has; health checks say so too.
        Proxied::Unknown => conn.announce(Peer::Tcp(NOBODY)).map_err(Unannounced::Refused),
    }
}

async fn header(conn: &mut Conn, timers: &Timers) -> Result<Proxied, Unannounced> {
    let mut deadline = timers.deadline();
    let end = clock::now() + PROXY_HEADER;
    let mut bytes = Vec::new();
    loop {
        let max = missing(&bytes);
        let mut take = |piece: &[u8]| bytes.extend_from_slice(piece);
        let count = poll_fn(|cx| match conn.poll_read(cx, max, &mut take) {
            Poll::Pending if deadline.poll(cx, end).is_ready() => Poll::Ready(Err(ConnError::TimedOut)),
            other => other,
        });
        match count.await {
            Ok(0) => return Err(Unannounced::Connection(ConnError::Closed)),
            Ok(_) => {}
            Err(error) => return Err(Unannounced::Connection(error)),
        }
        if let Some((proxied, taken)) = parse_proxy(&bytes).map_err(Unannounced::Header)? {
            debug_assert_eq!(taken, bytes.len(), "no more is read than the header");
            return Ok(proxied);
        }
    }
}

/// How many bytes a header that begins so has at least beyond them; 1 or more as long as it is not whole.
fn missing(bytes: &[u8]) -> usize {
    /// `PROXY UNKNOWN` and CRLF, the shortest of version 1; version 2 says its length in the last two of 16 bytes.
    const SHORTEST: usize = 15;
    const V2_BYTES: usize = 16;
    if bytes.len() < SHORTEST {
        return SHORTEST - bytes.len();
    }
    if bytes.starts_with(b"PROXY") {
        return if bytes.ends_with(b"\r") { 1 } else { 2 };
    }
    match bytes.get(14..V2_BYTES) {
        Some(&[high, low]) => {
            let whole = V2_BYTES + usize::from(u16::from_be_bytes([high, low]));
            whole.saturating_sub(bytes.len()).max(1)
        }
        _ => V2_BYTES - bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_to_its_end_and_not_beyond() {
        let v2 = |body: &[u8], family: u8| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, family], &length, body].concat()
        };
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 0, 25];
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4321 25\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(),
            v2(&four, 0x11),
            v2(&[&four[..], &[3, 0, 4, 1, 2, 3, 4]].concat(), 0x11),
            v2(b"", 0),
        ] {
            let stream = [&header[..], b"\x16\x03\x01 what follows"].concat();
            let mut taken = 0;
            while parse_proxy(&stream[..taken]).unwrap().is_none() {
                taken += missing(&stream[..taken]);
            }
            assert_eq!(taken, header.len(), "{header:?}");
        }
    }
}
