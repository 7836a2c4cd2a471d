//! What the kernel says of the machine, read from `/proc`, `/sys` and `/boot` below a root, so that a copy of
//! another machine's files can be looked at too. What is not there is not known, and never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::parse_cpus;
use crate::{Exit, Failure};

/// A machine as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    /// Cores that are switched on, ascending.
    pub(crate) cores: Vec<usize>,
    /// Cores that this process may use, ascending.
    pub(crate) allowed: Vec<usize>,
    /// The first thread of each physical core among the allowed ones.
    pub(crate) physical: Vec<usize>,
    /// NUMA nodes with their cores.
    pub(crate) nodes: Vec<(usize, Vec<usize>)>,
    pub(crate) governor: Option<String>,
    pub(crate) clock_source: Option<String>,
    /// Ticks a second.
    pub(crate) hz: Option<u32>,
    /// Whether a hypervisor runs it, and the share of its time that was given to others, in percent.
    pub(crate) stolen_percent: Option<f64>,
    /// Bytes of memory, and the least of the cgroups' limits if that is less.
    pub(crate) memory_bytes: u64,
    pub(crate) swap_bytes: u64,
    /// Cores that the cgroups' quota allows, if there is one.
    pub(crate) quota_cores: Option<f64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) locked_bytes: Option<u64>,
    pub(crate) sysctls: BTreeMap<&'static str, String>,
    pub(crate) huge_pages: Option<String>,
    pub(crate) cards: Vec<Card>,
    pub(crate) disk: Disk,
    /// Whether connections are tracked by the firewall.
    pub(crate) has_conntrack: bool,
}

/// A network card.
#[derive(Clone, Debug, Default)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) receive_queues: usize,
    pub(crate) node: Option<usize>,
    /// Cores that its interrupts have gone to, ascending.
    pub(crate) interrupt_cores: Vec<usize>,
    /// Whether the kernel spreads packets of a queue over cores (RPS).
    pub(crate) is_spread: bool,
}

/// Where the store is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) mount: String,
    pub(crate) file_system: String,
    pub(crate) options: String,
    pub(crate) device: Option<String>,
    pub(crate) scheduler: Option<String>,
    pub(crate) is_rotational: Option<bool>,
    /// `write back`, where a flush costs something, or `write through`.
    pub(crate) cache: Option<String>,
}

/// The settings of the kernel that are looked at.
const SYSCTLS: [&str; 12] = [
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.core.netdev_max_backlog",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_max",
    "fs.file-max",
    "fs.nr_open",
    "vm.max_map_count",
    "vm.swappiness",
    "kernel.io_uring_disabled",
];

struct Files<'a>(&'a Path);

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's text without what surrounds it.
    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok().map(|text| text.trim().to_owned())
    }

    fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn cores(&self, name: &str) -> Vec<usize> {
        self.text(name).and_then(|list| parse_cpus(&list).ok()).unwrap_or_default()
    }
}

impl Machine {
    /// Reads what there is below `root`; `process` is whose limits count, and `data` where the store is or will be.
    /// An error when the root has no `/proc`, or no such process.
    pub(crate) fn read(root: &Path, process: Option<u32>, data: &Path) -> Result<Self, Failure> {
        let files = Files(root);
        let who = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let Some(limits) = files.text(&format!("proc/{who}/limits")) else {
            let words = format!("{} cannot be read", files.path(&format!("proc/{who}/limits")).display());
            return Err(Failure::new(Exit::NotFound, words));
        };
        let status = files.text(&format!("proc/{who}/status")).unwrap_or_default();
        let cores = files.cores("sys/devices/system/cpu/online");
        let allowed = field(&status, "Cpus_allowed_list:").and_then(|list| parse_cpus(list).ok());
        let allowed = allowed.filter(|list| !list.is_empty()).unwrap_or_else(|| cores.clone());
        let (limit_bytes, quota_cores) = groups(&files, &who);
        let memory = files.text("proc/meminfo").unwrap_or_default();
        let kernel = files.text("proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            processor: processor(&files),
            physical: physical(&files, &allowed),
            nodes: nodes(&files),
            governor: files.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: files.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            hz: ticks(&files, &kernel),
            stolen_percent: stolen(&files),
            memory_bytes: kilobytes(&memory, "MemTotal:").min(limit_bytes.unwrap_or(u64::MAX)),
            swap_bytes: kilobytes(&memory, "SwapTotal:"),
            quota_cores,
            open_files: soft_limit(&limits, "Max open files"),
            locked_bytes: soft_limit(&limits, "Max locked memory"),
            sysctls: sysctls(&files),
            huge_pages: files.text("sys/kernel/mm/transparent_hugepage/enabled").and_then(|all| chosen(&all)),
            cards: cards(&files),
            disk: disk(&files, &who, data),
            has_conntrack: files.path("proc/sys/net/netfilter/nf_conntrack_max").exists(),
            kernel,
            cores,
            allowed,
        })
    }

    /// A kernel setting as a number.
    pub(crate) fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.parse().ok()
    }

    /// The machine in JSON.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "processor": self.processor,
            "cores": self.cores,
            "cores_allowed": self.allowed,
            "physical_cores": self.physical.len(),
            "numa_nodes": self.nodes.len(),
            "memory_bytes": self.memory_bytes,
            "ticks_per_second": self.hz,
            "stolen_percent": self.stolen_percent,
            "disk": { "mount": self.disk.mount, "file_system": self.disk.file_system, "device": self.disk.device },
            "network": self.cards.iter().map(|card| json!({ "name": card.name, "receive_queues": card.receive_queues })).collect::<Vec<_>>(),
        })
    }

    /// The machine in two lines.
    pub(crate) fn summary_words(&self) -> String {
        let device = self.disk.device.as_deref().unwrap_or("unknown device");
        format!(
            "{}, {} cores ({} usable, {} physical), {} NUMA node(s), {} MiB, Linux {}\nstore on {} ({}, {device})",
            if self.processor.is_empty() { "unknown processor" } else { &self.processor },
            self.cores.len(),
            self.allowed.len(),
            self.physical.len(),
            self.nodes.len().max(1),
            self.memory_bytes >> 20,
            self.kernel,
            self.disk.mount,
            self.disk.file_system,
        )
    }
}

