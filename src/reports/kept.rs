//! Reports of others in the store: each as a row with its summary and its content. They lie in one partition, whichever
//! shard they came to. Those that were posted have places of their own: however many strangers post, it is never one that
//! came by mail that goes.

use std::sync::Arc;

use base::{PartitionId, Timestamp, give_way};
use queue::Destination;
use storage_engine::{BodyRef, Engine, Error, ROW_DATA_BYTES, Row, RowBody};

use crate::limits::{POSTED_KEPT_MAX, RECEIVED_KEPT_MAX, ROWS_PER_LOOK};
use crate::{Kind, Origin, Report, Summary, unpack_report};

/// The account of the partition that has them. No person's account has this number.
pub const RECEIVED_ACCOUNT: u64 = u64::MAX - 3;

/// The collection of reports that came by mail.
const MAILED: u32 = 1;

/// The collection of those that were posted.
const POSTED: u32 = 2;

/// The values that say how many came by mail so far, and how many were posted.
const LAST_MAILED: &[u8] = b"m";
const LAST_POSTED: &[u8] = b"p";

/// The reports of one partition.
#[derive(Clone, Debug)]
pub struct Kept {
    engine: Engine,
    partition: PartitionId,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It has this number.
    New(u64),
    /// It was there already, or another with the same name: this one has taken its place.
    Replaced(u64),
    /// One with the same name was posted already, by whomever: the first one stays.
    Kept(u64),
}

/// Which reports are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// About this domain.
    pub domain: Option<String>,
    /// About a time that ends after this moment.
    pub since: Option<Timestamp>,
}

/// A report in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// What it says in short.
    pub summary: Summary,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    id: u64,
    kind: Kind,
    received_s: u32,
    end_s: u32,
    identity: u64,
    domain: u64,
}

impl Mark {
    fn row_data(&self) -> [u8; ROW_DATA_BYTES] {
        let mut data = [0; ROW_DATA_BYTES];
        data[..8].copy_from_slice(&self.id.to_le_bytes());
        data[8] = self.kind as u8;
        data[12..16].copy_from_slice(&self.received_s.to_le_bytes());
        data[16..20].copy_from_slice(&self.end_s.to_le_bytes());
        data[24..32].copy_from_slice(&self.identity.to_le_bytes());
        data[32..40].copy_from_slice(&self.domain.to_le_bytes());
        data
    }

    fn of_row(row: &Row) -> Option<Self> {
        let u64_at = |at: usize| row.data.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let u32_at = |at: usize| row.data.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        Some(Self {
            id: u64_at(0)?,
            kind: *Kind::ALL.get(usize::from(row.data[8]))?,
            received_s: u32_at(12)?,
            end_s: u32_at(16)?,
            identity: u64_at(24)?,
            domain: u64_at(32)?,
        })
    }
}

/// The value that says where the report with an identity lies.
fn identity_key(identity: u64) -> [u8; 9] {
    let mut key = [b'i'; 9];
    key[1..].copy_from_slice(&identity.to_be_bytes());
    key
}

fn seconds(moment: Timestamp) -> u32 {
    u32::try_from(moment.as_s().max(0)).unwrap_or(u32::MAX)
}

/// The collection and the place in it. Even numbers came by mail, odd ones were posted; both go round over their places: the
/// oldest is overwritten when there are too many.
const fn place(id: u64) -> (u32, u32) {
    match id % 2 {
        0 => (MAILED, (id / 2 % RECEIVED_KEPT_MAX) as u32),
        _ => (POSTED, (id / 2 % POSTED_KEPT_MAX) as u32),
    }
}

impl Filter {
    fn may_match(&self, mark: &Mark) -> bool {
        self.kind.is_none_or(|kind| kind == mark.kind)
            && self.domain.as_ref().is_none_or(|domain| Destination::of(domain).0 == mark.domain)
            && self.since.is_none_or(|since| mark.end_s >= seconds(since))
    }

    fn matches(&self, summary: &Summary) -> bool {
        self.domain.as_ref().is_none_or(|domain| *domain == summary.domain)
    }
}

impl Kept {
    /// Of a partition that this shard owns.
    pub const fn new(engine: Engine, partition: PartitionId) -> Self {
        Self { engine, partition }
    }

