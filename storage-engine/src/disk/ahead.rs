//! Reading a file forward, from the disk and past the system's memory, with several reads under way ahead of who takes
//! what they bring.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use io_uring::{IoUring, opcode, types};

use super::Simulated;
use super::buffer::Buffer;
use super::files::{error_of, io_error, read_at};
use crate::error::Error;
use crate::limits::{AHEAD_BYTES, AHEAD_READS, BLOCK_BYTES};

/// A file that is read forward once.
#[derive(Debug)]
pub(crate) enum Ahead {
    Folder(Box<Reader>),
    /// What is left, given a block at a time: whoever takes it meets an edge as often as can be.
    Simulated {
        bytes: Vec<u8>,
        taken: Range<usize>,
    },
}

impl Ahead {
    /// From the start of a block on; none when there is no such file.
    pub(super) fn folder(root: &Path, name: &str, offset: u64) -> Result<Option<Self>, Error> {
        Ok(Reader::open(root, name, offset)?.map(|reader| Self::Folder(Box::new(reader))))
    }

    pub(super) fn simulated(disk: &Simulated, name: &str, offset: u64) -> Option<Self> {
        Some(Self::Simulated { bytes: disk.read_from(name, offset)?, taken: 0..0 })
    }

    /// Takes the next bytes in place of those that were taken before; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        match self {
            Self::Folder(reader) => reader.next(),
            Self::Simulated { bytes, taken } => {
                *taken = taken.end..bytes.len().min(taken.end + BLOCK_BYTES);
                let brought = &bytes[taken.clone()];
                Ok((!brought.is_empty()).then_some(brought))
            }
        }
    }

    /// What was taken last; nothing before the first and at the end.
    pub(crate) fn taken(&self) -> &[u8] {
        match self {
            Self::Folder(reader) => reader.taken(),
            Self::Simulated { bytes, taken } => &bytes[taken.clone()],
        }
    }
}

/// A file of a real folder, read by a ring of its own.
pub(crate) struct Reader {
    ring: IoUring,
    file: File,
    root: PathBuf,
    name: String,
    /// Where the next read begins, and where the file ends.
    next: u64,
    end: u64,
    /// In the order of the file; their reads may end in any other.
    parts: VecDeque<Part>,
    /// How many parts came before the first of `parts`: its read is called by its number.
    before: u64,
    in_flight: usize,
    taken: Option<Part>,
    vacant: Vec<Buffer>,
}

struct Part {
    buffer: Buffer,
    offset: u64,
    /// Bytes of the file that belong here.
    length: usize,
    /// What the read brought, once it has ended.
    result: Option<i32>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({} at {} of {})", self.name, self.next, self.end)
    }
}

