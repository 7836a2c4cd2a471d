//! A frame: one transaction in the journal, atomic by its one checksum (disk.md, "Frame").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Position;
use super::batch::Planned;
use super::op::encode_ops;

/// disk.md, "Frame".
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct FrameHeader {
    magic: [u8; 4],
    /// CRC-32C of the store's id, the journal's number, and the frame from byte 8 to its end.
    crc: u32,
    /// Bytes of header, ops and bodies.
    length: u32,
    op_bytes: u32,
    segment: u32,
    offset: u32,
    generation: u32,
    partition: u16,
    kind: u8,
    version: u8,
    number: u64,
    sequence: u64,
    watermark: u64,
    previous: u64,
}

pub(crate) const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
const _: () = assert!(FRAME_HEADER_BYTES == 64);

const MAGIC: [u8; 4] = *b"AngF";
const KIND_TRANSACTION: u8 = 1;
const VERSION: u8 = 1;
/// Where the checksummed part begins.
const CRC_FROM: usize = 8;

/// What all frames of a batch share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameContext {
    /// From `checksum_seed`.
    pub(crate) seed: u32,
    pub(crate) segment: u32,
    pub(crate) generation: u32,
    pub(crate) watermark: Position,
}

/// A frame that was found whole and where it says it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) ops: &'a [u8],
}

/// The checksum of what a frame does not repeat: a frame of another store or journal is never valid here.
pub(crate) fn checksum_seed(store: &[u8; 16], journal: u16) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(store), &journal.to_le_bytes())
}

/// Bytes of a frame with its ops and bodies, without the padding to 8.
pub(crate) const fn frame_bytes(op_bytes: usize, body_bytes: usize) -> usize {
    FRAME_HEADER_BYTES + op_bytes + body_bytes
}

