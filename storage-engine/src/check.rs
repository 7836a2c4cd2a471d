//! Offline verification.

use std::collections::{BTreeMap, BTreeSet};

use crate::body::corrupt;
use crate::disk::Disk;
use crate::error::Error;
use crate::index::{Fresh, Partition, partition_folder};
use crate::limits::BODIES_A_STEP;
use crate::log::{Frame, Journal, LogStart, Op, Position, parse_ops, segment_file};
use crate::recover::load;
use crate::row::{BodyRef, Change, StoredRow};
use crate::store::{Store, read_opened};

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckProgress {
    /// What is being read: `journal`, `runs`, `bodies`.
    pub stage: &'static str,
    /// Steps done of this stage.
    pub done: u64,
    /// Steps of this stage.
    pub total: u64,
}

/// One thing found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The partition, where one is concerned.
    pub partition: Option<u16>,
    /// The account, where one is concerned.
    pub account: Option<u64>,
    /// What is wrong.
    pub error: Error,
}

/// What a check counted and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Frames read, all journals.
    pub frames: u64,
    /// Runs read.
    pub runs: u64,
    /// Accounts.
    pub accounts: u64,
    /// Live rows.
    pub rows: u64,
    /// Bodies read.
    pub bodies: u64,
    /// Bytes of bodies read.
    pub body_bytes: u64,
    /// Values.
    pub values: u64,
    /// What was found wrong; empty is good.
    pub problems: Vec<Problem>,
}

/// Verifies a store that no process has open: checksums of the store's small files, frames and runs; that
/// partition sequences have no gaps; that change numbers ascend; that every live row's body is readable and right;
/// and that the index says what a replay of the whole log says. Costs reading everything once, and the memory of a
/// whole index. What is found wrong is in the report; an error is given only when there is nothing to go on with.
pub fn check(disk: &Disk, progress: &mut dyn FnMut(CheckProgress)) -> Result<CheckReport, Error> {
    let _lock = disk.lock()?;
    let store = Store::read(disk)?.ok_or(Error::Options { what: "there is no store here" })?;
    let mut check = Check { disk, store, report: CheckReport::default(), bodies: BTreeMap::new(), progress };
    let replayed = check.replay_all();
    for shard in 0..store.shards {
        check.step("index", shard as u64, store.shards as u64);
        match load(disk, &store, shard) {
            Ok(loaded) => {
                for (number, partition) in store.partitions_of(shard).zip(&loaded.partitions) {
                    check.compare(number, partition, &replayed[number as usize]);
                }
            }
            Err(error) => check.problem(None, None, error),
        }
    }
    check.read_bodies();
    Ok(check.report)
}

struct Check<'a> {
    disk: &'a Disk,
    store: Store,
    report: CheckReport,
    /// Bodies of live rows by place, each once, with a row's partition and account.
    bodies: BTreeMap<BodyRef, (u16, u64)>,
    progress: &'a mut dyn FnMut(CheckProgress),
}

/// One partition as the log alone makes it.
#[derive(Default)]
struct Replayed {
    fresh: Fresh,
    sequence: u64,
    /// Frames read before those that come before them, from the journal of another shard.
    waiting: BTreeMap<u64, Vec<Op>>,
}

