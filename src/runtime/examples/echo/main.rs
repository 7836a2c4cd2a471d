//! What the network layer costs: the same echo server four ways, each in a process of its own, under one
//! closed-loop generator. `echo compare` prints processor time and latency of each.
//!
//! `ours` is `Conn` as the server uses it, `spin` the same on a shard that looks for news before it sleeps,
//! `glommio` its bare sockets, `ring` a loop around an io_uring with multishot receives and provided
//! buffers, `ready` the same loop with multishot polls and system calls.

#![allow(clippy::unwrap_used, reason = "a measurement ends where it fails")]
#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]

mod glommio;
mod load;
mod ours;
mod raw;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The core of the server.
const SERVER_CPU: usize = 0;
/// The core of the generator.
const LOAD_CPU: usize = 1;
/// How long `spin` looks for news before it sleeps.
const SPIN: Duration = Duration::from_micros(50);
/// How long each cell is measured in each round.
const CELL: Duration = Duration::from_millis(300);
const KINDS: [&str; 4] = ["ours", "glommio", "ring", "ready"];

const USAGE: &str = "usage: echo serve ours|spin|glommio|ring|ready [ADDRESS]
       echo compare [ROUNDS] [CONNECTIONS,...] [BYTES,...] [KIND,...]";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", kind] => serve(kind, "127.0.0.1:0"),
        ["serve", kind, address] => serve(kind, address),
        ["compare", rest @ ..] => compare(rest),
        _ => eprintln!("{USAGE}"),
    }
}

fn serve(kind: &str, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    match kind {
        "ours" => ours::serve(address, Duration::ZERO),
        "spin" => ours::serve(address, SPIN),
        "glommio" => glommio::serve(listen(address)),
        "ring" => raw::serve(&listen(address), raw::How::Receive),
        "ready" => raw::serve(&listen(address), raw::How::Poll),
        _ => eprintln!("{USAGE}"),
    }
}

/// A listening socket whose address is printed for whoever started this process.
fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

struct Server {
    name: String,
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut process = Command::new(me).args(["serve", kind]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { name: kind.to_owned(), process, address: line.trim().parse().unwrap() }
    }

    /// Nanoseconds of processor time that its threads have used.
    fn cpu(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let of_task = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.flatten().map(|task| of_task(task.path())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _status = self.process.wait();
    }
}

/// One cell of one round.
#[derive(Clone, Copy)]
struct Figures {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

fn compare(words: &[&str]) {
    let numbers = |at: usize, default: &str| -> Vec<usize> {
        words.get(at).unwrap_or(&default).split(',').map(|word| word.parse().unwrap()).collect()
    };
    let rounds = numbers(0, "3")[0];
    let (connections, bytes) = (numbers(1, "1,64,1000"), numbers(2, "64,16384"));
    let kinds: Vec<&str> = words.get(3).map_or_else(|| KINDS.to_vec(), |list| list.split(',').collect());
    let servers: Vec<Server> = kinds.iter().map(|kind| Server::start(kind)).collect();
    load::pin(LOAD_CPU);
    println!("medians of {rounds} rounds; ratio: processor time to that of the last");
    for &count in &connections {
        for &size in &bytes {
            cell(&servers, rounds, count, size);
        }
    }
}

fn cell(servers: &[Server], rounds: usize, connections: usize, bytes: usize) {
    let mut all: Vec<Vec<Figures>> = servers.iter().map(|_| Vec::new()).collect();
    let mut clients: Vec<_> =
        servers.iter().map(|server| load::Load::connect(server.address, connections, bytes)).collect();
    for round in 0..=rounds {
        for (at, server) in servers.iter().enumerate() {
            let before = server.cpu();
            let mut latencies = clients[at].run(CELL);
            let used = server.cpu() - before;
            latencies.sort_unstable();
            let percentile = |part: usize| f64::from(latencies[latencies.len() * part / 100]) / 1000.0;
            let count = latencies.len() as f64;
            // The first round warms up.
            if round > 0 {
                all[at].push(Figures {
                    cpu_us: used as f64 / count / 1000.0,
                    p50_us: percentile(50),
                    p99_us: percentile(99),
                    per_second: count / CELL.as_secs_f64(),
                });
            }
        }
    }
    let last = median(all.last().unwrap(), |figures| figures.cpu_us);
    for (server, figures) in servers.iter().zip(&all) {
        let cpu = median(figures, |figures| figures.cpu_us);
        println!(
            "{connections:>5} connections {bytes:>6} bytes {:>8}: {cpu:>7.2} us ({:.2}), p50 {:>8.0} us, p99 {:>8.0} us, {:>8.0}/s",
            server.name,
            cpu / last,
            median(figures, |figures| figures.p50_us),
            median(figures, |figures| figures.p99_us),
            median(figures, |figures| figures.per_second),
        );
    }
}

fn median(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
