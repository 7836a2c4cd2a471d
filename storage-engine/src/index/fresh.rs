//! The part of the index that is in memory: what was applied since the last checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Stored;
use super::sorted::SortedRows;
use crate::log::{Op, OpKind};
use crate::row::StoredRow;

/// Bytes a row is taken to cost with its place in the list of changes.
const ROW_COST_BYTES: usize = 200;
/// Bytes a value is taken to cost beside key and value.
const VALUE_COST_BYTES: usize = 100;

/// One account's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreshAccount {
    /// By collection and item; tombstones included.
    pub(crate) rows: SortedRows,
    /// Change, collection, item of every row of this part, at its latest change.
    pub(crate) changes: BTreeSet<(u64, u32, u32)>,
    /// None is a deletion that hides an older layer's value.
    pub(crate) values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) highest_change: u64,
}

/// One partition's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fresh {
    pub(crate) accounts: BTreeMap<u64, FreshAccount>,
    bytes: usize,
}

impl Fresh {
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// About how much memory it takes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn apply(&mut self, op: Op) {
        let account = self.accounts.entry(op.account).or_default();
        account.highest_change = account.highest_change.max(op.change);
        match op.kind {
            OpKind::Row(row) => {
                let (collection, item) = row.key();
                if let Some(old) = account.rows.insert(row) {
                    account.changes.remove(&(old.change(), collection, item));
                } else {
                    self.bytes += ROW_COST_BYTES;
                }
                account.changes.insert((row.change(), collection, item));
            }
            OpKind::Value { key, value } => {
                let length = key.len() + value.as_ref().map_or(0, Vec::len) + VALUE_COST_BYTES;
                self.bytes += length;
                let key_length = key.len();
                if let Some(old) = account.values.insert(key, value) {
                    let old = key_length + old.map_or(0, |old| old.len()) + VALUE_COST_BYTES;
                    self.bytes = self.bytes.saturating_sub(old);
                }
            }
        }
    }

    /// Puts what `older` has, and this does not hide, under this.
    pub(crate) fn absorb_older(&mut self, older: &Fresh) {
        for (id, older) in &older.accounts {
            let account = self.accounts.entry(*id).or_default();
            account.highest_change = account.highest_change.max(older.highest_change);
            for row in older.rows.iter() {
                let (collection, item) = row.key();
                if account.rows.get(row.key()).is_none() {
                    account.rows.insert(*row);
                    account.changes.insert((row.change(), collection, item));
                }
            }
            for (key, value) in &older.values {
                account.values.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.bytes += older.bytes;
    }

    pub(crate) fn row(&self, account: u64, collection: u32, item: u32) -> Option<&StoredRow> {
        self.accounts.get(&account)?.rows.get((collection, item))
    }

    /// What this part says of a key; none when it knows nothing of it.
    pub(crate) fn value(&self, account: u64, key: &[u8]) -> Option<Stored<'_>> {
        Some(Stored::new(self.accounts.get(&account)?.values.get(key)?.as_deref()))
    }
}

impl FreshAccount {
    /// Rows that changed after `after`, by change.
    pub(crate) fn changes_after(&self, after: u64) -> impl Iterator<Item = &StoredRow> {
        let from = (Bound::Excluded((after, u32::MAX, u32::MAX)), Bound::Unbounded);
        let keys = self.changes.range(from);
        let row = |&(_, collection, item): &(u64, u32, u32)| self.rows.get((collection, item));
        keys.map(move |key| row(key).expect("every listed row is there"))
    }

    /// Values whose key is at or above `from`.
    pub(crate) fn values_from<'a>(
        &'a self,
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let values = self.values.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        values.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}
