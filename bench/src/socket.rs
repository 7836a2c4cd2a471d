//! Sockets, source addresses and the limit on open files.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::CONNECTIONS_A_SOURCE;
use crate::wrong::Wrong;

/// A stream socket for `to`, bound to `source` if there is one.
pub(crate) fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// The first address of a host.
pub(crate) fn resolve(host: &str) -> Result<IpAddr, Wrong> {
    let mut found = (host, 0).to_socket_addrs().map_err(|error| Wrong::io(host, &error))?;
    found.next().map(|address| address.ip()).ok_or_else(|| Wrong::World(format!("{host} has no address")))
}

/// Source addresses for so many connections to `host`: on loopback several, as a source address has
/// 28,000 ports, and servers count connections by source; elsewhere the machine's own choice.
pub(crate) fn sources(host: IpAddr, connections: usize, wanted: Option<usize>) -> Vec<IpAddr> {
    let is_loopback = matches!(host, IpAddr::V4(host) if host.is_loopback());
    let count = match wanted {
        Some(count) => count,
        None if is_loopback => connections / CONNECTIONS_A_SOURCE + 1,
        None => 0,
    };
    if !is_loopback {
        return Vec::new();
    }
    // 127.0.2.1 and up.
    let address =
        |i: usize| Ipv4Addr::new(127, (i / 50_000) as u8, (2 + i / 200 % 250) as u8, (1 + i % 200) as u8);
    (0..count).map(|i| IpAddr::V4(address(i))).collect()
}

/// Raises the limit on open files for so many connections.
#[allow(unsafe_code)]
pub(crate) fn raise_open_files(connections: usize) -> Result<(), Wrong> {
    let wanted = connections as u64 + 64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a plain structure of ours, for the time of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(Wrong::io("the limit on open files", &io::Error::last_os_error()));
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    // Root may go beyond the hard limit.
    limit = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: as above.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(Wrong::World(format!(
            "{connections} connections need {wanted} open files: raise the limit (ulimit -n {wanted})"
        )));
    }
    Ok(())
}

/// Runs this thread on one core.
#[allow(unsafe_code)]
pub(crate) fn pin(cpu: usize) -> Result<(), Wrong> {
    // SAFETY: an all-zero set is empty; CPU_SET checks nothing, so the bound is checked here.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(Wrong::Usage(format!("there is no CPU {cpu}")));
        }
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if done == 0 { Ok(()) } else { Err(Wrong::io(format!("CPU {cpu}"), &io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_loopback_connections_come_from_several_addresses() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(sources(local, 1, None), ["127.0.2.1".parse::<IpAddr>().expect("an address")]);
        let many = sources(local, 50_000, None);
        assert_eq!(many.len(), 501);
        assert_eq!(many.iter().collect::<std::collections::BTreeSet<_>>().len(), many.len());
        assert!(sources("192.0.2.1".parse().expect("an address"), 50_000, None).is_empty());
        assert!(sources(local, 50_000, Some(0)).is_empty());
    }
}
