//! Bringing a store into the shape a start needs: made, locked, and divided among the right number of shards.

use crate::checkpoint::Work;
use crate::disk::Disk;
use crate::error::Error;
use crate::index::{Manifest, ManifestPartition, manifest_file, partition_folder};
use crate::limits::SHARDS_MAX;
use crate::log::{LogStart, Position, journal_folder};
use crate::options::{Options, StoreInfo};
use crate::recover::recover;
use crate::store::{Store, read_opened, write_opened};

/// Where a journal that was never opened begins.
const NEW_JOURNAL: LogStart = LogStart { end: Position::START, number: 0, generation: 0 };

/// Makes the store if there is none, locks it, and brings it to `shards` shards. Called once, before any
/// `Engine::open`; the store stays locked until the answer is dropped.
///
/// When the number of shards is another than at the last start, every journal is recovered and every partition
/// checkpointed, so that a partition's whole index is in runs and its new shard needs no other shard's journal
/// but for bodies. A crash meanwhile leaves the old division.
///
/// On a full device a store is prepared for the number of shards it had; making one, or another number, needs room and
/// is refused with `Error::Full`, which leaves the old division.
pub fn prepare(disk: &Disk, options: &Options, shards: u16) -> Result<StoreInfo, Error> {
    options.verify()?;
    if shards == 0 || shards > SHARDS_MAX {
        return Err(Error::Options { what: "shards must be 1 to 1024" });
    }
    let lock = disk.lock()?;
    let found = Store::read(disk)?;
    let created = found.is_none();
    let before = match found {
        Some(store) => store,
        None => make(disk, options, shards)?,
    };
    let store = if before.shards == shards { before } else { divide(disk, before, shards)? };
    remove_manifests(disk, &store)?;
    Ok(StoreInfo {
        partitions: store.partitions,
        id: store.id,
        created,
        segment_bytes: store.segment_bytes,
        shards_before: if created { 0 } else { before.shards },
        lock,
    })
}

/// The shards among which a store is divided, or `None` when there is no store. For whoever opens it for a moment and
/// has no reason to divide it anew. Reads one small file, takes no lock.
pub fn shards_of(disk: &Disk) -> Result<Option<u16>, Error> {
    Ok(Store::read(disk)?.map(|store| store.shards))
}

/// The file `store` comes last: without it there is no store, and the next start makes it anew.
fn make(disk: &Disk, options: &Options, shards: u16) -> Result<Store, Error> {
    let Options { partitions, segment_bytes, .. } = *options;
    if !disk.list(&journal_folder(0))?.is_empty() {
        // Never a new store over the remains of one.
        let expected = "the file that says what this store is";
        return Err(Error::Corrupt { what: "store", file: "store".into(), offset: 0, expected });
    }
    let store = Store { id: disk.new_id()?, partitions, segment_bytes, shards, layout: 1 };
    disk.make_folder("index")?;
    for partition in 0..partitions {
        disk.make_folder(&partition_folder(partition))?;
    }
    make_journals(disk, shards)?;
    write_manifests(disk, &store, &[])?;
    disk.flush_folder("")?;
    disk.flush_parents()?;
    store.write(disk)?;
    Ok(store)
}

fn divide(disk: &Disk, before: Store, shards: u16) -> Result<Store, Error> {
    let mut partitions = Vec::new();
    for shard in 0..before.shards {
        let recovered = recover(disk, &before, shard)?;
        write_opened(disk, &before, shard, &recovered.start)?;
        for (number, mut partition) in before.partitions_of(shard).zip(recovered.partitions) {
            if !partition.fresh.is_empty() {
                partition.frozen = Some(std::mem::take(&mut partition.fresh).into());
            }
            let (entry, _) = Work::new(number, &partition).write(disk, &before)?;
            partitions.push(entry);
        }
    }
    let store = Store { shards, layout: before.layout + 1, ..before };
    make_journals(disk, shards)?;
    write_manifests(disk, &store, &partitions)?;
    disk.flush_folder("")?;
    // From here on the new division is the store's.
    store.write(disk)?;
    Ok(store)
}

fn make_journals(disk: &Disk, shards: u16) -> Result<(), Error> {
    (0..shards).try_for_each(|shard| disk.make_folder(&journal_folder(shard)))
}

fn write_manifests(disk: &Disk, store: &Store, partitions: &[ManifestPartition]) -> Result<(), Error> {
    for shard in 0..store.shards {
        let replay = read_opened(disk, store, shard)?.unwrap_or(NEW_JOURNAL);
        let of_shard = partitions.iter().filter(|entry| entry.partition % store.shards == shard);
        let partitions = of_shard.cloned().collect();
        let Store { id, layout, shards, .. } = *store;
        Manifest { store: id, layout, shard, shards, replay, partitions }.write(disk)?;
    }
    Ok(())
}

/// Removes manifests of other divisions: older ones, and one that a crash left before it became the store's.
fn remove_manifests(disk: &Disk, store: &Store) -> Result<(), Error> {
    let kept: Vec<String> = (0..store.shards).map(|shard| manifest_file(store.layout, shard)).collect();
    for name in disk.list("index")? {
        let name = format!("index/{name}");
        if name.starts_with("index/manifest-") && !kept.contains(&name) {
            disk.remove_leftover(&name)?;
        }
    }
    Ok(())
}
