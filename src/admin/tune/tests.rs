//! Advice on machines that are made of files.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A machine's files in a folder of their own, gone at the end.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("angarium-tune-{name}-{}", std::process::id()));
        let _none = fs::remove_dir_all(&folder);
        let root = Self(folder);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n\
                      Max locked memory         8388608              8388608              bytes\n";
        root.write("proc/self/limits", limits)
            .write("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-7\n")
            .write("proc/meminfo", "MemTotal:       16000000 kB\nSwapTotal:             0 kB\n")
            .write("proc/sys/vm/swappiness", "60\n")
            .write("proc/sys/kernel/osrelease", "6.1.0-test\n")
            .write("boot/config-6.1.0-test", "CONFIG_HZ_250=y\nCONFIG_HZ=250\n")
            .write("proc/sys/net/core/somaxconn", "128\n")
            .write("sys/devices/system/cpu/online", "0-7\n");
        for core in 0..8 {
            let pair = core % 4;
            let name = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
            root.write(&name, &format!("{pair},{}\n", pair + 4));
        }
        root
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn machine(&self) -> Machine {
        Machine::read(&self.0, None, Path::new("/")).unwrap()
    }

    fn advice(&self, config: &str) -> Vec<Advice> {
        advise(&self.machine(), &Config::parse(Path::new("a.toml"), config).unwrap())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn about<'a>(advice: &'a [Advice], subject: &str) -> &'a Advice {
    advice.iter().find(|one| one.subject == subject).unwrap_or_else(|| panic!("nothing about {subject}"))
}

#[test]
fn threads_of_one_core_do_not_both_get_a_shard() {
    let root = Root::new("threads");
    assert_eq!(root.machine().physical, [0, 1, 2, 3]);
    let advice = root.advice("");
    let shards = about(&advice, "shards");
    assert_eq!(shards.verdict, Verdict::Consider);
    assert_eq!(shards.set.as_deref(), Some("[server] shards = 3, cpus = \"1-3\""));
    let followed = root.advice("[server]\nshards = 3\ncpus = \"1-3\"\n");
    assert_eq!(about(&followed, "shards").verdict, Verdict::Good);
}

#[test]
fn too_few_descriptors_for_the_configured_connections_must_be_set() {
    let root = Root::new("descriptors");
    let advice = root.advice("");
    assert_eq!(about(&advice, "open files").verdict, Verdict::Set);
    let fewer = root.advice("[limits]\nconnections_max = 50\n[server]\nshards = 1\n");
    // 1,100 beside them is more than the limit whatever is configured.
    assert_eq!(about(&fewer, "open files").verdict, Verdict::Set);
    let limits = "Max open files            65536                 524288               files\n\
                  Max locked memory         unlimited              unlimited              bytes\n";
    root.write("proc/self/limits", limits);
    let advice = root.advice("");
    assert_eq!(about(&advice, "open files").verdict, Verdict::Good);
    assert_eq!(about(&advice, "locked memory").verdict, Verdict::Good);
}

#[test]
fn a_small_machine_is_told_how_much_content_it_can_hold() {
    let root = Root::new("memory");
    root.write("proc/meminfo", "MemTotal:        4000000 kB\nSwapTotal:       1000000 kB\n");
    let advice = root.advice("[server]\nshards = 2\n");
    assert_eq!(about(&advice, "memory").verdict, Verdict::Good);
    assert_eq!(about(&advice, "swap").verdict, Verdict::Consider);
    let advice = root.advice("[server]\nshards = 7\n");
    let memory = about(&advice, "memory");
    assert_eq!(memory.verdict, Verdict::Consider);
    let setting = memory.set.as_deref().unwrap().strip_prefix("[limits] content_bytes_max = ").unwrap();
    let bytes: u64 = setting.parse().unwrap();
    // What is advised fits, and is a configuration that the server takes.
    let advice = root.advice(&format!("[server]\nshards = 7\n[limits]\ncontent_bytes_max = {bytes}\n"));
    assert_eq!(about(&advice, "memory").verdict, Verdict::Good);
}

