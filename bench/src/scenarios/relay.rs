//! `smtp-relay`: messages in by SMTP, through the server's queue, and out to a sink that runs here. An operation lasts
//! from MAIL to the last reply; the run ends when the last message has arrived.
//!
//! A recipient's address says which message it belongs to, so that each can be told from all others at the sink whatever
//! the server puts on top of the content.

mod arrivals;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use super::courier::{Courier, Manner, News};
use super::sink::Sink;
use super::{Outcome, Share, measure, percentiles};
use crate::cli::{Options, RelayArgs, SinkArgs, Via};
use crate::clock;
use crate::limits::{RELAY_POLL, RELAY_REST, STALL};
use crate::load::{Io, Scenario, Target};
use crate::message::Messages;
use crate::report::{Report, rounded};
use crate::serve::{Serve, listen};
use crate::threads::Moment;
use crate::wrong::Wrong;
pub(super) use arrivals::Arrivals;
use arrivals::Naming;
use verdict::{Accepted, Verdict};

pub(super) fn run(options: &Options, args: RelayArgs) -> Result<Report, Wrong> {
    if [args.recipients, args.domains, args.sink_threads].contains(&0) {
        return Err(Wrong::Usage("--recipients, --domains and --sink-threads begin at 1".into()));
    }
    if options.size != crate::message::Size::Mixed {
        options.fixed_size()?;
    }
    let naming = Naming { run: clock::unix_ms(), recipients: args.recipients, domains: args.domains };
    let listener = listen(args.sink)?;
    let (stop, arrived, serial) = (AtomicBool::new(false), Arc::default(), Arc::default());
    let serve = || {
        let arrivals = Arrivals::new(naming, Arc::clone(&arrived));
        let mut sink = Sink::watched(sink_args(args), Arc::clone(&serial), arrivals);
        let served = Serve::new(&listener).and_then(|mut serve| serve.run(&mut sink, &stop));
        served.map(|()| sink)
    };
    let (outcome, sinks) = std::thread::scope(|scope| {
        let served: Vec<_> = (0..args.sink_threads).map(|_| scope.spawn(serve)).collect();
        let outcome = send(options, args, naming, &arrived, &served);
        clock::pause(RELAY_REST);
        stop.store(true, Ordering::Relaxed);
        let join = |thread: ScopedJoinHandle<'_, Result<Sink, Wrong>>| {
            thread.join().expect("a panic is reported where it happens")
        };
        (outcome, served.into_iter().map(join).collect::<Result<Vec<_>, _>>())
    });
    // Where the sink failed, the rest only follows from that.
    let sinks = sinks?;
    report(args, outcome?, sinks)
}

fn sink_args(args: RelayArgs) -> SinkArgs {
    SinkArgs {
        listen: args.sink,
        is_lmtp: false,
        threads: args.sink_threads,
        chunking: !args.no_chunking,
        delay_every: None,
        delay: None,
        reject_every: None,
    }
}

fn send<'a>(
    options: &'a Options,
    args: RelayArgs,
    naming: Naming,
    arrived: &AtomicU64,
    served: &[ScopedJoinHandle<'_, Result<Sink, Wrong>>],
) -> Result<Outcome<Relay<'a>>, Wrong> {
    let threads = options.cpus.len().clamp(1, options.connections) as u64;
    measure(
        options,
        |share| Relay::new(options, share, threads, naming),
        |moment, operations| {
            let has_failed = || served.iter().any(ScopedJoinHandle::is_finished);
            if moment == Moment::Ran {
                wait_for(arrived, operations * args.recipients as u64, has_failed);
            }
            Ok(())
        },
    )
}

/// Until so many recipients' messages are there, or nothing has come for long: what is missing then is lost.
fn wait_for(arrived: &AtomicU64, expected: u64, has_failed: impl Fn() -> bool) {
    let (mut last, mut since) = (0, clock::now());
    loop {
        let count = arrived.load(Ordering::Relaxed);
        if count != last {
            (last, since) = (count, clock::now());
        }
        let is_over = clock::now().saturating_duration_since(since) > STALL;
        if count >= expected || is_over || has_failed() {
            return;
        }
        clock::pause(RELAY_POLL);
    }
}

