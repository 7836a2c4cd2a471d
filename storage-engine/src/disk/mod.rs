//! The only module that touches the world: an enum of a folder driven by io_uring and a simulated disk.
//!
//! File operations here block; they serve opening, checkpoints and checks. What a running shard does goes
//! through a [`Port`]: operations are given, submitted together, and their completions reaped.

mod ahead;
mod buffer;
mod files;
mod map;
mod port;
mod random;
mod simulated;
mod simulated_port;
mod uring;
mod views;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::Error;

pub(crate) use ahead::Ahead;
pub(crate) use buffer::Buffer;
pub(crate) use files::FileWriter;
pub(crate) use map::Map;
pub(crate) use port::{Completion, Done, Durable, Port, PortOptions, ReadPart};
pub use simulated::{Event, Simulated};

/// Where the store is: a folder driven by io_uring, or a simulated disk. A handle; clones name the same place.
#[derive(Clone, Debug)]
pub struct Disk(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Folder(Arc<Root>),
    Simulated(Simulated),
}

/// A folder, and its lock while somebody of this process holds it.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    lock: Mutex<Weak<File>>,
}

/// Keeps other processes out of the store until it is dropped.
pub struct StoreLock(LockKind);

enum LockKind {
    /// Closing the last descriptor unlocks; rings hold one too.
    Folder(Arc<File>),
    Simulated(Simulated),
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LockKind::Folder(file) => write!(f, "StoreLock({file:?})"),
            LockKind::Simulated(simulated) => write!(f, "StoreLock({simulated:?})"),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        if let LockKind::Simulated(simulated) = &self.0 {
            simulated.unlock();
        }
    }
}

impl Disk {
    /// A folder of the real file system; made by `prepare` when it is not there.
    pub fn folder(path: &Path) -> Disk {
        Disk(Kind::Folder(Arc::new(Root { path: path.to_path_buf(), lock: Mutex::default() })))
    }

    /// A simulated disk.
    pub fn simulated(simulated: &Simulated) -> Disk {
        Disk(Kind::Simulated(simulated.clone()))
    }

    /// Whether operations end inside the call that submits them.
    pub(crate) fn is_instant(&self) -> bool {
        matches!(&self.0, Kind::Simulated(simulated) if simulated.is_instant())
    }

