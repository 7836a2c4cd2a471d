//! Segments open for writing, and the zeroes written ahead of the write position.
//!
//! A block that was written once costs no journal entry of the file system when it is written again
//! (measured: three times the commits), so zeroes go ahead of the data where that pays (`pace`). They are also a reserve of
//! room, as are the blocks reserved where there are none: a full disk is noticed before a transaction depends on it.

use std::collections::BTreeMap;

use super::{Position, segment_file};
use crate::disk::{Disk, Port};
use crate::error::Error;
use crate::limits::{BLOCK_BYTES, RESERVE_BYTES, ZERO_AHEAD_BYTES, ZERO_FIRST_BYTES};

#[derive(Debug)]
struct Segment {
    /// Bytes from the start that were written at least once; zeroing goes on from here.
    written: u32,
    /// Bytes from the start that the file system has given blocks for.
    reserved: u32,
    /// The end of the zeroing under way.
    zeroing: Option<u32>,
    /// The file is new and its name not yet durable: the first batch flushes the folder.
    is_new: bool,
}

#[derive(Debug)]
pub(crate) struct Segments {
    disk: Disk,
    journal: u16,
    segment_bytes: u32,
    known: BTreeMap<u32, Segment>,
    /// Zeroing met a full disk; it goes on when a reservation has found room again.
    is_full: bool,
    /// Zeroes given to the disk so far.
    zero_bytes: u64,
}

impl Segments {
    pub(crate) fn new(disk: &Disk, journal: u16, segment_bytes: u32) -> Self {
        Self {
            disk: disk.clone(),
            journal,
            segment_bytes,
            known: BTreeMap::new(),
            is_full: false,
            zero_bytes: 0,
        }
    }

    /// Makes sure of a descriptor, and of room on the disk, for a batch before anything depends on it. Free where
    /// the segment is open and zeroes went ahead; otherwise both are taken now, `NoDescriptors` and `Full` say that
    /// there are none, and the segment stays open until what is placed in it was written.
    pub(super) fn reserve(&mut self, port: &mut Port, start: Position, bytes: u32) -> Result<(), Error> {
        let end = start.offset() + bytes;
        self.open(port, start.segment())?;
        let segment = self.known.get_mut(&start.segment()).expect("opened above");
        if end <= segment.written.max(segment.reserved) {
            return Ok(());
        }
        let step = end.next_multiple_of(RESERVE_BYTES).min(self.segment_bytes);
        segment.reserved = match port.reserve_segment(start.segment(), step) {
            Ok(()) => step,
            // The last of the room, if it is enough for this.
            Err(Error::Full) => port.reserve_segment(start.segment(), end).map(|()| end)?,
            Err(error) => return Err(error),
        };
        self.is_full = false;
        Ok(())
    }

    /// Whether a batch may be written now: never into a range that zeroes are on their way to.
    pub(super) fn may_write(&self, start: Position, bytes: u32) -> bool {
        let Some(segment) = self.known.get(&start.segment()) else { return true };
        segment.zeroing.is_none() || start.offset() + bytes <= segment.written
    }

    /// Readies the batch's segment and notes what the batch will have written. True when the folder must
    /// be flushed with it.
    pub(super) fn begin_write(
        &mut self,
        port: &mut Port,
        start: Position,
        bytes: u32,
    ) -> Result<bool, Error> {
        port.register_segment(start.segment())?;
        let segment = self.known.get_mut(&start.segment()).expect("reserved before");
        segment.written = segment.written.max(start.offset() + bytes);
        Ok(std::mem::take(&mut segment.is_new))
    }

    /// Opens a segment for writing, once, and looks at what the disk has of it.
    fn open(&mut self, port: &mut Port, number: u32) -> Result<(), Error> {
        if self.known.contains_key(&number) {
            return Ok(());
        }
        let name = segment_file(self.journal, number);
        let length = self.disk.length(&name)?;
        port.open_segment(number, &name)?;
        let written = length.unwrap_or(0).min(self.segment_bytes as u64) as u32;
        let written = written - written % BLOCK_BYTES as u32;
        let is_new = length.is_none();
        self.known.insert(number, Segment { written, reserved: 0, zeroing: None, is_new });
        Ok(())
    }

    /// Keeps zeroes ahead of `head`, in the next segment too when the end of this one is near.
    /// `token_of` names the operation for a segment.
    pub(super) fn zero_ahead(
        &mut self,
        port: &mut Port,
        head: Position,
        token_of: impl Fn(u32) -> u64,
    ) -> Result<(), Error> {
        if self.is_full {
            return Ok(());
        }
        self.zero(port, head.segment(), head.offset(), &token_of);
        if self.segment_bytes - head.offset() < self.ahead() {
            let next = head.segment() + 1;
            match self.open(port, next).and_then(|()| port.register_segment(next)) {
                Ok(()) => self.zero(port, next, 0, &token_of),
                Err(Error::Full) => self.is_full = true,
                // Nothing depends on it yet: the next turn tries again.
                Err(Error::NoDescriptors) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn zero(&mut self, port: &mut Port, number: u32, from: u32, token_of: &impl Fn(u32) -> u64) {
        let ahead = self.ahead();
        let segment = self.known.get_mut(&number).expect("open: it is written, or was opened by the caller");
        // Half of the reserve is used up before more is written, so that zeroing comes in large steps.
        let enough = (from + ahead / 2).min(self.segment_bytes);
        if segment.zeroing.is_some() || segment.written >= enough {
            return;
        }
        // Where none are ahead, a batch may wait for these: soon there are some.
        let step = if segment.written <= from { ahead.min(ZERO_FIRST_BYTES) } else { ahead };
        let end = (segment.written + step).min(self.segment_bytes);
        segment.zeroing = Some(end);
        self.zero_bytes += (end - segment.written) as u64;
        port.zero(token_of(number), number, segment.written, (end - segment.written) as usize);
    }

    /// How far ahead zeroes go, whole blocks.
    fn ahead(&self) -> u32 {
        let ahead = ZERO_AHEAD_BYTES.min(self.segment_bytes / 4);
        ahead - ahead % BLOCK_BYTES as u32
    }

    pub(super) const fn journal(&self) -> u16 {
        self.journal
    }

    pub(super) const fn zero_bytes(&self) -> u64 {
        self.zero_bytes
    }

    /// A zeroing ended. A full disk is not a failure yet: nothing depends on those blocks.
    pub(super) fn zeroed(&mut self, number: u32, result: Result<(), Error>) -> Result<(), Error> {
        let Some(segment) = self.known.get_mut(&number) else { return Ok(()) };
        let end = segment.zeroing.take().unwrap_or(segment.written);
        match result {
            Ok(()) => segment.written = segment.written.max(end),
            Err(Error::Full) => self.is_full = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Closes what is behind the oldest segment still needed.
    pub(super) fn close_before(&mut self, port: &mut Port, needed: u32) {
        while let Some((&number, segment)) = self.known.first_key_value() {
            if number >= needed || segment.zeroing.is_some() {
                return;
            }
            port.close_segment(number);
            self.known.remove(&number);
        }
    }
}
