//! Reading a journal forward: frame after frame, and the judgement at its end (disk.md, "Recovery").

use super::frame::{Frame, parse};
use super::{LogStart, Position, journal_folder, segment_file};
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::BLOCK_BYTES;

/// Which journal is read.
#[derive(Clone, Copy)]
pub(crate) struct Journal<'a> {
    pub(crate) disk: &'a Disk,
    /// From `checksum_seed`.
    pub(crate) seed: u32,
    pub(crate) number: u16,
    /// What the last opening noted: behind its end only its own frames, and later ones, are good.
    pub(crate) opened: Option<LogStart>,
}

/// The bytes of a segment from `base` on.
struct Loaded {
    segment: u32,
    base: u32,
    bytes: Vec<u8>,
}

impl Journal<'_> {
    /// Visits every good frame behind `start`, and gives where they end. A bad frame there is a torn tail when no
    /// later frame says that it was flushed, and `Error::Corrupt` otherwise.
    pub(crate) fn walk(
        &self,
        start: LogStart,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<LogStart, Error> {
        let mut at = start;
        self.expect_from(start.end)?;
        let mut loaded = self.load(start.end.segment(), start.end.offset())?;
        let length = self.disk.length(&segment_file(self.number, start.end.segment()))?;
        if length.unwrap_or(0) < start.end.offset() as u64 {
            return Err(self.corrupt(start.end, "the segment that was written up to here"));
        }
        while let Some(segment) = loaded.take() {
            at = segment.walk(at, self, visit)?;
            // The log goes on in the next segment when its first frame follows the last one here.
            let next = self.load(segment.segment + 1, 0)?;
            if next.as_ref().is_some_and(|next| next.first(at, self).is_some()) {
                loaded = next;
                continue;
            }
            self.judge_tail(at.end, &segment)?;
        }
        Ok(at)
    }

    /// Refuses to cut at `end` when a frame behind it was written after something behind `end` had been flushed.
    fn judge_tail(&self, end: Position, current: &Loaded) -> Result<(), Error> {
        self.judge(end, current)?;
        for number in self.segments_from(current.segment + 1)? {
            if let Some(later) = self.load(number, 0)? {
                self.judge(end, &later)?;
            }
        }
        Ok(())
    }

    /// Every batch begins at a block, and all frames of a batch carry the same watermark.
    fn judge(&self, end: Position, loaded: &Loaded) -> Result<(), Error> {
        let first = loaded.base.next_multiple_of(BLOCK_BYTES as u32);
        for offset in (first..loaded.end()).step_by(BLOCK_BYTES) {
            let position = Position::new(loaded.segment, offset);
            if position < end {
                continue;
            }
            let frame = parse(&loaded.bytes, loaded.base, position, self.seed);
            if frame.is_some_and(|frame| frame.header.watermark() > end) {
                return Err(self.corrupt(end, "a good frame, since a later one says that it was flushed"));
            }
        }
        Ok(())
    }

    /// Has the disk bring what a walk from `start` on will read: from the disk, since what is in memory may be older than
    /// what was written past it.
    fn expect_from(&self, start: Position) -> Result<(), Error> {
        self.forget_from(start)?;
        for number in self.segments_from(start.segment())? {
            let offset = if number == start.segment() { start.offset() } else { 0 };
            self.disk.expect_read(&segment_file(self.number, number), offset as u64);
        }
        Ok(())
    }

    /// Has the system forget what it has in memory of the journal from `start` on.
    pub(crate) fn forget_from(&self, start: Position) -> Result<(), Error> {
        for number in self.segments_from(start.segment())? {
            let offset = if number == start.segment() { start.offset() } else { 0 };
            self.disk.forget(&segment_file(self.number, number), offset as u64);
        }
        Ok(())
    }

    /// Segments that are there, ascending, from `first` on.
    fn segments_from(&self, first: u32) -> Result<Vec<u32>, Error> {
        let names = self.disk.list(&journal_folder(self.number))?;
        let number =
            |name: &String| u32::from_str_radix(name.strip_suffix(".log")?, 16).ok().filter(|n| *n >= first);
        Ok(names.iter().filter_map(number).collect())
    }

    fn load(&self, segment: u32, base: u32) -> Result<Option<Loaded>, Error> {
        let bytes = self.disk.read_from(&segment_file(self.number, segment), base as u64)?;
        Ok(bytes.map(|bytes| Loaded { segment, base, bytes }))
    }

    pub(crate) fn corrupt(&self, at: Position, expected: &'static str) -> Error {
        let file = segment_file(self.number, at.segment()).as_str().into();
        Error::Corrupt { what: "frame", file, offset: at.offset() as u64, expected }
    }
}

impl Loaded {
    fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    fn walk(
        &self,
        mut at: LogStart,
        journal: &Journal<'_>,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<LogStart, Error> {
        let mut offset = if at.end.segment() == self.segment { at.end.offset() } else { 0 };
        loop {
            let block = offset.next_multiple_of(BLOCK_BYTES as u32);
            // The next frame of the same batch, or the first of the next batch.
            let here = self.successor(offset, at, journal);
            let Some(frame) = here.or_else(|| self.successor(block, at, journal)) else { return Ok(at) };
            visit(&frame)?;
            let header = frame.header;
            at = LogStart { end: header.end(), number: header.number(), generation: header.generation() };
            offset = at.end.offset();
        }
    }

    fn first(&self, at: LogStart, journal: &Journal<'_>) -> Option<Frame<'_>> {
        self.successor(0, at, journal)
    }

    /// The frame at `offset`, if it follows what was read: the next number, behind where the last one ended, and
    /// not of an older opening. The last keeps frames behind a cut-off tail from ever coming back.
    fn successor(&self, offset: u32, at: LogStart, journal: &Journal<'_>) -> Option<Frame<'_>> {
        let frame = parse(&self.bytes, self.base, Position::new(self.segment, offset), journal.seed)?;
        let header = &frame.header;
        let cut = journal.opened.filter(|opened| header.position() >= opened.end);
        if cut.is_some_and(|opened| header.generation() < opened.generation) {
            return None;
        }
        let follows = header.number() == at.number + 1 && header.previous() == at.end;
        (follows && header.generation() >= at.generation).then_some(frame)
    }
}
