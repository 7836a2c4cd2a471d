//! What the server used: processor time and memory of its processes, bytes written, and what reached the disk.

mod device;
mod processes;
mod rest;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::wrong::Wrong;
use device::Device;
pub(crate) use device::Written;
pub(crate) use processes::{own_cpu_ns, thread_cpu_ns, tree};
pub(crate) use rest::Rest;

/// A reading, summed over the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time so far, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory now, in KiB; shared pages count in each process. Of a control group: all it is charged
    /// with, without the page cache.
    pub(crate) rss_kib: u64,
    /// Proportional share of memory now, in KiB; 0 where the system does not tell.
    pub(crate) pss_kib: u64,
    /// Bytes handed to the disk so far (`write_bytes` of /proc/PID/io).
    pub(crate) written_bytes: u64,
}

/// What is known of the server under test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    roots: Vec<u32>,
    cgroup: Option<PathBuf>,
    device: Option<Device>,
}

impl Server {
    /// By the processes that all others descend from, or by a control group; and by a block device's name, or
    /// else the one that `folder` lies on.
    pub(crate) fn new(
        roots: Vec<u32>,
        cgroup: Option<PathBuf>,
        device: Option<String>,
        folder: Option<&Path>,
    ) -> Result<Self, Wrong> {
        let device = match (device, folder) {
            (Some(name), _) => Some(Device::named(&name)?),
            (None, Some(folder)) => Device::below(folder)?,
            (None, None) => None,
        };
        let cgroup = cgroup.map(|folder| Path::new("/sys/fs/cgroup").join(folder));
        if let Some(folder) = cgroup.as_ref().filter(|folder| !folder.join("cpu.stat").exists()) {
            return Err(Wrong::Usage(format!("{} is no control group (v2)", folder.display())));
        }
        Ok(Self { roots, cgroup, device })
    }

    /// As this one, with other processes.
    pub(crate) fn with_root(&self, root: u32) -> Self {
        Self { roots: vec![root], cgroup: None, device: self.device.clone() }
    }

    /// Whether there is anything to read.
    pub(crate) fn is_known(&self) -> bool {
        !self.roots.is_empty() || self.cgroup.is_some()
    }

    /// Reads the figures; all 0 where nothing is known.
    pub(crate) fn usage(&self) -> Result<Usage, Wrong> {
        match &self.cgroup {
            Some(folder) => group(folder).map_err(|error| Wrong::io(folder.display(), &error)),
            None => processes::usage(&self.roots),
        }
    }

    /// Empties the page cache to the disk, and reads what was written to the device so far.
    pub(crate) fn written(&self) -> Result<Option<Written>, Wrong> {
        self.device.as_ref().map(Device::written).transpose()
    }
}

/// A control group's own books (kernel documentation, cgroup-v2: cpu.stat, memory.stat, io.stat).
fn group(folder: &Path) -> io::Result<Usage> {
    let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
    // These two are there when their controllers are switched on.
    let memory = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let written = fs::read_to_string(folder.join("io.stat")).unwrap_or_default();
    let held: u64 = ["anon ", "kernel ", "shmem "].iter().map(|name| field(&memory, name)).sum();
    Ok(Usage {
        cpu_ns: field(&cpu, "usage_usec") * 1000,
        rss_kib: held / 1024,
        pss_kib: held / 1024,
        written_bytes: group_written(&written),
    })
}

/// `wbytes=` of all devices. A partition's or mapped device's bytes are booked with their disk alone.
fn group_written(text: &str) -> u64 {
    let words = text.split_whitespace().filter_map(|word| word.strip_prefix("wbytes="));
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// The number after `name` at a line's start; 0 when it is not there.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Kernel memory in slabs of the whole machine, in KiB: sockets of both sides are in it.
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
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("rchar: 1\nwrite_bytes: 4096\n", "write_bytes:"), 4096);
        assert_eq!(field("cancelled_write_bytes: 1\n", "write_bytes:"), 0);
    }

    #[test]
    fn a_control_group_is_read_from_its_files() {
        let folder = std::env::temp_dir().join(format!("angarium-bench-group-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let put = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
        put("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        put("memory.stat", "anon 4096\nfile 999999\nkernel 1024\nshmem 1024\n");
        put("io.stat", "254:0 rbytes=1 wbytes=100 rios=1\n8:0 rbytes=0 wbytes=11 wios=2\n");
        let usage = group(&folder).expect("all files are there");
        fs::remove_dir_all(&folder).expect("removed");
        let expected = Usage { cpu_ns: 1_500_000, rss_kib: 6, pss_kib: 6, written_bytes: 111 };
        assert_eq!(usage, expected);
        assert!(Server::new(Vec::new(), Some(folder), None, None).is_err());
    }
}
