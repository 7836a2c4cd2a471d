//! A client's view of the selected mailbox: which messages it has been told of, under which numbers,
//! and up to which change. 100,000 consecutive messages take a few bytes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use account::MailboxName;
use base::{ChangeNumber, MailboxId, Ranges, Uid, UidValidity};

use crate::parse::{SequenceNumber, SequenceSet};

/// A message sequence number beyond the mailbox: the command is BAD (RFC 9051 §9, `seq-number`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSequence;

/// The selected mailbox as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its name when it was selected.
    pub name: MailboxName,
    /// Its incarnation.
    pub uid_validity: UidValidity,
    /// The messages the client knows; a message's sequence number is its place here, from 1.
    pub uids: Ranges,
    /// The client has been told of everything up to this change of the account, but for
    /// [`Selected::pending`].
    pub seen_change: ChangeNumber,
    /// Selected by EXAMINE: nothing may be changed.
    pub is_read_only: bool,
    /// What `$` stands for (RFC 5182); only ever messages of `uids`.
    pub saved_search: Ranges,
    /// Messages that are gone while the client may not be told yet (RFC 9051 §7.5.1).
    pub pending: Ranges,
    /// The account's keywords as the client was last told of them in a FLAGS response: a place in
    /// the table may have got another name since.
    pub keywords_known: Vec<String>,
    told: BTreeMap<ChangeNumber, Ranges>,
}

impl Selected {
    /// A view of `mailbox` as it is at `seen_change`.
    pub fn new(mailbox: &account::Mailbox, uids: Ranges, seen_change: ChangeNumber) -> Self {
        Self {
            mailbox: mailbox.id,
            name: mailbox.name.clone(),
            uid_validity: mailbox.uid_validity,
            uids,
            seen_change,
            is_read_only: false,
            saved_search: Ranges::new(),
            pending: Ranges::new(),
            keywords_known: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// How many messages the client knows of.
    pub fn exists(&self) -> u32 {
        self.uids.len() as u32
    }

    /// The UIDs that a set of UIDs or of message sequence numbers means. Unknown UIDs are ignored
    /// (RFC 9051 §6.4.9), unknown sequence numbers are an error, but for `10:*`, which always has
    /// the last message in it; `1:*` of an empty mailbox is empty.
    pub fn resolve(&self, set: &SequenceSet, is_uid: bool) -> Result<Ranges, BadSequence> {
        let SequenceSet::Ranges(ranges) = set else { return Ok(self.saved_search.clone()) };
        let numbers = self.numbers(ranges, is_uid);
        if is_uid {
            return Ok(self.uids.intersection(&numbers));
        }
        if numbers.last() > Some(self.exists()) {
            return Err(BadSequence);
        }
        Ok(nth_of_each(&self.uids, &numbers))
    }

    /// As [`Selected::resolve`], but an unknown sequence number means no message: for SEARCH, where
    /// it is a condition that nothing meets.
    pub fn resolve_known(&self, set: &SequenceSet, is_uid: bool) -> Ranges {
        match set {
            SequenceSet::Saved => self.saved_search.clone(),
            SequenceSet::Ranges(ranges) if is_uid => self.uids.intersection(&self.numbers(ranges, is_uid)),
            SequenceSet::Ranges(ranges) => nth_of_each(&self.uids, &self.numbers(ranges, is_uid)),
        }
    }

    fn numbers(&self, ranges: &[(SequenceNumber, SequenceNumber)], is_uid: bool) -> Ranges {
        let greatest = if is_uid { self.uids.last() } else { Some(self.exists()) }.filter(|&n| n > 0);
        // `*` is the greatest number whichever end it is; nothing lies between it and a number above it
        // (RFC 9051 §9, `seq-range`).
        let ends_of = |&(first, last): &(SequenceNumber, SequenceNumber)| match (first, last) {
            (SequenceNumber::Number(a), SequenceNumber::Number(b)) => Some((a.min(b), a.max(b))),
            (SequenceNumber::Number(number), SequenceNumber::Star)
            | (SequenceNumber::Star, SequenceNumber::Number(number)) => greatest.map(|n| (number.min(n), n)),
            (SequenceNumber::Star, SequenceNumber::Star) => greatest.map(|n| (n, n)),
        };
        let mut ends: Vec<(u32, u32)> = ranges.iter().filter_map(ends_of).collect();
        // In order, each goes to the end of the set: a hostile order costs no more than a kind one.
        ends.sort_unstable();
        let mut numbers = Ranges::new();
        for (first, last) in ends {
            numbers.insert_range(first, last);
        }
        numbers
    }

    /// The message sequence numbers of messages asked for in ascending order of UID.
    pub fn numbering(&self) -> Numbering<'_> {
        Numbering::new(&self.uids)
    }

    /// The message sequence number of `uid`, if the client knows the message.
    pub fn number_of(&self, uid: Uid) -> Option<u32> {
        self.uids.contains(uid.0).then(|| self.uids.rank(uid.0))
    }

    /// Notes that the client has just been told (or, by `.SILENT`, has asked not to be told) of a
    /// message's flags as they are at `change`; they are not told again.
    pub fn note_told(&mut self, uid: Uid, change: ChangeNumber) {
        if change <= self.seen_change {
            return;
        }
        self.told.entry(change).or_default().insert(uid.0);
    }

    /// Whether the client knows the message's state at `change` already.
    pub(crate) fn is_told(&self, uid: Uid, change: ChangeNumber) -> bool {
        self.told.get(&change).is_some_and(|uids| uids.contains(uid.0))
    }

    /// Everything up to `change` is told or pending now.
    pub(crate) fn advance_to(&mut self, change: ChangeNumber) {
        self.seen_change = change;
        self.told.clear();
    }

    /// Takes messages out of the view: they have been told as expunged.
    pub(crate) fn forget(&mut self, gone: &Ranges) {
        self.uids = difference(&self.uids, gone);
        self.saved_search = difference(&self.saved_search, gone);
        self.pending = difference(&self.pending, gone);
    }
}

/// Gives sequence numbers in one pass over the view, whatever its number of ranges.
#[derive(Debug)]
pub struct Numbering<'a> {
    uids: &'a Ranges,
    ranges: Vec<(u32, u32)>,
    at: usize,
    before: u32,
}

