//! TLS reports (RFC 8460): once a day each domain that asks for it is told how connections to its hosts were protected.
//! Counts are in memory: those of a day on which the server ends are lost, and nothing else is.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{ShardId, Timestamp};
use mime::rfc5322_date;
use queue::{Body, Envelope, Origin, Recipient};
use transport::report::{Collected, Day, message, question, recipients};

use super::accept::accept;
use super::chance;
use crate::Shard;
use crate::inbound::sign_own;
use crate::limits::REPORT_DELAY_MAX_S;

/// Sends the reports of each day when it is over. On one shard, for as long as it runs.
pub(super) async fn daily(shard: Rc<Shard>) {
    loop {
        let today = Day::of(shard.world.now());
        // RFC 8460 §4.1: not all senders at the same moment.
        let delay = Duration::from_secs(chance(&shard) % REPORT_DELAY_MAX_S);
        shard.world.sleep_until(today.end() + Duration::from_secs(1) + delay).await;
        let mut collected = gather(&shard).await;
        let all: Vec<(Day, String)> =
            collected.domains().map(|(day, domain)| (day, domain.to_owned())).collect();
        for (day, domain) in all {
            send(&shard, &mut collected, day, &domain).await;
        }
    }
}

/// What all shards have counted before today, taken out.
async fn gather(shard: &Rc<Shard>) -> Collected {
    let today = Day::of(shard.world.now());
    let mut collected = Collected::default();
    for id in 0..shard.router.shards() {
        let work =
            move |there: Rc<Shard>| async move { there.relay.tls_reports.borrow_mut().take_before(today) };
        if let Ok(counts) = shard.router.on(ShardId(id), work).await {
            collected.add(counts);
        }
    }
    collected
}

async fn send(shard: &Rc<Shard>, collected: &mut Collected, day: Day, domain: &str) {
    let Ok(answer) = shard.world.lookup(question(domain)).await else { return };
    let Some(to) = recipients(&answer) else { return };
    let settings = shard.settings();
    let (organization, contact) = (&settings.outbound.hostname, &settings.mx.postmaster);
    let Some(report) = collected.report(day, domain, organization, contact) else { return };
    let now = shard.world.now();
    for address in to.mail {
        let id = chance(shard);
        let message_id = format!("<{id:016x}.tlsrpt@{organization}>");
        let text = message(
            &report,
            (contact, &address),
            (organization, domain),
            (&rfc5322_date(now, 0), &message_id),
        );
        let envelope = envelope(id, contact, &address, &message_id, now);
        // RFC 8460 §3: a report without a signature is not believed.
        let text = sign_own(shard, text.into_bytes()).await;
        let outcome = accept(shard, envelope, Arc::new(text), false, now).await;
        tracing::info!(event = "relay.tls_report", domain, to = %address, ?outcome);
    }
}

fn envelope(id: u64, from: &str, to: &str, message_id: &str, now: Timestamp) -> Envelope {
    let recipient = Recipient {
        address: to.to_owned(),
        orcpt: None,
        // Nobody reads a bounce of it.
        notify: Some(queue::Notify::default()),
        group: queue::Destination(0),
    };
    Envelope {
        id,
        sender: Some(from.to_owned()),
        recipients: vec![recipient],
        body: Body::SevenBit,
        is_smtputf8: false,
        ret: None,
        envid: None,
        requires_tls: false,
        terms: queue::Terms::default(),
        route: None,
        received: now,
        origin: Origin { message_id: Some(message_id.to_owned()), ..Origin::default() },
        moderation: None,
    }
}
