//! `start-up` and `recovery`: from the server's process to its first answers, after an orderly end and after
//! kill -9 under load. What was acknowledged before the kill must be held afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::deliver::Deliver;
use super::fill::{fill, mailbox_name};
use super::held::{Mailboxes, Tally};
use super::launch::{Launched, Served};
use super::{Share, shares};
use crate::cli::{Counting, DeliverArgs, Options, StartArgs, Via};
use crate::clock;
use crate::limits::HELD_POLL;
use crate::load::{Load, Plan, Setup};
use crate::measured::Measured;
use crate::report::{Report, rounded};
use crate::socket;
use crate::wrong::Wrong;

pub(super) fn start_up(options: &Options, args: &StartArgs) -> Result<Report, Wrong> {
    check(options, args)?;
    let mailbox = prepare(options, args)?;
    let mut times = Times::new();
    let mut usage = Vec::new();
    for _ in 0..args.runs {
        let mut server = Launched::start(&args.serve_command)?;
        times.note(&server.wait(options, &mailbox.name)?, &mailbox)?;
        usage.push(options.server.with_root(server.pid()).usage()?);
        server.stop()?;
    }
    // The middle one in processor time.
    usage.sort_by_key(|usage| usage.cpu_ns);
    let middle = usage[usage.len() / 2];
    let report = Report::new("start-up")
        .figure("messages", args.messages)
        .figure("server_cpu_ms", rounded(middle.cpu_ns as f64 / 1e6, 2))
        .figure("server_rss_kib", middle.rss_kib);
    Ok(times.report(report))
}

pub(super) fn recovery(options: &Options, args: &StartArgs) -> Result<Report, Wrong> {
    check(options, args)?;
    options.fixed_size()?;
    let mailbox = prepare(options, args)?;
    let mut times = Times::new();
    let (mut acknowledged, mut beyond) = (0, 0);
    for _ in 0..args.runs {
        let mut server = Launched::start(&args.serve_command)?;
        server.wait(options, &mailbox.name)?;
        let before = Mailboxes::open(options, "INBOX", options.users)?.before().to_vec();
        let tally = kill_under_load(options, server)?;
        let mut server = Launched::start(&args.serve_command)?;
        times.note(&server.wait(options, &mailbox.name)?, &mailbox)?;
        let mut mailboxes = Mailboxes::open(options, "INBOX", options.users)?;
        mailboxes.set_before(before);
        // What was on its way when the server died may be held or not.
        mailboxes.wait_for(&tally.counts(), options.connections as u64, true)?;
        beyond += mailboxes.beyond(&tally.counts())?;
        acknowledged += tally.counts().iter().sum::<u64>();
        drop(mailboxes);
        server.stop()?;
    }
    if acknowledged == 0 {
        return Err(Wrong::Answer("not one message was acknowledged before the kill".into()));
    }
    let report = Report::new("recovery")
        .figure("messages", args.messages)
        .figure("acknowledged", acknowledged)
        .figure("lost", 0)
        .figure("held_unacknowledged", beyond);
    Ok(times.report(report))
}

fn check(options: &Options, args: &StartArgs) -> Result<(), Wrong> {
    if options.is_tls {
        return Err(Wrong::Usage("greetings are timed in plain text: no --tls".into()));
    }
    if args.runs == 0 {
        return Err(Wrong::Usage("--runs begins at 1".into()));
    }
    Ok(())
}

/// The mailbox that is selected, and how many messages it must have at least.
struct Expected {
    name: String,
    messages: u32,
}

/// Starts the server once without timing it, and brings the store to its size.
fn prepare(options: &Options, args: &StartArgs) -> Result<Expected, Wrong> {
    let mut server = Launched::start(&args.serve_command)?;
    server.wait_for_accounts(options)?;
    let mut expected = Expected { name: "INBOX".into(), messages: 0 };
    if args.messages > 0 {
        let each = args.messages.div_ceil(options.users as u32);
        expected = Expected { name: mailbox_name(options, each)?, messages: each };
        fill(options, &expected.name, options.users, each)?;
    }
    server.stop()?;
    Ok(expected)
}

/// Delivers on all connections for the time of the run, then kills the server in the middle of it.
fn kill_under_load(options: &Options, server: Launched) -> Result<Arc<Tally>, Wrong> {
    let tally = Tally::new(options.users);
    let is_killed = AtomicBool::new(false);
    let progress = Arc::new(AtomicU64::new(0));
    socket::raise_open_files(options.connections + options.users)?;
    let run = |share: Share| {
        let ended = deliver(options, share, &tally, &progress);
        // An end by the kill is what was wanted.
        if is_killed.load(Ordering::SeqCst) { Ok(()) } else { ended }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares(options.connections, options.cpus.len())
            .into_iter()
            .map(|share| scope.spawn(move || run(share)))
            .collect();
        while progress.load(Ordering::Relaxed) == 0 && !threads.iter().any(ScopedJoinHandle::is_finished) {
            clock::pause(HELD_POLL);
        }
        clock::pause(options.duration);
        is_killed.store(true, Ordering::SeqCst);
        let killed = server.kill();
        let ends: Result<Vec<()>, Wrong> = threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic is reported where it happens"))
            .collect();
        ends.and(killed)
    })?;
    Ok(tally)
}

/// Until the server closes, which is an error here like everywhere.
fn deliver(
    options: &Options,
    share: Share,
    tally: &Arc<Tally>,
    progress: &Arc<AtomicU64>,
) -> Result<(), Wrong> {
    let mut load = Load::new(Setup {
        connections: share.connections,
        sources: socket::sources(options.host, options.connections, options.sources),
        quick_ack: options.quick_ack,
        opening: options.opening,
        progress: Arc::clone(progress),
    })?;
    let counting = Counting { uncounted: true, until_held: false };
    let args = DeliverArgs { recipients: 1, counting, starttls: false, submit: false };
    let via = if options.smtp.address.port() == 0 { Via::Lmtp } else { Via::Smtp };
    let mut scenario = Deliver::new(options, share, args, via, tally);
    load.prepare(&mut scenario)?;
    let plan = Plan { count: None, duration: Duration::from_hours(1), rate: options.rate, is_random: false };
    load.run(&mut scenario, &plan).map(drop)
}

/// What was timed, over all runs.
struct Times {
    imap: Measured,
    smtp: Measured,
    selected: Measured,
}

impl Times {
    fn new() -> Self {
        Self { imap: Measured::new(), smtp: Measured::new(), selected: Measured::new() }
    }

    fn note(&mut self, served: &Served, expected: &Expected) -> Result<(), Wrong> {
        if served.exists < expected.messages {
            return Err(Wrong::Answer(format!(
                "{} messages were in the mailbox, SELECT tells of {}",
                expected.messages, served.exists
            )));
        }
        let now = clock::now();
        self.imap.complete(served.imap, now, now);
        self.selected.complete(served.selected, now, now);
        if let Some(smtp) = served.smtp {
            self.smtp.complete(smtp, now, now);
        }
        Ok(())
    }

    fn report(self, report: Report) -> Report {
        let report = report.figure("runs", self.imap.operations);
        let mut report = super::percentiles(report, "imap_greeting", &self.imap);
        if self.smtp.operations > 0 {
            report = super::percentiles(report, "smtp_greeting", &self.smtp);
        }
        super::percentiles(report, "selected", &self.selected)
    }
}
