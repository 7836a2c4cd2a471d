//! Processes and their descendants, from /proc. A process that has ended is in the books of the parent that
//! waited for it, so that what short-lived children used is not lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use super::{Usage, field};
use crate::wrong::Wrong;

/// What one line of /proc/PID/stat says of a process, beside its name (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    /// Of children that have ended and were waited for, with theirs; in ticks.
    children_ticks: u64,
}

/// `roots` and all their descendants that are alive.
pub(crate) fn tree(roots: &[u32]) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Ok(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut all = BTreeSet::new();
    let mut next = roots.to_vec();
    while let Some(pid) = next.pop() {
        if all.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    all.into_iter().collect()
}

/// Sums over `roots`, which must be alive, and their descendants.
pub(super) fn usage(roots: &[u32]) -> Result<Usage, Wrong> {
    let mut sum = Usage::default();
    if roots.is_empty() {
        return Ok(sum);
    }
    for pid in tree(roots) {
        let one = match process(pid) {
            Ok(one) => one,
            // It ended while we looked: its parent has it.
            Err(_) if !roots.contains(&pid) => continue,
            Err(error) => return Err(Wrong::io(format!("process {pid}"), &error)),
        };
        sum.cpu_ns += one.cpu_ns;
        sum.rss_kib += one.rss_kib;
        sum.pss_kib += one.pss_kib;
        sum.written_bytes += one.written_bytes;
    }
    Ok(sum)
}

fn process(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // These two are readable by the process's owner only. Bytes that ended children wrote are in the second.
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let written = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Ok(Usage {
        cpu_ns: cpu_ns(pid)? + stat(pid)?.children_ticks * tick_ns(),
        rss_kib: field(&status, "VmRSS:"),
        pss_kib: field(&shares, "Pss:"),
        written_bytes: field(&written, "write_bytes:"),
    })
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as it should be")))
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold anything, brackets too; the last one ends it. The third field follows.
    let (_, rest) = text.rsplit_once(") ")?;
    let number = |field: usize| rest.split(' ').nth(field - 3)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, children_ticks: number(16)? + number(17)? })
}

#[allow(unsafe_code)]
fn tick_ns() -> u64 {
    // SAFETY: asks for a constant.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    1_000_000_000 / u64::try_from(hertz).unwrap_or(100).max(1)
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

/// The processor time of this thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_has_figures() {
        let one = usage(&[std::process::id()]).expect("we are running");
        assert!(one.cpu_ns > 0 && one.rss_kib > 0, "{one:?}");
        assert!(own_cpu_ns() > 0);
        assert!(usage(&[u32::MAX]).is_err());
        assert_eq!(usage(&[]), Ok(Usage::default()));
    }

    #[test]
    fn what_an_ended_child_used_stays_counted() {
        let this = std::process::id();
        let before = process(this).map(|usage| usage.cpu_ns).expect("we are running");
        let mut own = own_cpu_ns();
        // A fifth of a second at least: the books have hundredths.
        let work = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", work]).status().expect("a shell").success());
        own = own_cpu_ns() - own;
        let after = process(this).map(|usage| usage.cpu_ns).expect("we are running");
        assert!(after - before > own + 20_000_000, "{} ns more, {own} ns of our own", after - before);
    }

    #[test]
    fn descendants_are_found() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");
        let all = tree(&[std::process::id()]);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(all.contains(&child.id()) && all.contains(&std::process::id()));
    }

    #[test]
    fn a_name_with_brackets_is_no_trap() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194304 100 0 0 0 1 2 30 12 20 0 1 0 5";
        let stat = parse(text).expect("a whole line");
        assert_eq!((stat.parent, stat.children_ticks), (3, 42));
        assert!(parse("7 (a) S").is_none());
    }
}
