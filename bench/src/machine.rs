//! What the run ran on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};

/// The machine, the kernel, and what `data` lies on. What this machine does not tell is `null`.
pub(crate) fn machine(data: &Path) -> Value {
    let cpus = read("/proc/cpuinfo").unwrap_or_default();
    let memory = read("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": cpu_field(&cpus, "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "is_virtual": cpu_field(&cpus, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        "memory_kib": total.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "hz": kernel_hz(&read(format!("/boot/config-{kernel}")).unwrap_or_default()),
        "system": system(&read("/etc/os-release").unwrap_or_default()),
        "kernel": kernel,
        "storage": storage(data),
    })
}

/// A small file without the white space around it.
fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A field of the first processor that has it.
fn cpu_field<'a>(cpus: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpus.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim_end() == name).map(|(_, value)| value.trim())
}

/// Timer ticks a second, from the kernel's configuration.
fn kernel_hz(configuration: &str) -> Option<u32> {
    configuration.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")).and_then(|hz| hz.parse().ok())
}

fn system(release: &str) -> Option<&str> {
    release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"'))
}

/// The file system below a folder, and its device.
fn storage(folder: &Path) -> Value {
    let Ok(folder) = fs::canonicalize(folder) else { return Value::Null };
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = mount_of(&mounts, &folder) else { return Value::Null };
    let device = fs::metadata(&folder).map(|data| block_device(data.dev())).unwrap_or_default();
    json!({
        "file_system": mount.kind,
        "source": mount.source,
        "options": mount.options,
        "device": device.name,
        "model": device.model,
        "write_cache": device.write_cache,
        "is_rotational": device.is_rotational,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    kind: &'a str,
    source: &'a str,
    options: &'a str,
}

/// The mount that holds `folder`: the one with the longest path, and of equals the last. The line's form is in
/// proc_pid_mountinfo(5).
fn mount_of<'a>(mounts: &'a str, folder: &Path) -> Option<Mount<'a>> {
    let holding = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let point = left.get(4)?.replace("\\040", " ");
        let mut right = right.split(' ');
        let mount = Mount { kind: right.next()?, source: right.next()?, options: left.get(5)? };
        folder.starts_with(&point).then_some((point.len(), mount))
    });
    holding.max_by_key(|(length, _)| *length).map(|(_, mount)| mount)
}

#[derive(Debug, Default)]
struct Device {
    name: Option<String>,
    model: Option<String>,
    write_cache: Option<String>,
    is_rotational: Option<bool>,
}

/// A block device by its number. A partition's properties are those of the disk that it is on.
fn block_device(number: u64) -> Device {
    let at = format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number));
    let Ok(at) = fs::canonicalize(at) else { return Device::default() };
    let disk = if at.join("queue").exists() { Some(at.as_path()) } else { at.parent() };
    let of_disk = |name: &str| disk.and_then(|disk| read(disk.join(name)));
    Device {
        name: at.file_name().map(|name| name.to_string_lossy().into_owned()),
        model: of_disk("device/model"),
        write_cache: of_disk("queue/write_cache"),
        is_rotational: of_disk("queue/rotational").map(|flag| flag == "1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_with_the_longest_path_holds_a_folder() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
                      23 22 0:5 / /dev rw - devtmpfs devtmpfs rw\n\
                      24 22 0:6 / /data\\040x rw,noatime shared:1 - xfs /dev/nvme0n1 rw";
        let at = |folder: &str| mount_of(mounts, Path::new(folder)).map(|mount| (mount.kind, mount.source));
        assert_eq!(at("/data x/mail"), Some(("xfs", "/dev/nvme0n1")));
        assert_eq!(at("/data"), Some(("ext4", "/dev/root")));
        assert_eq!(mount_of("nonsense", Path::new("/")), None);
    }

    #[test]
    fn fields_are_found_by_their_names() {
        let cpus = "processor\t: 0\nmodel name\t: A Chip\nmodel\t\t: 7\nflags\t\t: fpu hypervisor\n";
        assert_eq!(cpu_field(cpus, "model name"), Some("A Chip"));
        assert_eq!(cpu_field(cpus, "model"), Some("7"));
        assert_eq!(kernel_hz("# x\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n"), Some(250));
        assert_eq!(system("NAME=x\nPRETTY_NAME=\"Debian 13\"\n"), Some("Debian 13"));
    }

    #[test]
    fn this_machine_tells_its_cores_and_kernel() {
        let machine = machine(Path::new("."));
        assert!(machine["cores"].as_u64() > Some(0) && machine["kernel"].is_string(), "{machine}");
        assert!(machine["storage"]["file_system"].is_string(), "{machine}");
    }
}
