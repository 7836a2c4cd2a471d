//! What is counted of a message from elsewhere, when it is known what becomes of it.

use std::net::IpAddr;
use std::rc::Rc;

use mailauth::Verdicts;
use mailauth::dmarc::{DmarcResult, Policy, ReportAddress};
use mailauth::report::{Disposition, Published, Reason, Row};
use smtp::{Outcome, Refused};
use transport::report::Day;

use super::send::is_over;
use super::{count, failure};
use crate::inbound::Incoming;
use crate::{Dmarc, Shard};

/// What reports would say of a message.
#[derive(Debug)]
pub(crate) struct Noted {
    counted: Option<(Published, Vec<ReportAddress>, Row)>,
    failed: Option<failure::Known>,
}

/// What was found out about a message, if any report tells of it.
pub(crate) fn noted(shard: &Rc<Shard>, peer: Option<IpAddr>, incoming: &Incoming) -> Option<Box<Noted>> {
    let (peer, verdicts) = (peer?, incoming.verdicts.as_ref()?);
    let settings = shard.settings();
    let (reporting, dmarc) = (&settings.reporting, &verdicts.dmarc);
    let record = dmarc.record.as_ref().filter(|_| settings.outbound.is_enabled)?;
    if !matches!(dmarc.result, DmarcResult::Pass | DmarcResult::Fail) || is_report(shard, incoming) {
        return None;
    }
    let is_counted = reporting.sends_dmarc && !record.aggregate_to.is_empty();
    let published = if is_counted { Published::of(dmarc) } else { None };
    let counted = published.map(|published| {
        (published, record.aggregate_to.clone(), row(verdicts, peer, settings.inbound.dmarc))
    });
    let is_told = reporting.failures_per_hour_max > 0 && !record.failures_to.is_empty();
    let failed = if is_told { failure::known(peer, incoming) } else { None };
    (counted.is_some() || failed.is_some()).then(|| Box::new(Noted { counted, failed }))
}

impl Noted {
    /// Counts the message, when the answer to its client is the last one: it comes again otherwise, and counts then.
    pub(crate) fn settle(self, shard: &Rc<Shard>, answered: Result<&[Outcome], &Refused>) {
        let (is_final, is_refused) = match answered {
            Ok(outcomes) => (
                outcomes.iter().all(|outcome| is_over(*outcome)),
                outcomes.iter().any(|outcome| *outcome != Outcome::Stored),
            ),
            Err(refused) => (refused.code >= 500, true),
        };
        if !is_final {
            return;
        }
        if let Some((published, to, row)) = self.counted {
            let day = Day::of(shard.world.now());
            let has_room = shard.reports.counts.borrow_mut().note(day, published, &to, row);
            if !has_room {
                count(&shard.reports.tally.left_out, 1);
            }
        }
        if let Some(known) = self.failed {
            failure::send_aside(shard, known, is_refused);
        }
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
