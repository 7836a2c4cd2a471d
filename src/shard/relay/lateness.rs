//! What has waited too long: its sender is told, or it is given up.

use std::rc::Rc;

use base::Timestamp;
use queue::{Entry, Progress, Terms};

use crate::Shard;

/// Whether the sender is to be told that an entry is late.
pub(super) fn is_late(shard: &Rc<Shard>, entry: &Entry, terms: &Terms, now: Timestamp) -> bool {
    let retry = shard.relay.retry(&shard.settings().outbound, entry.destination);
    retry.is_late(entry.queued, now) || terms.late_at().is_some_and(|at| now >= at)
}

/// As [`is_late`], for an entry that nothing else is known of.
pub(super) async fn is_overdue(shard: &Rc<Shard>, entry: &Entry, now: Timestamp) -> bool {
    let terms = if entry.is_timed {
        shard.relay.store.envelope(entry).await.map(|envelope| envelope.terms).unwrap_or_default()
    } else {
        Terms::default()
    };
    is_late(shard, entry, &terms, now)
}

pub(super) fn expired(progress: &Progress) -> String {
    match progress.attempts.last() {
        // An operator's word.
        Some(last) if last.recipients.is_empty() => last.reply.clone(),
        Some(last) => format!("554 5.4.7 given up; the last answer was: {}", last.reply),
        None => "554 5.4.7 given up before it could be tried".to_owned(),
    }
}
