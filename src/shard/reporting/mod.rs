//! Reports about mail, sent and received.
//!
//! ```text
//! verdicts of a message ─ note ─▶ counts in memory ─ write ─▶ the store, hourly and at the end
//!                                                               │ when the day is over, on shard 0
//!                  dmarc, tls: one report a domain ◀─ daily ◀───┘ all shards' counts, merged
//! a message to a report address ─ receive ─▶ reports::Kept on the shard with partition 0 ─ control ─▶ an operator
//! ```
//!
//! - `settings`: what an operator sets; `note`: what is counted of a message; `write`: counts into the store;
//! - `daily`: when reports go, and to whom; `dmarc`, `tls`: what they say; `failure`: reports about one message;
//!   `send`, `post`: how they go; `telling`: who has one already;
//! - `receive`: reports of others by mail; `taken`: those that are posted; `control`: what an operator sees.

pub mod control;
mod daily;
mod dmarc;
mod failure;
mod note;
mod post;
mod receive;
mod send;
mod settings;
mod taken;
mod telling;
mod tls;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::Budget;
use directory::BoundedMap;
use reports::{CountStore, Counts, Kept, Kind};
use storage_engine::Engine;

use crate::Shard;
use crate::limits::{DIRECTORY_PARTITION, FAILURE_DOMAINS_MAX, POSTING_NETWORKS_MAX, POSTS_BYTES_MAX};
pub use daily::Sent;
pub(crate) use note::{Noted, noted};
pub(crate) use receive::receive;
pub use settings::{Reporting, Taking};
pub(crate) use taken::{Taken, session, take};
pub use write::finish;

/// A shard's part of reports.
pub(crate) struct Reports {
    counts: RefCell<Counts>,
    pub(crate) store: CountStore,
    /// Reports of others, on the one shard that has them.
    kept: Option<Kept>,
    /// The day, and what was written of its counts, in bytes.
    written: Cell<(i64, u64)>,
    /// Failure reports by domain: the hour, and how many.
    failures: RefCell<BoundedMap<String, (i64, u32)>>,
    /// Reports that were posted, by the network they came from: the hour, and how many. On the shard that has them.
    posts: RefCell<BoundedMap<IpAddr, (i64, u32)>>,
    /// The memory for reports that are posted.
    posted: Arc<Budget>,
    /// One of them is being read.
    is_reading: Cell<bool>,
    /// Counts that are on their way into the store.
    writers: Cell<usize>,
    is_sending: Cell<bool>,
    /// Hosts that did not take a report by HTTPS in this round: not each domain waits for them.
    silent: RefCell<BTreeSet<(String, u16)>>,
    pub(crate) tally: Tally,
}

/// What is counted of reports since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) dmarc_sent: Cell<u64>,
    pub(crate) tls_sent: Cell<u64>,
    pub(crate) tls_posted: Cell<u64>,
    pub(crate) failures_sent: Cell<u64>,
    /// Messages that no report will tell of.
    pub(crate) left_out: Cell<u64>,
    pub(crate) received: [Cell<u64>; Kind::ALL.len()],
    /// Mail to report addresses without a report that can be read.
    pub(crate) unreadable: Cell<u64>,
    /// Reports that were posted to us: kept, not to be read, and too many.
    pub(crate) posted: Cell<u64>,
    pub(crate) unreadable_posts: Cell<u64>,
    pub(crate) throttled: Cell<u64>,
    /// Complaints by kind, domain and account.
    pub(crate) complaints: RefCell<BTreeMap<(&'static str, String, String), u64>>,
}

impl Reports {
    pub(crate) fn new(engine: &Engine) -> Self {
        let is_keeper = engine.owns(DIRECTORY_PARTITION.0);
        Self {
            counts: RefCell::default(),
            store: CountStore::new(engine.clone()),
            kept: is_keeper.then(|| Kept::new(engine.clone(), DIRECTORY_PARTITION)),
            written: Cell::default(),
            failures: RefCell::new(BoundedMap::new(FAILURE_DOMAINS_MAX)),
            posts: RefCell::new(BoundedMap::new(POSTING_NETWORKS_MAX)),
            posted: Budget::new(POSTS_BYTES_MAX),
            is_reading: Cell::new(false),
            writers: Cell::new(0),
            is_sending: Cell::new(false),
            silent: RefCell::default(),
            tally: Tally::default(),
        }
    }
}

fn count(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get().saturating_add(by));
}

/// Starts what goes on beside everything else, for as long as the shard runs.
pub(crate) fn start(shard: &Rc<Shard>) {
    shard.world.spawn_aside(Box::pin(write::hourly(Rc::clone(shard))));
    if shard.id == base::ShardId(0) {
        shard.world.spawn_aside(Box::pin(daily::daily(Rc::clone(shard))));
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::REMEMBERED_ACCOUNT;

    #[test]
    fn each_has_an_account_of_its_own() {
        let mut all =
            [queue::QUEUE_ACCOUNT, REMEMBERED_ACCOUNT, reports::COUNTS_ACCOUNT, reports::RECEIVED_ACCOUNT];
        all.sort_unstable();
        assert!(all.windows(2).all(|two| two[0] < two[1]), "{all:?}");
    }
}
