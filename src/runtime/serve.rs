//! The life of the server process, from the first look at the machine to the last flush.

use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::executor::{ShardSetup, Shards, ShardsConfig, StartError};
use crate::preflight::{Unready, preflight};
use crate::signals::{Signal, Signals};

/// What the process needs to know of itself; what it serves is the context's business.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The shards.
    pub shards: ShardsConfig,
    /// Files and connections that may be open at once.
    pub descriptors: u64,
    /// How long sessions may take to end when the server stops.
    pub grace: Duration,
}

/// Why the server does not run.
#[derive(Debug)]
pub enum ServeError {
    /// The machine lacks something.
    Unready(Vec<Unready>),
    /// Signals cannot be received.
    Signals(io::Error),
    /// A shard did not start.
    Start(StartError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unready(missing) => {
                let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Signals(error) => write!(f, "signals cannot be received: {error}"),
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until SIGTERM or SIGINT, then stops in good order. `make` builds a shard's context (see
/// [`Shards::start`]); `ready` is called once when all shards run; `reload` at each SIGHUP. Both
/// run on the calling thread.
pub fn serve<C, M, F, E>(
    config: &ServeConfig,
    make: M,
    ready: impl FnOnce(&Shards<C>),
    mut reload: impl FnMut(&Shards<C>),
) -> Result<(), ServeError>
where
    C: 'static,
    M: Fn(ShardSetup<C>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Rc<C>, E>> + 'static,
    E: fmt::Display,
{
    let missing = preflight(config.descriptors);
    if !missing.is_empty() {
        return Err(ServeError::Unready(missing));
    }
    // Before the shards start: a signal that comes meanwhile must not end the process halfway.
    let mut signals = Signals::take().map_err(ServeError::Signals)?;
    let shards = Shards::start(&config.shards, make).map_err(ServeError::Start)?;
    ready(&shards);
    while signals.wait().map_err(ServeError::Signals)? == Signal::Reload {
        reload(&shards);
    }
    shards.stop(config.grace);
    Ok(())
}
