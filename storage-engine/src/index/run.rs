//! A run: an immutable file with rows, changes and values of one partition, read in place (disk.md, "Run").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Stored;
use crate::disk::{Disk, Map};
use crate::error::Error;
use crate::limits::RUN_BLOCK_BYTES;
use crate::row::StoredRow;

/// disk.md, "Run", at the start of the file.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Preamble {
    pub(super) magic: [u8; 8],
    pub(super) version: u32,
    pub(super) partition: u32,
    pub(super) run: u64,
    pub(super) store: [u8; 16],
    pub(super) zero: [u8; 24],
}

/// disk.md, "Run", at the end of the file.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Footer {
    pub(super) magic: [u8; 8],
    pub(super) run: u64,
    pub(super) partition: u32,
    pub(super) blocks: u32,
    pub(super) rows: u64,
    pub(super) heap: u64,
    pub(super) changes: u64,
    pub(super) values: u64,
    pub(super) accounts: u64,
    pub(super) checksums: u64,
    pub(super) row_count: u64,
    pub(super) value_count: u64,
    pub(super) account_count: u64,
    pub(super) length: u64,
    pub(super) covered: u64,
    pub(super) zero: [u8; 12],
    pub(super) crc: u32,
}

/// disk.md, "Run": where one account's rows, changes and values are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct AccountEntry {
    pub(crate) account: u64,
    pub(crate) highest_change: u64,
    pub(super) rows: u64,
    pub(super) values: u64,
    pub(super) row_count: u32,
    pub(super) value_count: u32,
    pub(super) zero: u64,
}

/// disk.md, "Run": a key and its value in the heap.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct ValueEntry {
    pub(super) heap: u64,
    pub(super) length: u32,
    pub(super) key_length: u16,
    /// 1 for a value, 0 for a deletion.
    pub(super) is_live: u16,
}

pub(super) const PREAMBLE_MAGIC: [u8; 8] = *b"AngRun\0\x01";
pub(super) const FOOTER_MAGIC: [u8; 8] = *b"AngRunE\x01";
pub(super) const RUN_VERSION: u32 = 1;
pub(super) const PREAMBLE_BYTES: usize = size_of::<Preamble>();
pub(super) const FOOTER_BYTES: usize = size_of::<Footer>();
const _: () = assert!(PREAMBLE_BYTES == 64);
const _: () = assert!(FOOTER_BYTES == 128);
const _: () = assert!(size_of::<AccountEntry>() == 48);
const _: () = assert!(size_of::<ValueEntry>() == 16);

/// The folder of a partition's runs, relative to the store.
pub(crate) fn partition_folder(partition: u16) -> String {
    format!("index/{partition:04}")
}

/// A run's file, relative to the store.
pub(crate) fn run_file(partition: u16, run: u64) -> String {
    format!("index/{partition:04}/{run:08x}.run")
}

/// An open run.
#[derive(Debug)]
pub(crate) struct Run {
    map: Map,
    name: String,
    footer: Footer,
}

impl Run {
    /// Maps a run and verifies its two ends and that its accounts are within it; `verify` reads the rest.
    pub(crate) fn open(disk: &Disk, store: &[u8; 16], partition: u16, run: u64) -> Result<Self, Error> {
        let name = run_file(partition, run);
        let map = disk.map(&name)?;
        let damaged = |offset: u64, expected| corrupt(&name, offset, expected);
        let (preamble, _) =
            Preamble::read_from_prefix(&map).map_err(|_| damaged(0, "the 64 bytes a run begins with"))?;
        if preamble.magic != PREAMBLE_MAGIC || preamble.version != RUN_VERSION {
            return Err(damaged(0, "a run of version 1"));
        }
        if preamble.store != *store || preamble.partition != partition as u32 || preamble.run != run {
            return Err(damaged(12, "this store's, partition's and run's numbers"));
        }
        let (_, footer) =
            Footer::read_from_suffix(&map).map_err(|_| damaged(0, "the 128 bytes a run ends with"))?;
        let at = (map.len() - FOOTER_BYTES) as u64;
        let crc = crc32c::crc32c(&footer.as_bytes()[..FOOTER_BYTES - 4]);
        if footer.magic != FOOTER_MAGIC || footer.crc != crc {
            return Err(damaged(at, "a footer with a right checksum"));
        }
        if footer.length != map.len() as u64 || footer.run != run || !footer.is_ordered() {
            return Err(damaged(at, "a footer that describes this file"));
        }
        let run = Self { map, name, footer };
        let is_within = |entry: &AccountEntry| {
            let rows = entry.rows.saturating_add(entry.row_count as u64);
            let values = entry.values.saturating_add(entry.value_count as u64);
            rows <= footer.row_count && values <= footer.value_count
        };
        if !run.accounts().iter().all(is_within) {
            return Err(corrupt(&run.name, footer.accounts, "accounts within the run"));
        }
        Ok(run)
    }

