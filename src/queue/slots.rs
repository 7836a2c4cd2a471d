//! Places for entries in a partition's queue. One that has gone leaves its place to the next: the index keeps
//! a deleted row for ever, so there should be few of them.

/// Which places are taken, as far as new ones need to know.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// From here on all are free.
    next: u32,
    /// Below it, these are.
    free: Vec<u32>,
}

impl Slots {
    /// Notes a taken place; called in ascending order, before any is given.
    pub(crate) fn note(&mut self, item: u32) {
        self.free.extend(self.next..item);
        self.next = item + 1;
    }

    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(crate) fn taken(&self) -> usize {
        self.next as usize - self.free.len()
    }

    pub(crate) fn give(&mut self, item: u32) {
        self.free.push(item);
    }
}
