//! What an engine's handles share, and the turn that drives it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::checkpoint::{CheckpointDone, Work};
use crate::commit::{Answer, Receipt};
use crate::disk::{Completion, Done, Port, ReadPart};
use crate::engine::TurnResult;
use crate::error::Error;
use crate::index::{Partition, Run};
use crate::limits::TURN_ROUNDS_MAX;
use crate::log::{LOG_TOKENS, Log, LogStart, Planned, Position};
use crate::recent::Recent;
use crate::recover::Recovered;
use crate::stats::Stats;
use crate::store::Store;
use crate::watchers::Watchers;

/// Where a read's answer is left.
pub(crate) type ReadAnswer = Answer<Result<Vec<u8>, Error>>;

pub(crate) struct State {
    pub(crate) shards: u16,
    segment_bytes: u32,
    /// Partition p is at index p / shards.
    pub(crate) partitions: Vec<Partition>,
    pub(crate) log: Log,
    pub(crate) port: Port,
    pub(crate) recent: Recent,
    pub(crate) watchers: Watchers,
    pub(crate) failed: Option<Error>,
    pub(crate) is_checkpointing: bool,
    /// Where a replay would begin now, and after the checkpoint under way.
    replay_from: Position,
    frozen_at: Position,
    /// To be woken when the borrow has ended.
    pub(crate) woken: Vec<Waker>,
    pub(crate) counters: Stats,
    reads: HashMap<u64, Rc<ReadAnswer>>,
    next_read: u64,
    waker: Option<Waker>,
    /// Something was given since the last turn.
    is_signalled: bool,
}

impl State {
    pub(crate) fn new(store: &Store, recovered: Recovered, log: Log, port: Port, recent: Recent) -> Self {
        Self {
            shards: store.shards,
            segment_bytes: store.segment_bytes,
            partitions: recovered.partitions,
            replay_from: recovered.replayed_from,
            frozen_at: recovered.replayed_from,
            log,
            port,
            recent,
            watchers: Watchers::default(),
            failed: None,
            is_checkpointing: false,
            woken: Vec::new(),
            counters: Stats::default(),
            reads: HashMap::new(),
            next_read: LOG_TOKENS,
            waker: None,
            is_signalled: false,
        }
    }

    /// Keeps the waker, and gives two back: the old one to be dropped, and the new one to be woken when there is
    /// something to submit already. Both outside of the borrow: either may call back.
    pub(crate) fn set_waker(&mut self, waker: Waker) -> (Option<Waker>, Option<Waker>) {
        let woken = self.is_signalled.then(|| waker.clone());
        (self.waker.replace(waker), woken)
    }

