//! A map that holds so many entries and no more, in the order in which they were last touched.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;

use super::key::{AsItIs, Key, KeyMaker};

/// Bytes that are no state of this kind: they were cut, or belong to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these bytes are no state of this kind")
    }
}

impl std::error::Error for Broken {}

/// A value that can be kept as bytes.
pub(crate) trait Kept: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &mut Bytes<'_>) -> Option<Self>;
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

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
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
}

#[derive(Clone, Debug)]
struct Slot<V> {
    key: Key,
    value: V,
    older: u32,
    newer: u32,
}

impl<V> Bounded<V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        assert!((1..NONE as usize).contains(&entries_max), "places are numbers of 32 bits");
        Self { index: HashMap::default(), slots: Vec::new(), oldest: NONE, newest: NONE, entries_max }
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
        &mut self.slots[at as usize].value
    }

    /// A place for a new entry, not in the order yet.
    fn place(&mut self, key: Key, value: V) -> u32 {
        let slot = Slot { key, value, older: NONE, newer: NONE };
        let at = if self.slots.len() < self.entries_max {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            let at = self.oldest;
            self.unlink(at);
            let old = std::mem::replace(&mut self.slots[at as usize], slot);
            self.index.remove(&old.key.0);
            at
        };
        self.index.insert(key.0, at);
        at
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
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

    /// All entries, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &V)> {
        let slot = |at: u32| self.slots.get(at as usize);
        std::iter::successors(slot(self.oldest), move |last| slot(last.newer))
            .map(|slot| (slot.key, &slot.value))
    }
}

impl<V: Kept> Bounded<V> {
    /// The number of entries, then each, the oldest first.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.len() as u32).to_le_bytes());
        for (key, value) in self.iter() {
            out.extend(key.0.to_le_bytes());
            value.write(out);
        }
    }

    pub(crate) fn read(entries_max: usize, bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut map = Self::new(entries_max);
        for _ in 0..bytes.u32()? {
            let key = Key(bytes.u128()?);
            let value = V::read(bytes)?;
            map.touch(key, || value);
        }
        Some(map)
    }
}

/// The head of exported state: what it is, its version, and the secret of its keys.
pub(crate) fn head(kind: [u8; 4], maker: KeyMaker) -> Vec<u8> {
    let mut out = kind.to_vec();
    out.extend(maker.secret().to_le_bytes());
    out
}

/// Reads a head of that kind.
pub(crate) fn read_head(kind: [u8; 4], bytes: &mut Bytes<'_>) -> Option<KeyMaker> {
    (bytes.take()? == kind).then_some(())?;
    bytes.u128().map(KeyMaker::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    impl Kept for u32 {
        fn write(&self, out: &mut Vec<u8>) {
            out.extend(self.to_le_bytes());
        }

        fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
            bytes.u32()
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

    #[test]
    fn bytes_give_it_back_and_cut_bytes_do_not() {
        let mut map = Bounded::new(10);
        for key in [5, 3, 9, 3] {
            *map.touch(Key(key), || 0) += key as u32;
        }
        let mut out = Vec::new();
        map.write(&mut out);
        let back = Bounded::<u32>::read(10, &mut Bytes(&out)).unwrap();
        assert!(map.iter().eq(back.iter()));
        let fewer = Bounded::<u32>::read(2, &mut Bytes(&out)).unwrap();
        assert!(fewer.iter().map(|(key, value)| (key.0, *value)).eq([(9, 9), (3, 6)]));
        for end in 0..out.len() {
            assert!(Bounded::<u32>::read(10, &mut Bytes(&out[..end])).is_none(), "{end}");
        }
    }
}
