//! `angarium-bench report`: reads results, prints tables, writes a page.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::results::read;
use super::sheets;
use super::study::Study;
use crate::wrong::Wrong;
use crate::{html, plot};

/// What to read, and how to show it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// Files of JSON lines, as `--json` prints them.
    #[arg(required = true, value_name = "RESULTS.jsonl")]
    files: Vec<PathBuf>,
    /// The peer that the others are compared with. Default: angarium, or else the first.
    #[arg(long, value_name = "PEER")]
    baseline: Option<String>,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// Write one page with tables and plots here; it needs nothing beside it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write each plot as an SVG file into this folder.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

pub(crate) fn run(args: &ReportArgs) -> Result<(), Wrong> {
    let study = Study::of(read(&args.files)?, args.baseline.as_deref())?;
    let sheets = sheets::all(&study);
    let texts: Vec<String> =
        sheets.iter().map(|sheet| if args.markdown { sheet.markdown() } else { sheet.terminal() }).collect();
    std::io::stdout()
        .write_all(texts.join("\n").as_bytes())
        .map_err(|error| Wrong::io("standard output", &error))?;
    if let Some(file) = &args.html {
        write(file, &html::page(&study))?;
    }
    if let Some(folder) = &args.plots {
        std::fs::create_dir_all(folder).map_err(|error| Wrong::io(folder.display(), &error))?;
        for plot in study.cases.iter().flat_map(plot::of_case) {
            write(&folder.join(plot.file_name()), &plot.svg)?;
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Wrong> {
    std::fs::write(file, text).map_err(|error| Wrong::io(file.display(), &error))
}
