//! How the program ends, in one place. The numbers are those of sysexits(3), which mail systems
//! have always used.

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// Something was found wrong (check), or some of the work could not be done.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Input data is wrong.
    Data = 65,
    /// The thing named is not there.
    NotFound = 67,
    /// The machine or the store cannot serve now.
    Unavailable = 69,
    /// The store or this program is broken.
    Internal = 70,
    /// The machine lacks something we need.
    System = 71,
    /// The thing to make is there already.
    Exists = 73,
    /// A file or socket could not be read or written.
    Io = 74,
    /// It may work later.
    TempFail = 75,
    /// The configuration file is wrong.
    Config = 78,
}
