//! Segments as the page cache has them: what is in memory already is read in place, without a ring, a copy or a
//! wait. What is not in memory is left to the ring, so that no read here waits for the disk, and a disk that
//! cannot read is an error there and no signal here (but for a page that leaves memory at that very moment).

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::port::ReadPart;
use crate::limits::{VIEW_WINDOW_PAGES, VIEWS_MAX};
use crate::log::segment_file;

/// Bytes that `mincore` tells of at a time.
const PAGE_BYTES: usize = 4096;

/// Maps of the segments read last.
#[derive(Debug)]
pub(super) struct Views {
    root: PathBuf,
    segments: HashMap<(u16, u32), View>,
    /// Counts calls, to know which view was used longest ago.
    calls: u64,
}

#[derive(Debug)]
struct View {
    map: MmapRaw,
    used: u64,
}

/// Pages of one view of which it is known whether they are in memory. Known for the length of one call: pages may
/// leave memory at any time, and a read of one that has left since then waits for the disk, which is rare.
#[derive(Default)]
struct Window {
    first_page: usize,
    pages: Vec<u8>,
}

impl Views {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), segments: HashMap::new(), calls: 0 }
    }

    /// Gives `each` the bytes of every part that is in memory, by its place among `parts`; none for the others. Cheapest
    /// when parts follow one another as they stand in their segments. All parts are durable (`Log::is_durable`).
    pub(super) fn look(&mut self, parts: &[ReadPart], each: &mut dyn FnMut(usize, Option<&[u8]>)) {
        self.calls += 1;
        let mut window = Window::default();
        let mut rest = parts;
        while let Some(first) = rest.first() {
            let is_same = |part: &&ReadPart| (part.journal, part.segment) == (first.journal, first.segment);
            let (here, further) = rest.split_at(rest.iter().take_while(is_same).count());
            let end = here.iter().map(|part| part.offset as usize + part.length).max().unwrap_or(0);
            let start = parts.len() - rest.len();
            let view = self.view(first, end);
            for (index, part) in here.iter().enumerate() {
                let bytes = view.and_then(|view| view.resident(part, &here[index..], &mut window));
                each(start + index, bytes);
            }
            window.pages.clear();
            rest = further;
        }
    }

    /// The view of the part's segment up to `end`, made anew when the segment has grown since.
    fn view(&mut self, part: &ReadPart, end: usize) -> Option<&View> {
        let place = (part.journal, part.segment);
        if self.segments.get(&place).is_none_or(|view| view.map.len() < end) {
            let map = map_segment(&self.root, part)?;
            if map.len() < end {
                return None;
            }
            self.make_room();
            self.segments.insert(place, View { map, used: self.calls });
        }
        let view = self.segments.get_mut(&place)?;
        view.used = self.calls;
        Some(view)
    }

    fn make_room(&mut self) {
        if self.segments.len() < VIEWS_MAX {
            return;
        }
        let oldest = self.segments.iter().min_by_key(|(_, view)| view.used).map(|(place, _)| *place);
        oldest.and_then(|place| self.segments.remove(&place));
    }
}

impl View {
    /// A part's bytes if they are in memory; `rest` is this part and those asked for next.
    fn resident(&self, part: &ReadPart, rest: &[ReadPart], window: &mut Window) -> Option<&[u8]> {
        let (start, end) = (part.offset as usize, part.offset as usize + part.length);
        let pages = start / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        if !window.covers(&pages) {
            // To the end of the window it begins in, as far as the parts that follow go.
            let limit = (pages.start / VIEW_WINDOW_PAGES + 1) * VIEW_WINDOW_PAGES;
            let end_page = |next: &ReadPart| (next.offset as usize + next.length).div_ceil(PAGE_BYTES);
            let is_near = |next: &&ReadPart| next.offset as usize >= start && end_page(next) <= limit;
            let last = rest.iter().take_while(is_near).last().map_or(0, end_page);
            window.fill(&self.map, pages.start..last.max(pages.end))?;
        }
        if !window.is_resident(&pages) {
            return None;
        }
        #[allow(unsafe_code)]
        // SAFETY: the part is within the map (`Views::view`), and no segment is ever made shorter or removed. The part is of
        // another journal or was acknowledged (`Log::is_durable`), and what was is never written again; so nobody changes
        // these bytes while they are borrowed, whatever is written to other parts of the file. A page that leaves memory
        // just now is waited for; only if the disk then cannot read it does the process end, by a signal.
        let bytes = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), part.length) };
        Some(bytes)
    }
}

impl Window {
    fn covers(&self, pages: &std::ops::Range<usize>) -> bool {
        pages.start >= self.first_page && pages.end <= self.first_page + self.pages.len()
    }

    fn is_resident(&self, pages: &std::ops::Range<usize>) -> bool {
        let known = pages.start.checked_sub(self.first_page);
        let known = known.and_then(|start| self.pages.get(start..start + pages.len()));
        known.is_some_and(|pages| pages.iter().all(|page| page & 1 == 1))
    }

    /// Asks the kernel. None when it does not say.
    fn fill(&mut self, map: &MmapRaw, pages: std::ops::Range<usize>) -> Option<()> {
        self.first_page = pages.start;
        self.pages.clear();
        self.pages.resize(pages.len(), 0);
        let start = pages.start * PAGE_BYTES;
        let length = (pages.end * PAGE_BYTES).min(map.len()).checked_sub(start)?;
        #[allow(unsafe_code)]
        // SAFETY: the range is within the map and begins at a page; the kernel writes a byte for each of its pages, and
        // `pages` has as many.
        let told =
            unsafe { libc::mincore(map.as_mut_ptr().add(start).cast(), length, self.pages.as_mut_ptr()) };
        if told != 0 {
            self.pages.clear();
        }
        (told == 0).then_some(())
    }
}

fn map_segment(root: &Path, part: &ReadPart) -> Option<MmapRaw> {
    let name = segment_file(part.journal, part.segment);
    let file = File::open(root.join(&name)).ok()?;
    let map = MmapOptions::new().map_raw_read_only(&file).ok()?;
    // Reads come from anywhere; what is not in memory is not read through the map.
    let _ = map.advise(Advice::Random);
    Some(map)
}
