//! `check_host` (RFC 7208 §4).

use std::net::{IpAddr, Ipv4Addr};

use super::macros::{Macros, Use, Values};
use super::record::{Directive, Mechanism, Prefixes, Record, is_spf, parse};
use super::{Identity, Sender, Spf, SpfResult};
use crate::limits::{
    PTR_NAMES_MAX, SPF_EXPLANATION_BYTES_MAX, SPF_LOOKUPS_MAX, SPF_MX_HOSTS_MAX, SPF_RECORD_BYTES_MAX,
    SPF_VOID_LOOKUPS_MAX,
};
use crate::lookup::{Gap, Questions};
use crate::{Lookup, name};

/// The two errors that end an evaluation wherever they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Temporary,
    Permanent,
}

impl From<Stop> for SpfResult {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Temporary => Self::TempError,
            Stop::Permanent => Self::PermError,
        }
    }
}

/// One evaluation, over all records that it comes to.
struct Check<'a, L> {
    lookup: &'a L,
    sender: &'a Sender<'a>,
    local: &'a str,
    origin: &'a str,
    lookups: u32,
    void_lookups: u32,
}

/// What one record came to.
struct Found {
    result: SpfResult,
    mechanism: Option<String>,
    /// The explanation of the record that decided, and its domain.
    explanation: Option<(Macros, String)>,
}

impl Found {
    const fn plain(result: SpfResult) -> Self {
        Self { result, mechanism: None, explanation: None }
    }
}

/// Evaluates `address` (`local@domain`) for the sender. Asks the name system at most
/// [`SPF_LOOKUPS_MAX`] times [`SPF_MX_HOSTS_MAX`] questions and a few.
pub async fn check<L: Lookup>(lookup: &L, sender: &Sender<'_>, identity: Identity, address: &str) -> Spf {
    let (local, domain) = address.rsplit_once('@').unwrap_or(("", address));
    // Without a local part it is the postmaster's mail (RFC 7208 §4.3).
    let local = if local.is_empty() { "postmaster" } else { local };
    // IPv4 through an IPv6 socket is IPv4 (RFC 7208 §5).
    let sender = Sender { ip: sender.ip.to_canonical(), ..*sender };
    let mut spf = Spf {
        result: SpfResult::None,
        identity,
        domain: domain.to_owned(),
        mechanism: None,
        explanation: None,
    };
    let Some(origin) = name::normal(domain).filter(|name| is_checkable(name)) else { return spf };
    let mut check = Check { lookup, sender: &sender, local, origin: &origin, lookups: 0, void_lookups: 0 };
    let found = match check.record(&origin).await {
        Ok(found) => found,
        Err(stop) => Found::plain(stop.into()),
    };
    spf.result = found.result;
    spf.mechanism = found.mechanism;
    if spf.result == SpfResult::Fail
        && let Some((macros, domain)) = found.explanation
    {
        spf.explanation = check.explain(&macros, &domain).await;
    }
    spf
}

/// More than one label and no address in brackets (RFC 7208 §4.3).
fn is_checkable(name: &str) -> bool {
    name.contains('.') && !name.starts_with('[')
}

