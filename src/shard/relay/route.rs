//! Which way a recipient's mail goes.

use std::sync::Arc;
use std::time::Duration;

use base::ShardId;
use directory::EmailAddress;
use queue::{Envelope, Progress, RetryPolicy};
use transport::Destination;

use super::egress::EgressPool;
use super::named::{Bounds, NamedRoute, Onward};
use super::outbound::{Outbound, Smarthost};

/// A way out: mail that goes the same way shares a lane and connections.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) to: To,
    /// The route by name that it goes.
    pub(crate) via: Option<Arc<NamedRoute>>,
}

/// Where a way leads.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// Into a mailbox of ours: what was held or could not be stored, or whose domain has become ours meanwhile.
    Local,
    /// To the mail hosts of a domain, or to an address.
    Direct(Destination),
    /// To a system that takes all of it.
    Smarthost(Arc<Smarthost>),
    /// The address has no domain that could be one.
    Nowhere,
    /// The route of this name, which there is not.
    Unknown(String),
}

/// What decides which way mail goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) sender: Option<&'a str>,
    pub(crate) recipient: &'a str,
    /// The route that somebody has named.
    pub(crate) named: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(envelope: &'a Envelope, progress: &'a Progress, recipient: &'a str) -> Self {
        let named = progress.route.as_deref().or(envelope.route.as_deref());
        // An operator may have put a message back on the way of its addresses.
        let named = named.filter(|name| !name.is_empty());
        Self { sender: envelope.sender.as_deref(), recipient, named }
    }
}

impl Route {
    pub(crate) const LOCAL: Self = Self { to: To::Local, via: None };

    /// The way to an address.
    pub(crate) fn of(outbound: &Outbound, asked: Asked<'_>) -> Self {
        let nowhere = Self { to: To::Nowhere, via: None };
        // Letters of other scripts as A-labels: that is how names are looked up.
        let Ok(recipient) = EmailAddress::parse(asked.recipient) else { return nowhere };
        let via = match asked.named {
            Some(name) => match outbound.routes.iter().find(|route| route.name == name) {
                Some(route) => Some(Arc::clone(route)),
                None => return Self { to: To::Unknown(name.to_owned()), via: None },
            },
            None if outbound.routes.is_empty() => None,
            None => {
                let sender = asked.sender.and_then(|sender| EmailAddress::parse(sender).ok());
                let means = |route: &&Arc<NamedRoute>| route.means(sender.as_ref(), &recipient);
                outbound.routes.iter().find(means).map(Arc::clone)
            }
        };
        let smarthost = match via.as_deref().map(|route| &route.onward) {
            Some(Onward::Smarthost(smarthost)) => Some(smarthost),
            Some(Onward::MailHosts) => None,
            Some(Onward::AsUsual) | None => outbound.smarthost.as_ref(),
        };
        let to = match smarthost {
            Some(smarthost) => To::Smarthost(Arc::clone(smarthost)),
            None => match Destination::parse(recipient.domain()) {
                Some(destination) => To::Direct(destination),
                None => return nowhere,
            },
        };
        Self { to, via }
    }

    /// Its name: the same for the same way.
    pub(crate) fn name(&self) -> String {
        let to = match &self.to {
            // No domain and no smarthost is called that: those have a dot, a bracket or a port.
            To::Local => "local".to_owned(),
            To::Nowhere => "nowhere".to_owned(),
            To::Unknown(name) => format!("no route {name}"),
            To::Direct(destination) => host_name(destination),
            To::Smarthost(smarthost) => format!("{}:{}", host_name(&smarthost.host), smarthost.port),
        };
        match &self.via {
            Some(via) => format!("{to} via {}", via.name),
            None => to,
        }
    }

    /// Its number.
    pub(crate) fn destination(&self) -> queue::Destination {
        queue::Destination::of(&self.name())
    }

    /// When mail on this way is tried again, and when it is given up.
    pub(crate) fn retry<'a>(&'a self, outbound: &'a Outbound) -> &'a RetryPolicy {
        self.via.as_deref().map_or(&outbound.retry, |via| &via.retry)
    }

    /// Whence mail on this way goes.
    pub(crate) fn pool<'a>(&'a self, outbound: &'a Outbound) -> Option<&'a Arc<EgressPool>> {
        self.via.as_deref().and_then(|via| via.pool.as_ref()).or(outbound.pool.as_ref())
    }

    fn bounds(&self, outbound: &Outbound) -> Bounds {
        let to = match &self.to {
            To::Direct(destination) => Some(destination),
            To::Smarthost(smarthost) => Some(&smarthost.host),
            To::Local | To::Nowhere | To::Unknown(_) => None,
        };
        let own = to.and_then(|to| outbound.destinations.iter().find(|bounds| bounds.means(to)));
        own.map_or_else(|| outbound.bounds(), |own| own.bounds.clone())
    }

