//! A disk in memory that loses what was not flushed, tears writes, fails, fills up and flips bits, by a seed.
//!
//! Each file has what readers see and what is durable, and the list of writes between the two. A crash keeps of
//! every such write all, nothing, or some of its 512-byte sectors. Names (create, rename, remove) are durable
//! after a flush of their folder; a crash keeps some first part of those that are not.

mod crash;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::random::Random;
use super::{folder_of, missing};
use crate::error::Error;

/// What the simulated disk did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes reached the disk's volatile cache.
    Write {
        /// The file.
        file: String,
        /// Where, bytes.
        offset: u64,
        /// How much, bytes.
        length: u64,
    },
    /// What the cache held of the file became durable.
    Flush {
        /// The file.
        file: String,
    },
    /// An empty file appeared.
    Create {
        /// The file.
        file: String,
    },
    /// A file changed its name, replacing what had the new one.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// A name went.
    Remove {
        /// The file.
        file: String,
    },
    /// The names in a folder became durable.
    FlushFolder {
        /// The folder; empty for the store itself.
        folder: String,
    },
}

/// A disk in memory. A handle: clones share one disk.
#[derive(Clone)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Clone)]
struct State {
    random: Random,
    instant: bool,
    locked: bool,
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    names_changed: Vec<(String, Option<usize>)>,
    in_flight: BTreeMap<u64, (usize, Write)>,
    next_write: u64,
    events: Vec<Event>,
    fail_writes: u32,
    fail_flushes: u32,
    /// How many flushes end well before one fails.
    fail_flush_after: Option<u32>,
    fail_registrations: u32,
    lacks: Lacks,
    crash_at: Option<usize>,
    crash_image: Option<Simulated>,
}

/// What there is none of.
#[derive(Clone, Copy, Default)]
struct Lacks {
    room: bool,
    descriptors: bool,
}

#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unflushed: Vec<Write>,
    /// Where readers see zeroes, whatever was written: pages of the cache that a write could not take out.
    stale: Option<Range<usize>>,
    /// Bytes that can be written whatever else fills the disk.
    reserved: usize,
}

#[derive(Clone)]
struct Write {
    offset: u64,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulated({} events)", self.state().events.len())
    }
}

