//! When reports go: once a day, when the day is over, by shard 0 with what all shards have counted. Counts are taken away
//! when all have their reports, so a crash in between sends one again, with the same name, and loses none. Who has one
//! while others do not is noted, with what it is made of: it stays the same report, and nobody gets it twice.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use base::{ShardId, Timestamp};
use reports::{Begun, CountKind, Part, Pieces, Seen};
use transport::report::{Collected, Day};

use super::send::chance;
use super::telling::Telling;
use super::{dmarc, tls, write};
use crate::Shard;
use crate::limits::{COUNTS_KEPT_DAYS, REPORT_DELAY_MAX_S, REPORT_RETRY, REPORT_START_DELAY_MAX_S};

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
        let mut sent = send_before(&shard, today).await;
        expire(&shard).await;
        let mut tries = 0;
        while sent.is_some_and(|sent| sent.waiting > 0)
            && let Some(moment) = next_try(shard.world.now(), tries, today)
        {
            shard.world.sleep_until(moment).await;
            sent = send_before(&shard, today).await;
            tries += 1;
        }
        // RFC 8460 §4.1: not all senders at the same moment.
        let delay = Duration::from_secs(chance(&shard) % REPORT_DELAY_MAX_S);
        shard.world.sleep_until(today.end() + Duration::from_secs(1) + delay).await;
    }
}

/// RFC 8460 §5.5: what could not be sent is tried again for a day, at growing distances. Then it is tried once a day.
fn next_try(now: Timestamp, tries: u32, today: Day) -> Option<Timestamp> {
    let moment = now + REPORT_RETRY.saturating_mul(2_u32.saturating_pow(tries));
    (moment < today.end()).then_some(moment)
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
    shard.reports.silent.borrow_mut().clear();
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

/// Days and domains of which any shard has something, or of which a report was begun.
async fn domains(shard: &Rc<Shard>, kind: CountKind, before: Day) -> BTreeSet<(Day, String)> {
    let mut all = BTreeSet::from_iter(shard.reports.store.all_begun(kind, before));
    for id in 0..shard.router.shards() {
        let work = async move |there: Rc<Shard>| there.reports.store.domains(kind, before).await;
        all.extend(shard.router.on(ShardId(id), work).await.unwrap_or_default());
    }
    all
}

/// Tells one domain of its day; whether everybody has been told, or never will be. What was begun goes first, as it was
/// then: counts that have come since are for another report, about the time after it.
async fn tell(shard: &Rc<Shard>, kind: CountKind, about: (Day, &str), now: Timestamp) -> bool {
    let store = &shard.reports.store;
    let (mut since, mut is_told) = (store.sent_until(), true);
    if let Some(begun) = store.begun(kind, about) {
        since = begun.end;
        let Some(found) = gather(shard, kind, about, Some(&begun)).await else { return false };
        is_told = match finish(shard, kind, Telling::new(shard, kind, about, begun), found).await {
            End::Waits => return false,
            end => end == End::Told,
        };
    }
    let Some(found) = gather(shard, kind, about, None).await else { return false };
    let (begin, end) = period(about.0, since, now);
    let begun = Begun::new(begin, end, found.parts.iter().flat_map(|(_, parts)| parts));
    if !found.is_empty() {
        is_told &= match finish(shard, kind, Telling::new(shard, kind, about, begun), found).await {
            End::Waits => return false,
            end => end == End::Told,
        };
    }
    if store.begun(kind, about).is_some()
        && let Err(error) = store.set_begun(kind, about, None).await
    {
        tracing::warn!(event = "reports.not_written", %error);
    }
    is_told
}

/// What became of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everybody has it, or never will.
    Told,
    /// It is too old to be tried again.
    GivenUp,
    /// It is to be tried again.
    Waits,
}

/// Sends one report, and takes its counts away when it is not to be tried again.
async fn finish(shard: &Rc<Shard>, kind: CountKind, mut telling: Telling<'_>, found: Gathered) -> End {
    let settings = shard.settings();
    let is_wanted = settings.outbound.is_enabled
        && match kind {
            CountKind::Dmarc => settings.reporting.sends_dmarc,
            CountKind::Tls => settings.reporting.sends_tls,
        };
    let Gathered { seen, collected, parts } = found;
    let is_told = match kind {
        _ if !is_wanted => true,
        CountKind::Dmarc => seen.is_empty() || dmarc::tell(shard, seen, &mut telling).await,
        CountKind::Tls => collected.is_empty() || tls::tell(shard, collected, &mut telling).await,
    };
    let (day, _) = telling.about();
    let is_old = day.start() + Duration::from_hours(24 * COUNTS_KEPT_DAYS) < shard.world.now();
    if !is_told && !is_old {
        telling.keep().await;
        return End::Waits;
    }
    for (id, parts) in parts {
        let work = async move |there: Rc<Shard>| there.reports.store.remove(&parts).await;
        if let Ok(Err(error)) = shard.router.on(id, work).await {
            tracing::warn!(event = "reports.not_written", %error);
        }
    }
    if is_told { End::Told } else { End::GivenUp }
}

