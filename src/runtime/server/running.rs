//! A store that is open, with its shards: a server when it has listeners, a workshop for the
//! command line when it has none.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use admin::{Config, Exit, Failure};
use shard::Shard;
use storage_engine::{Disk, StoreInfo, prepare, shards_of};

use super::certificates;
use super::context::{self, Plan};
use super::doors::Doors;
use super::exposition::{self, Endpoint};
use crate::{
    Asker, Blocking, Certificates, DnsSettings, Shards, ShardsConfig, Sidecar, block_on, clock, cores,
};

/// Threads of the blocking pool: password hashes and checkpoints.
const BLOCKING_THREADS: usize = 2;
/// Work that may wait for them.
const BLOCKING_WAITING_MAX: usize = 256;
/// How long sessions may take to end when a server stops.
const GRACE: Duration = Duration::from_secs(5);
/// The mode of a store's folder that is made here.
const DATA_MODE: u32 = 0o700;

pub(super) struct Running {
    shards: Shards<Shard>,
    certificates: Arc<Certificates>,
    metrics: Option<Endpoint>,
    /// Keeps the store locked until everything has been written.
    _store: StoreInfo,
}

impl Running {
    pub(super) fn start(config: &Config, doors: Doors) -> Result<Self, Failure> {
        // The command line may run on other cores than the server.
        let cpus = if doors == Doors::Open { cpus(config)? } else { cores() };
        let data = &config.server.data;
        is_ours(data)?;
        let count = count(config, doors, cpus.len())?;
        doors.ready(config, count)?;
        // It holds everybody's mail. A folder that is there already stays as it is.
        let made = DirBuilder::new().recursive(true).mode(DATA_MODE).create(data);
        made.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", data.display())))?;
        let disk = Disk::folder(data);
        let options = config.store_options();
        let broken = |error: storage_engine::Error| {
            Failure::new(Exit::Unavailable, format!("the store in {}: {error}", data.display()))
        };
        let store = prepare(&disk, &options, count).map_err(broken)?;
        let certificates = certificates::read(config)?;
        let blocking = Blocking::start(BLOCKING_THREADS, BLOCKING_WAITING_MAX)
            .map_err(|error| Failure::new(Exit::System, format!("threads cannot be started: {error}")))?;
        let metrics = config.metrics_address().filter(|_| doors == Doors::Open);
        let metrics = metrics.map(exposition::bind).transpose()?;
        let plan = Arc::new(Plan {
            disk,
            options,
            settings: config.settings(),
            certificates: Arc::clone(&certificates),
            tls: OnceLock::new(),
            gate: doors.gate(config, count),
            control_gate: Doors::control_gate(),
            submit_gate: Doors::submit_gate(),
            blocking,
            sidecar: Sidecar::start()
                .map_err(|error| Failure::new(Exit::System, format!("threads cannot be started: {error}")))?,
            asker: asker(config)?,
            authorities: certificates::authorities(config)?,
            fronts: Mutex::new(doors.fronts(config, count)?),
            control: Mutex::new(doors.control(config)?),
            submit: Mutex::new(doors.submit(config)?),
            data: data.clone(),
            started: clock::now(),
            serves: doors == Doors::Open,
        });
        let mut shards_config = ShardsConfig::new(count);
        // More shards than cores: let the kernel place them all.
        shards_config.cpus = if cpus.len() >= usize::from(count) { cpus } else { Vec::new() };
        let (aside, started) = (Arc::clone(&plan), Arc::clone(&plan));
        // Where the pool takes nothing more, the first shard makes it.
        let _ = plan.blocking.try_start(Box::new(move || drop(aside.tls())));
        let make = move |setup| std::future::ready(context::start(&started, setup));
        let shards = Shards::start(&shards_config, make).map_err(|error| {
            // A shard's words for it would hide whose fault it is.
            plan.tls().err().unwrap_or_else(|| Failure::new(Exit::Unavailable, error.to_string()))
        })?;
        let metrics = metrics.map(|listener| Endpoint::start(listener, shards.router().clone())).transpose();
        let metrics = metrics.map_err(|error| {
            Failure::new(Exit::System, format!("the metrics thread cannot be started: {error}"))
        })?;
        let running = Self { shards, certificates, metrics, _store: store };
        running.share_secret()?;
        if doors == Doors::Open {
            running.begin_to_remember()?;
        }
        Ok(running)
    }

