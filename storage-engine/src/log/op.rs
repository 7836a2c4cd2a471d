//! What a transaction does, in memory and in a frame (disk.md, "Ops").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::VALUE_BYTES_MAX;
use crate::row::StoredRow;

/// One change to one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) account: u64,
    /// The account's change number in this transaction.
    pub(crate) change: u64,
    pub(crate) kind: OpKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    /// A row, or its tombstone.
    Row(StoredRow),
    /// A value, or none for its deletion.
    Value { key: Vec<u8>, value: Option<Vec<u8>> },
}

impl Op {
    /// Bytes of the body, and its meta block, that a deleted row had.
    pub(crate) fn dead_body_bytes(&self) -> u64 {
        match &self.kind {
            OpKind::Row(row) if !row.is_live() => row.row().body.bytes(),
            _ => 0,
        }
    }
}

const ACCOUNT: u8 = 1;
const ROW: u8 = 2;
const PUT_VALUE: u8 = 3;
const DELETE_VALUE: u8 = 4;

/// disk.md, "Ops": what stands before each.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct OpHeader {
    kind: u8,
    key_length: u8,
    zero: [u8; 2],
    /// Little-endian; bytes of the payload without the key.
    length: [u8; 4],
}

const HEADER_BYTES: usize = size_of::<OpHeader>();
const ACCOUNT_BYTES: usize = 16;
const ROW_BYTES: usize = size_of::<StoredRow>();
const _: () = assert!(HEADER_BYTES == 8);

/// Bytes the ops take in a frame.
pub(crate) fn ops_bytes(ops: &[Op]) -> usize {
    let mut account = None;
    let mut bytes = 0;
    for op in ops {
        if account.replace(op.account) != Some(op.account) {
            bytes += HEADER_BYTES + ACCOUNT_BYTES;
        }
        bytes += HEADER_BYTES;
        bytes += match &op.kind {
            OpKind::Row(_) => ROW_BYTES,
            OpKind::Value { key, value } => key.len() + value.as_ref().map_or(0, Vec::len),
        };
    }
    bytes
}

/// Writes the ops into exactly `ops_bytes` bytes.
pub(super) fn encode_ops(ops: &[Op], out: &mut [u8]) {
    let mut account = None;
    let mut out = Filler { rest: out };
    for op in ops {
        if account.replace(op.account) != Some(op.account) {
            out.put_header(ACCOUNT, 0, ACCOUNT_BYTES);
            out.put(&op.account.to_le_bytes());
            out.put(&op.change.to_le_bytes());
        }
        match &op.kind {
            OpKind::Row(row) => {
                out.put_header(ROW, 0, ROW_BYTES);
                out.put(row.as_bytes());
            }
            OpKind::Value { key, value } => {
                let kind = if value.is_some() { PUT_VALUE } else { DELETE_VALUE };
                let value = value.as_deref().unwrap_or_default();
                out.put_header(kind, key.len(), value.len());
                out.put(key);
                out.put(value);
            }
        }
    }
    assert!(out.rest.is_empty(), "the ops fill what was counted for them");
}

/// Bytes that are filled from the front.
struct Filler<'a> {
    rest: &'a mut [u8],
}

impl Filler<'_> {
    fn put_header(&mut self, kind: u8, key_length: usize, length: usize) {
        let length = (length as u32).to_le_bytes();
        self.put(OpHeader { kind, key_length: key_length as u8, zero: [0; 2], length }.as_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.rest = rest;
    }
}

/// Reads the ops of a frame; none when they are not well-formed.
pub(crate) fn parse_ops(mut bytes: &[u8]) -> Option<Vec<Op>> {
    let mut ops = Vec::new();
    let mut account = None;
    while !bytes.is_empty() {
        let (header, rest) = OpHeader::read_from_prefix(bytes).ok()?;
        let length = u32::from_le_bytes(header.length) as usize;
        let (key, rest) = rest.split_at_checked(header.key_length as usize)?;
        let (payload, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        if header.kind == ACCOUNT {
            let (id, change) = payload.split_at_checked(8)?;
            let (id, change) = (id.try_into().ok()?, change.try_into().ok()?);
            account = Some((u64::from_le_bytes(id), u64::from_le_bytes(change)));
            continue;
        }
        let (account, change) = account?;
        ops.push(Op { account, change, kind: parse_kind(header.kind, key, payload)? });
    }
    Some(ops)
}

fn parse_kind(kind: u8, key: &[u8], payload: &[u8]) -> Option<OpKind> {
    match kind {
        ROW => Some(OpKind::Row(StoredRow::read_from_bytes(payload).ok()?)),
        PUT_VALUE if payload.len() <= VALUE_BYTES_MAX => {
            Some(OpKind::Value { key: key.to_vec(), value: Some(payload.to_vec()) })
        }
        DELETE_VALUE if payload.is_empty() => Some(OpKind::Value { key: key.to_vec(), value: None }),
        _ => None,
    }
}
