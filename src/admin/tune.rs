//! `angarium tune`: looks at the machine and says what to set, and why. It changes nothing.
//! `docs/operate/tuning.md` explains each line.

mod advice;
mod machine;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use self::advice::{Verdict, advise};
use self::machine::Machine;
use crate::{Config, Exit, Failure, print};

#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// Look at the limits of this process, a server that runs, instead of our own.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The store's folder; default: as configured.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Look at a copy of another machine's /proc, /sys and /boot below DIR.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Say only what is not as it should be.
    #[arg(long)]
    brief: bool,
}

/// Prints the advice. Ends with `Failed` when something must be set before the server can do its work well.
pub(crate) fn tune(args: &TuneArgs, file: &Path, is_json: bool) -> Result<Exit, Failure> {
    // Tuning comes before configuring: without a file the usual settings are what counts. A broken one is an error.
    let config = if file.exists() { Config::read(file)? } else { Config::default() };
    let data = args.data.clone().unwrap_or_else(|| config.server.data.clone());
    let machine = Machine::read(&args.root, args.pid, &data)?;
    let advice = advise(&machine, &config);
    let must = advice.iter().filter(|one| one.verdict == Verdict::Set).count();
    let shown = advice.iter().filter(|one| !args.brief || one.verdict != Verdict::Good);
    let rows: Vec<Value> = shown
        .map(|one| {
            json!({ "is": one.verdict.word(), "what": one.subject, "found": one.found, "set": one.set, "why": one.why })
        })
        .collect();
    if is_json {
        print::answer(&json!({ "machine": machine.summary(), "advice": rows }), true);
    } else {
        print::text(&machine.summary_words());
        for row in &rows {
            print::text(&words(row));
        }
    }
    Ok(if must == 0 { Exit::Done } else { Exit::Failed })
}

/// One piece of advice as a paragraph.
fn words(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut words = format!("\n{:<8} {}: {}", text("is"), text("what"), text("found"));
    if row["set"].is_string() {
        words.push_str("\n         set  ");
        words.push_str(&text("set").replace('\n', "\n              "));
    }
    if row["is"] != Verdict::Good.word() {
        words.push_str("\n         why  ");
        words.push_str(&text("why"));
    }
    words
}
