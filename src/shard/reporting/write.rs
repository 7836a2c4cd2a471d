//! Counts into the store: each hour, sooner when they are many, and when the shard ends.

use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use reports::{CountKind, Counts, Piece, STORED_BYTES_A_DAY_MAX};
use transport::report::{Collected, Day};

use crate::Shard;
use crate::limits::{COUNTS_FINISH_PAUSE, COUNTS_LOOK, COUNTS_PERIOD};

/// Writes for as long as the shard runs.
pub(super) async fn hourly(shard: Rc<Shard>) {
    let mut due = shard.world.now() + COUNTS_PERIOD;
    loop {
        shard.world.sleep_until(shard.world.now() + COUNTS_LOOK).await;
        let now = shard.world.now();
        if now >= due || shard.reports.counts.borrow().is_filling() {
            due = now + COUNTS_PERIOD;
            write(&shard).await;
        }
    }
}

/// Writes what was counted last. To be awaited when no connection is left and the store still runs.
pub async fn finish(shard: Rc<Shard>) {
    // What is being packed belongs to it.
    while shard.reports.writers.get() > 0 {
        shard.world.sleep_until(shard.world.now() + COUNTS_FINISH_PAUSE).await;
    }
    write(&shard).await;
}

/// Writes what is in memory; what the store does not take stays there.
pub(super) async fn write(shard: &Rc<Shard>) {
    let counts = Arc::new(shard.reports.counts.take());
    let collected = shard.relay.take_tls_reports();
    if counts.is_empty() && collected.is_empty() {
        return;
    }
    let _writing = Writing::begin(shard);
    let pieces = packed(shard, &counts, &collected).await;
    let left = within_the_day(shard, pieces);
    if let Err(error) = shard.reports.store.put(left).await {
        tracing::warn!(event = "reports.not_written", %error);
        shard.reports.counts.borrow_mut().restore(&counts);
        shard.relay.add_tls_reports(collected);
    }
}

/// Says that counts are on their way into the store.
struct Writing(Rc<Shard>);

impl Writing {
    fn begin(shard: &Rc<Shard>) -> Self {
        shard.reports.writers.set(shard.reports.writers.get() + 1);
        Self(Rc::clone(shard))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.reports.writers.set(self.0.reports.writers.get() - 1);
    }
}

/// Packing takes its time, so it is done off the shard where the pool has room.
async fn packed(shard: &Rc<Shard>, counts: &Arc<Counts>, collected: &Collected) -> Vec<Piece> {
    let of_messages = |counts: &Counts| {
        let pieces = counts.pieces().into_iter();
        let pieces = pieces.map(|(day, domain, value)| Piece { kind: CountKind::Dmarc, day, domain, value });
        pieces.collect::<Vec<_>>()
    };
    let there = Arc::clone(counts);
    let mut pieces = match shard.off_shard(move || of_messages(&there)).await {
        Ok(pieces) => pieces,
        Err(_) => of_messages(counts),
    };
    let of_connections = collected.pieces().into_iter();
    pieces.extend(of_connections.map(|(day, domain, text)| Piece::tls(day, domain, &text)));
    pieces
}

/// Those that a day has room for in the store: a stranger must not fill it with names.
fn within_the_day(shard: &Shard, pieces: Vec<Piece>) -> Vec<Piece> {
    let today = start_s(shard.world.now());
    let (day, bytes) = shard.reports.written.get();
    let mut bytes = if day == today { bytes } else { 0 };
    let mut left_out = 0;
    let kept = pieces.into_iter().filter(|piece| {
        let is_kept = bytes + piece.value.len() as u64 <= STORED_BYTES_A_DAY_MAX
            && piece.value.len() <= storage_engine::VALUE_BYTES_MAX;
        if is_kept {
            bytes += piece.value.len() as u64;
        } else {
            left_out += 1;
        }
        is_kept
    });
    let kept = kept.collect();
    shard.reports.written.set((today, bytes));
    if left_out > 0 {
        tracing::warn!(event = "reports.left_out", pieces = left_out);
    }
    kept
}

fn start_s(now: Timestamp) -> i64 {
    Day::of(now).start().as_s()
}
