//! What can go wrong in the world below. A broken invariant of ours is a panic instead.

use std::fmt;
use std::sync::Arc;

/// Why the store refused or failed. Small, and cheap to copy to every waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The operating system refused an operation.
    Io {
        /// What was asked: `open`, `read`, `write`, `flush`, ...
        operation: &'static str,
        /// The file, relative to the store.
        file: Arc<str>,
        /// The system's error number.
        code: i32,
    },
    /// What was read is not what was written.
    Corrupt {
        /// The kind of thing: `frame`, `body`, `run`, `manifest`, `store`.
        what: &'static str,
        /// The file, relative to the store.
        file: Arc<str>,
        /// Where in the file, bytes.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// The device has no room.
    Full,
    /// The process, or the machine, has no file descriptor left.
    NoDescriptors,
    /// A transaction does not fit a segment, or a key or value is longer than its limit.
    TooLarge,
    /// An earlier write or flush failed; nothing is accepted any more and the process must end.
    Poisoned,
    /// Another process has the store open.
    Locked,
    /// The store has a format this program does not know.
    Version {
        /// The store's format.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// The options do not fit the store or are out of bounds; says which.
    Options {
        /// Which option, and what it must be.
        what: &'static str,
    },
}

impl Error {
    /// True when the same call may succeed later without anybody repairing the store.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Full | Error::NoDescriptors | Error::Locked)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, file, code } => {
                let cause = std::io::Error::from_raw_os_error(*code);
                write!(f, "cannot {operation} {file}: {cause}")
            }
            Error::Corrupt { what, file, offset, expected } => {
                write!(f, "corrupt {what} in {file} at byte {offset}: expected {expected}")
            }
            Error::Full => f.write_str("the device that holds the store is full"),
            Error::NoDescriptors => f.write_str("no more files can be opened: the limit is reached"),
            Error::TooLarge => f.write_str("the transaction, key or value is larger than the store allows"),
            Error::Poisoned => f.write_str("an earlier write failed; the store must be opened anew"),
            Error::Locked => f.write_str("another process has the store open"),
            Error::Version { found, known } => {
                write!(f, "the store has format {found}; this program knows up to {known}")
            }
            Error::Options { what } => write!(f, "options do not fit the store: {what}"),
        }
    }
}

impl std::error::Error for Error {}
