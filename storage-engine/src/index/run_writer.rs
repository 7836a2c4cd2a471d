//! Writing a run from front to back: rows, heap, then what was gathered meanwhile (disk.md, "Run").

use zerocopy::IntoBytes;

use super::run::{
    AccountEntry, FOOTER_BYTES, FOOTER_MAGIC, Footer, PREAMBLE_BYTES, PREAMBLE_MAGIC, Preamble, RUN_VERSION,
    ValueEntry, run_file,
};
use crate::disk::{Disk, FileWriter};
use crate::error::Error;
use crate::limits::RUN_BLOCK_BYTES;
use crate::row::StoredRow;

/// What a run is called and covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunName {
    pub(super) store: [u8; 16],
    pub(super) partition: u16,
    pub(super) run: u64,
    pub(super) covered: u64,
}

/// Rows of all accounts are written first, then `begin_values`, then values of all accounts in the same order.
pub(super) struct RunWriter {
    file: Checksummed,
    name: RunName,
    heap: u64,
    row_count: u64,
    accounts: Vec<AccountEntry>,
    /// Changes of the account being written, to be sorted at its end.
    account_changes: Vec<u64>,
    changes: Vec<u32>,
    values: Vec<ValueEntry>,
}

/// A file with a checksum for every block.
struct Checksummed {
    file: FileWriter,
    length: u64,
    block_crc: u32,
    checksums: Vec<u32>,
}

impl RunWriter {
    pub(super) fn new(disk: &Disk, name: RunName) -> Result<Self, Error> {
        let file = disk.create(&run_file(name.partition, name.run))?;
        let mut file = Checksummed { file, length: 0, block_crc: 0, checksums: Vec::new() };
        let preamble = Preamble {
            magic: PREAMBLE_MAGIC,
            version: RUN_VERSION,
            partition: name.partition as u32,
            run: name.run,
            store: name.store,
            zero: [0; 24],
        };
        file.append(preamble.as_bytes())?;
        Ok(Self {
            file,
            name,
            heap: 0,
            row_count: 0,
            accounts: Vec::new(),
            account_changes: Vec::new(),
            changes: Vec::new(),
            values: Vec::new(),
        })
    }

    pub(super) fn begin_account(&mut self, account: u64, highest_change: u64) {
        self.accounts.push(AccountEntry {
            account,
            highest_change,
            rows: self.row_count,
            ..Default::default()
        });
    }

    pub(super) fn row(&mut self, row: &StoredRow) -> Result<(), Error> {
        self.account_changes.push(row.change());
        self.file.append(row.as_bytes())
    }

    pub(super) fn end_account(&mut self) {
        let count = self.account_changes.len() as u32;
        let from = self.changes.len();
        self.changes.extend(0..count);
        // Stable, so that rows of one change stay by collection and item.
        self.changes[from..].sort_by_key(|index| self.account_changes[*index as usize]);
        self.account_changes.clear();
        self.row_count += count as u64;
        if let Some(entry) = self.accounts.last_mut() {
            entry.row_count = count;
        }
    }

    pub(super) fn begin_values(&mut self) -> Result<(), Error> {
        self.file.pad()?;
        self.heap = self.file.length;
        Ok(())
    }

    /// A value of the account that was the `account`-th to begin.
    pub(super) fn value(&mut self, account: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let entry = &mut self.accounts[account];
        if entry.value_count == 0 {
            entry.values = self.values.len() as u64;
        }
        entry.value_count += 1;
        self.values.push(ValueEntry {
            heap: self.file.length - self.heap,
            length: value.map_or(0, <[u8]>::len) as u32,
            key_length: key.len() as u16,
            is_live: u16::from(value.is_some()),
        });
        self.file.append(key)?;
        self.file.append(value.unwrap_or_default())
    }

    /// Writes the rest, flushes and names the file. Its name is durable after a flush of the folder.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let changes = self.file.section(self.changes.as_bytes())?;
        let values = self.file.section(self.values.as_bytes())?;
        let accounts = self.file.section(self.accounts.as_bytes())?;
        self.file.pad()?;
        let checksums = self.file.length;
        let blocks = self.file.end_blocks()?;
        self.file.pad()?;
        let mut footer = Footer {
            magic: FOOTER_MAGIC,
            run: self.name.run,
            partition: self.name.partition as u32,
            blocks,
            rows: PREAMBLE_BYTES as u64,
            heap: self.heap,
            changes,
            values,
            accounts,
            checksums,
            row_count: self.row_count,
            value_count: self.values.len() as u64,
            account_count: self.accounts.len() as u64,
            length: self.file.length + FOOTER_BYTES as u64,
            covered: self.name.covered,
            zero: [0; 12],
            crc: 0,
        };
        footer.crc = crc32c::crc32c(&footer.as_bytes()[..FOOTER_BYTES - 4]);
        self.file.file.append(footer.as_bytes())?;
        self.file.file.finish()
    }
}

impl Checksummed {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.file.append(bytes)?;
        while !bytes.is_empty() {
            let in_block = (self.length % RUN_BLOCK_BYTES as u64) as usize;
            let (head, rest) = bytes.split_at(bytes.len().min(RUN_BLOCK_BYTES - in_block));
            self.block_crc = crc32c::crc32c_append(self.block_crc, head);
            self.length += head.len() as u64;
            bytes = rest;
            if self.length.is_multiple_of(RUN_BLOCK_BYTES as u64) {
                self.checksums.push(std::mem::take(&mut self.block_crc));
            }
        }
        Ok(())
    }

    /// Zeroes up to a multiple of 8.
    fn pad(&mut self) -> Result<(), Error> {
        let padding = (self.length.next_multiple_of(8) - self.length) as usize;
        self.append(&[0; 8][..padding])
    }

    /// A section at a multiple of 8; where it begins.
    fn section(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.pad()?;
        let start = self.length;
        self.append(bytes)?;
        Ok(start)
    }

    /// Writes the checksums of all blocks, the last one whole or not; how many they are.
    fn end_blocks(&mut self) -> Result<u32, Error> {
        if !self.length.is_multiple_of(RUN_BLOCK_BYTES as u64) {
            self.checksums.push(self.block_crc);
        }
        let checksums = std::mem::take(&mut self.checksums);
        self.append(checksums.as_bytes())?;
        Ok(checksums.len() as u32)
    }
}
