//! The allocator's reserve. What is freed stays with the process for its next use, and the allocator looks
//! at it only when it is called again: a process that has fallen idle keeps all of it.

/// Gives back to the system what no thread uses, and what the allocator keeps for this thread. Costs a system
/// call for each stretch of memory, tens of milliseconds after a crowd: not for a shard's thread.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // A thread that has never had memory of its own is not heard.
    drop(std::hint::black_box(Box::new(0_u8)));
    // SAFETY: touches nothing that is in use, and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Gives the allocator's other threads what it keeps for this one and nobody uses. Right after a
/// [`give_back`] on another thread, which leaves it little to do, it takes some microseconds.
#[allow(unsafe_code)]
pub(crate) fn let_go() {
    // SAFETY: as above.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