/// Writes a planned frame to the start of `out`.
pub(crate) fn encode(planned: &Planned, context: &FrameContext, out: &mut [u8]) {
    let (frame, _) = out.split_at_mut(planned.length as usize);
    let (ops, mut bodies) = frame[FRAME_HEADER_BYTES..].split_at_mut(planned.op_bytes as usize);
    encode_ops(&planned.ops, ops);
    for (meta, body) in &planned.bodies {
        for part in [meta, body.as_ref()] {
            let (head, rest) = bodies.split_at_mut(part.len());
            head.copy_from_slice(part);
            bodies = rest;
        }
    }
    let header = FrameHeader {
        magic: MAGIC,
        crc: 0,
        length: planned.length,
        op_bytes: planned.op_bytes,
        segment: context.segment,
        offset: planned.position.offset(),
        generation: context.generation,
        partition: planned.partition,
        kind: KIND_TRANSACTION,
        version: VERSION,
        number: planned.number,
        sequence: planned.sequence,
        watermark: context.watermark.0,
        previous: planned.previous.0,
    };
    frame[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
    let crc = crc32c::crc32c_append(context.seed, &frame[CRC_FROM..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The header at `position`, when one of a frame that says it is here stands there. `bytes` is the segment, whose first
/// byte here is the segment's byte `base`.
pub(super) fn parse_header(bytes: &[u8], base: u32, position: Position) -> Option<FrameHeader> {
    let start = position.offset().checked_sub(base)? as usize;
    let (header, _) = FrameHeader::read_from_prefix(bytes.get(start..)?).ok()?;
    let is_here = header.segment == position.segment() && header.offset == position.offset();
    let is_known = header.magic == MAGIC && header.version == VERSION && header.kind == KIND_TRANSACTION;
    (is_here && is_known).then_some(header)
}

/// The frame of a header that was found in `bytes`, when it is whole there and has a right checksum.
pub(super) fn parse(bytes: &[u8], base: u32, header: FrameHeader, seed: u32) -> Option<Frame<'_>> {
    let start = header.offset.checked_sub(base)? as usize;
    let frame = bytes.get(start..start.checked_add(header.length())?)?;
    let crc = crc32c::crc32c_append(seed, frame.get(CRC_FROM..)?);
    if crc != header.crc {
        return None;
    }
    Frame::again(bytes, base, header)
}

impl<'a> Frame<'a> {
    /// A frame that was found whole before, in the same bytes.
    pub(super) fn again(bytes: &'a [u8], base: u32, header: FrameHeader) -> Option<Self> {
        let start = header.offset.checked_sub(base)? as usize;
        let frame = bytes.get(start..start.checked_add(header.length())?)?;
        let ops = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(header.op_bytes as usize)?)?;
        Some(Self { header, ops })
    }
}

impl FrameHeader {
    /// Bytes of the frame, without the padding to 8.
    pub(super) const fn length(&self) -> usize {
        self.length as usize
    }

    pub(crate) const fn partition(&self) -> u16 {
        self.partition
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) const fn watermark(&self) -> Position {
        Position(self.watermark)
    }

    pub(crate) const fn previous(&self) -> Position {
        Position(self.previous)
    }

    pub(crate) const fn position(&self) -> Position {
        Position::new(self.segment, self.offset)
    }

    /// The first byte behind the frame, padded to 8.
    pub(crate) const fn end(&self) -> Position {
        Position::new(self.segment, self.offset + self.length.next_multiple_of(8))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commit::Slot;
    use crate::log::{Op, OpKind, ops_bytes, parse_ops};
    use crate::row::{BodyRef, Row, StoredRow};

    fn ops() -> Vec<Op> {
        let row = Row { collection: 1, item: 2, change: 3, body: BodyRef::NONE, data: [4; 40] };
        let value = |value| OpKind::Value { key: b"key".to_vec(), value };
        vec![
            Op { account: 9, change: 3, kind: OpKind::Row(StoredRow::live(row)) },
            Op { account: 9, change: 3, kind: OpKind::Row(StoredRow::tombstone(row)) },
            Op { account: 8, change: 1, kind: value(Some(b"value".to_vec())) },
            Op { account: 8, change: 1, kind: value(None) },
            Op { account: 9, change: 3, kind: value(Some(Vec::new())) },
        ]
    }

    fn frame() -> (Vec<u8>, Position) {
        let position = Position::new(7, 4096);
        (frame_at(position, b"body".to_vec()), position)
    }

    /// A frame as it is written, with a body, under a seed of 1.
    pub(in crate::log) fn frame_at(position: Position, body: Vec<u8>) -> Vec<u8> {
        let op_bytes = ops_bytes(&ops());
        let planned = Planned {
            partition: 5,
            sequence: 11,
            number: 12,
            position,
            length: frame_bytes(op_bytes, 4 + body.len()) as u32,
            op_bytes: op_bytes as u32,
            previous: Position::new(6, 64),
            ops: ops(),
            bodies: vec![(b"meta".to_vec(), std::sync::Arc::new(body))],
            slot: Slot::new(),
            followers: Vec::new(),
        };
        let segment = position.segment();
        let context = FrameContext { seed: 1, segment, generation: 2, watermark: Position::START };
        let mut bytes = vec![0; planned.length as usize];
        encode(&planned, &context, &mut bytes);
        bytes
    }

    fn parse(bytes: &[u8], base: u32, position: Position, seed: u32) -> Option<Frame<'_>> {
        super::parse(bytes, base, parse_header(bytes, base, position)?, seed)
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let (bytes, position) = frame();
        let frame = parse(&bytes, 4096, position, 1).expect("good");
        assert_eq!(parse_ops(frame.ops), Some(ops()));
        assert_eq!((frame.header.number(), frame.header.sequence(), frame.header.partition()), (12, 11, 5));
        assert_eq!(frame.header.previous(), Position::new(6, 64));
        assert_eq!(frame.header.end().0, position.0 + bytes.len().next_multiple_of(8) as u64);
        assert!(bytes.ends_with(b"metabody"));
    }

    #[test]
    fn a_frame_with_any_byte_changed_cut_off_or_elsewhere_is_none() {
        let (bytes, position) = frame();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x10;
            assert!(parse(&changed, 4096, position, 1).is_none(), "byte {index}");
            assert!(parse(&bytes[..index], 4096, position, 1).is_none(), "cut at {index}");
        }
        assert!(parse(&bytes, 0, Position::new(7, 0), 1).is_none());
        assert!(parse(&bytes, 4096, Position::new(8, 4096), 1).is_none());
        assert!(parse(&bytes, 4096, position, 2).is_none(), "another store's");
    }

    #[test]
    fn ops_that_are_not_well_formed_are_none() {
        let (bytes, _) = frame();
        let ops = &bytes[FRAME_HEADER_BYTES..bytes.len() - 8];
        let whole = parse_ops(ops).expect("good").len();
        for cut in 0..ops.len() {
            assert!(parse_ops(&ops[..cut]).is_none_or(|ops| ops.len() < whole));
        }
        // A row before any account.
        assert_eq!(parse_ops(&ops[24..]), None);
        assert_eq!(parse_ops(&[77, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
