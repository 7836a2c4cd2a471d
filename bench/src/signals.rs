//! SIGTERM and SIGINT as something to wait for.

use std::time::Duration;

use crate::wrong::Wrong;

/// Keeps both signals back in this thread and those that it starts.
#[allow(unsafe_code)]
pub(crate) fn hold_back() -> Result<(), Wrong> {
    let set = both();
    // SAFETY: reads a set of ours; the old one is not asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(Wrong::io("signals", &std::io::Error::from_raw_os_error(error))) }
}

/// Waits for one of the two, or for so long. They must have been held back.
#[allow(unsafe_code)]
pub(crate) fn wait(most: Option<Duration>) {
    let set = both();
    // A year is longer than anybody waits.
    let most = most.unwrap_or(Duration::from_hours(24 * 365));
    let end = crate::clock::now() + most;
    loop {
        let left = end.saturating_duration_since(crate::clock::now());
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        // SAFETY: reads two structures of ours; what came with the signal is not asked for.
        let signal = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time) };
        let was_interrupted =
            signal < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR);
        if !was_interrupted {
            return;
        }
    }
}

/// Ends [`wait`].
#[allow(unsafe_code)]
pub(crate) fn ask_to_end() {
    // SAFETY: a signal to this very process, which holds it back.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

#[allow(unsafe_code)]
fn both() -> libc::sigset_t {
    // SAFETY: fills a structure of ours; an all-zero one is valid before.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        set
    }
}
