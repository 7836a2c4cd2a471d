//! One partition of the index: its layers, its sequence and its accounts' change numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fresh::Fresh;
use super::pending::Pending;
use super::read::Layers;
use super::run::Run;
use crate::error::Error;
use crate::log::Op;

/// An account's change numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    applied: u64,
    proposed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) fresh: Fresh,
    /// Being written by a checkpoint.
    pub(crate) frozen: Option<Arc<Fresh>>,
    /// Newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) pending: Pending,
    /// The last applied transaction's number in this partition; 0 before the first.
    pub(crate) applied: u64,
    pub(crate) proposed: u64,
    /// What the next run file is called.
    pub(crate) next_run: u64,
    accounts: BTreeMap<u64, Highest>,
}

impl Partition {
    /// A partition as a checkpoint left it.
    pub(crate) fn new(runs: Vec<Arc<Run>>, covered: u64, next_run: u64) -> Self {
        let mut accounts = BTreeMap::<u64, Highest>::new();
        for run in &runs {
            for entry in run.accounts() {
                let highest = accounts.entry(entry.account).or_default();
                highest.applied = highest.applied.max(entry.highest_change);
                highest.proposed = highest.applied;
            }
        }
        Self { runs, applied: covered, proposed: covered, next_run, accounts, ..Self::default() }
    }

    pub(crate) fn layers(&self) -> Layers<'_> {
        Layers { fresh: &self.fresh, frozen: self.frozen.as_deref(), runs: &self.runs }
    }

    /// What a read found rotten, if one did.
    pub(crate) fn rot(&self) -> Option<&Error> {
        self.runs.iter().find_map(|run| run.rot())
    }

    /// The account's applied change number; 0 when it has none.
    pub(crate) fn highest_applied(&self, account: u64) -> u64 {
        self.accounts.get(&account).map_or(0, |highest| highest.applied)
    }

    /// The account's proposed change number; 0 when it has none.
    pub(crate) fn highest_proposed(&self, account: u64) -> u64 {
        self.accounts.get(&account).map_or(0, |highest| highest.proposed)
    }

    /// Accounts with an applied change, ascending.
    pub(crate) fn accounts(&self) -> Vec<u64> {
        let applied = self.accounts.iter().filter(|(_, highest)| highest.applied > 0);
        applied.map(|(account, _)| *account).collect()
    }

    /// Notes a transaction as proposed under the frame's number.
    pub(crate) fn propose(&mut self, number: u64, sequence: u64, ops: &[Op]) {
        assert_eq!(sequence, self.proposed + 1, "a partition's transactions are numbered without gaps");
        self.proposed = sequence;
        for op in ops {
            self.pending.propose(number, op);
            let highest = self.accounts.entry(op.account).or_default();
            highest.proposed = highest.proposed.max(op.change);
        }
    }

    /// Applies a transaction: durable, in order, and a function of the frame alone.
    pub(crate) fn apply(&mut self, number: u64, sequence: u64, ops: Vec<Op>) {
        assert_eq!(sequence, self.applied + 1, "a partition's transactions are applied without gaps");
        self.applied = sequence;
        self.proposed = self.proposed.max(sequence);
        for op in ops {
            self.pending.applied(number, &op);
            let highest = self.accounts.entry(op.account).or_default();
            highest.applied = highest.applied.max(op.change);
            highest.proposed = highest.proposed.max(op.change);
            self.fresh.apply(op);
        }
    }

    pub(crate) fn fresh_bytes(&self) -> usize {
        self.fresh.bytes() + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }
}
