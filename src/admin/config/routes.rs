//! `[[outbound.route]]`, `[[outbound.pool]]` and `[[outbound.destination]]`: mail that goes another way than the rest,
//! whence it goes, and bounds of destinations.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use shard::relay::{Bounds, DestinationBounds, EgressPool, NamedRoute, Onward, Scope, Source};
use toml::Spanned;

use super::outbound::{Hop, Outbound, Tls, retry_fault};

type Fault = (Range<usize>, String);

/// `[[outbound.route]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name, for rules and operators.
    pub name: Spanned<String>,
    /// Whose mail goes it: addresses, domains, `*.domain`, `<>`, `*`.
    #[serde(default)]
    pub senders: Vec<Spanned<String>>,
    /// Mail for whom goes it; likewise.
    #[serde(default)]
    pub recipients: Vec<Spanned<String>>,
    /// Where it goes, `HOST:PORT`; `mx` asks for each domain's mail hosts; without it, it goes where other mail goes.
    pub smarthost: Option<Spanned<String>>,
    /// As `outbound.smarthost_tls`.
    #[serde(default)]
    pub smarthost_tls: Tls,
    /// As `outbound.smarthost_user`.
    #[serde(default)]
    pub smarthost_user: String,
    /// As `outbound.smarthost_password_file`.
    pub smarthost_password_file: Option<Spanned<PathBuf>>,
    /// The pool of addresses that it goes from.
    pub pool: Option<Spanned<String>>,
    /// As `outbound.retry_minutes`.
    pub retry_minutes: Option<Spanned<Vec<u64>>>,
    /// As `outbound.expire_hours`.
    pub expire_hours: Option<Spanned<u64>>,
    /// As `outbound.late_hours`.
    pub late_hours: Option<u64>,
}

/// `[[outbound.pool]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Its name.
    pub name: Spanned<String>,
    /// The addresses that mail goes from.
    pub sources: Spanned<Vec<PoolSource>>,
}

/// One of `sources`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSource {
    /// For hosts with IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// For hosts with IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Our name in EHLO; without it, `server.hostname`.
    pub ehlo: Option<String>,
    /// Its share of the connections beside the others.
    #[serde(default = "one")]
    pub weight: NonZeroU32,
    /// Connections from it to one destination.
    pub connections_max: Option<NonZeroU32>,
    /// Messages from it to one destination in a minute.
    pub messages_per_minute_max: Option<NonZeroU32>,
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// `[[outbound.destination]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfDestination {
    /// Domains of recipients, or hosts of smarthosts: `example.org`, `*.example.org`, `*`.
    pub domains: Vec<Spanned<String>>,
    /// As `outbound.connections_max`.
    pub connections_max: Option<NonZeroU32>,
    /// As `outbound.messages_per_connection_max`.
    pub messages_per_connection_max: Option<NonZeroU32>,
    /// Messages in a minute; shared out among the shards.
    pub messages_per_minute_max: Option<NonZeroU32>,
    /// As `outbound.idle_s`.
    pub idle_s: Option<u64>,
}

impl Route {
    fn hop(&self) -> Option<Hop<'_>> {
        let host = self.smarthost.as_ref().filter(|host| host.get_ref() != "mx")?;
        let password_file = self.smarthost_password_file.as_ref();
        Some(Hop { host, tls: self.smarthost_tls, user: &self.smarthost_user, password_file })
    }

    fn settings(&self, outbound: &shard::Outbound, pools: &[Arc<EgressPool>]) -> NamedRoute {
        let mut retry = outbound.retry.clone();
        if let Some(minutes) = &self.retry_minutes {
            retry.waits = minutes.get_ref().iter().map(|minutes| Duration::from_secs(minutes * 60)).collect();
        }
        if let Some(hours) = &self.expire_hours {
            retry.expires_after = Duration::from_secs(hours.get_ref() * 3600);
        }
        if let Some(hours) = self.late_hours {
            retry.late_after = (hours > 0).then(|| Duration::from_secs(hours * 3600));
        }
        let onward = match (&self.smarthost, self.hop().and_then(|hop| hop.smarthost())) {
            (None, _) => Onward::AsUsual,
            (Some(_), None) => Onward::MailHosts,
            (Some(_), Some(smarthost)) => Onward::Smarthost(Arc::new(smarthost)),
        };
        let pool = self.pool.as_ref();
        NamedRoute {
            name: self.name.get_ref().clone(),
            senders: scopes(&self.senders),
            recipients: scopes(&self.recipients),
            onward,
            pool: pool.and_then(|name| pools.iter().find(|pool| pool.name == *name.get_ref()).cloned()),
            retry,
        }
    }
}

