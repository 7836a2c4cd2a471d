//! What is proposed and not yet applied: transactions see it, readers do not.

use std::collections::HashMap;

use super::Stored;
use crate::log::{Op, OpKind};
use crate::row::StoredRow;

/// The latest proposal for each key, with the frame's number so that applying an older one keeps a newer.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    rows: HashMap<(u64, u32, u32), (u64, StoredRow)>,
    values: HashMap<u64, HashMap<Vec<u8>, PendingValue>>,
}

type PendingValue = (u64, Option<Vec<u8>>);

impl Pending {
    pub(crate) fn propose(&mut self, number: u64, op: &Op) {
        match &op.kind {
            OpKind::Row(row) => {
                let (collection, item) = row.key();
                self.rows.insert((op.account, collection, item), (number, *row));
            }
            OpKind::Value { key, value } => {
                let values = self.values.entry(op.account).or_default();
                values.insert(key.clone(), (number, value.clone()));
            }
        }
    }

    pub(crate) fn applied(&mut self, number: u64, op: &Op) {
        match &op.kind {
            OpKind::Row(row) => {
                let (collection, item) = row.key();
                let key = (op.account, collection, item);
                if self.rows.get(&key).is_some_and(|(proposed, _)| *proposed == number) {
                    self.rows.remove(&key);
                }
            }
            OpKind::Value { key, .. } => {
                let Some(values) = self.values.get_mut(&op.account) else { return };
                if values.get(key).is_some_and(|(proposed, _)| *proposed == number) {
                    values.remove(key);
                }
                if values.is_empty() {
                    self.values.remove(&op.account);
                }
            }
        }
    }

    pub(crate) fn row(&self, account: u64, collection: u32, item: u32) -> Option<&StoredRow> {
        self.rows.get(&(account, collection, item)).map(|(_, row)| row)
    }

    /// What is proposed for a key; none when nothing is.
    pub(crate) fn value(&self, account: u64, key: &[u8]) -> Option<Stored<'_>> {
        self.values.get(&account)?.get(key).map(|(_, value)| Stored::new(value.as_deref()))
    }
}
