//! Which way a recipient's mail goes.

use base::ShardId;
use directory::EmailAddress;
use transport::Destination;

use super::outbound::{Outbound, Smarthost};

/// A way out: mail that goes the same way shares a lane and connections.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Into a mailbox of ours: what was held, or whose domain has become ours meanwhile.
    Local,
    /// To the mail hosts of a domain, or to an address.
    Direct(Destination),
    /// To a system that takes all of it.
    Smarthost(Box<Smarthost>),
}

impl Route {
    /// The way to an address; `None` when it has no domain that could be one.
    pub(crate) fn of(outbound: &Outbound, address: &str) -> Option<Self> {
        if let Some(smarthost) = &outbound.smarthost {
            return Some(Self::Smarthost(Box::new(smarthost.clone())));
        }
        // Letters of other scripts as A-labels: that is how names are looked up.
        let address = EmailAddress::parse(address).ok()?;
        Destination::parse(address.domain()).map(Self::Direct)
    }

    /// Its name: the same for the same way.
    pub(crate) fn name(&self) -> String {
        match self {
            // No domain and no smarthost is called that: those have a dot, a bracket or a port.
            Self::Local => "local".to_owned(),
            Self::Direct(Destination::Domain(domain)) => domain.clone(),
            Self::Direct(Destination::Address(address)) => format!("[{address}]"),
            Self::Smarthost(smarthost) => match &smarthost.host {
                Destination::Domain(host) => format!("{host}:{}", smarthost.port),
                Destination::Address(address) => format!("[{address}]:{}", smarthost.port),
            },
        }
    }

    /// Its number.
    pub(crate) fn destination(&self) -> queue::Destination {
        queue::Destination::of(&self.name())
    }

    /// Which shard has the connections for what `own` sends, and how many of `connections_max` it may have. Those to a
    /// domain's hosts are all on one shard. A smarthost takes all the mail there is: if there are enough of them for
    /// that, each shard has its share, and no message goes through another.
    pub(crate) fn connections(&self, connections_max: usize, shards: u16, own: ShardId) -> (ShardId, usize) {
        let share = connections_max / usize::from(shards.max(1));
        match self {
            Self::Smarthost(_) if share > 0 => (own, share),
            _ => (ShardId(self.destination().shard(shards)), connections_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SmarthostTls;

    #[test]
    fn a_smarthost_is_reached_from_each_shard_if_there_are_enough_connections() {
        let host = Destination::parse("[192.0.2.1]").expect("an address");
        let smarthost =
            Route::Smarthost(Box::new(Smarthost { host, port: 25, tls: SmarthostTls::Never, login: None }));
        for own in [0, 1, 2].map(ShardId) {
            assert_eq!(smarthost.connections(16, 3, own), (own, 5));
            let one = ShardId(smarthost.destination().shard(3));
            assert_eq!(smarthost.connections(2, 3, own), (one, 2));
        }
        let direct = Route::Direct(Destination::parse("example.org").expect("a domain"));
        let one = ShardId(direct.destination().shard(3));
        assert_eq!([0, 1, 2].map(|own| direct.connections(16, 3, ShardId(own))), [(one, 16); 3]);
    }
}
