//! What a person reads after a run.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::sheet::{count, number};

/// A scenario's figures as a table: what all runs have in common in words and units, then what is this scenario's own.
pub(super) fn table(scenario: &str, load: &str, figures: &[(String, Value)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([scenario, load]);
    let figures = Figures(figures);
    for (name, value) in common(&figures) {
        table.add_row([name.to_owned(), value]);
    }
    for (name, value) in figures.others() {
        table.add_row([name, value]);
    }
    table.add_row(["wrong answers", "none: one would have ended the run"]);
    if let Some(names) = table.column_mut(0) {
        names.set_cell_alignment(CellAlignment::Left);
    }
    table.to_string()
}

/// What [`common`] shows; arrays and objects are for programs.
const SHOWN: [&str; 17] = [
    "operations",
    "unstarted",
    "seconds",
    "rate_per_s",
    "held_per_second",
    "latency_us",
    "payload_bytes",
    "generator_cpu_us_each",
    "generator_cores",
    "server_cpu_us_each",
    "server_cores",
    "server_rss_kib",
    "server_written_bytes",
    "written_per_byte",
    "device_written_bytes",
    "device_written_per_byte",
    "others_cores",
];

struct Figures<'a>(&'a [(String, Value)]);

impl Figures<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_f64()
    }

    /// The scenario's own, in its order; percentiles of one thing in one row.
    fn others(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !SHOWN.contains(&name.as_str())) {
            let (name, shown) = match (percentile(name), value.as_f64()) {
                (Some((name, point)), Some(us)) => (name.to_owned(), format!("{point} {}", time(us))),
                (None, Some(plain)) if value.is_f64() => (name.clone(), number(plain)),
                (None, Some(plain)) => (name.clone(), count(plain)),
                _ if value.is_object() || value.is_array() => continue,
                _ => (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            };
            match rows.last_mut().filter(|(last, _)| *last == name) {
                Some((_, line)) => *line = format!("{line}   {shown}"),
                None => rows.push((name, shown)),
            }
        }
        rows
    }
}

/// `data_p50_us` is the median of `data`.
fn percentile(name: &str) -> Option<(&str, &str)> {
    let (name, point) = name.strip_suffix("_us")?.rsplit_once('_')?;
    let shown = [("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"), ("max", "max")];
    shown.into_iter().find(|(known, _)| *known == point).map(|(_, shown)| (name, shown))
}

fn common(figures: &Figures<'_>) -> Vec<(&'static str, String)> {
    let rows = [
        ("operations", operations(figures)),
        ("rate", figures.number("rate_per_s").map(|rate| format!("{} /s", number(rate)))),
        ("rate until held", figures.number("held_per_second").map(|rate| format!("{} /s", number(rate)))),
        ("latency", latency(figures)),
        ("server CPU", cpu(figures, "server")),
        ("load's CPU", cpu(figures, "generator")),
        ("others' CPU", figures.number("others_cores").map(cores)),
        ("server memory", figures.number("server_rss_kib").map(|kib| bytes(kib * 1024.0))),
        ("server wrote", written(figures, "server_written_bytes", "written_per_byte")),
        ("device wrote", written(figures, "device_written_bytes", "device_written_per_byte")),
        ("mail", mail(figures)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn operations(figures: &Figures<'_>) -> Option<String> {
    let text =
        format!("{} in {} s", count(figures.number("operations")?), number(figures.number("seconds")?));
    match figures.number("unstarted") {
        Some(unstarted) if unstarted > 0.0 => {
            Some(format!("{text}; {} were due and found no connection free", count(unstarted)))
        }
        _ => Some(text),
    }
}

fn latency(figures: &Figures<'_>) -> Option<String> {
    let latency = figures.value("latency_us")?;
    let points = ["p50", "p90", "p99", "p99.9", "max"];
    let shown = points.map(|point| latency[point].as_f64().map(|us| format!("{point} {}", time(us))));
    Some(shown.into_iter().flatten().collect::<Vec<_>>().join("   "))
}

fn cpu(figures: &Figures<'_>, whose: &str) -> Option<String> {
    let each = figures.number(&format!("{whose}_cpu_us_each"))?;
    let share = figures
        .number(&format!("{whose}_cores"))
        .map_or_else(String::new, |share| format!("   {}", cores(share)));
    Some(format!("{} each{share}", time(each)))
}

fn cores(share: f64) -> String {
    format!("{share:.2} cores")
}

fn written(figures: &Figures<'_>, total: &str, each: &str) -> Option<String> {
    let text = bytes(figures.number(total)?);
    Some(
        figures
            .number(each)
            .map_or_else(|| text.clone(), |each| format!("{text}   {} for each byte of mail", number(each))),
    )
}

fn mail(figures: &Figures<'_>) -> Option<String> {
    let payload = figures.number("payload_bytes").filter(|payload| *payload > 0.0)?;
    Some(format!(
        "{}   {} MB/s",
        bytes(payload),
        number(payload / 1e6 / figures.number("seconds")?.max(1e-9))
    ))
}

/// A time in the unit that suits it.
fn time(us: f64) -> String {
    match us {
        1_000_000.0.. => format!("{} s", number(us / 1e6)),
        10_000.0.. => format!("{} ms", number(us / 1e3)),
        _ => format!("{} µs", number(us)),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        1e9.. => format!("{} GB", number(bytes / 1e9)),
        1e6.. => format!("{} MB", number(bytes / 1e6)),
        _ => format!("{} KB", number(bytes / 1e3)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_figure_has_its_row_and_units() {
        let value = |name: &str, value: Value| (name.to_owned(), value);
        let figures = [
            value("recipients", json!(1)),
            value("data_p50_us", json!(210.0)),
            value("data_p99_us", json!(1_200.0)),
            value("held_per_second", json!(29_000.0)),
            value("operations", json!(90_000)),
            value("unstarted", json!(2)),
            value("seconds", json!(3.0)),
            value("rate_per_s", json!(30_000.0)),
            value(
                "latency_us",
                json!({ "p50": 900.0, "p90": 1.0, "p99": 15_000.0, "p99.9": 1.0, "max": 2_000_000.0 }),
            ),
            value("payload_bytes", json!(368_640_000)),
            value("server_cpu_us_each", json!(28.0)),
            value("server_cores", json!(0.84)),
            value("generator_cpu_us_each", json!(9.5)),
            value("server_rss_kib", json!(52_000)),
            value("server_written_bytes", json!(400_000_000)),
            value("written_per_byte", json!(1.085)),
            value("state", json!("idle")),
            value("model", json!({ "for": "programs" })),
        ];
        let table = table("smtp-deliver", "32 connections", &figures);
        for row in [
            "90,000 in 3.00 s; 2 were due and found no connection free",
            "30,000 /s",
            "29,000 /s",
            "p50 900 µs   p90 1.00 µs   p99 15.0 ms   p99.9 1.00 µs   max 2.00 s",
            "28.0 µs each   0.84 cores",
            "9.50 µs each",
            "53.2 MB",
            "400 MB   1.08 for each byte of mail",
            "369 MB   123 MB/s",
            "p50 210 µs   p99 1,200 µs",
            "idle",
            "wrong answers",
        ] {
            assert!(table.contains(row), "{row} is not in\n{table}");
        }
        assert!(!table.contains("programs"));
    }
}
