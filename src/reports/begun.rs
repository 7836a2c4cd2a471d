//! A report that some of its addresses have and others do not: what it is made of, so that it stays the same, and who has
//! it, so that nobody gets it twice.

use std::collections::BTreeMap;

use base::{PartitionId, Timestamp};
use queue::{Reader, Writer};
use storage_engine::Error;
use transport::report::Day;

use crate::counts::{COUNTS_ACCOUNT, SUFFIX_BYTES, about, day_of, number, prefix};
use crate::limits::VALUES_PER_LOOK;
use crate::{CountKind, CountStore, Part};

const VERSION: u8 = 1;
/// What its keys begin with; the beginning of its pieces' keys follows.
const LETTER: u8 = b'b';
/// Where the places of pieces are that belong to it, in the list of a value.
const PLACE_BYTES: usize = 4 + 4 + SUFFIX_BYTES;

/// A report that has been begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The first moment that it is about.
    pub begin: Timestamp,
    /// The last.
    pub end: Timestamp,
    /// The end of the key of its last piece in each partition that has some: what is stored later is for another report.
    last: BTreeMap<PartitionId, Vec<u8>>,
    /// The addresses that have it, or never will.
    pub told: Vec<String>,
}

impl Begun {
    /// About a time, made of these pieces.
    pub fn new<'a>(begin: Timestamp, end: Timestamp, parts: impl IntoIterator<Item = &'a Part>) -> Self {
        let mut last: BTreeMap<PartitionId, Vec<u8>> = BTreeMap::new();
        for (partition, key) in parts {
            let known = last.entry(*partition).or_default();
            let suffix = suffix(key);
            if known.as_slice() < suffix {
                *known = suffix.to_vec();
            }
        }
        Self { begin, end, last, told: Vec::new() }
    }

    /// Whether a piece of its day and domain belongs to it.
    pub fn has(&self, (partition, key): &Part) -> bool {
        self.last.get(partition).is_some_and(|last| suffix(key) <= last.as_slice())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.time(self.begin).time(self.end).u32(u32::try_from(self.last.len()).unwrap_or(u32::MAX));
        for (partition, suffix) in &self.last {
            out.u32(u32::from(partition.0)).bytes(suffix);
        }
        out.u32(u32::try_from(self.told.len()).unwrap_or(u32::MAX));
        for to in &self.told {
            out.text(to);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (begin, end, mut last) = (from.time()?, from.time()?, BTreeMap::new());
        for _ in 0..from.count(PLACE_BYTES)? {
            let partition = from.u32()?.try_into().ok()?;
            last.insert(PartitionId(partition), from.bytes()?.to_vec());
        }
        let told = (0..from.count(4)?).map(|_| from.text()).collect::<Option<_>>()?;
        Some(Self { begin, end, last, told })
    }
}

/// Change and place, which grow from piece to piece of a partition.
fn suffix(key: &[u8]) -> &[u8] {
    key.get(key.len().saturating_sub(SUFFIX_BYTES)..).unwrap_or_default()
}

fn key(kind: CountKind, (day, domain): (Day, &str)) -> Vec<u8> {
    [vec![LETTER], prefix(kind, day, domain)].concat()
}

/// They all lie where the shard that sends reports has its counts.
impl CountStore {
    /// What has been begun of a domain's day.
    pub fn begun(&self, kind: CountKind, about: (Day, &str)) -> Option<Begun> {
        let home = self.partitions.first()?;
        Begun::decode(&self.engine.value(home.0, COUNTS_ACCOUNT, &key(kind, about))?)
    }

    /// The days before `before` and the domains of which something has been begun.
    pub fn all_begun(&self, kind: CountKind, before: Day) -> Vec<(Day, String)> {
        let Some(home) = self.partitions.first() else { return Vec::new() };
        let (mut found, mut after) = (Vec::new(), None);
        let start = [LETTER, kind.letter()];
        loop {
            let some = self.engine.values(home.0, COUNTS_ACCOUNT, &start, after.as_deref(), VALUES_PER_LOOK);
            let Some((last, _)) = some.last() else { return found };
            after = Some(last.clone());
            let named = some.iter().filter_map(|(key, _)| about(key.get(1..)?));
            let named = named.filter(|(day, _)| *day < number(before));
            found.extend(named.map(|(day, domain)| (day_of(day), domain)));
        }
    }

    /// Notes what has been begun, or that nothing has; returns when that is durable.
    pub async fn set_begun(
        &self,
        kind: CountKind,
        about: (Day, &str),
        begun: Option<&Begun>,
    ) -> Result<(), Error> {
        let Some(home) = self.partitions.first() else { return Err(Error::Full) };
        let mut transaction = self.engine.transaction(home.0);
        match begun {
            Some(begun) => transaction.put_value(COUNTS_ACCOUNT, &key(kind, about), &begun.encode()),
            None => transaction.delete_value(COUNTS_ACCOUNT, &key(kind, about)),
        }
        transaction.commit().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_comes_back_and_knows_its_pieces() {
        let part = |partition, change: u64| -> Part {
            let mut key = b"d0000a.example\0".to_vec();
            key.extend(change.to_be_bytes());
            key.extend([0; 4]);
            (PartitionId(partition), key)
        };
        let parts = [part(1, 3), part(1, 7), part(4, 255)];
        let mut begun = Begun::new(Timestamp::from_s(5), Timestamp::from_s(9), &parts);
        begun.told = vec!["a@b".to_owned(), "https://c/".to_owned()];
        for (part, is_in) in [
            (part(1, 1), true),
            (part(1, 7), true),
            (part(1, 8), false),
            (part(2, 1), false),
            (part(4, 255), true),
            (part(4, 256), false),
        ] {
            assert_eq!(begun.has(&part), is_in, "{part:?}");
        }
        let bytes = begun.encode();
        assert_eq!(Begun::decode(&bytes), Some(begun));
        for end in 0..bytes.len() {
            assert_eq!(Begun::decode(&bytes[..end]), None);
        }
    }
}
