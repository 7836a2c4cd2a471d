//! Routes by name: mail that goes another way than the rest, and bounds of destinations.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use directory::EmailAddress;
use queue::RetryPolicy;
use transport::Destination;

use super::egress::EgressPool;
use super::outbound::Smarthost;

/// Which addresses, or which destinations, are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// The null path of bounces.
    Null,
    /// One address, by its key.
    Address(String),
    /// A domain, in A-labels, or an address literal.
    Domain(String),
    /// What is below a domain, the domain itself not.
    Below(String),
}

impl Scope {
    /// Reads `*`, `<>`, `ann@example.org`, `example.org`, `[192.0.2.1]` or `*.example.org`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let domain = |name: &str| {
            let address = EmailAddress::parse(&format!("x@{name}")).ok()?;
            Destination::parse(address.domain()).map(|_| address.domain().to_owned())
        };
        match text {
            "*" => Some(Self::All),
            "<>" => Some(Self::Null),
            _ if text.contains('@') => Some(Self::Address(EmailAddress::parse(text).ok()?.key())),
            _ => match text.strip_prefix("*.") {
                Some(below) => domain(below).map(Self::Below),
                None => domain(text).map(Self::Domain),
            },
        }
    }

    /// Whether an address is meant; `None` is the null path.
    fn means(&self, address: Option<&EmailAddress>) -> bool {
        match (self, address) {
            (Self::All, _) | (Self::Null, None) => true,
            (Self::Address(key), Some(address)) => address.key() == *key,
            (_, Some(address)) => self.means_domain(address.domain()),
            (_, None) => false,
        }
    }

    /// Whether a domain as a whole is meant.
    fn means_domain(&self, domain: &str) -> bool {
        match self {
            Self::All => true,
            Self::Domain(own) => own == domain,
            Self::Below(own) => {
                domain.strip_suffix(own.as_str()).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            Self::Null | Self::Address(_) => false,
        }
    }
}

/// Where mail of a named route goes.
#[derive(Clone, Debug)]
pub enum Onward {
    /// Where mail goes that has no route of its own.
    AsUsual,
    /// To each domain's mail hosts.
    MailHosts,
    /// To a system that takes all of it.
    Smarthost(Arc<Smarthost>),
}

/// A route by name. Mail goes it when a rule or an operator says so, or when one of `senders` and one of
/// `recipients` are meant; an empty list of one means everybody, two empty lists nobody.
#[derive(Clone, Debug)]
pub struct NamedRoute {
    /// Its name.
    pub name: String,
    /// Whose mail.
    pub senders: Vec<Scope>,
    /// Mail for whom.
    pub recipients: Vec<Scope>,
    /// Where it goes.
    pub onward: Onward,
    /// Whence it goes; `None` is as usual.
    pub pool: Option<Arc<EgressPool>>,
    /// When it is tried again, and when it is given up.
    pub retry: RetryPolicy,
}

impl NamedRoute {
    /// Whether mail goes this way by its addresses.
    pub(super) fn means(&self, sender: Option<&EmailAddress>, recipient: &EmailAddress) -> bool {
        let has =
            |scopes: &[Scope], address| scopes.is_empty() || scopes.iter().any(|scope| scope.means(address));
        !(self.senders.is_empty() && self.recipients.is_empty())
            && has(&self.senders, sender)
            && has(&self.recipients, Some(recipient))
    }
}

/// What is asked of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Messages on one connection.
    pub messages_per_connection_max: u32,
    /// Messages in a minute; `None` is no bound.
    pub messages_per_minute_max: Option<NonZeroU32>,
    /// How long a connection is kept that nothing is sent over.
    pub idle: Duration,
}

/// Bounds of some destinations instead of the usual ones.
#[derive(Clone, Debug)]
pub struct DestinationBounds {
    /// Domains of recipients, or hosts of smarthosts.
    pub destinations: Vec<Scope>,
    /// What is asked of each of them.
    pub bounds: Bounds,
}

impl DestinationBounds {
    /// Whether a destination is meant.
    pub(super) fn means(&self, destination: &Destination) -> bool {
        let name = match destination {
            Destination::Domain(domain) => domain.clone(),
            Destination::Address(address) if address.is_ipv6() => format!("[IPv6:{address}]"),
            Destination::Address(address) => format!("[{address}]"),
        };
        self.destinations.iter().any(|scope| scope.means_domain(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_mean_what_they_say() {
        let address = |text: &str| EmailAddress::parse(text).expect("an address");
        for (scope, text, means) in [
            ("*", "ann@example.org", true),
            ("<>", "ann@example.org", false),
            ("Ann@Example.org", "ann@example.org", true),
            ("ann@example.org", "bob@example.org", false),
            ("example.org", "ann@example.org", true),
            ("example.org", "ann@sub.example.org", false),
            ("*.example.org", "ann@sub.example.org", true),
            ("*.example.org", "ann@example.org", false),
            ("*.example.org", "ann@badexample.org", false),
            ("b\u{fc}cher.example", "ann@xn--bcher-kva.example", true),
            ("[192.0.2.1]", "ann@[192.0.2.1]", true),
        ] {
            let read = Scope::parse(scope).expect(scope);
            assert_eq!(read.means(Some(&address(text))), means, "{scope} {text}");
        }
        assert!(Scope::All.means(None) && Scope::Null.means(None));
        assert!(!Scope::Domain("example.org".to_owned()).means(None));
        for wrong in ["", "@", "ann@", "a b", "*.", "*@example.org x", "**"] {
            assert_eq!(Scope::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_route_means_senders_and_recipients_together() {
        let route = |senders: &[&str], recipients: &[&str]| NamedRoute {
            name: "r".to_owned(),
            senders: senders.iter().map(|text| Scope::parse(text).expect("a scope")).collect(),
            recipients: recipients.iter().map(|text| Scope::parse(text).expect("a scope")).collect(),
            onward: Onward::AsUsual,
            pool: None,
            retry: RetryPolicy::default(),
        };
        let (ann, bob) = (EmailAddress::parse("ann@a.example"), EmailAddress::parse("bob@b.example"));
        let (ann, bob) = (ann.expect("an address"), bob.expect("an address"));
        assert!(route(&["a.example"], &["b.example"]).means(Some(&ann), &bob));
        assert!(!route(&["a.example"], &["a.example"]).means(Some(&ann), &bob));
        assert!(route(&[], &["b.example"]).means(None, &bob));
        assert!(route(&["<>"], &[]).means(None, &bob));
        assert!(!route(&[], &[]).means(Some(&ann), &bob), "only by its name");
    }
}
