//! One shard's store: what the shard's thread reads, writes and drives.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::Waker;

use crate::checkpoint::{CheckpointDone, CheckpointJob};
use crate::commit::{Changed, Commit, Receipt, Slot};
use crate::disk::{Disk, PortOptions};
use crate::error::Error;
use crate::index::Partition;
use crate::limits::{IN_FLIGHT_MAX, REPLAY_BYTES_MAX};
use crate::log::{Log, LogOptions, LogStart, Planned, Segments, frame_bytes, journal_folder, ops_bytes};
use crate::options::Options;
use crate::recent::Recent;
use crate::recover::{recover, remove_leftovers};
use crate::row::{Change, Row};
use crate::state::State;
use crate::stats::Stats;
use crate::store::{Store, write_opened};
use crate::transaction::Transaction;

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnResult {
    /// Operations given to the disk.
    pub submitted: usize,
    /// Operations that ended.
    pub completed: usize,
    /// Transactions acknowledged.
    pub acknowledged: usize,
}

/// One shard's part of the store. A handle: clones share one engine. Stays on the thread that opened it.
///
/// Reads see the applied state, which is the durable one. Nothing here waits: what waits is a future, and the
/// futures are driven by [`Engine::turn`].
///
/// # Panics
///
/// Reads of rows, changes and values panic when the block of a run they need is rotten, since there is no answer that
/// would be true. Before that the engine fails: [`Engine::failed`] says which file and block, every commit is
/// refused, and the process must end.
///
/// ```
/// use std::sync::Arc;
/// use storage_engine::{Disk, Engine, Options, RowBody, Simulated, prepare};
///
/// let disk = Disk::simulated(&Simulated::instant());
/// let options = Options { partitions: 4, ..Options::default() };
/// let store = prepare(&disk, &options, 1)?;
/// let engine = Engine::open(&disk, &options, 0, 1)?;
/// let mut transaction = engine.transaction(3);
/// let body = transaction.add_body(Vec::new(), Arc::new(b"Hello".to_vec()));
/// transaction.put_row(7, 1, 1, RowBody::New(body), [0; 40]);
/// drop(transaction.commit());
/// assert_eq!(engine.highest_change(3, 7), 1);
/// # drop(store);
/// # Ok::<(), storage_engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine(Rc<Inner>);

struct Inner {
    disk: Disk,
    store: Store,
    shard: u16,
    fresh_bytes_max: usize,
    is_instant: bool,
    /// This opening, while it is not noted for want of room.
    unnoted: Cell<Option<LogStart>>,
    state: RefCell<State>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine(shard {} of {})", self.0.shard, self.0.store.shards)
    }
}

impl Engine {
    /// Opens shard `shard` of `shards`: the last checkpoint and the replay of the journal's tail. `prepare` has been
    /// called with the same number of shards. Costs reading that tail, a flush of its segments and one small file.
    ///
    /// Works on a full device: everything can be read, and commits are refused with `Error::Full` until there is
    /// room.
    pub fn open(disk: &Disk, options: &Options, shard: u16, shards: u16) -> Result<Engine, Error> {
        options.verify()?;
        let store = Store::read(disk)?.ok_or(Error::Options { what: "the store must be prepared first" })?;
        if store.shards != shards || shard >= shards {
            return Err(Error::Options { what: "shards must be those the store was prepared for" });
        }
        remove_leftovers(disk, &store, shard)?;
        let recovered = recover(disk, &store, shard)?;
        // On a full device the note waits for the first commit that finds room; nothing else of opening needs any.
        let unnoted = match write_opened(disk, &store, shard, &recovered.start) {
            Ok(()) => None,
            Err(Error::Full) => Some(recovered.start),
            Err(error) => return Err(error),
        };
        let in_flight_max = options.in_flight_max.clamp(1, IN_FLIGHT_MAX);
        let port = disk.port(&PortOptions {
            folder: journal_folder(shard),
            buffer_bytes: options.batch_bytes_max,
            buffers: in_flight_max,
        })?;
        let log_options = LogOptions {
            seed: store.seed(shard),
            segment_bytes: store.segment_bytes,
            batch_bytes_max: options.batch_bytes_max,
            in_flight_max,
        };
        let segments = Segments::new(disk, shard, store.segment_bytes);
        let log = Log::new(log_options, recovered.start, segments);
        let recent = Recent::new(options.recent_bytes_max);
        Ok(Engine(Rc::new(Inner {
            disk: disk.clone(),
            store,
            shard,
            fresh_bytes_max: options.fresh_bytes_max,
            is_instant: disk.is_instant(),
            unnoted: Cell::new(unnoted),
            state: RefCell::new(State::new(&store, recovered, log, port, recent)),
        })))
    }