    fn share_secret(&self) -> Result<(), Failure> {
        self.ask_directory(|shard| async move { shard.share_secret().await })
    }

    fn begin_to_remember(&self) -> Result<(), Failure> {
        self.ask_directory(|shard| async move { shard::remember::begin(&shard).await })
    }

    /// Has something done where the directory is.
    fn ask_directory<F, E>(&self, work: impl FnOnce(Rc<Shard>) -> F + Send + 'static) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), E>> + 'static,
        E: fmt::Display + Send + 'static,
    {
        let router = self.shards.router();
        let owner = router.partition_shard(shard::DIRECTORY_PARTITION);
        match block_on(router.on(owner, work)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::new(Exit::Unavailable, error.to_string())),
            Err(gone) => Err(Failure::new(Exit::Internal, gone.to_string())),
        }
    }

    /// Mail to the postmaster is to be taken (RFC 5321 §4.5.1): says why it would not be.
    pub(super) fn postmaster_fault(&self) -> Option<String> {
        let router = self.shards.router();
        let owner = router.partition_shard(shard::DIRECTORY_PARTITION);
        let asked = router.on(owner, |shard| async move { admin::postmaster_fault(&shard).await });
        block_on(asked).unwrap_or_else(|gone| Some(gone.to_string()))
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
        // It asks the shards, so it goes first.
        drop(self.metrics);
        self.shards.stop(GRACE);
    }
}

/// What asks name servers, by the configuration.
pub(super) fn asker(config: &Config) -> Result<Asker, Failure> {
    let dns = &config.dns;
    let settings = DnsSettings {
        servers: dns.addresses(),
        validate: dns.validate,
        trust_ad: dns.trust_ad,
        timeout: Duration::from_secs(*dns.timeout_s.get_ref()),
        trust_anchor: Some(dns.trust_anchor.clone()).filter(|path| !path.as_os_str().is_empty()),
    };
    Asker::new(&settings).map_err(|error| Failure::new(Exit::Config, format!("name resolution: {error}")))
}

/// Files that root made would keep the server out of its own store, so nobody but their owner works on a store.
fn is_ours(data: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(data.join("store")) else { return Ok(()) };
    let (owner, me) = (found.uid(), effective_uid());
    if owner == me {
        return Ok(());
    }
    let words = format!(
        "the store in {} belongs to user {owner}, and this runs as user {me}: run it as its owner, `sudo -u '#{owner}' angarium ...`",
        data.display()
    );
    Err(Failure::new(Exit::Unavailable, words))
}

#[allow(unsafe_code)]
fn effective_uid() -> u32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// How many shards: as configured, or one for each core. The command line leaves a store divided as its
/// server has it, or each of its calls would move every partition's index.
fn count(config: &Config, doors: Doors, cpus: usize) -> Result<u16, Failure> {
    if doors == Doors::Shut {
        let data = &config.server.data;
        let failed =
            |error| Failure::new(Exit::Unavailable, format!("the store in {}: {error}", data.display()));
        if let Some(shards) = shards_of(&Disk::folder(data)).map_err(failed)? {
            return Ok(shards);
        }
    }
    Ok(match config.server.shards {
        0 => u16::try_from(cpus).unwrap_or(u16::MAX).max(1),
        count => count,
    })
}

/// The cores to run on, all of them ones that this process may use.
fn cpus(config: &Config) -> Result<Vec<usize>, Failure> {
    let ours = cores();
    let Some(wanted) = config.cpus() else { return Ok(ours) };
    // An empty list: the system does not say.
    if let Some(cpu) = wanted.iter().find(|cpu| !ours.is_empty() && !ours.contains(cpu)) {
        let words =
            format!("server.cpus names core {cpu}, which this process may not use; it may use {ours:?}");
        return Err(Failure::new(Exit::Config, words));
    }
    Ok(wanted)
}
