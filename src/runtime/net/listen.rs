//! Listening sockets, made by hand: each shard has its own socket on the same address and the
//! kernel spreads the connections (SO_REUSEPORT); a Unix socket is shared.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::conn::{Conn, peer_of};
use super::gate::{Gate, Refusal};
use super::local_path::SocketPath;
use super::socket;
use crate::limits::{ACCEPT_BATCH, ACCEPT_PAUSE, BACKLOG, OWNER_ALONE};
use crate::local::{Local, yield_now};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix socket at this path. A socket that nobody listens on any more is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// The address.
    pub address: Address,
    /// What the system said.
    pub kind: io::ErrorKind,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match self.kind {
            io::ErrorKind::AddrInUse => "another program listens there: stop it or choose another address",
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket a folder that can be written"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => return write!(f, "cannot listen on {}: {}", self.address, self.kind),
        };
        write!(f, "cannot listen on {}: {remedy}", self.address)
    }
}

impl std::error::Error for ListenError {}

/// A socket that listens, not yet bound to a shard.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

impl Listener {
    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Listens on `address` with one socket for each of `shards` shards. A Unix socket is for its owner
/// alone: [`bind_local`] makes others.
pub fn bind_all(address: &Address, shards: u16) -> Result<Vec<Listener>, ListenError> {
    let failed = |error: io::Error| ListenError { address: address.clone(), kind: error.kind() };
    match address {
        Address::Tcp(at) => probe(*at).and_then(|()| bind_tcp(*at, shards)).map_err(failed),
        Address::Unix(path) => bind_local(path, OWNER_ALONE, shards),
    }
}

/// Listens on a Unix socket whose file has `mode`: who may write to it may connect.
pub fn bind_local(path: &Path, mode: u32, shards: u16) -> Result<Vec<Listener>, ListenError> {
    bind_unix(path, mode, shards)
        .map_err(|error| ListenError { address: Address::Unix(path.to_owned()), kind: error.kind() })
}

/// Refuses an address that another program listens on. Sockets that share their port would be let in
/// beside another server's, and each would get a part of the connections with nobody told; this one
/// does not share.
fn probe(at: SocketAddr) -> io::Result<()> {
    let socket = tcp_socket(at)?;
    socket.bind(&at.into())
}

/// Connections of a server that has ended may linger in the kernel: they keep nobody from the address.
fn tcp_socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn bind_tcp(at: SocketAddr, shards: u16) -> io::Result<Vec<Listener>> {
    let mut at = at;
    let mut listeners = Vec::with_capacity(usize::from(shards));
    for _ in 0..shards {
        let socket = tcp_socket(at)?;
        socket.set_reuse_port(true)?;
        // Linux hands both on to the accepted sockets: two system calls less per connection.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_mins(5)))?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        at = socket.local_addr()?.as_socket().unwrap_or(at);
        listeners.push(Listener { socket, address: Address::Tcp(at) });
    }
    Ok(listeners)
}

fn bind_unix(path: &Path, mode: u32, shards: u16) -> io::Result<Vec<Listener>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let place = SocketPath::new(path)?;
    let at = SockAddr::unix(place.as_path())?;
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(&at).is_err() {
        fs::remove_file(path)?;
    }
    // The file gets the socket's mode, less the umask: it is nobody else's from its first moment. What
    // the umask takes away is given before anybody can connect, which is at `listen`.
    File::from(OwnedFd::from(socket.try_clone()?))
        .set_permissions(Permissions::from_mode(mode & OWNER_ALONE))?;
    socket.bind(&at)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    let listener = |socket| Listener { socket, address: Address::Unix(path.to_owned()) };
    let mut listeners = Vec::with_capacity(usize::from(shards));
    for _ in 1..shards {
        listeners.push(listener(socket.try_clone()?));
    }
    listeners.push(listener(socket));
    Ok(listeners)
}

/// Accepts on this shard until it drains. `each` gets every connection that `gate` lets in, and
/// should spawn what it does with it; `refuse` gets the others, to say a word and close.
pub async fn accept(
    listener: Listener,
    local: &Local,
    gate: &Arc<Gate>,
    mut refuse: impl FnMut(Conn, Refusal),
    mut each: impl FnMut(Conn),
) {
    let Listener { socket, address } = listener;
    // Closing the listening side is what ends the wait.
    let Ok(stop) = socket.try_clone() else {
        tracing::error!(event = "runtime.listen_failed", %address, "no descriptor is left");
        return;
    };
    local.on_drain(move || {
        let _already_closed = stop.shutdown(std::net::Shutdown::Both);
    });
    // The kernel refuses that to no open socket.
    let _refused = socket.set_nonblocking(true);
    let listener = socket::Socket::new(socket);
    let mut count = 0;
    while !local.timers().is_draining() {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((socket, from)) => admit(socket, &from, gate, &mut refuse, &mut each),
            Err(error) => {
                if local.timers().is_draining() {
                    return;
                }
                if !is_of_one_connection(&error) {
                    tracing::warn!(event = "runtime.accept_failed", %address, %error);
                    local.pause(ACCEPT_PAUSE).await;
                }
            }
        }
        count += 1;
        if count % ACCEPT_BATCH == 0 {
            yield_now().await;
        }
    }
}

fn admit(
    socket: Socket,
    from: &SockAddr,
    gate: &Arc<Gate>,
    refuse: &mut impl FnMut(Conn, Refusal),
    each: &mut impl FnMut(Conn),
) {
    let peer = peer_of(from);
    let socket = socket::Socket::new(socket);
    match gate.admit(&peer) {
        Ok(place) => each(Conn::from_socket(socket, peer, Some(place))),
        Err(refusal) => refuse(Conn::from_socket(socket, peer, None), refusal),
    }
}

/// The peer went away before it was accepted, or another shard took it: nothing to wait for.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_somebody_listens_on_is_refused_to_a_second_server() {
        let any = Address::Tcp("127.0.0.1:0".parse().unwrap());
        let first = bind_all(&any, 2).unwrap();
        let address = first[0].address().clone();
        assert_eq!(bind_all(&address, 2).unwrap_err().kind, io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(bind_all(&address, 2).unwrap().len(), 2);
    }

    #[test]
    fn a_unix_socket_has_the_mode_that_was_asked_for_however_long_its_path() {
        let folder = std::env::temp_dir().join(format!("angarium-listen-{}", std::process::id()));
        let deep = folder.join("d".repeat(60)).join("e".repeat(60));
        fs::create_dir_all(&deep).unwrap();
        for (name, mode) in [("one.sock", 0o600), ("group.sock", 0o660), ("all.sock", 0o666)] {
            let path = deep.join(name);
            let listeners = bind_local(&path, mode, 2).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            assert!(bind_local(&path, mode, 1).is_err(), "a live socket is not taken away");
            drop(listeners);
            assert!(bind_local(&path, mode, 1).is_ok(), "a dead one is");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
