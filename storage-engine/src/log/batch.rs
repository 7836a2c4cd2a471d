//! Group commit: while batches are on their way to the disk, the transactions that arrive gather into the next.
//!
//! A transaction gets its place in the log when it is proposed; it is copied into a buffer only when its batch is
//! written. Batches are written several at a time and acknowledged strictly in order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::frame::{FrameContext, encode, frame_bytes};
use super::pace::Pace;
use super::segment::Segments;
use super::ways::Ways;
use super::{Op, Position};
use crate::commit::Slot;
use crate::disk::{Buffer, Durable, Port, ReadPart};
use crate::error::Error;
use crate::limits::{BLOCK_BYTES, DURABLE_WRITE_BYTES_MAX};
use crate::stats::Stats;
use crate::transaction::Body;

/// A transaction with its place in the log.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) partition: u16,
    pub(crate) sequence: u64,
    pub(crate) number: u64,
    pub(crate) position: Position,
    /// Bytes of the whole frame.
    pub(crate) length: u32,
    pub(crate) op_bytes: u32,
    /// Where the frame before it ended.
    pub(crate) previous: Position,
    pub(crate) ops: Vec<Op>,
    pub(crate) bodies: Vec<(Vec<u8>, Body)>,
    pub(crate) slot: Rc<Slot>,
    /// Transactions with nothing to write that saw this one.
    pub(crate) followers: Vec<Rc<Slot>>,
}

impl Planned {
    /// The bodies' meta blocks and where each stands.
    pub(crate) fn meta_blocks(&self) -> impl Iterator<Item = (Position, &[u8])> {
        let bodies = frame_bytes(self.op_bytes as usize, 0) as u32;
        let mut offset = self.position.offset() + bodies;
        self.bodies.iter().map(move |(meta, body)| {
            let at = Position::new(self.position.segment(), offset);
            offset += (meta.len() + body.len()) as u32;
            (at, &meta[..])
        })
    }

    /// Bytes of bodies and their meta blocks.
    pub(crate) const fn body_bytes(&self) -> u64 {
        self.length as u64 - frame_bytes(self.op_bytes as usize, 0) as u64
    }
}

#[derive(Debug)]
struct Batch {
    start: Position,
    /// Bytes so far, a multiple of 8.
    bytes: u32,
    frames: Vec<Planned>,
}

#[derive(Debug)]
struct Flight {
    batch: Batch,
    token: u64,
    is_done: bool,
    /// When it was given to the disk, nanoseconds of the port's clock.
    since: u64,
    /// The way it went, where there was a choice.
    chosen: Option<Durable>,
}

/// What a log is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) seed: u32,
    pub(crate) segment_bytes: u32,
    pub(crate) batch_bytes_max: usize,
    pub(crate) in_flight_max: usize,
}

/// Where writing goes on: what recovery found, and the number of this opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogStart {
    /// The end of the last good frame.
    pub(crate) end: Position,
    /// The number of the last good frame.
    pub(crate) number: u64,
    pub(crate) generation: u32,
}

/// One shard's journal as it is written.
#[derive(Debug)]
pub(crate) struct Log {
    options: LogOptions,
    generation: u32,
    segments: Segments,
    pace: Pace,
    ways: Ways,
    /// The end of the last proposed frame.
    end: Position,
    number: u64,
    /// Everything before was flushed.
    flushed: Position,
    gathering: VecDeque<Batch>,
    flying: VecDeque<Flight>,
    next_token: u64,
}

/// Token space of zeroing; batches use the numbers below.
const ZERO_TOKEN: u64 = 1 << 60;
/// The highest bits say whose a token is; the log's are those below this.
pub(crate) const LOG_TOKENS: u64 = 1 << 61;

impl Log {
    pub(crate) fn new(options: LogOptions, start: LogStart, segments: Segments) -> Self {
        Self {
            options,
            generation: start.generation,
            segments,
            pace: Pace::default(),
            ways: Ways::default(),
            end: start.end,
            number: start.number,
            flushed: start.end,
            gathering: VecDeque::new(),
            flying: VecDeque::new(),
            next_token: 0,
        }
    }

