//! What a domain is told about mail with its From (RFC 9990).

use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use mailauth::dmarc::{Target, report_targets};
use mailauth::report::{Aggregate, Envelope, aggregate_mail};
use reports::Seen;

use super::count;
use super::send::{Author, is_over, send};
use super::telling::Telling;
use crate::Shard;
use crate::inbound::Names;

/// Sends a domain its report; false when it should be tried again.
pub(super) async fn tell(shard: &Rc<Shard>, seen: Seen, telling: &mut Telling<'_>) -> bool {
    let domain = seen.published.domain.clone();
    let mut targets = report_targets(&Names(Rc::clone(shard)), &domain, &seen.to).await;
    targets.retain(|target| !telling.is_told(&target.to.address));
    let author = Author::of(shard);
    let now = shard.world.now();
    let report = Arc::new(report(seen, &author, telling));
    let (mut is_done, mut others) = (true, targets.len());
    for Target { to, may_receive } in targets {
        others -= 1;
        match may_receive {
            Some(true) => {}
            Some(false) => {
                tracing::info!(event = "reports.not_wanted", %domain, to = %to.address);
                continue;
            }
            None => {
                is_done = false;
                continue;
            }
        }
        let made = {
            let (report, author, to) = (Arc::clone(&report), author.clone(), to.clone());
            move || written(&report, &author, (&to.address, to.bytes_max), now)
        };
        // Packing takes its time.
        let Ok(mail) = shard.off_shard(made).await else {
            is_done = false;
            continue;
        };
        let Some(mail) = mail else {
            tracing::info!(event = "reports.too_large", %domain, to = %to.address);
            continue;
        };
        let outcome = send(shard, &author.from, &to.address, mail, now).await;
        tracing::info!(event = "reports.dmarc_sent", %domain, to = %to.address, ?outcome);
        if outcome == smtp::Outcome::Stored {
            count(&shard.reports.tally.dmarc_sent, 1);
        }
        if is_over(outcome) {
            telling.told(&to.address, others).await;
        } else {
            is_done = false;
        }
    }
    is_done
}

fn report(seen: Seen, author: &Author, telling: &Telling<'_>) -> Aggregate {
    let rows = seen.rows();
    let domain = &seen.published.domain;
    let left_out = (seen.left_out > 0).then(|| format!("{} messages are not in it", seen.left_out));
    Aggregate {
        reporter: author.organization.clone(),
        email: author.from.clone(),
        contact: None,
        // The same for the same time: whoever gets it twice sees that.
        id: format!("{}.{domain}", telling.name()),
        period: telling.period(),
        errors: left_out.into_iter().collect(),
        generator: Some("Angarium".to_owned()),
        published: seen.published,
        rows,
    }
}

/// The message, with as many rows as the address takes (RFC 7489 §6.2); `None` when not even one fits.
fn written(
    report: &Aggregate,
    author: &Author,
    (to, bytes_max): (&str, Option<u64>),
    now: Timestamp,
) -> Option<Vec<u8>> {
    let envelope = Envelope { from: &author.from, to, submitter: &author.hostname, now };
    let mut mail = aggregate_mail(report, &envelope)?;
    let Some(bytes_max) = bytes_max else { return Some(mail) };
    let mut small = report.clone();
    while mail.len() as u64 > bytes_max {
        let count = small.rows.len() / 2;
        if count == 0 {
            return None;
        }
        small.rows.truncate(count);
        let left_out: u64 = report.rows.iter().skip(count).map(|row| row.count).sum();
        small.errors.truncate(report.errors.len());
        small.errors.push(format!("{left_out} messages are left out: the address takes {bytes_max} bytes"));
        mail = aggregate_mail(&small, &envelope)?;
    }
    Some(mail)
}

#[cfg(test)]
mod tests {
    use mailauth::report::{Disposition, Published, Row, aggregate_of_mail};

    use super::*;

    #[test]
    fn a_report_is_made_as_small_as_its_address_takes_it() {
        let row = |number: u32| Row {
            source_ip: std::net::Ipv4Addr::from(number).into(),
            count: u64::from(1000 - number),
            disposition: Disposition::None,
            has_aligned_dkim: false,
            has_aligned_spf: false,
            reasons: Vec::new(),
            header_from: "d.example".to_owned(),
            envelope_from: None,
            envelope_to: None,
            dkim: Vec::new(),
            spf: Vec::new(),
        };
        let author = Author {
            from: "p@us.example".to_owned(),
            hostname: "us.example".to_owned(),
            organization: "Us".to_owned(),
        };
        let report = Aggregate {
            reporter: "Us".to_owned(),
            id: "1".to_owned(),
            published: Published { domain: "d.example".to_owned(), ..Published::default() },
            rows: (0..900).map(row).collect(),
            ..Aggregate::default()
        };
        let write = |bytes_max| written(&report, &author, ("r@d.example", bytes_max), Timestamp::from_s(0));
        let whole = write(None).expect("no limit");
        assert_eq!(write(Some(whole.len() as u64)), Some(whole.clone()));
        let max = whole.len() as u64 - 1;
        let small = write(Some(max)).expect("a part fits");
        assert!(small.len() as u64 <= max);
        let read = aggregate_of_mail(&small).expect("a report");
        assert_eq!((read.rows.len(), read.rows[0].count), (450, 1000));
        assert!(read.errors[0].starts_with("146475 messages are left out"), "{:?}", read.errors);
        assert_eq!(write(Some(100)), None);
    }
}
