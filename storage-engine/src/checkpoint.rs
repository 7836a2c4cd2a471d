//! A checkpoint: the frozen part of a shard's index becomes runs, and a manifest says so. It runs on a blocking
//! thread while the shard goes on.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::index::{
    Fresh, Manifest, ManifestPartition, MergeInput, Partition, Run, choose, merge, partition_folder, run_file,
};
use crate::limits::POPULATE_BYTES_MAX;
use crate::log::LogStart;
use crate::store::Store;

/// A checkpoint to run on a blocking thread.
#[derive(Debug)]
pub struct CheckpointJob {
    pub(crate) disk: Disk,
    pub(crate) store: Store,
    pub(crate) shard: u16,
    /// The log up to here is what the layers given hold.
    pub(crate) replay: LogStart,
    pub(crate) work: Vec<Work>,
}

/// One partition of a checkpoint.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) partition: u16,
    pub(crate) frozen: Option<Arc<Fresh>>,
    /// Newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) covered: u64,
    pub(crate) next_run: u64,
}

/// What a checkpoint made; give it to `Engine::install`.
#[derive(Debug)]
pub struct CheckpointDone {
    pub(crate) result: Result<Vec<Made>, Error>,
}

/// A new run, in place of the newest `merged` ones.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) partition: u16,
    pub(crate) run: Arc<Run>,
    pub(crate) merged: usize,
}

impl CheckpointJob {
    /// Writes and flushes run files, then the manifest. Costs two flushes a changed partition and two for the
    /// manifest. A crash before the end leaves the checkpoint before this one; the engine takes a failure back in
    /// `install`.
    #[must_use]
    pub fn run(self) -> CheckpointDone {
        CheckpointDone { result: self.write() }
    }

    fn write(&self) -> Result<Vec<Made>, Error> {
        let mut made = Vec::new();
        let mut partitions = Vec::new();
        for work in &self.work {
            match work.write(&self.disk, &self.store) {
                Ok((entry, new)) => {
                    partitions.push(entry);
                    made.extend(new);
                }
                Err(error) => {
                    self.remove(&made, work);
                    return Err(error);
                }
            }
        }
        let Store { id, layout, shards, .. } = self.store;
        let manifest =
            Manifest { store: id, layout, shard: self.shard, shards, replay: self.replay, partitions };
        manifest.write(&self.disk)?;
        Ok(made)
    }
}

impl CheckpointJob {
    /// Removes what was made for a checkpoint that cannot be ended: no manifest names it yet, and on a full device it
    /// is room that others wait for. What cannot be removed is removed at the next opening.
    fn remove(&self, made: &[Made], failed: &Work) {
        for made in made {
            let _ = self.disk.remove(made.run.name());
        }
        let _ = self.disk.remove(&run_file(failed.partition, failed.next_run));
    }
}

impl CheckpointDone {
    /// Why the checkpoint failed, if it did; nothing is lost by it.
    pub fn error(&self) -> Option<&Error> {
        self.result.as_ref().err()
    }
}

impl Work {
    pub(crate) fn new(number: u16, partition: &Partition) -> Self {
        Self {
            partition: number,
            frozen: partition.frozen.clone(),
            runs: partition.runs.clone(),
            covered: partition.applied,
            next_run: partition.next_run,
        }
    }

    /// Writes the frozen part, if any, as a run; the partition's entry of the manifest to be.
    pub(crate) fn write(
        &self,
        disk: &Disk,
        store: &Store,
    ) -> Result<(ManifestPartition, Option<Made>), Error> {
        let old = self.runs.iter().map(|run| run.number());
        let Some(frozen) = &self.frozen else { return Ok((self.entry(old.collect()), None)) };
        let merged = choose(&self.runs, frozen.bytes() as u64);
        merge(
            disk,
            &MergeInput {
                store: store.id,
                partition: self.partition,
                run: self.next_run,
                covered: self.covered,
                frozen,
                runs: &self.runs[..merged],
                is_whole: merged == self.runs.len(),
            },
        )?;
        disk.flush_folder(&partition_folder(self.partition))?;
        let run = Arc::new(Run::open(disk, &store.id, self.partition, self.next_run)?);
        // Just written, so this reads no disk; and this is not the shard's thread.
        let mut budget = POPULATE_BYTES_MAX;
        run.populate(&mut budget);
        let runs = std::iter::once(self.next_run).chain(old.skip(merged)).collect();
        let mut entry = self.entry(runs);
        entry.next_run += 1;
        Ok((entry, Some(Made { partition: self.partition, run, merged })))
    }

    fn entry(&self, runs: Vec<u64>) -> ManifestPartition {
        let Self { partition, covered, next_run, .. } = *self;
        ManifestPartition { partition, covered, next_run, runs }
    }
}