impl<L: Lookup> Check<'_, L> {
    /// Fetches and evaluates the record of one domain, and of those it redirects to.
    async fn record(&mut self, domain: &str) -> Result<Found, Stop> {
        let Some(record) = self.fetch(domain).await? else { return Ok(Found::plain(SpfResult::None)) };
        for directive in &record.directives {
            if self.matches(directive, domain).await? {
                return Ok(Found {
                    result: directive.result,
                    mechanism: Some(directive.text.clone()),
                    explanation: record.explanation.map(|macros| (macros, domain.to_owned())),
                });
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(Found::plain(SpfResult::Neutral)) };
        self.count_lookup()?;
        let target = self.expand(redirect, domain).await;
        if !name::is_name(&target) {
            return Err(Stop::Permanent);
        }
        // The depth is bounded by the count of lookups.
        let found = Box::pin(self.record(&target)).await?;
        if found.result == SpfResult::None {
            return Err(Stop::Permanent);
        }
        Ok(found)
    }

    /// The one SPF record of a domain (RFC 7208 §4.4, §4.5).
    async fn fetch(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let records = match self.lookup.txt(domain).await {
            Ok(records) => records,
            Err(Gap::Temporary) => return Err(Stop::Temporary),
            Err(Gap::NoSuchName | Gap::NoRecords) => return Ok(None),
        };
        let mut ours = records.iter().filter(|record| is_spf(record));
        let Some(record) = ours.next() else { return Ok(None) };
        if ours.next().is_some() || record.len() > SPF_RECORD_BYTES_MAX {
            return Err(Stop::Permanent);
        }
        parse(record).map(Some).map_err(|_| Stop::Permanent)
    }

    async fn matches(&mut self, directive: &Directive, domain: &str) -> Result<bool, Stop> {
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, bits) => Ok(matches!(self.sender.ip, IpAddr::V4(_))
                && is_inside(self.sender.ip, (*network).into(), *bits)),
            Mechanism::Ip6(network, bits) => Ok(matches!(self.sender.ip, IpAddr::V6(_))
                && is_inside(self.sender.ip, (*network).into(), *bits)),
            Mechanism::Include(spec) => self.includes(spec, domain).await,
            Mechanism::A(spec, prefixes) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await;
                self.has_address(&target, *prefixes).await
            }
            Mechanism::Mx(spec, prefixes) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await;
                self.has_exchange(&target, *prefixes).await
            }
            Mechanism::Ptr(spec) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await;
                let names = self.validated_names(Reverse::Counted).await?;
                Ok(names.iter().any(|name| name::is_within(name, &target)))
            }
            Mechanism::Exists(spec) => {
                self.count_lookup()?;
                let target = self.expand(spec, domain).await;
                // Always A records, whatever family the sender has (RFC 7208 §5.7).
                Ok(!self.addresses(&target, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await?.is_empty())
            }
        }
    }

    /// RFC 7208 §5.2, with its table of what the inner result means.
    async fn includes(&mut self, spec: &Macros, domain: &str) -> Result<bool, Stop> {
        self.count_lookup()?;
        let target = self.expand(spec, domain).await;
        if !name::is_name(&target) {
            return Err(Stop::Permanent);
        }
        match Box::pin(self.record(&target)).await?.result {
            SpfResult::Pass => Ok(true),
            SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
            SpfResult::TempError => Err(Stop::Temporary),
            SpfResult::PermError | SpfResult::None => Err(Stop::Permanent),
        }
    }

    async fn has_address(&mut self, target: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let addresses = self.addresses(target, self.sender.ip).await?;
        let bits = if self.sender.ip.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
        Ok(addresses.into_iter().any(|address| is_inside(self.sender.ip, address, bits)))
    }

    async fn has_exchange(&mut self, target: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        if !name::is_name(target) {
            return Ok(false);
        }
        let hosts = match self.lookup.exchanges(target).await {
            Ok(hosts) => hosts,
            Err(failure) => return self.nothing(failure).map(|()| false),
        };
        if hosts.len() > SPF_MX_HOSTS_MAX {
            return Err(Stop::Permanent);
        }
        for host in hosts {
            if self.has_address(&host, prefixes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Addresses of a name; none when it has none, which counts.
    async fn addresses(&mut self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, Stop> {
        if !name::is_name(name) {
            return Ok(Vec::new());
        }
        match self.lookup.addresses(name, like).await {
            Ok(addresses) => Ok(addresses),
            Err(failure) => self.nothing(failure).map(|()| Vec::new()),
        }
    }

    /// The names of the sender's address that lead back to it (RFC 7208 §5.5). Errors on the way mean
    /// "not that name".
    async fn validated_names(&mut self, reverse: Reverse) -> Result<Vec<String>, Stop> {
        let names = match self.lookup.names(self.sender.ip).await {
            Ok(names) => names,
            Err(Gap::Temporary) => return Ok(Vec::new()),
            Err(failure) if reverse == Reverse::Counted => {
                return self.nothing(failure).map(|()| Vec::new());
            }
            Err(_) => return Ok(Vec::new()),
        };
        let mut valid = Vec::new();
        for host in names.iter().take(PTR_NAMES_MAX).filter_map(|host| name::normal(host)) {
            let addresses = self.lookup.addresses(&host, self.sender.ip).await;
            if addresses.is_ok_and(|addresses| addresses.contains(&self.sender.ip)) {
                valid.push(host);
            }
        }
        Ok(valid)
    }

    async fn target(&mut self, spec: Option<&Macros>, domain: &str) -> String {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&mut self, macros: &Macros, domain: &str) -> String {
        let validated = self.validated_name(macros, domain).await;
        macros.expand_name(&self.values(domain, validated.as_deref()))
    }

    /// `%{p}`: the domain itself, or a name below it, or any (RFC 7208 §7.3).
    async fn validated_name(&mut self, macros: &Macros, domain: &str) -> Option<String> {
        if !macros.needs_validated_name() {
            return None;
        }
        let names = self.validated_names(Reverse::Free).await.unwrap_or_default();
        let exact = names.iter().find(|name| *name == domain);
        let below = || names.iter().find(|name| name::is_within(name, domain));
        exact.or_else(below).or(names.first()).cloned()
    }

    fn values<'a>(&'a self, domain: &'a str, validated: Option<&'a str>) -> Values<'a> {
        Values { sender: self.sender, local: self.local, origin: self.origin, domain, validated }
    }

    /// The text at `exp=` (RFC 7208 §6.2). Whatever goes wrong, there is none.
    async fn explain(&mut self, macros: &Macros, domain: &str) -> Option<String> {
        let target = self.expand(macros, domain).await;
        if !name::is_name(&target) {
            return None;
        }
        let records = self.lookup.txt(&target).await.ok()?;
        let [record] = records.as_slice() else { return None };
        let text = std::str::from_utf8(record).ok().filter(|text| text.is_ascii())?;
        let macros = Macros::parse(text, Use::Explanation).ok()?;
        let validated = self.validated_name(&macros, domain).await;
        let mut text = macros.expand(&self.values(domain, validated.as_deref()));
        text.truncate(text.floor_char_boundary(SPF_EXPLANATION_BYTES_MAX));
        text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ').then_some(text)
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > SPF_LOOKUPS_MAX { Err(Stop::Permanent) } else { Ok(()) }
    }

    /// A question that found nothing, or no answer.
    fn nothing(&mut self, failure: Gap) -> Result<(), Stop> {
        if !failure.is_void() {
            return Err(Stop::Temporary);
        }
        self.void_lookups += 1;
        if self.void_lookups > SPF_VOID_LOOKUPS_MAX { Err(Stop::Permanent) } else { Ok(()) }
    }
}

/// Whether a reverse lookup that finds nothing counts: it does for a mechanism, not for a macro.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reverse {
    Counted,
    Free,
}

/// Whether two addresses of one family agree in their first `bits`.
fn is_inside(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_by_their_first_bits() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(is_inside(ip("192.0.2.77"), ip("192.0.2.0"), 24));
        assert!(!is_inside(ip("192.0.3.77"), ip("192.0.2.0"), 24));
        assert!(is_inside(ip("192.0.3.77"), ip("10.0.0.0"), 0));
        assert!(is_inside(ip("2001:db8::1"), ip("2001:db8::"), 64));
        assert!(!is_inside(ip("2001:db8::1"), ip("2001:db8::"), 128));
        assert!(!is_inside(ip("::1"), ip("0.0.0.0"), 0));
    }
}
