//! Takes a parcel to its destination: on the shard that has the connections to it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use base::Random;
use base::dns::Query;
use queue::{Action, Body, Envelope, Notify, Return};
use smtp::{BodyKind, ClientConfig, Extensions, Mail, MailTo, Sent, ServerReply, StartTls};
use transport::find::{self, NoHost, Wants};
use transport::mx::NoHosts;
use transport::{Demand, Destination};

use super::outbound::{Outbound, Smarthost, SmarthostTls};
use super::parcel::{Parcel, Report, Told};
use super::route::Route;
use super::{Counts, chance};
use crate::Shard;
use crate::limits::CONNECT_ATTEMPTS_MAX;
use crate::world::{Carried, Carrier, Hop, Unopened};

/// An open connection, and to whom.
struct Open {
    carrier: Box<dyn Carrier>,
    host: String,
    carried: u32,
}

/// Delivers a parcel, or says why not.
pub(super) async fn carry(shard: Rc<Shard>, parcel: Parcel) -> Report {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let destination = parcel.route.destination();
    let pool = shard.relay.pools.of(destination);
    let permit = pool.permit(outbound.connections_max).await;
    let mut report = None;
    while let Some(idle) = pool.take() {
        let open = Open { carrier: idle.carrier, host: idle.host, carried: idle.carried };
        match send(&shard, open, &parcel).await {
            // It had ended while nobody looked; nothing is lost by trying another.
            Attempted::Stale => {}
            Attempted::Report(done) => {
                report = Some(done);
                break;
            }
        }
    }
    let report = match report {
        Some(report) => report,
        None => open_and_send(&shard, &parcel).await,
    };
    drop((permit, pool));
    shard.relay.pools.forget(destination);
    report
}

async fn open_and_send(shard: &Rc<Shard>, parcel: &Parcel) -> Report {
    match open(shard, parcel).await {
        Ok(open) => match send(shard, open, parcel).await {
            Attempted::Report(report) => report,
            Attempted::Stale => unreachable!("a connection is stale when it has been used before"),
        },
        Err(report) => *report,
    }
}

/// A connection to the first host that takes one.
async fn open(shard: &Rc<Shard>, parcel: &Parcel) -> Result<Open, Box<Report>> {
    let settings = shard.settings();
    let mut random = Random::new(chance(shard));
    let ways = ways(shard, &settings.outbound, parcel, &mut random).await?;
    let mut last = Report::down(parcel, String::new(), "450 4.4.1 no host could be tried".to_owned());
    let mut tried = 0;
    for way in ways {
        for address in way.addresses {
            tried += 1;
            if tried > CONNECT_ATTEMPTS_MAX {
                return Err(Box::new(last));
            }
            let host = format!("{} [{address}]", way.name);
            match way.terms.connect(shard, SocketAddr::new(address, way.port)).await {
                Ok(carrier) => {
                    Counts::add(&shard.relay.counts.connections, 1);
                    return Ok(Open { carrier, host, carried: 0 });
                }
                Err(why) => {
                    tracing::debug!(event = "relay.host_failed", %host, ?why);
                    last = refused(parcel, host, &why);
                }
            }
        }
    }
    Err(Box::new(last))
}

/// A host, and on which terms.
struct Way {
    name: String,
    addresses: Vec<IpAddr>,
    port: u16,
    terms: Terms,
}

/// How a connection is made.
#[derive(Clone)]
struct Terms {
    client: ClientConfig,
    is_implicit_tls: bool,
    demand: Demand,
}

