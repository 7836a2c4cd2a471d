//! Reading through the layers: fresh over frozen over runs, newest first; the newest that knows a key wins.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::fresh::{Fresh, FreshAccount};
use super::run::{AccountEntry, Run};
use crate::row::{Change, Row, StoredRow};

/// A partition's layers, borrowed for one read.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) fresh: &'a Fresh,
    pub(crate) frozen: Option<&'a Fresh>,
    pub(crate) runs: &'a [Arc<Run>],
}

/// One account's part of one layer.
#[derive(Clone, Copy)]
enum Layer<'a> {
    Fresh(&'a FreshAccount),
    Run(&'a Run, &'a AccountEntry),
}

/// Rows of one account in one layer, by collection and item.
pub(super) enum RowCursor<'a> {
    Slice(&'a [StoredRow]),
    Tree(Peekable<btree_map::Range<'a, (u32, u32), StoredRow>>),
}

/// Keys ascending with their values; none for a deletion.
pub(super) type Values<'a> = Box<dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a>;

impl<'a> Layers<'a> {
    /// The newest version of a row, a tombstone included.
    pub(crate) fn stored(&self, account: u64, collection: u32, item: u32) -> Option<&'a StoredRow> {
        let (fresh, frozen, runs) = (self.fresh, self.frozen, self.runs);
        fresh
            .row(account, collection, item)
            .or_else(|| frozen?.row(account, collection, item))
            .or_else(|| runs.iter().find_map(|run| run.row(account, collection, item)))
    }

    pub(crate) fn row(&self, account: u64, collection: u32, item: u32) -> Option<Row> {
        self.stored(account, collection, item)?.live_row().copied()
    }

    pub(crate) fn value(&self, account: u64, key: &[u8]) -> Option<Vec<u8>> {
        let (fresh, frozen, runs) = (self.fresh, self.frozen, self.runs);
        let found = fresh
            .value(account, key)
            .or_else(|| frozen?.value(account, key))
            .or_else(|| runs.iter().find_map(|run| run.value(account, key)));
        found?.live().map(<[u8]>::to_vec)
    }

    /// Appends live rows of a collection from an item on, at most `limit`.
    pub(crate) fn rows(
        &self,
        account: u64,
        (collection, from): (u32, u32),
        limit: usize,
        out: &mut Vec<Row>,
    ) {
        let mut cursors: Vec<RowCursor<'a>> =
            self.of(account).filter_map(|layer| layer.cursor(collection, from)).collect();
        if limit == 0 {
            return;
        }
        if let [RowCursor::Slice(rows)] = cursors.as_slice() {
            let live = rows.iter().filter_map(StoredRow::live_row).copied();
            out.extend(live.take(limit));
            return;
        }
        let full = out.len().saturating_add(limit);
        merge_rows(&mut cursors, |row| {
            out.extend(row.live_row());
            if out.len() < full { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }

    /// Appends rows that changed after `after`, by change, at most `limit`.
    ///
    /// All of an account's changes in a younger layer are above those in an older one, so the layers' lists follow
    /// one another; an entry counts when no younger layer knows its row.
    pub(crate) fn changes(&self, account: u64, after: u64, limit: usize, out: &mut Vec<Change>) {
        let layers: Vec<Layer<'a>> = self.of(account).collect();
        let full = out.len().saturating_add(limit);
        for (index, layer) in layers.iter().enumerate().rev() {
            let younger = &layers[..index];
            layer.changes_after(after, &mut |row| {
                if out.len() >= full {
                    return ControlFlow::Break(());
                }
                if !younger.iter().any(|layer| layer.knows(row.key())) {
                    out.push(Change { row: row.row(), live: row.is_live() });
                }
                ControlFlow::Continue(())
            });
        }
    }

    /// Keys that start with `prefix` and are above `after`, ascending, at most `limit`.
    pub(crate) fn values(
        &self,
        account: u64,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let from = after.map_or(prefix, |after| after.max(prefix));
        let mut cursors: Vec<Peekable<Values<'a>>> =
            self.of(account).map(|layer| layer.values_from(from).peekable()).collect();
        let mut found = Vec::new();
        while found.len() < limit {
            let least = cursors.iter_mut().filter_map(|cursor| Some(cursor.peek()?.0)).min();
            let Some(key) = least.filter(|key| key.starts_with(prefix)) else { break };
            let mut newest = None;
            for cursor in &mut cursors {
                if let Some((_, value)) = cursor.next_if(|(other, _)| *other == key) {
                    newest.get_or_insert(value);
                }
            }
            if let Some(Some(value)) = newest
                && Some(key) != after
            {
                found.push((key.to_vec(), value.to_vec()));
            }
        }
        found
    }

    /// The layers that know the account, newest first.
    fn of(&self, account: u64) -> impl Iterator<Item = Layer<'a>> + use<'a> {
        let fresh = [Some(self.fresh), self.frozen].into_iter().flatten();
        let fresh = fresh.filter_map(move |fresh| fresh.accounts.get(&account).map(Layer::Fresh));
        let runs = self.runs.iter();
        fresh.chain(runs.filter_map(move |run| run.account(account).map(|entry| Layer::Run(run, entry))))
    }
}

impl<'a> Layer<'a> {
    /// A cursor over a collection's rows from an item on; none when there are none.
    fn cursor(self, collection: u32, from: u32) -> Option<RowCursor<'a>> {
        match self {
            Layer::Fresh(account) => {
                let range = account.rows.range((collection, from)..=(collection, u32::MAX));
                let mut cursor = RowCursor::tree(range);
                cursor.peek().is_some().then_some(cursor)
            }
            Layer::Run(run, entry) => {
                let rows = run.rows(entry);
                let start = rows.partition_point(|row| row.key() < (collection, from));
                let rows = &rows[start..];
                let rows = &rows[..rows.partition_point(|row| row.key().0 == collection)];
                (!rows.is_empty()).then_some(RowCursor::Slice(rows))
            }
        }
    }

    fn knows(&self, (collection, item): (u32, u32)) -> bool {
        match self {
            Layer::Fresh(account) => account.rows.contains_key(&(collection, item)),
            Layer::Run(run, entry) => {
                run.rows(entry).binary_search_by_key(&(collection, item), StoredRow::key).is_ok()
            }
        }
    }

    fn changes_after(&self, after: u64, visit: &mut dyn FnMut(&StoredRow) -> ControlFlow<()>) {
        match self {
            Layer::Fresh(account) => {
                let _ = account.changes_after(after).try_for_each(visit);
            }
            Layer::Run(run, entry) => {
                let (rows, changes) = (run.rows(entry), run.changes(entry));
                let start = changes.partition_point(|index| rows[*index as usize].change() <= after);
                let _ = changes[start..].iter().map(|index| &rows[*index as usize]).try_for_each(visit);
            }
        }
    }

    fn values_from(self, from: &[u8]) -> Values<'a> {
        match self {
            Layer::Fresh(account) => Box::new(account.values_from(from)),
            Layer::Run(run, entry) => Box::new(run.values_from(entry, from)),
        }
    }
}

impl<'a> RowCursor<'a> {
    pub(super) fn tree(range: btree_map::Range<'a, (u32, u32), StoredRow>) -> Self {
        Self::Tree(range.peekable())
    }

    fn peek(&mut self) -> Option<(u32, u32)> {
        match self {
            Self::Slice(rows) => rows.first().map(StoredRow::key),
            Self::Tree(range) => range.peek().map(|(key, _)| **key),
        }
    }

    fn next(&mut self) -> Option<&'a StoredRow> {
        match self {
            Self::Slice(rows) => {
                let (first, rest) = rows.split_first()?;
                *rows = rest;
                Some(first)
            }
            Self::Tree(range) => range.next().map(|(_, row)| row),
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