#[test]
fn a_cgroup_above_ours_limits_us_too() {
    let root = Root::new("cgroup");
    root.write("proc/self/cgroup", "1:cpu:/old\n0::/system.slice/angarium.service\n")
        .write("sys/fs/cgroup/system.slice/memory.max", "1073741824\n")
        .write("sys/fs/cgroup/system.slice/angarium.service/memory.max", "max\n")
        .write("sys/fs/cgroup/system.slice/angarium.service/cpu.max", "150000 100000\n");
    let machine = root.machine();
    assert_eq!(machine.memory_bytes, 1 << 30);
    assert_eq!(machine.quota_cores, Some(1.5));
    let advice = root.advice("");
    assert_eq!(about(&advice, "cores by quota").verdict, Verdict::Consider);
    assert_eq!(about(&advice, "memory").verdict, Verdict::Set);
}

#[test]
fn a_card_with_one_queue_is_told_to_spread_its_packets() {
    let root = Root::new("card");
    root.write("sys/class/net/eth0/device/msi_irqs/41", "msix\n")
        .write("sys/class/net/eth0/queues/rx-0/rps_cpus", "00\n")
        .write("sys/class/net/eth0/queues/tx-0/xps_cpus", "00\n")
        .write("sys/class/net/lo/queues/rx-0/rps_cpus", "0\n")
        .write(
            "proc/interrupts",
            "           CPU0       CPU1\n 41:       7350          0 PCI-MSIX-0000:00:04.0   1-edge      virtio3-rx\n",
        );
    let machine = root.machine();
    assert_eq!(machine.cards.len(), 1);
    assert_eq!((machine.cards[0].receive_queues, &machine.cards[0].interrupt_cores[..]), (1, &[0][..]));
    let network = about(&root.advice(""), "network card").clone();
    assert_eq!(network.verdict, Verdict::Consider);
    assert!(network.set.unwrap().contains("echo ff >"));
    root.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "ff\n");
    assert_eq!(about(&root.advice(""), "network card").verdict, Verdict::Good);
}

#[test]
fn a_store_in_memory_or_on_a_network_must_move() {
    let root = Root::new("store");
    root.write("proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw,discard\n");
    assert_eq!(about(&root.advice(""), "store's file system").verdict, Verdict::Good);
    root.write("proc/self/mountinfo", "27 1 254:0 / / rw - nfs4 server:/mail rw\n");
    assert_eq!(about(&root.advice(""), "store's file system").verdict, Verdict::Set);
    root.write("proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw,nobarrier\n");
    assert_eq!(about(&root.advice(""), "store's file system").verdict, Verdict::Set);
}

#[test]
fn kernel_settings_below_what_is_wanted_come_with_the_command() {
    let root = Root::new("kernel");
    let advice = root.advice("");
    let queue = about(&advice, "accept queue");
    assert_eq!(queue.verdict, Verdict::Consider);
    assert!(queue.set.as_deref().unwrap().starts_with("sysctl -w net.core.somaxconn=1024"));
    assert_eq!(about(&advice, "kernel ticks").verdict, Verdict::Consider);
    root.write("proc/sys/kernel/io_uring_disabled", "2\n");
    assert_eq!(about(&root.advice(""), "io_uring").verdict, Verdict::Set);
}

#[test]
fn a_root_that_is_no_machine_is_an_error() {
    assert!(Machine::read(Path::new("/nonexistent"), None, Path::new("/")).is_err());
    let root = Root::new("gone");
    assert!(Machine::read(&root.0, Some(4_000_000), Path::new("/")).is_err());
}

#[test]
fn this_machine_can_be_read() {
    let machine = Machine::read(Path::new("/"), None, &std::env::temp_dir()).unwrap();
    assert!(!machine.cores.is_empty() && machine.memory_bytes > 0 && !machine.disk.file_system.is_empty());
    let advice = advise(&machine, &Config::default());
    assert!(advice.len() > 10, "{advice:?}");
    assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
}
