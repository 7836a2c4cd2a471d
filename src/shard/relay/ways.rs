//! Which hosts may take a parcel, in which order, and on which terms: mail hosts by DNS, DANE, MTA-STS, or the
//! smarthost.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use base::Random;
use base::dns::{Answer, Failure, Query};
use queue::Action;
use smtp::{ClientConfig, StartTls};
use transport::dane::Dane;
use transport::find::{self, Host, NoHost, Wants};
use transport::hop::{Applied, Case, Decision, MessageTls, Protection, UseTls, Wish, decide};
use transport::mx::NoHosts;
use transport::report::{Session, Used};
use transport::sts::{self, Policy};
use transport::{Demand, Destination, Fault};

use super::outbound::{Outbound, Smarthost, SmarthostTls};
use super::parcel::{Parcel, Report};
use super::route::To;
use crate::Shard;
use crate::world::{Carrier, Hop, Unopened};

/// A host, and on which terms.
pub(super) struct Way {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
    pub(super) terms: Terms,
}

/// How a connection is made.
#[derive(Clone)]
pub(super) struct Terms {
    client: ClientConfig,
    is_implicit_tls: bool,
    demand: Demand,
    /// The recipient's domain and its policy, for its reports; `None` for what no domain is told of.
    policy: Option<(String, Used)>,
    /// What would have kept us from connecting under a policy that only tests.
    told: Option<Fault>,
}

