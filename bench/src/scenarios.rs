//! What can be done to a server, and what they have in common.

mod append;
mod body;
mod courier;
mod deliver;
mod echo;
mod fill;
mod held;
mod idle_connections;
mod idle_notify;
mod launch;
#[cfg(test)]
mod lies;
mod list;
mod login;
mod mixed;
mod raw_write;
mod relay;
mod retr;
mod search;
mod session;
mod sink;
mod start_up;
mod store;
mod talk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cli::{Command, Options, Via};
use crate::clock;
use crate::limits::OPENING_SPREAD;
use crate::load::{Scenario, Setup};
use crate::measured::Measured;
use crate::report::{Report, Used, rounded};
use crate::server::{self, Written};
use crate::socket;
use crate::threads::{self, Moment, Part};
use crate::wire::Step;
use crate::wrong::Wrong;

/// Runs the scenario that the command line names.
pub(crate) fn run(options: &Options, command: &Command) -> Result<Report, Wrong> {
    match command {
        Command::SmtpDeliver(args) => deliver::run(options, *args, Via::Smtp),
        Command::LmtpDeliver(args) => deliver::run(options, *args, Via::Lmtp),
        Command::ImapAppend(args) => append::run(options, *args),
        Command::ImapList(args) => list::run(options, *args),
        Command::SmtpRelay(args) => relay::run(options, *args),
        Command::SmtpSink(args) => sink::run(options, *args),
        Command::ImapSession(args) => session::run(options, *args),
        Command::MixedDay(args) => mixed::run(options, *args),
        Command::Echo(args) => echo::run(options, *args),
        Command::ImapBody(args) => body::run(options, *args),
        Command::ImapSearch(args) => search::run(options, *args),
        Command::ImapStore(args) => store::run(options, *args),
        Command::Login => login::run(options),
        Command::IdleNotify(args) => idle_notify::run(options, *args),
        Command::IdleConnections(args) => idle_connections::run(options, *args),
        Command::Pop3Retr(args) => retr::run(options, *args),
        Command::RawWrite(args) => raw_write::run(options, args),
        Command::StartUp(args) => start_up::start_up(options, args),
        Command::Recovery(args) => start_up::recovery(options, args),
    }
}

/// One thread's share of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    thread: usize,
    /// The number of its first connection among all.
    first: usize,
    connections: usize,
}

/// What came of a run.
struct Outcome<S> {
    scenarios: Vec<S>,
    measured: Measured,
    used: Used,
    /// What reached the disk, where its device is known.
    written: Option<Written>,
}

impl<S> Outcome<S> {
    /// Adds what all scenarios have in common; `payload_bytes` are those that the server took or gave.
    fn report(self, report: Report, payload_bytes: u64) -> Report {
        let report = report.measured(self.measured).used(&self.used, payload_bytes);
        let Some(written) = self.written else { return report };
        let report = report
            .figure("device_written_bytes", written.bytes)
            .figure("device_writes", written.writes)
            .figure("device_flushes", written.flushes);
        if payload_bytes == 0 {
            return report;
        }
        let each = written.bytes as f64 / payload_bytes as f64;
        report.figure("device_written_per_byte", rounded(each, 3))
    }
}

/// Deals connections out to threads, each at least one.
fn shares(connections: usize, threads: usize) -> Vec<Share> {
    let threads = threads.clamp(1, connections);
    let first = |thread: usize| thread * connections / threads;
    (0..threads)
        .map(|thread| Share { thread, first: first(thread), connections: first(thread + 1) - first(thread) })
        .collect()
}

/// Runs a scenario over all of the command line's connections. `at` is called when all of them are ready, and
/// again, with the number of completed operations, before the server's figures are read.
fn measure<S: Scenario>(
    options: &Options,
    make: impl Fn(Share) -> S,
    at: impl FnMut(Moment, u64) -> Result<(), Wrong>,
) -> Result<Outcome<S>, Wrong> {
    measure_on(options, &shares(options.connections, options.cpus.len()), make, at)
}

