//! Takes a parcel to its destination: on the shard that has the connections to it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::{Random, Timestamp};
use queue::{Action, Envelope, Terms};
use smtp::{By, ByMode, Extensions, Mail, MailTo, Sent, ServerReply};

use super::egress::{EgressPool, Source};
use super::form::{Converted, Form};
use super::named::Bounds;
use super::outbound::Outbound;
use super::parcel::{Parcel, Report, STOPPING, Told};
use super::pool::{Idle, Pool, Seat};
use super::verp::{self, Sum};
use super::ways::{self, message_tls, ways};
use super::{Counts, chance};
use crate::Shard;
use crate::limits::{CONNECT_ATTEMPTS_MAX, RECIPIENTS_AT_ONCE_MAX, REPLY_CHARS_MAX, TURN_LOOK};
use crate::world::{Carried, Carrier, Unopened};
use transport::hop::MessageTls;

/// An open connection, and to whom.
struct Open {
    carrier: Box<dyn Carrier>,
    host: String,
    carried: u32,
    seat: Option<Seat>,
}

impl Open {
    fn of(idle: Idle) -> Self {
        Self { carrier: idle.carrier, host: idle.host, carried: idle.carried, seat: idle.seat }
    }
}

/// The connections of a parcel's way, with what they are bound by.
struct Way {
    name: String,
    pool: Rc<Pool>,
    egress: Option<Arc<EgressPool>>,
    bounds: Bounds,
    /// The settings that its connections are made by.
    outbound: Arc<Outbound>,
    /// The message in other forms, as far as a host has wanted one.
    converted: Converted,
}

impl Way {
    /// Whether a source has a connection and a message to spare now.
    fn has_free_source(&self, now: Timestamp) -> bool {
        let Some(egress) = &self.egress else { return true };
        let is_free = |(at, source)| self.pool.is_ready(at, now) && self.pool.seat(at, source).is_some();
        egress.sources.iter().enumerate().any(is_free)
    }

    /// A connection that waits, if it is better than a new one.
    fn idle(&self, now: Timestamp) -> Option<Idle> {
        self.pool.discard(&self.outbound);
        let ready = self.pool.take(now);
        ready.or_else(|| if self.has_free_source(now) { None } else { self.pool.take_any() })
    }
}

/// Delivers a parcel, or says why not.
pub(super) async fn carry(shard: Rc<Shard>, parcel: Parcel) -> Report {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let name = parcel.route.name();
    let pool = shard.relay.pools.of(&name);
    let (_, bounds) = parcel.route.connections(outbound, shard.router.shards(), shard.id);
    let (egress, converted) = (parcel.route.pool(outbound).cloned(), Converted::default());
    let of_sources = egress.as_ref().and_then(|egress| egress.connections_max());
    let connections_max = bounds.connections_max.min(of_sources.unwrap_or(usize::MAX));
    let permit = pool.permit(connections_max, parcel.urgency).await;
    // Those that wait for mail of other terms than this one's count as well.
    pool.keep_at_most(connections_max);
    let way = Way { name, pool, egress, bounds, converted, outbound: Arc::clone(outbound) };
    let report = if verp::is_for_each(&parcel.envelope) {
        each(&shard, &way, &parcel).await
    } else {
        carry_at_once(&shard, &way, &parcel).await.unwrap_or_else(|report| *report)
    };
    let Way { name, pool, .. } = way;
    drop((permit, pool));
    forget(&shard, name);
    report
}

/// Forgets the connections of a way, at once or when its sources may be used again.
fn forget(shard: &Rc<Shard>, name: String) {
    let Some(mut later) = shard.relay.pools.forget(&name, shard.world.now()) else { return };
    let there = Rc::clone(shard);
    shard.world.spawn_aside(Box::pin(async move {
        loop {
            there.world.sleep_until(later).await;
            let Some(again) = there.relay.pools.forget(&name, there.world.now()) else { break };
            later = again;
        }
    }));
}

/// Each recipient in a transaction of its own, one after the other on the same connection while it lasts. Only so many are tried
/// before that is noted: a crash repeats them.
async fn each(shard: &Rc<Shard>, way: &Way, parcel: &Parcel) -> Report {
    let all = &parcel.recipients;
    let (round, later) = all.split_at(all.len().min(RECIPIENTS_AT_ONCE_MAX));
    let mut sum = Sum::default();
    for (tried, at) in (1..).zip(round) {
        let one = Parcel { recipients: vec![*at], ..parcel.clone() };
        match carry_at_once(shard, way, &one).await {
            Ok(report) => sum.add(report),
            // The others would fare no better.
            Err(report) => return sum.broken(*report, all.get(tried..).unwrap_or_default()),
        }
    }
    sum.finish(later)
}