impl Terms {
    pub(super) async fn connect(
        &self,
        shard: &Rc<Shard>,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<Box<dyn Carrier>, Unopened> {
        let hop = |client| Hop {
            address,
            source,
            client,
            is_implicit_tls: self.is_implicit_tls,
            demand: self.demand.clone(),
        };
        let opened = shard.world.open(hop(self.client.clone())).await;
        match opened {
            // RFC 7435 §3: what need not be protected is sent without, rather than not at all.
            Err(Unopened::Tls(..)) if self.client.tls == StartTls::IfOffered => {
                let client = ClientConfig { tls: StartTls::Never, ..self.client.clone() };
                shard.world.open(hop(client)).await
            }
            opened => opened,
        }
    }

    /// Counts what came of a connection, for the report to the domain (RFC 8460 §4).
    pub(super) fn note(
        &self,
        shard: &Shard,
        host: &str,
        (address, source): (IpAddr, Option<IpAddr>),
        opened: &Result<Box<dyn Carrier>, Unopened>,
    ) {
        let Some((domain, used)) = &self.policy else { return };
        let fault = match opened {
            Ok(carrier) if carrier.tls().is_empty() => Some(Fault::StarttlsNotSupported),
            Ok(carrier) => self.told.or_else(|| carrier.lacks()),
            Err(Unopened::NoTls) => Some(Fault::StarttlsNotSupported),
            Err(Unopened::Tls(_, fault)) => Some(*fault),
            // It did not come to TLS: that is no matter of these reports.
            Err(_) => return,
        };
        let session = Session { host, address: Some(address), source, fault };
        shard.relay.tls_reports.borrow_mut().note(shard.world.now(), domain, used, &session);
    }

    /// The same, under another name of ours.
    pub(super) fn named(&self, ehlo: Option<&str>) -> Self {
        let mut terms = self.clone();
        if let Some(ehlo) = ehlo {
            ehlo.clone_into(&mut terms.client.hostname);
        }
        terms
    }
}

/// The hosts that a parcel may go to; or the report when there are none.
pub(super) async fn ways(
    shard: &Rc<Shard>,
    parcel: &Parcel,
    random: &mut Random,
) -> Result<Vec<Way>, Box<Report>> {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    match &parcel.route.to {
        To::Local | To::Nowhere | To::Unknown(_) => {
            Err(fault(parcel, Action::Delayed, "451 4.3.0 it is not for another system"))
        }
        To::Smarthost(smarthost) => smarthost_way(shard, outbound, parcel, smarthost, random).await,
        To::Direct(Destination::Address(address)) => {
            if outbound.ourselves.is_address(*address) {
                return Err(fault(parcel, Action::Failed, "554 5.4.6 that address is ourselves"));
            }
            let name = format!("[{address}]");
            let terms = terms(outbound, &name, StartTls::IfOffered);
            Ok(vec![Way { name, addresses: vec![*address], port: outbound.port, terms }])
        }
        To::Direct(Destination::Domain(domain)) => domain_ways(shard, outbound, parcel, domain, random).await,
    }
}

fn terms(outbound: &Outbound, name: &str, tls: StartTls) -> Terms {
    let client = ClientConfig {
        hostname: outbound.hostname.clone(),
        is_lmtp: false,
        tls,
        may_chunk: true,
        login: None,
    };
    Terms { client, is_implicit_tls: false, demand: Demand::anyone(name), policy: None, told: None }
}

async fn smarthost_way(
    shard: &Rc<Shard>,
    outbound: &Outbound,
    parcel: &Parcel,
    smarthost: &Smarthost,
    random: &mut Random,
) -> Result<Vec<Way>, Box<Report>> {
    let (name, addresses) = match &smarthost.host {
        Destination::Address(address) => (address.to_string(), vec![*address]),
        Destination::Domain(host) => {
            // It is the operator's word, so it may well be on this machine.
            let nobody = transport::Ourselves::default();
            let wants = Wants {
                order: outbound.order,
                ourselves: &nobody,
                port: smarthost.port,
                is_name_secure: false,
            };
            let found = find::host(host, wants, random, async |query| lookup(shard, query).await).await;
            let found = found.map_err(|why| {
                let reply = format!("450 4.4.3 the smarthost {host}: {}", why_no_host(why));
                Box::new(Report::down(parcel, host.clone(), reply))
            })?;
            (host.clone(), found.addresses)
        }
    };
    let tls = match smarthost.tls {
        SmarthostTls::Never | SmarthostTls::Implicit => StartTls::Never,
        // A password does not go over the line in clear because somebody on the way has taken the offer out.
        SmarthostTls::IfOffered if smarthost.login.is_some() => StartTls::Required,
        SmarthostTls::IfOffered => StartTls::IfOffered,
        SmarthostTls::Required => StartTls::Required,
    };
    let mut terms = terms(outbound, &name, tls);
    terms.client.login.clone_from(&smarthost.login);
    if matches!(smarthost.tls, SmarthostTls::Required | SmarthostTls::Implicit) {
        terms.demand = Demand::authority(&name);
        terms.is_implicit_tls = smarthost.tls == SmarthostTls::Implicit;
    }
    Ok(vec![Way { name, addresses, port: smarthost.port, terms }])
}

async fn domain_ways(
    shard: &Rc<Shard>,
    outbound: &Outbound,
    parcel: &Parcel,
    domain: &str,
    random: &mut Random,
) -> Result<Vec<Way>, Box<Report>> {
    let ask = async |query| lookup(shard, query).await;
    let hosts = find::hosts(domain, &outbound.ourselves, random, ask).await;
    let hosts = hosts.map_err(|why| Box::new(no_hosts(parcel, domain, why)))?;
    let fetch = async |domain: &str| shard.world.fetch_policy(domain).await;
    let policies = &shard.relay.policies;
    let current = sts::current(policies, domain, shard.world.now(), ask, fetch).await;
    let of_domain = OfDomain {
        domain,
        is_proven: hosts.is_secure,
        names: [domain, hosts.domain.as_str()],
        policy: current.policy.as_ref(),
        message: message_tls(parcel),
    };
    if let Some(fault) = current.fault {
        of_domain.note(
            shard,
            "",
            fault,
            &Used { applied: Applied::Sts, lines: Vec::new(), hosts: Vec::new() },
        );
    }
    let (mut ways, mut last) = (Vec::new(), None);
    for name in &hosts.names {
        let wants = Wants {
            order: outbound.order,
            ourselves: &outbound.ourselves,
            port: outbound.port,
            is_name_secure: hosts.is_secure,
        };
        match find::host(name, wants, random, ask).await {
            Ok(host) => match of_domain.terms(shard, outbound, &host) {
                Ok(terms) => {
                    ways.push(Way { name: host.name, addresses: host.addresses, port: outbound.port, terms });
                }
                Err(fault) => {
                    last = Some((Action::Delayed, format!("450 4.7.5 {name} may not be used: {fault}")));
                }
            },
            Err(why) => {
                let (action, code) = match why {
                    NoHost::NoAddress => (Action::Failed, "550 5.4.4"),
                    NoHost::Ourselves => (Action::Failed, "554 5.4.6"),
                    NoHost::Unknown | NoHost::Bogus => (Action::Delayed, "450 4.4.3"),
                };
                let is_worse = last.as_ref().is_none_or(|(known, _)| *known == Action::Failed);
                if is_worse {
                    last = Some((action, format!("{code} {name}: {}", why_no_host(why))));
                }
            }
        }
    }
    match last {
        Some((action, reply)) if ways.is_empty() => {
            let report = fault(parcel, action, &reply);
            Err(Box::new(Report { is_down: action == Action::Delayed, ..*report }))
        }
        _ => Ok(ways),
    }
}

/// What a message says about TLS (RFC 8689 §2, §4).
pub(super) fn message_tls(parcel: &Parcel) -> MessageTls {
    if parcel.envelope.requires_tls {
        return MessageTls::Required;
    }
    let data = parcel.content.as_slice();
    let header = data.get(..mime::end_of_headers(data)).unwrap_or(data);
    let is_no = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"no");
    let is_optional = mime::field(header, "TLS-Required").is_some_and(|field| is_no(field.value));
    if is_optional { MessageTls::Optional } else { MessageTls::Unsaid }
}

