//! The index: what the log's frames add up to, as layers of which the newest wins.

mod fresh;
mod manifest;
mod merge;
mod partition;
mod pending;
mod read;
mod run;
mod run_writer;

pub(crate) use fresh::Fresh;
pub(crate) use manifest::{Manifest, ManifestPartition, manifest_file};
pub(crate) use merge::{MergeInput, choose, merge};
pub(crate) use partition::Partition;
pub(crate) use run::{Run, partition_folder, run_file};
