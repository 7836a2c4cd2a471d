//! What a domain is told about connections to its mail hosts (RFC 8460).

use std::rc::Rc;

use mailauth::report::Period;
use mime::rfc5322_date;
use transport::report::{Collected, Day, message, question, recipients};

use super::count;
use super::send::{Author, chance, is_over, send};
use crate::Shard;

/// Sends a domain its report; false when it should be tried again.
pub(super) async fn tell(
    shard: &Rc<Shard>,
    mut collected: Collected,
    (day, domain): (Day, &str),
    period: Period,
) -> bool {
    let answer = match shard.world.lookup(question(domain)).await {
        Ok(answer) => answer,
        // It wants none; or nobody can say now.
        Err(failure) => return failure.absence().is_some(),
    };
    let Some(to) = recipients(&answer) else { return true };
    let author = Author::of(shard);
    let Some(mut report) = collected.report(day, domain, &author.organization, &author.from) else {
        return true;
    };
    let is_whole = period.begin_s == day.start().as_s() && period.end_s == day.end().as_s();
    if !is_whole {
        let moment = |s: i64| {
            let (_, _, _, hour, minute, second) = base::Timestamp::from_s(s).civil_utc();
            format!("{day}T{hour:02}:{minute:02}:{second:02}Z")
        };
        report.date_range.start_datetime = moment(period.begin_s);
        report.date_range.end_datetime = moment(period.end_s);
        report.report_id = format!("{}-{}", period.end_s, report.report_id);
    }
    let (now, mut is_done) = (shard.world.now(), true);
    for address in to.mail {
        let message_id = format!("<{:016x}.tlsrpt@{}>", chance(shard), author.hostname);
        let text = message(
            &report,
            (&author.from, &address),
            (&author.hostname, domain),
            (&rfc5322_date(now, 0), &message_id),
        );
        let outcome = send(shard, &author.from, &address, text.into_bytes(), now).await;
        tracing::info!(event = "reports.tls_sent", domain, to = %address, ?outcome);
        if outcome == smtp::Outcome::Stored {
            count(&shard.reports.tally.tls_sent, 1);
        }
        is_done &= is_over(outcome);
    }
    is_done
}
