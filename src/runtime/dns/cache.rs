//! What a shard remembers of answers, bounded by their number, by their bytes, and by the time for which
//! they may be kept. Answers that say "no" are remembered too, and for a moment that nobody answered.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem::size_of;
use std::time::Duration;

use base::Timestamp;
use base::dns::{Query, Record};

use super::Outcome;
use crate::limits::{
    DNS_ABSENCE_MAX, DNS_ANSWER_MAX, DNS_CACHE_BYTES_MAX, DNS_CACHE_ENTRIES_MAX, DNS_FAILURE, DNS_KEPT_MIN,
};

#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Query, Entry>,
    /// In the order of coming; a question stands here once for each entry it has had, the last counts.
    order: VecDeque<(Query, u64)>,
    bytes: usize,
    next_number: u64,
}

struct Entry {
    outcome: Outcome,
    until: Timestamp,
    bytes: usize,
    number: u64,
    /// Asked for since it came or was last spared.
    is_used: bool,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Cache");
        debug.field("entries", &self.entries.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Cache {
    /// What is known, with the time that is left of it.
    pub(super) fn find(&mut self, query: &Query, now: Timestamp) -> Option<Outcome> {
        let entry = self.entries.get_mut(query)?;
        if entry.until <= now {
            self.forget(query);
            return None;
        }
        entry.is_used = true;
        let left_s = u32::try_from(entry.until.since(now).as_secs()).unwrap_or(u32::MAX);
        let mut outcome = entry.outcome.clone();
        if let Ok(answer) = &mut outcome {
            answer.ttl_s = answer.ttl_s.min(left_s);
        }
        Some(outcome)
    }

    pub(super) fn keep(&mut self, query: Query, outcome: Outcome, now: Timestamp) {
        self.forget(&query);
        let (until, bytes) = (now + time_to_keep(&outcome), size(&query, &outcome));
        self.next_number += 1;
        let number = self.next_number;
        self.order.push_back((query.clone(), number));
        self.bytes += bytes;
        self.entries.insert(query, Entry { outcome, until, bytes, number, is_used: false });
        self.shrink(now);
    }

    /// Makes room: the oldest go, but what was asked for since is spared once if it is still good.
    fn shrink(&mut self, now: Timestamp) {
        while self.entries.len() > DNS_CACHE_ENTRIES_MAX
            || self.bytes > DNS_CACHE_BYTES_MAX
            || self.order.len() > 2 * DNS_CACHE_ENTRIES_MAX
        {
            let Some((query, number)) = self.order.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&query).filter(|entry| entry.number == number) else {
                continue;
            };
            if entry.until > now && std::mem::take(&mut entry.is_used) {
                self.order.push_back((query, number));
            } else {
                self.forget(&query);
            }
        }
    }

    fn forget(&mut self, query: &Query) {
        if let Some(entry) = self.entries.remove(query) {
            self.bytes -= entry.bytes;
        }
    }
}

fn time_to_keep(outcome: &Outcome) -> Duration {
    let (ttl_s, max) = match outcome {
        Ok(answer) => (answer.ttl_s, DNS_ANSWER_MAX),
        Err(failure) => match failure.absence() {
            Some(absence) => (absence.ttl_s, DNS_ABSENCE_MAX),
            None => return DNS_FAILURE,
        },
    };
    Duration::from_secs(ttl_s.into()).clamp(DNS_KEPT_MIN, max)
}

/// About how many bytes an entry takes, its place in the order included.
fn size(query: &Query, outcome: &Outcome) -> usize {
    let fixed = size_of::<Entry>() + 2 * (size_of::<Query>() + query.name.len());
    let Ok(answer) = outcome else { return fixed };
    let more = |record: &Record| match record {
        Record::A(_) | Record::Aaaa(_) => 0,
        Record::Mx { host: name, .. }
        | Record::Srv { host: name, .. }
        | Record::Ptr(name)
        | Record::Cname(name) => name.len(),
        Record::Txt(data) | Record::Tlsa { data, .. } => data.len(),
    };
    let records = answer.records.iter().map(|record| size_of::<Record>() + more(record));
    fixed + answer.name.len() + records.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use base::dns::{Absence, Answer, Failure, RecordKind};

    use super::*;

    fn query(number: usize) -> Query {
        Query::new(&format!("h{number}.example"), RecordKind::Txt)
    }

    fn text(bytes: usize, ttl_s: u32) -> Answer {
        let records = vec![Record::Txt(vec![0; bytes])];
        Answer { records, name: String::new(), is_secure: false, ttl_s }
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_s(s)
    }

    #[test]
    fn an_answer_is_kept_for_its_time_within_bounds() {
        let mut cache = Cache::default();
        cache.keep(query(1), Ok(text(1, 100)), at(0));
        assert_eq!(cache.find(&query(1), at(40)).unwrap().unwrap().ttl_s, 60);
        assert_eq!(cache.find(&query(1), at(100)), None);
        assert_eq!(cache.bytes, 0);
        cache.keep(query(1), Ok(text(1, 0)), at(0));
        assert!(cache.find(&query(1), at(1)).is_some(), "those who ask at once ask once");
        cache.keep(query(1), Ok(text(1, u32::MAX)), at(0));
        assert_eq!(cache.find(&query(1), at(1) + DNS_ANSWER_MAX), None);
        let absence = Absence { is_secure: true, ttl_s: u32::MAX };
        cache.keep(query(2), Err(Failure::NoRecords(absence)), at(0));
        assert!(cache.find(&query(2), at(60)).is_some());
        assert_eq!(cache.find(&query(2), at(1) + DNS_ABSENCE_MAX), None);
        cache.keep(query(3), Err(Failure::Temporary), at(0));
        assert_eq!(cache.find(&query(3), at(0)), Some(Err(Failure::Temporary)));
        assert_eq!(cache.find(&query(3), at(0) + DNS_FAILURE), None);
    }

    #[test]
    fn number_and_bytes_have_bounds_and_what_is_used_stays() {
        let mut cache = Cache::default();
        for number in 0..2 * DNS_CACHE_ENTRIES_MAX {
            cache.keep(query(number), Ok(text(1, 1000)), at(0));
            assert!(cache.find(&query(0), at(1)).is_some(), "asked for all the time");
        }
        assert_eq!(cache.entries.len(), DNS_CACHE_ENTRIES_MAX);
        assert_eq!(cache.find(&query(1), at(1)), None);
        let mut cache = Cache::default();
        for number in 0..1000 {
            cache.keep(query(number), Ok(text(65_000, 1000)), at(0));
            assert!(cache.bytes <= DNS_CACHE_BYTES_MAX);
        }
        assert!(cache.entries.len() > 10);
        // One question, over and over: nothing grows.
        for _ in 0..5 * DNS_CACHE_ENTRIES_MAX {
            cache.keep(query(7), Ok(text(1, 1)), at(0));
        }
        assert!(cache.order.len() <= 2 * DNS_CACHE_ENTRIES_MAX + 1);
    }
}
