//! What the machine must offer, looked at before anything is started: later it would be a panic in
//! a library. Each failure is one line that says what to change.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::limits::MEMLOCK_BYTES_MIN;
use crate::net::Ring;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// io_uring cannot be used at all.
    NoIoUring(io::ErrorKind),
    /// The kernel's io_uring lacks an operation.
    NoOperation(&'static str),
    /// RLIMIT_MEMLOCK, in bytes, and what is needed.
    MemoryLock(u64, u64),
    /// RLIMIT_NOFILE, in descriptors, and what is needed.
    Descriptors(u64, u64),
    /// The topology of the machine is hidden.
    NoSys,
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIoUring(io::ErrorKind::PermissionDenied) => f.write_str(
                "io_uring is forbidden here: allow io_uring_setup, io_uring_enter and io_uring_register in the \
                 container's seccomp profile, and set the sysctl kernel.io_uring_disabled to 0",
            ),
            Self::NoIoUring(kind) => write!(f, "io_uring does not work ({kind}): Linux 6.1 or later is needed"),
            Self::NoOperation(name) => {
                write!(f, "this kernel's io_uring has no {name}: Linux 6.1 or later is needed")
            }
            Self::MemoryLock(has, needs) => write!(
                f,
                "the limit for locked memory is {} KiB and must be {} KiB or more: set LimitMEMLOCK=64M in the systemd \
                 unit, or run `ulimit -l 65536` before",
                has / 1024,
                needs / 1024,
            ),
            Self::Descriptors(has, needs) => write!(
                f,
                "the limit for open files is {has} and must be {needs} or more: set LimitNOFILE=65536 in the systemd \
                 unit, or run `ulimit -n {needs}` before",
            ),
            Self::NoSys => f.write_str("/sys/devices/system/cpu cannot be read: mount /sys into the container"),
        }
    }
}

impl std::error::Error for Unready {}

/// Looks at everything, and raises the limits that may be raised. `descriptors` is how many files
/// and connections may be open at once. Empty when all is well.
pub fn preflight(descriptors: u64) -> Vec<Unready> {
    let mut missing = Vec::new();
    match IoUring::new(8) {
        Ok(ring) => {
            missing.extend(missing_operations(&ring));
            // A shard's own asks for more: completions made by the thread that waits for them (6.1).
            missing.extend(Ring::new().err().map(|error| Unready::NoIoUring(error.kind())));
        }
        Err(error) => missing.push(Unready::NoIoUring(error.kind())),
    }
    let locked = raise(libc::RLIMIT_MEMLOCK);
    missing.extend(check_memory_lock(locked));
    let has = self::descriptors();
    if has < descriptors {
        missing.push(Unready::Descriptors(has, descriptors));
    }
    if fs::read_dir("/sys/devices/system/cpu").is_err() {
        missing.push(Unready::NoSys);
    }
    missing
}

/// How many descriptors this process may have open, once the limit has been raised as far as it may be.
pub fn descriptors() -> u64 {
    raise(libc::RLIMIT_NOFILE)
}

/// The cores that this process may use, ascending. Empty when the system does not say.
pub fn cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    parse_cores(list.trim())
}

/// The kernel's form for a set of cores, such as `0-3,8`.
fn parse_cores(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn missing_operations(ring: &IoUring) -> Vec<Unready> {
    let mut probe = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut probe) {
        return vec![Unready::NoIoUring(error.kind())];
    }
    let needed = [
        ("READ", opcode::Read::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("ACCEPT", opcode::Accept::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    let missing = needed.into_iter().filter(|(_, code)| !probe.is_supported(*code));
    missing.map(|(name, _)| Unready::NoOperation(name)).collect()
}

/// The executors look at the soft limit only, whoever runs them.
fn check_memory_lock(bytes: u64) -> Option<Unready> {
    (bytes < MEMLOCK_BYTES_MIN).then_some(Unready::MemoryLock(bytes, MEMLOCK_BYTES_MIN))
}

/// Raises a soft limit to its hard one, and says what it is then.
#[allow(unsafe_code)]
fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the call to fill.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: `raised` is a valid rlimit, only read by the call.
    if unsafe { libc::setrlimit(resource, &raw const raised) } == 0 {
        raised.rlim_cur
    } else {
        limit.rlim_cur
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_locked_memory_is_a_line_that_says_what_to_set() {
        assert_eq!(check_memory_lock(MEMLOCK_BYTES_MIN), None);
        let line = check_memory_lock(64 * 1024).unwrap().to_string();
        assert!(
            line.contains("64 KiB") && line.contains("512 KiB") && line.contains("LimitMEMLOCK"),
            "{line}"
        );
    }

    #[test]
    fn the_cores_of_this_process_are_known() {
        assert_eq!(parse_cores("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(parse_cores(""), Vec::<usize>::new());
        assert!(!cores().is_empty());
    }

    #[test]
    fn limits_are_raised_and_this_machine_is_ready() {
        assert_eq!(preflight(64), Vec::new());
        assert!(descriptors() >= 64);
        let line = preflight(u64::MAX).pop().unwrap().to_string();
        assert!(line.contains("LimitNOFILE"), "{line}");
    }
}
