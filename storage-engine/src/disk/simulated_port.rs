//! The simulated disk as a shard's port: operations end in turns, in an order by the seed.

use std::collections::{HashMap, VecDeque};

use super::buffer::Buffer;
use super::folder_of;
use super::port::{Completion, Done, Durable, ReadPart};
use super::simulated::Simulated;
use crate::error::Error;
use crate::limits::BLOCK_BYTES;
use crate::log::segment_file;

/// One operation under way, and the step it waits for.
#[derive(Debug)]
struct Operation {
    token: u64,
    file: String,
    step: Step,
    buffer: Option<Buffer>,
    flush_folder: bool,
}

#[derive(Debug)]
enum Step {
    Write(u64),
    Flush,
    FlushFolder,
    Read { offset: u64, length: usize, is_past_memory: bool },
}

#[derive(Debug)]
pub(crate) struct SimulatedPort {
    disk: Simulated,
    segments: HashMap<u32, String>,
    under_way: Vec<Operation>,
    done: VecDeque<Completion>,
    submitted: usize,
    steps: u64,
}

impl SimulatedPort {
    pub(super) fn new(disk: &Simulated) -> Self {
        Self {
            disk: disk.clone(),
            segments: HashMap::new(),
            under_way: Vec::new(),
            done: VecDeque::new(),
            submitted: 0,
            steps: 0,
        }
    }

    pub(super) fn open_segment(&mut self, segment: u32, name: &str) -> Result<(), Error> {
        if self.segments.contains_key(&segment) {
            return Ok(());
        }
        self.disk.open()?;
        if self.disk.length(name).is_none() {
            self.disk.create(name)?;
        }
        self.segments.insert(segment, name.to_owned());
        Ok(())
    }

    pub(super) fn register_segment(&mut self, segment: u32) -> Result<(), Error> {
        self.disk.register(&self.segments[&segment])
    }

    pub(super) fn reserve_segment(&mut self, segment: u32, end: u32) -> Result<(), Error> {
        self.disk.reserve(&self.segments[&segment], end as u64)
    }

    pub(super) fn close_segment(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    pub(super) fn write(&mut self, token: u64, segment: u32, offset: u32, buffer: Buffer, durable: Durable) {
        let bytes = &buffer.bytes()[..buffer.length];
        // A write that is durable itself is one that is flushed by the system: the same steps.
        self.begin(token, segment, offset, bytes, durable == Durable::WithName);
        if let Some(operation) = self.under_way.last_mut()
            && operation.token == token
        {
            operation.buffer = Some(buffer);
        }
    }

    pub(super) fn zero(&mut self, token: u64, segment: u32, offset: u32, length: usize) {
        self.begin(token, segment, offset, &vec![0; length.next_multiple_of(BLOCK_BYTES)], false);
    }

    pub(super) fn read(&mut self, token: u64, part: ReadPart) {
        self.begin_read(token, part, false);
    }

    pub(super) fn read_past_memory(&mut self, token: u64, part: ReadPart) {
        self.begin_read(token, part, true);
    }

    /// Where operations take no time, everything is at hand.
    pub(super) fn read_at_hand(&self, part: &ReadPart, out: &mut Vec<u8>) -> bool {
        if !self.disk.is_instant() || self.disk.open().is_err() {
            return false;
        }
        let file = segment_file(part.journal, part.segment);
        let read = self.disk.read_at(&file, part.offset as u64, part.length);
        let is_whole = read.as_ref().is_ok_and(|bytes| bytes.len() == part.length);
        if is_whole {
            out.extend(read.unwrap_or_default());
        }
        is_whole
    }

    fn begin_read(&mut self, token: u64, part: ReadPart, is_past_memory: bool) {
        let step = Step::Read { offset: part.offset as u64, length: part.length, is_past_memory };
        let file = segment_file(part.journal, part.segment);
        self.push(Operation { token, file, step, buffer: None, flush_folder: false });
    }

    fn begin(&mut self, token: u64, segment: u32, offset: u32, bytes: &[u8], flush_folder: bool) {
        let file = self.segments[&segment].clone();
        match self.disk.begin_write(&file, offset as u64, bytes) {
            Ok(write) => {
                self.push(Operation { token, file, step: Step::Write(write), buffer: None, flush_folder });
            }
            Err(error) => self.done.push_back(Completion { token, result: Err(error) }),
        }
    }

    fn push(&mut self, operation: Operation) {
        self.under_way.push(operation);
        self.submitted += 1;
    }

    pub(super) fn submit(&mut self) -> usize {
        std::mem::take(&mut self.submitted)
    }

    /// Lets some operations get on: all when instant, a few steps of random ones otherwise.
    pub(super) fn complete(&mut self) -> Option<Completion> {
        if let Some(done) = self.done.pop_front() {
            return Some(done);
        }
        let instant = self.disk.is_instant();
        while !self.under_way.is_empty() {
            // A turn ends by chance, so that what is under way grows; it always ends after finitely many.
            if !instant && self.disk.chance(4) == 0 {
                return None;
            }
            let index = if instant { 0 } else { self.disk.chance(self.under_way.len() as u64) as usize };
            if self.step(index) {
                return self.done.pop_front();
            }
        }
        None
    }

    /// A step takes a microsecond.
    pub(super) const fn now(&self) -> u64 {
        self.steps * 1000
    }

    pub(super) fn in_flight(&self) -> usize {
        self.under_way.len() + self.done.len()
    }

    /// One step of one operation; true when it ended.
    fn step(&mut self, index: usize) -> bool {
        self.steps += 1;
        let operation = &mut self.under_way[index];
        let (stepped, next) = match operation.step {
            Step::Write(write) => (self.disk.end_write(write), Some(Step::Flush)),
            Step::Flush => {
                let next = operation.flush_folder.then_some(Step::FlushFolder);
                (self.disk.flush(&operation.file), next)
            }
            Step::FlushFolder => (self.disk.flush_folder(folder_of(&operation.file)), None),
            Step::Read { offset, length, is_past_memory } => {
                let operation = self.under_way.remove(index);
                let opened = self.disk.open();
                if is_past_memory {
                    self.disk.forget(&operation.file);
                }
                let result = opened.and_then(|()| self.disk.read_at(&operation.file, offset, length));
                let result = result.map(Done::Read);
                self.done.push_back(Completion { token: operation.token, result });
                return true;
            }
        };
        if let (Ok(()), Some(next)) = (&stepped, next) {
            operation.step = next;
            return false;
        }
        let operation = self.under_way.remove(index);
        let result = stepped.map(|()| operation.buffer.map_or(Done::Zeroed, Done::Written));
        self.done.push_back(Completion { token: operation.token, result });
        true
    }
}
