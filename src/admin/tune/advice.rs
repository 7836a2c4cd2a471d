//! From what a machine is to what should be set on it. Each rule looks at one thing and gives its reason;
//! the figures behind them are in `docs/operate/tuning.md`.

use super::machine::{Card, Machine};
use crate::Config;
use crate::limits::{
    DESCRIPTORS_BESIDE, HELPER_CORE_FROM, LISTEN_BACKLOG, LOCKED_BYTES_A_SHARD, LOCKED_BYTES_MIN,
    PORT_RANGE_MIN, SHARD_BYTES_BESIDE, STOLEN_PERCENT_MAX, TICKS_MIN,
};

/// What is thought of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Better otherwise under some loads.
    Consider,
    /// Must be otherwise, or something will not work as configured.
    Set,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Consider => "consider",
            Self::Set => "set",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Advice {
    pub(super) subject: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// What to write where, or to run; none when nothing is to be done.
    pub(super) set: Option<String>,
    pub(super) why: &'static str,
}

/// A rule's answer: what was found, and what to set unless it is good.
type Found = (Verdict, String, Option<String>);

/// Looks at everything that is known.
pub(super) fn advise(machine: &Machine, config: &Config) -> Vec<Advice> {
    let mut all = on_cores(machine, config);
    all.extend(on_memory(machine, config));
    all.extend(on_limits(machine, config));
    all.extend(on_network(machine, config));
    all.extend(on_disk(machine));
    all
}

/// The rules that have found something.
fn known<const N: usize>(rules: [(&'static str, &'static str, Option<Found>); N]) -> Vec<Advice> {
    let known = rules.into_iter().filter_map(|(subject, why, found)| Some((subject, why, found?)));
    known.map(|(subject, why, (verdict, found, set))| Advice { subject, verdict, found, set, why }).collect()
}

fn on_cores(machine: &Machine, config: &Config) -> Vec<Advice> {
    known([
        (
            "shards",
            "one shard on each physical core that is not needed for interrupts and helpers; two busy threads on one \
             core make flushes wait for a tick",
            Some(shards(machine, config)),
        ),
        (
            "cores by quota",
            "a quota stops all shards at once for the rest of its period, and every latency shows it; cores given \
             whole (a cpuset) do not",
            quota(machine),
        ),
        (
            "processor speed",
            "under this governor a core that sleeps between requests wakes up slow",
            governor(machine),
        ),
        (
            "clock",
            "each request reads the clock several times; this source costs a trip to the hardware",
            clock(machine),
        ),
        (
            "kernel ticks",
            "where a helper of the kernel shares a shard's core, it waits for a tick: at 250 a second that is 4 ms, \
             seen as steps in the latency of commits",
            ticks(machine),
        ),
        (
            "stolen time",
            "the hypervisor gave our cores to others; no setting here helps against it",
            stolen(machine),
        ),
        (
            "NUMA",
            "memory of another node is further away; a shard allocates where it runs",
            Some(numa(machine)),
        ),
    ])
}

fn on_memory(machine: &Machine, config: &Config) -> Vec<Advice> {
    known([
        (
            "memory",
            "what shards may hold together should leave the kernel its page cache",
            Some(memory(machine, config)),
        ),
        ("swap", "a shard that waits for a page from swap stops all its connections", swap(machine)),
        (
            "huge pages",
            "the kernel copies small pages together while it holds the process up, and idle connections' memory grows",
            huge_pages(machine),
        ),
    ])
}

fn on_limits(machine: &Machine, config: &Config) -> Vec<Advice> {
    known([
        (
            "open files",
            "each connection is a descriptor; fewer descriptors mean fewer connections than configured",
            open_files(machine, config),
        ),
        (
            "locked memory",
            "io_uring's buffers are locked; without the room they are used unregistered, which costs more for each write",
            locked(machine, config),
        ),
        ("io_uring", "network and log go through io_uring", io_uring(machine)),
    ])
}

fn on_network(machine: &Machine, config: &Config) -> Vec<Advice> {
    let mut all = known([
        (
            "accept queue",
            "connections that come at once wait here; what does not fit is dropped and tries again after a second",
            backlog(machine, "net.core.somaxconn"),
        ),
        (
            "half-open connections",
            "handshakes that are under way wait here",
            backlog(machine, "net.ipv4.tcp_max_syn_backlog"),
        ),
        (
            "speed after idling",
            "without 0 a connection that was idle starts slowly again, and mail programs are idle most of the time",
            slow_start(machine),
        ),
        ("local ports", "each connection to another server takes a port", ports(machine)),
        (
            "connection tracking",
            "each connection is an entry of the firewall's table; when that is full, new ones are dropped",
            conntrack(machine, config),
        ),
    ]);
    for card in &machine.cards {
        all.extend(known([(
            "network card",
            "packets that arrive on few cores are work for those cores only, and shards there have less time",
            Some(network(machine, card)),
        )]));
    }
    all
}

