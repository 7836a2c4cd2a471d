//! Counts in the store: pieces by kind, day and domain. They are only added to and taken away, so what is written
//! needs no reading, and a restart with another number of shards finds them where they are.

use base::{PartitionId, Timestamp, give_way};
use queue::{Reader, Writer};
use storage_engine::{Engine, Error};
use transport::report::{Collected, Day};

use crate::Seen;
use crate::limits::{DOMAIN_BYTES_MAX, VALUES_PER_LOOK};

/// The account of a partition that has its counts. No person's account has this number.
pub const COUNTS_ACCOUNT: u64 = u64::MAX - 2;

const VERSION: u8 = 1;
const DAY_S: i64 = 86_400;
/// Change and place, behind the domain.
pub(crate) const SUFFIX_BYTES: usize = 12;
/// The value that says up to when reports were sent before their day was over.
const SENT: &[u8] = b"s";

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CountKind {
    /// Messages by their From domain.
    Dmarc,
    /// Connections by their recipients' domain.
    Tls,
}

/// A record to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of what.
    pub kind: CountKind,
    /// Of which day.
    pub day: Day,
    /// Of which domain.
    pub domain: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// Where a piece lies.
pub type Part = (PartitionId, Vec<u8>);

/// Some pieces of one domain and day: what they say, and where they lie.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// Their values.
    pub values: Vec<Vec<u8>>,
    /// Their places.
    pub parts: Vec<Part>,
}

/// The counts in the partitions that a shard owns.
#[derive(Clone, Debug)]
pub struct CountStore {
    pub(crate) engine: Engine,
    pub(crate) partitions: Vec<PartitionId>,
}

impl CountKind {
    pub(crate) const fn letter(self) -> u8 {
        match self {
            Self::Dmarc => b'd',
            Self::Tls => b't',
        }
    }
}

/// The number of a day, which keys are ordered by.
pub(crate) fn number(day: Day) -> u32 {
    u32::try_from(day.start().as_s().div_euclid(DAY_S)).unwrap_or_default()
}

pub(crate) fn day_of(number: u32) -> Day {
    Day::of(Timestamp::from_s(i64::from(number) * DAY_S))
}

/// What the keys of a domain's pieces begin with. A name ends with a zero: none of another is among them.
pub(crate) fn prefix(kind: CountKind, day: Day, domain: &str) -> Vec<u8> {
    let mut key = vec![kind.letter()];
    key.extend(number(day).to_be_bytes());
    key.extend(domain.bytes());
    key.push(0);
    key
}

/// The day and the domain of a piece.
pub(crate) fn about(key: &[u8]) -> Option<(u32, String)> {
    let day = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    let name = key.get(5..)?.split(|byte| *byte == 0).next()?;
    Some((day, String::from_utf8(name.to_vec()).ok()?))
}

impl Piece {
    /// TLS counts of a day and domain under one policy.
    pub fn tls(day: Day, domain: String, json: &str) -> Self {
        let mut out = Writer::new(VERSION);
        out.text(&domain).text(json);
        Self { kind: CountKind::Tls, day, domain, value: out.finish() }
    }
}

impl Pieces {
    /// Keeps those at some places.
    pub fn retain(&mut self, is_kept: impl Fn(&Part) -> bool) {
        let all = std::mem::take(&mut self.values).into_iter().zip(std::mem::take(&mut self.parts));
        (self.values, self.parts) = all.filter(|(_, part)| is_kept(part)).unzip();
    }

    /// What they say about messages.
    pub fn seen(&self) -> Seen {
        let mut all = Seen::default();
        for (_, seen) in self.values.iter().filter_map(|value| Seen::of_piece(value)) {
            all.merge(seen);
        }
        all
    }

    /// What they say about connections.
    pub fn collected(&self, day: Day) -> Collected {
        let mut all = Collected::default();
        for value in &self.values {
            let Some(mut from) = Reader::new(value, VERSION) else { continue };
            if let (Some(domain), Some(json)) = (from.text(), from.text()) {
                all.add_piece(day, &domain, &json);
            }
        }
        all
    }
}

