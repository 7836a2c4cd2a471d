//! Blocking operations on the files of a real folder, and the writer of whole files.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder_of;
use super::simulated::Simulated;
use crate::error::Error;

/// Bytes gathered before a write of a file that is being made.
const WRITE_BYTES: usize = 256 << 10;

/// How often, and how far apart, a lock that is held is asked for: half a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// Files and folders of a store are for its user alone.
pub(super) const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Our error for the system's. Running out of room or of descriptors are answers of their own, since they can be waited
/// out.
pub(super) fn io_error(operation: &'static str, file: &str, error: &io::Error) -> Error {
    let code = error.raw_os_error().unwrap_or(libc::EIO);
    error_of(operation, file, code)
}

pub(super) fn error_of(operation: &'static str, file: &str, code: i32) -> Error {
    if code == libc::ENOSPC || code == libc::EDQUOT {
        return Error::Full;
    }
    if code == libc::EMFILE || code == libc::ENFILE {
        return Error::NoDescriptors;
    }
    Error::Io { operation, file: file.into(), code }
}

pub(super) fn lock(root: &Path) -> Result<File, Error> {
    make_private(root).map_err(|error| io_error("make", "the store's folder", &error))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(root.join("lock"))
        .map_err(|error| io_error("open", "lock", &error))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A process that was killed keeps the lock until its last write has ended.
            Err(TryLockError::WouldBlock) => wait(),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", "lock", &error)),
        }
    }
    Err(Error::Locked)
}

#[allow(clippy::disallowed_methods, reason = "before any shard runs")]
fn wait() {
    std::thread::sleep(LOCK_WAIT);
}

pub(super) fn make_folder(root: &Path, name: &str) -> Result<(), Error> {
    make_private(&root.join(name)).map_err(|error| io_error("make", name, &error))
}

/// Mail is its owner's: nobody else on the machine may look in.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

pub(super) fn list(root: &Path, folder: &str) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", folder, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("list", folder, &error))?;
        // A name that is not UTF-8 is none of ours.
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

pub(super) fn read_from(root: &Path, name: &str, offset: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut file = match File::open(root.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", name, &error)),
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(|error| io_error("read", name, &error))?;
    Ok(Some(bytes))
}

/// Takes whole pages of a file out of the page cache, but for what is still to be written; 0 bytes for all from `offset` on.
pub(super) fn forget(root: &Path, name: &str, offset: u64, bytes: u64) {
    advise(root, name, offset, bytes, libc::POSIX_FADV_DONTNEED);
}

fn advise(root: &Path, name: &str, offset: u64, bytes: u64, advice: i32) {
    let Ok(file) = File::open(root.join(name)) else { return };
    #[allow(unsafe_code)]
    // SAFETY: takes a descriptor and numbers, no memory of ours. Advice: a refusal changes nothing.
    let _ =
        unsafe { libc::posix_fadvise(file.as_raw_fd(), offset.cast_signed(), bytes.cast_signed(), advice) };
}

pub(super) fn read_at(root: &Path, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let file = File::open(root.join(name)).map_err(|error| io_error("open", name, &error))?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error("read", name, &error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

pub(super) fn length(root: &Path, name: &str) -> Result<Option<u64>, Error> {
    match fs::metadata(root.join(name)) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", name, &error)),
    }
}

pub(super) fn remove(root: &Path, name: &str) -> Result<(), Error> {
    match fs::remove_file(root.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", name, &error)),
        _ => Ok(()),
    }
}

pub(super) fn reserve(file: &File, name: &str, end: u64) -> Result<(), Error> {
    #[allow(unsafe_code)]
    // SAFETY: takes a descriptor and numbers, no memory of ours.
    let result =
        unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, end.cast_signed()) };
    let error = io::Error::last_os_error();
    // A file system that cannot reserve finds out when it is written.
    if result == 0 || error.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return Ok(());
    }
    Err(io_error("reserve", name, &error))
}

pub(super) fn flush(root: &Path, name: &str) -> Result<(), Error> {
    File::open(root.join(name))
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error("flush", name, &error))
}

pub(super) fn flush_folder(root: &Path, folder: &str) -> Result<(), Error> {
    File::open(root.join(folder))
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error("flush", folder, &error))
}

pub(super) fn flush_parents(root: &Path) -> Result<(), Error> {
    let failed = |error| io_error("flush", "the folders of the store", &error);
    let root = fs::canonicalize(root).map_err(failed)?;
    for parent in root.ancestors().skip(1) {
        match File::open(parent).and_then(|folder| folder.sync_all()) {
            Ok(()) => {}
            // A folder that may not be read, or is on a file system that has nothing to flush, was not made by us.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL | libc::EROFS)) => {
                break;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

pub(super) fn random_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut id))
        .map_err(|error| io_error("read", "/dev/urandom", &error))?;
    Ok(id)
}

/// A file being made, appended to and then named. Dropped before that, it leaves nothing: on a full device what was
/// written of it is room that others wait for.
#[derive(Debug)]
pub(crate) struct FileWriter {
    target: Target,
    name: String,
    gathered: Vec<u8>,
    is_named: bool,
}

#[derive(Debug)]
enum Target {
    Folder { root: PathBuf, file: File },
    Simulated { disk: Simulated, offset: u64 },
}

impl FileWriter {
    pub(super) fn folder(root: &Path, name: &str) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(FILE_MODE)
            .open(root.join(format!("{name}.new")))
            .map_err(|error| io_error("make", name, &error))?;
        Ok(Self {
            target: Target::Folder { root: root.into(), file },
            name: name.into(),
            gathered: Vec::new(),
            is_named: false,
        })
    }

    pub(super) fn simulated(disk: &Simulated, name: &str) -> Result<Self, Error> {
        disk.create(&format!("{name}.new"))?;
        let target = Target::Simulated { disk: disk.clone(), offset: 0 };
        Ok(Self { target, name: name.into(), gathered: Vec::new(), is_named: false })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < WRITE_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Flushes the content, then gives the file its name. The name is durable after a flush of the folder.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.write()?;
        let new = format!("{}.new", self.name);
        match &mut self.target {
            Target::Folder { root, file } => {
                file.sync_all().map_err(|error| io_error("flush", &self.name, &error))?;
                fs::rename(root.join(&new), root.join(&self.name))
                    .map_err(|error| io_error("rename", &self.name, &error))?;
            }
            Target::Simulated { disk, .. } => {
                disk.flush(&new)?;
                disk.rename(&new, &self.name)?;
            }
        }
        self.is_named = true;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        match &mut self.target {
            Target::Folder { file, .. } => {
                file.write_all(&self.gathered).map_err(|error| io_error("write", &self.name, &error))?;
            }
            Target::Simulated { disk, offset } => {
                disk.write(&format!("{}.new", self.name), *offset, &self.gathered)?;
                *offset += self.gathered.len() as u64;
            }
        }
        self.gathered.clear();
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        let new = format!("{}.new", self.name);
        match &self.target {
            // A file that stays means nothing, and is overwritten by the next attempt.
            Target::Folder { root, .. } => drop(fs::remove_file(root.join(new))),
            Target::Simulated { disk, .. } => disk.remove(&new),
        }
    }
}

/// Opens the folder part of a name, for flushing it.
pub(super) fn open_folder(root: &Path, name: &str) -> Result<File, Error> {
    File::open(root.join(folder_of(name))).map_err(|error| io_error("open", name, &error))
}
