//! The questions in their order: from a domain to hosts, from a host to addresses and to what its
//! records demand. Who answers them is the caller's: a cache, a resolver, a test's table.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use base::Random;
use base::dns::{Answer, Failure, Query, RecordKind, normal};

use crate::address::{AddressOrder, Ourselves, addresses};
use crate::dane::{self, Dane};
use crate::mx::{self, Hosts, NoHosts};

/// What is the same for all hosts of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// Which kind of address goes first.
    pub order: AddressOrder,
    /// Whom not to connect to.
    pub ourselves: &'a Ourselves,
    /// The port, which is part of the name of TLSA records.
    pub port: u16,
    /// The host's name is proven: by DNSSEC ([`Hosts::is_secure`]), or because the operator has
    /// written it. Without that there is no DANE (RFC 7672 §2.2.1).
    pub is_name_secure: bool,
}

/// A host that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As the MX record or the operator has it, lower case.
    pub name: String,
    /// In the order of trying; at least one.
    pub addresses: Vec<IpAddr>,
    /// What its TLSA records demand.
    pub dane: Dane,
    /// The name under which the TLSA records stand (RFC 7672 §2.2.3): where the host's aliases end, or
    /// the host. A server name to ask for and to find in the certificate where DANE is used.
    pub base: String,
}

/// Why a host cannot be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHost {
    /// It does not exist, or has no address of a kind that is wanted.
    NoAddress,
    /// It is ourselves.
    Ourselves,
    /// Nobody knows now.
    Unknown,
    /// The answer's signatures are wrong.
    Bogus,
}

impl NoHost {
    /// Whether it may be otherwise later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Unknown | Self::Bogus)
    }
}

/// The hosts of a domain: one question.
pub async fn hosts(
    domain: &str,
    ourselves: &Ourselves,
    random: &mut Random,
    lookup: impl AsyncFn(Query) -> Result<Answer, Failure>,
) -> Result<Hosts, NoHosts> {
    let answer = lookup(mx::question(domain)).await;
    mx::hosts(domain, answer, ourselves, random)
}

/// A host's addresses, and its TLSA records where they can mean anything: two to five questions.
pub async fn host(
    name: &str,
    wants: Wants<'_>,
    random: &mut Random,
    lookup: impl AsyncFn(Query) -> Result<Answer, Failure>,
) -> Result<Host, NoHost> {
    let name = normal(name);
    let name = name.as_str();
    let ask = async |is_wanted: bool, kind| {
        if is_wanted { Some(lookup(Query::new(name, kind)).await) } else { None }
    };
    let fours = ask(wants.order.takes_ipv4(), RecordKind::A);
    let sixes = ask(wants.order.takes_ipv6(), RecordKind::Aaaa);
    let (fours, sixes) = both(fours, sixes).await;
    let answers: Vec<Result<Answer, Failure>> = fours.into_iter().chain(sixes).collect();
    let good: Vec<&Answer> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let found = addresses(&good, wants.order, wants.ourselves, random);
    if found.is_ourselves {
        return Err(NoHost::Ourselves);
    }
    if found.list.is_empty() {
        return Err(why_none(&answers));
    }
    // One kind that is not there, or not now, says nothing: the other is of the same zone.
    let is_secure = good.iter().all(|answer| answer.is_secure);
    let canonical = good.first().map_or(name, |answer| answer.name.as_str());
    let (dane, base) = if !wants.is_name_secure {
        (Dane::None, name)
    } else if is_secure {
        dane_of(name, canonical, wants.port, &lookup).await
    } else if canonical != name && is_alias_proven(name, &lookup).await {
        // RFC 7672 §2.2.2: the alias is proven, if not what it points at. Records may stand beside it.
        (dane::demand(lookup(dane::question(name, wants.port)).await), name)
    } else {
        (Dane::None, name)
    };
    Ok(Host { name: name.to_owned(), addresses: found.list, dane, base: base.to_owned() })
}

/// The records under the end of the aliases win over those under the host's own name.
async fn dane_of<'a>(
    name: &'a str,
    canonical: &'a str,
    port: u16,
    lookup: &impl AsyncFn(Query) -> Result<Answer, Failure>,
) -> (Dane, &'a str) {
    let dane = dane::demand(lookup(dane::question(canonical, port)).await);
    if dane != Dane::None || canonical == name {
        return (dane, canonical);
    }
    (dane::demand(lookup(dane::question(name, port)).await), name)
}

async fn is_alias_proven(name: &str, lookup: &impl AsyncFn(Query) -> Result<Answer, Failure>) -> bool {
    lookup(Query::new(name, RecordKind::Cname)).await.is_ok_and(|answer| answer.is_secure)
}

