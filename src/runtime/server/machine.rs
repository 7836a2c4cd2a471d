//! The host that the command line asks.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use admin::{Config, Control, Exit, Failure, Host, Response, Started, Submission};
use base::Timestamp;
use storage_engine::{CheckProgress, CheckReport, Disk, check};

use super::certificates;
use super::control::{Direct, Socket, Workshop};
use super::doors::Doors;
use super::running::{self, Running};
use super::submit;
use crate::{Signal, Signals, clock};

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Host for Machine {
    fn serve(&self, config: &Config, started: Started<'_>) -> Result<Exit, Failure> {
        log();
        // Before the shards start: a signal that comes meanwhile must not end the process halfway.
        let mut signals = Signals::take()
            .map_err(|error| Failure::new(Exit::System, format!("signals cannot be received: {error}")))?;
        let running = Running::start(config, Doors::Open)?;
        tracing::info!(event = "runtime.serving", shards = running.router().shards());
        let begun = started(&mut Direct(running.router()), config);
        if let Err(failure) = begun {
            running.stop();
            return Err(failure);
        }
        // A demo has made its accounts by now.
        warn_of_postmaster(&running);
        loop {
            match signals.wait() {
                Ok(Signal::Reload) => reload(&running, config),
                Ok(Signal::Stop) => break,
                Err(error) => {
                    tracing::error!(event = "runtime.signals_lost", %error);
                    break;
                }
            }
        }
        tracing::info!(event = "runtime.stopping");
        running.stop();
        Ok(Exit::Done)
    }

    fn control(&self, config: &Config) -> Result<Box<dyn Control>, Failure> {
        if let Some(socket) = Socket::connect(&config.server.data) {
            return Ok(Box::new(socket));
        }
        Ok(Box::new(Workshop(Some(Running::start(config, Doors::Shut)?))))
    }

    fn server(&self, config: &Config) -> Result<Box<dyn Control>, Failure> {
        let data = &config.server.data;
        let socket = Socket::connect(data).map(|socket| Box::new(socket) as Box<dyn Control>);
        socket.ok_or_else(|| {
            let words =
                format!("no server answers for the store in {}; --data DIR names another", data.display());
            Failure::new(Exit::Unavailable, words)
        })
    }

    fn check(&self, data: &Path, progress: &mut dyn FnMut(CheckProgress)) -> Result<CheckReport, Failure> {
        // Opening would make the folder.
        if !data.is_dir() {
            let words =
                format!("there is no folder {}; --data DIR or server.data name the store", data.display());
            return Err(Failure::new(Exit::NotFound, words));
        }
        check(&Disk::folder(data), progress).map_err(|error| {
            Failure::new(Exit::Unavailable, format!("the store in {}: {error}", data.display()))
        })
    }

    fn check_certificates(&self, config: &Config) -> Result<(), Failure> {
        certificates::authorities(config)?;
        running::asker(config)?;
        certificates::configured(config).map(|_| ())
    }

    fn submit(&self, socket: &Path, submission: &Submission, content: &[u8]) -> Result<Response, Failure> {
        submit::hand_in(socket, submission, content)
    }

    fn certificate(&self, config: &Config) -> Result<Vec<u8>, Failure> {
        let found = certificates::read(config)?.find(Some(&config.server.hostname));
        Ok(found.chain().first().map(|own| own.to_vec()).unwrap_or_default())
    }

    fn free_port(&self, wanted: u16) -> Result<u16, Failure> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|found| found.local_addr());
        bind(wanted).or_else(|_| bind(0)).map(|address| address.port()).map_err(|error| {
            Failure::new(Exit::Unavailable, format!("no port is free on 127.0.0.1: {error}"))
        })
    }

    fn random(&self, bytes: &mut [u8]) {
        super::world::random(bytes);
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }
}

/// The file may have changed; what it says now is put in force, or the fault is logged and all stays.
fn reload(running: &Running, started_with: &Config) {
    let reloaded = started_with.read_again().map_err(Failure::from).and_then(|config| {
        running.reload(&config)?;
        Ok(config)
    });
    let config = match reloaded {
        Ok(config) => config,
        Err(failure) => {
            tracing::error!(event = "runtime.reload_failed", %failure);
            return;
        }
    };
    tracing::info!(event = "runtime.reloaded");
    let waiting = started_with.waits_for_restart(&config);
    if !waiting.is_empty() {
        tracing::warn!(event = "runtime.restart_needed", settings = waiting.join(", "));
    }
    warn_of_postmaster(running);
}

fn warn_of_postmaster(running: &Running) {
    if let Some(fault) = running.postmaster_fault() {
        tracing::warn!(event = "runtime.no_postmaster", fault);
    }
}

/// Events go to standard error; `ANGARIUM_LOG` chooses which (`info` unless told).
fn log() {
    let chosen = std::env::var("ANGARIUM_LOG").unwrap_or_default();
    let filter = tracing_subscriber::EnvFilter::try_new(&chosen).ok().filter(|_| !chosen.is_empty());
    let mut filter = filter.unwrap_or_else(|| tracing_subscriber::EnvFilter::new("info"));
    // The library that asks name servers tells of each answer that is not right. Whoever wants that names it.
    if !chosen.contains("hickory")
        && let Ok(quiet) = "hickory=off".parse()
    {
        filter = filter.add_directive(quiet);
    }
    let _already_set =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