    /// Recomputes every block's checksum and follows every reference.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let checksums = self.slice::<u32>(self.footer.checksums, self.footer.blocks as u64);
        let covered = &self.map[..self.footer.checksums as usize];
        for (index, block) in covered.chunks(RUN_BLOCK_BYTES).enumerate() {
            if checksums.get(index) != Some(&crc32c::crc32c(block)) {
                let offset = (index * RUN_BLOCK_BYTES) as u64;
                return Err(corrupt(&self.name, offset, "a block with the checksum written for it"));
            }
        }
        let end = self.footer.checksums as usize + checksums.len() * 4;
        if self.map[end..self.map.len() - FOOTER_BYTES].iter().any(|byte| *byte != 0) {
            return Err(corrupt(&self.name, end as u64, "zeroes up to the footer"));
        }
        let heap_bytes = self.footer.changes - self.footer.heap;
        for entry in self.accounts() {
            let (rows, changes) = (self.rows(entry), self.changes(entry));
            let by_change =
                changes.iter().filter_map(|index| rows.get(*index as usize)).map(StoredRow::change);
            if !rows.is_sorted_by(|one, next| one.key() < next.key()) {
                return Err(corrupt(&self.name, self.footer.rows, "rows by collection and item"));
            }
            if by_change.clone().count() != rows.len() || !by_change.is_sorted() {
                return Err(corrupt(&self.name, self.footer.changes, "every row by its change"));
            }
            let is_within =
                |value: &ValueEntry| value.heap + value.key_length as u64 + value.length as u64 <= heap_bytes;
            if !self.value_entries(entry).iter().all(is_within) {
                return Err(corrupt(&self.name, self.footer.values, "values within the heap"));
            }
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn number(&self) -> u64 {
        self.footer.run
    }

    /// The partition's sequence up to which this run holds everything that older runs do not.
    pub(crate) fn covered(&self) -> u64 {
        self.footer.covered
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Ascending by account.
    pub(crate) fn accounts(&self) -> &[AccountEntry] {
        self.slice(self.footer.accounts, self.footer.account_count)
    }

    pub(crate) fn account(&self, account: u64) -> Option<&AccountEntry> {
        let accounts = self.accounts();
        let index = accounts.binary_search_by_key(&account, |entry| entry.account).ok()?;
        accounts.get(index)
    }

    /// The account's rows by collection and item.
    pub(crate) fn rows(&self, entry: &AccountEntry) -> &[StoredRow] {
        let rows: &[StoredRow] = self.slice(self.footer.rows, self.footer.row_count);
        &rows[entry.rows as usize..][..entry.row_count as usize]
    }

    /// The account's row indices (within its rows) by change.
    pub(crate) fn changes(&self, entry: &AccountEntry) -> &[u32] {
        let changes: &[u32] = self.slice(self.footer.changes, self.footer.row_count);
        &changes[entry.rows as usize..][..entry.row_count as usize]
    }

    pub(crate) fn row(&self, account: u64, collection: u32, item: u32) -> Option<&StoredRow> {
        let rows = self.rows(self.account(account)?);
        let index = rows.binary_search_by_key(&(collection, item), StoredRow::key).ok()?;
        rows.get(index)
    }

    /// What this run says of a key; none when it knows nothing of it.
    pub(crate) fn value(&self, account: u64, key: &[u8]) -> Option<Stored<'_>> {
        let entries = self.value_entries(self.account(account)?);
        let index = entries.binary_search_by(|entry| self.key_of(entry).cmp(key)).ok()?;
        Some(Stored::new(self.value_of(&entries[index])))
    }

    /// Values of the account whose key is at or above `from`.
    pub(crate) fn values_from<'a>(
        &'a self,
        entry: &AccountEntry,
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let entries = self.value_entries(entry);
        let start = entries.partition_point(|entry| self.key_of(entry) < from);
        entries[start..].iter().map(|entry| (self.key_of(entry), self.value_of(entry)))
    }

    fn value_entries(&self, entry: &AccountEntry) -> &[ValueEntry] {
        let values: &[ValueEntry] = self.slice(self.footer.values, self.footer.value_count);
        &values[entry.values as usize..][..entry.value_count as usize]
    }

    fn key_of(&self, entry: &ValueEntry) -> &[u8] {
        let start = (self.footer.heap + entry.heap) as usize;
        &self.map[start..][..entry.key_length as usize]
    }

    fn value_of(&self, entry: &ValueEntry) -> Option<&[u8]> {
        let start = (self.footer.heap + entry.heap) as usize + entry.key_length as usize;
        (entry.is_live != 0).then(|| &self.map[start..][..entry.length as usize])
    }

    /// `count` values from `offset` on. Offsets and counts were checked against the file's length at opening.
    fn slice<T: FromBytes + Immutable>(&self, offset: u64, count: u64) -> &[T] {
        let start = offset as usize;
        let bytes = &self.map[start..][..count as usize * size_of::<T>()];
        <[T]>::ref_from_bytes(bytes).expect("sections begin at multiples of 8 and are whole")
    }
}

impl Footer {
    /// Every section is within the file, in order, aligned, and as long as its count says.
    fn is_ordered(&self) -> bool {
        let sections = [
            (self.rows, self.row_count.checked_mul(80)),
            (self.heap, Some(0)),
            (self.changes, self.row_count.checked_mul(4)),
            (self.values, self.value_count.checked_mul(16)),
            (self.accounts, self.account_count.checked_mul(48)),
            (self.checksums, Some(self.blocks as u64 * 4)),
            (self.length - FOOTER_BYTES as u64, Some(0)),
        ];
        let mut end = PREAMBLE_BYTES as u64;
        for (start, bytes) in sections {
            let Some(next) = bytes.and_then(|bytes| start.checked_add(bytes)) else { return false };
            if start % 8 != 0 || start < end {
                return false;
            }
            end = next;
        }
        end <= self.length
    }
}

fn corrupt(name: &str, offset: u64, expected: &'static str) -> Error {
    Error::Corrupt { what: "run", file: name.into(), offset, expected }
}
