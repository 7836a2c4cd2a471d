//! When reports go: once a day, when the day is over, by shard 0 with what all shards have counted. Counts are taken away
//! when their reports are in the queue, so a crash in between sends one again, with the same name, and loses none.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use base::{ShardId, Timestamp};
use mailauth::report::Period;
use reports::{CountKind, Part, Pieces, Seen};
use transport::report::{Collected, Day};

use super::send::chance;
use super::{dmarc, tls, write};
use crate::Shard;
use crate::limits::{COUNTS_KEPT_DAYS, REPORT_DELAY_MAX_S, REPORT_START_DELAY_MAX_S};

/// What a round of sending came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Domains that were told about mail with their From.
    pub dmarc: usize,
    /// Domains that were told about connections to them.
    pub tls: usize,
    /// Domains that could not be told yet.
    pub waiting: usize,
}

/// Sends the reports of each day when it is over. On one shard, for as long as it runs.
pub(super) async fn daily(shard: Rc<Shard>) {
    let now = shard.world.now();
    // What a day that ended while the server did not run has left.
    let delay = Duration::from_secs(chance(&shard) % REPORT_START_DELAY_MAX_S);
    shard.world.sleep_until(now + delay).await;
    loop {
        let today = Day::of(shard.world.now());
        send_before(&shard, today).await;
        expire(&shard).await;
        // RFC 8460 §4.1: not all senders at the same moment.
        let delay = Duration::from_secs(chance(&shard) % REPORT_DELAY_MAX_S);
        shard.world.sleep_until(today.end() + Duration::from_secs(1) + delay).await;
    }
}

/// Sends what was counted up to now, though the day is not over; on shard 0. `None` while it is being sent already.
pub(super) async fn send_now(shard: &Rc<Shard>) -> Option<Sent> {
    let tomorrow = Day::of(shard.world.now() + Duration::from_hours(24));
    send_before(shard, tomorrow).await
}

async fn send_before(shard: &Rc<Shard>, before: Day) -> Option<Sent> {
    if shard.reports.is_sending.replace(true) {
        return None;
    }
    let _sending = Sending(Rc::clone(shard));
    let now = shard.world.now();
    for id in 0..shard.router.shards() {
        let work = async move |there: Rc<Shard>| write::write(&there).await;
        // A shard that is gone has written what it had.
        let _gone = shard.router.on(ShardId(id), work).await;
    }
    let mut sent = Sent::default();
    for kind in [CountKind::Dmarc, CountKind::Tls] {
        for (day, domain) in domains(shard, kind, before).await {
            let is_told = tell(shard, kind, (day, &domain), now).await;
            match (is_told, kind) {
                (false, _) => sent.waiting += 1,
                (true, CountKind::Dmarc) => sent.dmarc += 1,
                (true, CountKind::Tls) => sent.tls += 1,
            }
        }
    }
    if Day::of(now) < before
        && let Err(error) = shard.reports.store.set_sent(now).await
    {
        tracing::warn!(event = "reports.not_written", %error);
    }
    Some(sent)
}

/// Says that a round is going on.
struct Sending(Rc<Shard>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.reports.is_sending.set(false);
    }
}

/// Days and domains of which any shard has something.
async fn domains(shard: &Rc<Shard>, kind: CountKind, before: Day) -> BTreeSet<(Day, String)> {
    let mut all = BTreeSet::new();
    for id in 0..shard.router.shards() {
        let work = async move |there: Rc<Shard>| there.reports.store.domains(kind, before).await;
        all.extend(shard.router.on(ShardId(id), work).await.unwrap_or_default());
    }
    all
}