fn on_disk(machine: &Machine) -> Vec<Advice> {
    known([
        (
            "store's file system",
            "a flush must reach the disk, and a log wants files that are overwritten in place",
            Some(file_system(machine)),
        ),
        ("store's disk", "each commit waits for a flush", disk_kind(machine)),
        ("disk scheduler", "flushes and short writes should not wait behind sorting", scheduler(machine)),
    ])
}

fn good(found: impl Into<String>) -> Found {
    (Verdict::Good, found.into(), None)
}

fn consider(found: impl Into<String>, set: impl Into<String>) -> Found {
    (Verdict::Consider, found.into(), Some(set.into()))
}

fn set(found: impl Into<String>, set: impl Into<String>) -> Found {
    (Verdict::Set, found.into(), Some(set.into()))
}

/// A kernel setting that lasts.
fn sysctl(name: &str, value: impl std::fmt::Display) -> String {
    format!("sysctl -w {name}={value}   (and in /etc/sysctl.d/60-angarium.conf)")
}

/// How many shards the configuration gives on this machine.
fn shard_count(machine: &Machine, config: &Config) -> usize {
    let cores = config.cpus().map_or(machine.allowed.len(), |cores| cores.len());
    if config.server.shards == 0 { cores.max(1) } else { usize::from(config.server.shards) }
}

/// The cores for shards: one thread of each physical core, and where there are many of them all but the first, which
/// takes most interrupts by default.
fn cores_for_shards(machine: &Machine) -> &[usize] {
    let physical = &machine.physical;
    if physical.len() < HELPER_CORE_FROM { physical } else { physical.get(1..).unwrap_or(physical) }
}

fn shards(machine: &Machine, config: &Config) -> Found {
    let has = shard_count(machine, config);
    let wanted = cores_for_shards(machine);
    let found = format!("{has} shard(s) for {} physical core(s)", machine.physical.len());
    let setting = format!("[server] shards = {}, cpus = \"{}\"", wanted.len(), list(wanted));
    if has > machine.allowed.len() {
        return set(found, setting);
    }
    let cores = config.cpus().unwrap_or_else(|| machine.allowed.clone());
    let shares_a_core = cores.iter().any(|core| !machine.physical.contains(core));
    let is_whole = machine.physical.len() >= HELPER_CORE_FROM && has >= machine.physical.len();
    if shares_a_core || is_whole { consider(found, setting) } else { good(found) }
}

