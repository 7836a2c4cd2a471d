//! Reading the meta blocks of many bodies at a time: what was stored last or is in the page cache is copied from there, and
//! of what is not, neighbours are read together.

use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;

use crate::disk::ReadPart;
use crate::engine::Engine;
use crate::limits::{SPAN_BYTES_MAX, SPAN_GAP_BYTES_MAX, SPANS_BYTES_MAX, SPANS_MAX};
use crate::log::Position;
use crate::recent::Near;
use crate::row::BodyRef;
use crate::state::{ReadAnswer, State};

/// Meta blocks that were asked for together, each under the place its body had in the question.
#[derive(Debug, Default)]
pub struct Metas {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Metas {
    /// The meta block, its checksum verified. None when the body has none, or it cannot be read, or it is rotten.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(self.places.get(index)?.clone()).filter(|bytes| !bytes.is_empty())
    }

    fn begin(&mut self, count: usize) {
        self.bytes.clear();
        self.places.clear();
        self.places.resize(count, 0..0);
    }

    fn put(&mut self, index: usize, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.places[index] = start..self.bytes.len();
    }

    /// Takes out what does not have its checksum, and from the others that checksum. Apart from copying, which then
    /// waits for memory for many blocks at a time and not for one after the other.
    fn verify(&mut self, bodies: &[BodyRef]) {
        for (place, body) in self.places.iter_mut().zip(bodies) {
            let length = body.open_meta(&self.bytes[place.clone()]).map_or(0, <[u8]>::len);
            place.end = place.start + length;
        }
    }
}

/// Meta blocks that are read with one operation.
struct Span {
    /// Places among the bodies asked about, one after the other.
    bodies: Vec<usize>,
    part: ReadPart,
}

impl Engine {
    /// Puts the meta blocks of `bodies` into `metas`, in place of what it had. Cheapest when bodies follow one another as
    /// they stand in the log. What cannot be read is left out: whoever needs it reads the body, and is told why.
    pub async fn metas(&self, bodies: &[BodyRef], metas: &mut Metas) {
        metas.begin(bodies.len());
        let has_meta = |index: &usize| bodies[*index].meta_length > 0 && self.is_within(&bodies[*index]);
        let wanted: Vec<usize> = (0..bodies.len()).filter(has_meta).collect();
        let missing = self.with_state(|state| {
            let older = not_recent(state, &wanted, bodies, metas);
            // A row that is only proposed names what may be being written: not to be looked at in place.
            let is_durable = |index: &usize| state.log.is_durable(&part_of(&bodies[*index]));
            let (durable, mut missing): (Vec<usize>, Vec<usize>) =
                older.iter().partition(|index| is_durable(index));
            let parts: Vec<ReadPart> = durable.iter().map(|index| part_of(&bodies[*index])).collect();
            state.port.look(&parts, &mut |at, bytes| match bytes {
                Some(bytes) => metas.put(durable[at], bytes),
                None => missing.push(durable[at]),
            });
            missing
        });
        let mut spans = spans(&missing, bodies).into_iter().peekable();
        while spans.peek().is_some() {
            let mut room = SPANS_BYTES_MAX;
            let mut fits = |span: &Span| {
                let is_fitting = room > 0;
                room = room.saturating_sub(span.part.length);
                is_fitting
            };
            let mut wave = Vec::new();
            while wave.len() < SPANS_MAX
                && let Some(span) = spans.next_if(&mut fits)
            {
                wave.push(span);
            }
            self.read_spans(wave, bodies, metas).await;
        }
        metas.verify(bodies);
        self.read_stale(&wanted, bodies, metas).await;
    }

    /// Reads from the disk itself what was not right in memory: rare, so one after the other.
    async fn read_stale(&self, wanted: &[usize], bodies: &[BodyRef], metas: &mut Metas) {
        for &index in wanted {
            if metas.get(index).is_some() {
                continue;
            }
            if let Ok(meta) = self.meta(&bodies[index]).await {
                metas.put(index, &meta);
            }
        }
    }

    async fn read_spans(&self, spans: Vec<Span>, bodies: &[BodyRef], metas: &mut Metas) {
        let answers: Vec<Rc<ReadAnswer>> =
            self.with_state(|state| spans.iter().map(|span| state.read(span.part)).collect());
        self.drive();
        for (span, answer) in spans.iter().zip(answers) {
            let Ok(bytes) = poll_fn(|context| answer.poll(context)).await else { continue };
            for index in &span.bodies {
                let body = &bodies[*index];
                let start = (body.offset - span.part.offset) as usize;
                if let Some(meta) = bytes.get(start..start + body.meta_length as usize) {
                    metas.put(*index, meta);
                }
            }
        }
    }
}

