//! The folder as a shard's port: one io_uring for the journal's writes and flushes and for body reads.
//!
//! A batch is one entry, a write that ends when it is durable (RWF_DSYNC), or a chain of linked entries: write, flush of
//! the file, and for the first batch of a segment the flush of the folder. A chain costs one wake-up more: the write's end
//! comes to this thread, which only then hands over the flush. Buffers and segments are registered. The chain breaks at the first failure or short write,
//! which is reported as an error and never retried: the page cache may lie after it.

mod reads;
mod setup;

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};

use super::buffer::Buffer;
use super::files::{FILE_MODE, error_of, io_error, open_folder, reserve};
use super::port::{Completion, Done, Durable, ReadPart};
use crate::error::Error;
use crate::limits::{BLOCK_BYTES, READS_IN_FLIGHT_MAX, ZERO_WRITE_BYTES};
use reads::Target;
use setup::{keeps_durable_writes, new_event, new_ring, register};

/// Submission entries: two for each batch in flight, the zeroing, and the reads.
const ENTRIES: u32 = 512;
/// Segments that can be open for writing: the one being written, and those with batches still in flight.
const SEGMENTS_OPEN_MAX: usize = 80;
/// Low bits of an entry's user data that say which part of the operation it is.
const PART_BITS: u64 = 8;
/// The part that is a flush; lower ones are writes or the read.
const PART_FLUSH: u64 = 128;

pub(super) struct Uring {
    ring: IoUring,
    event: OwnedFd,
    root: PathBuf,
    folder: File,
    segments: HashMap<u32, Segment>,
    slots: Vec<bool>,
    operations: Vec<Option<Operation>>,
    vacant: Vec<usize>,
    waiting: VecDeque<Read>,
    reads_in_flight: usize,
    read_files: HashMap<(u16, u32), Rc<ReadFile>>,
    ended: VecDeque<Completion>,
    zeroes: Option<Buffer>,
    buffers_registered: bool,
    /// Where a write that is to be durable itself is; elsewhere it is flushed.
    keeps_durable_writes: bool,
    submitted: usize,
    opened: Instant,
    /// Why nothing the ring says counts any more.
    broken: Option<Error>,
}

struct Segment {
    /// Its place among the ring's files, once it has one.
    slot: Option<u32>,
    name: Rc<str>,
    file: File,
}

/// A segment open for reading.
struct ReadFile {
    file: File,
    name: String,
}

struct Operation {
    token: u64,
    kind: Kind,
    /// Entries whose completion is still to come.
    entries: usize,
    failed: Option<Error>,
}

enum Kind {
    Write { buffer: Buffer, name: Rc<str> },
    Zero { length: usize, name: Rc<str> },
    Read(Read),
}

struct Read {
    token: u64,
    file: Rc<ReadFile>,
    /// Of the first byte read, which with a direct read is the start of a block.
    offset: u64,
    target: Target,
    filled: usize,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uring({} in flight)", self.in_flight())
    }
}

impl Uring {
    /// Registers `buffers` when the memory-lock limit allows it; otherwise they are written unregistered.
    ///
    /// The store's lock is registered too: when the process is killed, the kernel drops registered files only after
    /// the ring's last operation, so that the next process cannot lock the store, and read the end of the log,
    /// while a write of this one is still on its way.
    pub(super) fn new(
        root: &Path,
        folder: &str,
        buffers: &[Buffer],
        lock: Option<&File>,
    ) -> Result<Self, Error> {
        let ring = new_ring().map_err(|error| io_error("set up", "io_uring", &error))?;
        let event = new_event().map_err(|error| io_error("make", "eventfd", &error))?;
        let submitter = ring.submitter();
        let mut files = [-1; SEGMENTS_OPEN_MAX + 1];
        files[SEGMENTS_OPEN_MAX] = lock.map_or(-1, AsRawFd::as_raw_fd);
        submitter
            .register_eventfd(event.as_raw_fd())
            .and_then(|()| submitter.register_files(&files))
            .map_err(|error| io_error("register with", "io_uring", &error))?;
        let buffers_registered = register(&ring, buffers);
        let folder = open_folder(root, &format!("{folder}/."))?;
        Ok(Self {
            keeps_durable_writes: keeps_durable_writes(&folder),
            folder,
            ring,
            event,
            root: root.into(),
            segments: HashMap::new(),
            slots: vec![false; SEGMENTS_OPEN_MAX],
            operations: Vec::new(),
            vacant: Vec::new(),
            waiting: VecDeque::new(),
            reads_in_flight: 0,
            read_files: HashMap::new(),
            ended: VecDeque::new(),
            zeroes: None,
            buffers_registered,
            submitted: 0,
            opened: instant(),
            broken: None,
        })
    }

