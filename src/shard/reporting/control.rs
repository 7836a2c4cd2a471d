//! What an operator sees of reports, and does. Reports of others lie on one shard: the first four are asked there.

use std::rc::Rc;

use reports::{Digest, Filter, Listed, Report, Summary, unpack_report};
use transport::report::{Collected, Day};

use super::Sent;
use super::daily::send_now;
use crate::Shard;
use reports::CountKind;

/// The store cannot be read, or this shard does not have the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Reports of others, latest first.
pub async fn list(shard: &Rc<Shard>, filter: &Filter, limit: usize) -> Result<Vec<Listed>, Unreadable> {
    let kept = shard.reports.kept.as_ref().ok_or(Unreadable)?;
    kept.list(filter, limit).await.map_err(|_| Unreadable)
}

/// One report of others; `None` when there is none with this number.
pub async fn show(shard: &Rc<Shard>, id: u64) -> Result<Option<(Summary, Report)>, Unreadable> {
    let kept = shard.reports.kept.as_ref().ok_or(Unreadable)?;
    let Some((summary, content)) = kept.report(id).await.map_err(|_| Unreadable)? else { return Ok(None) };
    let report = unpacked(shard, &summary, content).await?;
    Ok(Some((summary, report)))
}

/// Many reports added up, and how many there were no more of.
pub async fn digest(shard: &Rc<Shard>, filter: &Filter, limit: usize) -> Result<Digest, Unreadable> {
    let kept = shard.reports.kept.as_ref().ok_or(Unreadable)?;
    let mut digest = Digest::default();
    for Listed { id, summary } in list(shard, filter, limit).await? {
        // It may have been taken out meanwhile.
        let Some((_, content)) = kept.report(id).await.map_err(|_| Unreadable)? else { continue };
        // One that cannot be read takes nothing from the others.
        if let Ok(report) = unpacked(shard, &summary, content).await {
            digest.add(&report);
        } else {
            tracing::warn!(event = "reports.unreadable_kept", id = format!("{id:?}"));
        }
    }
    Ok(digest)
}

async fn unpacked(shard: &Rc<Shard>, summary: &Summary, content: Vec<u8>) -> Result<Report, Unreadable> {
    let kind = summary.kind;
    let read = shard.off_shard(move || unpack_report(kind, &content)).await;
    read.ok().flatten().ok_or(Unreadable)
}

/// Sends what was counted up to now; on shard 0. `None` while it is being sent already.
pub async fn send(shard: &Rc<Shard>) -> Option<Sent> {
    send_now(shard).await
}

/// How this shard's connections were protected so far, by day and domain: in memory, and in the store.
pub async fn tls(shard: &Rc<Shard>) -> Collected {
    let mut all = shard.relay.tls_reports();
    let tomorrow = Day::of(shard.world.now() + std::time::Duration::from_hours(24));
    for (day, domain) in shard.reports.store.domains(CountKind::Tls, tomorrow).await {
        let mut last = None;
        loop {
            let pieces = shard.reports.store.pieces(CountKind::Tls, (day, &domain), last.as_ref());
            let Some(part) = pieces.parts.last().cloned() else { break };
            last = Some(part);
            all.add(pieces.collected(day));
        }
    }
    all
}
