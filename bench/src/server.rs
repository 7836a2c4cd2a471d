//! What the server's processes used, from /proc: processor time, memory, bytes written.

use std::fs;
use std::io;

use crate::wrong::Wrong;

/// A reading, summed over the processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time so far, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory now, in KiB; shared pages count in each process.
    pub(crate) rss_kib: u64,
    /// Proportional share of memory now, in KiB; 0 where the system does not tell.
    pub(crate) pss_kib: u64,
    /// Bytes handed to the disk so far (`write_bytes` of /proc/PID/io).
    pub(crate) written_bytes: u64,
}

/// Reads the figures of all `pids`.
pub(crate) fn usage(pids: &[u32]) -> Result<Usage, Wrong> {
    let mut sum = Usage::default();
    for &pid in pids {
        let one = process(pid).map_err(|error| Wrong::io(format!("process {pid}"), &error))?;
        sum.cpu_ns += one.cpu_ns;
        sum.rss_kib += one.rss_kib;
        sum.pss_kib += one.pss_kib;
        sum.written_bytes += one.written_bytes;
    }
    Ok(sum)
}

fn process(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // These two are readable by the process's owner only.
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let written = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Ok(Usage {
        cpu_ns: cpu_ns(pid)?,
        rss_kib: field(&status, "VmRSS:"),
        pss_kib: field(&shares, "Pss:"),
        written_bytes: field(&written, "write_bytes:"),
    })
}

/// The number after `name` at a line's start; 0 when it is not there.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A process's own processor clock, with its ended threads: finer than /proc's hundredths of a second.
#[allow(unsafe_code)]
fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock = 0;
    let pid = libc::pid_t::try_from(pid).unwrap_or(libc::pid_t::MAX);
    // SAFETY: writes one integer of ours.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    read_clock(clock)
}

/// The processor time of this process, in nanoseconds.
pub(crate) fn own_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

#[allow(unsafe_code)]
fn read_clock(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one structure of ours.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Kernel memory in slabs, in KiB: sockets of both sides are in it.
pub(crate) fn kernel_slab_kib() -> u64 {
    field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "Slab:")
}

/// Processor time that all processes of the machine have used, in nanoseconds.
pub(crate) fn machine_cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq: all but the two that mean waiting.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<u64>();
    busy * 10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let usage = usage(&[std::process::id()]).expect("we are running");
        assert!(usage.cpu_ns > 0 && usage.rss_kib > 0, "{usage:?}");
        assert!(own_cpu_ns() > 0);
        assert!(super::usage(&[u32::MAX]).is_err());
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("rchar: 1\nwrite_bytes: 4096\n", "write_bytes:"), 4096);
        assert_eq!(field("cancelled_write_bytes: 1\n", "write_bytes:"), 0);
    }
}
