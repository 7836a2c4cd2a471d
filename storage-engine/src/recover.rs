//! Opening a shard: the last checkpoint, then the tail of the journal (disk.md, "Recovery").

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::index::{Manifest, Partition, Run, partition_folder, run_file};
use crate::limits::POPULATE_OPENING_BYTES_MAX;
use crate::log::{Frame, Journal, LogStart, Position, journal_folder, parse_ops, segment_file};
use crate::store::{Store, read_opened};

/// A shard as it stands after recovery.
pub(crate) struct Recovered {
    /// The shard's partitions: number `shard + i * shards` at index i.
    pub(crate) partitions: Vec<Partition>,
    /// Where writing goes on, under a generation that no frame has yet. To be noted before the first one has it.
    pub(crate) start: LogStart,
    /// Where the checkpoint ends and the replay began.
    pub(crate) replayed_from: Position,
}

/// A shard as it can be read: recovery without its writes.
pub(crate) struct Loaded {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) tail: LogStart,
    replayed_from: Position,
}

/// Loads the checkpoint and replays the journal; reads only.
pub(crate) fn load(disk: &Disk, store: &Store, shard: u16) -> Result<Loaded, Error> {
    let manifest = Manifest::read(disk, &store.id, store.layout, shard)?;
    let mut partitions = open_partitions(disk, store, shard, &manifest)?;
    // The disk brings the runs while the journal is replayed.
    for_small_runs(&partitions, Run::expect);
    let opened = read_opened(disk, store, shard)?;
    let journal = Journal { disk, seed: store.seed(shard), number: shard, opened };
    let tail = journal.walk(manifest.replay, &mut |frame| replay(&journal, store, &mut partitions, frame))?;
    if let Some(opened) = read_opened(disk, store, shard)?
        && tail.end < opened.end
    {
        // An earlier opening had read, and flushed, more than this one can.
        return Err(journal.corrupt(tail.end, "a good frame, since an earlier opening read it"));
    }
    Ok(Loaded { partitions, tail, replayed_from: manifest.replay.end })
}

/// Loads the shard, makes durable what was found, and chooses a new generation; the caller notes it. Takes no room.
pub(crate) fn recover(disk: &Disk, store: &Store, shard: u16) -> Result<Recovered, Error> {
    let loaded = load(disk, store, shard)?;
    for_small_runs(&loaded.partitions, Run::populate);
    // Frames of the tail may have been read from a cache that a process left when it was killed. From here on
    // they count as flushed, so they must be.
    for segment in loaded.replayed_from.segment()..=loaded.tail.end.segment() {
        let name = segment_file(shard, segment);
        if disk.length(&name)?.is_some() {
            disk.flush(&name)?;
        }
    }
    disk.flush_folder(&journal_folder(shard))?;
    let opened = read_opened(disk, store, shard)?;
    // What will be written here goes past the system's memory, and must not find what was read there just now.
    let journal = Journal { disk, seed: store.seed(shard), number: shard, opened };
    journal.forget_from(loaded.tail.end)?;
    let last = opened.map_or(0, |opened| opened.generation).max(loaded.tail.generation);
    let start = LogStart { generation: last + 1, ..loaded.tail };
    Ok(Recovered { partitions: loaded.partitions, start, replayed_from: loaded.replayed_from })
}

/// What is done with small runs while there is room for their pages, the newest of each partition first: they are what
/// is read most.
fn for_small_runs(partitions: &[Partition], act: fn(&Run, &mut usize)) {
    let mut budget = POPULATE_OPENING_BYTES_MAX;
    let depth = partitions.iter().map(|partition| partition.runs.len()).max().unwrap_or(0);
    for age in 0..depth {
        partitions
            .iter()
            .filter_map(|partition| partition.runs.get(age))
            .for_each(|run| act(run, &mut budget));
    }
}

fn open_partitions(
    disk: &Disk,
    store: &Store,
    shard: u16,
    manifest: &Manifest,
) -> Result<Vec<Partition>, Error> {
    let mut partitions = Vec::new();
    for number in store.partitions_of(shard) {
        let Some(entry) = manifest.partitions.iter().find(|entry| entry.partition == number) else {
            partitions.push(Partition::default());
            continue;
        };
        let open = |run: &u64| Run::open(disk, &store.id, number, *run).map(Arc::new);
        let runs = entry.runs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if let Some(newest) = runs.first()
            && newest.covered() != entry.covered
        {
            let file = newest.name().into();
            return Err(Error::Corrupt {
                what: "run",
                file,
                offset: 0,
                expected: "the run the manifest names",
            });
        }
        partitions.push(Partition::new(runs, entry.covered, entry.next_run));
    }
    Ok(partitions)
}

fn replay(
    journal: &Journal<'_>,
    store: &Store,
    partitions: &mut [Partition],
    frame: &Frame<'_>,
) -> Result<(), Error> {
    let header = &frame.header;
    let corrupt = |expected| journal.corrupt(header.position(), expected);
    let number = header.partition();
    if number % store.shards != journal.number || number >= store.partitions {
        return Err(corrupt("a partition of this shard"));
    }
    let partition = &mut partitions[(number / store.shards) as usize];
    if header.sequence() <= partition.applied {
        return Ok(());
    }
    if header.sequence() != partition.applied + 1 {
        return Err(corrupt("the next number of the partition"));
    }
    let ops = parse_ops(frame.ops).ok_or_else(|| corrupt("well-formed ops"))?;
    partition.apply(header.number(), header.sequence(), ops);
    Ok(())
}

/// Removes run files that no manifest names: what a checkpoint left that did not come to its end.
pub(crate) fn remove_leftovers(disk: &Disk, store: &Store, shard: u16) -> Result<(), Error> {
    let manifest = Manifest::read(disk, &store.id, store.layout, shard)?;
    for number in store.partitions_of(shard) {
        let entry = manifest.partitions.iter().find(|entry| entry.partition == number);
        let runs = entry.map_or(&[][..], |entry| &entry.runs);
        let kept: Vec<String> = runs.iter().map(|run| run_file(number, *run)).collect();
        let folder = partition_folder(number);
        for name in disk.list(&folder)? {
            let name = format!("{folder}/{name}");
            if !kept.contains(&name) {
                disk.remove_leftover(&name)?;
            }
        }
    }
    Ok(())
}