    pub(super) fn event_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    pub(super) fn now(&self) -> u64 {
        instant().duration_since(self.opened).as_nanos() as u64
    }

    pub(super) fn in_flight(&self) -> usize {
        self.operations.len() - self.vacant.len() + self.waiting.len() + self.ended.len()
    }

    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    pub(super) fn open_segment(&mut self, segment: u32, name: &str) -> Result<(), Error> {
        if self.segments.contains_key(&segment) {
            return Ok(());
        }
        let path = self.root.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = self.open_file(name, || match options.custom_flags(libc::O_DIRECT).open(&path) {
            // A file system without direct I/O; the flush makes the write durable there too.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.custom_flags(0).open(&path),
            opened => opened,
        })?;
        self.segments.insert(segment, Segment { slot: None, name: name.into(), file });
        Ok(())
    }

    pub(super) fn register_segment(&mut self, segment: u32) -> Result<(), Error> {
        let opened = self.segments.get_mut(&segment).expect("opened before");
        if opened.slot.is_some() {
            return Ok(());
        }
        let slot = self.slots.iter().position(|taken| !taken).expect("fewer batches than segment slots");
        self.ring
            .submitter()
            .register_files_update(slot as u32, &[opened.file.as_raw_fd()])
            .map_err(|error| io_error("register", &opened.name, &error))?;
        self.slots[slot] = true;
        opened.slot = Some(slot as u32);
        Ok(())
    }

    pub(super) fn reserve_segment(&mut self, segment: u32, end: u32) -> Result<(), Error> {
        let Segment { name, file, .. } = &self.segments[&segment];
        reserve(file, name, end as u64)
    }

    pub(super) fn close_segment(&mut self, segment: u32) {
        let Some(closed) = self.segments.remove(&segment) else { return };
        let Some(slot) = closed.slot else { return };
        self.slots[slot as usize] = false;
        // A slot that keeps its old file is harmless: it is overwritten at its next use.
        let _ = self.ring.submitter().register_files_update(slot, &[-1]);
    }

    pub(super) fn write(&mut self, token: u64, segment: u32, offset: u32, buffer: Buffer, durable: Durable) {
        let (file, name) = self.registered(segment);
        let (address, length) = (buffer.address(), buffer.length as u32);
        let is_known = self.keeps_durable_writes || durable != Durable::ByWrite;
        let durable = if is_known { durable } else { Durable::ByFlush };
        let (entries, how) = match durable {
            Durable::ByWrite => (1, libc::RWF_DSYNC),
            Durable::ByFlush => (2, 0),
            Durable::WithName => (3, 0),
        };
        let offset = offset as u64;
        let write = match buffer.registered {
            Some(index) if self.buffers_registered => {
                opcode::WriteFixed::new(file, address, length, index).offset(offset).rw_flags(how).build()
            }
            _ => opcode::Write::new(file, address, length).offset(offset).rw_flags(how).build(),
        };
        let id = self.begin(Operation { token, kind: Kind::Write { buffer, name }, entries, failed: None });
        self.reserve(entries);
        if durable == Durable::ByWrite {
            self.push(id, 0, &write);
            return;
        }
        let flush = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build();
        self.push(id, 0, &write.flags(Flags::IO_LINK));
        if durable == Durable::WithName {
            self.push(id, PART_FLUSH, &flush.flags(Flags::IO_LINK));
            let folder = types::Fd(self.folder.as_raw_fd());
            self.push(id, PART_FLUSH + 1, &opcode::Fsync::new(folder).build());
        } else {
            self.push(id, PART_FLUSH, &flush);
        }
    }

