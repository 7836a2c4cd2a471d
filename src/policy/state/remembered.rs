//! All that outlives a restart, and what is written down of it: a value for each entry.

use base::Timestamp;

use super::bounded::Written;
use super::key::{Home, Key, KeyMaker};
use super::{Greylist, Passes, Rates, Reputation};
use crate::Settings;

/// What is remembered of sources, senders and recipients.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Who has waited for a recipient.
    pub greylist: Greylist,
    /// How much of what is limited was used.
    pub rates: Rates,
    /// How sources have behaved.
    pub reputation: Reputation,
    /// Who has waited for the greeting.
    pub passes: Passes,
}

/// A value to be written, or to be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it lives.
    pub home: Home,
    /// Its key: what it is, and 16 bytes.
    pub key: [u8; 17],
    /// Its bytes; nothing takes it out.
    pub value: Option<Vec<u8>>,
}

/// The first byte of a key: what it is.
const TRIPLET: u8 = b'g';
const SOURCE: u8 = b't';
const BUCKET: u8 = b'r';
const COUNTS: u8 = b'c';
const PASSED: u8 = b'q';

impl Remembered {
    /// The first bytes of all keys.
    pub const KINDS: [u8; 5] = [TRIPLET, SOURCE, BUCKET, COUNTS, PASSED];

    /// Nothing is known; `maker` makes the keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self {
            greylist: Greylist::new(maker),
            rates: Rates::new(maker),
            reputation: Reputation::new(maker),
            passes: Passes::new(maker),
        }
    }

    /// What has changed since it was last asked for, at most `most`; nothing when all is written down.
    pub fn changes(&mut self, now: Timestamp, most: usize) -> Vec<Change> {
        let mut all = Vec::new();
        for kind in Self::KINDS {
            let most = most - all.len();
            let written = match kind {
                TRIPLET => self.greylist.triplet_changes(most),
                SOURCE => self.greylist.source_changes(most),
                BUCKET => self.rates.changes(now, most),
                COUNTS => self.reputation.changes(most),
                _ => self.passes.changes(most),
            };
            all.extend(of_kind(kind, written));
        }
        all
    }

    /// What was to be written under a key could not be: it is among the next changes, as it is by then.
    pub fn put_back(&mut self, key: &[u8]) {
        let Some((kind, number)) = key.split_first() else { return };
        let Ok(number) = number.try_into().map(u128::from_be_bytes) else { return };
        match *kind {
            TRIPLET => self.greylist.put_back_triplet(Key(number)),
            SOURCE => self.greylist.put_back_source(Key(number)),
            BUCKET => self.rates.put_back(Key(number)),
            COUNTS => self.reputation.put_back(Key(number)),
            PASSED => self.passes.put_back(Key(number)),
            _ => {}
        }
    }

    /// Takes in what was written down: keys with their values, in any order. What counts no more is taken out with the
    /// next changes.
    pub fn restore(&mut self, now: Timestamp, settings: &Settings, values: Vec<(Vec<u8>, Vec<u8>)>) {
        let mut kinds: [Vec<(Key, Vec<u8>)>; 5] = Default::default();
        for (key, value) in values {
            let Some((kind, number)) = key.split_first() else { continue };
            let (Ok(number), Some(at)) =
                (number.try_into(), Self::KINDS.iter().position(|known| known == kind))
            else {
                continue;
            };
            kinds[at].push((Key(u128::from_be_bytes(number)), value));
        }
        let [triplets, sources, buckets, counts, passes] = kinds;
        self.greylist.restore(now, &settings.greylist, triplets, sources);
        self.rates.restore(now, buckets);
        self.reputation.restore(now, &settings.reputation, counts);
        self.passes.restore(now, &settings.pregreet, passes);
    }
}

fn of_kind(kind: u8, written: Written) -> impl Iterator<Item = Change> {
    written.into_iter().map(move |(number, value)| {
        let mut key = [kind; 17];
        key[1..].copy_from_slice(&number.0.to_be_bytes());
        Change { home: number.home(), key, value }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conduct, Rate, Taken};

    #[test]
    fn all_of_it_comes_back_as_it_was_and_foreign_keys_do_no_harm() {
        let (now, settings) = (Timestamp::from_s(1_800_000_000), Settings::default());
        let source = "192.0.2.1".parse().unwrap();
        let rate = Rate { count: 1, every_ms: 3_600_000, burst: 1 };
        let mut known = Remembered::new(KeyMaker::new(1));
        assert_eq!(known.greylist.check(now, &settings.greylist, source, "a@b", "c@d"), 300);
        let key = known.rates.key("x", "ann");
        assert_eq!(known.rates.take(now, &rate, key, 1), Taken::Within);
        known.reputation.note(now, &settings.reputation, source, Conduct::Bad);
        known.passes.note(now, source);
        let lost = known.changes(now, 99);
        assert!(lost.len() == 4 && known.changes(now, 99).is_empty());
        for change in &lost {
            known.put_back(&change.key);
        }
        known.put_back(b"");
        known.put_back(b"g1");
        let mut disk = Vec::new();
        loop {
            let changes = known.changes(now, 3);
            if changes.is_empty() {
                break;
            }
            assert!(changes.iter().all(|change| change.key[1..3] == change.home.0.to_be_bytes()));
            disk.extend(changes.into_iter().map(|change| (change.key.to_vec(), change.value.unwrap())));
        }
        assert_eq!(disk.len(), 4);
        disk.extend([(b"g".to_vec(), vec![]), (b"".to_vec(), vec![]), (vec![b'z'; 17], vec![1])]);
        let mut again = Remembered::new(KeyMaker::new(1));
        again.restore(now, &settings, disk);
        let later = now + std::time::Duration::from_secs(100);
        assert_eq!(again.greylist.check(later, &settings.greylist, source, "a@b", "c@d"), 200);
        assert!(matches!(again.rates.take(later, &rate, key, 1), Taken::Over(_)));
        assert_eq!(again.reputation.score(now, &settings.reputation, source), -16);
        let waits = crate::PreGreet { keep_ms: 1000, ..settings.pregreet };
        assert!(again.passes.knows(now, &waits, source));
    }
}
