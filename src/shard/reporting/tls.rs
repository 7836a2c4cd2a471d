//! What a domain is told about connections to its mail hosts (RFC 8460).

use std::rc::Rc;

use base::Timestamp;
use mailauth::report::pack;
use mime::rfc5322_date;
use transport::report::{Collected, Recipients, Report, message, question, recipients};

use super::count;
use super::post::{Posted, post};
use super::send::{Author, chance, is_over, send};
use super::telling::Telling;
use crate::Shard;
use crate::limits::REPORT_POSTS;

/// Sends a domain its report; false when it should be tried again.
pub(super) async fn tell(shard: &Rc<Shard>, mut collected: Collected, telling: &mut Telling<'_>) -> bool {
    let (day, domain) = telling.about();
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
    let period = telling.period();
    let is_whole = period.begin_s == day.start().as_s() && period.end_s == day.end().as_s();
    if !is_whole {
        let moment = |s: i64| {
            let (_, _, _, hour, minute, second) = Timestamp::from_s(s).civil_utc();
            format!("{day}T{hour:02}:{minute:02}:{second:02}Z")
        };
        report.date_range.start_datetime = moment(period.begin_s);
        report.date_range.end_datetime = moment(period.end_s);
        report.report_id = format!("{}-{}", telling.name(), report.report_id);
    }
    to_all(shard, &author, &report, to, telling).await
}

/// Sends it to all addresses that do not have it yet; those that take mail first, which waits for nobody.
async fn to_all(
    shard: &Rc<Shard>,
    author: &Author,
    report: &Report,
    to: Recipients,
    telling: &mut Telling<'_>,
) -> bool {
    let (_, domain) = telling.about();
    let Recipients { mail, mut https } = to;
    // They have one time together: it is not always the last one that gets none.
    let first = chance(shard) as usize % https.len().max(1);
    https.rotate_left(first);
    let end = shard.world.now() + REPORT_POSTS;
    let all = mail.into_iter().map(|to| (to, false)).chain(https.into_iter().map(|to| (to, true)));
    let left: Vec<(String, bool)> = all.filter(|(to, _)| !telling.is_told(to)).collect();
    let (mut is_done, mut others) = (true, left.len());
    for (to, is_https) in left {
        others -= 1;
        let is_over = if is_https {
            by_https(shard, (report, domain), &to, end).await
        } else {
            by_mail(shard, author, (report, domain), &to).await
        };
        if is_over {
            telling.told(&to, others).await;
        } else {
            is_done = false;
        }
    }
    is_done
}

/// Whether it has gone as far as it ever will, as for [`by_https`].
async fn by_mail(shard: &Rc<Shard>, author: &Author, (report, domain): (&Report, &str), to: &str) -> bool {
    let now = shard.world.now();
    let message_id = format!("<{:016x}.tlsrpt@{}>", chance(shard), author.hostname);
    let text =
        message(report, (&author.from, to), (&author.hostname, domain), (&rfc5322_date(now, 0), &message_id));
    let outcome = send(shard, &author.from, to, text.into_bytes(), now).await;
    tracing::info!(event = "reports.tls_sent", domain, %to, ?outcome);
    if outcome == smtp::Outcome::Stored {
        count(&shard.reports.tally.tls_sent, 1);
    }
    is_over(outcome)
}

async fn by_https(shard: &Rc<Shard>, (report, domain): (&Report, &str), to: &str, end: Timestamp) -> bool {
    let posted = post(shard, domain, to, (pack(report.json().as_bytes()), end)).await;
    match posted {
        Posted::Taken { status, lacks } => {
            tracing::info!(event = "reports.tls_posted", domain, %to, status, ?lacks);
            count(&shard.reports.tally.tls_posted, 1);
            true
        }
        Posted::Not { why, is_over } => {
            tracing::info!(event = "reports.tls_not_posted", domain, %to, %why, is_over);
            is_over
        }
    }
}