/// Puts those of the wanted blocks that were stored last into `metas`; gives the others.
fn not_recent(state: &State, wanted: &[usize], bodies: &[BodyRef], metas: &mut Metas) -> Vec<usize> {
    let (journal, mut near) = (state.log.journal(), Near::default());
    let mut is_recent = |body: &BodyRef, index: usize| {
        if body.journal != journal {
            return false;
        }
        let block = state.recent.find(Position::new(body.segment, body.offset), &mut near);
        let block = block.filter(|block| block.len() == body.meta_length as usize);
        block.map(|block| metas.put(index, block)).is_some()
    };
    wanted.iter().copied().filter(|&index| !is_recent(&bodies[index], index)).collect()
}

fn part_of(body: &BodyRef) -> ReadPart {
    ReadPart {
        journal: body.journal,
        segment: body.segment,
        offset: body.offset,
        length: body.meta_length as usize,
    }
}

/// Gathers neighbours: reading the bytes between two that stand near each other costs less than another operation.
fn spans(wanted: &[usize], bodies: &[BodyRef]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for &index in wanted {
        let next = part_of(&bodies[index]);
        if let Some(Span { bodies, part }) = spans.last_mut()
            && let Some(length) = joined(part, &next)
        {
            if length <= SPAN_BYTES_MAX {
                part.length = length;
                bodies.push(index);
                continue;
            }
            // Up to where the next one begins, so that all that is between is in memory when it is asked for again.
            part.length = part.length.max((next.offset - part.offset) as usize);
        }
        spans.push(Span { bodies: vec![index], part: next });
    }
    spans
}

/// The length of a part that has the next one in it too, when that is near.
fn joined(part: &ReadPart, next: &ReadPart) -> Option<usize> {
    if (part.journal, part.segment) != (next.journal, next.segment) {
        return None;
    }
    let start = next.offset.checked_sub(part.offset)? as usize;
    let length = part.length.max(start + next.length);
    (start <= part.length + SPAN_GAP_BYTES_MAX).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(segment: u32, offset: u32, meta_length: u32) -> BodyRef {
        BodyRef { segment, offset, meta_length, length: 10, ..BodyRef::NONE }
    }

    #[test]
    fn neighbours_are_read_together_and_others_alone() {
        let gap = SPAN_GAP_BYTES_MAX as u32;
        let bodies = [
            body(1, 4096, 100),
            body(1, 8192, 300),
            // The same once more, as a copy of a message has it.
            body(1, 8192, 300),
            body(1, 8492 + gap, 50),
            body(1, 8542 + gap + gap + 1, 50),
            body(2, 8542 + gap + gap + 60, 50),
            // Backwards.
            body(2, 4096, 50),
        ];
        let spans = spans(&[0, 1, 2, 3, 4, 5, 6], &bodies);
        let told: Vec<(Vec<usize>, u32, usize)> =
            spans.into_iter().map(|span| (span.bodies, span.part.offset, span.part.length)).collect();
        let want = vec![
            (vec![0, 1, 2, 3], 4096, (8542 + gap - 4096) as usize),
            (vec![4], 8542 + gap + gap + 1, 50),
            (vec![5], 8542 + gap + gap + 60, 50),
            (vec![6], 4096, 50),
        ];
        assert_eq!(told, want);
    }

    #[test]
    fn a_span_is_bounded() {
        let bodies: Vec<BodyRef> = (0..1000).map(|n| body(1, n * 5000, 300)).collect();
        let spans = spans(&(0..1000).collect::<Vec<_>>(), &bodies);
        assert!(spans.iter().all(|span| span.part.length <= SPAN_BYTES_MAX + SPAN_GAP_BYTES_MAX));
        let ends = spans.iter().map(|span| span.part.offset + span.part.length as u32);
        assert!(ends.zip(spans.iter().skip(1)).all(|(end, next)| end == next.part.offset));
        assert_eq!(spans.iter().map(|span| span.bodies.len()).sum::<usize>(), 1000);
        assert!(spans.len() < 20);
    }
}