    pub(super) fn zero(&mut self, token: u64, segment: u32, offset: u32, length: usize) {
        let (file, name) = self.registered(segment);
        let zeroes = self.zeroes.get_or_insert_with(|| Buffer::new(ZERO_WRITE_BYTES, None)).address();
        let length = length.next_multiple_of(BLOCK_BYTES);
        let writes = length.div_ceil(ZERO_WRITE_BYTES);
        let kind = Kind::Zero { length, name };
        let id = self.begin(Operation { token, kind, entries: writes + 1, failed: None });
        self.reserve(writes + 1);
        for part in 0..writes {
            let start = part * ZERO_WRITE_BYTES;
            let bytes = ZERO_WRITE_BYTES.min(length - start) as u32;
            let at = offset as u64 + start as u64;
            let write = opcode::Write::new(file, zeroes, bytes).offset(at).build();
            self.push(id, part as u64, &write.flags(Flags::IO_LINK));
        }
        self.push(id, PART_FLUSH, &opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build());
    }

    pub(super) fn read(&mut self, token: u64, part: ReadPart) {
        match self.read_file(part.journal, part.segment) {
            Ok(file) => {
                let target = Target::Plain(vec![0; part.length]);
                self.waiting.push_back(Read { token, file, offset: part.offset as u64, target, filled: 0 });
                self.start_reads();
            }
            Err(error) => self.ended.push_back(Completion { token, result: Err(error) }),
        }
    }

    fn registered(&self, segment: u32) -> (types::Fixed, Rc<str>) {
        let Segment { slot, name, .. } = &self.segments[&segment];
        (types::Fixed(slot.expect("registered before it is written")), name.clone())
    }

    /// Enters the kernel only when there is something to hand over.
    pub(super) fn submit(&mut self) -> Result<usize, Error> {
        if !self.ring.submission().is_empty() {
            self.enter()?;
        }
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        Ok(std::mem::take(&mut self.submitted))
    }

    pub(super) fn complete(&mut self) -> Option<Completion> {
        loop {
            if let Some(ended) = self.ended.pop_front() {
                return Some(ended);
            }
            let mut entry = self.ring.completion().next();
            if entry.is_none() && self.ring.submission().taskrun() {
                // Cooperative task running: completions wait until this thread enters the kernel.
                self.enter().ok()?;
                entry = self.ring.completion().next();
            }
            let entry = entry?;
            self.reap(entry.user_data(), entry.result());
        }
    }

    fn reap(&mut self, user_data: u64, result: i32) {
        let id = (user_data >> PART_BITS) as usize;
        let part = user_data & ((1 << PART_BITS) - 1);
        let operation = self.operations[id].as_mut().expect("an operation stays until its last entry ended");
        operation.entries -= 1;
        if let Kind::Read(read) = &mut operation.kind {
            let count = usize::try_from(result).unwrap_or(0);
            read.filled += count;
            if count > 0 && read.goes_on() {
                operation.entries = 1;
                self.push_read(id);
                return;
            }
        }
        if let Some(error) = operation.error_of(part, result) {
            // The entry that broke the chain says more than those cancelled behind it, and ends before them.
            operation.failed.get_or_insert(error);
        }
        if operation.entries > 0 {
            return;
        }
        let operation = self.operations[id].take().expect("looked at above");
        self.vacant.push(id);
        self.end(operation);
    }

    fn end(&mut self, operation: Operation) {
        let done = match operation.kind {
            Kind::Write { buffer, .. } => Done::Written(buffer),
            Kind::Zero { .. } => Done::Zeroed,
            Kind::Read(read) => {
                self.reads_in_flight -= 1;
                self.start_reads();
                Done::Read(read.into_bytes())
            }
        };
        let result = operation.failed.map_or(Ok(done), Err);
        self.ended.push_back(Completion { token: operation.token, result });
    }

    fn start_reads(&mut self) {
        while self.reads_in_flight < READS_IN_FLIGHT_MAX
            && let Some(read) = self.waiting.pop_front()
        {
            self.reads_in_flight += 1;
            let token = read.token;
            let id = self.begin(Operation { token, kind: Kind::Read(read), entries: 1, failed: None });
            self.push_read(id);
        }
    }

    fn push_read(&mut self, id: usize) {
        let Some(Operation { kind: Kind::Read(read), .. }) = &mut self.operations[id] else { return };
        let rest = &mut read.target.bytes_mut()[read.filled..];
        let offset = read.offset + read.filled as u64;
        let entry =
            opcode::Read::new(types::Fd(read.file.file.as_raw_fd()), rest.as_mut_ptr(), rest.len() as u32);
        let entry = entry.offset(offset).build();
        self.reserve(1);
        self.push(id, 0, &entry);
    }