/// One transaction: what was answered; or, as an error, what there is to say when no connection could be made or it ended.
async fn carry_at_once(shard: &Rc<Shard>, way: &Way, parcel: &Parcel) -> Result<Report, Box<Report>> {
    // An idle connection proves no more than what the messages before asked for, and its host may be none that this one
    // may go to while another is.
    let is_choosy = parcel.envelope.requires_tls || parcel.envelope.terms.ends_at().is_some();
    while let Some(idle) = if is_choosy { None } else { way.idle(shard.world.now()) } {
        match send(shard, way, Open::of(idle), parcel).await {
            // It had ended while nobody looked; nothing is lost by trying another.
            Attempted::Stale => {}
            Attempted::Report(report) => return Ok(report),
            Attempted::Lost(report) => return Err(Box::new(report)),
        }
    }
    let open = open(shard, way, parcel).await?;
    match send(shard, way, open, parcel).await {
        Attempted::Report(report) => Ok(report),
        Attempted::Lost(report) => Err(Box::new(report)),
        Attempted::Stale => unreachable!("a connection is stale when it has been used before"),
    }
}

/// A connection to the first host that takes one; from an egress pool, by the first source that has one to give.
async fn open(shard: &Rc<Shard>, way: &Way, parcel: &Parcel) -> Result<Open, Box<Report>> {
    let mut random = Random::new(chance(shard));
    let hosts = ways(shard, parcel, &mut random).await?;
    let mut tries = Tries { left: CONNECT_ATTEMPTS_MAX, last: None };
    match &way.egress {
        None => {
            if let Some(open) = tries.hosts(shard, parcel, &hosts, None).await {
                return Ok(open);
            }
        }
        Some(egress) => {
            let now = shard.world.now();
            let mut order = egress.order(&mut random, |_| true);
            // Those that may carry a message now go first.
            order.sort_by_key(|at| !way.pool.is_ready(*at, now));
            for at in order {
                let source = &egress.sources[at];
                // One that waits gives way to one that is wanted.
                let seat = way.pool.seat(at, source).or_else(|| {
                    way.pool.give_up_idle(at);
                    way.pool.seat(at, source)
                });
                let Some(seat) = seat else { continue };
                if let Some(open) = tries.hosts(shard, parcel, &hosts, Some((source, seat))).await {
                    return Ok(open);
                }
            }
        }
    }
    let none = match &way.egress {
        None => Report::down(parcel, String::new(), "450 4.4.1 no host could be tried".to_owned()),
        // Others that are under way may be through: the destination is not down.
        Some(egress) => {
            let reply = format!("450 4.4.5 no source address of the pool {} is free for it", egress.name);
            Report::all(parcel, Action::Delayed, String::new(), reply)
        }
    };
    Err(Box::new(tries.last.unwrap_or(none)))
}

/// Tries to connect, of which there are only so many.
struct Tries {
    left: usize,
    /// What came of the last one.
    last: Option<Report>,
}

impl Tries {
    /// Tries the hosts that can be reached from a source.
    async fn hosts(
        &mut self,
        shard: &Rc<Shard>,
        parcel: &Parcel,
        hosts: &[ways::Way],
        from: Option<(&Source, Seat)>,
    ) -> Option<Open> {
        for host in hosts {
            let terms = host.terms.named(from.as_ref().and_then(|(source, _)| source.ehlo.as_deref()));
            for address in &host.addresses {
                let source = match &from {
                    None => None,
                    Some((source, _)) => match source.towards(*address) {
                        Some(own) => Some(own),
                        None => continue,
                    },
                };
                self.left = self.left.checked_sub(1)?;
                let opened = terms.connect(shard, SocketAddr::new(*address, host.port), source).await;
                terms.note(shard, &host.name, (*address, source), &opened);
                let host = format!("{} [{address}]", host.name);
                match opened {
                    Ok(carrier) => {
                        Counts::add(&shard.relay.counts.connections, 1);
                        return Some(Open { carrier, host, carried: 0, seat: from.map(|(_, seat)| seat) });
                    }
                    Err(why) => {
                        tracing::debug!(event = "relay.host_failed", %host, ?why);
                        self.last = Some(refused(parcel, host, &why));
                    }
                }
            }
        }
        None
    }
}

/// What follows from a host that could not be talked to. A refusal for good counts as one for now: the next try may
/// meet another host, and a misconfigured relay should not bounce everything.
pub(super) fn refused(parcel: &Parcel, host: String, why: &Unopened) -> Report {
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

/// The source that a seat is of, with its place in the pool.
fn source_of<'a>(way: &'a Way, seat: Option<&Seat>) -> Option<(usize, &'a Source)> {
    let place = seat?.source;
    way.egress.as_ref()?.sources.get(place).map(|own| (place, own))
}