    /// Which shard has the connections for what `own` sends, and on which bounds. Those to a domain's hosts are all on one
    /// shard. A smarthost takes all the mail there is: if there are enough connections for that, each shard has its
    /// share, and no message goes through another.
    pub(crate) fn connections(&self, outbound: &Outbound, shards: u16, own: ShardId) -> (ShardId, Bounds) {
        let bounds = self.bounds(outbound);
        let share = bounds.connections_max / usize::from(shards.max(1));
        // A source that has bounds has them for a destination, wherever mail for it lies.
        let is_bounded = self.pool(outbound).is_some_and(|pool| pool.has_bounds());
        match &self.to {
            To::Smarthost(_) if share > 0 && !is_bounded => {
                (own, Bounds { connections_max: share, ..bounds })
            }
            _ => (ShardId(self.destination().shard(shards)), bounds),
        }
    }

    /// The time between two messages that a shard sends on this way: each gives out its share of what goes there.
    pub(crate) fn pace(&self, outbound: &Outbound, shards: u16) -> Option<Duration> {
        let of_sources = self.pool(outbound).and_then(|pool| pool.messages_per_minute_max());
        let of_destination = self.bounds(outbound).messages_per_minute_max;
        let all = [of_sources, of_destination].into_iter().flatten().min()?;
        Some(Duration::from_mins(1) * u32::from(shards.max(1)) / all.get())
    }
}

fn host_name(host: &Destination) -> String {
    match host {
        Destination::Domain(domain) => domain.clone(),
        Destination::Address(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::SmarthostTls;
    use crate::relay::named::{DestinationBounds, Scope};

    fn smarthost(text: &str, port: u16) -> Arc<Smarthost> {
        let host = Destination::parse(text).expect("a host");
        Arc::new(Smarthost { host, port, tls: SmarthostTls::Never, login: None })
    }

    fn named(name: &str, recipients: &[&str], onward: Onward) -> Arc<NamedRoute> {
        let scope = |text: &&str| Scope::parse(text).expect("a scope");
        Arc::new(NamedRoute {
            name: name.to_owned(),
            senders: Vec::new(),
            recipients: recipients.iter().map(scope).collect(),
            onward,
            pool: None,
            retry: RetryPolicy::default(),
        })
    }

    fn way(outbound: &Outbound, recipient: &str, named: Option<&str>) -> String {
        Route::of(outbound, Asked { sender: None, recipient, named }).name()
    }

    #[test]
    fn a_smarthost_is_reached_from_each_shard_if_there_are_enough_connections() {
        let mut outbound = Outbound::new("mx.example");
        let route = Route { to: To::Smarthost(smarthost("[192.0.2.1]", 25)), via: None };
        let connections = |outbound: &Outbound, route: &Route, own| {
            let (shard, bounds) = route.connections(outbound, 3, ShardId(own));
            (shard.0, bounds.connections_max)
        };
        let one = route.destination().shard(3);
        for own in 0..3 {
            outbound.connections_max = 16;
            assert_eq!(connections(&outbound, &route, own), (own, 5));
            outbound.connections_max = 2;
            assert_eq!(connections(&outbound, &route, own), (one, 2));
        }
        outbound.connections_max = 16;
        let direct =
            Route { to: To::Direct(Destination::parse("example.org").expect("a domain")), via: None };
        let one = direct.destination().shard(3);
        assert_eq!([0, 1, 2].map(|own| connections(&outbound, &direct, own)), [(one, 16); 3]);
        let bounds =
            Bounds { connections_max: 3, messages_per_minute_max: NonZeroU32::new(60), ..outbound.bounds() };
        let destinations = vec![Scope::parse("example.org").expect("a scope")];
        outbound.destinations = vec![DestinationBounds { destinations, bounds }];
        assert_eq!(connections(&outbound, &direct, 0), (one, 3));
        assert_eq!(direct.pace(&outbound, 3), Some(Duration::from_secs(3)));
        assert_eq!(direct.pace(&outbound, 100), Some(Duration::from_secs(100)));
        assert_eq!(route.pace(&outbound, 3), None);
    }

    #[test]
    fn the_first_route_that_means_a_message_is_its_way() {
        let mut outbound = Outbound::new("mx.example");
        assert_eq!(way(&outbound, "ann@Example.org", None), "example.org");
        outbound.smarthost = Some(smarthost("relay.example", 587));
        outbound.routes = vec![
            named("partner", &["b.example"], Onward::Smarthost(smarthost("[IPv6:2001:db8::1]", 25))),
            named("again", &["b.example"], Onward::MailHosts),
            named("direct", &["*.c.example"], Onward::MailHosts),
            named("bulk", &[], Onward::AsUsual),
        ];
        for (recipient, name, expected) in [
            ("ann@example.org", None, "relay.example:587"),
            ("bob@b.example", None, "[2001:db8::1]:25 via partner"),
            ("bob@x.c.example", None, "x.c.example via direct"),
            ("bob@b.example", Some("bulk"), "relay.example:587 via bulk"),
            ("bob@b.example", Some("gone"), "no route gone"),
            ("nobody", None, "nowhere"),
        ] {
            assert_eq!(way(&outbound, recipient, name), expected);
        }
    }
}