    /// Partitions of the whole store.
    pub fn partitions(&self) -> u16 {
        self.0.store.partitions
    }

    /// True when the partition is this shard's. Every other call wants such a partition; another one is a bug of
    /// the caller and asserted against.
    pub fn owns(&self, partition: u16) -> bool {
        partition < self.0.store.partitions && partition % self.0.store.shards == self.0.shard
    }

    /// The live row.
    pub fn row(&self, partition: u16, account: u64, collection: u32, item: u32) -> Option<Row> {
        self.read(partition, |partition| partition.layers().row(account, collection, item))
    }

    /// Appends live rows, ascending by item, from `from_item` on, at most `limit`.
    #[expect(clippy::too_many_arguments, reason = "a row's whole place and where to put it")]
    pub fn rows(
        &self,
        partition: u16,
        account: u64,
        collection: u32,
        from_item: u32,
        limit: usize,
        out: &mut Vec<Row>,
    ) {
        self.read(partition, |partition| {
            partition.layers().rows(account, (collection, from_item), limit, out);
        });
    }

    /// Appends what changed after a change number, ascending by change, each row once at its latest change.
    /// Tombstones keep what the deleted row had.
    ///
    /// At most `limit`, and then the rest of the last one's change number: rows of one number are never split, so the
    /// next page is what changed after it. A page is thus longer than `limit` by less than the rows of one transaction.
    pub fn changes(&self, partition: u16, account: u64, after: u64, limit: usize, out: &mut Vec<Change>) {
        self.read(partition, |partition| partition.layers().changes(account, after, limit, out));
    }

    /// The value of a key.
    pub fn value(&self, partition: u16, account: u64, key: &[u8]) -> Option<Vec<u8>> {
        self.read(partition, |partition| partition.layers().value(account, key))
    }

    /// Keys that start with `prefix` and are above `after`, ascending, with their values, at most `limit`.
    pub fn values(
        &self,
        partition: u16,
        account: u64,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.read(partition, |partition| partition.layers().values(account, prefix, after, limit))
    }

    /// The account's applied change number; 0 when it has none.
    pub fn highest_change(&self, partition: u16, account: u64) -> u64 {
        self.read(partition, |partition| partition.highest_applied(account))
    }

    /// Accounts of a partition, ascending.
    pub fn accounts(&self, partition: u16) -> Vec<u64> {
        self.read(partition, Partition::accounts)
    }

    /// Begins a transaction.
    pub fn transaction(&self, partition: u16) -> Transaction {
        assert!(self.owns(partition), "partition {partition} is not shard {}'s", self.0.shard);
        Transaction::new(self.clone(), partition)
    }

    /// Resolves when the account's applied change number is above `after`: "the number moved".
    pub fn changed(&self, partition: u16, account: u64, after: u64) -> Changed {
        assert!(self.owns(partition), "partition {partition} is not shard {}'s", self.0.shard);
        Changed::new(self.clone(), partition, account, after)
    }

    /// Becomes readable (an eventfd: read it to clear it) when completions wait; none when simulated, where `turn`
    /// is called for as long as the engine is not idle.
    pub fn event_fd(&self) -> Option<RawFd> {
        self.0.state.borrow().port.event_fd()
    }

