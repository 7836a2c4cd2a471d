//! What a ring is set up with: the system calls the ring's own crate has no face for.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::IoUring;

use super::ENTRIES;
use crate::disk::buffer::Buffer;

/// Cooperative task running where the kernel knows it (5.19, 6.0): fewer interruptions of the shard.
pub(super) fn new_ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(ENTRIES * 4).setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
    match builder.build(ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            IoUring::builder().setup_cqsize(ENTRIES * 4).build(ENTRIES)
        }
        built => built,
    }
}

pub(super) fn new_event() -> io::Result<OwnedFd> {
    #[allow(unsafe_code)]
    // SAFETY: takes no memory of ours.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(unsafe_code)]
    // SAFETY: a descriptor just made, owned by nobody else.
    let event = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(event)
}

pub(super) fn register(ring: &IoUring, buffers: &[Buffer]) -> bool {
    let vectors: Vec<libc::iovec> = buffers
        .iter()
        .map(|buffer| libc::iovec { iov_base: buffer.address().cast(), iov_len: buffer.capacity() })
        .collect();
    #[allow(unsafe_code)]
    // SAFETY: the buffers live in the port or in an operation. Those in the port are freed after the ring at
    // the latest with the process's other fields; registration pins their pages, so the kernel never writes
    // to memory that was given to somebody else.
    let registered = unsafe { ring.submitter().register_buffers(&vectors) };
    registered.is_ok()
}

pub(super) fn advise_random(file: &File) {
    #[allow(unsafe_code)]
    // SAFETY: takes a descriptor and numbers, no memory of ours. Advice: a refusal changes nothing.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}
