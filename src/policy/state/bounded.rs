//! A map that holds so many entries and no more, in the order in which they were last touched.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::key::{AsItIs, Key};

/// What is to be written down: for each key its bytes, or nothing where it is to be taken out.
pub(crate) type Written = Vec<(Key, Option<Vec<u8>>)>;

/// A value that can be kept as bytes.
pub(crate) trait Kept: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &mut Bytes<'_>) -> Option<Self>;
    /// When it was last of use: the older go first.
    fn at_ms(&self) -> i64;
}

/// Numbers off the front of bytes.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<V> {
    index: HashMap<u128, u32, BuildHasherDefault<AsItIs>>,
    slots: Vec<Slot<V>>,
    oldest: u32,
    newest: u32,
    entries_max: usize,
    /// From this one to the newest, all were touched since they were written down.
    changed: u32,
    /// They are written down and not here any more.
    gone: Vec<Key>,
    /// They were to be written down, and could not be.
    unwritten: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Slot<V> {
    key: Key,
    value: V,
    older: u32,
    newer: u32,
    is_written: bool,
}

impl<V> Bounded<V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        assert!((1..NONE as usize).contains(&entries_max), "places are numbers of 32 bits");
        Self {
            index: HashMap::default(),
            slots: Vec::new(),
            oldest: NONE,
            newest: NONE,
            entries_max,
            changed: NONE,
            gone: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&V> {
        let at = *self.index.get(&key.0)?;
        self.slots.get(at as usize).map(|slot| &slot.value)
    }

    /// The value of a key as the newest entry; `make` gives one that is not there, for which the oldest
    /// entry goes when there is no room.
    pub(crate) fn touch(&mut self, key: Key, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.index.get(&key.0).copied() {
            Some(at) => {
                self.unlink(at);
                at
            }
            None => self.place(key, make()),
        };
        self.link_newest(at);
        if self.changed == NONE {
            self.changed = at;
        }
        &mut self.slots[at as usize].value
    }

    /// A place for a new entry, not in the order yet.
    fn place(&mut self, key: Key, value: V) -> u32 {
        let slot = Slot { key, value, older: NONE, newer: NONE, is_written: false };
        let at = if self.slots.len() < self.entries_max {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            let at = self.oldest;
            self.unlink(at);
            let old = std::mem::replace(&mut self.slots[at as usize], slot);
            self.index.remove(&old.key.0);
            if old.is_written {
                self.gone.push(old.key);
            }
            at
        };
        self.index.insert(key.0, at);
        at
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        if self.changed == at {
            self.changed = newer;
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let newest = self.newest;
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (newest, NONE);
        self.newest = at;
    }
}

impl<V: Kept> Bounded<V> {
    /// What is to be written down of what has changed, at most `most`. What is not `worth` it is not written.
    pub(crate) fn changes(&mut self, most: usize, worth: impl Fn(&V) -> bool) -> Written {
        // First what could not be written, as it is now. So there is never more of it than was asked for at once.
        let first = self.unwritten.len().saturating_sub(most);
        let unwritten = self.unwritten.split_off(first);
        let mut out: Vec<_> = unwritten.into_iter().map(|key| (key, self.bytes_of(key, &worth))).collect();
        // What has gone and come again since is among the changed ones, behind these.
        let first_gone = self.gone.len().saturating_sub(most - out.len());
        out.extend(self.gone.drain(first_gone..).map(|key| (key, None)));
        while out.len() < most {
            let Some(slot) = self.slots.get_mut(self.changed as usize) else { break };
            self.changed = slot.newer;
            let was_written = slot.is_written;
            let bytes = slot.bytes(&worth);
            if bytes.is_some() || was_written {
                out.push((slot.key, bytes));
            }
        }
        out
    }

    fn bytes_of(&mut self, key: Key, worth: impl Fn(&V) -> bool) -> Option<Vec<u8>> {
        let at = *self.index.get(&key.0)?;
        self.slots.get_mut(at as usize)?.bytes(worth)
    }

    /// What was to be written down of a key could not be: it is among the next changes, as it is by then.
    pub(crate) fn put_back(&mut self, key: Key) {
        self.unwritten.push(key);
    }

    /// Takes in what was written down. What can no longer be read, or is no longer `worth` it, is taken out with the next
    /// changes. What is here already stays: it is newer.
    pub(crate) fn restore(&mut self, written: Vec<(Key, Vec<u8>)>, worth: impl Fn(&V) -> bool) {
        let mut known = Vec::with_capacity(written.len());
        for (key, bytes) in written {
            match V::read(&mut Bytes(&bytes)).filter(&worth) {
                Some(value) => known.push((key, value)),
                None => self.gone.push(key),
            }
        }
        known.sort_by_key(|(_, value)| value.at_ms());
        for (key, value) in known {
            let at = self.index.get(&key.0).copied().unwrap_or_else(|| {
                let at = self.place(key, value);
                self.link_newest(at);
                at
            });
            self.slots[at as usize].is_written = true;
        }
    }
}

impl<V: Kept> Slot<V> {
    /// What is written down of it, if it is worth it.
    fn bytes(&mut self, worth: impl Fn(&V) -> bool) -> Option<Vec<u8>> {
        self.is_written = worth(&self.value);
        self.is_written.then(|| {
            let mut bytes = Vec::new();
            self.value.write(&mut bytes);
            bytes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    impl<V> Bounded<V> {
        /// All entries, the oldest first.
        fn iter(&self) -> impl Iterator<Item = (Key, &V)> {
            let slot = |at: u32| self.slots.get(at as usize);
            std::iter::successors(slot(self.oldest), move |last| slot(last.newer))
                .map(|slot| (slot.key, &slot.value))
        }
    }

    impl Kept for u32 {
        fn write(&self, out: &mut Vec<u8>) {
            out.extend(self.to_le_bytes());
        }

        fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
            bytes.u32()
        }

        fn at_ms(&self) -> i64 {
            i64::from(*self)
        }
    }

    #[test]
    fn it_does_what_a_list_in_order_does() {
        let mut random = Random::new(5);
        let mut map = Bounded::new(8);
        let mut model: Vec<(u128, u32)> = Vec::new();
        for round in 0..20_000u32 {
            let key = u128::from(random.below(20));
            if random.one_in(3) {
                let found = model.iter().find(|(known, _)| *known == key).map(|(_, value)| value);
                assert_eq!(map.get(Key(key)), found);
                continue;
            }
            let value = match model.iter().position(|(known, _)| *known == key) {
                Some(at) => model.remove(at).1,
                None => round,
            };
            model.push((key, value));
            if model.len() > 8 {
                model.remove(0);
            }
            assert_eq!(*map.touch(Key(key), || round), value);
            assert!(map.iter().map(|(key, value)| (key.0, *value)).eq(model.iter().copied()));
        }
    }

    /// What is on a disk after these changes.
    fn write(map: &mut Bounded<u32>, disk: &mut HashMap<u128, Vec<u8>>, most: usize) -> usize {
        let changes = map.changes(most, |value| *value < 100);
        for (key, bytes) in &changes {
            match bytes {
                Some(bytes) => drop(disk.insert(key.0, bytes.clone())),
                None => drop(disk.remove(&key.0)),
            }
        }
        changes.len()
    }

    fn read(disk: &HashMap<u128, Vec<u8>>, entries_max: usize) -> Bounded<u32> {
        let mut map = Bounded::new(entries_max);
        let written = disk.iter().map(|(key, bytes)| (Key(*key), bytes.clone())).collect();
        map.restore(written, |value| *value > 3);
        map
    }

    #[test]
    fn what_changed_is_written_once_and_comes_back_in_its_order() {
        let (mut map, mut disk) = (Bounded::new(4), HashMap::new());
        for key in [5, 3, 9, 3, 200] {
            *map.touch(Key(key), || 0) += key as u32;
        }
        assert_eq!(write(&mut map, &mut disk, 2), 2);
        assert_eq!((write(&mut map, &mut disk, 9), write(&mut map, &mut disk, 9)), (1, 0));
        assert_eq!(disk.len(), 3, "200 is not worth it");
        let mut back = read(&disk, 3);
        assert!(back.iter().map(|(key, value)| (key.0, *value)).eq([(5, 5), (3, 6), (9, 9)]));
        assert_eq!(write(&mut back, &mut disk, 9), 0, "nothing is new");
        *back.touch(Key(3), || 0) = 500;
        back.touch(Key(8), || 8);
        assert_eq!(write(&mut back, &mut disk, 9), 3, "5 has gone, 3 is not worth it any more, 8 has come");
        let mut keys: Vec<u128> = disk.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(keys, [8, 9]);
    }

    #[test]
    fn what_cannot_be_written_is_written_later_as_it_is_by_then() {
        let mut random = Random::new(3);
        let (mut map, mut disk) = (Bounded::new(8), HashMap::new());
        for _ in 0..5000 {
            let most = 1 + random.below(6) as usize;
            match random.below(4) {
                0 => {
                    write(&mut map, &mut disk, most);
                }
                1 => {
                    let lost = map.changes(most, |value| *value < 100);
                    for (key, _) in lost {
                        map.put_back(key);
                    }
                    assert!(map.unwritten.len() <= 6, "it does not pile up");
                }
                _ => *map.touch(Key(u128::from(random.below(20))), || 0) = random.below(120) as u32,
            }
        }
        while write(&mut map, &mut disk, 3) > 0 {}
        let known = map.iter().filter(|(_, value)| **value < 100);
        let known: HashMap<u128, Vec<u8>> =
            known.map(|(key, value)| (key.0, value.to_le_bytes().to_vec())).collect();
        assert_eq!(disk, known, "what is there is on the disk, and nothing else");
    }

    #[test]
    fn what_cannot_be_read_or_is_over_is_taken_out() {
        let mut disk = HashMap::from([(1, vec![1]), (2, vec![3, 0, 0, 0]), (4, vec![4, 0, 0, 0])]);
        let mut map = read(&disk, 3);
        assert!(map.iter().map(|(key, _)| key.0).eq([4]));
        assert_eq!(write(&mut map, &mut disk, 9), 2);
        assert!(disk.len() == 1 && disk.contains_key(&4));
    }
}