/// What a recipient's domain says about its hosts.
struct OfDomain<'a> {
    domain: &'a str,
    is_proven: bool,
    names: [&'a str; 2],
    policy: Option<&'a Policy>,
    message: MessageTls,
}

impl OfDomain<'_> {
    /// The terms on which a host may be used; or what lacks.
    fn terms(&self, shard: &Shard, outbound: &Outbound, host: &Host) -> Result<Terms, Fault> {
        let case = Case {
            wish: Wish::IfOffered,
            message: self.message,
            host,
            domains: &self.names,
            is_host_proven: self.is_proven,
            sts: self.policy,
        };
        match decide(&case) {
            Decision::Skip(applied, fault) => {
                self.note(shard, &host.name, fault, &self.used(applied, host));
                Err(fault)
            }
            Decision::Connect(protection) => {
                let Protection { tls, demand, applied, told, .. } = *protection;
                let tls = match tls {
                    UseTls::Never => StartTls::Never,
                    UseTls::IfOffered => StartTls::IfOffered,
                    UseTls::Always => StartTls::Required,
                };
                // For what goes whatever the policy says (RFC 8689 §4.3) nobody is told how it went: that is how TLS
                // reports go themselves.
                let is_told = self.message != MessageTls::Optional;
                let policy = is_told.then(|| (self.domain.to_owned(), self.used(applied, host)));
                Ok(Terms { demand, policy, told, ..terms(outbound, &host.name, tls) })
            }
        }
    }

    fn used(&self, applied: Applied, host: &Host) -> Used {
        let (lines, hosts) = match (applied, &host.dane, self.policy) {
            (Applied::Tlsa, Dane::Records(records), _) => {
                (records.iter().map(transport::dane::Tlsa::text).collect(), vec![host.base.clone()])
            }
            (Applied::Sts, _, Some(policy)) => {
                (policy.text().lines().map(str::to_owned).collect(), policy.hosts.clone())
            }
            _ => (Vec::new(), Vec::new()),
        };
        Used { applied, lines, hosts }
    }

    fn note(&self, shard: &Shard, host: &str, fault: Fault, used: &Used) {
        let session = Session { host, address: None, source: None, fault: Some(fault) };
        shard.relay.tls_reports.borrow_mut().note(shard.world.now(), self.domain, used, &session);
    }
}

async fn lookup(shard: &Rc<Shard>, query: Query) -> Result<Answer, Failure> {
    shard.world.lookup(query).await
}

fn no_hosts(parcel: &Parcel, domain: &str, why: NoHosts) -> Report {
    let (action, text) = match why {
        NoHosts::NoSuchDomain => (Action::Failed, "550 5.1.2 there is no such domain"),
        NoHosts::NullMx => (Action::Failed, "556 5.1.10 the domain takes no mail"),
        NoHosts::Ourselves => {
            (Action::Failed, "554 5.4.6 the domain's mail hosts are ourselves, and it is none of ours")
        }
        NoHosts::Unusable => (Action::Failed, "550 5.4.4 the domain's mail hosts cannot exist"),
        NoHosts::Unknown => (Action::Delayed, "450 4.4.3 the domain's mail hosts cannot be looked up now"),
        NoHosts::Bogus => (Action::Delayed, "450 4.7.5 the domain's records contradict their signatures"),
    };
    let report = fault(parcel, action, &format!("{text}: {domain}"));
    Report { is_down: action == Action::Delayed, ..*report }
}

const fn why_no_host(why: NoHost) -> &'static str {
    match why {
        NoHost::NoAddress => "no address",
        NoHost::Ourselves => "it is ourselves",
        NoHost::Unknown => "the address cannot be looked up now",
        NoHost::Bogus => "the address contradicts its signature",
    }
}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "reports of what cannot be done are boxed wherever they go"
)]
fn fault(parcel: &Parcel, action: Action, reply: &str) -> Box<Report> {
    Box::new(Report::all(parcel, action, String::new(), reply.to_owned()))
}
