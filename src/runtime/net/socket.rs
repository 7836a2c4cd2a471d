//! A stream socket on the shard that watches it.

use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::local_path::SocketPath;
use super::ring::Source;
use crate::local::Local;

/// Reads and writes when the kernel is ready for it, and holds nothing of what passes.
#[derive(Debug)]
pub(super) struct Socket {
    // First, so that it is dropped first.
    source: Source,
    socket: socket2::Socket,
}

impl Socket {
    /// Takes over a socket that does not block, on the shard of this thread.
    pub(super) fn new(socket: socket2::Socket) -> Self {
        Self { source: Local::watch(socket.as_raw_fd()), socket }
    }

    /// Connects from one of our addresses, or from one that the kernel chooses.
    pub(super) async fn connect(source: Option<IpAddr>, to: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        let this = Self::new(socket);
        match this.socket.connect(&SockAddr::from(to)) {
            Ok(()) => return Ok(this),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => this.source.full(),
            Err(error) => return Err(error),
        }
        std::future::poll_fn(|cx| this.source.poll_room(cx)).await;
        match this.socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(this),
        }
    }

    /// Connects to a Unix socket. `WouldBlock` says that too many wait there already: nobody tells when there are
    /// fewer.
    pub(super) fn connect_local(path: &Path) -> io::Result<Self> {
        let path = SocketPath::new(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path.as_path())?)?;
        Ok(Self::new(socket))
    }

    /// Ready with a count, 0 at the end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source.poll_read(cx, buffer.len(), || (&self.socket).read(buffer))
    }

    /// Ready with how many of `bytes` the kernel has taken.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.source.poll_write(cx, || self.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
    }

    /// Ready with the next connection to a socket that listens; it does not block.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(socket2::Socket, SockAddr)>> {
        self.source.poll_next(cx, || self.socket.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK))
    }

    /// Says that nothing more will be written.
    pub(super) fn shut(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    pub(super) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    /// The user at the other end of a Unix socket.
    pub(super) fn peer_user(&self) -> Option<u32> {
        super::credentials::peer_user(std::os::fd::AsFd::as_fd(&self.socket))
    }

    /// Takes it off this shard. Nothing of it is under way here.
    pub(super) fn into_fd(self) -> OwnedFd {
        drop(self.source);
        self.socket.into()
    }
}