/// The time that a report is about: what was not told of the day before.
fn period(day: Day, since: Timestamp, now: Timestamp) -> (Timestamp, Timestamp) {
    let (begin, end) = (day.start(), day.end());
    let begin = if since > begin && since <= end { since } else { begin };
    (begin, end.min(now))
}

/// What there is of a domain.
#[derive(Default)]
struct Gathered {
    seen: Seen,
    collected: Collected,
    parts: Vec<(ShardId, Vec<Part>)>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.parts.iter().all(|(_, parts)| parts.is_empty())
    }
}

/// Asks all shards for their pieces of a domain, or those of them that belong to a report; `None` when one is gone.
async fn gather(
    shard: &Rc<Shard>,
    kind: CountKind,
    about: (Day, &str),
    begun: Option<&Begun>,
) -> Option<Gathered> {
    let mut all = Gathered::default();
    for id in 0..shard.router.shards() {
        let (day, domain, begun) = (about.0, about.1.to_owned(), begun.cloned());
        let work = async move |there: Rc<Shard>| own(&there, kind, (day, &domain), begun).await;
        let (seen, collected, parts) = shard.router.on(ShardId(id), work).await.ok()?;
        all.seen.merge(seen);
        all.collected.add(collected);
        all.parts.push((ShardId(id), parts));
    }
    Some(all)
}

/// A shard's own pieces of a domain, some at a time.
async fn own(
    shard: &Rc<Shard>,
    kind: CountKind,
    about: (Day, &str),
    begun: Option<Begun>,
) -> (Seen, Collected, Vec<Part>) {
    let (mut seen, mut collected, mut parts) = (Seen::default(), Collected::default(), Vec::<Part>::new());
    let mut last = None;
    loop {
        let mut pieces = shard.reports.store.pieces(kind, about, last.as_ref());
        let Some(part) = pieces.parts.last() else { return (seen, collected, parts) };
        last = Some(part.clone());
        if let Some(begun) = &begun {
            pieces.retain(|part| begun.has(part));
        }
        parts.extend(pieces.parts.iter().cloned());
        match kind {
            CountKind::Dmarc => seen.merge(read(shard, pieces).await),
            CountKind::Tls => collected.add(pieces.collected(about.0)),
        }
    }
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
    use transport::hop::Applied;
    use transport::report::{Session, Used};

    use super::*;
    use crate::relay::tests::rig::{Rig, outbound};

    #[test]
    fn a_report_whose_domain_never_answers_is_given_up() {
        let rig = Rig::new(outbound());
        // Nobody can say where reports go: in this world there is no name server.
        let send = || {
            let shard = rig.shard();
            rig.wait(async move { send_now(&shard).await }).expect("it is not being sent").waiting
        };
        let connect = |now| {
            let mut collected = Collected::default();
            let used = Used { applied: Applied::Nothing, lines: Vec::new(), hosts: Vec::new() };
            let session = Session { host: "mx.silent.example", address: None, source: None, fault: None };
            collected.note(now, "silent.example", &used, &session);
            rig.shard().relay.add_tls_reports(collected);
        };
        let first = rig.now();
        connect(first);
        assert_eq!(send(), 1);
        // The rest of its day is for another report, which goes the same way.
        connect(first);
        assert_eq!(send(), 1);
        rig.pass(Duration::from_hours(24 * (COUNTS_KEPT_DAYS + 1)));
        // It was tried each day.
        assert_eq!(send(), 0);
        let shard = rig.shard();
        let (about, kind) = ((Day::of(first), "silent.example"), CountKind::Tls);
        assert_eq!(shard.reports.store.begun(kind, about), None);
        assert!(shard.reports.store.pieces(kind, about, None).parts.is_empty());
    }

    #[test]
    fn what_waits_is_tried_again_for_a_day_at_growing_distances() {
        let (today, mut now, mut hours) =
            (Day::of(Timestamp::from_s(86_400)), Timestamp::from_s(90_000), vec![]);
        while let Some(moment) = next_try(now, hours.len() as u32, today) {
            hours.push(moment.since(now).as_secs() / 3600);
            now = moment;
        }
        assert_eq!(hours, [1, 2, 4, 8]);
        assert_eq!(next_try(today.end(), 0, today), None);
        assert_eq!(next_try(Timestamp::from_s(90_000), u32::MAX, today), None);
    }

    #[test]
    fn a_report_is_about_what_was_not_told_of_its_day() {
        let day = Day::of(Timestamp::from_s(86_400));
        let of = |sent, now| {
            let (begin, end) = period(day, Timestamp::from_s(sent), Timestamp::from_s(now));
            (begin.as_s(), end.as_s())
        };
        assert_eq!(of(0, 200_000), (86_400, 172_799));
        assert_eq!(of(0, 90_000), (86_400, 90_000));
        assert_eq!(of(90_000, 200_000), (90_000, 172_799));
        assert_eq!(of(180_000, 200_000), (86_400, 172_799), "another day's");
    }
}