fn measure_on<S: Scenario>(
    options: &Options,
    shares: &[Share],
    make: impl Fn(Share) -> S,
    mut at: impl FnMut(Moment, u64) -> Result<(), Wrong>,
) -> Result<Outcome<S>, Wrong> {
    let total: usize = shares.iter().map(|share| share.connections).sum();
    socket::raise_open_files(total + options.users)?;
    let scenarios: Vec<S> = shares.iter().map(|share| make(*share)).collect();
    // Ports are used up by the second where each operation takes a new one.
    let opens_often = scenarios.iter().any(Scenario::opens_per_operation);
    let spread = if opens_often { total.max(OPENING_SPREAD) } else { total };
    let sources = socket::sources(options.host, spread, options.sources);
    let progress = Arc::new(AtomicU64::new(0));
    let part = |(share, scenario): (&Share, S)| Part {
        scenario,
        setup: Setup {
            connections: share.connections,
            sources: sources.clone(),
            quick_ack: options.quick_ack,
            opening: options.opening,
            progress: Arc::clone(&progress),
        },
        plan: options.plan(share.thread, shares.len()),
        cpu: options.cpus.get(share.thread).copied(),
    };
    let mut parts: Vec<Part<S>> = shares.iter().zip(scenarios).map(part).collect();
    let server = &options.server;
    let mut used = Used { has_server: server.is_known(), ..Used::default() };
    let mut written = [None; 2];
    let mut began = clock::now();
    let mut at = |moment: Moment| -> Result<(), Wrong> {
        at(moment, progress.load(Ordering::Relaxed))?;
        if moment == Moment::Prepared {
            // Before the figures are read, for it makes the machine work.
            written[0] = server.written()?;
        }
        let usage = server.usage()?;
        let (generator, machine) = (server::own_cpu_ns(), server::machine_cpu_ns());
        if moment == Moment::Prepared {
            (used.before, used.generator_cpu_ns, used.machine_cpu_ns) = (usage, generator, machine);
            began = clock::now();
        } else {
            used.after = usage;
            used.generator_cpu_ns = generator.saturating_sub(used.generator_cpu_ns);
            used.machine_cpu_ns = machine.saturating_sub(used.machine_cpu_ns);
            used.seconds = clock::now().saturating_duration_since(began).as_secs_f64();
            written[1] = server.written()?;
        }
        Ok(())
    };
    let measured = threads::drive(&mut parts, &mut at)?;
    if measured.operations == 0 {
        return Err(Wrong::Answer("not one operation was completed".into()));
    }
    let written = written[1].zip(written[0]).map(|(after, before)| after.since(&before));
    Ok(Outcome { scenarios: parts.into_iter().map(|part| part.scenario).collect(), measured, used, written })
}

/// For scenarios whose operations are checked as they go and need no count afterwards.
#[expect(clippy::unnecessary_wraps, reason = "the signature that `measure` asks for")]
const fn nothing_to_count(_moment: Moment, _operations: u64) -> Result<(), Wrong> {
    Ok(())
}

/// Adds the percentiles of a further distribution as figures of their own.
fn percentiles(report: Report, name: &str, measured: &Measured) -> Report {
    let points = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9), ("max", 100.0)];
    points.into_iter().fold(report, |report, (point, percentile)| {
        report.figure(&format!("{name}_{point}_us"), rounded(measured.percentile_us(percentile), 1))
    })
}

/// A user's login by IMAP.
fn log_in(options: &Options, user: usize) -> Step {
    Step::LogIn { name: options.user(user), password: options.password.clone() }
}

/// Where each connection needs a user of its own.
fn require_own_users(options: &Options) -> Result<(), Wrong> {
    if options.connections <= options.users {
        return Ok(());
    }
    Err(Wrong::Usage(format!(
        "each connection has a user of its own here: {} connections, {} users",
        options.connections, options.users
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_connections_once() {
        for (connections, threads) in [(1, 4), (7, 3), (64, 0), (5, 5)] {
            let shares = shares(connections, threads);
            let mut next = 0;
            for share in &shares {
                assert_eq!(share.first, next);
                assert!(share.connections > 0);
                next += share.connections;
            }
            assert_eq!(next, connections);
        }
    }
}