/// Numbers in the form that settings take.
fn list(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let part = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

fn quota(machine: &Machine) -> Option<Found> {
    let quota = machine.quota_cores?;
    Some(consider(
        format!("a cgroup allows {quota:.1} of {} cores", machine.allowed.len()),
        "AllowedCPUs= instead of CPUQuota= in the systemd unit (a cpuset in a container)",
    ))
}

fn memory(machine: &Machine, config: &Config) -> Found {
    let shards = shard_count(machine, config) as u64;
    let each =
        (config.limits.content_bytes_max + 2 * config.store.fresh_bytes_max) as u64 + SHARD_BYTES_BESIDE;
    let (most, has) = (shards * each, machine.memory_bytes);
    let found = format!("at most {} MiB for {shards} shard(s) of {} MiB", most >> 20, has >> 20);
    if most <= has / 2 {
        return good(found);
    }
    let content = (has / 2 / shards).saturating_sub(each - config.limits.content_bytes_max as u64);
    let least = 2 * *config.limits.message_bytes_max.get_ref() as u64;
    let setting = format!("[limits] content_bytes_max = {}", content.max(least));
    if most > has { set(found, setting) } else { consider(found, setting) }
}

fn swap(machine: &Machine) -> Option<Found> {
    let swappiness = machine.sysctl("vm.swappiness")?;
    if machine.swap_bytes == 0 {
        return Some(good("none"));
    }
    let found = format!("{} MiB, vm.swappiness {swappiness}", machine.swap_bytes >> 20);
    Some(if swappiness <= 10 { good(found) } else { consider(found, sysctl("vm.swappiness", 1)) })
}

fn open_files(machine: &Machine, config: &Config) -> Option<Found> {
    let has = machine.open_files?;
    let shards = shard_count(machine, config);
    let listeners = config.addresses().len() * shards;
    let needs = (config.limits.connections_max + 2 * (listeners + shards)) as u64 + DESCRIPTORS_BESIDE;
    let words = if has == u64::MAX { "unlimited".to_owned() } else { has.to_string() };
    let found = format!("{words}, and {needs} are needed for {} connections", config.limits.connections_max);
    Some(if has >= needs {
        good(found)
    } else {
        set(found, format!("LimitNOFILE={needs} in the systemd unit"))
    })
}

fn locked(machine: &Machine, config: &Config) -> Option<Found> {
    let has = machine.locked_bytes?;
    let needs = LOCKED_BYTES_MIN + LOCKED_BYTES_A_SHARD * shard_count(machine, config) as u64;
    let words = if has == u64::MAX { "unlimited".to_owned() } else { format!("{} KiB", has >> 10) };
    let found = format!("{words}, and {} KiB let all buffers be registered", needs >> 10);
    let setting = format!("LimitMEMLOCK={}M in the systemd unit", (needs >> 20) + 1);
    Some(match has {
        _ if has >= needs => good(found),
        _ if has >= LOCKED_BYTES_MIN => consider(found, setting),
        _ => set(found, setting),
    })
}

fn io_uring(machine: &Machine) -> Option<Found> {
    let value = machine.sysctl("kernel.io_uring_disabled")?;
    let found = format!("kernel.io_uring_disabled is {value}");
    Some(if value == 0 { good(found) } else { set(found, sysctl("kernel.io_uring_disabled", 0)) })
}

fn backlog(machine: &Machine, name: &'static str) -> Option<Found> {
    let value = machine.sysctl(name)?;
    let found = format!("{name} is {value}");
    Some(if value >= LISTEN_BACKLOG { good(found) } else { consider(found, sysctl(name, LISTEN_BACKLOG)) })
}

fn slow_start(machine: &Machine) -> Option<Found> {
    let name = "net.ipv4.tcp_slow_start_after_idle";
    let value = machine.sysctl(name)?;
    let found = format!("{name} is {value}");
    Some(if value == 0 { good(found) } else { consider(found, sysctl(name, 0)) })
}

fn ports(machine: &Machine) -> Option<Found> {
    let range = machine.sysctls.get("net.ipv4.ip_local_port_range")?;
    let mut ends = range.split_whitespace().map(|end| end.parse::<i64>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    let found = format!("{first} to {last}");
    let is_wide = last - first >= PORT_RANGE_MIN;
    Some(if is_wide {
        good(found)
    } else {
        consider(found, sysctl("net.ipv4.ip_local_port_range", "\"10240 65000\""))
    })
}

fn conntrack(machine: &Machine, config: &Config) -> Option<Found> {
    if !machine.has_conntrack {
        return Some(good("not in use"));
    }
    let name = "net.netfilter.nf_conntrack_max";
    let value = machine.sysctl(name)?;
    // Closed connections stay in the table for a while.
    let needs = i64::try_from(2 * config.limits.connections_max).unwrap_or(i64::MAX);
    let found = format!("{name} is {value}, for {} connections", config.limits.connections_max);
    Some(if value >= needs { good(found) } else { set(found, sysctl(name, needs)) })
}

fn governor(machine: &Machine) -> Option<Found> {
    let governor = machine.governor.as_deref()?;
    let found = format!("governor {governor}");
    let is_quick = governor == "performance";
    Some(if is_quick { good(found) } else { consider(found, "cpupower frequency-set -g performance") })
}

fn clock(machine: &Machine) -> Option<Found> {
    let source = machine.clock_source.as_deref()?;
    let is_quick = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"].contains(&source);
    let setting = "clocksource=tsc on the kernel's command line, if the processor's counter is steady";
    Some(if is_quick { good(source) } else { consider(source, setting) })
}

fn ticks(machine: &Machine) -> Option<Found> {
    let hz = machine.hz?;
    let found = format!("{hz} a second");
    let setting = "a kernel with CONFIG_HZ=1000, or preempt=lazy or preempt=full on its command line; else keep a core free of shards";
    Some(if hz >= TICKS_MIN { good(found) } else { consider(found, setting) })
}

fn stolen(machine: &Machine) -> Option<Found> {
    let percent = machine.stolen_percent?;
    let found = format!("{percent:.1} % of the time since start");
    let setting = "dedicated cores for this virtual machine, at whoever runs it";
    Some(if percent <= STOLEN_PERCENT_MAX { good(found) } else { consider(found, setting) })
}

fn huge_pages(machine: &Machine) -> Option<Found> {
    let policy = machine.huge_pages.as_deref()?;
    let setting = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled   (or transparent_hugepage=madvise on the kernel's command line)";
    Some(if policy == "always" { consider(policy, setting) } else { good(policy) })
}

fn file_system(machine: &Machine) -> Found {
    let disk = &machine.disk;
    let found = format!("{} on {}", disk.file_system, disk.mount);
    if disk.file_system.is_empty() {
        return consider("unknown", "--data DIR names the store's folder");
    }
    if ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "tmpfs", "ramfs"].contains(&disk.file_system.as_str()) {
        return set(found, "ext4 or XFS on a local disk for [server] data");
    }
    let has = |option: &str| disk.options.split(',').any(|one| one == option);
    if has("nobarrier") || has("barrier=0") {
        return set(format!("{found}, without barriers"), "mount without nobarrier and barrier=0");
    }
    if has("data=journal") {
        return consider(
            format!("{found}, data=journal"),
            "mount with data=ordered: every byte is written twice otherwise",
        );
    }
    if ["btrfs", "zfs", "overlay", "bcachefs"].contains(&disk.file_system.as_str()) {
        return consider(
            found,
            "ext4 or XFS for [server] data: here each overwrite takes new blocks, and a flush costs a commit",
        );
    }
    good(found)
}

fn disk_kind(machine: &Machine) -> Option<Found> {
    let disk = &machine.disk;
    let kind = if disk.is_rotational? { "rotational" } else { "not rotational" };
    let cache = disk.cache.as_deref().unwrap_or("unknown cache");
    let found = format!("{}, {kind}, {cache}", disk.device.as_deref().unwrap_or("unknown"));
    // Virtual disks say that they rotate without knowing what is below them.
    let is_virtual =
        disk.device.as_deref().is_some_and(|name| name.starts_with("vd") || name.starts_with("xvd"));
    let setting = "an NVMe disk with protection against power loss for [server] data";
    Some(if disk.is_rotational? && !is_virtual { consider(found, setting) } else { good(found) })
}

fn scheduler(machine: &Machine) -> Option<Found> {
    let scheduler = machine.disk.scheduler.as_deref()?;
    let device = machine.disk.device.as_deref().unwrap_or("DEVICE");
    let is_plain = ["none", "mq-deadline", "kyber"].contains(&scheduler);
    let setting = format!("echo none > /sys/block/{device}/queue/scheduler   (for a partition, of its disk)");
    Some(if is_plain { good(scheduler) } else { consider(scheduler, setting) })
}

fn numa(machine: &Machine) -> Found {
    let nodes = machine.nodes.len();
    if nodes < 2 {
        return good("one node");
    }
    let used =
        machine.nodes.iter().filter(|(_, cores)| cores.iter().any(|core| machine.allowed.contains(core)));
    let found = format!("{nodes} nodes, shards on {}", used.count());
    let local = machine.cards.iter().find_map(|card| card.node);
    let cores = machine.nodes.iter().find(|(node, _)| Some(*node) == local).map(|(_, cores)| list(cores));
    let setting = cores.map_or_else(
        || {
            "one server for each node, or [server] cpus of the node that the card and the disk are on"
                .to_owned()
        },
        |cores| format!("[server] cpus = \"{cores}\" first: the node that the network card is on"),
    );
    consider(found, setting)
}

fn network(machine: &Machine, card: &Card) -> Found {
    let found = format!(
        "{} has {} receive queue(s), interrupts on core(s) {}",
        card.name,
        card.receive_queues,
        if card.interrupt_cores.is_empty() { "unknown".to_owned() } else { list(&card.interrupt_cores) }
    );
    let cores = machine.allowed.len();
    if card.receive_queues >= cores.min(8) || card.is_spread {
        return good(found);
    }
    let mask = machine.allowed.iter().filter(|core| **core < 64).fold(0_u64, |mask, core| mask | 1 << core);
    consider(
        found,
        format!(
            "ethtool -L {0} combined {cores}   (as many as the card has)\nor spread by software: for q in /sys/class/net/{0}/queues/rx-*/rps_cpus; do echo {mask:x} > $q; done",
            card.name
        ),
    )
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
