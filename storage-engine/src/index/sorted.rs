//! Rows in order, in memory: stretches of them stand one behind the other, so that reading a mailbox is copying.

use std::slice;

use crate::row::StoredRow;

/// Collection and item.
pub(super) type Key = (u32, u32);

/// Rows of a chunk, at most: what an insertion moves, and what is read without looking up where to go on.
const CHUNK_ROWS: usize = 128;

/// Rows by collection and item, each key once.
#[derive(Clone, Debug, Default)]
pub(crate) struct SortedRows {
    /// None of them empty, and all keys of one below those of the next.
    chunks: Vec<Vec<StoredRow>>,
}

/// Rows of a range, a chunk's part at a time.
#[derive(Clone, Debug)]
pub(super) struct Stretches<'a> {
    first: &'a [StoredRow],
    chunks: slice::Iter<'a, Vec<StoredRow>>,
    last: Key,
}

impl SortedRows {
    /// Puts a row in; gives back the one that had its key.
    pub(super) fn insert(&mut self, row: StoredRow) -> Option<StoredRow> {
        let index = self.chunk_of(row.key());
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(vec![row]);
            return None;
        };
        let at = match chunk.binary_search_by_key(&row.key(), StoredRow::key) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at], row)),
            Err(at) => at,
        };
        if chunk.len() < CHUNK_ROWS {
            chunk.insert(at, row);
            return None;
        }
        // New items mostly come in order: behind a full chunk begins an empty one, so that chunks stay full.
        let from = if at == chunk.len() { at } else { CHUNK_ROWS / 2 };
        let mut upper = chunk.split_off(from);
        if at > from || upper.is_empty() {
            upper.insert(at - from, row);
        } else {
            chunk.insert(at, row);
        }
        self.chunks.insert(index + 1, upper);
        None
    }

    pub(crate) fn get(&self, key: Key) -> Option<&StoredRow> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by_key(&key, StoredRow::key).ok()?;
        chunk.get(at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StoredRow> {
        self.chunks.iter().flatten()
    }

    /// Rows from one key up to another, that one included.
    pub(super) fn range(&self, from: Key, last: Key) -> Stretches<'_> {
        let mut chunks = self.chunks[self.chunk_of(from).min(self.chunks.len())..].iter();
        let first = chunks.next().map_or(&[][..], |chunk| {
            let start = chunk.partition_point(|row| row.key() < from);
            &chunk[start..]
        });
        Stretches { first, chunks, last }
    }

    /// The chunk a key belongs into: the last that begins at or before it.
    fn chunk_of(&self, key: Key) -> usize {
        let behind = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|row| row.key() <= key));
        behind.saturating_sub(1)
    }
}

impl Stretches<'_> {
    /// How many rows there are, or some more where the range ends within a chunk.
    pub(super) fn rows_max(&self) -> usize {
        let within = |chunk: &&Vec<StoredRow>| chunk.first().is_some_and(|row| row.key() <= self.last);
        self.first.len() + self.chunks.clone().take_while(within).map(Vec::len).sum::<usize>()
    }
}

impl<'a> Iterator for Stretches<'a> {
    type Item = &'a [StoredRow];

    fn next(&mut self) -> Option<&'a [StoredRow]> {
        let mut stretch = std::mem::take(&mut self.first);
        if stretch.is_empty() {
            stretch = self.chunks.next()?;
        }
        if stretch.last().is_some_and(|row| row.key() > self.last) {
            self.chunks = [].iter();
            stretch = &stretch[..stretch.partition_point(|row| row.key() <= self.last)];
        }
        (!stretch.is_empty()).then_some(stretch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::row::{BodyRef, Row};

    fn row((collection, item): Key, change: u64) -> StoredRow {
        StoredRow::live(Row { collection, item, change, body: BodyRef::NONE, data: [0; 40] })
    }

    /// Agrees with a tree, whatever the order of insertion.
    fn exercise(keys: impl Iterator<Item = Key>) {
        let (mut sorted, mut tree) = (SortedRows::default(), BTreeMap::new());
        for (change, key) in (1..).zip(keys) {
            let row = row(key, change);
            assert_eq!(sorted.insert(row), tree.insert(key, row));
            assert_eq!(sorted.get(key), Some(&row));
        }
        assert!(sorted.chunks.iter().all(|chunk| (1..=CHUNK_ROWS).contains(&chunk.len())));
        assert!(sorted.iter().eq(tree.values()));
        let bounds = [(0, 0), (0, 1), (1, 0), (1, 64), (1, 127), (1, 128), (1, 500), (2, 0), (9, 9)];
        for from in bounds {
            assert_eq!(sorted.get(from), tree.get(&from));
            for last in bounds.into_iter().filter(|last| *last >= from) {
                let stretches = sorted.range(from, last);
                let count = tree.range(from..=last).count();
                assert!((count..=count + CHUNK_ROWS).contains(&stretches.rows_max()));
                assert!(stretches.flatten().eq(tree.range(from..=last).map(|(_, row)| row)));
            }
        }
    }

    #[test]
    fn rows_stand_in_order_whatever_order_they_came_in() {
        let count = 3000u32;
        let key = |number: u32| (number / 1000, number % 1000);
        exercise(std::iter::empty());
        exercise(std::iter::once((1, 64)));
        exercise((0..count).map(key));
        exercise((0..count).rev().map(key));
        exercise((0..2 * count).map(|number| key(number * 1009 % count)));
        // Items are mostly added at the end of each of several collections.
        exercise((0..count).map(|number| (number % 3, number / 3)));
    }

    #[test]
    fn rows_that_come_in_order_fill_their_chunks() {
        let mut sorted = SortedRows::default();
        (0..1280).for_each(|item| assert_eq!(sorted.insert(row((1, item), 1)), None));
        assert_eq!(sorted.chunks.len(), 10);
    }
}
