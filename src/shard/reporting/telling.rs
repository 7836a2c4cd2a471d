//! A domain's report on its way to all who are to have it: what it is about, and who has it already.

use std::rc::Rc;

use base::Timestamp;
use mailauth::report::Period;
use reports::{Begun, CountKind};
use transport::report::Day;

use crate::Shard;

/// A report that goes out.
pub(super) struct Telling<'a> {
    shard: &'a Rc<Shard>,
    kind: CountKind,
    about: (Day, &'a str),
    begun: Begun,
}

impl<'a> Telling<'a> {
    pub(super) const fn new(
        shard: &'a Rc<Shard>,
        kind: CountKind,
        about: (Day, &'a str),
        begun: Begun,
    ) -> Self {
        Self { shard, kind, about, begun }
    }

    /// The day and the domain.
    pub(super) const fn about(&self) -> (Day, &'a str) {
        self.about
    }

    /// The time that it is about.
    pub(super) const fn period(&self) -> Period {
        Period { begin_s: self.begun.begin.as_s(), end_s: self.begun.end.as_s() }
    }

    /// A name for that time. It stays the same however often the report is sent, and no other one has it: several may go
    /// in one second.
    pub(super) fn name(&self) -> String {
        let of = |moment: Timestamp| match moment.as_ms() % 1000 {
            0 => moment.as_s(),
            _ => moment.as_ms(),
        };
        format!("{}.{}", of(self.begun.begin), of(self.begun.end))
    }

    /// Whether an address has it, or never will.
    pub(super) fn is_told(&self, to: &str) -> bool {
        self.begun.told.iter().any(|told| told == to)
    }

    /// An address has it, or never will. Durable before others are tried: what happens there takes it from nobody.
    pub(super) async fn told(&mut self, to: &str, others: usize) {
        self.begun.told.push(to.to_owned());
        if others > 0 {
            self.keep().await;
        }
    }

    /// Not all have it: it is the same report when they are tried again.
    pub(super) async fn keep(&self) {
        let kept = self.shard.reports.store.set_begun(self.kind, self.about, Some(&self.begun)).await;
        if let Err(error) = kept {
            tracing::warn!(event = "reports.not_written", %error);
        }
    }
}
