//! A store that is open, with its shards: a server when it has listeners, a workshop for the
//! command line when it has none.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admin::{Config, Exit, Failure, ListenAddress};
use shard::Shard;
use storage_engine::{Disk, StoreInfo, prepare};

use super::certificates;
use super::context::{self, Plan};
use crate::{
    Address, Blocking, Certificates, ConnectionLimits, Gate, ListenError, Shards, ShardsConfig, TlsAcceptor,
    bind_all, block_on, cores, preflight,
};

/// Threads of the blocking pool: password hashes and checkpoints.
const BLOCKING_THREADS: usize = 2;
/// Work that may wait for them.
const BLOCKING_WAITING_MAX: usize = 256;
/// How long sessions may take to end when a server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Files beside connections: segments, runs, libraries.
const FILES: u64 = 1024;

/// Whether to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    /// Serve as configured, control socket included.
    Open,
    /// Only the caller.
    Shut,
}

pub(super) struct Running {
    shards: Shards<Shard>,
    certificates: Arc<Certificates>,
    /// Keeps the store locked until everything has been written.
    _store: StoreInfo,
}

impl Running {
    pub(super) fn start(config: &Config, doors: Doors) -> Result<Self, Failure> {
        ready(config)?;
        let cpus = config.cpus().unwrap_or_else(cores);
        let count = match config.server.shards {
            0 => u16::try_from(cpus.len()).unwrap_or(u16::MAX).max(1),
            count => count,
        };
        let data = &config.server.data;
        std::fs::create_dir_all(data)
            .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", data.display())))?;
        let disk = Disk::folder(data);
        let options = config.store_options();
        let broken = |error: storage_engine::Error| {
            Failure::new(Exit::Unavailable, format!("the store in {}: {error}", data.display()))
        };
        let store = prepare(&disk, &options, count).map_err(broken)?;
        let certificates = certificates::read(config)?;
        let tls = TlsAcceptor::new(Arc::clone(&certificates))
            .map_err(|error| Failure::new(Exit::Config, format!("TLS: {error}")))?;
        let blocking = Blocking::start(BLOCKING_THREADS, BLOCKING_WAITING_MAX)
            .map_err(|error| Failure::new(Exit::System, format!("threads cannot be started: {error}")))?;
        let limits = ConnectionLimits {
            connections_max: config.limits.connections_max,
            per_source_max: config.limits.connections_per_source_max,
        };
        let plan = Arc::new(Plan {
            disk,
            options,
            settings: config.settings(),
            tls,
            gate: Gate::new(limits),
            blocking,
            fronts: Mutex::new(fronts(config, doors, count)?),
            control: Mutex::new(control(config, doors)?),
            data: data.clone(),
        });
        let mut shards_config = ShardsConfig::new(count);
        // More shards than cores: let the kernel place them all.
        shards_config.cpus = if cpus.len() >= usize::from(count) { cpus } else { Vec::new() };
        let make = move |setup| std::future::ready(context::start(&plan, setup));
        let shards = Shards::start(&shards_config, make)
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        let running = Self { shards, certificates, _store: store };
        running.share_secret()?;
        Ok(running)
    }

    fn share_secret(&self) -> Result<(), Failure> {
        let router = self.shards.router();
        let owner = router.partition_shard(shard::DIRECTORY_PARTITION);
        let shared = block_on(router.on(owner, |shard| async move { shard.share_secret().await }));
        match shared {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::new(Exit::Unavailable, error.to_string())),
            Err(gone) => Err(Failure::new(Exit::Internal, gone.to_string())),
        }
    }

    pub(super) fn router(&self) -> &router::Router<Shard> {
        self.shards.router()
    }

    /// Certificates and settings as the configuration has them now; listeners stay as they are.
    pub(super) fn reload(&self, config: &Config) -> Result<(), Failure> {
        certificates::reload(config, &self.certificates)?;
        let settings = config.settings();
        for id in 0..self.router().shards() {
            let settings = Arc::clone(&settings);
            let put = self.router().on(base::ShardId(id), move |shard| async move { shard.reload(settings) });
            block_on(put).map_err(|gone| Failure::new(Exit::Internal, gone.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn stop(self) {
        self.shards.stop(GRACE);
    }
}

/// What the machine lacks is said in one line each.
fn ready(config: &Config) -> Result<(), Failure> {
    let missing = preflight(config.limits.connections_max.min(1024) as u64 + FILES);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(Failure::new(Exit::System, lines.join("\n")))
}

type Fronts = Vec<Vec<(admin::Listen, crate::Listener)>>;

fn fronts(config: &Config, doors: Doors, shards: u16) -> Result<Fronts, Failure> {
    let mut all: Fronts = (0..shards).map(|_| Vec::new()).collect();
    let addresses = if doors == Doors::Open { config.addresses() } else { Vec::new() };
    for (listen, address) in addresses {
        let address = match address {
            ListenAddress::Tcp(address) => Address::Tcp(address),
            ListenAddress::Unix(path) => Address::Unix(path),
        };
        let listeners = match bind_all(&address, shards) {
            Ok(listeners) => listeners,
            Err(error) if lacks_ipv6(&error) => {
                tracing::warn!(event = "runtime.no_ipv6", %address);
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

/// "All IPv6 addresses" on a machine that has none is no fault of the configuration.
fn lacks_ipv6(error: &ListenError) -> bool {
    let is_any =
        matches!(&error.address, Address::Tcp(address) if address.is_ipv6() && address.ip().is_unspecified());
    // The kernel's word for "no such family" has no kind of its own here; these two say otherwise.
    is_any && !matches!(error.kind, ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

fn control(config: &Config, doors: Doors) -> Result<Option<crate::Listener>, Failure> {
    if doors == Doors::Shut {
        return Ok(None);
    }
    let path = super::control::path(&config.server.data);
    let failed = |words: String| Failure::new(Exit::Unavailable, words);
    let mut listeners =
        bind_all(&Address::Unix(path.clone()), 1).map_err(|error| failed(error.to_string()))?;
    // Who can write to it can do anything: its owner alone.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    Ok(listeners.pop())
}
