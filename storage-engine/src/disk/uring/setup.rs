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

/// Whether a write to this file system that is to be durable itself (RWF_DSYNC) is: these flush after it, as they do for
/// fdatasync. Others, such as those behind FUSE, pass the wish on to somebody who may not know it.
pub(super) fn keeps_durable_writes(folder: &File) -> bool {
    let mut told = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    #[allow(unsafe_code)]
    // SAFETY: a descriptor, and memory of the size the call fills.
    let result = unsafe { libc::fstatfs(folder.as_raw_fd(), told.as_mut_ptr()) };
    #[allow(unsafe_code)]
    // SAFETY: numbers alone, for which zeroes are values too.
    let told = unsafe { told.assume_init() };
    result == 0 && is_known_to_flush(told.f_type)
}

const fn is_known_to_flush(file_system: libc::__fsword_t) -> bool {
    matches!(
        file_system,
        libc::EXT4_SUPER_MAGIC | libc::XFS_SUPER_MAGIC | libc::BTRFS_SUPER_MAGIC | libc::F2FS_SUPER_MAGIC
    )
}

pub(super) fn advise_random(file: &File) {
    #[allow(unsafe_code)]
    // SAFETY: takes a descriptor and numbers, no memory of ours. Advice: a refusal changes nothing.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_file_systems_that_flush_themselves_are_asked_for_durable_writes() {
        assert!(is_known_to_flush(0xef53), "ext4");
        for other in [libc::FUSE_SUPER_MAGIC, libc::NFS_SUPER_MAGIC, libc::OVERLAYFS_SUPER_MAGIC, 0] {
            assert!(!is_known_to_flush(other));
        }
        assert!(!keeps_durable_writes(&File::open("/proc").expect("Linux")));
    }
}
