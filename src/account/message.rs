//! Messages as others see them, and their row in the index.

use std::sync::Arc;

use base::{ChangeNumber, MailboxId, MessageId, Timestamp, Uid};
use storage_engine::{BodyRef, ROW_DATA_BYTES, Row};

use crate::{Flags, Keywords};

/// Where a message's bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Body(pub(crate) BodyRef);

impl Body {
    /// Bytes that are read for its summary, [`Content::summary`].
    pub const fn summary_bytes(&self) -> u32 {
        self.0.meta_length
    }
}

/// A message in a mailbox: its properties and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// Its last change (MODSEQ).
    pub change: ChangeNumber,
    /// System flags.
    pub flags: Flags,
    /// Keywords, by their place in the account's table.
    pub keywords: Keywords,
    /// INTERNALDATE (RFC 9051 §2.3.3), whole seconds.
    pub received: Timestamp,
    /// When it came into this mailbox (RFC 8514 SAVEDATE), whole seconds.
    pub saved: Timestamp,
    /// The same for every copy of it in the account (RFC 8474 EMAILID).
    pub id: MessageId,
    /// Bytes of the message, RFC822.SIZE.
    pub size: u32,
    /// For [`crate::Account::body`].
    pub body: Body,
}

/// One step of "what changed after N".
#[derive(Clone, Copy, Debug)]
pub enum MessageChange {
    /// New in the mailbox, or its flags changed.
    Updated(Message),
    /// Gone from the mailbox, with the change number of its going.
    Vanished(Uid, ChangeNumber),
}

/// A message's bytes on their way into the store.
#[derive(Clone, Debug)]
pub struct Content {
    /// The bytes, stored as they are.
    pub data: Arc<Vec<u8>>,
    /// Stored in front of them, so that a listing need not read and parse them
    /// (`docs/formats/summary.md`); empty for none.
    pub summary: Vec<u8>,
}

impl From<Arc<Vec<u8>>> for Content {
    /// Without a summary.
    fn from(data: Arc<Vec<u8>>) -> Self {
        Self { data, summary: Vec::new() }
    }
}

impl From<Vec<u8>> for Content {
    /// Without a summary.
    fn from(data: Vec<u8>) -> Self {
        Arc::new(data).into()
    }
}

/// A message to be put into a mailbox.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its bytes.
    pub content: Content,
    /// System flags it starts with.
    pub flags: Flags,
    /// Keywords it starts with.
    pub keywords: Vec<String>,
    /// INTERNALDATE.
    pub received: Timestamp,
}

/// What a row's 40 bytes hold, little-endian:
/// flags u16, 2 zero bytes, saved u32 (s since 1970), keywords u64, received i64 (s since 1970),
/// message id u64, 8 zero bytes (kept for the thread). `docs/formats/disk.md`, "Mail rows".
pub(crate) struct RowData {
    pub(crate) flags: Flags,
    pub(crate) saved_s: u32,
    pub(crate) keywords: Keywords,
    pub(crate) received_s: i64,
    pub(crate) id: MessageId,
}

impl RowData {
    pub(crate) fn encode(&self) -> [u8; ROW_DATA_BYTES] {
        let mut out = [0; ROW_DATA_BYTES];
        out[0..2].copy_from_slice(&self.flags.bits().to_le_bytes());
        out[4..8].copy_from_slice(&self.saved_s.to_le_bytes());
        out[8..16].copy_from_slice(&self.keywords.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.received_s.to_le_bytes());
        out[24..32].copy_from_slice(&self.id.0.to_le_bytes());
        out
    }

    pub(crate) fn decode(data: &[u8; ROW_DATA_BYTES]) -> Self {
        let part = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&data[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let first = part(0);
        Self {
            flags: Flags::from_bits(first as u16),
            saved_s: (first >> 32) as u32,
            keywords: Keywords(part(8)),
            received_s: part(16).cast_signed(),
            id: MessageId(part(24)),
        }
    }
}

impl Message {
    pub(crate) fn from_row(row: &Row) -> Self {
        let data = RowData::decode(&row.data);
        Self {
            uid: Uid(row.item),
            change: ChangeNumber(row.change),
            flags: data.flags,
            keywords: data.keywords,
            received: Timestamp::from_s(data.received_s),
            saved: Timestamp::from_s(i64::from(data.saved_s)),
            id: data.id,
            size: row.body.length,
            body: Body(row.body),
        }
    }

    pub(crate) fn row_data(&self) -> RowData {
        RowData {
            flags: self.flags,
            saved_s: u32::try_from(self.saved.as_s()).unwrap_or(0),
            keywords: self.keywords,
            received_s: self.received.as_s(),
            id: self.id,
        }
    }
}

/// Which mailbox a row belongs to.
pub(crate) fn mailbox_of(row: &Row) -> MailboxId {
    MailboxId(row.collection)
}
