//! What is stored of an item: a fixed-size row and a reference to its body (disk.md, "Row" and "BodyRef").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::ROW_DATA_BYTES;

// Structs are read in place from mapped files; the format is little-endian.
const _: () = assert!(cfg!(target_endian = "little"), "the format is read in place and is little-endian");

/// Where a body is: a journal, a segment of it, and a range in that. Stays true for as long as a row names it.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct BodyRef {
    /// The segment's number; 0 when there is no body.
    pub segment: u32,
    /// Where the meta block starts in the segment, bytes; the body follows it.
    pub offset: u32,
    /// Bytes of the meta block and its checksum; 0 when there is none.
    pub meta_length: u32,
    /// Bytes of the body.
    pub length: u32,
    /// CRC-32C of the body.
    pub crc: u32,
    /// The journal, that is, the shard that wrote it.
    pub journal: u16,
    /// The low half of the CRC-32C of the meta block: that the block is this body's.
    pub meta_crc: u16,
}

const _: () = assert!(size_of::<BodyRef>() == 24);

/// Bytes of the checksum behind a meta block.
const META_CRC_BYTES: usize = 4;

/// Puts its checksum behind a meta block that has any bytes; the low half of it, for the row.
pub(crate) fn seal_meta(meta: &mut Vec<u8>) -> u16 {
    let crc = crc32c::crc32c(meta);
    if !meta.is_empty() {
        meta.extend_from_slice(&crc.to_le_bytes());
    }
    crc as u16
}

impl BodyRef {
    /// No body.
    pub const NONE: Self =
        Self { segment: 0, offset: 0, meta_length: 0, length: 0, crc: 0, journal: 0, meta_crc: 0 };

    /// True for a row without a body.
    pub const fn is_none(&self) -> bool {
        self.segment == 0 && self.journal == 0
    }

    /// The meta block without its checksum. None when what was read is not what was written, or is another body's.
    pub(crate) fn open_meta<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        if stored.is_empty() {
            return (self.meta_length == 0).then_some(stored);
        }
        let (meta, written) = stored.split_last_chunk::<META_CRC_BYTES>()?;
        let crc = crc32c::crc32c(meta);
        (crc.to_le_bytes() == *written && crc as u16 == self.meta_crc).then_some(meta)
    }

    /// Bytes of the body and its meta block.
    pub const fn bytes(&self) -> u64 {
        self.meta_length as u64 + self.length as u64
    }
}

/// One item of one collection, as of its latest change.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Row {
    /// The collection within the account.
    pub collection: u32,
    /// The item within the collection.
    pub item: u32,
    /// The account's change number at which the row became what it is.
    pub change: u64,
    /// The content.
    pub body: BodyRef,
    /// The caller's bytes.
    pub data: [u8; ROW_DATA_BYTES],
}

const _: () = assert!(size_of::<Row>() == 80);

/// A row at its latest change, with the answer to whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row; of a deleted one the last body and data, and the change number of the deletion.
    pub row: Row,
    /// False for a tombstone.
    pub live: bool,
}

/// The bit of a stored row's change number that says the row is deleted.
const DELETED: u64 = 1 << 63;

/// A row as it stands in frames and runs: the top bit of the change number marks a tombstone (disk.md, "Row").
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct StoredRow(Row);

impl StoredRow {
    pub(crate) const fn live(row: Row) -> Self {
        Self(row)
    }

    pub(crate) const fn tombstone(mut row: Row) -> Self {
        row.change |= DELETED;
        Self(row)
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.0.change & DELETED == 0
    }

    pub(crate) const fn change(&self) -> u64 {
        self.0.change & !DELETED
    }

    /// Collection and item: a row's place within its account.
    pub(crate) const fn key(&self) -> (u32, u32) {
        (self.0.collection, self.0.item)
    }

    pub(crate) const fn row(&self) -> Row {
        let mut row = self.0;
        row.change &= !DELETED;
        row
    }

    /// Rows of live items are the same in both forms, so whole stretches can be copied.
    pub(crate) fn live_row(&self) -> Option<&Row> {
        self.is_live().then_some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(meta: &[u8]) -> (Vec<u8>, BodyRef) {
        let mut stored = meta.to_vec();
        let meta_crc = seal_meta(&mut stored);
        let body = BodyRef { segment: 1, meta_length: stored.len() as u32, meta_crc, ..BodyRef::NONE };
        (stored, body)
    }

    #[test]
    fn no_flipped_bit_and_no_change_of_two_bytes_passes_for_a_meta_block() {
        let (stored, body) = sealed(b"a summary of a message");
        assert_eq!(body.open_meta(&stored), Some(&b"a summary of a message"[..]));
        for bit in 0..stored.len() * 8 {
            let mut rotten = stored.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(body.open_meta(&rotten), None, "bit {bit}");
        }
        let mut passed_the_half = 0;
        for (first, second) in [(0, 1), (3, 17), (10, 11), (20, 22), (23, 25)] {
            for change in 1..=u16::MAX {
                let mut rotten = stored.clone();
                let [low, high] = change.to_le_bytes();
                rotten[first] ^= low;
                rotten[second] ^= high;
                assert_eq!(body.open_meta(&rotten), None, "{change} at {first} and {second}");
                let crc = crc32c::crc32c(&rotten[..rotten.len() - 4]);
                passed_the_half += u32::from(crc as u16 == body.meta_crc && second < 22);
            }
        }
        assert!(passed_the_half > 0, "the 16 bits of the row alone let some pass");
    }

    #[test]
    fn a_meta_block_of_another_body_or_of_zeroes_does_not_pass() {
        let (stored, body) = sealed(b"one");
        let (other, _) = sealed(b"two");
        for wrong in [&other[..], &[0; 7], &stored[..6], &stored[..3], &[]] {
            assert_eq!(body.open_meta(wrong), None);
        }
        let (nothing, none) = sealed(b"");
        assert_eq!((nothing.len(), none.open_meta(&[])), (0, Some(&[][..])));
    }
}
