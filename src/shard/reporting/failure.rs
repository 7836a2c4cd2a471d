//! Reports about single messages that failed (RFC 9991): only where the operator wants them, a few an hour, and never
//! more than a header.

use std::net::IpAddr;
use std::rc::Rc;

use mailauth::Verdicts;
use mailauth::dkim::DkimResult;
use mailauth::dmarc::{Record, report_targets};
use mailauth::report::{Envelope, Failed, failure_report};
use mailauth::spf::SpfResult;

use super::count;
use super::send::{Author, send};
use crate::Shard;
use crate::inbound::{Incoming, Names};
use crate::limits::FAILURE_HEADER_BYTES_MAX;

/// What is told of a message.
#[derive(Debug)]
pub(super) struct Known {
    verdicts: Verdicts,
    domain: String,
    peer: IpAddr,
    mail_from: String,
    header: Vec<u8>,
    is_junk: bool,
}

/// What would be told of a message, if its domain asks for that.
pub(super) fn known(peer: IpAddr, incoming: &Incoming) -> Option<Known> {
    let verdicts = incoming.verdicts.as_ref()?;
    let (record, (domain, _)) = (verdicts.dmarc.record.as_ref()?, verdicts.dmarc.policy_domain.as_ref()?);
    let envelope = &incoming.message.envelope;
    // Not about mail that is itself an answer: reports would answer each other.
    let sender = envelope.sender.as_ref()?;
    if !is_asked(record, verdicts) {
        return None;
    }
    let message = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let header = header.get(..FAILURE_HEADER_BYTES_MAX).unwrap_or(header).to_vec();
    Some(Known {
        verdicts: verdicts.clone(),
        domain: domain.clone(),
        peer,
        mail_from: sender.as_str().to_owned(),
        header,
        is_junk: incoming.is_junk,
    })
}

/// Sends reports about a message beside everything else, if its domain has not had enough of them.
pub(super) fn send_aside(shard: &Rc<Shard>, known: Known, is_refused: bool) {
    if !has_room(shard, &known.domain) {
        return;
    }
    let there = Rc::clone(shard);
    shard.world.spawn(Box::pin(async move { tell(&there, known, is_refused).await }));
}

async fn tell(shard: &Rc<Shard>, known: Known, is_refused: bool) {
    let Some(record) = &known.verdicts.dmarc.record else { return };
    let targets = report_targets(&Names(Rc::clone(shard)), &known.domain, &record.failures_to).await;
    let (author, now) = (Author::of(shard), shard.world.now());
    let failed = Failed {
        verdicts: &known.verdicts,
        ip: known.peer,
        mail_from: &known.mail_from,
        arrived_at: now,
        header: &known.header,
        delivery: match (is_refused, known.is_junk) {
            (true, _) => "reject",
            (false, true) => "spam",
            (false, false) => "delivered",
        },
    };
    for target in targets.into_iter().filter(|target| target.may_receive == Some(true)) {
        let to = &target.to;
        let envelope = Envelope { from: &author.from, to: &to.address, submitter: &author.hostname, now };
        let Some(mail) = failure_report(&failed, &envelope) else { continue };
        if to.bytes_max.is_some_and(|max| mail.len() as u64 > max) {
            continue;
        }
        let outcome = send(shard, &author.from, &to.address, mail, now).await;
        tracing::info!(event = "reports.failure_sent", domain = %known.domain, to = %to.address, ?outcome);
        if outcome == smtp::Outcome::Stored {
            count(&shard.reports.tally.failures_sent, 1);
        }
    }
}

/// What `fo=` asks for (RFC 9989 §4.7, RFC 9991).
fn is_asked(record: &Record, verdicts: &Verdicts) -> bool {
    let dmarc = &verdicts.dmarc;
    record.failure_options.split(':').any(|option| match option.trim() {
        "0" => !dmarc.has_aligned_dkim && !dmarc.has_aligned_spf,
        "1" => !dmarc.has_aligned_dkim || !dmarc.has_aligned_spf,
        "d" | "D" => verdicts.dkim.iter().any(|dkim| dkim.result != DkimResult::Pass),
        "s" | "S" => verdicts.spf.result != SpfResult::Pass,
        _ => false,
    })
}

/// Whether a domain may have another one this hour; notes it.
fn has_room(shard: &Shard, domain: &str) -> bool {
    let hour = shard.world.now().as_s() / 3600;
    let mut failures = shard.reports.failures.borrow_mut();
    let known = failures.get(domain).copied().filter(|(known, _)| *known == hour);
    let sent = known.map_or(0, |(_, sent)| sent);
    if sent >= shard.settings().reporting.failures_per_hour_max {
        return false;
    }
    failures.insert(domain.to_owned(), (hour, sent + 1));
    true
}
