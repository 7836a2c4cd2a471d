//! A segment as it is read forward: what of it is in memory now, and the frames in it.

use super::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, parse, parse_header};
use super::{Journal, Position, segment_file};
use crate::disk::Ahead;
use crate::error::Error;
use crate::limits::BLOCK_BYTES;

/// The part of a segment that was read last, from which frames are taken where they lie. Going back is possible, and
/// costs reading again.
pub(super) struct Window<'a> {
    journal: &'a Journal<'a>,
    segment: u32,
    ahead: Ahead,
    /// Where the part begins, bytes from the segment's start.
    base: u32,
    /// A frame that lies across the edge of the part, as far as it was asked for; empty when the frame asked for last lies
    /// within the part.
    joined: Vec<u8>,
}

impl<'a> Window<'a> {
    /// From the block on in which `offset` lies; none when there is no such segment.
    pub(super) fn open(journal: &'a Journal<'a>, segment: u32, offset: u32) -> Result<Option<Self>, Error> {
        let base = offset - offset % BLOCK_BYTES as u32;
        let ahead = journal.disk.read_ahead(&segment_file(journal.number, segment), base as u64)?;
        Ok(ahead.map(|ahead| Self { journal, segment, ahead, base, joined: Vec::new() }))
    }

    pub(super) const fn number(&self) -> u32 {
        self.segment
    }

    /// Brings the byte at `offset` into the part; false when the segment ends before it.
    pub(super) fn reach(&mut self, offset: u32) -> Result<bool, Error> {
        if offset < self.base {
            let Some(again) = Self::open(self.journal, self.segment, offset)? else { return Ok(false) };
            *self = again;
        }
        while offset >= self.end() {
            if !self.advance()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The header of the frame at `offset`, when it is one that is wanted, whole, and has a right checksum.
    pub(super) fn find(
        &mut self,
        offset: u32,
        is_wanted: &dyn Fn(&FrameHeader) -> bool,
    ) -> Result<Option<FrameHeader>, Error> {
        self.joined.clear();
        if !self.reach(offset)? || !self.has(offset, FRAME_HEADER_BYTES)? {
            return Ok(None);
        }
        let (bytes, base) = self.bytes(offset);
        let header = parse_header(bytes, base, Position::new(self.segment, offset)).filter(is_wanted);
        let Some(header) = header else { return Ok(None) };
        if !self.has(offset, header.length())? {
            return Ok(None);
        }
        let (bytes, base) = self.bytes(offset);
        let is_good = parse(bytes, base, header, self.journal.seed).is_some();
        Ok(is_good.then_some(header))
    }

    /// The frame that was found last.
    pub(super) fn frame(&self, header: FrameHeader) -> Frame<'_> {
        let (bytes, base) = self.bytes(header.position().offset());
        Frame::again(bytes, base, header).expect("found, and nothing was read since")
    }

    /// Makes sure of so many bytes in one piece from `offset` on, which is within the part; false when the segment ends
    /// before.
    fn has(&mut self, offset: u32, length: usize) -> Result<bool, Error> {
        let is_within = self.joined.is_empty() && (self.end() - offset) as usize >= length;
        while !is_within && self.joined.len() < length {
            let from = offset + self.joined.len() as u32;
            if !self.reach(from)? {
                return Ok(false);
            }
            let rest = &self.ahead.taken()[(from - self.base) as usize..];
            self.joined.extend_from_slice(&rest[..rest.len().min(length - self.joined.len())]);
        }
        Ok(true)
    }

    /// The bytes in which what begins at `offset` lies in one piece, and where they begin.
    fn bytes(&self, offset: u32) -> (&[u8], u32) {
        if self.joined.is_empty() { (self.ahead.taken(), self.base) } else { (&self.joined, offset) }
    }

    /// Reads the next part; false at the end of the segment.
    fn advance(&mut self) -> Result<bool, Error> {
        self.base = self.end();
        Ok(self.ahead.next()?.is_some())
    }

    fn end(&self) -> u32 {
        self.base + self.ahead.taken().len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Simulated};
    use crate::log::frame::tests::frame_at;

    const SEGMENT: u32 = 3;
    const BLOCK: u32 = BLOCK_BYTES as u32;

    /// A disk with one segment, which holds what stands at which offset.
    fn disk(pieces: &[(u32, Vec<u8>)]) -> Disk {
        let disk = Disk::simulated(&Simulated::instant());
        let mut bytes = Vec::new();
        for (offset, piece) in pieces {
            bytes.resize(*offset as usize, 0);
            bytes.extend(piece);
        }
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        let mut file = disk.create(&segment_file(0, SEGMENT)).expect("made");
        file.append(&bytes).expect("written");
        file.finish().expect("named");
        disk
    }

    fn journal(disk: &Disk) -> Journal<'_> {
        Journal { disk, seed: 1, number: 0, opened: None }
    }

