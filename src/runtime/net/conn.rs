//! One connection: a stream socket, with TLS on it or not.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use base::TlsInfo;
use socket2::SockAddr;
use transport::{Demand, Fault, Proof};

use super::gate::{Peer, Place, Refusal};
use super::pending::Pending;
use super::scratch;
use super::socket::Socket;
use crate::limits::{FLUSH_BYTES_A_TURN, LINGER_BYTES_MAX, TLS_WAITING_BYTES_MAX};
use crate::tls::{Tls, TlsAcceptor, TlsConnector};

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnError {
    /// The network or the peer.
    Io(io::ErrorKind),
    /// The peer's TLS; the alert for it was sent as far as possible.
    Tls(rustls::Error),
    /// The peer closed where it may not: in a handshake.
    Closed,
    /// The peer took too long.
    TimedOut,
    /// The server has not proven what was demanded of it.
    Unproven(Fault),
}

impl fmt::Display for ConnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(kind) => kind.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Closed => f.write_str("closed by the peer"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unproven(fault) => write!(f, "the server's certificate: {fault}"),
        }
    }
}

impl std::error::Error for ConnError {}

impl From<io::Error> for ConnError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// A connection on the shard that drives it. Idle, it holds a descriptor and its TLS state: what is
/// read passes through a buffer of the shard, and what cannot be written yet is all that is kept.
///
/// Dropping it closes the socket at once; [`Conn::poll_finish`] ends it in good order.
pub struct Conn(Box<Inner>);

/// In a box, because a connection is handed on through several futures and each keeps room for it.
struct Inner {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// Bytes for the wire, before everything else: TLS records made but not written.
    wire: Pending,
    /// Bytes of the protocol that are not on their way yet.
    plain: Pending,
    /// How many bytes of the protocol have gone, for telling a slow peer from a dead one.
    written: u64,
    closing: Closing,
    peer: Peer,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    /// Our last TLS word is in `wire`.
    Said,
    /// Our side of the socket is closed; so many bytes of the peer were thrown away since.
    Shut {
        lingered: usize,
    },
}

/// What one look at the socket brought.
enum Filled {
    /// Bytes for the taker, perhaps none of the protocol's.
    Bytes(usize),
    End,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_tls = self.0.tls.is_some();
        f.debug_struct("Conn").field("peer", &self.0.peer).field("tls", &is_tls).finish_non_exhaustive()
    }
}

/// A connection on its way to another shard: all of it is `Send`.
#[derive(Debug)]
pub struct DetachedConn {
    socket: OwnedFd,
    tls: Option<Box<Tls>>,
    peer: Peer,
    place: Option<Place>,
}

impl Conn {
    /// Takes over a connected stream socket. To be called on the shard that will drive it.
    pub fn new(socket: OwnedFd, place: Option<Place>) -> Self {
        let socket = socket2::Socket::from(socket);
        // The kernel refuses that to no open socket; a closed one fails when it is used.
        let _refused = socket.set_nonblocking(true);
        let peer = socket.peer_addr().map_or(Peer::Unix, |address| peer_of(&address));
        Self::from_socket(Socket::new(socket), peer, place)
    }

    pub(super) fn from_socket(socket: Socket, peer: Peer, place: Option<Place>) -> Self {
        Self(Box::new(Inner {
            socket,
            tls: None,
            wire: Pending::default(),
            plain: Pending::default(),
            written: 0,
            closing: Closing::Open,
            peer,
            place,
        }))
    }

    /// Connects to an address, without a bound in time of its own beyond the kernel's.
    pub async fn connect(address: SocketAddr) -> Result<Self, ConnError> {
        Self::connect_from(None, address).await
    }

    /// As [`Conn::connect`], from one of our addresses.
    pub(super) async fn connect_from(source: Option<IpAddr>, to: SocketAddr) -> Result<Self, ConnError> {
        let socket = Socket::connect(source, to).await?;
        Ok(Self::from_socket(socket, Peer::Tcp(to), None))
    }

    /// Takes the connection off this shard. All output must have been flushed. Bytes that were read
    /// but not taken go along; others are still in the kernel.
    pub fn detach(self) -> Result<DetachedConn, ConnError> {
        assert!(self.0.wire.is_empty() && self.0.plain.is_empty(), "unwritten output would be lost");
        let Inner { socket, tls, peer, place, .. } = *self.0;
        Ok(DetachedConn { socket: socket.into_fd(), tls, peer, place })
    }

    /// Puts a connection onto this shard.
    pub fn attach(detached: DetachedConn) -> Self {
        let DetachedConn { socket, tls, peer, place } = detached;
        let mut conn = Self::from_socket(Socket::new(socket.into()), peer, place);
        conn.0.tls = tls;
        conn
    }

