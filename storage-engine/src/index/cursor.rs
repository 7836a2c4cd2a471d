//! Rows of several layers read side by side.

use std::ops::{ControlFlow, Range};

use super::run::{AccountEntry, Run};
use super::sorted::{Key, Stretches};
use crate::limits::RUN_BLOCK_BYTES;
use crate::row::{Row, StoredRow};

/// Rows of a run that are looked at together: about those of one block.
const RUN_STRETCH_ROWS: usize = RUN_BLOCK_BYTES / size_of::<StoredRow>();

/// Rows of one account in one layer, by collection and item, a stretch at a time.
pub(super) struct RowCursor<'a> {
    stretch: &'a [StoredRow],
    rest: Rest<'a>,
}

/// Where the next stretch comes from.
enum Rest<'a> {
    Fresh(Stretches<'a>),
    /// Numbers of the account's rows. A block of a run is read, and verified, only when a cursor comes to it.
    Run(&'a Run, &'a AccountEntry, Range<usize>),
}

impl<'a> RowCursor<'a> {
    pub(super) const fn fresh(stretches: Stretches<'a>) -> Self {
        Self { stretch: &[], rest: Rest::Fresh(stretches) }
    }

    pub(super) const fn run(run: &'a Run, entry: &'a AccountEntry, rows: Range<usize>) -> Self {
        Self { stretch: &[], rest: Rest::Run(run, entry, rows) }
    }

    /// How many rows are left, or some more.
    pub(super) fn rows_max(&self) -> usize {
        let rest = match &self.rest {
            Rest::Fresh(stretches) => stretches.rows_max(),
            Rest::Run(_, _, rows) => rows.len(),
        };
        self.stretch.len() + rest
    }

    pub(super) fn peek(&mut self) -> Option<Key> {
        if self.stretch.is_empty() {
            self.stretch = self.rest.next()?;
        }
        self.stretch.first().map(StoredRow::key)
    }

    fn next(&mut self) -> Option<&'a StoredRow> {
        self.peek()?;
        let (first, rest) = self.stretch.split_first()?;
        self.stretch = rest;
        Some(first)
    }

    /// Appends live rows until `out` has `full`.
    pub(super) fn copy_live(&mut self, full: usize, out: &mut Vec<Row>) {
        while out.len() < full && self.peek().is_some() {
            let stretch = std::mem::take(&mut self.stretch);
            let room = full - out.len();
            out.extend(stretch.iter().filter_map(StoredRow::live_row).copied().take(room));
        }
    }
}

impl<'a> Rest<'a> {
    /// The next stretch, never an empty one.
    fn next(&mut self) -> Option<&'a [StoredRow]> {
        match self {
            Self::Fresh(stretches) => stretches.next(),
            Self::Run(run, entry, rows) => {
                let end = rows.end.min(rows.start + RUN_STRETCH_ROWS);
                let stretch = run.rows(entry, rows.start..end);
                rows.start = end;
                (!stretch.is_empty()).then_some(stretch)
            }
        }
    }
}

/// Visits rows by collection and item, each in the version of the first (newest) cursor that has it.
///
/// The cursor with the least row runs until the least row of the others, so that a long stretch in one layer costs
/// one comparison a row.
pub(super) fn merge_rows<'a>(
    cursors: &mut [RowCursor<'a>],
    mut visit: impl FnMut(&'a StoredRow) -> ControlFlow<()>,
) {
    loop {
        let mut least: Option<(usize, (u32, u32))> = None;
        let mut second: Option<(u32, u32)> = None;
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let Some(key) = cursor.peek() else { continue };
            match least {
                Some((_, other)) if key >= other => {
                    second = Some(second.map_or(key, |second| second.min(key)));
                }
                _ => {
                    second = least.map(|(_, other)| other);
                    least = Some((index, key));
                }
            }
        }
        let Some((index, first)) = least else { return };
        if second == Some(first) {
            // The older versions are passed over; the newest stands in the first of these cursors.
            for cursor in &mut cursors[index + 1..] {
                if cursor.peek() == Some(first) {
                    cursor.next();
                }
            }
            let row = cursors[index].next().expect("peeked above");
            if visit(row).is_break() {
                return;
            }
            continue;
        }
        while let Some(key) = cursors[index].peek()
            && second.is_none_or(|second| key < second)
        {
            let row = cursors[index].next().expect("peeked just now");
            if visit(row).is_break() {
                return;
            }
        }
    }
}
