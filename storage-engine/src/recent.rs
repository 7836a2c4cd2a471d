//! Meta blocks of the bodies stored last, in memory. What was just stored is what clients list next, and it was written past
//! the page cache: without this the disk would be asked for it at once.

use std::collections::VecDeque;

use crate::limits::{RECENT_CHUNKS, RECENT_PLACE_BYTES};
use crate::log::Position;

/// As they stand in the log, by where they stand, the oldest let go of first. Durable ones only.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Ascending, each of what is above the one before.
    chunks: VecDeque<Chunk>,
    chunk_bytes: usize,
}

/// Meta blocks one after the other.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Ascending.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where in the log.
    at: Position,
    /// Where in the chunk.
    start: u32,
}

/// Where the block after the one found last is: those asked for one after the other mostly stand so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Near {
    chunk: usize,
    place: usize,
}

impl Recent {
    /// For up to `bytes` bytes in all, what it takes to find them included.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { chunks: VecDeque::new(), chunk_bytes: bytes / RECENT_CHUNKS }
    }

    /// Keeps a block, which stands behind all that were put before. One that is too large is not kept.
    pub(crate) fn put(&mut self, at: Position, block: &[u8]) {
        let needed = block.len() + RECENT_PLACE_BYTES;
        if block.is_empty() || needed > self.chunk_bytes {
            return;
        }
        if self.chunks.back().is_none_or(|chunk| chunk.held() + needed > self.chunk_bytes) {
            let chunk = self.empty_chunk();
            self.chunks.push_back(chunk);
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        chunk.places.push(Place { at, start: chunk.bytes.len() as u32 });
        chunk.bytes.extend_from_slice(block);
    }

    /// The oldest one, when there may be no more. A new one has all of its room at once: what is not used yet takes no
    /// memory, and what grows would leave holes.
    fn empty_chunk(&mut self) -> Chunk {
        let oldest = if self.chunks.len() < RECENT_CHUNKS { None } else { self.chunks.pop_front() };
        let Some(mut chunk) = oldest else {
            return Chunk { bytes: Vec::with_capacity(self.chunk_bytes), places: Vec::new() };
        };
        chunk.bytes.clear();
        chunk.places.clear();
        chunk
    }

    /// The block that stands at `at`, if it is kept.
    pub(crate) fn find(&self, at: Position, near: &mut Near) -> Option<&[u8]> {
        let found = self.next_to(*near, at).or_else(|| self.search(at))?;
        *near = Near { place: found.place + 1, ..found };
        self.chunks.get(found.chunk)?.block(found.place)
    }

    fn next_to(&self, near: Near, at: Position) -> Option<Near> {
        let place = self.chunks.get(near.chunk)?.places.get(near.place)?;
        (place.at == at).then_some(near)
    }

    fn search(&self, at: Position) -> Option<Near> {
        let is_before = |chunk: &Chunk| chunk.places.first().is_some_and(|first| first.at <= at);
        let chunk = self.chunks.partition_point(is_before).checked_sub(1)?;
        let places = &self.chunks.get(chunk)?.places;
        let place = places.binary_search_by_key(&at, |place| place.at).ok()?;
        Some(Near { chunk, place })
    }
}

impl Chunk {
    fn held(&self) -> usize {
        self.bytes.len() + self.places.len() * RECENT_PLACE_BYTES
    }

    fn block(&self, place: usize) -> Option<&[u8]> {
        let start = self.places.get(place)?.start as usize;
        let end = self.places.get(place + 1).map_or(self.bytes.len(), |next| next.start as usize);
        self.bytes.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u32) -> Position {
        Position::new(1 + number / 100, number % 100 * 40)
    }

    fn block(number: u32) -> Vec<u8> {
        vec![number as u8; 10 + number as usize % 7]
    }

    #[test]
    fn the_last_ones_are_found_in_any_order_and_the_oldest_are_let_go_of() {
        let mut recent = Recent::new(RECENT_CHUNKS * 200);
        let mut oldest = 0;
        for number in 0..5000 {
            recent.put(position(number), &block(number));
            let held: usize = recent.chunks.iter().map(Chunk::held).sum();
            assert!(held <= RECENT_CHUNKS * 200, "{held}");
            // Whatever is let go of is the oldest.
            let is_kept = |number: &u32| recent.find(position(*number), &mut Near::default()).is_some();
            oldest = (oldest..=number).find(is_kept).expect("the last one is kept");
        }
        assert!((5000 - 250..5000 - 150).contains(&oldest), "{oldest}");
        let mut near = Near::default();
        for number in (0..5000).chain((0..5000).rev()).chain([4990, 17, 4991, 4980, 4981]) {
            let found = recent.find(position(number), &mut near).map(<[u8]>::to_vec);
            assert_eq!(found, (number >= oldest).then(|| block(number)), "{number}");
        }
        // Between two.
        assert_eq!(recent.find(Position(position(4990).0 + 1), &mut near), None);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_nothing_where_nothing_may_be() {
        let mut recent = Recent::new(RECENT_CHUNKS * 100);
        recent.put(position(0), &[1; 100]);
        recent.put(position(1), &[]);
        recent.put(position(2), &[2; 10]);
        let kept = |recent: &Recent, number| recent.find(position(number), &mut Near::default()).is_some();
        assert_eq!([0, 1, 2].map(|number| kept(&recent, number)), [false, false, true]);
        let mut none = Recent::new(0);
        none.put(position(0), &[1]);
        assert!(!kept(&none, 0));
    }
}
