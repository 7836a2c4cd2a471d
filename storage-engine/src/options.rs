//! What a store is made with, and what `prepare` says about one.

use crate::disk::StoreLock;
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES_MAX, BLOCK_BYTES, IN_FLIGHT_MAX, PARTITIONS_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};

/// Settings of a store. `partitions` and `segment_bytes` are fixed when the store is made; the store's own win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Partitions, 1 to 1024.
    pub partitions: u16,
    /// Bytes of a journal segment, a multiple of 4096. A transaction must fit one.
    pub segment_bytes: u32,
    /// Above these bytes of fresh index a checkpoint is due.
    pub fresh_bytes_max: usize,
    /// Batches written at the same time, 1 to 64.
    pub in_flight_max: usize,
    /// A batch is closed above these bytes.
    pub batch_bytes_max: usize,
    /// Meta blocks of the bodies stored last are kept in memory, up to these bytes.
    pub recent_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: 64,
            segment_bytes: 64 << 20,
            fresh_bytes_max: 16 << 20,
            in_flight_max: 4,
            batch_bytes_max: 1 << 20,
            recent_bytes_max: 40 << 20,
        }
    }
}

/// What `prepare` found or made. Holds the store's lock until it is dropped.
#[derive(Debug)]
pub struct StoreInfo {
    /// Partitions of the store.
    pub partitions: u16,
    /// The store's own random name.
    pub id: [u8; 16],
    /// True when this call made the store.
    pub created: bool,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Shards of the start before this one; 0 when the store is new.
    pub shards_before: u16,
    /// Keeps other processes out.
    pub lock: StoreLock,
}

impl Options {
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let is_whole = self.segment_bytes.is_multiple_of(BLOCK_BYTES as u32);
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return Err(Error::Options { what: "partitions must be 1 to 1024" });
        }
        if !is_whole || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(Error::Options {
                what: "segment_bytes must be 64 KiB to 1 GiB, in multiples of 4096",
            });
        }
        if self.in_flight_max == 0 || self.in_flight_max > IN_FLIGHT_MAX {
            return Err(Error::Options { what: "in_flight_max must be 1 to 64" });
        }
        if !(BLOCK_BYTES..=BATCH_BYTES_MAX).contains(&self.batch_bytes_max) {
            return Err(Error::Options { what: "batch_bytes_max must be 4 KiB to 64 MiB" });
        }
        Ok(())
    }
}