impl Check<'_> {
    fn step(&mut self, stage: &'static str, done: u64, total: u64) {
        (self.progress)(CheckProgress { stage, done, total });
    }

    fn problem(&mut self, partition: Option<u16>, account: Option<u64>, error: Error) {
        self.report.problems.push(Problem { partition, account, error });
    }

    fn replay_all(&mut self) -> Vec<Replayed> {
        let mut partitions = Vec::new();
        partitions.resize_with(self.store.partitions as usize, Replayed::default);
        // Journals of an earlier, larger number of shards are still there.
        let mut journals = self.store.shards;
        while matches!(read_opened(self.disk, &self.store, journals), Ok(Some(_))) {
            journals += 1;
        }
        let start = LogStart { end: Position::START, number: 0, generation: 0 };
        for number in 0..journals {
            self.step("journal", number as u64, journals as u64);
            let journal = Journal {
                disk: self.disk,
                seed: self.store.seed(number),
                number,
                opened: read_opened(self.disk, &self.store, number).ok().flatten(),
            };
            let mut frames = 0;
            let walked = journal.walk(start, &mut |frame| {
                frames += 1;
                replay(&journal, &mut partitions, frame)
            });
            self.report.frames += frames;
            if let Err(error) = walked {
                self.problem(None, None, error);
            }
        }
        for (number, partition) in partitions.iter().enumerate() {
            if !partition.waiting.is_empty() {
                let error = missing_frame(&self.store, number as u16);
                self.problem(Some(number as u16), None, error);
            }
        }
        partitions
    }

    /// Compares a partition's index with the replay, and notes the bodies of its live rows.
    fn compare(&mut self, number: u16, partition: &Partition, replayed: &Replayed) {
        for run in &partition.runs {
            self.report.runs += 1;
            if let Err(error) = run.verify() {
                self.problem(Some(number), None, error);
                return;
            }
        }
        let differs = |expected| differs(number, expected);
        if partition.applied != replayed.sequence {
            self.problem(Some(number), None, differs("the number of the log's last transaction"));
        }
        let accounts = partition.accounts();
        if !accounts.iter().eq(replayed.fresh.accounts.keys()) {
            self.problem(Some(number), None, differs("the accounts of the log"));
        }
        let layers = partition.layers();
        for (account, replayed) in &replayed.fresh.accounts {
            self.report.accounts += 1;
            if partition.highest_applied(*account) != replayed.highest_change {
                self.problem(Some(number), Some(*account), differs("the account's change number of the log"));
            }
            let mut changes = Vec::new();
            layers.changes(*account, 0, usize::MAX, &mut changes);
            if !changes.iter().map(stored).eq(replayed.changes_after(0).copied()) {
                self.problem(Some(number), Some(*account), differs("the rows and changes of the log"));
            }
            let is_found = |row: &StoredRow| {
                let (collection, item) = row.key();
                layers.stored(*account, collection, item) == Some(row)
            };
            if !replayed.rows.iter().all(is_found) {
                self.problem(Some(number), Some(*account), differs("every row of the log under its key"));
            }
            let values = layers.values(*account, &[], None, usize::MAX);
            self.report.values += values.len() as u64;
            let live = replayed.values_from(&[]).filter_map(|(key, value)| Some((key, value?)));
            if !values.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).eq(live) {
                self.problem(Some(number), Some(*account), differs("the values of the log"));
            }
            for row in changes.iter().filter(|change| change.live).map(|change| change.row) {
                self.report.rows += 1;
                if !row.body.is_none() {
                    self.bodies.insert(row.body, (number, *account));
                }
            }
        }
    }

    fn read_bodies(&mut self) {
        let bodies = std::mem::take(&mut self.bodies);
        let total = bodies.len() as u64;
        for (done, (body, (partition, account))) in bodies.into_iter().enumerate() {
            if done.is_multiple_of(BODIES_A_STEP) {
                self.step("bodies", done as u64, total);
            }
            self.report.bodies += 1;
            self.report.body_bytes += body.length as u64;
            if let Err(error) = self.read_body(&body) {
                self.problem(Some(partition), Some(account), error);
            }
        }
        self.step("bodies", total, total);
    }

    fn read_body(&self, body: &BodyRef) -> Result<(), Error> {
        let end = body.offset as u64 + body.meta_length as u64 + body.length as u64;
        if end > self.store.segment_bytes as u64 {
            return Err(corrupt(body, "a body within its segment"));
        }
        let file = segment_file(body.journal, body.segment);
        let length = body.meta_length as usize + body.length as usize;
        let bytes = self.disk.read_at(&file, body.offset as u64, length)?;
        let Some((meta, content)) = bytes.split_at_checked(body.meta_length as usize) else {
            return Err(corrupt(body, "a segment that reaches to the body's end"));
        };
        if content.len() != body.length as usize || crc32c::crc32c(content) != body.crc {
            return Err(corrupt(body, "a body with the checksum its row has"));
        }
        if body.open_meta(meta).is_none() {
            return Err(corrupt(body, "a meta block with the checksum its row has"));
        }
        Ok(())
    }
}

/// Applies a frame when its turn has come; keeps it otherwise.
fn replay(journal: &Journal<'_>, partitions: &mut [Replayed], frame: &Frame<'_>) -> Result<(), Error> {
    let header = &frame.header;
    let corrupt = |expected| journal.corrupt(header.position(), expected);
    let ops = parse_ops(frame.ops).ok_or_else(|| corrupt("well-formed ops"))?;
    let partition =
        partitions.get_mut(header.partition() as usize).ok_or_else(|| corrupt("a known partition"))?;
    if header.sequence() <= partition.sequence || partition.waiting.insert(header.sequence(), ops).is_some() {
        return Err(corrupt("a number of the partition that was not there before"));
    }
    while let Some(ops) = partition.waiting.remove(&(partition.sequence + 1)) {
        partition.sequence += 1;
        let mut accounts = BTreeSet::new();
        for op in ops {
            let before =
                partition.fresh.accounts.get(&op.account).map_or(0, |account| account.highest_change);
            // All of a transaction's ops on an account share the number after its last.
            let next = if accounts.insert(op.account) { before + 1 } else { before };
            if op.change != next {
                return Err(corrupt("the account's next change number"));
            }
            partition.fresh.apply(op);
        }
    }
    Ok(())
}

fn stored(change: &Change) -> StoredRow {
    if change.live { StoredRow::live(change.row) } else { StoredRow::tombstone(change.row) }
}

fn missing_frame(store: &Store, partition: u16) -> Error {
    let file = segment_file(partition % store.shards, 1);
    let expected = "every transaction of the partition";
    Error::Corrupt { what: "frame", file: file.as_str().into(), offset: 0, expected }
}

fn differs(partition: u16, expected: &'static str) -> Error {
    let file = partition_folder(partition);
    Error::Corrupt { what: "index", file: file.as_str().into(), offset: 0, expected }
}
