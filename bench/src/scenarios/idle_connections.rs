//! `idle-connections`: many logged-in IMAP connections, in IDLE or after SELECT. What they add to the
//! server's memory is the figure; afterwards each of them must still answer.

use super::{Share, log_in, measure};
use crate::cli::{IdleArgs, Options};
use crate::clock;
use crate::limits::SETTLE;
use crate::load::{Io, Scenario, Target};
use crate::report::{Report, rounded};
use crate::server;
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
    let before = options.server.usage()?;
    let slab_before = server::kernel_slab_kib();
    // One answer from each, however long that takes.
    let mut options = options.clone();
    options.count = Some(options.connections as u64);
    let began = clock::now();
    let mut opened = began;
    let mut slab_after = slab_before;
    let outcome = measure(
        &options,
        |share| Idle::new(&options, share, args),
        |moment, _| {
            if moment == Moment::Prepared {
                opened = clock::now();
                clock::pause(SETTLE);
                slab_after = server::kernel_slab_kib();
            }
            Ok(())
        },
    )?;
    let after = outcome.used.before;
    let each = |more: u64, less: u64| rounded((more as f64 - less as f64) / options.connections as f64, 2);
    let cpu_us = (after.cpu_ns - before.cpu_ns) as f64 / 1000.0 / options.connections as f64;
    let report = Report::new("idle-connections")
        .figure("state", if args.selected { "selected" } else { "idle" })
        .figure("rss_kib_each", each(after.rss_kib, before.rss_kib))
        .figure("pss_kib_each", each(after.pss_kib, before.pss_kib))
        .figure("kernel_slab_kib_each_both_ends", each(slab_after, slab_before))
        .figure("rss_kib_before", before.rss_kib)
        .figure("opening_server_cpu_us_each", rounded(cpu_us, 1))
        .figure("opening_s", rounded(opened.saturating_duration_since(began).as_secs_f64(), 2));
    Ok(outcome.report(report, 0))
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
