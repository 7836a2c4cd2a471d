//! What a crash or a kill leaves of the simulated disk.

use super::super::random::Random;
use super::{Lacks, State, Write};

/// The unit a device writes whole.
const SECTOR_BYTES: usize = 512;

impl State {
    pub(super) fn crashed(&mut self) -> State {
        let seed = self.random.next();
        let mut random = Random::new(seed);
        let mut left = self.clone();
        for (index, write) in std::mem::take(&mut left.in_flight).into_values() {
            left.files[index].unflushed.push(write);
        }
        for file in &mut left.files {
            for write in std::mem::take(&mut file.unflushed) {
                match random.below(3) {
                    0 => {}
                    1 => write.apply_to(&mut file.durable, |_| true),
                    _ => write.apply_to(&mut file.durable, |_| random.below(2) == 0),
                }
            }
            file.seen = file.durable.clone();
            file.stale = None;
        }
        let changed = std::mem::take(&mut left.names_changed);
        let mut kept = random.below(changed.len() as u64 + 1) as usize;
        // A rename is two entries and atomic: never keep the loss of the old name without the new one.
        let splits_rename = |kept: usize| {
            kept > 0
                && changed.get(kept).is_some_and(|(_, index)| index.is_some())
                && changed[kept - 1].1.is_none()
                && changed[kept - 1].0.strip_suffix(".new").is_some()
        };
        if splits_rename(kept) {
            kept -= 1;
        }
        for (name, index) in changed.into_iter().take(kept) {
            left.keep_name(&name, index);
        }
        left.names = left.durable_names.clone();
        left.restarted(random)
    }

    pub(super) fn killed(&mut self) -> State {
        let mut random = Random::new(self.random.next());
        let mut left = self.clone();
        for (index, write) in std::mem::take(&mut left.in_flight).into_values() {
            if random.below(2) == 0 {
                let file = &mut left.files[index];
                write.apply_to(&mut file.seen, |_| true);
                file.unflushed.push(write);
            }
        }
        left.restarted(random)
    }

    /// The same disk under a new process: no lock, no faults, no events yet.
    fn restarted(mut self, random: Random) -> State {
        self.crash_image = None;
        self.crash_at = None;
        self.locked = false;
        self.fail_writes = 0;
        self.fail_flushes = 0;
        self.fail_flush_after = None;
        self.fail_registrations = 0;
        self.lacks = Lacks::default();
        self.events = Vec::new();
        self.random = random;
        self
    }
}

impl Write {
    /// Puts the sectors that `keeps` chooses into `target`, which grows as needed.
    pub(super) fn apply_to(&self, target: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        for (index, sector) in self.bytes.chunks(SECTOR_BYTES).enumerate() {
            if !keeps(index) {
                continue;
            }
            let start = self.offset as usize + index * SECTOR_BYTES;
            let end = start + sector.len();
            if target.len() < end {
                target.resize(end, 0);
            }
            target[start..end].copy_from_slice(sector);
        }
    }
}
