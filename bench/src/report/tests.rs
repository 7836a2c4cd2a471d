//! A fixed file of results, from its lines to its tables, and what goes round.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;

use super::results::parse;
use super::study::Study;
use super::{Report, sheets};
use crate::cli::Cli;
use crate::measured::Measured;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name)
}

fn study() -> Study {
    let text = std::fs::read_to_string(golden("results.jsonl")).expect("it is in the tree");
    Study::of(parse(&text).expect("every line is a result"), None).expect("there is an angarium")
}

/// Compares with a file; `UPDATE=1` writes it.
fn same(name: &str, text: &str) {
    let file = golden(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, text).expect("the tree can be written");
    }
    let expected = std::fs::read_to_string(&file).expect("it is in the tree");
    assert!(text == expected, "{name} differs; UPDATE=1 rewrites it:\n{text}");
}

#[test]
fn results_become_these_tables() {
    let markdown: Vec<String> = sheets::all(&study()).iter().map(super::Sheet::markdown).collect();
    same("report.md", &markdown.join("\n"));
}

#[test]
fn a_page_needs_nothing_beside_it_and_hides_no_failed_run() {
    let page = crate::html::page(&study());
    for part in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(part), "the page has {part}");
    }
    let references = page.matches("://").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(references, 0, "an address outside the page");
    for part in [
        "smtp-deliver 4 KB x 32",
        "no POP3 server",
        "wrong answer: 3 messages",
        "<svg ",
        "1 of 3 missing",
        "At a glance",
    ] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    for tag in ["table", "tr", "td", "th", "section", "details", "figure", "svg", "div", "p", "main"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}> opens and closes");
    }
}

#[test]
fn a_run_comes_back_from_its_line() {
    let began = crate::clock::now();
    let mut measured = Measured::new();
    for us in 1..=1000_u64 {
        measured.complete(Duration::from_micros(us), began, began + Duration::from_millis(us));
    }
    let percentile = measured.percentile_us(99.0);
    let report = Report::new("login").figure("users", 3).measured(measured);
    let words = ["bench", "--peer", "a", "--case", "c", "--round", "2", "login"];
    let options = Cli::try_parse_from(words).expect("valid").options().expect("loopback needs no look-up");
    let runs = parse(&report.line(&options)).expect("a line is a result");
    let run = &runs[0];
    assert_eq!((run.peer.as_str(), run.case.as_str(), run.round), ("a", "c", 2));
    assert_eq!((run.figure("users"), run.figure("operations")), (Some(3.0), Some(1000.0)));
    assert_eq!(run.figure("latency_us.p99").map(f64::round), Some(percentile.round()));
    let latencies = run.latencies().expect("it was written");
    assert_eq!(latencies.len(), 1000);
    assert!((latencies.value_at_quantile(0.99) as f64 / 1000.0 - percentile).abs() < 1e-9);
    // 1,000 completions in a second, ten steps and the one at its end.
    let whole_steps: f64 = run.rates().iter().map(|(_, rate)| rate / 10.0).sum();
    assert!((whole_steps - 999.0).abs() < 0.01, "{whole_steps}");
    assert!(run.value("machine")["kernel"].is_string() && run.text("command").is_some());
}

#[test]
fn memory_that_cannot_be_told_is_no_figure_and_the_whole_stands_beside_it() {
    let text = r#"
        {"scenario":"idle-connections","peer":"angarium","round":1,"figures":{"pss_kib_each":null,
            "pss_not_measurable":"less than before","whole_pss_kib_each":30.0}}
        {"scenario":"idle-connections","peer":"other","round":1,"figures":{"pss_kib_each":300.0,"whole_pss_kib_each":330.0}}"#
        .replace(",\n            ", ",");
    let study = Study::of(parse(&text).expect("lines"), None).expect("there is an angarium");
    let glance = sheets::all(&study).swap_remove(0);
    let rows: Vec<_> = glance.rows.iter().map(|row| row[1..].join(" ")).collect();
    assert_eq!(rows, ["pss_kib_each - -", "whole_pss_kib_each 30.0 11.0×"]);
}