    fn begin(&mut self, operation: Operation) -> usize {
        if let Some(id) = self.vacant.pop() {
            self.operations[id] = Some(operation);
            return id;
        }
        self.operations.push(Some(operation));
        self.operations.len() - 1
    }

    /// Makes room for a whole chain: links end at a submission.
    fn reserve(&mut self, entries: usize) {
        loop {
            let queue = self.ring.submission();
            if queue.capacity() - queue.len() >= entries {
                return;
            }
            drop(queue);
            // A refusal leaves the queue as it is; what stands in it is tried again. A failure is kept, and told by
            // `submit` before anything more is acknowledged.
            let _ = self.enter();
        }
    }

    fn push(&mut self, id: usize, part: u64, entry: &Entry) {
        let entry = entry.clone().user_data((id as u64) << PART_BITS | part);
        #[allow(unsafe_code)]
        // SAFETY: memory and files an entry names are owned by `self.operations[id]`, `self.segments` or
        // `self.zeroes`. An operation is dropped only after the completion of its last entry; a segment is closed
        // only when nothing is in flight for it; and `drop` waits for everything that is in flight.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "room was reserved");
        self.submitted += 1;
    }

    fn enter(&mut self) -> Result<(), Error> {
        let queued = self.ring.submission().len();
        loop {
            match self.ring.submit() {
                Ok(taken) => return self.judge(queued, taken),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel is short of memory or of completion space: what is queued goes with a later turn.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    return Ok(());
                }
                Err(error) => return Err(io_error("submit to", "io_uring", &error)),
            }
        }
    }

    /// A chain of which only some entries were taken is two chains: its flush would not wait for its write, and say that
    /// it is durable. So nothing counts after that.
    fn judge(&mut self, queued: usize, taken: usize) -> Result<(), Error> {
        if taken >= queued {
            return Ok(());
        }
        let error = Error::Io { operation: "submit all to", file: "io_uring".into(), code: libc::EAGAIN };
        Err(self.broken.get_or_insert(error).clone())
    }

    /// Opens a file. Where no descriptor is left, segments that are open for reads to come give theirs up.
    fn open_file(&mut self, name: &str, mut open: impl FnMut() -> io::Result<File>) -> Result<File, Error> {
        loop {
            let error = match open() {
                Ok(file) => return Ok(file),
                Err(error) => io_error("open", name, &error),
            };
            let idle = self.read_files.iter().find(|(_, file)| Rc::strong_count(file) == 1);
            let Some(idle) = idle.map(|(place, _)| *place) else { return Err(error) };
            if error != Error::NoDescriptors {
                return Err(error);
            }
            self.read_files.remove(&idle);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long the disk takes is the disk's to say")]
fn instant() -> Instant {
    Instant::now()
}

impl Operation {
    fn error_of(&self, part: u64, result: i32) -> Option<Error> {
        let (operation, name, expected) = match &self.kind {
            Kind::Read(read) => ("read", read.file.name.as_str(), None),
            Kind::Write { name, .. } | Kind::Zero { name, .. } if part >= PART_FLUSH => {
                ("flush", &**name, None)
            }
            Kind::Write { buffer, name } => ("write", &**name, Some(buffer.length)),
            Kind::Zero { length, name } => {
                let start = part as usize * ZERO_WRITE_BYTES;
                ("write", &**name, Some(ZERO_WRITE_BYTES.min(length - start)))
            }
        };
        let Ok(count) = usize::try_from(result) else { return Some(error_of(operation, name, -result)) };
        let is_short = expected.is_some_and(|expected| expected != count);
        // A short write is a failed one: what stands on the disk is not known. Of zeroes nothing depends on it, and
        // what cuts them short is the end of the room.
        let code = if matches!(self.kind, Kind::Zero { .. }) { libc::ENOSPC } else { libc::EIO };
        is_short.then(|| error_of(operation, name, code))
    }
}

impl Drop for Uring {
    /// The kernel may still use our buffers: waits until it has let go of all of them.
    fn drop(&mut self) {
        self.waiting.clear();
        while self.operations.len() > self.vacant.len() {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // Buffers the kernel may still write to must not be freed.
                    std::mem::forget(std::mem::take(&mut self.operations));
                    std::mem::forget(self.zeroes.take());
                    return;
                }
            }
            loop {
                let entry = self.ring.completion().next();
                let Some(entry) = entry else { break };
                self.reap(entry.user_data(), entry.result());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment_file;

    /// Waits like a shard that sleeps in the kernel, for a second at most, and clears the event.
    #[allow(unsafe_code)]
    fn is_readable(fd: RawFd) -> bool {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut count = [0u8; 8];
        // SAFETY: one initialised `pollfd`, as the count says.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 1000) };
        // SAFETY: as many bytes as the array has.
        let read = unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
        ready == 1 && read == 8
    }

    #[test]
    fn the_event_becomes_readable_when_an_operation_has_ended() {
        let root = std::env::temp_dir().join(format!("storage-engine-uring-{}", std::process::id()));
        std::fs::create_dir_all(root.join("journal-00")).expect("made");
        let buffers = [Buffer::new(8192, Some(0))];
        let mut uring = Uring::new(&root, "journal-00", &buffers, None).expect("set up");
        let [mut buffer] = buffers;
        let name = segment_file(0, 1);
        uring.open_segment(1, &name).expect("opened");
        uring.register_segment(1).expect("registered");
        // Write, flush and flush of the folder; a write that is durable itself; write and flush.
        let one = if uring.keeps_durable_writes { 1 } else { 2 };
        let ways = [(0u8, Durable::WithName, 3), (1, Durable::ByWrite, one), (2, Durable::ByFlush, 2)];
        for (round, durable, entries) in ways {
            buffer.bytes_mut().fill(round);
            buffer.length = 4096;
            uring.write(7, 1, round as u32 * 4096, buffer, durable);
            assert_eq!(uring.submit(), Ok(entries));
            buffer = loop {
                assert!(is_readable(uring.event_fd()), "nothing ended within a second");
                let Some(Completion { token, result }) = uring.complete() else { continue };
                assert_eq!(token, 7);
                let Ok(Done::Written(buffer)) = result else { panic!("{result:?}") };
                break buffer;
            };
            assert_eq!(uring.in_flight(), 0);
        }
        let end = 3 * 4096;
        uring.zero(8, 1, end as u32, 2 << 20);
        uring.read(9, ReadPart { journal: 0, segment: 1, offset: 4096, length: 10 });
        uring.read(10, ReadPart { journal: 0, segment: 2, offset: 0, length: 10 });
        // Across blocks; from a block on; and to behind the end of the file.
        let length = end + (2 << 20);
        uring.read_past_memory(11, ReadPart { journal: 0, segment: 1, offset: 4090, length: 4200 });
        uring.read_past_memory(12, ReadPart { journal: 0, segment: 1, offset: 8192, length: 4096 });
        let offset = length as u32 - 10;
        uring.submit().expect("submitted");
        let mut ended = Vec::new();
        loop {
            ended.extend(std::iter::from_fn(|| uring.complete()));
            if ended.len() == 5 {
                break;
            }
            assert!(is_readable(uring.event_fd()), "nothing ended within a second");
        }
        ended.sort_by_key(|completion| completion.token);
        assert_eq!(uring.submit(), Ok(0));
        assert!(matches!(ended[0].result, Ok(Done::Zeroed)));
        assert!(matches!(&ended[1].result, Ok(Done::Read(bytes)) if *bytes == [1; 10]));
        assert!(matches!(&ended[2].result, Err(Error::Io { operation: "open", .. })));
        let across = [vec![0; 6], vec![1; 4096], vec![2; 98]].concat();
        assert!(matches!(&ended[3].result, Ok(Done::Read(bytes)) if *bytes == across));
        assert!(matches!(&ended[4].result, Ok(Done::Read(bytes)) if *bytes == [2; 4096]));
        uring.read_past_memory(13, ReadPart { journal: 0, segment: 1, offset, length: 5000 });
        let last = loop {
            // What was short is asked for once more.
            uring.submit().expect("submitted");
            assert!(is_readable(uring.event_fd()), "nothing ended within a second");
            let Some(ended) = uring.complete() else { continue };
            break ended.result;
        };
        assert!(matches!(&last, Ok(Done::Read(bytes)) if *bytes == [0; 10]), "{last:?}");
        assert_eq!(std::fs::metadata(root.join(&name)).expect("there").len() as usize, length);
        // Once a chain was taken in part, every submission says so.
        assert_eq!(uring.judge(3, 3), Ok(()));
        assert!(uring.judge(3, 2).is_err());
        assert!(uring.submit().is_err() && uring.submit().is_err());
        drop(uring);
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