impl Reader {
    fn open(root: &Path, name: &str, offset: u64) -> Result<Option<Self>, Error> {
        debug_assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "direct reads begin at blocks");
        let mut options = OpenOptions::new();
        let path = root.join(name);
        let file = match options.read(true).custom_flags(libc::O_DIRECT).open(&path) {
            // A file system without direct I/O.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.custom_flags(0).open(&path),
            opened => opened,
        };
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", name, &error)),
        };
        let end = file.metadata().map_err(|error| io_error("read", name, &error))?.len();
        let ring =
            IoUring::new(AHEAD_READS as u32).map_err(|error| io_error("set up", "io_uring", &error))?;
        Ok(Some(Self {
            ring,
            file,
            root: root.into(),
            name: name.into(),
            next: offset,
            end,
            parts: VecDeque::new(),
            before: 0,
            in_flight: 0,
            taken: None,
            vacant: Vec::new(),
        }))
    }

    fn taken(&self) -> &[u8] {
        self.taken.as_ref().map_or(&[], |part| &part.buffer.bytes()[..part.length])
    }

    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.vacant.extend(self.taken.take().map(|part| part.buffer));
        while self.parts.len() < AHEAD_READS && self.next < self.end {
            self.begin();
        }
        self.submit(0)?;
        while self.parts.front().is_some_and(|part| part.result.is_none()) {
            self.submit(1)?;
            self.reap();
        }
        let Some(mut part) = self.parts.pop_front() else { return Ok(None) };
        self.before += 1;
        self.complete(&mut part)?;
        self.taken = Some(part);
        Ok(Some(self.taken()))
    }

    /// Makes the next read ready.
    fn begin(&mut self) {
        let length = (self.end - self.next).min(AHEAD_BYTES as u64) as usize;
        let buffer = self.vacant.pop().unwrap_or_else(|| Buffer::new(AHEAD_BYTES, None));
        let asked = length.next_multiple_of(BLOCK_BYTES) as u32;
        let number = self.before + self.parts.len() as u64;
        let read = opcode::Read::new(types::Fd(self.file.as_raw_fd()), buffer.address(), asked)
            .offset(self.next)
            .build()
            .user_data(number);
        #[allow(unsafe_code)]
        // SAFETY: the buffer's address does not change, and the buffer is kept in `parts` until the read has ended;
        // dropping the reader waits for that.
        let pushed = unsafe { self.ring.submission().push(&read) };
        pushed.expect("the ring has an entry for each part");
        self.parts.push_back(Part { buffer, offset: self.next, length, result: None });
        self.next += length as u64;
        self.in_flight += 1;
    }

    /// Hands over what is ready, and waits until so many reads have ended.
    fn submit(&mut self, wanted: usize) -> Result<(), Error> {
        loop {
            match self.ring.submit_and_wait(wanted) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel is short of something that what is in flight will give back.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && self.in_flight > 0 => {}
                Err(error) => return Err(io_error("read", &self.name, &error)),
            }
        }
    }

    fn reap(&mut self) {
        for completion in self.ring.completion() {
            self.in_flight -= 1;
            let index = (completion.user_data() - self.before) as usize;
            if let Some(part) = self.parts.get_mut(index) {
                part.result = Some(completion.result());
            }
        }
    }

    /// A read that brought less than it was asked for is not taken for the end of the file.
    fn complete(&self, part: &mut Part) -> Result<(), Error> {
        let result = part.result.unwrap_or(-libc::EIO);
        let brought = match usize::try_from(result) {
            Ok(brought) => brought.min(part.length),
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => 0,
            Err(_) => return Err(error_of("read", &self.name, -result)),
        };
        if brought == part.length {
            return Ok(());
        }
        let rest = read_at(&self.root, &self.name, part.offset + brought as u64, part.length - brought)?;
        part.length = brought + rest.len();
        part.buffer.bytes_mut()[brought..part.length].copy_from_slice(&rest);
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        while self.in_flight > 0 {
            if self.submit(1).is_err() {
                // The kernel may still write to them.
                std::mem::forget(std::mem::take(&mut self.parts));
                return;
            }
            self.reap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let folder = std::env::temp_dir().join(format!("ahead-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("file"), bytes).expect("a file");
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("the test's own");
        }
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    fn read(mut ahead: Ahead) -> Vec<u8> {
        let mut read = Vec::new();
        assert!(ahead.taken().is_empty());
        loop {
            let Some(bytes) = ahead.next().expect("readable") else { return read };
            let bytes = bytes.to_vec();
            assert_eq!(ahead.taken(), bytes);
            read.extend(bytes);
        }
    }

    #[test]
    fn a_file_is_read_whole_from_any_block_on_also_where_its_end_is_none() {
        for length in [0, 1, BLOCK_BYTES, AHEAD_BYTES * (AHEAD_READS + 3), AHEAD_BYTES * 2 + 777] {
            let bytes = pattern(length);
            let folder = Folder::new("whole", &bytes);
            for offset in [0, BLOCK_BYTES, AHEAD_BYTES + BLOCK_BYTES, length.next_multiple_of(BLOCK_BYTES)] {
                let ahead = Ahead::folder(&folder.0, "file", offset as u64).expect("opened").expect("there");
                assert!(read(ahead) == bytes.get(offset..).unwrap_or_default(), "{length} from {offset}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_none() {
        let folder = Folder::new("none", b"");
        assert!(Ahead::folder(&folder.0, "other", 0).expect("looked for").is_none());
    }

    #[test]
    fn what_was_asked_for_and_not_taken_may_be_left() {
        let folder = Folder::new("left", &pattern(AHEAD_BYTES * AHEAD_READS * 2));
        for _ in 0..20 {
            let mut ahead = Ahead::folder(&folder.0, "file", 0).expect("opened").expect("there");
            assert_eq!(ahead.next().expect("readable").map(<[u8]>::len), Some(AHEAD_BYTES));
        }
    }

    #[test]
    fn a_file_cut_shorter_while_it_is_read_ends_early() {
        let bytes = pattern(AHEAD_BYTES * 2);
        let folder = Folder::new("cut", &bytes);
        let ahead = Ahead::folder(&folder.0, "file", 0).expect("opened").expect("there");
        std::fs::write(folder.0.join("file"), &bytes[..AHEAD_BYTES + 100]).expect("a file");
        assert!(read(ahead) == bytes[..AHEAD_BYTES + 100]);
    }
}