    fn frame(offset: u32, body: usize) -> (u32, Vec<u8>) {
        (offset, frame_at(Position::new(SEGMENT, offset), vec![7; body]))
    }

    /// Whether a frame is found at an offset, as it was written.
    fn finds(window: &mut Window<'_>, (offset, written): &(u32, Vec<u8>)) -> bool {
        let Some(header) = window.find(*offset, &|_| true).expect("readable") else { return false };
        let ops = window.frame(header).ops;
        assert_eq!(header.length(), written.len());
        assert_eq!(ops, &written[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + ops.len()]);
        true
    }

    #[test]
    fn frames_are_found_wherever_the_edges_of_reads_are() {
        // Within a read, with the edge in the body, in the ops and in the header, over many reads, and at the very end.
        let mut frames = vec![frame(0, 8), frame(BLOCK - 600, 1000), frame(2 * BLOCK - 100, 8)];
        frames.push(frame(3 * BLOCK - 8, 8));
        frames.push(frame(4 * BLOCK, 5 * BLOCK_BYTES));
        frames.push(frame(11 * BLOCK, 8));
        let disk = disk(&frames);
        let journal = journal(&disk);
        let mut window = Window::open(&journal, SEGMENT, 0).expect("readable").expect("there");
        for frame in frames.iter().chain(frames.iter().rev()) {
            assert!(finds(&mut window, frame), "at {}", frame.0);
        }
        assert!(!window.reach(12 * BLOCK).expect("readable"));
        assert!(finds(&mut window, &frames[5]), "also after the end was seen");
        let mut late = Window::open(&journal, SEGMENT, 4 * BLOCK + 8).expect("readable").expect("there");
        assert!(finds(&mut late, &frames[4]));
    }

    #[test]
    fn a_long_frame_that_is_torn_does_not_hide_the_block_behind_its_beginning() {
        let (at, mut torn) = frame(BLOCK - 512, 6 * BLOCK_BYTES);
        torn.truncate(512);
        let good = frame(BLOCK, 8);
        let disk = disk(&[(at, torn.clone()), good.clone(), (20 * BLOCK, vec![0])]);
        let journal = journal(&disk);
        let mut window = Window::open(&journal, SEGMENT, 0).expect("readable").expect("there");
        assert!(!finds(&mut window, &(at, torn)));
        assert!(finds(&mut window, &good));
    }

    #[test]
    fn a_frame_longer_than_its_segment_and_one_that_is_not_wanted_are_none() {
        let (at, mut cut) = frame(2 * BLOCK, 9 * BLOCK_BYTES);
        cut.truncate(BLOCK_BYTES);
        let disk = disk(&[frame(0, 8), (at, cut.clone())]);
        let journal = journal(&disk);
        let mut window = Window::open(&journal, SEGMENT, 0).expect("readable").expect("there");
        assert!(!finds(&mut window, &(at, cut)));
        assert!(window.find(0, &|_| false).expect("readable").is_none());
        assert!(window.find(0, &|header| header.number() == 12).expect("readable").is_some());
        assert!(Window::open(&journal, SEGMENT + 1, 0).expect("readable").is_none());
    }
}
