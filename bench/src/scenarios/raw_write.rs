//! `raw-write`: direct writes, each followed by fdatasync, one after the other, to a file that was written
//! before: the least a durable acknowledgement can take on this disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::cli::{Options, RawArgs};
use crate::clock;
use crate::limits::{BLOCK_BYTES, RAW_FILE_BYTES};
use crate::measured::Measured;
use crate::message::Size;
use crate::report::Report;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: &RawArgs) -> Result<Report, Wrong> {
    if options.rate.is_some() || options.connections > 1 {
        return Err(Wrong::Usage(
            "raw-write is one write after the other: no --rate, no --connections".into(),
        ));
    }
    let Size::Fixed(size) = options.size else {
        return Err(Wrong::Usage("--size mixed is for deliveries".into()));
    };
    let size = size.next_multiple_of(BLOCK_BYTES);
    if size > RAW_FILE_BYTES {
        return Err(Wrong::Usage(format!("raw-write writes at most {RAW_FILE_BYTES} bytes at once")));
    }
    let scratch = Scratch(args.folder.join(format!("angarium-bench-{}.raw", std::process::id())));
    let failed = |error: io::Error| Wrong::io(scratch.0.display(), &error);
    let file = scratch.open().map_err(failed)?;
    let measured = write(&file, size, options).map_err(failed)?;
    let bytes = measured.operations * size as u64;
    Ok(Report::new("raw-write").figure("write_bytes", size).figure("payload_bytes", bytes).measured(measured))
}

fn write(file: &File, size: usize, options: &Options) -> io::Result<Measured> {
    let mut block = Aligned::new(size);
    let mut random = base::Random::new(1);
    block.bytes().chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next_u64().to_ne_bytes()));
    let mut measured = Measured::new();
    let began = clock::now();
    let end = began + options.duration;
    let count = options.count.unwrap_or(u64::MAX);
    let mut at = 0;
    while measured.operations < count && clock::now() < end {
        let start = clock::now();
        file.write_all_at(block.bytes(), at)?;
        file.sync_data()?;
        let now = clock::now();
        measured.complete(now.saturating_duration_since(start), began, now);
        at += size as u64;
        if at + size as u64 > RAW_FILE_BYTES as u64 {
            at = 0;
        }
    }
    Ok(measured)
}

/// A file that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Written once from end to end: blocks that were only reserved cost metadata at each flush.
    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(&self.0)?;
        let mut zeros = Aligned::new(RAW_FILE_BYTES);
        file.write_all_at(zeros.bytes(), 0)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("{} is left over: {error}", self.0.display());
        }
    }
}

/// Memory that begins at a block's border, as direct writes ask for.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Aligned {
    fn new(size: usize) -> Self {
        let memory = vec![0; size + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start, size }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.size]
    }
}
