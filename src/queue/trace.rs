//! What is kept of an entry when it has gone: from whom, to whom, what was tried and what became of it.

use base::Timestamp;
use storage_engine::{BodyRef, ROW_DATA_BYTES, Row};

use crate::codec::{Reader, Writer};
use crate::entry::seconds;
use crate::{Destination, Envelope, Progress};

const VERSION: u8 = 1;

/// One entry's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When it ended; `None` while the entry waits.
    pub ended: Option<Timestamp>,
    /// Bytes of the content.
    pub size: u32,
    /// Whose entry it was: the recipients of this group.
    pub group: Destination,
    /// The message's envelope.
    pub envelope: Envelope,
    /// What was tried.
    pub progress: Progress,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceFilter {
    /// The transaction's id.
    Id(u64),
    /// The address of the sender or a recipient, in any case.
    Address(String),
    /// The Message-ID, with or without its angle brackets.
    MessageId(String),
}

impl TraceFilter {
    /// Whether a story is meant.
    pub fn matches(&self, envelope: &Envelope) -> bool {
        match self {
            Self::Id(id) => envelope.id == *id,
            Self::Address(address) => {
                let is_it = |other: &str| other.eq_ignore_ascii_case(address);
                envelope.sender.as_deref().is_some_and(is_it)
                    || envelope.recipients.iter().any(|recipient| is_it(&recipient.address))
            }
            Self::MessageId(id) => {
                envelope.origin.message_id.as_deref().is_some_and(|other| bare(other) == bare(id))
            }
        }
    }

    /// Whether the row of a trace does not rule it out: most are not read for that.
    pub(crate) fn may_match(&self, mark: &Mark) -> bool {
        match self {
            Self::Id(id) => mark.id == *id,
            Self::Address(address) => mark.addresses & bit(address) != 0,
            Self::MessageId(id) => mark.message_id == short(bare(id)),
        }
    }
}

fn bare(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

/// One of 64 bits for an address.
fn bit(address: &str) -> u64 {
    1 << (Destination::of(address).0 % 64)
}

fn short(text: &str) -> u32 {
    (Destination::of(text).0 >> 32) as u32
}

/// What the row of a trace says, little-endian: id u64, ended u32 (seconds since 1970), the Message-ID's mark u32, the
/// addresses' bits u64, 16 zero bytes. `docs/formats/queue.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) id: u64,
    pub(crate) ended_s: u32,
    message_id: u32,
    addresses: u64,
}

impl Mark {
    pub(crate) fn of(envelope: &Envelope, ended: Timestamp) -> Self {
        let addresses = envelope.recipients.iter().map(|recipient| recipient.address.as_str());
        let addresses =
            addresses.chain(envelope.sender.as_deref()).fold(0, |bits, address| bits | bit(address));
        let message_id = envelope.origin.message_id.as_deref().map_or(0, |id| short(bare(id)));
        Self { id: envelope.id, ended_s: seconds(ended), message_id, addresses }
    }

    pub(crate) fn row_data(self) -> [u8; ROW_DATA_BYTES] {
        let mut out = [0; ROW_DATA_BYTES];
        out[0..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..12].copy_from_slice(&self.ended_s.to_le_bytes());
        out[12..16].copy_from_slice(&self.message_id.to_le_bytes());
        out[16..24].copy_from_slice(&self.addresses.to_le_bytes());
        out
    }

    pub(crate) fn of_row(row: &Row) -> Self {
        let long = |at: usize| u64::from_le_bytes(row.data[at..at + 8].try_into().expect("eight bytes"));
        Self { id: long(0), ended_s: long(8) as u32, message_id: (long(8) >> 32) as u32, addresses: long(16) }
    }
}

/// A trace that was found, and where the rest of it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) ended_s: u32,
    pub(crate) body: BodyRef,
}

impl Trace {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let envelope = self.envelope.encode();
        let mut out = Writer::new(VERSION);
        out.time(self.ended.unwrap_or(Timestamp::NEVER)).u32(self.size).u64(self.group.0);
        out.bytes(&envelope);
        self.progress.write(&mut out);
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let ended = Some(from.time()?).filter(|ended| *ended != Timestamp::NEVER);
        let (size, group) = (from.u32()?, Destination(from.u64()?));
        let envelope = Envelope::decode(from.bytes()?)?;
        let progress = Progress::read(&mut from)?;
        Some(Self { ended, size, group, envelope, progress })
    }
}
