//! Why a run failed.

use std::{fmt, io};

/// Any of these ends the run: a figure beside a wrong answer is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The command line asks for what cannot be.
    Usage(String),
    /// This machine or the network refused something.
    World(String),
    /// The server answered wrongly, or not at all.
    Answer(String),
}

impl Wrong {
    /// A system call that failed, and at what.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::World(format!("{what}: {error}"))
    }

    /// An answer that was not the one expected.
    pub(crate) fn answer(expected: &str, got: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(got.get(..200).unwrap_or(got)).into_owned();
        Self::Answer(format!("expected {expected}, the server said {shown:?}"))
    }

    /// The same, with what was being done.
    pub(crate) fn during(self, what: &str) -> Self {
        match self {
            Self::Usage(text) => Self::Usage(format!("{what}: {text}")),
            Self::World(text) => Self::World(format!("{what}: {text}")),
            Self::Answer(text) => Self::Answer(format!("{what}: {text}")),
        }
    }

    /// As in sysexits.h: 64 usage, 74 input or output, 76 protocol.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::World(_) => 74,
            Self::Answer(_) => 76,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::World(text) => write!(f, "failed: {text}"),
            Self::Answer(text) => write!(f, "wrong answer: {text}"),
        }
    }
}
