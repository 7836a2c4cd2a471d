//! The two small files that say what a store is and where its journals stood at their last opening (disk.md,
//! "Store" and "Opened").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::disk::Disk;
use crate::error::Error;
use crate::log::{LogStart, Position, checksum_seed, journal_folder};

/// The format this program writes.
pub(crate) const FORMAT: u32 = 1;

/// disk.md, "Store".
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct StoreFile {
    magic: [u8; 8],
    version: u32,
    crc: u32,
    id: [u8; 16],
    layout: u64,
    segment_bytes: u32,
    partitions: u16,
    shards: u16,
    zero: [u8; 16],
}

/// disk.md, "Opened".
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct OpenedFile {
    magic: [u8; 8],
    version: u32,
    crc: u32,
    store: [u8; 16],
    end: u64,
    number: u64,
    generation: u32,
    journal: u16,
    zero: [u8; 10],
}

const _: () = assert!(size_of::<StoreFile>() == 64);
const _: () = assert!(size_of::<OpenedFile>() == 64);

const STORE: &str = "store";
const STORE_MAGIC: [u8; 8] = *b"Angarium";
const OPENED_MAGIC: [u8; 8] = *b"AngOpn\0\x01";
/// Where the checksummed part of both begins.
const CRC_FROM: usize = 16;

/// What a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) id: [u8; 16],
    pub(crate) partitions: u16,
    pub(crate) segment_bytes: u32,
    /// Shards of the last start; partition p belongs to shard p % shards.
    pub(crate) shards: u16,
    /// Rises with every change of the number of shards.
    pub(crate) layout: u64,
}

impl Store {
    /// None when there is no store.
    pub(crate) fn read(disk: &Disk) -> Result<Option<Self>, Error> {
        let Some(bytes) = disk.read_from(STORE, 0)? else { return Ok(None) };
        let corrupt = |expected| Error::Corrupt { what: "store", file: STORE.into(), offset: 0, expected };
        let (file, _) = StoreFile::read_from_prefix(&bytes).map_err(|_| corrupt("64 bytes"))?;
        if file.magic != STORE_MAGIC {
            return Err(corrupt("the file of a store"));
        }
        if file.version != FORMAT {
            return Err(Error::Version { found: file.version, known: FORMAT });
        }
        if file.crc != crc32c::crc32c(&file.as_bytes()[CRC_FROM..]) {
            return Err(corrupt("a right checksum"));
        }
        if file.partitions == 0 || file.shards == 0 || file.segment_bytes == 0 {
            return Err(corrupt("numbers above zero"));
        }
        let StoreFile { id, partitions, segment_bytes, shards, layout, .. } = file;
        Ok(Some(Self { id, partitions, segment_bytes, shards, layout }))
    }

    /// Puts the file in place; durable at return.
    pub(crate) fn write(&self, disk: &Disk) -> Result<(), Error> {
        let mut file = StoreFile {
            magic: STORE_MAGIC,
            version: FORMAT,
            crc: 0,
            id: self.id,
            layout: self.layout,
            segment_bytes: self.segment_bytes,
            partitions: self.partitions,
            shards: self.shards,
            zero: [0; 16],
        };
        file.crc = crc32c::crc32c(&file.as_bytes()[CRC_FROM..]);
        disk.replace(STORE, file.as_bytes())
    }

    /// Partitions of a shard, ascending.
    pub(crate) fn partitions_of(&self, shard: u16) -> impl Iterator<Item = u16> + use<> {
        (shard..self.partitions).step_by(self.shards as usize)
    }

    pub(crate) fn seed(&self, journal: u16) -> u32 {
        checksum_seed(&self.id, journal)
    }
}

fn opened_file(journal: u16) -> String {
    format!("{}/opened", journal_folder(journal))
}

/// What the last opening of a journal noted; none when it was never opened.
pub(crate) fn read_opened(disk: &Disk, store: &Store, journal: u16) -> Result<Option<LogStart>, Error> {
    let name = opened_file(journal);
    let Some(bytes) = disk.read_from(&name, 0)? else { return Ok(None) };
    let corrupt =
        |expected| Error::Corrupt { what: "opened", file: name.as_str().into(), offset: 0, expected };
    let (file, _) = OpenedFile::read_from_prefix(&bytes).map_err(|_| corrupt("64 bytes"))?;
    if file.magic != OPENED_MAGIC || file.crc != crc32c::crc32c(&file.as_bytes()[CRC_FROM..]) {
        return Err(corrupt("a right checksum"));
    }
    if file.store != store.id || file.journal != journal {
        return Err(corrupt("this store's and journal's"));
    }
    Ok(Some(LogStart { end: Position(file.end), number: file.number, generation: file.generation }))
}

/// Notes an opening; durable at return, before the first frame of the generation is written.
pub(crate) fn write_opened(disk: &Disk, store: &Store, journal: u16, start: &LogStart) -> Result<(), Error> {
    let mut file = OpenedFile {
        magic: OPENED_MAGIC,
        version: FORMAT,
        crc: 0,
        store: store.id,
        end: start.end.0,
        number: start.number,
        generation: start.generation,
        journal,
        zero: [0; 10],
    };
    file.crc = crc32c::crc32c(&file.as_bytes()[CRC_FROM..]);
    disk.replace(&opened_file(journal), file.as_bytes())
}