    /// Notes that there is something to submit; the waker to wake, the first time after a turn.
    pub(crate) fn signal(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.is_signalled, true) {
            return None;
        }
        self.waker.clone()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.log.is_idle() && self.port.in_flight() == 0
    }

    pub(crate) fn turn(&mut self, is_instant: bool) -> TurnResult {
        let mut result = TurnResult::default();
        self.is_signalled = false;
        for _ in 0..TURN_ROUNDS_MAX {
            result.submitted += self.submit();
            let completed = self.reap();
            result.completed += completed;
            result.acknowledged += self.acknowledge();
            // What ended made room for what waits. An instant disk goes on until nothing is left to do.
            if completed == 0 || (!is_instant && self.log.is_idle()) {
                break;
            }
        }
        if self.port.has_unsubmitted() {
            // The kernel was short of something: nothing in flight need bring the next turn.
            self.is_signalled = true;
            self.woken.extend(self.waker.clone());
        }
        result
    }

    fn submit(&mut self) -> usize {
        if self.failed.is_none() {
            let given = self.log.submit(&mut self.port, &mut self.counters);
            let given = given.and_then(|()| self.log.zero_ahead(&mut self.port, &mut self.counters));
            if let Err(error) = given {
                self.poison(&error);
            }
        }
        match self.port.submit() {
            Ok(submitted) => submitted,
            Err(error) => {
                self.poison(&error);
                0
            }
        }
    }

    fn reap(&mut self) -> usize {
        let mut count = 0;
        while let Some(Completion { token, result }) = self.port.complete() {
            count += 1;
            if token >= LOG_TOKENS {
                self.read_ended(token, result);
                continue;
            }
            let result = result.map(|done| {
                if let Done::Written(buffer) = done {
                    self.port.release(buffer);
                }
            });
            if self.failed.is_some() {
                continue;
            }
            let now = self.port.now();
            if let Err(error) = self.log.ended(token, result, now, &mut self.counters) {
                self.poison(&error);
            }
        }
        count
    }

    fn acknowledge(&mut self) -> usize {
        let mut count = 0;
        while let Some(frames) = self.log.acknowledge(&mut self.counters) {
            count += frames.len();
            for planned in frames {
                self.apply(planned);
            }
        }
        count
    }

    fn apply(&mut self, planned: Planned) {
        self.counters.body_bytes += planned.body_bytes();
        for (at, block) in planned.meta_blocks() {
            self.recent.put(at, block);
        }
        let Planned { partition: number, sequence, number: frame, position, ops, slot, followers, .. } =
            planned;
        let mut account = None;
        for op in &ops {
            self.counters.dead_body_bytes += op.dead_body_bytes();
            if account.replace(op.account) != Some(op.account) {
                self.watchers.take(number, op.account, &mut self.woken);
            }
        }
        self.partitions[(number / self.shards) as usize].apply(frame, sequence, ops);
        for slot in std::iter::once(slot).chain(followers) {
            self.woken.extend(slot.resolve(Ok(Receipt { position: position.0, sequence })));
        }
    }

    /// The disk failed: what it holds is not known, or not what was written, so nothing further is acknowledged.
    pub(crate) fn poison(&mut self, error: &Error) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(error.clone());
        for planned in self.log.abandon() {
            for slot in std::iter::once(planned.slot).chain(planned.followers) {
                self.woken.extend(slot.resolve(Err(error.clone())));
            }
        }
    }

    /// Appends the bytes of a part that is in memory: a copy, and no trip through the ring. False, and `out` is as it
    /// was, when it is not.
    pub(crate) fn read_at_hand(&mut self, part: &ReadPart, out: &mut Vec<u8>) -> bool {
        let is_there = self.port.read_at_hand(part, out);
        if is_there {
            self.counters.reads += 1;
            self.counters.bytes_read += part.length as u64;
        }
        is_there
    }

    /// Gives a read to the disk.
    pub(crate) fn read(&mut self, part: ReadPart) -> Rc<ReadAnswer> {
        let (token, answer) = self.begin_read();
        self.port.read(token, part);
        answer
    }

    /// Gives a read to the disk that what is in memory does not answer.
    pub(crate) fn read_past_memory(&mut self, part: ReadPart) -> Rc<ReadAnswer> {
        let (token, answer) = self.begin_read();
        self.port.read_past_memory(token, part);
        answer
    }

    fn begin_read(&mut self) -> (u64, Rc<ReadAnswer>) {
        let token = self.next_read;
        self.next_read += 1;
        let answer = ReadAnswer::new();
        self.reads.insert(token, answer.clone());
        (token, answer)
    }

    fn read_ended(&mut self, token: u64, result: Result<Done, Error>) {
        let answer = self.reads.remove(&token).expect("a read stays until it ended");
        let result = result.map(|done| if let Done::Read(bytes) = done { bytes } else { Vec::new() });
        self.counters.reads += 1;
        self.counters.bytes_read += result.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.woken.extend(answer.resolve(result));
    }

    pub(crate) fn fresh_bytes(&self) -> usize {
        self.partitions.iter().map(Partition::fresh_bytes).sum()
    }

    /// Bytes of the journal between where a replay would begin and where the log is written.
    pub(crate) fn replay_bytes(&self) -> u64 {
        self.journal_bytes(self.log.end()) - self.journal_bytes(self.replay_from)
    }

    /// Bytes of the journal before a place, whole segments counted as they are.
    const fn journal_bytes(&self, end: Position) -> u64 {
        (end.segment() - Position::START.segment()) as u64 * self.segment_bytes as u64 + end.offset() as u64
    }

    /// Freezes what is fresh; where the log stands with it, and the work to be done.
    pub(crate) fn freeze(&mut self, shard: u16) -> Option<(LogStart, Vec<Work>)> {
        let has_fresh = self.partitions.iter().any(|partition| !partition.fresh.is_empty());
        if self.is_checkpointing || self.failed.is_some() || !has_fresh {
            return None;
        }
        self.is_checkpointing = true;
        let mut work = Vec::with_capacity(self.partitions.len());
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            if !partition.fresh.is_empty() {
                partition.frozen = Some(Arc::new(std::mem::take(&mut partition.fresh)));
            }
            work.push(Work::new(shard + index as u16 * self.shards, partition));
        }
        let replay = self.log.replay_from();
        self.frozen_at = replay.end;
        Some((replay, work))
    }

    /// Swaps in new runs, or takes a failed checkpoint back; the runs that were replaced.
    pub(crate) fn install(&mut self, done: CheckpointDone) -> Vec<Arc<Run>> {
        self.is_checkpointing = false;
        let mut replaced = Vec::new();
        let Ok(made) = done.result else {
            for partition in &mut self.partitions {
                if let Some(frozen) = partition.frozen.take() {
                    // A manifest that could not be made durable may name the run all the same.
                    partition.next_run += 1;
                    partition.fresh.absorb_older(&frozen);
                }
            }
            return replaced;
        };
        self.counters.checkpoint_bytes += made.iter().map(|made| made.run.bytes()).sum::<u64>();
        for made in made {
            let partition = &mut self.partitions[(made.partition / self.shards) as usize];
            partition.next_run = made.run.number() + 1;
            replaced.extend(partition.runs.splice(..made.merged, [made.run]));
            partition.frozen = None;
        }
        self.counters.checkpoints += 1;
        self.replay_from = self.frozen_at;
        replaced
    }

    pub(crate) fn stats(&self) -> Stats {
        let runs = self.partitions.iter().flat_map(|partition| &partition.runs);
        Stats {
            fresh_bytes: self.fresh_bytes() as u64,
            runs: runs.clone().count() as u64,
            run_bytes: runs.map(|run| run.bytes()).sum(),
            segment: self.log.end().segment(),
            in_flight: self.log.in_flight(),
            journal_bytes: self.journal_bytes(self.log.end()),
            replay_bytes: self.replay_bytes(),
            pending: self.log.pending(),
            ..self.counters
        }
    }
}
