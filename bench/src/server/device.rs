//! What reached a block device, by the kernel's counters for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::wrong::Wrong;

/// A block device, as its counters' file.
#[derive(Clone, Debug)]
pub(super) struct Device(PathBuf);

/// Counters of a device so far (kernel documentation, block/stat).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    /// Writes completed, after merging.
    pub(crate) writes: u64,
    /// Flushes of the device's cache completed.
    pub(crate) flushes: u64,
}

impl Device {
    pub(super) fn named(name: &str) -> Result<Self, Wrong> {
        let file = Path::new("/sys/class/block").join(name).join("stat");
        if name.contains('/') || !file.exists() {
            return Err(Wrong::Usage(format!("there is no block device {name}")));
        }
        Ok(Self(file))
    }

    /// The device that a folder is on; `None` where it is on none, as in memory.
    pub(super) fn below(folder: &Path) -> Result<Option<Self>, Wrong> {
        let number = fs::metadata(folder).map_err(|error| Wrong::io(folder.display(), &error))?.dev();
        let file = format!("/sys/dev/block/{}:{}/stat", libc::major(number), libc::minor(number));
        Ok(Some(PathBuf::from(file)).filter(|file| file.exists()).map(Self))
    }

    #[allow(unsafe_code)]
    pub(super) fn written(&self) -> Result<Written, Wrong> {
        // SAFETY: has neither arguments nor results.
        unsafe { libc::sync() };
        let text = fs::read_to_string(&self.0).map_err(|error| Wrong::io(self.0.display(), &error))?;
        Ok(parse(&text))
    }
}

impl Written {
    /// What came since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            writes: self.writes.saturating_sub(earlier.writes),
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

fn parse(text: &str) -> Written {
    let fields: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let at = |place: usize| fields.get(place).copied().unwrap_or(0);
    // Sectors are of 512 bytes whatever the device's own are.
    Written { bytes: at(6) * 512, writes: at(4), flushes: at(15) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_read_by_their_places() {
        let text = "   10 1 200 3   40 5 600 7 0 8 9 0 0 0 0 11 12\n";
        let earlier = parse(text);
        assert_eq!(earlier, Written { bytes: 307_200, writes: 40, flushes: 11 });
        let later = Written { bytes: 307_712, writes: 41, flushes: 11 };
        assert_eq!(later.since(&earlier), Written { bytes: 512, writes: 1, flushes: 0 });
    }

    #[test]
    fn a_folder_in_memory_is_on_no_device() {
        assert!(Device::below(Path::new("/proc")).expect("it is there").is_none());
        assert!(Device::below(Path::new("/no/such/folder")).is_err());
        assert!(Device::named("no-such-device").is_err() && Device::named("../block").is_err());
    }
}
