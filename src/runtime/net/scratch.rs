//! Two buffers per shard that every connection borrows for the length of one call: an idle
//! connection holds no buffer at all.

use std::cell::RefCell;

use crate::limits::SCRATCH_BYTES;

type Buffer = RefCell<Box<[u8]>>;

fn buffer() -> Buffer {
    RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice())
}

thread_local! {
    static READ: Buffer = buffer();
    static WRITE: Buffer = buffer();
}

/// Lends the shard's buffer for reading. What is done with it must neither wait nor read again.
pub(super) fn for_reading<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    READ.with_borrow_mut(|buffer| work(buffer))
}

/// As [`for_reading`], for writing.
pub(super) fn for_writing<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    WRITE.with_borrow_mut(|buffer| work(buffer))
}
