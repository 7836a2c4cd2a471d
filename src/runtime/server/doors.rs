//! What a server's doors are: its listeners, its control socket, and how many may come in.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use admin::{Config, Exit, Failure, ListenAddress};

use crate::limits::{
    CONNECTIONS_MIN, CONTROL_CONNECTIONS_MAX, EVERYBODY, FILES, OWNER_ALONE, SUBMIT_CONNECTIONS_MAX,
    SUBMIT_FOLDER_MODE,
};
use crate::{
    Address, ConnectionLimits, Gate, ListenError, Listener, bind_all, bind_local, descriptors, preflight,
};

/// Whether to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    /// Serve as configured, control socket included.
    Open,
    /// Only the caller.
    Shut,
}

/// Each shard's listeners.
pub(super) type Fronts = Vec<Vec<(admin::Listen, Listener)>>;

impl Doors {
    /// What the machine lacks is said in one line each.
    pub(super) fn ready(self, config: &Config, shards: u16) -> Result<(), Failure> {
        let places = match self {
            Self::Open => config.limits.connections_max.min(CONNECTIONS_MIN) as u64,
            Self::Shut => 0,
        };
        let missing = preflight(self.files(config, shards) + places);
        if missing.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Err(Failure::new(Exit::System, lines.join("\n")))
    }

    /// Descriptors that are no connection of a client.
    fn files(self, config: &Config, shards: u16) -> u64 {
        let listeners = match self {
            // Each shard's socket, and the copy that ends its accepting.
            Self::Open => 2 * u64::from(shards) * config.addresses().len() as u64,
            Self::Shut => 0,
        };
        FILES + (CONTROL_CONNECTIONS_MAX + SUBMIT_CONNECTIONS_MAX) as u64 + listeners
    }

    /// The gate of all listeners. It lets in no more than there are descriptors for: the store needs
    /// some at any moment, and must not find that clients have taken the last.
    pub(super) fn gate(self, config: &Config, shards: u16) -> Arc<Gate> {
        let configured = config.limits.connections_max;
        let connections_max = places(configured, descriptors(), self.files(config, shards));
        if self == Self::Open && connections_max < configured {
            tracing::warn!(
                event = "runtime.connections_clamped",
                configured,
                connections_max,
                "the limit for open files allows no more: raise LimitNOFILE, or lower limits.connections_max"
            );
        }
        let per_source_max = config.limits.connections_per_source_max;
        Gate::new(ConnectionLimits { connections_max, per_source_max })
    }

    /// The control socket's own gate.
    pub(super) fn control_gate() -> Arc<Gate> {
        Gate::new(ConnectionLimits {
            connections_max: CONTROL_CONNECTIONS_MAX,
            per_source_max: CONTROL_CONNECTIONS_MAX,
        })
    }

    /// The gate of the socket for local programs.
    pub(super) fn submit_gate() -> Arc<Gate> {
        Gate::new(ConnectionLimits {
            connections_max: SUBMIT_CONNECTIONS_MAX,
            per_source_max: SUBMIT_CONNECTIONS_MAX,
        })
    }

    /// Listens as configured.
    pub(super) fn fronts(self, config: &Config, shards: u16) -> Result<Fronts, Failure> {
        let mut all: Fronts = (0..shards).map(|_| Vec::new()).collect();
        let addresses = if self == Self::Open { config.addresses() } else { Vec::new() };
        for (listen, address) in addresses {
            let bound = match &address {
                ListenAddress::Tcp(address) => bind_all(&Address::Tcp(*address), shards),
                ListenAddress::Unix(path) => bind_local(path, config.unix_socket_mode(), shards),
            };
            let listeners = match bound {
                Ok(listeners) => listeners,
                Err(error) if lacks_ipv6(&error) => {
                    tracing::warn!(event = "runtime.no_ipv6", address = %error.address);
                    continue;
                }
                Err(error) => return Err(Failure::new(Exit::Unavailable, error.to_string())),
            };
            for (own, listener) in all.iter_mut().zip(listeners) {
                own.push((listen, listener));
            }
        }
        Ok(all)
    }

    /// The socket on which local programs hand mail in, open to every user who can reach it.
    pub(super) fn submit(self, config: &Config) -> Result<Option<Listener>, Failure> {
        if self == Self::Shut {
            return Ok(None);
        }
        let path = config.submit_socket();
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(SUBMIT_FOLDER_MODE).create(folder);
            made.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", folder.display())))?;
        }
        let mut listeners = bind_local(&path, EVERYBODY, 1)
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        Ok(listeners.pop())
    }

    /// The control socket. Who can write to it can do anything: its owner alone.
    pub(super) fn control(self, config: &Config) -> Result<Option<Listener>, Failure> {
        if self == Self::Shut {
            return Ok(None);
        }
        let path = super::control::path(&config.server.data);
        let mut listeners = bind_local(&path, OWNER_ALONE, 1)
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        Ok(listeners.pop())
    }
}

/// Connections for which there are descriptors.
fn places(configured: usize, descriptors: u64, files: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(files)).unwrap_or(usize::MAX).min(configured)
}

/// "All IPv6 addresses" on a machine that has none is no fault of the configuration.
fn lacks_ipv6(error: &ListenError) -> bool {
    let is_any =
        matches!(&error.address, Address::Tcp(address) if address.is_ipv6() && address.ip().is_unspecified());
    // The kernel's word for "no such family" has no kind of its own here; these two say otherwise.
    is_any && !matches!(error.kind, ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_let_in_than_there_are_descriptors_for() {
        assert_eq!(places(50_000, 65_536, 1_100), 50_000);
        assert_eq!(places(50_000, 2_100, 1_100), 1_000);
        assert_eq!(places(50_000, 1_000, 1_100), 0);
        assert_eq!(places(3, u64::MAX, 1_100), 3);
    }
}