/// What follows a name at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let value = field(text, name).and_then(|value| value.split_whitespace().next());
    value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// The soft limit in `/proc/PID/limits`; `unlimited` is the largest number there is.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let value = field(limits, name)?.split_whitespace().next()?;
    if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() }
}

/// The word in brackets.
fn chosen(all: &str) -> Option<String> {
    let (_, rest) = all.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn processor(files: &Files<'_>) -> String {
    let info = files.text("proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

/// Of the threads that share a physical core, the first that may be used.
fn physical(files: &Files<'_>, allowed: &[usize]) -> Vec<usize> {
    let first = |core: usize| {
        let name = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        files.cores(&name).into_iter().find(|sibling| allowed.contains(sibling)).unwrap_or(core)
    };
    allowed.iter().copied().filter(|core| first(*core) == *core).collect()
}

fn nodes(files: &Files<'_>) -> Vec<(usize, Vec<usize>)> {
    let folder = "sys/devices/system/node";
    let numbers = files.list(folder);
    let numbers = numbers.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
    let mut nodes: Vec<(usize, Vec<usize>)> =
        numbers.map(|node: usize| (node, files.cores(&format!("{folder}/node{node}/cpulist")))).collect();
    nodes.retain(|(_, cores)| !cores.is_empty());
    nodes.sort();
    nodes
}

/// CONFIG_HZ of the kernel that runs, where its configuration lies beside it.
fn ticks(files: &Files<'_>, kernel: &str) -> Option<u32> {
    let config = files.text(&format!("boot/config-{kernel}"))?;
    field(&config, "CONFIG_HZ=")?.parse().ok()
}

fn stolen(files: &Files<'_>) -> Option<f64> {
    let info = files.text("proc/cpuinfo")?;
    let flags = info.lines().find(|line| line.starts_with("flags"))?;
    if !flags.split_whitespace().any(|flag| flag == "hypervisor") {
        return None;
    }
    let stat = files.text("proc/stat")?;
    let times: Vec<u64> =
        field(&stat, "cpu ")?.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal (proc(5)); the guests' time is in user's already.
    let whole: u64 = times.iter().take(8).sum();
    // In tenths of a percent, which is as exact as anybody needs it.
    Some(f64::from(u32::try_from(*times.get(7)? * 1000 / whole.max(1)).ok()?) / 10.0)
}

/// The limits of the process's cgroups on memory, in bytes, and on processor time, in cores.
fn groups(files: &Files<'_>, who: &str) -> (Option<u64>, Option<f64>) {
    let groups = files.text(&format!("proc/{who}/cgroup")).unwrap_or_default();
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return (None, None) };
    let (mut memory, mut quota): (Option<u64>, Option<f64>) = (None, None);
    let mut path = Path::new(path);
    loop {
        let file = |name: &str| files.text(&format!("sys/fs/cgroup/{}/{name}", path.display()));
        let limit = file("memory.max").and_then(|limit| limit.parse().ok());
        memory = [memory, limit].into_iter().flatten().min();
        let cores = file("cpu.max").and_then(|limit| {
            let (time, period) = limit.split_once(' ')?;
            Some(time.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
        quota = [quota, cores].into_iter().flatten().min_by(f64::total_cmp);
        match path.parent() {
            Some(parent) => path = parent,
            None => return (memory, quota),
        }
    }
}

fn sysctls(files: &Files<'_>) -> BTreeMap<&'static str, String> {
    let read = |name: &'static str| {
        let value = files.text(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some((name, value))
    };
    SYSCTLS.into_iter().filter_map(read).collect()
}

/// Cards that have a device behind them; bridges, tunnels and the loopback have none.
fn cards(files: &Files<'_>) -> Vec<Card> {
    let interrupts = files.text("proc/interrupts").unwrap_or_default();
    let names = files.list("sys/class/net");
    let real = names.into_iter().filter(|name| files.path(&format!("sys/class/net/{name}/device")).exists());
    real.map(|name| card(files, name, &interrupts)).collect()
}

fn card(files: &Files<'_>, name: String, interrupts: &str) -> Card {
    let folder = format!("sys/class/net/{name}");
    let queues = files.list(&format!("{folder}/queues"));
    let receive: Vec<&String> = queues.iter().filter(|queue| queue.starts_with("rx-")).collect();
    let is_set = |queue: &String| {
        let mask = files.text(&format!("{folder}/queues/{queue}/rps_cpus")).unwrap_or_default();
        mask.chars().any(|digit| digit.is_ascii_hexdigit() && digit != '0')
    };
    let numbers = files.list(&format!("{folder}/device/msi_irqs"));
    Card {
        is_spread: receive.iter().any(|queue| is_set(queue)),
        receive_queues: receive.len(),
        node: files.text(&format!("{folder}/device/numa_node")).and_then(|node| node.parse().ok()),
        interrupt_cores: interrupt_cores(interrupts, &name, &numbers),
        name,
    }
}

/// Cores that have taken interrupts of a card, found by its name or by its interrupts' numbers.
fn interrupt_cores(interrupts: &str, name: &str, numbers: &[String]) -> Vec<usize> {
    let mut lines = interrupts.lines();
    let columns: Vec<usize> = lines
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("CPU")?.parse().ok())
        .collect();
    let mut cores = Vec::new();
    for line in lines {
        let Some((number, counts)) = line.trim_start().split_once(':') else { continue };
        let is_named =
            counts.split_whitespace().any(|word| word == name || word.starts_with(&format!("{name}-")));
        if !is_named && !numbers.iter().any(|known| known == number) {
            continue;
        }
        let taken = columns.iter().zip(counts.split_whitespace());
        cores.extend(
            taken.filter(|(_, count)| count.parse().is_ok_and(|count: u64| count > 0)).map(|(core, _)| *core),
        );
    }
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// The mount that the folder, or the nearest of its parents that exists, is on, and the device below.
fn disk(files: &Files<'_>, who: &str, data: &Path) -> Disk {
    let existing = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let folder = fs::canonicalize(existing).unwrap_or_else(|_| data.to_owned());
    let mounts = files.text(&format!("proc/{who}/mountinfo")).unwrap_or_default();
    // proc_pid_mountinfo(5): the device is the third field, the mount point the fifth, and the last in effect wins.
    let mut best: Option<(PathBuf, &str)> = None;
    for line in mounts.lines() {
        let Some(point) = line.split(' ').nth(4).map(|point| PathBuf::from(point.replace("\\040", " ")))
        else {
            continue;
        };
        let is_deeper =
            best.as_ref().is_none_or(|(known, _)| point.components().count() >= known.components().count());
        if folder.starts_with(&point) && is_deeper {
            best = Some((point, line));
        }
    }
    let Some((point, line)) = best else { return Disk::default() };
    let (left, right) = line.split_once(" - ").unwrap_or((line, ""));
    let mut right = right.split(' ');
    let file_system = right.next().unwrap_or_default().to_owned();
    let options = right.nth(1).unwrap_or_default().to_owned();
    let number = left.split(' ').nth(2).unwrap_or_default();
    let block = format!("sys/dev/block/{number}");
    // A partition has its queue in the folder above.
    let queue = [format!("{block}/queue"), format!("{block}/../queue")];
    let queue = queue.into_iter().find(|folder| files.path(folder).exists());
    let setting = |name: &str| queue.as_ref().and_then(|folder| files.text(&format!("{folder}/{name}")));
    let device = files.text(&format!("{block}/uevent"));
    Disk {
        mount: point.display().to_string(),
        file_system,
        options,
        device: device.and_then(|text| field(&text, "DEVNAME=").map(str::to_owned)),
        scheduler: setting("scheduler").and_then(|all| chosen(&all)),
        is_rotational: setting("rotational").map(|word| word == "1"),
        cache: setting("write_cache"),
    }
}
