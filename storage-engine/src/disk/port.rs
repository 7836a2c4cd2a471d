//! A shard's way to the disk: operations are given, submitted together, and their completions reaped.

use std::fs::File;
use std::os::fd::RawFd;
use std::path::Path;

use super::buffer::Buffer;
use super::simulated::Simulated;
use super::simulated_port::SimulatedPort;
use super::uring::Uring;
use super::views::Views;
use crate::error::Error;

/// What a port is opened with.
#[derive(Clone, Debug)]
pub(crate) struct PortOptions {
    /// The folder of the journal.
    pub(crate) folder: String,
    /// Bytes of a batch buffer.
    pub(crate) buffer_bytes: usize,
    /// Batch buffers.
    pub(crate) buffers: usize,
}

/// A part of a segment, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPart {
    pub(crate) journal: u16,
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: usize,
}

/// An operation that ended.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What the caller named it.
    pub(crate) token: u64,
    pub(crate) result: Result<Done, Error>,
}

/// What makes a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// The write itself ends when it is.
    ByWrite,
    /// A flush of the file after it.
    ByFlush,
    /// That, and then a flush of the journal's folder: the file's name is new.
    WithName,
}

#[derive(Debug)]
pub(crate) enum Done {
    /// Written and flushed; the buffer comes back.
    Written(Buffer),
    /// Zeroes written and flushed.
    Zeroed,
    /// Read; shorter than asked for only at the end of the file.
    Read(Vec<u8>),
}

#[derive(Debug)]
enum Kind {
    Uring(Box<Uring>),
    Simulated(SimulatedPort),
}

/// The disk as one shard's thread uses it. Nothing here waits for the disk, but `reserve_segment`.
#[derive(Debug)]
pub(crate) struct Port {
    kind: Kind,
    free: Vec<Buffer>,
    buffer_bytes: usize,
    /// None when simulated.
    views: Option<Views>,
}

impl Port {
    pub(super) fn uring(root: &Path, options: &PortOptions, lock: Option<&File>) -> Result<Self, Error> {
        let mut free = Vec::new();
        for index in 0..options.buffers {
            free.push(Buffer::new(options.buffer_bytes, Some(index as u16)));
        }
        let uring = Uring::new(root, &options.folder, &free, lock)?;
        let views = Some(Views::new(root));
        Ok(Self { kind: Kind::Uring(Box::new(uring)), free, buffer_bytes: options.buffer_bytes, views })
    }

    pub(super) fn simulated(disk: &Simulated, options: &PortOptions) -> Self {
        let free = (0..options.buffers).map(|_| Buffer::new(options.buffer_bytes, Some(0))).collect();
        let kind = Kind::Simulated(SimulatedPort::new(disk));
        Self { kind, free, buffer_bytes: options.buffer_bytes, views: None }
    }

    /// A buffer of at least `bytes` bytes: one of the pool, a one-off when that is too small, none while the
    /// pool is empty.
    pub(crate) fn buffer(&mut self, bytes: usize) -> Option<Buffer> {
        if bytes > self.buffer_bytes {
            return Some(Buffer::new(bytes, None));
        }
        self.free.pop()
    }

    /// Takes a buffer back into the pool.
    pub(crate) fn release(&mut self, buffer: Buffer) {
        if buffer.registered.is_some() {
            self.free.push(buffer);
        }
    }

