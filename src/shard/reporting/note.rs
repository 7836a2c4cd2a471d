//! What is counted of a message from elsewhere, when it is known what becomes of it.

use std::net::IpAddr;
use std::rc::Rc;

use mailauth::Verdicts;
use mailauth::dmarc::{DmarcResult, Policy};
use mailauth::report::{Disposition, Published, Reason, Row};
use smtp::Refused;
use transport::report::Day;

use super::{count, failure};
use crate::inbound::Incoming;
use crate::{Dmarc, Shard};

/// Notes what was found out about a message and what became of it. One that comes again is counted then.
pub(crate) fn note(shard: &Rc<Shard>, peer: Option<IpAddr>, incoming: &Incoming, refused: Option<&Refused>) {
    let (Some(peer), Some(verdicts)) = (peer, &incoming.verdicts) else { return };
    let settings = shard.settings();
    let (reporting, dmarc) = (&settings.reporting, &verdicts.dmarc);
    let Some(record) = dmarc.record.as_ref().filter(|_| settings.outbound.is_enabled) else { return };
    if refused.is_some_and(|refused| refused.code < 500)
        || !matches!(dmarc.result, DmarcResult::Pass | DmarcResult::Fail)
        || is_report(shard, incoming)
    {
        return;
    }
    if reporting.sends_dmarc
        && !record.aggregate_to.is_empty()
        && let Some(published) = Published::of(dmarc)
    {
        let row = row(verdicts, peer, settings.inbound.dmarc);
        let day = Day::of(shard.world.now());
        let has_room = shard.reports.counts.borrow_mut().note(day, published, &record.aggregate_to, row);
        if !has_room {
            count(&shard.reports.tally.left_out, 1);
        }
    }
    if reporting.failures_per_hour_max > 0 && !record.failures_to.is_empty() {
        failure::note(shard, peer, incoming, refused);
    }
}

/// The row, with the reasons when something else was done than the domain asks for.
fn row(verdicts: &Verdicts, peer: IpAddr, dmarc: Dmarc) -> Row {
    let (done, is_local) = done(verdicts.disposition, dmarc);
    let mut row = Row::of(verdicts, peer, done);
    let is_test = verdicts.dmarc.record.as_ref().is_some_and(|record| record.is_test)
        && verdicts.dmarc.result == DmarcResult::Fail;
    let reasons = [(is_local, "local_policy"), (is_test, "policy_test_mode")];
    let reasons = reasons.into_iter().filter(|(is_so, _)| *is_so);
    row.reasons.extend(reasons.map(|(_, kind)| Reason { kind: kind.to_owned(), comment: None }));
    row
}

/// What was done with a message whose domain asks for something, and whether that is our own choice.
const fn done(asks: Policy, dmarc: Dmarc) -> (Disposition, bool) {
    match (asks, dmarc) {
        (Policy::None, _) => (Disposition::None, false),
        (Policy::Quarantine | Policy::Reject, Dmarc::Note) => (Disposition::None, true),
        (Policy::Quarantine, Dmarc::Junk | Dmarc::Enforce) => (Disposition::Quarantine, false),
        (Policy::Reject, Dmarc::Junk) => (Disposition::Quarantine, true),
        (Policy::Reject, Dmarc::Enforce) => (Disposition::Reject, false),
    }
}

/// Whether a message brings a report: nobody is told of it, or two servers would tell each other for ever.
fn is_report(shard: &Shard, incoming: &Incoming) -> bool {
    let envelope = &incoming.message.envelope;
    let settings = shard.settings();
    if envelope.recipients.iter().any(|recipient| settings.reporting.receives(&recipient.address)) {
        return true;
    }
    let message = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let value = |name: &str| {
        let field = mime::field(header, name)?;
        Some(String::from_utf8_lossy(&mime::unfold(field.value)).trim().to_ascii_lowercase())
    };
    // RFC 9990 §3.5 and RFC 8460 §5.3 have the same subject.
    value("Subject").is_some_and(|subject| subject.starts_with("report domain:"))
        || value("TLS-Report-Domain").is_some()
        || value("Content-Type")
            .is_some_and(|kind| kind.contains("feedback-report") || kind.contains("tlsrpt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_follows_from_the_domain_and_the_operator() {
        for (asks, dmarc, expected) in [
            (Policy::None, Dmarc::Enforce, (Disposition::None, false)),
            (Policy::Reject, Dmarc::Enforce, (Disposition::Reject, false)),
            (Policy::Reject, Dmarc::Junk, (Disposition::Quarantine, true)),
            (Policy::Quarantine, Dmarc::Junk, (Disposition::Quarantine, false)),
            (Policy::Quarantine, Dmarc::Note, (Disposition::None, true)),
        ] {
            assert_eq!(done(asks, dmarc), expected, "{asks:?} {dmarc:?}");
        }
    }
}