impl CountStore {
    /// Over an engine.
    pub fn new(engine: Engine) -> Self {
        let all = (0..engine.partitions()).map(PartitionId);
        let partitions = all.filter(|partition| engine.owns(partition.0)).collect();
        Self { engine, partitions }
    }

    /// Stores pieces in one transaction; returns when they are durable.
    pub async fn put(&self, pieces: Vec<Piece>) -> Result<(), Error> {
        let Some(home) = self.partitions.first() else { return Err(Error::Full) };
        let mut transaction = self.engine.transaction(home.0);
        let change = transaction.change(COUNTS_ACCOUNT);
        let named = pieces.into_iter().filter(|piece| piece.domain.len() <= DOMAIN_BYTES_MAX);
        for (at, piece) in (0_u32..).zip(named) {
            let mut key = prefix(piece.kind, piece.day, &piece.domain);
            key.extend(change.to_be_bytes());
            key.extend(at.to_be_bytes());
            transaction.put_value(COUNTS_ACCOUNT, &key, &piece.value);
        }
        transaction.commit().await.map(|_| ())
    }

    /// The days before `before` and the domains that something is stored of.
    pub async fn domains(&self, kind: CountKind, before: Day) -> Vec<(Day, String)> {
        let mut found = Vec::new();
        for partition in &self.partitions {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let letter = [kind.letter()];
                let next = self.engine.values(partition.0, COUNTS_ACCOUNT, &letter, after.as_deref(), 1);
                let Some((key, _)) = next.into_iter().next() else { break };
                let Some((day, domain)) = about(&key).filter(|(day, _)| *day < number(before)) else { break };
                // Behind all pieces of the same domain.
                let mut end = prefix(kind, day_of(day), &domain);
                end.extend([0xff; SUFFIX_BYTES]);
                after = Some(end);
                found.push((day_of(day), domain));
                give_way().await;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Some of a domain's pieces: those after the last of `known`.
    pub fn pieces(&self, kind: CountKind, (day, domain): (Day, &str), known: Option<&Part>) -> Pieces {
        let prefix = prefix(kind, day, domain);
        let mut found = Pieces::default();
        let from = known.map_or(PartitionId(0), |(partition, _)| *partition);
        for partition in self.partitions.iter().filter(|partition| **partition >= from) {
            let after = known.filter(|(known, _)| known == partition).map(|(_, key)| key.as_slice());
            let room = VALUES_PER_LOOK - found.values.len();
            for (key, value) in self.engine.values(partition.0, COUNTS_ACCOUNT, &prefix, after, room) {
                found.values.push(value);
                found.parts.push((*partition, key));
            }
            if found.values.len() >= VALUES_PER_LOOK {
                break;
            }
        }
        found
    }

    /// Takes pieces away that have been told.
    pub async fn remove(&self, parts: &[Part]) -> Result<(), Error> {
        for partition in &self.partitions {
            let mut transaction = self.engine.transaction(partition.0);
            for (_, key) in parts.iter().filter(|(own, _)| own == partition) {
                transaction.delete_value(COUNTS_ACCOUNT, key);
            }
            if !transaction.is_empty() {
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// Up to when reports were sent before their day was over.
    pub fn sent_until(&self) -> Timestamp {
        let home = self.partitions.first();
        let value = home.and_then(|home| self.engine.value(home.0, COUNTS_ACCOUNT, SENT));
        let ms = value.and_then(|value| value.try_into().ok()).map(i64::from_le_bytes);
        Timestamp::from_ms(ms.unwrap_or_default())
    }

    /// Notes that.
    pub async fn set_sent(&self, until: Timestamp) -> Result<(), Error> {
        let Some(home) = self.partitions.first() else { return Err(Error::Full) };
        let mut transaction = self.engine.transaction(home.0);
        transaction.put_value(COUNTS_ACCOUNT, SENT, &until.as_ms().to_le_bytes());
        transaction.commit().await.map(|_| ())
    }
}