fn report(args: RelayArgs, outcome: Outcome<Relay<'_>>, sinks: Vec<Sink>) -> Result<Report, Wrong> {
    let accepted: Vec<Accepted> =
        outcome.scenarios.iter().flat_map(|relay| relay.accepted.iter().copied()).collect();
    let bytes = outcome.scenarios.iter().map(|relay| relay.bytes).sum();
    let connections: u64 = sinks.iter().map(|sink| sink.counted.connections).sum();
    let transactions: u64 = sinks.iter().map(|sink| sink.counted.messages).sum();
    let arrivals = sinks.into_iter().filter_map(|sink| sink.arrivals);
    let verdict = Verdict::of(accepted, args.recipients, arrivals)?;
    let mut report = Report::new("smtp-relay")
        .figure("recipients", args.recipients)
        .figure("domains", args.domains)
        .figure("chunking_offered", !args.no_chunking)
        .figure("arrived_per_second", rounded(verdict.arrived_per_second, 1))
        .figure("arrived_seconds", rounded(verdict.seconds, 3))
        .figure("queue_depth_max", verdict.depth_max)
        .figure("arrived_before_250", verdict.arrived_before_250)
        .figure("compared_byte_for_byte", verdict.compared)
        .figure("sink_connections", connections)
        .figure("sink_transactions", transactions);
    if verdict.of_other_runs > 0 {
        report = report.figure("arrived_of_other_runs", verdict.of_other_runs);
    }
    report = percentiles(report, "queued", &verdict.queued);
    report = percentiles(report, "through", &verdict.through);
    Ok(outcome.report(report, bytes))
}

/// Sends on one thread's connections.
struct Relay<'a> {
    options: &'a Options,
    share: Share,
    threads: u64,
    naming: Naming,
    lines: Vec<Line>,
    messages: Messages,
    message: Vec<u8>,
    sent: u64,
    accepted: Vec<Accepted>,
    bytes: u64,
}

struct Line {
    courier: Courier,
    number: u64,
    began: std::time::Instant,
    size: usize,
}

const MANNER: Manner = Manner { via: Via::Smtp, wants_tls: false, has_tls: false };

impl<'a> Relay<'a> {
    fn new(options: &'a Options, share: Share, threads: u64, naming: Naming) -> Self {
        let now = clock::now();
        let line = |_| Line { courier: Courier::new(MANNER, None), number: 0, began: now, size: 0 };
        Self {
            options,
            share,
            threads,
            naming,
            lines: (0..share.connections).map(line).collect(),
            messages: Messages::new(options.size, share.thread),
            message: Vec::new(),
            sent: 0,
            accepted: Vec::new(),
            bytes: 0,
        }
    }
}

impl Scenario for Relay<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.smtp
    }

    fn opened(&mut self, id: usize, _io: &mut Io) {
        self.lines[id].courier = Courier::new(MANNER, None);
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let line = &mut self.lines[id];
        match line.courier.input(bytes, io.output(id))? {
            None | Some(News::Closed | News::StartTls) => {}
            Some(News::Ready) => io.ready(id),
            Some(News::Delivered) => {
                self.accepted.push(Accepted { number: line.number, began: line.began, at: io.now });
                self.bytes += line.size as u64;
                io.done(id);
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let number = self.sent * self.threads + self.share.thread as u64;
        self.sent += 1;
        let recipients: Vec<String> =
            (0..self.naming.recipients).map(|place| self.naming.address(number, place)).collect();
        self.message.clear();
        self.messages.write(&recipients[0], &mut self.message);
        let line = &mut self.lines[id];
        (line.number, line.began, line.size) = (number, io.due, self.message.len());
        line.courier.send(None, &self.message, recipients, io.output(id));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].courier.quit(io.output(id));
    }
}

#[cfg(test)]
mod tests;
