//! Making one run of a frozen part and the runs next to it.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::cursor::{RowCursor, merge_rows};
use super::fresh::Fresh;
use super::read::Values;
use super::run::Run;
use super::run_writer::{RunName, RunWriter};
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::{MERGE_FACTOR, RUNS_MAX};

/// What becomes a run: layers newest first, and where the result goes.
pub(crate) struct MergeInput<'a> {
    pub(crate) store: [u8; 16],
    pub(crate) partition: u16,
    pub(crate) run: u64,
    /// The partition's sequence that the frozen part reaches.
    pub(crate) covered: u64,
    pub(crate) frozen: &'a Fresh,
    /// Newest first.
    pub(crate) runs: &'a [Arc<Run>],
    /// Nothing older is left, so that deletions of values have nothing to hide.
    pub(crate) is_whole: bool,
}

/// How many of the newest runs join a merge with `fresh_bytes` of new data: those that are not much larger than
/// what is merged already, so that a byte is rewritten a logarithmic number of times; and as many as keep the
/// number of runs in its limit.
pub(crate) fn choose(runs: &[Arc<Run>], fresh_bytes: u64) -> usize {
    let mut merged = fresh_bytes;
    let mut count = 0;
    for run in runs {
        let left_after = runs.len() - count + 1;
        if run.bytes() > merged.saturating_mul(MERGE_FACTOR) && left_after <= RUNS_MAX {
            break;
        }
        merged += run.bytes();
        count += 1;
    }
    count
}

/// Writes the run. The newest layer wins; tombstones of rows stay, since change lists need them.
pub(crate) fn merge(disk: &Disk, input: &MergeInput<'_>) -> Result<(), Error> {
    for run in input.runs {
        // Rot must not be carried on under a fresh checksum.
        run.verify()?;
    }
    let mut accounts = BTreeMap::<u64, u64>::new();
    for (account, fresh) in &input.frozen.accounts {
        accounts.insert(*account, fresh.highest_change);
    }
    for entry in input.runs.iter().flat_map(|run| run.accounts()) {
        let highest = accounts.entry(entry.account).or_default();
        *highest = (*highest).max(entry.highest_change);
    }
    let name =
        RunName { store: input.store, partition: input.partition, run: input.run, covered: input.covered };
    let mut writer = RunWriter::new(disk, name)?;
    for (account, highest) in &accounts {
        writer.begin_account(*account, *highest);
        let mut result = Ok(());
        merge_rows(&mut row_cursors(input, *account), |row| {
            result = writer.row(row);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result?;
        writer.end_account();
    }
    writer.begin_values()?;
    for (index, account) in accounts.keys().enumerate() {
        merge_values(value_cursors(input, *account), |key, value| {
            if input.is_whole && value.is_none() {
                return Ok(());
            }
            writer.value(index, key, value)
        })?;
    }
    writer.finish()
}

fn row_cursors<'a>(input: &MergeInput<'a>, account: u64) -> Vec<RowCursor<'a>> {
    let mut cursors = Vec::with_capacity(input.runs.len() + 1);
    if let Some(fresh) = input.frozen.accounts.get(&account) {
        cursors.push(RowCursor::fresh(fresh.rows.range((0, 0), (u32::MAX, u32::MAX))));
    }
    for run in input.runs {
        cursors.extend(run.account(account).map(|entry| RowCursor::run(run, entry, 0..entry.rows_count())));
    }
    cursors
}

fn value_cursors<'a>(input: &MergeInput<'a>, account: u64) -> Vec<Values<'a>> {
    let mut cursors = Vec::<Values<'a>>::with_capacity(input.runs.len() + 1);
    if let Some(fresh) = input.frozen.accounts.get(&account) {
        cursors.push(Box::new(fresh.values_from(&[])));
    }
    for run in input.runs {
        if let Some(entry) = run.account(account) {
            cursors.push(Box::new(run.values_from(entry, &[])));
        }
    }
    cursors
}

/// Visits keys ascending, each with the value of the first (newest) cursor that has it.
fn merge_values<'a>(
    cursors: Vec<Values<'a>>,
    mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut cursors: Vec<Peekable<Values<'a>>> = cursors.into_iter().map(Iterator::peekable).collect();
    while let Some(key) = cursors.iter_mut().filter_map(|cursor| Some(cursor.peek()?.0)).min() {
        let mut newest = None;
        for cursor in &mut cursors {
            if let Some((_, value)) = cursor.next_if(|(other, _)| *other == key) {
                newest.get_or_insert(value);
            }
        }
        visit(key, newest.expect("some cursor had the least key"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Simulated;
    use crate::log::{Op, OpKind};
    use crate::row::{BodyRef, Row, StoredRow};

    fn fresh(changes: std::ops::Range<u64>) -> Fresh {
        let mut fresh = Fresh::default();
        for change in changes {
            let row = Row { collection: 1, item: change as u32, change, body: BodyRef::NONE, data: [0; 40] };
            fresh.apply(Op { account: 1, change, kind: OpKind::Row(StoredRow::live(row)) });
        }
        fresh
    }

    /// Checkpoints of equal size: how many bytes were written in all, and the most runs there ever were.
    #[test]
    fn merges_write_a_byte_a_logarithmic_number_of_times() {
        let disk = Disk::simulated(&Simulated::instant());
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let (mut written, mut most) = (0, 0);
        let (count, rows) = (64, 50);
        for number in 0..count {
            let frozen = fresh(number * rows + 1..(number + 1) * rows + 1);
            let merged = choose(&runs, frozen.bytes() as u64);
            let is_whole = merged == runs.len();
            let input = MergeInput {
                store: [0; 16],
                partition: 0,
                run: number,
                covered: number,
                frozen: &frozen,
                runs: &runs[..merged],
                is_whole,
            };
            merge(&disk, &input).expect("merged");
            let run = Arc::new(Run::open(&disk, &[0; 16], 0, number).expect("opened"));
            run.verify().expect("good");
            written += run.bytes();
            runs.splice(..merged, [run]);
            most = most.max(runs.len());
        }
        let live: u64 = runs.iter().map(|run| run.bytes()).sum();
        let all_rows: usize = runs.iter().map(|run| run.accounts()[0].rows_count()).sum();
        assert_eq!(all_rows as u64, count * rows);
        assert!(most <= RUNS_MAX, "{most} runs");
        assert!(written < live * 8, "{written} bytes written for {live}");
    }
}
