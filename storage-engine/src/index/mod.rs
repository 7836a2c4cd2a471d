//! The index: what the log's frames add up to, as layers of which the newest wins.

mod cursor;
mod fresh;
mod manifest;
mod merge;
mod partition;
mod pending;
mod read;
mod run;
mod run_writer;
mod sorted;

pub(crate) use fresh::Fresh;
pub(crate) use manifest::{Manifest, ManifestPartition, manifest_file};
pub(crate) use merge::{MergeInput, choose, merge};
pub(crate) use partition::Partition;
pub(crate) use run::{Run, partition_folder, run_file};

/// What a layer says of a key it knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored<'a> {
    Live(&'a [u8]),
    /// Deleted here, whatever an older layer has.
    Deleted,
}

impl<'a> Stored<'a> {
    const fn new(value: Option<&'a [u8]>) -> Self {
        match value {
            Some(value) => Self::Live(value),
            None => Self::Deleted,
        }
    }

    pub(crate) const fn live(self) -> Option<&'a [u8]> {
        match self {
            Self::Live(value) => Some(value),
            Self::Deleted => None,
        }
    }
}
