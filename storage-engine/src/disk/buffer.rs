//! Memory aligned for direct writes.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

use crate::limits::BLOCK_BYTES;

/// Block-aligned bytes whose address does not change, so that the kernel may hold on to it.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: *mut u8,
    capacity: usize,
    /// Bytes to be written, from the start; set by whoever fills it.
    pub(crate) length: usize,
    /// Its number among the registered ones; none when it is a one-off.
    pub(super) registered: Option<u16>,
}

impl Buffer {
    /// Zeroed memory of at least `bytes` bytes.
    pub(super) fn new(bytes: usize, registered: Option<u16>) -> Self {
        let capacity = bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        #[allow(unsafe_code)]
        // SAFETY: the layout has a size above zero, as `alloc_zeroed` asks.
        let start = unsafe { alloc_zeroed(layout(capacity)) };
        if start.is_null() {
            handle_alloc_error(layout(capacity));
        }
        Self { start, capacity, length: 0, registered }
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) const fn address(&self) -> *mut u8 {
        self.start
    }

    #[allow(unsafe_code)]
    pub(crate) const fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points to `capacity` initialised bytes that this value owns.
        unsafe { std::slice::from_raw_parts(self.start, self.capacity) }
    }

    #[allow(unsafe_code)]
    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.capacity) }
    }
}

impl Drop for Buffer {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, and freed once.
        unsafe { dealloc(self.start, layout(self.capacity)) }
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, BLOCK_BYTES).expect("a block is a power of two and sizes are bounded")
}
