//! Segments open for reading, and reading what is in memory with one system call and no trip through the ring.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;

use super::setup::advise_random;
use super::{Read, ReadFile, Uring};
use crate::disk::buffer::Buffer;
use crate::disk::files::forget;
use crate::disk::port::{Completion, ReadPart};
use crate::error::Error;
use crate::limits::{BLOCK_BYTES, READ_FILES_MAX};
use crate::log::segment_file;

/// Where a read's bytes go.
pub(super) enum Target {
    Plain(Vec<u8>),
    /// Whole blocks, read past the page cache; of them `length` bytes from `skip` on are wanted.
    Blocks {
        buffer: Buffer,
        skip: usize,
        length: usize,
    },
}

impl Target {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Blocks { buffer, .. } => buffer.bytes_mut(),
        }
    }
}

impl Read {
    /// Something is missing, and can be asked for: a direct read begins at a block, and is short within one at the end of
    /// the file alone.
    pub(super) fn goes_on(&mut self) -> bool {
        let is_whole = matches!(self.target, Target::Plain(_)) || self.filled.is_multiple_of(BLOCK_BYTES);
        is_whole && self.filled < self.target.bytes_mut().len()
    }

    /// What was wanted, as far as it was there.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self.target {
            Target::Plain(mut bytes) => {
                bytes.truncate(self.filled);
                bytes
            }
            Target::Blocks { buffer, skip, length } => {
                let end = self.filled.min(skip + length);
                buffer.bytes().get(skip..end).unwrap_or_default().to_vec()
            }
        }
    }
}

impl Uring {
    /// Reads what the disk has, past the page cache; where the file system cannot do that, what is left after it was told
    /// to forget the file.
    pub(in crate::disk) fn read_past_memory(&mut self, token: u64, part: ReadPart) {
        let name = segment_file(part.journal, part.segment);
        let path = self.root.join(&name);
        let mut options = OpenOptions::new();
        options.read(true);
        let opened = self.open_file(&name, || match options.custom_flags(libc::O_DIRECT).open(&path) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.custom_flags(0).open(&path),
            opened => opened,
        });
        match opened {
            Ok(file) => {
                let skip = part.offset as usize % BLOCK_BYTES;
                let buffer = Buffer::new(skip + part.length, None);
                let offset = part.offset as u64 - skip as u64;
                forget(&self.root, &name, offset, buffer.capacity() as u64);
                let target = Target::Blocks { buffer, skip, length: part.length };
                let file = Rc::new(ReadFile { file, name });
                self.waiting.push_back(Read { token, file, offset, target, filled: 0 });
                self.start_reads();
            }
            Err(error) => self.ended.push_back(Completion { token, result: Err(error) }),
        }
    }

    /// Appends the part, if it is in memory and its file can be opened.
    pub(in crate::disk) fn read_at_hand(&mut self, part: &ReadPart, out: &mut Vec<u8>) -> bool {
        let file = self.read_file(part.journal, part.segment);
        file.is_ok_and(|file| read_at_hand(&file.file, part.offset, part.length, out))
    }

    /// A segment opened for reading, kept open for the reads to come.
    pub(super) fn read_file(&mut self, journal: u16, segment: u32) -> Result<Rc<ReadFile>, Error> {
        if let Some(file) = self.read_files.get(&(journal, segment)) {
            return Ok(file.clone());
        }
        let name = segment_file(journal, segment);
        let path = self.root.join(&name);
        let file = self.open_file(&name, || File::open(&path))?;
        advise_random(&file);
        if self.read_files.len() >= READ_FILES_MAX
            && let Some(other) = self.read_files.keys().next().copied()
        {
            // Reads under way keep their file.
            self.read_files.remove(&other);
        }
        let file = Rc::new(ReadFile { file, name });
        self.read_files.insert((journal, segment), file.clone());
        Ok(file)
    }
}

/// Appends `length` bytes from `offset` on, if all of them are in the page cache; else false, `out` is as it was, and
/// nothing was waited for. False too where the file system cannot tell.
fn read_at_hand(file: &File, offset: u32, length: usize, out: &mut Vec<u8>) -> bool {
    out.reserve(length);
    let room = &mut out.spare_capacity_mut()[..length];
    let vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: length };
    #[allow(unsafe_code)]
    // SAFETY: the vector is of memory that `out` owns and that nobody else uses; the kernel writes at most `length`
    // bytes there before the call returns.
    let read =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset.into(), libc::RWF_NOWAIT) };
    if usize::try_from(read) != Ok(length) {
        return false;
    }
    #[allow(unsafe_code)]
    // SAFETY: the kernel has written all `length` bytes behind those that were there, and room for them was reserved.
    unsafe {
        out.set_len(out.len() + length);
    }
    true
}
