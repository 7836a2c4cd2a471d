//! Load generator for mail servers: any server by host, ports and credentials.
//!
//! ```text
//! cli.rs -> scenarios/*.rs -> threads.rs -> load.rs (one event loop a thread, on ring.rs)
//!                 |                            ^ bytes and outcomes
//!                 +- wire/, message.rs --------+
//! report.rs <- measured.rs (latencies) and server.rs (what the server used)
//!     |        a line of JSON a run
//! report/, plot.rs, html.rs: many runs beside each other
//! ```
//!
//! A scenario checks every answer it gets, and counts afterwards what the server holds: a wrong answer
//! fails the run. With `--rate` operations have intended start times, and latencies count from those, so
//! that a server that stalls cannot hide it by slowing the generator down.

// Figures are printed to three or four digits.
#![allow(clippy::cast_precision_loss)]

mod cli;
mod clock;
mod html;
mod limits;
mod load;
mod machine;
mod measured;
mod message;
mod plot;
mod report;
mod ring;
mod scenarios;
mod serve;
mod server;
mod signals;
mod socket;
mod threads;
mod tls;
mod wire;
mod wrong;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::cli::Verb;

fn main() -> ExitCode {
    let matches = cli::Cli::command().get_matches();
    let cli = cli::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let name = matches.subcommand_name().unwrap_or_default();
    let outcome = match &cli.verb {
        Verb::Report(args) => report::run(args),
        Verb::Load(scenario) => cli.options().and_then(|options| {
            let report = scenarios::run(&options, scenario)
                .inspect_err(|wrong| report::print_wrong(&options, name, wrong))?;
            report.print(&options)
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("angarium-bench: {wrong}");
            ExitCode::from(wrong.exit_code())
        }
    }
}
