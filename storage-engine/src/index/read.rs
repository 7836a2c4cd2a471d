//! Reading through the layers: fresh over frozen over runs, newest first; the newest that knows a key wins.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::cursor::{RowCursor, merge_rows};
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
        if limit == 0 {
            return;
        }
        let mut cursors: Vec<RowCursor<'a>> =
            self.of(account).filter_map(|layer| layer.cursor(collection, from)).collect();
        let full = out.len().saturating_add(limit);
        // Growing step by step would copy what was read, and touch new memory, several times over.
        out.reserve(cursors.iter().map(RowCursor::rows_max).max().unwrap_or(0).min(limit));
        if let [cursor] = cursors.as_mut_slice() {
            cursor.copy_live(full, out);
            return;
        }
        merge_rows(&mut cursors, |row| {
            out.extend(row.live_row());
            if out.len() < full { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }

    /// Appends rows that changed after `after`, by change, at most `limit` and what shares the last one's change
    /// number: the next page begins after that number.
    ///
    /// All of an account's changes in a younger layer are above those in an older one, so the layers' lists follow
    /// one another; an entry counts when no younger layer knows its row.
    pub(crate) fn changes(&self, account: u64, after: u64, limit: usize, out: &mut Vec<Change>) {
        if limit == 0 {
            return;
        }
        let layers: Vec<Layer<'a>> = self.of(account).collect();
        let full = out.len().saturating_add(limit);
        for (index, layer) in layers.iter().enumerate().rev() {
            let younger = &layers[..index];
            layer.changes_after(after, &mut |row| {
                if out.len() >= full && out.last().is_some_and(|last| last.row.change != row.change()) {
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
        let mut cursor = match self {
            Layer::Fresh(account) => {
                RowCursor::fresh(account.rows.range((collection, from), (collection, u32::MAX)))
            }
            Layer::Run(run, entry) => {
                let start = run.rows_before(entry, (collection, from));
                let end = run.rows_up_to(entry, (collection, u32::MAX));
                RowCursor::run(run, entry, start..end)
            }
        };
        cursor.peek().is_some().then_some(cursor)
    }

    fn knows(&self, (collection, item): (u32, u32)) -> bool {
        match self {
            Layer::Fresh(account) => account.rows.get((collection, item)).is_some(),
            Layer::Run(run, entry) => run.row_of(entry, (collection, item)).is_some(),
        }
    }

    fn changes_after(&self, after: u64, visit: &mut dyn FnMut(&StoredRow) -> ControlFlow<()>) {
        match self {
            Layer::Fresh(account) => {
                let _ = account.changes_after(after).try_for_each(visit);
            }
            Layer::Run(run, entry) => {
                let _ = run.changes_after(entry, after).try_for_each(visit);
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