impl<'a> Numbering<'a> {
    fn new(uids: &'a Ranges) -> Self {
        Self { uids, ranges: uids.ranges().collect(), at: 0, before: 0 }
    }

    /// The sequence number of `uid`, or `None` when the client does not know it. Constant time on
    /// average when asked in ascending order; a UID below the last one asked is looked up anew.
    pub fn of(&mut self, uid: Uid) -> Option<u32> {
        while let Some(&(first, last)) = self.ranges.get(self.at) {
            if uid.0 > last {
                self.before += last - first + 1;
                self.at += 1;
                continue;
            }
            if uid.0 >= first {
                return Some(self.before + (uid.0 - first) + 1);
            }
            break;
        }
        self.uids.contains(uid.0).then(|| self.uids.rank(uid.0))
    }
}

/// The members of `set` whose places, from 1, are in `places`.
fn nth_of_each(set: &Ranges, places: &Ranges) -> Ranges {
    let mut out = Ranges::new();
    let mut before = 0_u32;
    let mut wanted = places.ranges().peekable();
    for (first, last) in set.ranges() {
        let count = last - first + 1;
        while let Some(&(from, to)) = wanted.peek() {
            if from > before + count {
                break;
            }
            let start = from.max(before + 1) - before - 1;
            let end = to.min(before + count) - before - 1;
            out.insert_range(first + start, first + end);
            if to > before + count {
                break;
            }
            wanted.next();
        }
        before += count;
    }
    out
}

/// The set of numbers that come in any order and number, without the cost of inserting them so.
pub(crate) fn from_numbers(mut numbers: Vec<u32>) -> Ranges {
    numbers.sort_unstable();
    numbers.into_iter().collect()
}

