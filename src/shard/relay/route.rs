//! Which way a recipient's mail goes.

use transport::Destination;

use super::outbound::{Outbound, Smarthost};

/// A way out: mail that goes the same way shares a lane and connections.
#[derive(Clone, Debug)]
pub(crate) enum Route {
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
        let (_, domain) = address.rsplit_once('@')?;
        Destination::parse(domain).map(Self::Direct)
    }

    /// Its name: the same for the same way.
    pub(crate) fn name(&self) -> String {
        match self {
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
}
