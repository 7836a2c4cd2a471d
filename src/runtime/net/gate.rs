//! Who is let in, and how many.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::ConnectionLimits;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP. IPv4 in IPv6 has been unmapped.
    Tcp(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix,
}

impl Peer {
    /// The address, when there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("local"),
        }
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process has as many as it may.
    Full,
    /// This source has as many as it may.
    TooManyFromSource,
}

#[derive(Default)]
struct Counts {
    all: usize,
    /// Connections from a source; a source without any has no entry.
    sources: HashMap<IpAddr, usize>,
}

/// Counts the connections of all shards. Its lock is taken when a connection comes and when it
/// goes, never in between.
pub struct Gate {
    limits: ConnectionLimits,
    counts: Mutex<Counts>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("limits", &self.limits)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate for all listeners of the process.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.counts().all
    }

    /// Lets a peer in, or says why not.
    pub fn admit(self: &Arc<Self>, peer: &Peer) -> Result<Place, Refusal> {
        let source = peer.ip().map(source_of);
        let mut counts = self.counts();
        if counts.all >= self.limits.connections_max {
            return Err(Refusal::Full);
        }
        if let Some(source) = source {
            let from_source = counts.sources.entry(source).or_default();
            if *from_source >= self.limits.per_source_max {
                return Err(Refusal::TooManyFromSource);
            }
            *from_source += 1;
        }
        counts.all += 1;
        drop(counts);
        Ok(Place { gate: Arc::clone(self), source })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; dropping it makes room.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    source: Option<IpAddr>,
}

impl Place {
    /// It is another source's, as a proxy has said. When that has as many as it may, it stays the proxy's.
    pub fn count_to(&mut self, peer: &Peer) -> Result<(), Refusal> {
        let source = peer.ip().map(source_of);
        let gate = Arc::clone(&self.gate);
        let mut counts = gate.counts();
        if let Some(source) = source {
            let from_source = counts.sources.entry(source).or_default();
            if *from_source >= gate.limits.per_source_max {
                return Err(Refusal::TooManyFromSource);
            }
            *from_source += 1;
        }
        counts.leave(std::mem::replace(&mut self.source, source));
        Ok(())
    }
}

impl Counts {
    fn leave(&mut self, source: Option<IpAddr>) {
        let Some(source) = source else { return };
        let Some(from_source) = self.sources.get_mut(&source) else { return };
        *from_source -= 1;
        if *from_source == 0 {
            self.sources.remove(&source);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        counts.all -= 1;
        counts.leave(self.source);
    }
}

/// An IPv6 host has a /64 at least, so that is what counts as one source.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(network.into())
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Tcp(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn a_source_and_the_whole_have_their_limits_and_a_dropped_place_is_free_again() {
        let gate = Gate::new(ConnectionLimits { connections_max: 4, per_source_max: 2 });
        let first = gate.admit(&peer("192.0.2.1")).unwrap();
        let _second = gate.admit(&peer("::ffff:192.0.2.1")).unwrap();
        assert_eq!(gate.admit(&peer("192.0.2.1")).unwrap_err(), Refusal::TooManyFromSource);
        drop(first);
        let _third = gate.admit(&peer("192.0.2.1")).unwrap();
        let _fourth = gate.admit(&peer("2001:db8::1")).unwrap();
        let _fifth = gate.admit(&Peer::Unix).unwrap();
        assert_eq!(gate.admit(&Peer::Unix).unwrap_err(), Refusal::Full);
        assert_eq!(gate.open(), 4);
    }

    #[test]
    fn a_place_behind_a_proxy_counts_to_its_source() {
        let gate = Gate::new(ConnectionLimits { connections_max: 9, per_source_max: 1 });
        let mut first = gate.admit(&peer("192.0.2.9")).unwrap();
        assert!(gate.admit(&peer("192.0.2.9")).is_err());
        first.count_to(&peer("198.51.100.1")).unwrap();
        let mut second = gate.admit(&peer("192.0.2.9")).unwrap();
        assert_eq!(second.count_to(&peer("198.51.100.1")), Err(Refusal::TooManyFromSource));
        assert!(gate.admit(&peer("198.51.100.1")).is_err());
        drop((first, second));
        assert_eq!((gate.open(), gate.counts().sources.len()), (0, 0));
    }

    #[test]
    fn a_whole_ipv6_network_is_one_source() {
        let gate = Gate::new(ConnectionLimits { connections_max: 4, per_source_max: 1 });
        let _first = gate.admit(&peer("2001:db8::1")).unwrap();
        assert!(gate.admit(&peer("2001:db8::2:0:0:1")).is_err());
        assert!(gate.admit(&peer("2001:db8:0:1::1")).is_ok());
        assert_eq!(gate.counts().sources.len(), 1);
    }
}
