//! Making one run of a frozen part and the runs next to it.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::fresh::Fresh;
use super::read::{RowCursor, merge_rows};
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

type ValueIterator<'a> = Box<dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a>;

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
    let name = RunName {
        store: input.store,
        partition: input.partition,
        run: input.run,
        covered: input.covered,
    };
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
        cursors.push(RowCursor::tree(fresh.rows.range(..)));
    }
    for run in input.runs {
        cursors.extend(run.account(account).map(|entry| RowCursor::Slice(run.rows(entry))));
    }
    cursors
}

fn value_cursors<'a>(input: &MergeInput<'a>, account: u64) -> Vec<ValueIterator<'a>> {
    let mut cursors = Vec::<ValueIterator<'a>>::with_capacity(input.runs.len() + 1);
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
    cursors: Vec<ValueIterator<'a>>,
    mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut cursors: Vec<Peekable<ValueIterator<'a>>> = cursors.into_iter().map(Iterator::peekable).collect();
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
