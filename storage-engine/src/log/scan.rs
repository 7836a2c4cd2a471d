//! Reading a journal forward: frame after frame, and the judgement at its end (disk.md, "Recovery").

use super::frame::{Frame, FrameHeader};
use super::window::Window;
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

impl Journal<'_> {
    /// Visits every good frame behind `start`, and gives where they end. A bad frame there is a torn tail when no
    /// later frame says that it was flushed, and `Error::Corrupt` otherwise.
    pub(crate) fn walk(
        &self,
        start: LogStart,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<LogStart, Error> {
        let mut at = start;
        // What the system has in memory may be older than what was written past it.
        self.forget_from(start.end)?;
        let length = self.disk.length(&segment_file(self.number, start.end.segment()))?;
        if length.unwrap_or(0) < start.end.offset() as u64 {
            return Err(self.corrupt(start.end, "the segment that was written up to here"));
        }
        let mut window = Window::open(self, start.end.segment(), start.end.offset())?;
        while let Some(mut segment) = window.take() {
            at = self.walk_segment(&mut segment, at, visit)?;
            // The log goes on in the next segment when its first frame follows the last one here.
            window = Window::open(self, segment.number() + 1, 0)?;
            let goes_on = match &mut window {
                Some(next) => next.find(0, &|header| self.follows(header, at))?.is_some(),
                None => false,
            };
            if !goes_on {
                self.judge_tail(at.end)?;
                break;
            }
        }
        Ok(at)
    }

    fn walk_segment(
        &self,
        segment: &mut Window<'_>,
        mut at: LogStart,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<LogStart, Error> {
        let mut offset = if at.end.segment() == segment.number() { at.end.offset() } else { 0 };
        while let Some(header) = self.successor(segment, offset, at)? {
            visit(&segment.frame(header))?;
            at = LogStart { end: header.end(), number: header.number(), generation: header.generation() };
            offset = at.end.offset();
        }
        Ok(at)
    }

    /// The next frame of the same batch, or the first of the next batch.
    fn successor(
        &self,
        segment: &mut Window<'_>,
        offset: u32,
        at: LogStart,
    ) -> Result<Option<FrameHeader>, Error> {
        let follows = |header: &FrameHeader| self.follows(header, at);
        let block = offset.next_multiple_of(BLOCK_BYTES as u32);
        match segment.find(offset, &follows)? {
            None if block != offset => segment.find(block, &follows),
            found => Ok(found),
        }
    }

    /// Whether a frame follows what was read: the next number, behind where the last one ended, and not of an older
    /// opening. The last keeps frames behind a cut-off tail from ever coming back.
    fn follows(&self, header: &FrameHeader, at: LogStart) -> bool {
        let cut = self.opened.filter(|opened| header.position() >= opened.end);
        if cut.is_some_and(|opened| header.generation() < opened.generation) {
            return false;
        }
        let is_next = header.number() == at.number + 1 && header.previous() == at.end;
        is_next && header.generation() >= at.generation
    }

    /// Refuses to cut at `end` when a frame behind it was written after something behind `end` had been flushed.
    ///
    /// Every batch begins at a block, and all frames of a batch carry the same watermark.
    fn judge_tail(&self, end: Position) -> Result<(), Error> {
        for number in self.segments_from(end.segment())? {
            let from = if number == end.segment() { end.offset() } else { 0 };
            let mut offset = from.next_multiple_of(BLOCK_BYTES as u32);
            let Some(mut segment) = Window::open(self, number, offset)? else { continue };
            while segment.reach(offset)? {
                if segment.find(offset, &|header| header.watermark() > end)?.is_some() {
                    return Err(self.corrupt(end, "a good frame, since a later one says that it was flushed"));
                }
                offset += BLOCK_BYTES as u32;
            }
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

    pub(crate) fn corrupt(&self, at: Position, expected: &'static str) -> Error {
        let file = segment_file(self.number, at.segment()).as_str().into();
        Error::Corrupt { what: "frame", file, offset: at.offset() as u64, expected }
    }
}
