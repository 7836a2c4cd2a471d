//! What a request's failure is called on the command line.

use crate::{Exit, Failure};

/// A shard is gone.
pub(crate) fn gone() -> Failure {
    Failure::new(Exit::Unavailable, "a shard did not answer; the server's log says why")
}

/// An account refused.
pub(crate) fn failed(error: &account::Error) -> Failure {
    let exit = match error {
        account::Error::NotFound => Exit::NotFound,
        account::Error::Exists => Exit::Exists,
        account::Error::NoSpace | account::Error::Unavailable => Exit::Unavailable,
        account::Error::Corrupt => Exit::Internal,
        account::Error::Denied
        | account::Error::OverQuota
        | account::Error::LimitReached
        | account::Error::InvalidName(_)
        | account::Error::TooLarge => Exit::Data,
    };
    Failure::new(exit, error.to_string())
}