impl Terms {
    async fn connect(&self, shard: &Rc<Shard>, address: SocketAddr) -> Result<Box<dyn Carrier>, Unopened> {
        let hop = |client| Hop {
            address,
            source: None,
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
}

async fn ways(
    shard: &Rc<Shard>,
    outbound: &Outbound,
    parcel: &Parcel,
    random: &mut Random,
) -> Result<Vec<Way>, Box<Report>> {
    match &parcel.route {
        Route::Smarthost(smarthost) => smarthost_way(shard, outbound, parcel, smarthost, random).await,
        Route::Direct(Destination::Address(address)) => {
            if outbound.ourselves.is_address(*address) {
                return Err(Box::new(local_fault(
                    parcel,
                    Action::Failed,
                    "554 5.4.6 that address is ourselves",
                )));
            }
            let name = format!("[{address}]");
            let terms = terms(outbound, &name, StartTls::IfOffered, None);
            Ok(vec![Way { name, addresses: vec![*address], port: outbound.port, terms }])
        }
        Route::Direct(Destination::Domain(domain)) => {
            domain_ways(shard, outbound, parcel, domain, random).await
        }
    }
}

fn terms(outbound: &Outbound, name: &str, tls: StartTls, login: Option<&Smarthost>) -> Terms {
    let client = ClientConfig {
        hostname: outbound.hostname.clone(),
        is_lmtp: false,
        tls,
        may_chunk: true,
        login: login.and_then(|smarthost| smarthost.login.clone()),
    };
    Terms { client, is_implicit_tls: false, demand: Demand::anyone(name) }
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
        SmarthostTls::IfOffered => StartTls::IfOffered,
        SmarthostTls::Required => StartTls::Required,
    };
    let mut terms = terms(outbound, &name, tls, Some(smarthost));
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
    let mut ways = Vec::new();
    let mut last = NoHost::NoAddress;
    for name in hosts.names {
        let wants = Wants {
            order: outbound.order,
            ourselves: &outbound.ourselves,
            port: outbound.port,
            is_name_secure: hosts.is_secure,
        };
        match find::host(&name, wants, random, ask).await {
            Ok(host) => {
                let terms = terms(outbound, &host.name, StartTls::IfOffered, None);
                ways.push(Way { name: host.name, addresses: host.addresses, port: outbound.port, terms });
            }
            Err(why) => last = why,
        }
    }
    if !ways.is_empty() {
        return Ok(ways);
    }
    let (action, code) = match last {
        NoHost::NoAddress => (Action::Failed, "550 5.4.4"),
        NoHost::Ourselves => (Action::Failed, "554 5.4.6"),
        NoHost::Unknown | NoHost::Bogus => (Action::Delayed, "450 4.4.3"),
    };
    Err(Box::new(local_fault(
        parcel,
        action,
        &format!("{code} the mail hosts of {domain}: {}", why_no_host(last)),
    )))
}

async fn lookup(shard: &Rc<Shard>, query: Query) -> Result<base::dns::Answer, base::dns::Failure> {
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
    let report = local_fault(parcel, action, &format!("{text}: {domain}"));
    Report { is_down: action == Action::Delayed, ..report }
}

const fn why_no_host(why: NoHost) -> &'static str {
    match why {
        NoHost::NoAddress => "no address",
        NoHost::Ourselves => "it is ourselves",
        NoHost::Unknown => "the address cannot be looked up now",
        NoHost::Bogus => "the address contradicts its signature",
    }
}

fn local_fault(parcel: &Parcel, action: Action, reply: &str) -> Report {
    Report::all(parcel, action, String::new(), reply.to_owned())
}

/// What follows from a host that could not be talked to. A refusal for good counts as one for now: the next try may
/// meet another host, and a misconfigured relay should not bounce everything.
fn refused(parcel: &Parcel, host: String, why: &Unopened) -> Report {
    let reply = match why {
        Unopened::Network(why) => format!("450 4.4.1 {why}"),
        Unopened::TimedOut => "450 4.4.1 it took too long".to_owned(),
        Unopened::Protocol => "450 4.5.0 its answer is not SMTP".to_owned(),
        Unopened::NoTls => "450 4.7.4 it does not offer TLS".to_owned(),
        Unopened::Tls(why, _) => format!("450 4.7.5 TLS: {why}"),
        Unopened::NoAuth => "450 4.7.0 it takes no login".to_owned(),
        Unopened::Refused(reply) => text(reply),
    };
    Report::down(parcel, host, reply)
}

enum Attempted {
    Report(Report),
    /// A connection that was idle turned out to have ended before the message.
    Stale,
}

async fn send(shard: &Rc<Shard>, open: Open, parcel: &Parcel) -> Attempted {
    let Open { carrier, host, carried } = open;
    let tls = carrier.tls().to_owned();
    if let Some(reply) = unfit(carrier.extensions(), parcel) {
        keep(shard, parcel, Open { carrier, host: host.clone(), carried });
        return Attempted::Report(Report::all(parcel, Action::Failed, host, reply));
    }
    let passes_dsn = carrier.extensions().dsn;
    let (now_max, later) = split(carrier.extensions(), &parcel.recipients);
    let mail = mail(&parcel.envelope, now_max, parcel);
    match carrier.send(mail).await {
        Carried::Answered(sent, carrier) => {
            if let Some(carrier) = carrier {
                keep(shard, parcel, Open { carrier, host: host.clone(), carried: carried + 1 });
            }
            let mut report = answered(now_max, &sent, &host, &tls, passes_dsn);
            if !later.is_empty() {
                let reply = "450 4.5.3 the host takes no more recipients at once".to_owned();
                report.results.push(Told {
                    recipients: later.to_vec(),
                    action: Action::Delayed,
                    host,
                    tls,
                    reply,
                    passes_dsn,
                    is_for_another_round: true,
                });
            }
            Attempted::Report(report)
        }
        Carried::Lost { is_in_doubt: false, why } if carried > 0 => {
            tracing::debug!(event = "relay.connection_stale", %host, ?why);
            Attempted::Stale
        }
        Carried::Lost { why, is_in_doubt } => {
            let mut report = refused(parcel, host, &why);
            // It was reached; the message may be what it does not like.
            report.is_down = false;
            report.is_in_doubt = is_in_doubt;
            Attempted::Report(report)
        }
    }
}

