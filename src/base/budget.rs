//! A bound on memory that many connections share: what peers may make a shard hold before they have
//! proved anything.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes may be held at the same time. Shared: what was taken on one shard may be given back
/// on another.
#[derive(Debug)]
pub struct Budget {
    bytes_max: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    /// What is held for one purpose up to here may use all of the budget; above it only three quarters.
    /// So a few who send large messages and never end them do not keep everybody else out.
    pub const SMALL_BYTES: usize = 256 * 1024;

    /// Nothing is taken yet.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max: AtomicUsize::new(bytes_max), used: AtomicUsize::new(0) })
    }

    /// Sets another bound. What is taken stays taken.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether something of `bytes` could be taken now.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.bound(bytes).saturating_sub(self.used())
    }

    fn bound(&self, bytes: usize) -> usize {
        let all = self.bytes_max.load(Ordering::Relaxed);
        if bytes > Self::SMALL_BYTES { all - all / 4 } else { all }
    }

    /// Takes `more` for something that then has `whole`.
    fn take(&self, more: usize, whole: usize) -> bool {
        let bound = self.bound(whole);
        let add = |used: usize| used.checked_add(more).filter(|sum| *sum <= bound);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// What one holder has taken of a budget; given back by being dropped. The default is bound to no
/// budget and gets all it asks for.
#[derive(Debug, Default)]
pub struct Charge {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Charge {
    /// Nothing yet, of this budget if there is one.
    pub const fn new(budget: Option<Arc<Budget>>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Bytes taken.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Charge::cover`] would succeed now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.as_ref().is_none_or(|budget| more <= budget.bound(bytes).saturating_sub(budget.used()))
    }

    /// Makes sure that `bytes` in all are taken. False when the budget has not that much; then nothing
    /// has changed.
    #[must_use]
    pub fn cover(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let is_covered = more == 0 || self.budget.as_ref().is_none_or(|budget| budget.take(more, bytes));
        if is_covered {
            self.bytes += more;
        }
        is_covered
    }

    /// Gives all back.
    pub fn release(&mut self) {
        let bytes = core::mem::take(&mut self.bytes);
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_and_comes_back() {
        let budget = Budget::new(1000);
        let (mut one, mut two) =
            (Charge::new(Some(Arc::clone(&budget))), Charge::new(Some(Arc::clone(&budget))));
        assert!(one.cover(600) && one.cover(400), "less is covered already");
        assert!(two.has_room(400) && two.cover(400));
        assert!(!two.has_room(401) && !two.cover(401));
        assert_eq!((one.bytes(), two.bytes(), budget.used()), (600, 400, 1000));
        drop(one);
        assert!(two.cover(1000) && !budget.has_room(1));
        two.release();
        assert_eq!(budget.used(), 0);
        assert!(Charge::default().cover(usize::MAX));
        budget.set_bytes_max(10);
        assert!(!two.cover(11) && two.cover(10));
    }

    #[test]
    fn the_last_quarter_is_for_what_is_small() {
        let budget = Budget::new(8 * Budget::SMALL_BYTES);
        let (mut large, mut small) =
            (Charge::new(Some(Arc::clone(&budget))), Charge::new(Some(Arc::clone(&budget))));
        assert!(!large.cover(7 * Budget::SMALL_BYTES) && large.cover(6 * Budget::SMALL_BYTES));
        assert!(!large.cover(6 * Budget::SMALL_BYTES + 1));
        assert!(small.cover(Budget::SMALL_BYTES) && !small.cover(Budget::SMALL_BYTES + 1));
    }
}