impl Pool {
    fn settings(&self) -> EgressPool {
        let source = |source: &PoolSource| Source {
            ipv4: source.ipv4,
            ipv6: source.ipv6,
            ehlo: source.ehlo.clone(),
            weight: source.weight.get(),
            connections_max: source.connections_max.map(|max| max.get() as usize),
            messages_per_minute_max: source.messages_per_minute_max,
        };
        let sources = self.sources.get_ref().iter().map(source).collect();
        EgressPool { name: self.name.get_ref().clone(), sources }
    }
}

impl OfDestination {
    fn settings(&self, outbound: &shard::Outbound) -> DestinationBounds {
        let usual = outbound.bounds();
        let connections_max = self.connections_max.map(|max| max.get() as usize);
        let per_connection = self.messages_per_connection_max.map(NonZeroU32::get);
        let bounds = Bounds {
            connections_max: connections_max.unwrap_or(usual.connections_max),
            messages_per_connection_max: per_connection.unwrap_or(usual.messages_per_connection_max),
            messages_per_minute_max: self.messages_per_minute_max,
            idle: self.idle_s.map_or(usual.idle, Duration::from_secs),
        };
        DestinationBounds { destinations: scopes(&self.domains), bounds }
    }
}

/// Puts them into settings that have everything else.
pub(super) fn settings(config: &Outbound, outbound: &mut shard::Outbound) {
    let pools: Vec<_> = config.pool.iter().map(|pool| Arc::new(pool.settings())).collect();
    let own = config.default_pool.get_ref();
    outbound.pool = pools.iter().find(|pool| pool.name == *own).cloned();
    outbound.routes = config.route.iter().map(|route| Arc::new(route.settings(outbound, &pools))).collect();
    outbound.destinations =
        config.destination.iter().map(|destination| destination.settings(outbound)).collect();
}

/// The first thing that is wrong, and where.
pub(super) fn fault(config: &Outbound) -> Option<Fault> {
    pools_fault(config).or_else(|| routes_fault(config)).or_else(|| {
        let domains = config.destination.iter().flat_map(|destination| &destination.domains);
        let wrong = |text: &&Spanned<String>| {
            !matches!(Scope::parse(text.get_ref()), Some(Scope::All | Scope::Domain(_) | Scope::Below(_)))
        };
        domains.into_iter().find(wrong).map(|text| {
            let remedy = "outbound.destination.domains has domains, such as \"example.org\", \"*.example.org\" or \"*\"";
            (text.span(), remedy.to_owned())
        })
    })
}

fn pools_fault(config: &Outbound) -> Option<Fault> {
    for pool in &config.pool {
        if let Some(fault) =
            name_fault("outbound.pool.name", &pool.name, config.pool.iter().map(|pool| &pool.name))
        {
            return Some(fault);
        }
        let sources = pool.sources.get_ref();
        if sources.is_empty() || sources.iter().any(|source| source.ipv4.is_none() && source.ipv6.is_none()) {
            let message = "outbound.pool.sources has tables with an ipv4 or ipv6 address of this machine, such as [{ ipv4 = \"192.0.2.10\" }]";
            return Some((pool.sources.span(), message.to_owned()));
        }
    }
    let named = config.route.iter().filter_map(|route| route.pool.as_ref());
    let mut named = named.chain(Some(&config.default_pool).filter(|name| !name.get_ref().is_empty()));
    let is_there =
        |name: &&Spanned<String>| config.pool.iter().any(|pool| pool.name.get_ref() == name.get_ref());
    let wrong = named.find(|name| !is_there(name))?;
    Some((wrong.span(), format!("there is no [[outbound.pool]] of the name {:?}", wrong.get_ref())))
}

