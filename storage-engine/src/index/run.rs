//! A run: an immutable file with rows, changes and values of one partition, read in place (disk.md, "Run").
//!
//! Nothing of a block is given out before the block's checksum was found right, once since the run was opened. Reads
//! have no error to give for a rotten block: they panic, after noting it for the engine, which ends (`Run::rot`).

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Stored;
use crate::disk::{Disk, Map};
use crate::error::Error;
use crate::limits::{POPULATE_BYTES_MAX, RUN_BLOCK_BYTES};
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

/// Bits of a word of the map of verified blocks.
const BLOCKS_A_WORD: usize = u64::BITS as usize;

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
    /// One bit a block: its checksum was found right.
    verified: Box<[AtomicU64]>,
    /// The first block that was found wrong by a read.
    rot: OnceLock<Error>,
}

impl Run {
    /// Maps a run, and verifies its two ends and its accounts; the rest is verified as it is read.
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
        let mut verified = Vec::new();
        verified.resize_with((footer.blocks as usize).div_ceil(BLOCKS_A_WORD), AtomicU64::default);
        let run = Self { map, name, footer, verified: verified.into(), rot: OnceLock::new() };
        let is_covered = footer.checksums.div_ceil(RUN_BLOCK_BYTES as u64) == footer.blocks as u64;
        if !is_covered {
            return Err(corrupt(&run.name, at, "a checksum for every block"));
        }
        run.verify_range(footer.accounts as usize..footer.checksums as usize)?;
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
        (0..self.footer.blocks as usize).try_for_each(|block| self.verify_block(block))?;
        let end = self.footer.checksums as usize + self.footer.blocks as usize * 4;
        if self.map[end..self.map.len() - FOOTER_BYTES].iter().any(|byte| *byte != 0) {
            return Err(corrupt(&self.name, end as u64, "zeroes up to the footer"));
        }
        let heap_bytes = self.footer.changes - self.footer.heap;
        for entry in self.accounts() {
            let rows = self.rows(entry, 0..entry.rows_count());
            let changes: &[u32] = self.part(self.footer.changes, entry.rows, entry.rows_count());
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
            let values = self.part(self.footer.values, entry.values, entry.value_count as usize);
            if !values.iter().all(is_within) {
                return Err(corrupt(&self.name, self.footer.values, "values within the heap"));
            }
        }
        Ok(())
    }

    /// Brings a small run's pages in, off the path of reads, while `budget` bytes are left; takes what it uses. A
    /// large run's are not worth the memory and the wait.
    pub(crate) fn populate(&self, budget: &mut usize) {
        if self.takes(budget) {
            self.map.populate();
        }
    }

    /// Asks the disk for what `populate` will bring in, and does not wait for it.
    pub(crate) fn expect(&self, budget: &mut usize) {
        if self.takes(budget) {
            self.map.expect_read(0..self.map.len());
        }
    }

    /// Whether the run is small and has room in what is left of `budget`, from which it is taken.
    fn takes(&self, budget: &mut usize) -> bool {
        let left = budget.checked_sub(self.map.len()).filter(|_| self.map.len() <= POPULATE_BYTES_MAX);
        *budget = left.unwrap_or(*budget);
        left.is_some()
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

    /// What a read found rotten, if one did.
    pub(crate) fn rot(&self) -> Option<&Error> {
        self.rot.get()
    }

    /// Ascending by account.
    pub(crate) fn accounts(&self) -> &[AccountEntry] {
        self.part(self.footer.accounts, 0, self.footer.account_count as usize)
    }

    pub(crate) fn account(&self, account: u64) -> Option<&AccountEntry> {
        let accounts = self.accounts();
        let index = accounts.binary_search_by_key(&account, |entry| entry.account).ok()?;
        accounts.get(index)
    }

    /// Some of the account's rows, numbered by collection and item.
    pub(super) fn rows(&self, entry: &AccountEntry, rows: Range<usize>) -> &[StoredRow] {
        assert!(rows.end <= entry.rows_count(), "rows of the account");
        self.part(self.footer.rows, entry.rows + rows.start as u64, rows.len())
    }

    /// How many of the account's rows are below a key.
    pub(super) fn rows_before(&self, entry: &AccountEntry, key: (u32, u32)) -> usize {
        partition_point(entry.rows_count(), |index| self.row_at(entry, index).key() < key)
    }

    /// How many of the account's rows are below a key or at it.
    pub(super) fn rows_up_to(&self, entry: &AccountEntry, key: (u32, u32)) -> usize {
        partition_point(entry.rows_count(), |index| self.row_at(entry, index).key() <= key)
    }

    /// The account's rows that changed after `after`, by change.
    pub(super) fn changes_after<'a>(
        &'a self,
        entry: &'a AccountEntry,
        after: u64,
    ) -> impl Iterator<Item = &'a StoredRow> + use<'a> {
        let at = |number: usize| {
            let index: &[u32] = self.part(self.footer.changes, entry.rows + number as u64, 1);
            self.row_at(entry, index[0] as usize)
        };
        let start = partition_point(entry.rows_count(), |number| at(number).change() <= after);
        (start..entry.rows_count()).map(at)
    }

    pub(crate) fn row(&self, account: u64, collection: u32, item: u32) -> Option<&StoredRow> {
        self.row_of(self.account(account)?, (collection, item))
    }

    pub(super) fn row_of(&self, entry: &AccountEntry, key: (u32, u32)) -> Option<&StoredRow> {
        let index = self.rows_before(entry, key);
        let row = (index < entry.rows_count()).then(|| self.row_at(entry, index))?;
        (row.key() == key).then_some(row)
    }

    /// What this run says of a key; none when it knows nothing of it.
    pub(crate) fn value(&self, account: u64, key: &[u8]) -> Option<Stored<'_>> {
        let (at, value) = self.values_from(self.account(account)?, key).next()?;
        (at == key).then(|| Stored::new(value))
    }

    /// Values of the account whose key is at or above `from`.
    pub(crate) fn values_from<'a>(
        &'a self,
        entry: &'a AccountEntry,
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let count = entry.value_count as usize;
        let start = partition_point(count, |index| self.key_of(self.value_at(entry, index)) < from);
        let values = (start..count).map(|index| self.value_at(entry, index));
        values.map(|value| (self.key_of(value), self.value_of(value)))
    }

    fn row_at(&self, entry: &AccountEntry, index: usize) -> &StoredRow {
        &self.rows(entry, index..index + 1)[0]
    }

    fn value_at(&self, entry: &AccountEntry, index: usize) -> &ValueEntry {
        &self.part(self.footer.values, entry.values + index as u64, 1)[0]
    }

    fn key_of(&self, entry: &ValueEntry) -> &[u8] {
        let start = (self.footer.heap + entry.heap) as usize;
        self.read(start..start + entry.key_length as usize)
    }

    fn value_of(&self, entry: &ValueEntry) -> Option<&[u8]> {
        let start = (self.footer.heap + entry.heap) as usize + entry.key_length as usize;
        (entry.is_live != 0).then(|| self.read(start..start + entry.length as usize))
    }

    /// Some values of a section. Offsets and counts were checked against the file's length at opening.
    fn part<T: FromBytes + Immutable>(&self, section: u64, first: u64, count: usize) -> &[T] {
        let start = section as usize + first as usize * size_of::<T>();
        let bytes = self.read(start..start + count * size_of::<T>());
        <[T]>::ref_from_bytes(bytes).expect("sections begin at multiples of 8 and are whole")
    }

    /// Bytes of blocks whose checksums are right. The only way to what is in the run, from its opening on.
    fn read(&self, range: Range<usize>) -> &[u8] {
        if let Err(error) = self.verify_range(range.clone()) {
            let error = self.rot.get_or_init(|| error);
            panic!("{error}");
        }
        &self.map[range]
    }

    /// Verifies the blocks of a range that were not verified yet.
    fn verify_range(&self, range: Range<usize>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        for block in range.start / RUN_BLOCK_BYTES..=(range.end - 1) / RUN_BLOCK_BYTES {
            let (word, bit) = bit_of(block);
            if self.verified[word].load(Ordering::Relaxed) & bit == 0 {
                self.verify_block(block)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn verify_block(&self, block: usize) -> Result<(), Error> {
        let covered = &self.map[..self.footer.checksums as usize];
        let start = block * RUN_BLOCK_BYTES;
        let end = covered.len().min(start + RUN_BLOCK_BYTES);
        self.map.expect_read(start..end);
        let bytes = &covered[start..end];
        let checksum = self.map[covered.len() + block * 4..].first_chunk().copied().map(u32::from_le_bytes);
        if checksum != Some(crc32c::crc32c(bytes)) {
            return Err(corrupt(&self.name, start as u64, "a block with the checksum written for it"));
        }
        let (word, bit) = bit_of(block);
        // The bytes never change: whoever sees the bit may read them, whatever else it sees.
        self.verified[word].fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }
}

/// Where a block's bit is in the map of verified blocks.
const fn bit_of(block: usize) -> (usize, u64) {
    (block / BLOCKS_A_WORD, 1 << (block % BLOCKS_A_WORD))
}

impl AccountEntry {
    pub(super) const fn rows_count(&self) -> usize {
        self.row_count as usize
    }
}

/// The first of `count` numbers that is not `before`, all numbers that are coming first.
fn partition_point(count: usize, mut before: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
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
