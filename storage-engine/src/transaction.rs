//! Building a transaction: without waiting, against the applied state and everything proposed before it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::commit::Commit;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::{KEY_BYTES_MAX, ROW_DATA_BYTES, VALUE_BYTES_MAX};
use crate::log::{Op, OpKind};
use crate::row::{BodyRef, Row, StoredRow, seal_meta};

/// A body on its way in: cheap to clone and to send. Wire-ready bytes.
pub type Body = Arc<Vec<u8>>;

/// A body added to a transaction, to be named by its rows. Means nothing to any other transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBody(u32);

/// The journal of a body that has no place yet; its offset then says which of the transaction's it is.
const UNPLACED: u16 = u16::MAX;

/// What a row's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowBody {
    /// None.
    None,
    /// A body of this transaction.
    New(NewBody),
    /// A body that is in the store already.
    Stored(BodyRef),
}

/// Changes that become durable and visible together or not at all.
///
/// Built without waiting, one at a time for an account: another transaction of the same account that is proposed
/// between the first write and `commit` is a bug, and asserted against.
#[derive(Debug)]
pub struct Transaction {
    pub(crate) engine: Engine,
    pub(crate) partition: u16,
    pub(crate) ops: Vec<Op>,
    /// For each op, the body its row is to name.
    pub(crate) links: Vec<Option<NewBody>>,
    pub(crate) bodies: Vec<(Vec<u8>, Body)>,
    /// Without their places, which `commit` knows.
    pub(crate) body_refs: Vec<BodyRef>,
    pub(crate) changes: Vec<(u64, u64)>,
    rows: HashMap<(u64, u32, u32), usize>,
    values: HashMap<(u64, Vec<u8>), usize>,
    pub(crate) is_too_large: bool,
}

impl Transaction {
    pub(crate) fn new(engine: Engine, partition: u16) -> Self {
        Self {
            engine,
            partition,
            ops: Vec::new(),
            links: Vec::new(),
            bodies: Vec::new(),
            body_refs: Vec::new(),
            changes: Vec::new(),
            rows: HashMap::new(),
            values: HashMap::new(),
            is_too_large: false,
        }
    }

    /// The live row with everything proposed before and this transaction's own writes. The body of a row written
    /// here with a new body has its lengths and checksum but no place yet: it can be put into other rows of this
    /// transaction, and means nothing elsewhere.
    pub fn row(&self, account: u64, collection: u32, item: u32) -> Option<Row> {
        if let Some(index) = self.rows.get(&(account, collection, item))
            && let OpKind::Row(row) = &self.ops[*index].kind
        {
            return row.live_row().copied();
        }
        self.engine.proposed_row(self.partition, account, collection, item)
    }

    /// The value with everything proposed before and this transaction's own writes.
    pub fn value(&self, account: u64, key: &[u8]) -> Option<Vec<u8>> {
        if !self.values.is_empty()
            && let Some(index) = self.values.get(&(account, key.to_vec()))
            && let OpKind::Value { value, .. } = &self.ops[*index].kind
        {
            return value.clone();
        }
        self.engine.proposed_value(self.partition, account, key)
    }

    /// The change number this transaction has for that account: the next after all proposed ones. One for an
    /// account and transaction; not used up unless something of the account is written.
    pub fn change(&mut self, account: u64) -> u64 {
        if let Some((_, change)) = self.changes.iter().find(|(other, _)| *other == account) {
            return *change;
        }
        let change = self.engine.highest_proposed(self.partition, account) + 1;
        self.changes.push((account, change));
        change
    }

    /// Adds a body with the small block stored in front of it. Stored once, whatever the number of rows that
    /// name it. Costs one checksum over it.
    pub fn add_body(&mut self, mut meta: Vec<u8>, body: Body) -> NewBody {
        let meta_crc = seal_meta(&mut meta);
        self.body_refs.push(BodyRef {
            journal: UNPLACED,
            offset: self.body_refs.len() as u32,
            meta_length: meta.len() as u32,
            length: body.len() as u32,
            crc: crc32c::crc32c(&body),
            meta_crc,
            ..BodyRef::NONE
        });
        self.bodies.push((meta, body));
        NewBody(self.body_refs.len() as u32 - 1)
    }