/// Keeps a connection for the next message, or ends it.
fn keep(shard: &Rc<Shard>, parcel: &Parcel, open: Open) {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let Open { carrier, host, carried } = open;
    let mails_max = carrier.extensions().mails_max.unwrap_or(usize::MAX);
    if carried >= outbound.messages_per_connection_max || carried as usize >= mails_max {
        return carrier.quit();
    }
    let destination = parcel.route.destination();
    let pool = shard.relay.pools.of(destination);
    if !pool.put(carrier, host, carried, shard.world.now()) {
        return;
    }
    let (there, idle) = (Rc::clone(shard), outbound.idle);
    shard.world.spawn_aside(Box::pin(async move {
        loop {
            there.world.sleep_until(there.world.now() + idle).await;
            if !pool.sweep(there.world.now() - idle) {
                break;
            }
        }
        drop(pool);
        there.relay.pools.forget(destination);
    }));
}

/// Why a message cannot be given to a host, whatever it would answer.
fn unfit(offered: &Extensions, parcel: &Parcel) -> Option<String> {
    let envelope = &parcel.envelope;
    if envelope.is_smtputf8 && !offered.smtputf8 {
        return Some("550 5.6.7 the host does not take addresses and header fields in UTF-8".to_owned());
    }
    if envelope.body == Body::BinaryMime {
        return Some("554 5.6.1 binary content is not passed on".to_owned());
    }
    if envelope.requires_tls && !offered.requiretls {
        return Some("550 5.7.30 the host does not support REQUIRETLS".to_owned());
    }
    let size_max = offered.size.flatten()?;
    let size = parcel.content.len() as u64;
    (size > size_max)
        .then(|| format!("552 5.3.4 the host takes messages of up to {size_max} bytes, this one has {size}"))
}

/// The recipients that go now, and those that the host does not take at once.
fn split<'a>(offered: &Extensions, recipients: &'a [u32]) -> (&'a [u32], &'a [u32]) {
    let max = offered.recipients_max.unwrap_or(crate::limits::RECIPIENTS_AT_ONCE_MAX).max(1);
    recipients.split_at(recipients.len().min(max))
}

fn mail(envelope: &Envelope, recipients: &[u32], parcel: &Parcel) -> Mail {
    let to = |at: &u32| {
        let recipient = envelope.recipients.get(*at as usize)?;
        Some(MailTo {
            address: recipient.address.clone(),
            notify: recipient.notify.map(|notify| {
                let Notify { on_success, on_failure, on_delay } = notify;
                smtp::Notify { on_success, on_failure, on_delay }
            }),
            orcpt: recipient.orcpt.clone(),
        })
    };
    Mail {
        sender: envelope.sender.clone(),
        recipients: recipients.iter().filter_map(to).collect(),
        data: std::sync::Arc::clone(&parcel.content),
        body: match envelope.body {
            Body::SevenBit => BodyKind::SevenBit,
            Body::EightBitMime => BodyKind::EightBitMime,
            Body::BinaryMime => BodyKind::BinaryMime,
        },
        is_smtputf8: envelope.is_smtputf8,
        requires_tls: envelope.requires_tls,
        ret: envelope.ret.map(|ret| match ret {
            Return::Full => smtp::Return::Full,
            Return::Headers => smtp::Return::Headers,
        }),
        envid: envelope.envid.clone(),
    }
}

/// The replies, those that are the same together.
fn answered(recipients: &[u32], sent: &Sent, host: &str, tls: &str, passes_dsn: bool) -> Report {
    let mut results = Vec::<Told>::new();
    for (recipient, reply) in recipients.iter().zip(&sent.replies) {
        let (action, reply) = (action_of(reply), text(reply));
        match results.iter_mut().find(|told| told.action == action && told.reply == reply) {
            Some(told) => told.recipients.push(*recipient),
            None => results.push(Told {
                recipients: vec![*recipient],
                action,
                host: host.to_owned(),
                tls: tls.to_owned(),
                // RFC 5321 §4.5.3.1.10: too many recipients, and others were taken.
                is_for_another_round: reply.starts_with("452 4.5.3"),
                reply,
                passes_dsn,
            }),
        }
    }
    if !results.iter().any(|told| told.action == Action::Relayed) {
        results.iter_mut().for_each(|told| told.is_for_another_round = false);
    }
    Report { results, is_down: false, is_in_doubt: false }
}

const fn action_of(reply: &ServerReply) -> Action {
    match reply.code {
        ..=399 => Action::Relayed,
        400..=499 => Action::Delayed,
        _ => Action::Failed,
    }
}

/// A reply in one line.
fn text(reply: &ServerReply) -> String {
    format!("{} {}", reply.code, reply.text.replace('\n', " "))
}