fn routes_fault(config: &Outbound) -> Option<Fault> {
    for route in &config.route {
        if let Some(fault) =
            name_fault("outbound.route.name", &route.name, config.route.iter().map(|route| &route.name))
        {
            return Some(fault);
        }
        let all = route.senders.iter().chain(&route.recipients);
        if let Some(wrong) = all.into_iter().find(|text| Scope::parse(text.get_ref()).is_none()) {
            let message = format!(
                "outbound.route: {:?} is neither an address nor a domain, \"*.domain\", \"<>\" or \"*\"",
                wrong.get_ref()
            );
            return Some((wrong.span(), message));
        }
        let wrong = route.hop().and_then(|hop| hop.fault("outbound.route"));
        let wrong = wrong.or_else(|| {
            retry_fault("outbound.route", route.retry_minutes.as_ref(), route.expire_hours.as_ref())
        });
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

/// Names stand in commands and in the names of destinations: they are short words, each once.
fn name_fault<'a>(
    setting: &str,
    name: &Spanned<String>,
    all: impl Iterator<Item = &'a Spanned<String>>,
) -> Option<Fault> {
    let text = name.get_ref();
    let is_word = !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_word {
        return Some((name.span(), format!("{setting} must be a word of letters, digits, -, _ and .")));
    }
    let count = all.filter(|other| other.get_ref() == text).count();
    (count > 1).then(|| (name.span(), format!("{setting}: there are two of the name {text:?}")))
}

fn scopes(texts: &[Spanned<String>]) -> Vec<Scope> {
    texts.iter().filter_map(|text| Scope::parse(text.get_ref())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("[[outbound.route]]\nname = \"a b\"\n", "a.toml:2: outbound.route.name must be a word"),
            (
                "[[outbound.route]]\nname = \"a\"\n[[outbound.route]]\nname = \"a\"\n",
                "a.toml:2: outbound.route.name: there are two",
            ),
            (
                "[[outbound.route]]\nname = \"a\"\nsenders = [\"a b\"]\n",
                "a.toml:3: outbound.route: \"a b\" is neither",
            ),
            (
                "[[outbound.route]]\nname = \"a\"\nsmarthost = \"x\"\n",
                "a.toml:3: outbound.route.smarthost must be HOST:PORT",
            ),
            (
                "[[outbound.route]]\nname = \"a\"\npool = \"b\"\n",
                "a.toml:3: there is no [[outbound.pool]] of the name \"b\"",
            ),
            (
                "[[outbound.route]]\nname = \"a\"\nretry_minutes = [0]\n",
                "a.toml:3: outbound.route.retry_minutes must be",
            ),
            ("[outbound]\ndefault_pool = \"b\"\n", "a.toml:2: there is no [[outbound.pool]]"),
            (
                "[[outbound.pool]]\nname = \"b\"\nsources = [{ ehlo = \"x\" }]\n",
                "a.toml:3: outbound.pool.sources",
            ),
            (
                "[[outbound.pool]]\nname = \"b\"\nsources = [{ ipv4 = \"192.0.2.1\", weight = 0 }]\n",
                "a.toml:3: ",
            ),
            ("[[outbound.destination]]\ndomains = [\"a@b\"]\n", "a.toml:2: outbound.destination.domains"),
            ("[[outbound.destination]]\ndomains = [\"a\"]\nconnections_max = 0\n", "a.toml:3: "),
        ] {
            let said = Config::parse(Path::new("a.toml"), text).expect_err("it is wrong").to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn routes_pools_and_bounds_reach_the_services() {
        let text = "[outbound]\nsmarthost = \"a.example:25\"\ndefault_pool = \"b\"\nexpire_hours = 10\n\
            [[outbound.pool]]\nname = \"b\"\nsources = [{ ipv4 = \"192.0.2.1\", weight = 3 }, { ipv6 = \"2001:db8::1\" }]\n\
            [[outbound.route]]\nname = \"r\"\nrecipients = [\"*.example.org\"]\nsmarthost = \"mx\"\nlate_hours = 0\n\
            [[outbound.destination]]\ndomains = [\"*\"]\nmessages_per_minute_max = 60\n";
        let settings = Config::parse(Path::new("a.toml"), text).expect("valid").settings();
        let outbound = &settings.outbound;
        let pool = outbound.pool.as_ref().expect("it is named");
        assert_eq!(pool.sources.iter().map(|source| source.weight).collect::<Vec<_>>(), [3, 1]);
        let route = &outbound.routes[0];
        assert!(matches!(route.onward, Onward::MailHosts) && route.pool.is_none());
        assert_eq!((route.retry.late_after, route.retry.expires_after), (None, Duration::from_hours(10)));
        let bounds = &outbound.destinations[0].bounds;
        assert_eq!((bounds.connections_max, bounds.messages_per_minute_max), (16, NonZeroU32::new(60)));
    }
}