    /// Woken once, after each `turn`, when there is something for the next one to submit; at once when there is
    /// already.
    pub fn set_waker(&self, waker: Waker) {
        let (old, woken) = self.0.state.borrow_mut().set_waker(waker);
        drop(old);
        if let Some(woken) = woken {
            woken.wake();
        }
    }

    /// Submits what gathered, reaps completions, acknowledges in order, applies, wakes. Cheap when idle. After a
    /// failure every commit fails and `failed` says why.
    pub fn turn(&self) -> TurnResult {
        let mut state = self.0.state.borrow_mut();
        let result = state.turn(self.0.is_instant);
        let mut woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.drain(..).for_each(Waker::wake);
        result
    }

    /// Nothing queued or in flight.
    pub fn is_idle(&self) -> bool {
        self.0.state.borrow().is_idle()
    }

    /// Why the engine is poisoned: after a failed write or flush, or a read that met a rotten block, nothing is
    /// acknowledged any more, and the process must end.
    pub fn failed(&self) -> Option<Error> {
        self.0.state.borrow().failed.clone()
    }

    /// True when the fresh part is above its limit, or a replay would read more than 128 MiB of the journal, and no
    /// checkpoint is under way.
    pub fn checkpoint_due(&self) -> bool {
        let state = self.0.state.borrow();
        let is_due = state.fresh_bytes() > self.0.fresh_bytes_max || state.replay_bytes() > REPLAY_BYTES_MAX;
        is_due && !state.is_checkpointing
    }

    /// Freezes the fresh part, which stays readable, and gives the job that writes it. None when there is nothing
    /// to do, a checkpoint is under way, or the engine is poisoned.
    pub fn checkpoint(&self) -> Option<CheckpointJob> {
        let (replay, work) = self.0.state.borrow_mut().freeze(self.0.shard)?;
        Some(CheckpointJob {
            disk: self.0.disk.clone(),
            store: self.0.store,
            shard: self.0.shard,
            replay,
            work,
        })
    }

    /// Swaps in what a checkpoint made, drops the frozen part, and removes the run files that were replaced. A
    /// failed checkpoint is taken back: nothing is lost, and the next one tries again.
    pub fn install(&self, done: CheckpointDone) {
        let replaced = self.0.state.borrow_mut().install(done);
        for run in replaced {
            // A file that stays is removed at the next opening.
            let _ = self.0.disk.remove(run.name());
        }
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.0.state.borrow().stats()
    }
}

/// What transactions, futures and body reads need.
impl Engine {
    pub(crate) fn proposed_row(
        &self,
        partition: u16,
        account: u64,
        collection: u32,
        item: u32,
    ) -> Option<Row> {
        self.read(partition, |partition| {
            if let Some(row) = partition.pending.row(account, collection, item) {
                return row.live_row().copied();
            }
            partition.layers().row(account, collection, item)
        })
    }

    pub(crate) fn proposed_value(&self, partition: u16, account: u64, key: &[u8]) -> Option<Vec<u8>> {
        self.read(partition, |partition| match partition.pending.value(account, key) {
            Some(proposed) => proposed.live().map(<[u8]>::to_vec),
            None => partition.layers().value(account, key),
        })
    }

    pub(crate) fn highest_proposed(&self, partition: u16, account: u64) -> u64 {
        self.read(partition, |partition| partition.highest_proposed(account))
    }

    pub(crate) fn propose(&self, transaction: Transaction) -> Commit {
        let mut state = self.0.state.borrow_mut();
        let is_nothing = transaction.is_empty() || state.failed.is_some();
        let noted = if is_nothing { Ok(()) } else { self.note_opening(&mut state) };
        let result = noted.and_then(|()| state.propose(self.0.shard, transaction));
        let waker = state.signal();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if self.0.is_instant {
            self.turn();
        }
        result.unwrap_or_else(|error| Commit::ready(Err(error)))
    }

