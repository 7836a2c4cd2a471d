//! Segments open for reading, and reading what is in memory with one system call and no trip through the ring.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use super::setup::advise_random;
use super::{ReadFile, Uring};
use crate::disk::port::ReadPart;
use crate::error::Error;
use crate::limits::READ_FILES_MAX;
use crate::log::segment_file;

impl Uring {
    /// The part, if it is in memory and its file can be opened.
    pub(in crate::disk) fn read_at_hand(&mut self, part: &ReadPart) -> Option<Vec<u8>> {
        let file = self.read_file(part.journal, part.segment).ok()?;
        read_at_hand(&file.file, part.offset, part.length)
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

/// `length` bytes from `offset` on, if all of them are in the page cache; else none, and nothing was waited for. None too
/// where the file system cannot tell.
fn read_at_hand(file: &File, offset: u32, length: usize) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(length);
    let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    #[allow(unsafe_code)]
    // SAFETY: the vector is of memory that `bytes` owns and that nobody else uses; the kernel writes at most `length`
    // bytes there before the call returns.
    let read =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset.into(), libc::RWF_NOWAIT) };
    if usize::try_from(read) != Ok(length) {
        return None;
    }
    #[allow(unsafe_code)]
    // SAFETY: the kernel has written `length` bytes, which is the capacity asked for.
    unsafe {
        bytes.set_len(length);
    }
    Some(bytes)
}