/// A message that goes by another connection is counted there.
fn stale(way: &Way, seat: Option<&Seat>) -> Attempted {
    if let Some((place, source)) = source_of(way, seat) {
        way.pool.give_back(place, source);
    }
    Attempted::Stale
}

/// Waits for the turn of a connection's source; false when the server is stopped before.
async fn turn(shard: &Rc<Shard>, way: &Way, open: &Open) -> bool {
    let Some((place, source)) = source_of(way, open.seat.as_ref()) else { return true };
    let slot = way.pool.slot(place, source, shard.world.now());
    while shard.world.now() < slot {
        if shard.world.is_stopping() {
            return false;
        }
        shard.world.sleep_until(slot.min(shard.world.now() + TURN_LOOK)).await;
    }
    true
}

enum Attempted {
    Report(Report),
    /// The connection ended, or said what is no SMTP.
    Lost(Report),
    /// A connection that was idle turned out to have ended before the message.
    Stale,
}

async fn send(shard: &Rc<Shard>, way: &Way, open: Open, parcel: &Parcel) -> Attempted {
    if !turn(shard, way, &open).await {
        return Attempted::Lost(Report::all(parcel, Action::Delayed, open.host, STOPPING.to_owned()));
    }
    let Open { carrier, host, carried, seat } = open;
    let tls = carrier.tls().to_owned();
    let form = match fit(shard, carrier.extensions(), parcel, &way.converted).await {
        Ok(form) => form,
        Err(_) if carried > 0 => {
            // For good, so not on what the host said some time ago, perhaps before its connection ended.
            carrier.quit();
            return stale(way, seat.as_ref());
        }
        Err(reply) => {
            // One that has been used: if it ends while it waits, that is not the next message's fault.
            keep(shard, way, parcel, Open { carrier, host: host.clone(), carried: carried.max(1), seat });
            return Attempted::Report(Report::all(parcel, Action::Failed, host, reply));
        }
    };
    let now = shard.world.now();
    if let Some(reply) = untimely(carrier.extensions(), &parcel.envelope.terms, now) {
        // One that has been used: if it ends while it waits, that is not the next message's fault.
        keep(shard, way, parcel, Open { carrier, host: host.clone(), carried: carried.max(1), seat });
        return Attempted::Report(Report::all(parcel, Action::Delayed, host, reply));
    }
    let passes_dsn = passes_dsn(carrier.extensions(), &parcel.envelope.terms);
    let (now_max, later) = split(carrier.extensions(), &parcel.recipients);
    let mail = mail(&parcel.envelope, now_max, form, now);
    match carrier.send(mail).await {
        Carried::Answered(sent, carrier) => {
            if let Some(carrier) = carrier {
                keep(shard, way, parcel, Open { carrier, host: host.clone(), carried: carried + 1, seat });
            }
            let mut report = answered(now_max, &sent, &host, &tls, passes_dsn);
            if !later.is_empty() {
                report.results.push(Told::for_another_round(later.to_vec(), host, tls));
            }
            Attempted::Report(report)
        }
        // Only where it closed without a word: who does not answer, or not in SMTP, may have taken it.
        Carried::Lost { is_in_doubt: false, why: why @ Unopened::Network(_) } if carried > 0 => {
            tracing::debug!(event = "relay.connection_stale", %host, ?why);
            stale(way, seat.as_ref())
        }
        Carried::Lost { why, is_in_doubt } => {
            let mut report = refused(parcel, host, &why);
            // It was reached; the message may be what it does not like.
            report.is_down = false;
            report.is_in_doubt = is_in_doubt;
            Attempted::Lost(report)
        }
    }
}

/// Keeps a connection for the next message, or ends it.
fn keep(shard: &Rc<Shard>, way: &Way, parcel: &Parcel, open: Open) {
    let Open { carrier, host, carried, seat } = open;
    let mails_max = carrier.extensions().mails_max.unwrap_or(usize::MAX);
    // What was opened for a message that wants no protection would carry others without theirs.
    let is_lax = message_tls(parcel) == MessageTls::Optional;
    if is_lax || carried >= way.bounds.messages_per_connection_max || carried as usize >= mails_max {
        return carrier.quit();
    }
    if !way.pool.put(Idle::new(carrier, host, carried, seat, (&way.outbound, shard.world.now()))) {
        return;
    }
    let (there, name, pool) = (Rc::clone(shard), way.name.clone(), Rc::clone(&way.pool));
    let idle = way.bounds.idle;
    shard.world.spawn_aside(Box::pin(async move {
        loop {
            there.world.sleep_until(there.world.now() + idle).await;
            if !pool.sweep(there.world.now() - idle) {
                break;
            }
        }
        drop(pool);
        forget(&there, name);
    }));
}