/// Tells one domain, and takes its counts away when it has been told or will never be; whether that is so.
async fn tell(shard: &Rc<Shard>, kind: CountKind, about: (Day, &str), now: Timestamp) -> bool {
    let (day, domain) = about;
    let settings = shard.settings();
    let is_wanted = settings.outbound.is_enabled
        && match kind {
            CountKind::Dmarc => settings.reporting.sends_dmarc,
            CountKind::Tls => settings.reporting.sends_tls,
        };
    let (mut seen, mut collected, mut parts) = (Seen::default(), Collected::default(), Vec::new());
    for id in 0..shard.router.shards() {
        let Some(found) = gather(shard, ShardId(id), kind, about).await else { return false };
        seen.merge(found.seen);
        collected.add(found.collected);
        parts.push((ShardId(id), found.parts));
    }
    let period = period(day, shard.reports.store.sent_until(), now);
    let is_told = match kind {
        _ if !is_wanted => true,
        CountKind::Dmarc => seen.is_empty() || dmarc::tell(shard, seen, period).await,
        CountKind::Tls => tls::tell(shard, collected, (day, domain), period).await,
    };
    let is_old = day.start() + Duration::from_hours(24 * COUNTS_KEPT_DAYS) < now;
    if !is_told && !is_old {
        return false;
    }
    for (id, parts) in parts {
        let work = async move |there: Rc<Shard>| there.reports.store.remove(&parts).await;
        if let Ok(Err(error)) = shard.router.on(id, work).await {
            tracing::warn!(event = "reports.not_written", %error);
        }
    }
    is_told
}

/// The time that a report is about: what was not told of the day before.
fn period(day: Day, sent_until: Timestamp, now: Timestamp) -> Period {
    let (begin, end) = (day.start(), day.end());
    let begin = if sent_until > begin && sent_until <= end { sent_until } else { begin };
    Period { begin_s: begin.as_s(), end_s: end.min(now).as_s() }
}

/// What one shard has of a domain.
struct Gathered {
    seen: Seen,
    collected: Collected,
    parts: Vec<Part>,
}

/// Asks a shard for all its pieces of a domain, some at a time; `None` when it is gone.
async fn gather(
    shard: &Rc<Shard>,
    id: ShardId,
    kind: CountKind,
    (day, domain): (Day, &str),
) -> Option<Gathered> {
    let domain = domain.to_owned();
    let work = async move |there: Rc<Shard>| {
        let (mut seen, mut collected, mut parts) =
            (Seen::default(), Collected::default(), Vec::<Part>::new());
        loop {
            let pieces = there.reports.store.pieces(kind, (day, &domain), parts.last());
            if pieces.parts.is_empty() {
                return Gathered { seen, collected, parts };
            }
            parts.extend(pieces.parts.iter().cloned());
            match kind {
                CountKind::Dmarc => seen.merge(read(&there, pieces).await),
                CountKind::Tls => collected.add(pieces.collected(day)),
            }
        }
    };
    shard.router.on(id, work).await.ok()
}

/// Unpacking takes its time, so it is done off the shard where the pool has room.
async fn read(shard: &Rc<Shard>, pieces: Pieces) -> Seen {
    let copy = pieces.clone();
    match shard.off_shard(move || pieces.seen()).await {
        Ok(seen) => seen,
        Err(_) => copy.seen(),
    }
}

/// Lets reports of others go that were kept for long enough.
async fn expire(shard: &Rc<Shard>) {
    let Some(kept) = &shard.reports.kept else { return };
    let before = shard.world.now().as_ms() - shard.settings().reporting.keep.as_millis() as i64;
    match kept.expire(Timestamp::from_ms(before)).await {
        Ok(0) => {}
        Ok(reports) => tracing::info!(event = "reports.expired", reports),
        Err(error) => tracing::warn!(event = "reports.not_written", %error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_about_what_was_not_told_of_its_day() {
        let day = Day::of(Timestamp::from_s(86_400));
        let of = |sent, now| {
            let period = period(day, Timestamp::from_s(sent), Timestamp::from_s(now));
            (period.begin_s, period.end_s)
        };
        assert_eq!(of(0, 200_000), (86_400, 172_799));
        assert_eq!(of(0, 90_000), (86_400, 90_000));
        assert_eq!(of(90_000, 200_000), (90_000, 172_799));
        assert_eq!(of(180_000, 200_000), (86_400, 172_799), "another day's");
    }
}
