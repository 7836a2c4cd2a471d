//! A map that forgets the oldest when it is full, at no cost per look-up.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// At most so many entries, in two halves: new entries go to the young half; when that is full it
/// becomes the old half, and what the old half held is forgotten. So at least the newest half of the
/// bound is always kept, and no order has to be maintained.
pub struct BoundedMap<K, V> {
    half_max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> BoundedMap<K, V> {
    /// `entries_max` is at least 2. Nothing is allocated yet.
    pub fn new(entries_max: usize) -> Self {
        assert!(entries_max >= 2, "a bound that holds nothing");
        Self { half_max: entries_max / 2, young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Puts a value, in place of the key's earlier one.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Takes a key out.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }

    /// Keeps only what `keep` says. Looks at every entry.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    /// Forgets all and gives the memory back.
    pub fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_half_is_always_kept() {
        let mut map = BoundedMap::new(8);
        for i in 0..100 {
            map.insert(i, i * 2);
            assert!(map.len() <= 8);
            assert!((i.max(3) - 3..=i).all(|kept| map.get(&kept) == Some(&(kept * 2))), "after {i}");
        }
        map.insert(99, 1);
        assert_eq!(map.remove(&99), Some(1));
        assert_eq!(map.get(&99), None);
        map.retain(|key, _| *key == 98);
        assert_eq!((map.len(), map.get(&98)), (1, Some(&196)));
        map.clear();
        assert!(map.is_empty());
    }
}
