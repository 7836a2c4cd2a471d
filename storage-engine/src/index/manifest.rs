//! A manifest: what one shard's index consists of, and where its journal is replayed from (disk.md, "Manifest").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::disk::Disk;
use crate::error::Error;
use crate::log::{LogStart, Position};

/// disk.md, "Manifest".
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Header {
    magic: [u8; 8],
    version: u32,
    /// CRC-32C of everything behind it.
    crc: u32,
    store: [u8; 16],
    layout: u64,
    end: u64,
    number: u64,
    generation: u32,
    shard: u16,
    shards: u16,
    partitions: u32,
    zero: u32,
}

/// disk.md, "Manifest": one partition; the numbers of its runs follow, newest first.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Entry {
    partition: u32,
    runs: u32,
    covered: u64,
    next_run: u64,
}

const MAGIC: [u8; 8] = *b"AngMan\0\x01";
const VERSION: u32 = 1;
const CRC_FROM: usize = 16;
const _: () = assert!(size_of::<Header>() == 72);
const _: () = assert!(size_of::<Entry>() == 24);

/// One partition's part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestPartition {
    pub(crate) partition: u16,
    /// The partition's sequence the runs cover.
    pub(crate) covered: u64,
    pub(crate) next_run: u64,
    /// Newest first.
    pub(crate) runs: Vec<u64>,
}

/// One shard's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store: [u8; 16],
    /// Rises with every change of the number of shards.
    pub(crate) layout: u64,
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    pub(crate) replay: LogStart,
    pub(crate) partitions: Vec<ManifestPartition>,
}

/// A manifest's file, relative to the store.
pub(crate) fn manifest_file(layout: u64, shard: u16) -> String {
    format!("index/manifest-{layout:04}-{shard:02}")
}

impl Manifest {
    /// Puts this manifest in place of the one before it; durable at return.
    pub(crate) fn write(&self, disk: &Disk) -> Result<(), Error> {
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            crc: 0,
            store: self.store,
            layout: self.layout,
            end: self.replay.end.0,
            number: self.replay.number,
            generation: self.replay.generation,
            shard: self.shard,
            shards: self.shards,
            partitions: self.partitions.len() as u32,
            zero: 0,
        };
        let mut rest = Vec::new();
        for partition in &self.partitions {
            let entry = Entry {
                partition: partition.partition as u32,
                runs: partition.runs.len() as u32,
                covered: partition.covered,
                next_run: partition.next_run,
            };
            rest.extend_from_slice(entry.as_bytes());
            rest.extend_from_slice(partition.runs.as_bytes());
        }
        header.crc = crc32c::crc32c_append(crc32c::crc32c(&header.as_bytes()[CRC_FROM..]), &rest);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&rest);
        disk.replace(&manifest_file(self.layout, self.shard), &bytes)
    }

    /// Reads the manifest of a shard of a layout.
    pub(crate) fn read(disk: &Disk, store: &[u8; 16], layout: u64, shard: u16) -> Result<Self, Error> {
        let name = manifest_file(layout, shard);
        let corrupt =
            |expected| Error::Corrupt { what: "manifest", file: name.as_str().into(), offset: 0, expected };
        let bytes = disk.read_from(&name, 0)?.ok_or_else(|| corrupt("a manifest for every shard"))?;
        let (header, rest) = Header::read_from_prefix(&bytes).map_err(|_| corrupt("at least 72 bytes"))?;
        if header.magic != MAGIC || header.version != VERSION {
            return Err(corrupt("a manifest of version 1"));
        }
        if header.crc != crc32c::crc32c(&bytes[CRC_FROM..]) {
            return Err(corrupt("a right checksum"));
        }
        if header.store != *store || header.layout != layout || header.shard != shard {
            return Err(corrupt("this store's, layout's and shard's numbers"));
        }
        let partitions = parse_partitions(rest, header.partitions).ok_or_else(|| corrupt("whole entries"))?;
        let end = Position(header.end);
        let replay = LogStart { end, number: header.number, generation: header.generation };
        Ok(Self { store: *store, layout, shard, shards: header.shards, replay, partitions })
    }
}

fn parse_partitions(mut bytes: &[u8], count: u32) -> Option<Vec<ManifestPartition>> {
    let mut partitions = Vec::new();
    for _ in 0..count {
        let (entry, rest) = Entry::read_from_prefix(bytes).ok()?;
        let (runs, rest) = rest.split_at_checked((entry.runs as usize).checked_mul(8)?)?;
        bytes = rest;
        let runs = runs.chunks_exact(8).map(|run| u64::from_le_bytes(run.try_into().expect("chunks of 8")));
        partitions.push(ManifestPartition {
            partition: u16::try_from(entry.partition).ok()?,
            covered: entry.covered,
            next_run: entry.next_run,
            runs: runs.collect(),
        });
    }
    bytes.is_empty().then_some(partitions)
}
