//! How much is open at the same time by a key: connections by source, messages by sender.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::key::{AsItIs, Home, Key, KeyMaker};
use crate::limits::CONCURRENT_KEYS_MAX;

/// Counts of what is open. It is about connections that are there now, so there is nothing to keep.
#[derive(Clone, Debug)]
pub struct Concurrent {
    maker: KeyMaker,
    open: HashMap<u128, u32, BuildHasherDefault<AsItIs>>,
}

impl Concurrent {
    /// One with nothing open; `maker` makes its keys.
    pub fn new(maker: KeyMaker) -> Self {
        Self { maker, open: HashMap::default() }
    }

    /// The key of a subject of a limit.
    pub fn key(&self, limit: &str, subject: &str) -> Key {
        self.maker.key(Home::of_subject(subject), &[limit.as_bytes(), subject.as_bytes()])
    }

    /// Opens one more unless `at_once` are open, or so many keys that there is no room. Whoever hears
    /// `true` calls [`Concurrent::close`] later, once.
    #[must_use]
    pub fn open(&mut self, key: Key, at_once: u32) -> bool {
        let count = self.open.get(&key.0).copied().unwrap_or(0);
        if count >= at_once || (count == 0 && self.open.len() >= CONCURRENT_KEYS_MAX) {
            return false;
        }
        self.open.insert(key.0, count + 1);
        true
    }

    /// Closes one.
    pub fn close(&mut self, key: Key) {
        match self.open.get_mut(&key.0) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.open.remove(&key.0)),
        }
    }

    /// How many are open by that key.
    pub fn count(&self, key: Key) -> u32 {
        self.open.get(&key.0).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_open_at_once_and_no_more() {
        let mut open = Concurrent::new(KeyMaker::new(1));
        let key = open.key("x", "ann");
        assert!(open.open(key, 2) && open.open(key, 2) && !open.open(key, 2));
        open.close(key);
        assert!(open.open(key, 2));
        open.close(key);
        open.close(key);
        open.close(key);
        assert_eq!((open.count(key), open.open.len()), (0, 0));
        for n in 0..CONCURRENT_KEYS_MAX as u32 {
            assert!(open.open(open.key("y", &n.to_string()), 1));
        }
        assert!(!open.open(key, 2));
    }
}
