//! The allocator's reserve. What is freed stays with the process for its next use, and the allocator looks
//! at it only when it is called again: a process that has fallen idle keeps all of it.

/// Gives back to the system what the allocator keeps for this thread, and what no thread uses. Costs a
/// system call for each stretch of memory, and page faults when it is wanted again.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: touches nothing that is in use, and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