    /// Keeps a report; returns when it is durable.
    pub async fn put(&self, summary: &Summary, content: Vec<u8>) -> Result<Put, Error> {
        let partition = self.partition.0;
        let mut transaction = self.engine.transaction(partition);
        let is_posted = summary.origin == Origin::Posted;
        let number =
            |value: Option<Vec<u8>>| value.and_then(|value| value.try_into().ok()).map(u64::from_le_bytes);
        let identity = summary.identity();
        let known = number(transaction.value(RECEIVED_ACCOUNT, &identity_key(identity)));
        if let Some(id) = known.filter(|_| is_posted) {
            // That one may be on its way still: an empty transaction waits for it.
            transaction.commit().await?;
            return Ok(Put::Kept(id));
        }
        let id = known.unwrap_or_else(|| {
            let last_key = if is_posted { LAST_POSTED } else { LAST_MAILED };
            let last = number(transaction.value(RECEIVED_ACCOUNT, last_key)).unwrap_or_default() + 1;
            transaction.put_value(RECEIVED_ACCOUNT, last_key, &last.to_le_bytes());
            last * 2 + u64::from(is_posted)
        });
        let (collection, item) = place(id);
        let old = transaction.row(RECEIVED_ACCOUNT, collection, item);
        if let Some(old) = old.as_ref().and_then(Mark::of_row).filter(|old| old.identity != identity) {
            transaction.delete_value(RECEIVED_ACCOUNT, &identity_key(old.identity));
        }
        let mark = Mark {
            id,
            kind: summary.kind,
            received_s: seconds(summary.received),
            end_s: seconds(summary.end),
            identity,
            domain: Destination::of(&summary.domain).0,
        };
        let body = transaction.add_body(summary.encode(), Arc::new(content));
        transaction.put_row(RECEIVED_ACCOUNT, collection, item, RowBody::New(body), mark.row_data());
        transaction.put_value(RECEIVED_ACCOUNT, &identity_key(identity), &id.to_le_bytes());
        transaction.commit().await?;
        Ok(if known.is_some() { Put::Replaced(id) } else { Put::New(id) })
    }

    /// The places of those that a filter may mean, latest first.
    async fn places(&self, filter: &Filter) -> Vec<(Mark, BodyRef)> {
        let (mut found, mut rows) = (Vec::new(), Vec::new());
        for collection in [MAILED, POSTED] {
            let mut from = Some(0);
            while let Some(start) = from {
                rows.clear();
                let partition = self.partition.0;
                self.engine.rows(partition, RECEIVED_ACCOUNT, collection, start, ROWS_PER_LOOK, &mut rows);
                let marks = rows.iter().filter_map(|row| Some((Mark::of_row(row)?, row.body)));
                found.extend(marks.filter(|(mark, _)| filter.may_match(mark)));
                from = rows.last().and_then(|row| row.item.checked_add(1));
                give_way().await;
            }
        }
        found.sort_unstable_by_key(|(mark, _)| std::cmp::Reverse((mark.received_s, mark.id)));
        found
    }

    async fn summary(&self, body: &BodyRef) -> Result<Option<Summary>, Error> {
        Ok(Summary::decode(&self.engine.meta(body).await?))
    }

    /// Those that a filter means, latest first, at most `limit`.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for (mark, body) in self.places(filter).await {
            if listed.len() >= limit {
                break;
            }
            let summary = self.summary(&body).await?.filter(|summary| filter.matches(summary));
            listed.extend(summary.map(|summary| Listed { id: mark.id, summary }));
        }
        Ok(listed)
    }

    /// One report; `None` when it is not there.
    pub async fn report(&self, id: u64) -> Result<Option<(Summary, Vec<u8>)>, Error> {
        let (collection, item) = place(id);
        let row = self.engine.row(self.partition.0, RECEIVED_ACCOUNT, collection, item);
        let is_meant = |row: &Row| Mark::of_row(row).is_some_and(|mark| mark.id == id);
        let Some(row) = row.filter(is_meant) else { return Ok(None) };
        let Some(summary) = self.summary(&row.body).await? else { return Ok(None) };
        Ok(Some((summary, self.engine.body(&row.body).await?)))
    }

    /// Takes out what came before a moment; how many.
    pub async fn expire(&self, before: Timestamp) -> Result<usize, Error> {
        let all = self.places(&Filter::default()).await;
        let old: Vec<Mark> =
            all.into_iter().map(|(mark, _)| mark).filter(|mark| mark.received_s < seconds(before)).collect();
        for some in old.chunks(ROWS_PER_LOOK) {
            let mut transaction = self.engine.transaction(self.partition.0);
            for mark in some {
                let (collection, item) = place(mark.id);
                let row = transaction.row(RECEIVED_ACCOUNT, collection, item);
                // It may have been replaced meanwhile.
                if row.as_ref().and_then(Mark::of_row) == Some(*mark) {
                    transaction.delete_row(RECEIVED_ACCOUNT, collection, item);
                    transaction.delete_value(RECEIVED_ACCOUNT, &identity_key(mark.identity));
                }
            }
            if !transaction.is_empty() {
                transaction.commit().await?;
            }
        }
        Ok(old.len())
    }
}

impl Listed {
    /// What was kept of it, read.
    pub fn unpack(&self, content: &[u8]) -> Option<Report> {
        unpack_report(self.summary.kind, content)
    }
}
