//! `idle-connections`: many logged-in IMAP connections, in IDLE or after SELECT. What they add to the
//! server's memory is the figure, and what the server then holds in all; afterwards each of them must still
//! answer. Both readings wait until the server is at rest.

use std::time::Instant;

use serde_json::Value;

use super::{Share, log_in, measure};
use crate::cli::{IdleArgs, Options};
use crate::clock;
use crate::load::{Io, Scenario, Target};
use crate::report::{Report, rounded};
use crate::server::{self, Rest};
use crate::threads::Moment;
use crate::wire::{Event, Imap};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: IdleArgs) -> Result<Report, Wrong> {
    if !options.server.is_known() {
        return Err(Wrong::Usage("memory needs the server's --pid or --cgroup (or --demo)".into()));
    }
    if options.count.is_some() {
        return Err(Wrong::Usage("each connection is asked once here: no --count".into()));
    }
    // From here on memory grows by what the connections need, the first logins of their users among that.
    let empty = options.server.rest()?;
    let before = options.server.usage()?;
    let slab_before = server::kernel_slab_kib();
    // One answer from each, however long that takes.
    let mut options = options.clone();
    options.count = Some(options.connections as u64);
    let began = clock::now();
    let mut opening = Opening { began, ended: began, cpu_ns: 0, memory: empty, slab_kib: slab_before };
    let outcome = measure(
        &options,
        |share| Idle::new(&options, share, args),
        |moment, _| {
            if moment == Moment::Prepared {
                opening.ended = clock::now();
                opening.cpu_ns = options.server.usage()?.cpu_ns.saturating_sub(before.cpu_ns);
                opening.memory = options.server.rest()?;
                opening.slab_kib = server::kernel_slab_kib();
            }
            Ok(())
        },
    )?;
    let count = options.connections;
    let seconds = opening.ended.saturating_duration_since(opening.began).as_secs_f64();
    let report =
        Report::new("idle-connections").figure("state", if args.selected { "selected" } else { "idle" });
    let report = memory(report, &empty, &opening.memory, count)
        .figure("kernel_slab_kib_each_both_ends", slab_each(slab_before, opening.slab_kib, count))
        .figure("opening_server_cpu_us_each", rounded(opening.cpu_ns as f64 / 1000.0 / count as f64, 1))
        .figure("opening_s", rounded(seconds, 2));
    Ok(outcome.report(report, 0))
}

/// What was read when all connections were there.
struct Opening {
    began: Instant,
    ended: Instant,
    cpu_ns: u64,
    memory: Rest,
    slab_kib: u64,
}

/// What each connection added, or null and the reason; and all that the server holds, by their number.
fn memory(mut report: Report, empty: &Rest, with: &Rest, count: usize) -> Report {
    for (name, before, after) in [("rss", empty.rss, with.rss), ("pss", empty.pss, with.pss)] {
        let growth = after.growth(before, count);
        report = report.figure(&format!("{name}_kib_each"), growth.clone().unwrap_or_default());
        if let Err(reason) = growth {
            report = report.figure(&format!("{name}_not_measurable"), reason);
        }
        let whole = if after.kib == 0 { Value::Null } else { after.each(count, 0) };
        report = report.figure(&format!("whole_{name}_kib_each"), whole);
    }
    report.figure("rss_kib_before", empty.rss.kib).figure("rss_kib_with", with.rss.kib)
}

/// The kernel's books are the whole machine's: null where they shrank.
fn slab_each(before_kib: u64, after_kib: u64, count: usize) -> Value {
    let more = after_kib.checked_sub(before_kib);
    more.map_or(Value::Null, |more| rounded(more as f64 / count as f64, 2))
}

struct Idle<'a> {
    options: &'a Options,
    args: IdleArgs,
    lines: Vec<Imap>,
}

impl<'a> Idle<'a> {
    fn new(options: &'a Options, share: Share, args: IdleArgs) -> Self {
        let line = |id| Imap::new([log_in(options, share.first + id), "SELECT INBOX".into()]);
        Self { options, args, lines: (0..share.connections).map(line).collect() }
    }
}

impl Scenario for Idle<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let imap = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared if self.args.selected => io.ready(id),
                Event::Prepared => imap.command(io.output(id), "IDLE"),
                Event::Continue => io.ready(id),
                Event::Untagged(_) | Event::LoggedOut => {}
                Event::Tagged { is_ok: true, .. } => io.done(id),
                Event::Tagged { text, .. } => return Err(Wrong::answer("OK to IDLE or NOOP", text)),
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        if self.args.selected {
            self.lines[id].command(io.output(id), "NOOP");
        } else {
            io.output(id).extend_from_slice(b"DONE\r\n");
        }
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].log_out(io.output(id));
    }
}
