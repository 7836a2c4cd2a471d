//! An entry: one message for one destination, as a row of the queue's account.

use base::{PartitionId, Timestamp};
use storage_engine::{BodyRef, ROW_DATA_BYTES, Row};

use crate::Destination;

/// Names an entry for as long as it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Whose queue it is in.
    pub partition: PartitionId,
    /// Its place there, used again when it has gone.
    pub item: u32,
}

/// What the row of an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the row's flags, each independent of the others")]
pub struct Entry {
    /// Its name.
    pub ticket: Ticket,
    /// The message's id.
    pub id: u64,
    /// Where it goes.
    pub destination: Destination,
    /// Which of the envelope's recipients it is for: those of this group.
    pub group: Destination,
    /// When it is to be tried, whole seconds.
    pub due: Timestamp,
    /// When it was queued, or could first go, whole seconds.
    pub queued: Timestamp,
    /// When it is given up, whole seconds.
    pub expires: Timestamp,
    /// Times it was tried.
    pub attempts: u16,
    /// Higher goes first (RFC 6710 §4: -9 to 9).
    pub priority: i8,
    /// Not tried until an operator releases it.
    pub is_held: bool,
    /// The sender has been told that it is late.
    pub is_late: bool,
    /// Its envelope says when the sender is to be told that it is late ([`crate::Terms::late_at`]).
    pub is_timed: bool,
    /// Its envelope says who has to approve it, and nobody has decided yet.
    pub is_moderated: bool,
    /// Those have been asked.
    pub is_asked: bool,
    /// Bytes of the content.
    pub size: u32,
    pub(crate) body: BodyRef,
}

const HELD: u8 = 1;
const LATE: u8 = 2;
const TIMED: u8 = 4;
const MODERATED: u8 = 8;
const ASKED: u8 = 16;

impl Entry {
    /// The same, due at another time.
    #[must_use]
    pub fn due_at(self, due: Timestamp) -> Self {
        Self { due, ..self }
    }

    /// Whether it is given up when it is due, and not tried.
    pub fn ends_when_due(&self) -> bool {
        self.due >= self.expires
    }

    /// What a row's 40 bytes hold, little-endian: id u64, destination u64, due u32, queued u32, expires u32 (seconds
    /// since 1970), attempts u16, priority i8, flags u8, group u64. `docs/formats/queue.md`.
    pub(crate) fn row_data(&self) -> [u8; ROW_DATA_BYTES] {
        let mut out = [0; ROW_DATA_BYTES];
        out[0..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..16].copy_from_slice(&self.destination.0.to_le_bytes());
        out[16..20].copy_from_slice(&seconds(self.due).to_le_bytes());
        out[20..24].copy_from_slice(&seconds(self.queued).to_le_bytes());
        out[24..28].copy_from_slice(&seconds(self.expires).to_le_bytes());
        out[28..30].copy_from_slice(&self.attempts.to_le_bytes());
        out[30] = self.priority.cast_unsigned();
        let flags = [
            (self.is_held, HELD),
            (self.is_late, LATE),
            (self.is_timed, TIMED),
            (self.is_moderated, MODERATED),
            (self.is_asked, ASKED),
        ];
        out[31] = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        out[32..40].copy_from_slice(&self.group.0.to_le_bytes());
        out
    }

    pub(crate) fn of_row(partition: PartitionId, row: &Row) -> Self {
        let data = &row.data;
        let long = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"));
        let time = |at: usize| {
            Timestamp::from_s(u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes")).into())
        };
        Self {
            ticket: Ticket { partition, item: row.item },
            id: long(0),
            destination: Destination(long(8)),
            group: Destination(long(32)),
            due: time(16),
            queued: time(20),
            expires: time(24),
            attempts: u16::from_le_bytes([data[28], data[29]]),
            priority: data[30].cast_signed(),
            is_held: data[31] & HELD != 0,
            is_late: data[31] & LATE != 0,
            is_timed: data[31] & TIMED != 0,
            is_moderated: data[31] & MODERATED != 0,
            is_asked: data[31] & ASKED != 0,
            size: row.body.length,
            body: row.body,
        }
    }
}

/// Seconds since 1970, until 2106.
pub(crate) fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_s().max(0)).unwrap_or(u32::MAX)
}
