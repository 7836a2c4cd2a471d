//! Sets of numbers kept as ranges: UID sets, sequence sets, and the map between the two. 100,000
//! consecutive numbers take 8 bytes.

use alloc::vec::Vec;
use core::fmt;

/// A set of `u32` as ascending, disjoint, non-adjacent inclusive ranges.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    ranges: Vec<(u32, u32)>,
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds one number. Cheapest at the end.
    pub fn insert(&mut self, value: u32) {
        self.insert_range(value, value);
    }

    /// Adds `first..=last`; the two may come in either order.
    pub fn insert_range(&mut self, first: u32, last: u32) {
        let (mut first, mut last) = (first.min(last), first.max(last));
        let from = self.ranges.partition_point(|r| r.1.checked_add(1).is_some_and(|after| after < first));
        let to = self.ranges.partition_point(|r| r.0 <= last.saturating_add(1));
        if let Some(touched) = self.ranges.get(from..to)
            && let (Some(a), Some(b)) = (touched.first(), touched.last())
        {
            first = first.min(a.0);
            last = last.max(b.1);
        }
        self.ranges.splice(from..to.max(from), [(first, last)]);
    }

    /// Takes one number out; true when it was there.
    pub fn remove(&mut self, value: u32) -> bool {
        let Some(at) = self.range_of(value) else { return false };
        let Some(&(first, last)) = self.ranges.get(at) else { return false };
        match (first == value, last == value) {
            (true, true) => drop(self.ranges.remove(at)),
            (true, false) => self.ranges[at].0 += 1,
            (false, true) => self.ranges[at].1 -= 1,
            (false, false) => {
                self.ranges[at].1 = value - 1;
                self.ranges.insert(at + 1, (value + 1, last));
            }
        }
        true
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u32) -> bool {
        self.range_of(value).is_some()
    }

    fn range_of(&self, value: u32) -> Option<usize> {
        let at = self.ranges.partition_point(|r| r.1 < value);
        self.ranges.get(at).filter(|r| r.0 <= value).map(|_| at)
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|&(a, b)| (b - a) as usize + 1).sum()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The least number.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|r| r.0)
    }

    /// The greatest number.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|r| r.1)
    }

    /// How many numbers of the set are at most `value`. For a member that is its place, from 1:
    /// a UID's message sequence number (RFC 9051 §2.3.1.2).
    pub fn rank(&self, value: u32) -> u32 {
        let mut rank = 0;
        for &(first, last) in &self.ranges {
            if first > value {
                break;
            }
            rank += last.min(value) - first + 1;
        }
        rank
    }

    /// The `n`th least number, from 1: a message sequence number's UID.
    pub fn nth(&self, n: u32) -> Option<u32> {
        let mut left = n.checked_sub(1)?;
        for &(first, last) in &self.ranges {
            let count = last - first + 1;
            if left < count {
                return Some(first + left);
            }
            left -= count;
        }
        None
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(a, b)| a..=b)
    }

    /// The ranges in order, both ends included.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> + ExactSizeIterator + '_ {
        self.ranges.iter().copied()
    }

    /// The numbers that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut out, mut i, mut j) = (Self::new(), 0, 0);
        while let (Some(&a), Some(&b)) = (self.ranges.get(i), other.ranges.get(j)) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                out.ranges.push((first, last));
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        out
    }

    /// Adds all of `other`.
    pub fn extend_from(&mut self, other: &Self) {
        for &(first, last) in &other.ranges {
            self.insert_range(first, last);
        }
    }
}

/// The IMAP form, `1:3,7` (RFC 9051 §9, `sequence-set`); empty for the empty set.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}:{last}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ranges({self})")
    }
}

impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(values: I) -> Self {
        let mut out = Self::new();
        for value in values {
            out.insert(value);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    #[test]
    fn a_set_behaves_like_a_plain_set_of_numbers() {
        for seed in 1..60 {
            let mut random = Random::new(seed);
            let (mut ranges, mut plain) = (Ranges::new(), BTreeSet::new());
            for _ in 0..200 {
                let a = random.below(120) as u32 + 1;
                let b = a + random.below(6) as u32;
                if random.one_in(3) {
                    assert_eq!(ranges.remove(a), plain.remove(&a));
                } else {
                    ranges.insert_range(b, a);
                    plain.extend(a..=b);
                }
                assert!(ranges.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0), "seed {seed}: {ranges:?}");
            }
            assert!(ranges.iter().eq(plain.iter().copied()));
            assert_eq!(ranges.len(), plain.len());
            for (i, &value) in plain.iter().enumerate() {
                assert_eq!(ranges.rank(value), i as u32 + 1);
                assert_eq!(ranges.nth(i as u32 + 1), Some(value));
            }
            let other: Ranges = (0..60).map(|_| random.below(120) as u32).collect();
            let both: BTreeSet<u32> = plain.iter().copied().filter(|&v| other.contains(v)).collect();
            assert!(ranges.intersection(&other).iter().eq(both));
        }
    }

    #[test]
    fn the_ends_of_the_number_range_do_not_overflow() {
        let mut set = Ranges::new();
        set.insert_range(u32::MAX, u32::MAX - 2);
        set.insert(1);
        set.insert(u32::MAX);
        assert_eq!(set.to_string(), "1,4294967293:4294967295");
        assert_eq!(set.rank(u32::MAX), 4);
    }
}
