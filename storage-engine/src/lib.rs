//! The storage engine: bytes, partitions, accounts as opaque keys, and change numbers; no mail.
//!
//! A store is a folder with one *journal* per shard (an append-only log) and an *index* of immutable,
//! memory-mapped runs. A transaction becomes one frame of the journal. It is acknowledged when the flush that
//! covers it has ended, applied to the fresh part of the index in the same order, and later written into a run
//! by a checkpoint. Opening loads the last checkpoint and replays the tail of the journal.
//!
//! - `engine`: the face of one shard's store; `transaction` and `commit`: the way in; `index`: the way out.
//! - `log`: frames, batches and segments; `recover` and `prepare`: opening; `check`: offline verification.
//! - `disk`: the only module that touches the world, as io_uring or as a simulation with faults by a seed.
//!
//! The format is `docs/formats/disk.md`; what is promised after a crash is `storage-engine/README.md`.

mod body;
mod check;
mod checkpoint;
mod commit;
mod disk;
mod engine;
mod error;
mod index;
mod limits;
mod log;
mod metas;
mod options;
mod prepare;
mod recent;
mod recover;
mod row;
mod state;
mod stats;
mod store;
mod transaction;
mod watchers;

pub use check::{CheckProgress, CheckReport, Problem, check};
pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use commit::{Changed, Commit, Receipt, waits};
pub use disk::{Disk, Event, Simulated, StoreLock};
pub use engine::{Engine, TurnResult};
pub use error::Error;
pub use limits::{KEY_BYTES_MAX, ROW_DATA_BYTES, VALUE_BYTES_MAX};
pub use metas::Metas;
pub use options::{Options, StoreInfo};
pub use prepare::{prepare, shards_of};
pub use row::{BodyRef, Change, Row};
pub use stats::{Histogram, Stats};
pub use transaction::{Body, NewBody, RowBody, Transaction};