    /// Puts a row at this transaction's change number.
    pub fn put_row(
        &mut self,
        account: u64,
        collection: u32,
        item: u32,
        body: RowBody,
        data: [u8; ROW_DATA_BYTES],
    ) {
        let (body, link) = match body {
            RowBody::None => (BodyRef::NONE, None),
            RowBody::Stored(body) if body.journal == UNPLACED => (body, Some(NewBody(body.offset))),
            RowBody::Stored(body) => (body, None),
            RowBody::New(new) => (self.body_refs[new.0 as usize], Some(new)),
        };
        let change = self.change(account);
        self.write_row(account, StoredRow::live(Row { collection, item, change, body, data }), link);
    }

    /// Deletes a live row; leaves a tombstone at this transaction's change number. Nothing when there is none.
    pub fn delete_row(&mut self, account: u64, collection: u32, item: u32) {
        let Some(mut row) = self.row(account, collection, item) else { return };
        let link = self.rows.get(&(account, collection, item)).and_then(|index| self.links[*index]);
        row.change = self.change(account);
        self.write_row(account, StoredRow::tombstone(row), link);
    }

    /// Puts a value. The key has at most 255 bytes and the value at most 1 MiB; else `commit` says `TooLarge`.
    pub fn put_value(&mut self, account: u64, key: &[u8], value: &[u8]) {
        self.write_value(account, key, Some(value.to_vec()));
    }

    /// Deletes a value. Nothing when there is none.
    pub fn delete_value(&mut self, account: u64, key: &[u8]) {
        if self.value(account, key).is_some() {
            self.write_value(account, key, None);
        }
    }

    /// True when nothing was written.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Proposes the transaction: the order of these calls is the order of apply and of acknowledgement. The future
    /// resolves when it is durable and applied; dropping the future does not undo the commit. Costs one copy into
    /// the batch, and a share of the batch's one write and one flush.
    pub fn commit(self) -> Commit {
        if self.is_too_large {
            return Commit::ready(Err(Error::TooLarge));
        }
        self.engine.clone().propose(self)
    }

    /// Gives rows with new bodies their places: bodies stand one after the other from `place` on.
    pub(crate) fn place_bodies(&mut self, journal: u16, segment: u32, mut offset: u32) {
        for body in &mut self.body_refs {
            body.journal = journal;
            body.segment = segment;
            body.offset = offset;
            offset += body.meta_length + body.length;
        }
        for (op, link) in self.ops.iter_mut().zip(&self.links) {
            let (OpKind::Row(stored), Some(link)) = (&mut op.kind, link) else { continue };
            let row = Row { body: self.body_refs[link.0 as usize], ..stored.row() };
            *stored = if stored.is_live() { StoredRow::live(row) } else { StoredRow::tombstone(row) };
        }
    }

    /// Bytes of all bodies with their meta blocks.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bodies.iter().map(|(meta, body)| meta.len() + body.len()).sum()
    }

    fn write_row(&mut self, account: u64, row: StoredRow, link: Option<NewBody>) {
        let change = row.change();
        let (collection, item) = row.key();
        let op = Op { account, change, kind: OpKind::Row(row) };
        let index = *self.rows.entry((account, collection, item)).or_insert(self.ops.len());
        self.write(index, op, link);
    }

    fn write_value(&mut self, account: u64, key: &[u8], value: Option<Vec<u8>>) {
        let length = value.as_ref().map_or(0, Vec::len);
        if key.len() > KEY_BYTES_MAX || length > VALUE_BYTES_MAX {
            self.is_too_large = true;
            return;
        }
        let change = self.change(account);
        let op = Op { account, change, kind: OpKind::Value { key: key.to_vec(), value } };
        let index = *self.values.entry((account, key.to_vec())).or_insert(self.ops.len());
        self.write(index, op, None);
    }

    /// The last write of a key counts.
    fn write(&mut self, index: usize, op: Op, link: Option<NewBody>) {
        if index < self.ops.len() {
            self.ops[index] = op;
            self.links[index] = link;
            return;
        }
        self.ops.push(op);
        self.links.push(link);
    }
}