    /// Makes the store's folder if needed and locks it; `Error::Locked` when somebody else has it.
    pub(crate) fn lock(&self) -> Result<StoreLock, Error> {
        match &self.0 {
            Kind::Folder(root) => {
                let lock = Arc::new(files::lock(&root.path)?);
                *root.lock.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&lock);
                Ok(StoreLock(LockKind::Folder(lock)))
            }
            Kind::Simulated(simulated) => {
                if simulated.lock() {
                    return Ok(StoreLock(LockKind::Simulated(simulated.clone())));
                }
                Err(Error::Locked)
            }
        }
    }

    /// Makes the name of the store's own folder durable, and the names of the folders it is in: any of them may have been
    /// made for it just before.
    pub(crate) fn flush_parents(&self) -> Result<(), Error> {
        match &self.0 {
            Kind::Folder(root) => files::flush_parents(&root.path),
            Kind::Simulated(_) => Ok(()),
        }
    }

    /// Makes a folder if it is not there; `flush_folder` of its parent makes that durable.
    pub(crate) fn make_folder(&self, name: &str) -> Result<(), Error> {
        match &self.0 {
            Kind::Folder(root) => files::make_folder(&root.path, name),
            // The simulation keeps whole names, so folders need no record of their own.
            Kind::Simulated(_) => Ok(()),
        }
    }

    /// Names in a folder, without the folder's own; empty when it is not there.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        match &self.0 {
            Kind::Folder(root) => files::list(&root.path, folder),
            Kind::Simulated(simulated) => Ok(simulated.list(folder)),
        }
    }

    /// The bytes from `offset` to the end; none when there is no such file.
    pub(crate) fn read_from(&self, name: &str, offset: u64) -> Result<Option<Vec<u8>>, Error> {
        match &self.0 {
            Kind::Folder(root) => files::read_from(&root.path, name, offset),
            Kind::Simulated(simulated) => Ok(simulated.read_from(name, offset)),
        }
    }

    /// Begins to read a file forward from the start of a block on, past the system's memory; none when there is no such
    /// file.
    pub(crate) fn read_ahead(&self, name: &str, offset: u64) -> Result<Option<Ahead>, Error> {
        match &self.0 {
            Kind::Folder(root) => Ahead::folder(&root.path, name, offset),
            Kind::Simulated(simulated) => Ok(Ahead::simulated(simulated, name, offset)),
        }
    }

    /// Has the system forget what of a file, from `offset` on, it has in memory and on the disk too: what was written past
    /// its memory may not be in it. Advice: nothing fails.
    pub(crate) fn forget(&self, name: &str, offset: u64) {
        match &self.0 {
            Kind::Folder(root) => files::forget(&root.path, name, offset, 0),
            Kind::Simulated(simulated) => simulated.forget(name),
        }
    }

    /// At most `length` bytes from `offset` on; fewer at the end of the file.
    pub(crate) fn read_at(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Kind::Folder(root) => files::read_at(&root.path, name, offset, length),
            Kind::Simulated(simulated) => simulated.read_at(name, offset, length),
        }
    }

    /// Bytes of a file; none when there is no such file.
    pub(crate) fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        match &self.0 {
            Kind::Folder(root) => files::length(&root.path, name),
            Kind::Simulated(simulated) => Ok(simulated.length(name)),
        }
    }

    /// Puts a whole file in place of an old one, durable at return: write new, flush, rename, flush the folder.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut writer = self.create(name)?;
        writer.append(bytes)?;
        writer.finish()?;
        self.flush_folder(folder_of(name))
    }

    /// Begins a file that takes its name, whole and flushed, at `FileWriter::finish`.
    pub(crate) fn create(&self, name: &str) -> Result<FileWriter, Error> {
        match &self.0 {
            Kind::Folder(root) => FileWriter::folder(&root.path, name),
            Kind::Simulated(simulated) => FileWriter::simulated(simulated, name),
        }
    }

    /// Maps a file that never changes again.
    pub(crate) fn map(&self, name: &str) -> Result<Map, Error> {
        match &self.0 {
            Kind::Folder(root) => map::map_file(&root.path, name),
            Kind::Simulated(simulated) => {
                simulated.open()?;
                let bytes = simulated.read_from(name, 0).ok_or_else(|| missing("map", name))?;
                Ok(Map::memory(&bytes))
            }
        }
    }

    /// Removes a file that means nothing any more. A full device may want room for it (copy on write): then it stays,
    /// and nothing is wrong.
    pub(crate) fn remove_leftover(&self, name: &str) -> Result<(), Error> {
        match self.remove(name) {
            Err(Error::Full) => Ok(()),
            removed => removed,
        }
    }

    /// Removes a file; the next flush of its folder makes that durable.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match &self.0 {
            Kind::Folder(root) => files::remove(&root.path, name),
            Kind::Simulated(simulated) => {
                simulated.remove(name);
                Ok(())
            }
        }
    }

    /// Makes a file's content durable.
    pub(crate) fn flush(&self, name: &str) -> Result<(), Error> {
        match &self.0 {
            Kind::Folder(root) => files::flush(&root.path, name),
            Kind::Simulated(simulated) => simulated.flush(name),
        }
    }

    /// Makes a folder's names durable; the empty name is the store itself.
    pub(crate) fn flush_folder(&self, folder: &str) -> Result<(), Error> {
        match &self.0 {
            Kind::Folder(root) => files::flush_folder(&root.path, folder),
            Kind::Simulated(simulated) => simulated.flush_folder(folder),
        }
    }

    /// Unpredictable bytes: the name of a new store, nothing secret.
    pub(crate) fn new_id(&self) -> Result<[u8; 16], Error> {
        match &self.0 {
            Kind::Folder(_) => files::random_id(),
            Kind::Simulated(simulated) => Ok(simulated.new_id()),
        }
    }

    /// Opens a shard's way to the disk.
    pub(crate) fn port(&self, options: &PortOptions) -> Result<Port, Error> {
        match &self.0 {
            Kind::Folder(root) => {
                let lock = root.lock.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                Port::uring(&root.path, options, lock.as_deref())
            }
            Kind::Simulated(simulated) => Ok(Port::simulated(simulated, options)),
        }
    }
}

/// The folder part of a name; empty for the store itself.
pub(crate) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// An error for a file that must be there.
pub(crate) fn missing(operation: &'static str, name: &str) -> Error {
    Error::Io { operation, file: name.into(), code: libc::ENOENT }
}
