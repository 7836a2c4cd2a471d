//! The journal: frames gathered into batches, batches written forward into segments.

mod batch;
mod frame;
mod op;
mod pace;
mod scan;
mod segment;
mod ways;
mod window;

use std::fmt;

pub(crate) use batch::{LOG_TOKENS, Log, LogOptions, LogStart, Planned};
pub(crate) use frame::{Frame, checksum_seed, frame_bytes};
pub(crate) use op::{Op, OpKind, ops_bytes, parse_ops};
pub(crate) use scan::Journal;
pub(crate) use segment::Segments;

/// A place in a journal: the segment's number in the high half, the byte in the low one. Ordered as the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    /// Where every journal begins. Segment 0 does not exist, so that a zero means "none".
    pub(crate) const START: Self = Self::new(1, 0);

    pub(crate) const fn new(segment: u32, offset: u32) -> Self {
        Self((segment as u64) << 32 | offset as u64)
    }

    pub(crate) const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

/// The folder of a journal, relative to the store.
pub(crate) fn journal_folder(journal: u16) -> String {
    format!("journal-{journal:02}")
}

/// The file of a segment, relative to the store.
pub(crate) fn segment_file(journal: u16, segment: u32) -> String {
    format!("journal-{journal:02}/{segment:08x}.log")
}