    /// Where a frame of `length` bytes would stand; `TooLarge` when no segment can hold it, `Full` when the disk
    /// has no room there, `NoDescriptors` when the segment cannot be opened. Takes room and descriptor, and nothing
    /// else unless `push` follows.
    pub(crate) fn place(&mut self, port: &mut Port, length: usize) -> Result<Position, Error> {
        let padded = length.next_multiple_of(BLOCK_BYTES);
        if padded > self.options.segment_bytes as usize {
            return Err(Error::TooLarge);
        }
        let place = self.next_place(length);
        // The batch is padded to a block, so that is what must fit.
        let block = place.offset() - place.offset() % BLOCK_BYTES as u32;
        let bytes = (place.offset() - block + length as u32).next_multiple_of(BLOCK_BYTES as u32);
        self.segments.reserve(port, Position::new(place.segment(), block), bytes)?;
        Ok(place)
    }

    fn next_place(&self, length: usize) -> Position {
        if let Some(batch) = self.gathering.back()
            && batch.fits(length, &self.options)
        {
            return Position::new(batch.start.segment(), batch.start.offset() + batch.bytes);
        }
        let start = self.end.offset().next_multiple_of(BLOCK_BYTES as u32);
        if start as usize + length.next_multiple_of(BLOCK_BYTES) <= self.options.segment_bytes as usize {
            return Position::new(self.end.segment(), start);
        }
        Position::new(self.end.segment() + 1, 0)
    }

    /// The number the next frame gets, and where the frame before it ended.
    pub(crate) const fn next(&self) -> (u64, Position) {
        (self.number + 1, self.end)
    }

    /// Adds a frame at the place that `place` gave.
    pub(crate) fn push(&mut self, place: Position, planned: Planned) {
        let bytes = planned.length.next_multiple_of(8);
        self.number = planned.number;
        self.end = Position::new(place.segment(), place.offset() + bytes);
        let options = self.options;
        match self.gathering.back_mut() {
            Some(batch) if batch.end() == place && batch.fits(planned.length as usize, &options) => {
                batch.bytes += bytes;
                batch.frames.push(planned);
            }
            _ => self.gathering.push_back(Batch { start: place, bytes, frames: vec![planned] }),
        }
    }

    /// Gives gathered batches to the disk while it may have more in flight.
    pub(crate) fn submit(&mut self, port: &mut Port, stats: &mut Stats) -> Result<(), Error> {
        while self.flying.len() < self.pace.in_flight_max(self.options.in_flight_max)
            && let Some(batch) = self.gathering.front()
        {
            let bytes = batch.bytes.next_multiple_of(BLOCK_BYTES as u32);
            if !self.segments.may_write(batch.start, bytes) {
                break;
            }
            let Some(buffer) = port.buffer(bytes as usize) else { break };
            // Before the batch leaves the queue: after a failure here its transactions are told.
            let flush_folder = self.segments.begin_write(port, batch.start, bytes)?;
            let batch = self.gathering.pop_front().expect("looked at above");
            let buffer = self.encode(&batch, buffer);
            let token = self.next_token;
            self.next_token += 1;
            let chosen = self.has_choice(bytes as usize, flush_folder).then(|| self.ways.next());
            let durable = chosen.unwrap_or(if flush_folder { Durable::WithName } else { Durable::ByFlush });
            port.write(token, batch.start.segment(), batch.start.offset(), buffer, durable);
            self.pace.count(bytes, batch.frames.len() == 1 && self.flying.is_empty());
            stats.bytes_written += bytes as u64;
            stats.padding_bytes += (bytes - batch.bytes) as u64;
            stats.batch_bytes.add(bytes as u64);
            stats.batch_commits.add(batch.frames.len() as u64);
            self.flying.push_back(Flight { batch, token, is_done: false, since: port.now(), chosen });
        }
        Ok(())
    }

    /// A small batch over zeroes may be one operation; where the file system does its own bookkeeping too, it does it
    /// better for a flush of its own.
    const fn has_choice(&self, bytes: usize, flush_folder: bool) -> bool {
        !flush_folder && !self.pace.is_straight() && bytes <= DURABLE_WRITE_BYTES_MAX
    }

    /// Keeps zeroes ahead of what is proposed.
    pub(crate) fn zero_ahead(&mut self, port: &mut Port, stats: &mut Stats) -> Result<(), Error> {
        if self.flying.is_empty() {
            return Ok(());
        }
        let oldest = self.flying.front().map_or(self.end, |flight| flight.batch.start);
        self.segments.close_before(port, oldest.segment());
        let head = self.flying.back().map_or(self.end, |flight| flight.batch.end());
        if self.pace.is_straight() {
            return Ok(());
        }
        self.segments.zero_ahead(port, head, |segment| ZERO_TOKEN | segment as u64)?;
        stats.zero_bytes = self.segments.zero_bytes();
        Ok(())
    }