    /// Opens a segment for writing, making it if needed; nothing when it is open. `name` is relative to the store.
    pub(crate) fn open_segment(&mut self, segment: u32, name: &str) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Uring(uring) => uring.open_segment(segment, name),
            Kind::Simulated(port) => port.open_segment(segment, name),
        }
    }

    /// Makes an open segment ready for `write` and `zero`, which is for a few at a time.
    pub(crate) fn register_segment(&mut self, segment: u32) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Uring(uring) => uring.register_segment(segment),
            Kind::Simulated(port) => port.register_segment(segment),
        }
    }

    /// Has the file system give an open segment blocks up to `end`, without changing what it says its length is.
    /// `Full` when there is no room. Waits, as a system call does.
    pub(crate) fn reserve_segment(&mut self, segment: u32, end: u32) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Uring(uring) => uring.reserve_segment(segment, end),
            Kind::Simulated(port) => port.reserve_segment(segment, end),
        }
    }

    /// Closes a segment nothing is in flight for.
    pub(crate) fn close_segment(&mut self, segment: u32) {
        match &mut self.kind {
            Kind::Uring(uring) => uring.close_segment(segment),
            Kind::Simulated(port) => port.close_segment(segment),
        }
    }

    /// Writes the buffer's `length` bytes and makes them durable.
    pub(crate) fn write(&mut self, token: u64, segment: u32, offset: u32, buffer: Buffer, durable: Durable) {
        match &mut self.kind {
            Kind::Uring(uring) => uring.write(token, segment, offset, buffer, durable),
            Kind::Simulated(port) => port.write(token, segment, offset, buffer, durable),
        }
    }

    /// Writes zeroes and flushes the file.
    pub(crate) fn zero(&mut self, token: u64, segment: u32, offset: u32, length: usize) {
        match &mut self.kind {
            Kind::Uring(uring) => uring.zero(token, segment, offset, length),
            Kind::Simulated(port) => port.zero(token, segment, offset, length),
        }
    }

    /// Reads a part of a segment of any journal.
    pub(crate) fn read(&mut self, token: u64, part: ReadPart) {
        match &mut self.kind {
            Kind::Uring(uring) => uring.read(token, part),
            Kind::Simulated(port) => port.read(token, part),
        }
    }

    /// Reads a part as the disk has it, whatever of it is in memory.
    pub(crate) fn read_past_memory(&mut self, token: u64, part: ReadPart) {
        match &mut self.kind {
            Kind::Uring(uring) => uring.read_past_memory(token, part),
            Kind::Simulated(port) => port.read_past_memory(token, part),
        }
    }

    /// Appends a part that is in memory to `out`. False, and `out` is as it was, when it would have to be waited for,
    /// and always when simulated, unless nothing there is ever waited for.
    pub(crate) fn read_at_hand(&mut self, part: &ReadPart, out: &mut Vec<u8>) -> bool {
        match &mut self.kind {
            Kind::Uring(uring) => uring.read_at_hand(part, out),
            Kind::Simulated(port) => port.read_at_hand(part, out),
        }
    }

    /// Gives `each` the bytes of those parts that are in memory, by their place among `parts`, and none for the others.
    /// Without waiting; nothing is ever in memory when simulated.
    pub(crate) fn look(&mut self, parts: &[ReadPart], each: &mut dyn FnMut(usize, Option<&[u8]>)) {
        match &mut self.views {
            Some(views) => views.look(parts, each),
            None => (0..parts.len()).for_each(|index| each(index, None)),
        }
    }

    /// Hands over what was given since; the count of new operations.
    pub(crate) fn submit(&mut self) -> Result<usize, Error> {
        match &mut self.kind {
            Kind::Uring(uring) => uring.submit(),
            Kind::Simulated(port) => Ok(port.submit()),
        }
    }

    /// The next operation that ended; none when no other has yet.
    pub(crate) fn complete(&mut self) -> Option<Completion> {
        match &mut self.kind {
            Kind::Uring(uring) => uring.complete(),
            Kind::Simulated(port) => port.complete(),
        }
    }

    /// Operations given and not reaped.
    pub(crate) fn in_flight(&self) -> usize {
        match &self.kind {
            Kind::Uring(uring) => uring.in_flight(),
            Kind::Simulated(port) => port.in_flight(),
        }
    }

    /// True when `submit` could not hand everything over.
    pub(crate) fn has_unsubmitted(&mut self) -> bool {
        match &mut self.kind {
            Kind::Uring(uring) => uring.has_unsubmitted(),
            Kind::Simulated(_) => false,
        }
    }

    /// Nanoseconds of a clock that never goes back; a simulated disk's goes with its steps.
    pub(crate) fn now(&self) -> u64 {
        match &self.kind {
            Kind::Uring(uring) => uring.now(),
            Kind::Simulated(port) => port.now(),
        }
    }

    /// Becomes readable when completions wait.
    pub(crate) fn event_fd(&self) -> Option<RawFd> {
        match &self.kind {
            Kind::Uring(uring) => Some(uring.event_fd()),
            Kind::Simulated(_) => None,
        }
    }
}