/// The form in which a host takes a message; or why it cannot be given it, whatever it would answer.
async fn fit(
    shard: &Shard,
    offered: &Extensions,
    parcel: &Parcel,
    converted: &Converted,
) -> Result<Form, String> {
    let envelope = &parcel.envelope;
    if envelope.is_smtputf8 && !offered.smtputf8 {
        return Err("550 5.6.7 the host does not take addresses and header fields in UTF-8".to_owned());
    }
    if envelope.requires_tls && !offered.requiretls {
        return Err("550 5.7.30 the host does not support REQUIRETLS".to_owned());
    }
    let form = converted.form(shard, offered, parcel).await?;
    let size = form.content.len() as u64;
    match offered.size.flatten() {
        Some(size_max) if size > size_max => {
            Err(format!("552 5.3.4 the host takes messages of up to {size_max} bytes, this one has {size}"))
        }
        _ => Ok(form),
    }
}

/// The recipients that go now, and those that the host does not take at once.
fn split<'a>(offered: &Extensions, recipients: &'a [u32]) -> (&'a [u32], &'a [u32]) {
    let max = offered.recipients_max.unwrap_or(RECIPIENTS_AT_ONCE_MAX).max(1);
    recipients.split_at(recipients.len().min(max))
}

/// Why a message may not go to a host by its time: RFC 2852 has what is to be returned (`R`) go only to those that will
/// return it. Another host may be one of those, until the time is over.
fn untimely(offered: &Extensions, terms: &Terms, now: Timestamp) -> Option<String> {
    let by = terms.deliver_by.filter(|by| by.is_returned)?;
    let Some(least) = offered.deliver_by_s_min else {
        return Some("450 4.4.7 the host does not support DELIVERBY".to_owned());
    };
    let left = by.at.as_s() - now.as_s();
    (left < least.max(1))
        .then(|| format!("450 4.4.7 the host wants at least {least} seconds, {left} are left"))
}

/// Whether the next host is left to tell of success. Where it knows of no time limit, or each hop is to be told of, that is
/// for us to do (RFC 2852).
fn passes_dsn(offered: &Extensions, terms: &Terms) -> bool {
    let is_ours = terms.deliver_by.is_some_and(|by| by.is_traced || offered.deliver_by_s_min.is_none());
    offered.dsn && !is_ours
}

fn mail(envelope: &Envelope, recipients: &[u32], form: Form, now: Timestamp) -> Mail {
    let to = |at: &u32| {
        let recipient = envelope.recipients.get(*at as usize)?;
        Some(MailTo {
            address: recipient.address.clone(),
            notify: recipient.notify,
            orcpt: recipient.orcpt.clone(),
        })
    };
    Mail {
        sender: verp::return_path(envelope, recipients),
        recipients: recipients.iter().filter_map(to).collect(),
        data: form.content,
        body: form.body,
        is_smtputf8: envelope.is_smtputf8,
        requires_tls: envelope.requires_tls,
        priority: envelope.terms.priority,
        by: envelope.terms.deliver_by.map(|by| By {
            seconds: by.at.as_s() - now.as_s(),
            mode: if by.is_returned { ByMode::Return } else { ByMode::Notify },
            is_traced: by.is_traced,
        }),
        ret: envelope.ret,
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
        for told in &mut results {
            told.is_for_another_round = false;
        }
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

/// A reply in one line, and not too long.
fn text(reply: &ServerReply) -> String {
    let text: String = reply.text.chars().take(REPLY_CHARS_MAX).collect();
    format!("{} {}", reply.code, text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_returned_goes_only_where_it_will_be() {
        const NOW: Timestamp = Timestamp::from_s(1000);
        let by = |at: i64, is_returned| Terms {
            deliver_by: Some(queue::DeliverBy { at: Timestamp::from_s(at), is_returned, is_traced: false }),
            ..Terms::default()
        };
        let offers = |least| Extensions { deliver_by_s_min: least, dsn: true, ..Extensions::default() };
        for (terms, least, may_go, passes) in [
            (Terms::default(), None, true, true),
            (by(1060, true), None, false, false),
            (by(1060, true), Some(0), true, true),
            (by(1060, true), Some(60), true, true),
            (by(1060, true), Some(61), false, true),
            (by(1000, true), Some(0), false, true),
            (by(900, false), None, true, false),
            (by(900, false), Some(60), true, true),
        ] {
            assert_eq!(untimely(&offers(least), &terms, NOW).is_none(), may_go, "{terms:?} {least:?}");
            assert_eq!(passes_dsn(&offers(least), &terms), passes, "{terms:?} {least:?}");
        }
    }
}