impl Simulated {
    /// Operations end in later turns, in an order by the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            instant: false,
            locked: false,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            names_changed: Vec::new(),
            in_flight: BTreeMap::new(),
            next_write: 0,
            events: Vec::new(),
            fail_writes: 0,
            fail_flushes: 0,
            fail_flush_after: None,
            fail_registrations: 0,
            lacks: Lacks::default(),
            crash_at: None,
            crash_image: None,
        })))
    }

    /// Every operation ends inside the call that submits it, so that futures are ready at their first poll.
    pub fn instant() -> Self {
        let simulated = Self::new(0);
        simulated.state().instant = true;
        simulated
    }

    /// What a crash at this moment leaves, by the seed. This disk goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self) -> Simulated {
        let mut state = self.state();
        Self(Arc::new(Mutex::new(state.crashed())))
    }

    /// What is found when the process is killed at this moment and the machine goes on: everything that was written
    /// is still readable, of what was in flight some, and nothing became durable by it.
    #[must_use]
    pub fn kill(&self) -> Simulated {
        let mut state = self.state();
        Self(Arc::new(Mutex::new(state.killed())))
    }

    /// Keeps what a crash would leave just before event `event` (counted from 0) happens.
    pub fn crash_at(&self, event: usize) {
        self.state().crash_at = Some(event);
    }

    /// What `crash_at` kept; none when that event has not come yet.
    pub fn crash_image(&self) -> Option<Simulated> {
        self.state().crash_image.clone()
    }

    /// Makes the next `count` writes fail.
    pub fn fail_writes(&self, count: u32) {
        self.state().fail_writes = count;
    }

    /// Makes the next `count` flushes fail; what they should have made durable may be lost.
    pub fn fail_flushes(&self, count: u32) {
        self.state().fail_flushes = count;
    }

    /// Makes one flush fail, after `count` that do not.
    pub fn fail_flush_after(&self, count: u32) {
        self.state().fail_flush_after = Some(count);
    }

    /// Makes the next `count` segments that are readied for writing be refused.
    pub fn fail_registrations(&self, count: u32) {
        self.state().fail_registrations = count;
    }

    /// Makes the disk full, or gives it room again. A full disk takes overwrites, and no file grows.
    pub fn set_full(&self, full: bool) {
        self.state().lacks.room = full;
    }

    /// Makes the process run out of file descriptors, or has some again: what is open stays so, and nothing else is
    /// opened.
    pub fn refuse_opens(&self, refuse: bool) {
        self.state().lacks.descriptors = refuse;
    }

    /// Flips one bit of a file, on the medium and for readers. False when there is no such byte.
    pub fn flip_bit(&self, file: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(&index) = state.names.get(file) else { return false };
        let file = &mut state.files[index];
        let mask = 1 << (bit % 8);
        if let Some(byte) = file.durable.get_mut(offset as usize) {
            *byte ^= mask;
        }
        file.seen.get_mut(offset as usize).map(|byte| *byte ^= mask).is_some()
    }

    /// Has readers see zeroes in a range of a file, as of pages that a write past the cache could not take out of it, until
    /// the file is forgotten or the machine crashes. False when there is no such file.
    pub fn make_stale(&self, file: &str, range: Range<usize>) -> bool {
        let mut state = self.state();
        let Some(&index) = state.names.get(file) else { return false };
        state.files[index].stale = Some(range);
        true
    }

    /// What the disk did so far.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// How many events there were so far.
    pub fn event_count(&self) -> usize {
        self.state().events.len()
    }

    /// Names of all files.
    pub fn files(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's bytes as a reader sees them.
    pub fn bytes(&self, file: &str) -> Option<Vec<u8>> {
        self.read_from(file, 0)
    }

    /// Puts a file there, durable, as a test's beginning.
    pub fn put(&self, file: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let index = state.files.len();
        state.files.push(File { seen: bytes.clone(), durable: bytes, ..File::default() });
        state.names.insert(file.into(), index);
        state.durable_names.insert(file.into(), index);
    }

    pub(super) fn is_instant(&self) -> bool {
        self.state().instant
    }

    pub(super) fn lock(&self) -> bool {
        !std::mem::replace(&mut self.state().locked, true)
    }

    pub(super) fn unlock(&self) {
        self.state().locked = false;
    }

    pub(super) fn new_id(&self) -> [u8; 16] {
        let mut state = self.state();
        let (high, low) = (state.random.next(), state.random.next());
        ((high as u128) << 64 | low as u128).to_le_bytes()
    }

    /// A number below `end`, from the disk's seed.
    pub(super) fn chance(&self, end: u64) -> u64 {
        self.state().random.below(end)
    }

    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        let state = self.state();
        let inside = state.names.keys().filter(|name| folder_of(name) == folder);
        inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect()
    }

    pub(super) fn read_from(&self, name: &str, offset: u64) -> Option<Vec<u8>> {
        let state = self.state();
        let file = &state.files[*state.names.get(name)?];
        Some(file.read(offset as usize..usize::MAX))
    }

    pub(super) fn read_at(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let state = self.state();
        let index = *state.names.get(name).ok_or_else(|| missing("read", name))?;
        Ok(state.files[index].read(offset as usize..offset as usize + length))
    }

    /// What is in the cache of a file is read from the disk again.
    pub(super) fn forget(&self, name: &str) {
        let mut state = self.state();
        if let Some(&index) = state.names.get(name) {
            state.files[index].stale = None;
        }
    }

    pub(super) fn length(&self, name: &str) -> Option<u64> {
        let state = self.state();
        state.names.get(name).map(|index| state.files[*index].seen.len() as u64)
    }

    pub(super) fn create(&self, name: &str) -> Result<(), Error> {
        self.open()?;
        let mut state = self.state();
        if state.lacks.room {
            return Err(Error::Full);
        }
        state.event(Event::Create { file: name.into() });
        state.files.push(File::default());
        let index = state.files.len() - 1;
        state.rename_to(name, Some(index));
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let mut state = self.state();
        let index = *state.names.get(from).ok_or_else(|| missing("rename", from))?;
        state.event(Event::Rename { from: from.into(), to: to.into() });
        state.rename_to(from, None);
        state.rename_to(to, Some(index));
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) {
        let mut state = self.state();
        if state.names.contains_key(name) {
            state.event(Event::Remove { file: name.into() });
            state.rename_to(name, None);
        }
    }

    /// A write that has ended: readers see it, a crash may still lose it.
    pub(super) fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let write = self.begin_write(name, offset, bytes)?;
        self.end_write(write)
    }

    /// Hands a write to the device; from now on a crash may leave some of it.
    pub(super) fn begin_write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<u64, Error> {
        let mut state = self.state();
        let index = *state.names.get(name).ok_or_else(|| missing("write", name))?;
        let write = state.next_write;
        state.next_write += 1;
        state.in_flight.insert(write, (index, Write { offset, bytes: bytes.to_vec() }));
        Ok(write)
    }

    /// The device reports the write as done, or as failed.
    pub(super) fn end_write(&self, write: u64) -> Result<(), Error> {
        let mut state = self.state();
        let (index, _) = &state.in_flight[&write];
        let file = state.name_of(*index);
        let (offset, length) = {
            let (_, write) = &state.in_flight[&write];
            (write.offset, write.bytes.len() as u64)
        };
        state.event(Event::Write { file: file.clone(), offset, length });
        let (index, write) = state.in_flight.remove(&write).expect("looked at above");
        let file_room = state.files[index].seen.len().max(state.files[index].reserved);
        if state.lacks.room && file_room < offset as usize + write.bytes.len() {
            return Err(Error::Full);
        }
        if state.fail_writes > 0 {
            state.fail_writes -= 1;
            // A failed write may have reached the medium in part.
            state.files[index].unflushed.push(write);
            return Err(Error::Io { operation: "write", file: file.as_str().into(), code: libc::EIO });
        }
        let file = &mut state.files[index];
        write.apply_to(&mut file.seen, |_| true);
        file.unflushed.push(write);
        Ok(())
    }

    /// Takes a descriptor, if there is one.
    pub(super) fn open(&self) -> Result<(), Error> {
        if self.state().lacks.descriptors { Err(Error::NoDescriptors) } else { Ok(()) }
    }

    pub(super) fn register(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state();
        if state.fail_registrations == 0 {
            return Ok(());
        }
        state.fail_registrations -= 1;
        Err(Error::Io { operation: "register", file: name.into(), code: libc::ENOMEM })
    }

    pub(super) fn reserve(&self, name: &str, end: u64) -> Result<(), Error> {
        let mut state = self.state();
        let index = *state.names.get(name).ok_or_else(|| missing("reserve", name))?;
        let end = end as usize;
        let is_full = state.lacks.room;
        let file = &mut state.files[index];
        if is_full && file.seen.len().max(file.reserved) < end {
            return Err(Error::Full);
        }
        file.reserved = file.reserved.max(end);
        Ok(())
    }

    pub(super) fn flush(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state();
        let index = *state.names.get(name).ok_or_else(|| missing("flush", name))?;
        state.event(Event::Flush { file: name.into() });
        if state.flush_fails() {
            // As after a real failure: the writes stay unflushed for ever, whatever a later flush says.
            return Err(Error::Io { operation: "flush", file: name.into(), code: libc::EIO });
        }
        let file = &mut state.files[index];
        for write in std::mem::take(&mut file.unflushed) {
            write.apply_to(&mut file.durable, |_| true);
        }
        Ok(())
    }

    pub(super) fn flush_folder(&self, folder: &str) -> Result<(), Error> {
        let mut state = self.state();
        state.event(Event::FlushFolder { folder: folder.into() });
        if state.flush_fails() {
            return Err(Error::Io { operation: "flush", file: folder.into(), code: libc::EIO });
        }
        let changed = std::mem::take(&mut state.names_changed);
        for (name, index) in changed {
            if folder_of(&name) == folder {
                state.keep_name(&name, index);
            } else {
                state.names_changed.push((name, index));
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking test leaves the disk as it is; nothing here stops half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// A range as readers see it, as far as the file goes.
    fn read(&self, range: Range<usize>) -> Vec<u8> {
        let within = |range: &Range<usize>| self.seen.len().min(range.start)..self.seen.len().min(range.end);
        let range = within(&range);
        let mut bytes = self.seen[range.clone()].to_vec();
        let stale = self.stale.as_ref().map_or(0..0, within);
        let (start, end) = (stale.start.max(range.start), stale.end.min(range.end));
        if start < end {
            bytes[start - range.start..end - range.start].fill(0);
        }
        bytes
    }
}

impl State {
    fn event(&mut self, event: Event) {
        if self.crash_at == Some(self.events.len()) {
            self.crash_at = None;
            let crashed = self.crashed();
            self.crash_image = Some(Simulated(Arc::new(Mutex::new(crashed))));
        }
        self.events.push(event);
    }

    fn flush_fails(&mut self) -> bool {
        let is_due = self.fail_flush_after == Some(0);
        self.fail_flush_after = if is_due { None } else { self.fail_flush_after.map(|count| count - 1) };
        let is_next = self.fail_flushes > 0;
        self.fail_flushes -= u32::from(is_next);
        is_due || is_next
    }

    fn name_of(&self, index: usize) -> String {
        let named = self.names.iter().find(|(_, at)| **at == index);
        named.map_or_else(|| "(removed)".into(), |(name, _)| name.clone())
    }

    fn rename_to(&mut self, name: &str, index: Option<usize>) {
        match index {
            Some(index) => self.names.insert(name.into(), index),
            None => self.names.remove(name),
        };
        self.names_changed.push((name.into(), index));
    }

    fn keep_name(&mut self, name: &str, index: Option<usize>) {
        match index {
            Some(index) => self.durable_names.insert(name.into(), index),
            None => self.durable_names.remove(name),
        };
    }
}
