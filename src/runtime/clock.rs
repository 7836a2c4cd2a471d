//! The one place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base::Timestamp;

/// The time of day. It may jump when somebody sets the clock.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    // Before 1970 the clock is wrong anyway, and 1970 says so as well as any other answer.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The clock that never jumps: for measuring how long something takes.
#[allow(clippy::disallowed_methods)]
pub fn instant() -> Instant {
    Instant::now()
}

/// As [`instant`], in nanoseconds since some moment before the process began.
pub(crate) fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// As [`monotonic_ns`], in milliseconds and up to a tick of the kernel (1 to 10 ms) old; reading it costs a sixth.
pub(crate) fn coarse_ms() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE) / 1_000_000
}

/// Processor time of this thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of all threads of the process, in nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

#[allow(unsafe_code)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes of a `timespec`. Linux has each of these clocks, so it is set.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Neither part is negative on these clocks.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
