//! Instructions and allocations of sessions, parsers and the store's encoder: figures that no other load on the
//! machine moves.
//!
//! ```text
//! measure: callgrind runs this program with `run`, and each case leaves a dump -> JSON on standard output
//! table:   cases.rs -> JSON of this commit, and of the one before -> a table, side by side
//! ```
//!
//! Every case is fixed input through the real code: sessions with their handlers, on accounts whose disk is simulated and
//! instant. `perf-scripts/counts.sh` measures this commit and the one before.

// Figures are shown, not computed with.
#![allow(clippy::cast_precision_loss)]

mod alloc;
mod callgrind;
mod cases;
mod drive;
mod table;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const USAGE: &str = "usage: angarium-counts run        each case once, allocations alone
       angarium-counts measure    instructions too, by valgrind; JSON
       angarium-counts table NEW.json [OLD.json]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["run"] => Ok(cases::run()),
        ["measure"] => callgrind::measure(),
        ["table", new] => table::of_files(new, None),
        ["table", new, old] => table::of_files(new, Some(old)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("angarium-counts: {why}");
            ExitCode::FAILURE
        }
    }
}
