//! What can be done to a server, and what they have in common.

mod append;
mod deliver;
mod fill;
mod held;
mod idle_connections;
mod idle_notify;
mod list;
mod login;
mod raw_write;
mod retr;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cli::{Command, Options};
use crate::clock;
use crate::limits::OPENING_SPREAD;
use crate::load::{Scenario, Setup};
use crate::measured::Measured;
use crate::report::{Report, Used};
use crate::server::{self, Usage};
use crate::socket;
use crate::threads::{self, Moment, Part};
use crate::wire::quoted;
use crate::wrong::Wrong;

/// Runs the scenario that the command line names.
pub(crate) fn run(options: &Options, command: &Command) -> Result<Report, Wrong> {
    match command {
        Command::SmtpDeliver(args) => deliver::run(options, *args, deliver::Via::Smtp),
        Command::LmtpDeliver(args) => deliver::run(options, *args, deliver::Via::Lmtp),
        Command::ImapAppend => append::run(options),
        Command::ImapList(args) => list::run(options, *args),
        Command::ImapStore(args) => store::run(options, *args),
        Command::Login => login::run(options),
        Command::IdleNotify => idle_notify::run(options),
        Command::IdleConnections(args) => idle_connections::run(options, *args),
        Command::Pop3Retr(args) => retr::run(options, *args),
        Command::RawWrite(args) => raw_write::run(options, args),
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
            progress: Arc::clone(&progress),
        },
        plan: options.plan(share.thread, shares.len()),
        cpu: options.cpus.get(share.thread).copied(),
    };
    let mut parts: Vec<Part<S>> = shares.iter().zip(scenarios).map(part).collect();
    let mut used = Used { has_server: !options.pids.is_empty(), ..Used::default() };
    let mut began = clock::now();
    let mut at = |moment: Moment| -> Result<(), Wrong> {
        at(moment, progress.load(Ordering::Relaxed))?;
        let usage = if used.has_server { server::usage(&options.pids)? } else { Usage::default() };
        let (generator, machine) = (server::own_cpu_ns(), server::machine_cpu_ns());
        if moment == Moment::Prepared {
            (used.before, used.generator_cpu_ns, used.machine_cpu_ns) = (usage, generator, machine);
            began = clock::now();
        } else {
            used.after = usage;
            used.generator_cpu_ns = generator.saturating_sub(used.generator_cpu_ns);
            used.machine_cpu_ns = machine.saturating_sub(used.machine_cpu_ns);
            used.seconds = clock::now().saturating_duration_since(began).as_secs_f64();
        }
        Ok(())
    };
    let measured = threads::drive(&mut parts, &mut at)?;
    if measured.operations == 0 {
        return Err(Wrong::Answer("not one operation was completed".into()));
    }
    Ok(Outcome { scenarios: parts.into_iter().map(|part| part.scenario).collect(), measured, used })
}

/// For scenarios whose operations are checked as they go and need no count afterwards.
#[expect(clippy::unnecessary_wraps, reason = "the signature that `measure` asks for")]
const fn nothing_to_count(_moment: Moment, _operations: u64) -> Result<(), Wrong> {
    Ok(())
}

/// The LOGIN command of a user.
fn login_command(options: &Options, user: usize) -> String {
    format!("LOGIN {} {}", quoted(&options.user(user)), quoted(&options.password))
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