fn why_none(answers: &[Result<Answer, Failure>]) -> NoHost {
    let has = |failure| answers.contains(&Err(failure));
    if has(Failure::Bogus) {
        NoHost::Bogus
    } else if has(Failure::Temporary) {
        NoHost::Unknown
    } else {
        NoHost::NoAddress
    }
}

/// Both at the same time.
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(cx)
        {
            one = Some(value);
        }
        if other.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(cx)
        {
            other = Some(value);
        }
        match (one.take(), other.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            halves => {
                (one, other) = halves;
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future::Future;
    use std::task::{Context, Waker};

    use base::dns::{Absence, Record};

    use super::*;

    type Table = HashMap<(&'static str, RecordKind), Result<Answer, Failure>>;

    const NOTHING: Failure = Failure::NoRecords(Absence { is_secure: true, ttl_s: 60 });

    fn found(name: &str, is_secure: bool, record: Record) -> Answer {
        Answer { records: vec![record], name: name.to_owned(), is_secure, ttl_s: 60 }
    }

    fn a(name: &str, is_secure: bool) -> Answer {
        found(name, is_secure, Record::A([192, 0, 2, 1].into()))
    }

    fn tlsa() -> Answer {
        found("t", true, Record::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] })
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a table answers at once"),
        }
    }

    fn look(table: &Table, is_name_secure: bool) -> Result<Host, NoHost> {
        let ourselves = Ourselves::default();
        let wants = Wants { order: AddressOrder::ByTurns, ourselves: &ourselves, port: 25, is_name_secure };
        let lookup = async |query: Query| {
            let known = table.iter().find(|((name, kind), _)| *name == query.name && *kind == query.kind);
            known.map_or(Err(NOTHING), |(_, answer)| answer.clone())
        };
        run(host("mx.example", wants, &mut Random::new(1), lookup))
    }

    #[test]
    fn dane_counts_only_where_every_step_is_proven() {
        let table = |is_secure| {
            Table::from([
                (("mx.example", RecordKind::A), Ok(a("mx.example", is_secure))),
                (("_25._tcp.mx.example", RecordKind::Tlsa), Ok(tlsa())),
            ])
        };
        assert!(matches!(look(&table(true), true).unwrap().dane, Dane::Records(_)));
        assert_eq!(look(&table(true), false).unwrap().dane, Dane::None);
        assert_eq!(look(&table(false), true).unwrap().dane, Dane::None);
    }

    #[test]
    fn the_end_of_the_aliases_is_asked_first_then_the_host() {
        let mut table = Table::from([
            (("mx.example", RecordKind::A), Ok(a("real.example", true))),
            (("_25._tcp.real.example", RecordKind::Tlsa), Ok(tlsa())),
        ]);
        assert_eq!(look(&table, true).unwrap().base, "real.example");
        table.remove(&("_25._tcp.real.example", RecordKind::Tlsa));
        assert_eq!(look(&table, true).unwrap().dane, Dane::None);
        table.insert(("_25._tcp.mx.example", RecordKind::Tlsa), Ok(tlsa()));
        let host = look(&table, true).unwrap();
        assert!(matches!(host.dane, Dane::Records(_)));
        assert_eq!(host.base, "mx.example");
        table.insert(("_25._tcp.real.example", RecordKind::Tlsa), Err(Failure::Temporary));
        assert_eq!(look(&table, true).unwrap().dane, Dane::Unknown);
    }

    #[test]
    fn a_proven_alias_to_an_unproven_host_may_have_records() {
        let mut table = Table::from([
            (("mx.example", RecordKind::A), Ok(a("real.example", false))),
            (("_25._tcp.mx.example", RecordKind::Tlsa), Ok(tlsa())),
        ]);
        assert_eq!(look(&table, true).unwrap().dane, Dane::None);
        let alias = |is_secure| Ok(found("mx.example", is_secure, Record::Cname("real.example".into())));
        table.insert(("mx.example", RecordKind::Cname), alias(false));
        assert_eq!(look(&table, true).unwrap().dane, Dane::None);
        table.insert(("mx.example", RecordKind::Cname), alias(true));
        let host = look(&table, true).unwrap();
        assert!(matches!(host.dane, Dane::Records(_)));
        assert_eq!(host.base, "mx.example");
    }

    #[test]
    fn a_host_without_addresses_says_why() {
        let ask = |failure| look(&Table::from([(("mx.example", RecordKind::Aaaa), Err(failure))]), true);
        assert_eq!(look(&Table::new(), true), Err(NoHost::NoAddress));
        assert_eq!(ask(Failure::Temporary), Err(NoHost::Unknown));
        assert_eq!(ask(Failure::Bogus), Err(NoHost::Bogus));
    }
}
