//! `echo`: bytes to an echo server and back, on each connection in turn: what the network alone costs. Every
//! byte is compared. With `--self-check` the server is a thread of ours on a bare ring, and the rate is what
//! this generator can do at most.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Share, measure};
use crate::cli::{EchoArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::message::Size;
use crate::report::{Report, rounded};
use crate::serve::{Serve, Service, Then, listen};
use crate::server;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: EchoArgs) -> Result<Report, Wrong> {
    let Size::Fixed(size) = options.size else {
        return Err(Wrong::Usage("--size mixed is for deliveries".into()));
    };
    if args.self_check {
        return check_self(options, size, args.echo_cpu);
    }
    let address = SocketAddr::new(options.host, args.port);
    against(options, address, size).map(|(report, _)| report)
}

fn against(options: &Options, address: SocketAddr, size: usize) -> Result<(Report, u64), Wrong> {
    let target = Target { address, is_tls: false };
    let outcome = measure(options, |share| Echo::new(target, size, share), super::nothing_to_count)?;
    let operations = outcome.measured.operations;
    Ok((outcome.report(Report::new("echo"), operations * size as u64), operations))
}

fn check_self(options: &Options, size: usize, cpu: Option<usize>) -> Result<Report, Wrong> {
    crate::socket::raise_open_files(2 * options.connections)?;
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let listener = listen(any)?;
    let address = listener.local_addr().map_err(|error| Wrong::io(any, &error))?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| {
            cpu.map_or(Ok(()), crate::socket::pin)?;
            let served = Serve::new(&listener).and_then(|mut serve| serve.run(&mut Mirror, &stop));
            served.map(|()| server::thread_cpu_ns())
        });
        let result = against(options, address, size);
        stop.store(true, Ordering::Relaxed);
        let cpu_ns = echo.join().expect("a panic is reported where it happens")?;
        let (report, operations) = result?;
        let each = cpu_ns as f64 / 1e3 / operations.max(1) as f64;
        // The generator's own figures have the echo's thread in them.
        Ok(report.figure("is_self_check", true).figure("echo_thread_cpu_us_each", rounded(each, 2)))
    })
}

/// Says what it is told.
struct Mirror;

impl Service for Mirror {
    fn opened(&mut self, _id: usize, _output: &mut Vec<u8>) {}

    fn input(&mut self, _id: usize, bytes: &[u8], output: &mut Vec<u8>) -> Then {
        output.extend_from_slice(bytes);
        Then::Answer
    }
}

struct Echo {
    target: Target,
    /// What is sent, from `start` on; it differs from one time to the next.
    pattern: Vec<u8>,
    size: usize,
    lines: Vec<Line>,
    serial: usize,
}

#[derive(Clone, Copy, Default)]
struct Line {
    start: usize,
    come: usize,
}

/// Starts in the pattern.
const STARTS: usize = 251;

impl Echo {
    fn new(target: Target, size: usize, share: Share) -> Self {
        let mut random = base::Random::new(1 + share.thread as u64);
        let pattern = (0..size + STARTS).map(|_| random.below(256) as u8).collect();
        Self { target, pattern, size, lines: vec![Line::default(); share.connections], serial: 0 }
    }
}

impl Scenario for Echo {
    fn target(&self, _id: usize) -> Target {
        self.target
    }

    fn opened(&mut self, id: usize, io: &mut Io) {
        io.ready(id);
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { start, come } = &mut self.lines[id];
        let expected = self.pattern.get(*start + *come..*start + *come + bytes.len());
        if *come + bytes.len() > self.size || expected != Some(bytes) {
            return Err(Wrong::Answer("the echo is not what was said".into()));
        }
        *come += bytes.len();
        if *come == self.size {
            io.done(id);
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.serial += 1;
        let start = self.serial % STARTS;
        self.lines[id] = Line { start, come: 0 };
        io.output(id).extend_from_slice(&self.pattern[start..start + self.size]);
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        io.hang_up(id);
    }
}