    /// The other end.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// The other end is another, as a proxy has said: from now on, everything that is decided by where a connection comes
    /// from is decided by that.
    pub(crate) fn announce(&mut self, peer: Peer) -> Result<(), Refusal> {
        if let Some(place) = &mut self.0.place {
            place.count_to(&peer)?;
        }
        self.0.peer = peer;
        Ok(())
    }

    /// The number of the user at the other end of a Unix socket.
    pub fn peer_user(&self) -> Option<u32> {
        self.0.socket.peer_user()
    }

    /// Our end's address, when it has one.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.socket.options().local_addr().ok()?.as_socket()
    }

    /// Whether TLS protects it.
    pub fn is_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// Bytes of the protocol that were handed to the kernel so far.
    pub fn written(&self) -> u64 {
        self.0.written
    }

    /// Reads at most `max` bytes (at least 1) and gives them to `take`, in one or more pieces.
    /// Ready with their count; 0 means that the peer has closed its side.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<usize, ConnError>> {
        loop {
            match ready!(self.poll_fill(cx, max, take))? {
                Filled::Bytes(0) => {}
                Filled::Bytes(count) => return Poll::Ready(Ok(count)),
                Filled::End => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Takes all of `bytes` to be written after what waits already; see [`Conn::poll_flush`].
    pub fn give(&mut self, bytes: &mut Vec<u8>) {
        if !bytes.is_empty() {
            self.0.plain.take(bytes);
        }
    }

    /// Ready once the kernel has everything that was given.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        let mut left = FLUSH_BYTES_A_TURN;
        loop {
            if left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = if !self.0.wire.is_empty() {
                ready!(self.poll_wire(cx))?
            } else if self.0.plain.is_empty() {
                return Poll::Ready(Ok(()));
            } else if self.0.tls.is_some() {
                self.poll_encrypt(cx)?
            } else {
                let count = ready!(self.0.socket.poll_write(cx, self.0.plain.rest()))?;
                self.0.plain.advance(count);
                self.0.written += count as u64;
                count
            };
            left = left.saturating_sub(count);
        }
    }

    /// What is written from here on is all there will be: it goes out in one piece with the end of the
    /// connection, when [`Conn::poll_finish`] says that.
    pub fn begin_last_words(&self) {
        if matches!(self.0.peer, Peer::Tcp(_)) {
            // A kernel that will not sends it in pieces, as ever.
            let _as_ever = self.0.socket.options().set_tcp_cork(true);
        }
    }

    /// Writes all of `bytes` and leaves it empty, with its capacity.
    pub async fn write(&mut self, bytes: &mut Vec<u8>) -> Result<(), ConnError> {
        self.give(bytes);
        poll_fn(|cx| self.poll_flush(cx)).await?;
        if bytes.capacity() == 0 {
            *bytes = self.reclaim();
        }
        Ok(())
    }

    /// The buffer of the last [`Conn::give`], empty, when everything is written.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        self.0.plain.reclaim()
    }

    /// Begins TLS. What was read before is dropped here (RFC 3207 §4.2); what the peer sent before
    /// the handshake and is still in the kernel is no handshake and ends the connection.
    pub fn start_tls(&mut self, acceptor: &TlsAcceptor) -> Result<(), ConnError> {
        self.0.tls = Some(Box::new(acceptor.begin().map_err(ConnError::Tls)?));
        Ok(())
    }

    /// Begins TLS as a client, after the server has agreed to it where it was asked. What the session
    /// has read before is for it to drop (RFC 3207 §4.2). [`Conn::poll_handshake`] does the rest.
    pub fn start_client_tls(&mut self, connector: &TlsConnector, demand: Demand) -> Result<(), ConnError> {
        let address = self.0.peer.ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut tls = Tls::client(connector, demand, address).map_err(ConnError::Tls)?;
        tls.prepare(self.0.wire.tail()).map_err(ConnError::Tls)?;
        self.0.tls = Some(Box::new(tls));
        Ok(())
    }

    /// What the server has proven, when the handshake as its client is done: the error side tells what
    /// lacks where the demand did not require it. `None` without a handshake, and for a server.
    pub fn proof(&self) -> Option<Result<Proof, Fault>> {
        self.0.tls.as_ref()?.proof()
    }

    /// Whether the handshake went on from an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.0.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }

    /// Ready once the TLS handshake that was begun is done.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<TlsInfo, ConnError>> {
        while self.0.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            // Application data that comes with the last handshake message is kept by `tls`.
            match ready!(self.poll_fill(cx, 0, &mut |_| {}))? {
                Filled::Bytes(_) => {}
                Filled::End => return Poll::Ready(Err(ConnError::Closed)),
            }
        }
        ready!(self.poll_flush(cx))?;
        let Some(tls) = &mut self.0.tls else { return Poll::Ready(Err(ConnError::Closed)) };
        tls.look_at_proof().map_err(ConnError::Unproven)?;
        Poll::Ready(Ok(tls.info()))
    }

    /// Ends the connection in good order: TLS's last word, our side closed, and then the peer read
    /// to its end, a bounded length. A socket closed with unread bytes in it sends a reset instead,
    /// which can take our last reply away from the peer.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        loop {
            match self.0.closing {
                Closing::Open => {
                    ready!(self.poll_flush(cx))?;
                    if let Some(tls) = &mut self.0.tls {
                        tls.close(self.0.wire.tail());
                    }
                    self.0.closing = Closing::Said;
                }
                Closing::Said => {
                    ready!(self.poll_flush(cx))?;
                    self.0.socket.shut()?;
                    self.0.closing = Closing::Shut { lingered: 0 };
                }
                Closing::Shut { lingered } if lingered > LINGER_BYTES_MAX => return Poll::Ready(Ok(())),
                Closing::Shut { lingered } => {
                    let socket = &self.0.socket;
                    match ready!(scratch::for_reading(|buffer| socket.poll_read(cx, buffer)))? {
                        0 => return Poll::Ready(Ok(())),
                        count => self.0.closing = Closing::Shut { lingered: lingered + count },
                    }
                }
            }
        }
    }

    /// One look at the socket, or at what TLS has kept.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Filled, ConnError>> {
        if !self.0.wire.is_empty()
            && self.poll_wire(cx)?.is_pending()
            && self.0.wire.len() > TLS_WAITING_BYTES_MAX
        {
            return Poll::Pending;
        }
        let Inner { socket, tls, wire, .. } = &mut *self.0;
        let Some(tls) = tls else {
            return scratch::for_reading(|buffer| {
                let end = max.min(buffer.len());
                let count = ready!(socket.poll_read(cx, &mut buffer[..end]))?;
                take(&buffer[..count]);
                Poll::Ready(Ok(if count == 0 { Filled::End } else { Filled::Bytes(count) }))
            });
        };
        if let Some(count) = tls.take_kept(max, take) {
            return Poll::Ready(Ok(Filled::Bytes(count)));
        }
        if tls.is_ended() {
            return Poll::Ready(Ok(Filled::End));
        }
        scratch::for_reading(|buffer| {
            let kept = tls.kept_records();
            let mut end = kept.len();
            if !tls.has_whole_record() {
                match ready!(socket.poll_read(cx, &mut buffer[end..]))? {
                    0 => return Poll::Ready(Ok(Filled::End)),
                    count => end += count,
                }
            }
            buffer[..kept.len()].copy_from_slice(kept);
            match tls.read(&mut buffer[..end], max, wire.tail(), take) {
                Ok(count) => Poll::Ready(Ok(Filled::Bytes(count))),
                Err(error) => Poll::Ready(Err(ConnError::Tls(error))),
            }
        })
        .map_err(|error| self.send_alert(cx, error))
    }

    /// The alert that says why is in `wire` now; it goes if the kernel takes it.
    fn send_alert(&mut self, cx: &mut Context<'_>, error: ConnError) -> ConnError {
        if matches!(error, ConnError::Tls(_)) && !self.0.wire.is_empty() {
            let _gone_or_not = self.poll_wire(cx);
        }
        error
    }

    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ConnError>> {
        let count = ready!(self.0.socket.poll_write(cx, self.0.wire.rest()))?;
        self.0.wire.advance(count);
        if self.0.wire.is_empty() {
            // Records wait here seldom: the capacity is not kept.
            drop(self.0.wire.reclaim());
        }
        Poll::Ready(Ok(count))
    }

    /// Encrypts the next piece of `plain` through the shard's buffer, straight to the kernel. What
    /// the kernel does not take is kept in `wire`, where the next look waits for it.
    fn poll_encrypt(&mut self, cx: &mut Context<'_>) -> Result<usize, ConnError> {
        let Inner { socket, tls: Some(tls), wire, plain, written, .. } = &mut *self.0 else { return Ok(0) };
        tls.prepare(wire.tail()).map_err(ConnError::Tls)?;
        if !wire.is_empty() {
            return Ok(0);
        }
        scratch::for_writing(|buffer| {
            let (taken, end) = tls.encrypt(plain.rest(), buffer).map_err(ConnError::Tls)?;
            let records = &buffer[..end];
            let count = match socket.poll_write(cx, records)? {
                Poll::Ready(count) => count,
                Poll::Pending => 0,
            };
            wire.extend(&records[count..]);
            plain.advance(taken);
            *written += taken as u64;
            Ok(taken)
        })
    }
}

/// Whom an address names; IPv4 in IPv6 is IPv4.
pub(super) fn peer_of(address: &SockAddr) -> Peer {
    match address.as_socket() {
        Some(address) => Peer::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port())),
        None => Peer::Unix,
    }
}