/// The members of `set` that are not in `other`.
pub(crate) fn difference(set: &Ranges, other: &Ranges) -> Ranges {
    let mut out = Ranges::new();
    let mut others = other.ranges().peekable();
    for (first, last) in set.ranges() {
        let mut from = Some(first);
        while let (Some(start), Some(&(gone_first, gone_last))) = (from, others.peek()) {
            if gone_first > last {
                break;
            }
            if gone_last < start {
                others.next();
                continue;
            }
            if gone_first > start {
                out.insert_range(start, gone_first - 1);
            }
            from = gone_last.checked_add(1).filter(|&next| next <= last);
            if gone_last > last {
                break;
            }
            others.next();
        }
        if let Some(start) = from {
            out.insert_range(start, last);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Cursor;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;
    use base::Random;

    fn view(uids: &[u32]) -> Selected {
        let mailbox = account::Mailbox {
            id: MailboxId(1),
            name: MailboxName::inbox(),
            uid_validity: UidValidity(1),
            special_use: None,
            status: account::Status::default(),
        };
        Selected::new(&mailbox, uids.iter().copied().collect(), ChangeNumber(10))
    }

    fn resolve(view: &Selected, text: &str, is_uid: bool) -> Option<alloc::string::String> {
        let set = Cursor::new(text.as_bytes()).sequence_set().unwrap();
        view.resolve(&set, is_uid).ok().map(|set| set.to_string())
    }

    #[test]
    fn sets_are_resolved_against_what_the_client_knows() {
        let view = view(&[2, 3, 4, 8, 9, 20]);
        for (text, is_uid, want) in [
            ("1:*", false, Some("2:4,8:9,20")),
            ("*", false, Some("20")),
            ("3:4", false, Some("4,8")),
            ("6,1", false, Some("2,20")),
            ("7", false, None),
            ("5:7", false, None),
            ("10:*", false, Some("20")),
            ("*:10", false, Some("20")),
            ("2,10:*", false, Some("3,20")),
            ("10:*,7", false, None),
            ("*:100", true, Some("20")),
            ("1:*", true, Some("2:4,8:9,20")),
            ("100:*", true, Some("20")),
            ("5:8,30", true, Some("8")),
            ("7", true, Some("")),
        ] {
            assert_eq!(resolve(&view, text, is_uid).as_deref(), want, "{text}");
        }
        let beyond = Cursor::new(b"5:9").sequence_set().unwrap();
        assert_eq!(view.resolve_known(&beyond, false).to_string(), "9,20");
        assert_eq!(resolve(&self::view(&[]), "1:*", false).as_deref(), Some(""));
        assert_eq!(resolve(&self::view(&[]), "1", false), None);
        assert_eq!(resolve(&self::view(&[]), "10:*", false).as_deref(), Some(""));
        assert_eq!(resolve(&self::view(&[]), "1:*", true).as_deref(), Some(""));
    }

    #[test]
    fn places_and_differences_agree_with_plain_sets() {
        for seed in 1..80 {
            let mut random = Random::new(seed);
            let mut pick =
                |n: u64| -> BTreeSet<u32> { (0..n).map(|_| random.below(60) as u32 + 1).collect() };
            let (uids, other) = (pick(40), pick(30));
            let set: Ranges = uids.iter().copied().collect();
            let others: Ranges = other.iter().copied().collect();
            let want: Ranges = uids.difference(&other).copied().collect();
            assert_eq!(difference(&set, &others), want, "seed {seed}");
            let places: Ranges = other.iter().copied().filter(|&n| n as usize <= uids.len()).collect();
            let want: Ranges = places.iter().filter_map(|n| set.nth(n)).collect();
            assert_eq!(nth_of_each(&set, &places), want, "seed {seed}");
            let mut numbering = Numbering::new(&set);
            for uid in 0..70 {
                assert_eq!(numbering.of(Uid(uid)), set.contains(uid).then(|| set.rank(uid)));
            }
        }
    }

    #[test]
    fn what_was_told_at_a_change_is_not_what_came_after() {
        let mut view = view(&[1, 2]);
        view.note_told(Uid(1), ChangeNumber(11));
        assert!(view.is_told(Uid(1), ChangeNumber(11)));
        assert!(!view.is_told(Uid(1), ChangeNumber(12)));
        assert!(!view.is_told(Uid(2), ChangeNumber(11)));
        view.advance_to(ChangeNumber(12));
        assert!(!view.is_told(Uid(1), ChangeNumber(11)));
    }
}
