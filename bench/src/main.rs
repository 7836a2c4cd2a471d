//! Load generator for mail servers: any server by host, ports and credentials.
//!
//! ```text
//! cli.rs -> scenarios/*.rs -> threads.rs -> load.rs (one event loop a thread, on ring.rs)
//!                 |                            ^ bytes and outcomes
//!                 +- wire/, message.rs --------+
//! report.rs <- measured.rs (latencies) and server.rs (what the server used)
//! ```
//!
//! A scenario checks every answer it gets, and counts afterwards what the server holds: a wrong answer
//! fails the run. With `--rate` operations have intended start times, and latencies count from those, so
//! that a server that stalls cannot hide it by slowing the generator down.

// Figures are printed to three or four digits.
#![allow(clippy::cast_precision_loss)]

mod cli;
mod clock;
mod limits;
mod load;
mod machine;
mod measured;
mod message;
mod report;
mod ring;
mod scenarios;
mod server;
mod socket;
mod threads;
mod tls;
mod wire;
mod wrong;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let outcome = cli.options().and_then(|options| {
        let report = scenarios::run(&options, &cli.scenario)?;
        report.print(&options)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("angarium-bench: {wrong}");
            ExitCode::from(wrong.exit_code())
        }
    }
}