    /// Notes this opening if the device was full when it began: no frame of a generation is written before its note.
    /// Blocks the shard for two flushes, once in the life of an engine that began on a full device.
    fn note_opening(&self, state: &mut State) -> Result<(), Error> {
        let Some(start) = self.0.unnoted.get() else { return Ok(()) };
        match write_opened(&self.0.disk, &self.0.store, self.0.shard, &start) {
            Ok(()) => self.0.unnoted.set(None),
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                state.poison(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn watch(&self, partition: u16, account: u64, watcher: Option<u64>, waker: Waker) -> u64 {
        let (watcher, old) = self.0.state.borrow_mut().watchers.register(partition, account, watcher, waker);
        drop(old);
        watcher
    }

    pub(crate) fn unwatch(&self, partition: u16, account: u64, watcher: u64) {
        let old = self.0.state.borrow_mut().watchers.remove(partition, account, watcher);
        drop(old);
    }

    pub(crate) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.state.borrow_mut())
    }

    /// Lets an operation just given be submitted: now when everything is instant, else by the next turn.
    pub(crate) fn drive(&self) {
        let waker = self.0.state.borrow_mut().signal();
        if let Some(waker) = waker {
            waker.wake();
        }
        if self.0.is_instant {
            self.turn();
        }
    }

    pub(crate) fn segment_bytes(&self) -> u32 {
        self.0.store.segment_bytes
    }

    fn read<T>(&self, partition: u16, read: impl FnOnce(&Partition) -> T) -> T {
        assert!(self.owns(partition), "partition {partition} is not shard {}'s", self.0.shard);
        let state = self.0.state.borrow();
        let partition = &state.partitions[(partition / self.0.store.shards) as usize];
        let panic = match catch_unwind(AssertUnwindSafe(|| read(partition))) {
            Ok(answer) => return answer,
            Err(panic) => panic,
        };
        let rot = partition.rot().cloned();
        drop(state);
        if let Some(error) = rot {
            self.fail(&error);
        }
        resume_unwind(panic)
    }

    /// Nothing is acknowledged any more; the next turn says so to all who wait, and the driver finds `failed`.
    fn fail(&self, error: &Error) {
        let mut state = self.0.state.borrow_mut();
        state.poison(error);
        let waker = state.signal();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Gives a transaction its numbers and its place in the log.
    fn propose(&mut self, shard: u16, mut transaction: Transaction) -> Result<Commit, Error> {
        if self.failed.is_some() {
            return Err(Error::Poisoned);
        }
        let number = transaction.partition;
        let partition = &mut self.partitions[(number / self.shards) as usize];
        if transaction.is_empty() {
            let receipt = Receipt { position: self.log.next().1.0, sequence: partition.proposed };
            // What it saw may be proposed and not durable: its answer comes with the last such one's.
            return Ok(match self.log.last() {
                None => Commit::ready(Ok(receipt)),
                Some(last) => {
                    let slot = Slot::new();
                    last.followers.push(slot.clone());
                    Commit::new(slot)
                }
            });
        }
        for (account, change) in &transaction.changes {
            let next = partition.highest_proposed(*account) + 1;
            assert_eq!(*change, next, "transactions of one account are built one after the other");
        }
        let op_bytes = ops_bytes(&transaction.ops);
        let length = frame_bytes(op_bytes, transaction.body_bytes());
        let place = self.log.place(&mut self.port, length)?;
        let bodies = place.offset() + frame_bytes(op_bytes, 0) as u32;
        transaction.place_bodies(shard, place.segment(), bodies);
        let (frame, previous) = self.log.next();
        let sequence = partition.proposed + 1;
        partition.propose(frame, sequence, &transaction.ops);
        let slot = Slot::new();
        let commit = Commit::new(slot.clone());
        self.log.push(
            place,
            Planned {
                partition: number,
                sequence,
                number: frame,
                length: length as u32,
                op_bytes: op_bytes as u32,
                previous,
                ops: std::mem::take(&mut transaction.ops),
                bodies: std::mem::take(&mut transaction.bodies),
                slot,
                followers: Vec::new(),
                position: place,
            },
        );
        Ok(commit)
    }
}