    fn encode(&self, batch: &Batch, mut buffer: Buffer) -> Buffer {
        let context = FrameContext {
            seed: self.options.seed,
            segment: batch.start.segment(),
            generation: self.generation,
            watermark: self.flushed,
        };
        buffer.length = (batch.bytes as usize).next_multiple_of(BLOCK_BYTES);
        let bytes = &mut buffer.bytes_mut()[..(batch.bytes as usize).next_multiple_of(BLOCK_BYTES)];
        let mut filled = 0;
        for planned in &batch.frames {
            encode(planned, &context, &mut bytes[filled..]);
            let length = planned.length as usize;
            let padded = length.next_multiple_of(8);
            bytes[filled + length..filled + padded].fill(0);
            filled += padded;
        }
        // The reader takes zeroes behind the last frame as the end of the batch.
        bytes[filled..].fill(0);
        buffer
    }

    /// An operation of the log ended.
    pub(crate) fn ended(
        &mut self,
        token: u64,
        result: Result<(), Error>,
        now: u64,
        stats: &mut Stats,
    ) -> Result<(), Error> {
        if token & ZERO_TOKEN != 0 {
            return self.segments.zeroed((token & !ZERO_TOKEN) as u32, result);
        }
        result?;
        let flight = self.flying.iter_mut().find(|flight| flight.token == token);
        let flight = flight.expect("a batch stays until it is acknowledged");
        flight.is_done = true;
        let nanos = now - flight.since;
        if let Some(way) = flight.chosen {
            self.ways.took(way, nanos);
        }
        stats.flush_nanos.add(nanos);
        Ok(())
    }

    /// The next batch of which it and everything before it is durable.
    pub(crate) fn acknowledge(&mut self, stats: &mut Stats) -> Option<Vec<Planned>> {
        if !self.flying.front()?.is_done {
            return None;
        }
        let flight = self.flying.pop_front().expect("looked at above");
        self.flushed = flight.batch.end();
        let commits = flight.batch.frames.len() as u64;
        stats.commits += commits;
        stats.batches += 1;
        stats.flushes += 1;
        Some(flight.batch.frames)
    }

    /// Takes everything that will never be acknowledged.
    pub(crate) fn abandon(&mut self) -> Vec<Planned> {
        let flying = self.flying.drain(..).map(|flight| flight.batch);
        flying.chain(self.gathering.drain(..)).flat_map(|batch| batch.frames).collect()
    }

    /// The last transaction on its way.
    pub(crate) fn last(&mut self) -> Option<&mut Planned> {
        let flying = self.flying.back_mut().map(|flight| &mut flight.batch);
        self.gathering.back_mut().or(flying).and_then(|batch| batch.frames.last_mut())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.flying.is_empty()
    }

    /// Which journal it is.
    pub(crate) const fn journal(&self) -> u16 {
        self.segments.journal()
    }

    /// Whether nothing is written any more where the part is: it is of another journal, or was acknowledged.
    pub(crate) fn is_durable(&self, part: &ReadPart) -> bool {
        let end = part.offset as u64 + part.length as u64;
        part.journal != self.segments.journal() || (part.segment as u64) << 32 | end <= self.flushed.0
    }

    /// Batches on their way to the disk.
    pub(crate) fn in_flight(&self) -> u64 {
        self.flying.len() as u64
    }

    pub(crate) fn pending(&self) -> u64 {
        let flying = self.flying.iter().map(|flight| flight.batch.frames.len());
        flying.chain(self.gathering.iter().map(|batch| batch.frames.len())).sum::<usize>() as u64
    }

    /// Everything before was flushed and acknowledged: where a replay would go on, and the last frame's number.
    pub(crate) fn replay_from(&self) -> LogStart {
        let waiting = self.pending();
        LogStart { end: self.flushed, number: self.number - waiting, generation: self.generation }
    }

    /// The end of what is proposed.
    pub(crate) const fn end(&self) -> Position {
        self.end
    }
}

impl Batch {
    /// Whether a further frame of `length` bytes may join this batch.
    fn fits(&self, length: usize, options: &LogOptions) -> bool {
        let bytes = self.bytes as usize + length;
        let end = self.start.offset() as usize + bytes.next_multiple_of(BLOCK_BYTES);
        bytes <= options.batch_bytes_max && end <= options.segment_bytes as usize
    }

    const fn end(&self) -> Position {
        Position::new(self.start.segment(), self.start.offset() + self.bytes)
    }
}
