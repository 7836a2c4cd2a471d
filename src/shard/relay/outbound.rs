//! What an operator sets for mail that goes elsewhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Secret;
use dsn::Templates;
use queue::{RetryPolicy, Window};
use transport::{AddressOrder, Destination, Ourselves};

use super::egress::EgressPool;
use super::named::{Bounds, DestinationBounds, NamedRoute};
use super::postmaster::TellPostmaster;

/// Settings of relaying, shared by all shards.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "settings are independent of each other")]
pub struct Outbound {
    /// Whether mail for others is taken at all.
    pub is_enabled: bool,
    /// Our name in EHLO, and in notices.
    pub hostname: String,
    /// Where all mail goes; `None` asks for each domain's mail hosts.
    pub smarthost: Option<Arc<Smarthost>>,
    /// Routes by name. Of those that mean a message, the first is its way.
    pub routes: Vec<Arc<NamedRoute>>,
    /// Whence mail goes whose route does not say it; `None` leaves it to the machine.
    pub pool: Option<Arc<EgressPool>>,
    /// Bounds of destinations; the first that mean one are its.
    pub destinations: Vec<DestinationBounds>,
    /// Networks that may send to anybody without a login: address and length of the prefix in bits.
    pub relay_from: Vec<(IpAddr, u8)>,
    /// Whether those and who has logged in may ask for a return path for each recipient (XVERP).
    pub verp: bool,
    /// When to try again, and when to give up.
    pub retry: RetryPolicy,
    /// How many messages of one destination one shard tries at the same time.
    pub window: Window,
    /// Connections to one destination.
    pub connections_max: usize,
    /// Messages on one connection.
    pub messages_per_connection_max: u32,
    /// How long a connection is kept that nothing is sent over.
    pub idle: Duration,
    /// Messages that one shard tries at the same time, all destinations together.
    pub attempts_max: usize,
    /// Entries that one shard's queue takes: one for each destination of a message.
    pub entries_max: usize,
    /// Bytes of messages that one shard keeps in memory for their first attempt.
    pub fresh_bytes_max: usize,
    /// Which kind of address goes first.
    pub order: AddressOrder,
    /// The texts of notices.
    pub templates: Arc<Templates>,
    /// Of what the postmaster is told.
    pub tell_postmaster: TellPostmaster,
    /// Whom not to connect to.
    pub ourselves: Ourselves,
    /// Whether mail that is sent on gets a return path of ours.
    pub is_srs: bool,
    /// The domain of these return paths. Those that were given out come back whether or not others are.
    pub srs_domain: String,
    /// What they are signed with: the first signs, all of them verify. Empty is a secret of the server's own.
    pub srs_secrets: Vec<Secret<Vec<u8>>>,
    /// Whether mail that is sent on is sealed (RFC 8617).
    pub seals: bool,
    /// The port of other mail systems: 25, but in tests.
    pub port: u16,
}

/// A system that takes all our mail.
#[derive(Clone, Debug)]
pub struct Smarthost {
    /// A host or an address.
    pub host: Destination,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmarthostTls,
    /// Name and password, if it wants a login.
    pub login: Option<(String, Secret<String>)>,
}

/// How the connection to a smarthost is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmarthostTls {
    /// Not at all.
    Never,
    /// Where it offers that; any certificate will do.
    IfOffered,
    /// By STARTTLS, with a certificate for its name.
    Required,
    /// From the start, with a certificate for its name.
    Implicit,
}

impl Outbound {
    /// Usual settings.
    pub fn new(hostname: &str) -> Self {
        let ourselves = Ourselves { names: vec![hostname.to_owned()], ..Ourselves::default() };
        Self {
            is_enabled: true,
            hostname: hostname.to_owned(),
            smarthost: None,
            routes: Vec::new(),
            pool: None,
            destinations: Vec::new(),
            relay_from: Vec::new(),
            verp: true,
            retry: RetryPolicy::default(),
            window: Window { first: 4, max: 32 },
            connections_max: 16,
            messages_per_connection_max: 1000,
            idle: Duration::from_secs(5),
            attempts_max: 1024,
            entries_max: 1_000_000,
            fresh_bytes_max: 64 * 1024 * 1024,
            order: AddressOrder::default(),
            templates: Arc::default(),
            tell_postmaster: TellPostmaster::default(),
            ourselves,
            is_srs: true,
            srs_domain: hostname.to_owned(),
            srs_secrets: Vec::new(),
            seals: true,
            port: 25,
        }
    }

    /// What is asked of a destination that nothing else is said of.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections_max: self.connections_max,
            messages_per_connection_max: self.messages_per_connection_max,
            messages_per_minute_max: None,
            idle: self.idle,
        }
    }

    /// Whether a peer may send to anybody without a login.
    pub fn may_relay(&self, peer: IpAddr) -> bool {
        is_among(peer, &self.relay_from)
    }
}

/// Whether an address is in one of some networks.
pub(crate) fn is_among(address: IpAddr, networks: &[(IpAddr, u8)]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|(network, bits)| is_within(address, *network, *bits))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differs = u32::from(address) ^ u32::from(network);
            differs.checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differs = u128::from(address) ^ u128::from(network);
            differs.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_its_prefix() {
        let mut outbound = Outbound::new("mx.example");
        let network = |text: &str, bits| (text.parse().expect("an address"), bits);
        outbound.relay_from =
            vec![network("192.0.2.0", 24), network("2001:db8::", 32), network("10.9.8.7", 32)];
        for (peer, may) in [
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("10.9.8.7", true),
            ("10.9.8.6", false),
        ] {
            assert_eq!(outbound.may_relay(peer.parse().expect("an address")), may, "{peer}");
        }
        outbound.relay_from = vec![network("0.0.0.0", 0)];
        assert!(outbound.may_relay([203, 0, 113, 9].into()));
        assert!(!outbound.may_relay("2001:db8::1".parse().expect("an address")));
    }
}
