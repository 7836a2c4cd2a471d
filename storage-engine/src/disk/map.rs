//! Read-only maps of files that never change again.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Advice, Mmap};
use zerocopy::IntoBytes;

use super::files::io_error;
use crate::error::Error;
use crate::limits::POPULATE_STEP_BYTES;

/// The bytes of a file, aligned to 8.
#[derive(Debug)]
pub(crate) enum Map {
    File(Mmap),
    /// Words, so that the bytes are aligned as a mapped file's are; and how many bytes count.
    Memory(Box<[u64]>, usize),
}

impl Map {
    pub(super) fn memory(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)].into_boxed_slice();
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self::Memory(words, bytes.len())
    }
}

impl Map {
    /// Brings the pages in now, by the thread that opens the file, so that no read waits for the disk page by page.
    pub(crate) fn populate(&self) {
        if let Self::File(map) = self {
            populate(map);
        }
    }

    /// Asks the disk for a range at once; reading it page by page would wait for each page.
    pub(crate) fn expect_read(&self, range: Range<usize>) {
        if let Self::File(map) = self {
            let _ = map.advise_range(Advice::WillNeed, range.start, range.len());
        }
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Memory(words, length) => &words.as_bytes()[..*length],
        }
    }
}

pub(super) fn map_file(root: &Path, name: &str) -> Result<Map, Error> {
    let file = File::open(root.join(name)).map_err(|error| io_error("map", name, &error))?;
    if file.metadata().map_err(|error| io_error("map", name, &error))?.len() == 0 {
        return Ok(Map::memory(&[]));
    }
    #[allow(unsafe_code)]
    // SAFETY: runs are written under another name, flushed, renamed, and never written again; the store's lock
    // keeps other processes of ours out, so the mapped bytes do not change.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| io_error("map", name, &error))?;
    // Read-ahead makes a cold page cost milliseconds; advice is advice, so a refusal changes nothing.
    let _ = map.advise(Advice::Random);
    Ok(Map::File(map))
}

/// Brings a file's pages in, in steps, so that nobody who waits for the map is held up long. Advice: a kernel without it
/// (before 5.14) leaves the pages to be brought in as they are read.
fn populate(map: &Mmap) {
    // Against the advice for the map, the disk is asked for many pages at a time.
    let _ = map.advise(Advice::WillNeed);
    for start in (0..map.len()).step_by(POPULATE_STEP_BYTES) {
        let length = POPULATE_STEP_BYTES.min(map.len() - start);
        if map.advise_range(Advice::PopulateRead, start, length).is_err() {
            return;
        }
    }
}
