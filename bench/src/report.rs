//! What a run found: one line of JSON, or a table. And what many runs found beside each other:
//!
//! ```text
//! command.rs -> results.rs (lines of JSON) -> study.rs (groups, spreads, ratios) -> sheets.rs -> terminal, Markdown
//!                                                          +-----------------------> ../plot.rs, ../html.rs
//! ```

mod command;
mod results;
mod sheet;
pub(crate) mod sheets;
mod study;
mod summary;
mod tags;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use serde_json::{Map, Value, json};

use crate::cli::Options;
use crate::measured::Measured;
use crate::message::Size;
use crate::server::Usage;
use crate::wrong::Wrong;

pub(crate) use command::{ReportArgs, run};
pub(crate) use results::Run;
pub(crate) use sheet::{NONE, Sheet, number, spread};
pub(crate) use study::{CPU, Case, Group, Metric, RATE, Spread, Study};
pub(crate) use tags::Tags;

/// The figures of a scenario.
pub(crate) struct Report {
    scenario: &'static str,
    measured: Option<Measured>,
    /// In the order of the table.
    figures: Vec<(String, Value)>,
}

/// What was used between the first operation and the last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) before: Usage,
    pub(crate) after: Usage,
    /// Processor time of the load generator, nanoseconds.
    pub(crate) generator_cpu_ns: u64,
    /// Processor time of the whole machine, nanoseconds, to a hundredth of a second.
    pub(crate) machine_cpu_ns: u64,
    /// From the first operation until all was checked, seconds.
    pub(crate) seconds: f64,
    /// Whether server figures were read at all.
    pub(crate) has_server: bool,
}

impl Report {
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self { scenario, measured: None, figures: Vec::new() }
    }

    /// A figure of this scenario alone.
    pub(crate) fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.push((name.into(), value.into()));
        self
    }

    /// Latencies and rates.
    pub(crate) fn measured(mut self, measured: Measured) -> Self {
        let seconds = measured.time.as_secs_f64().max(1e-9);
        let figures = &mut self.figures;
        figures.push(("operations".into(), measured.operations.into()));
        figures.push(("unstarted".into(), measured.unstarted.into()));
        figures.push(("seconds".into(), rounded(seconds, 3)));
        figures.push(("rate_per_s".into(), rounded(measured.operations as f64 / seconds, 1)));
        figures.push(("latency_us".into(), measured.latency_us()));
        self.measured = Some(measured);
        self
    }

    /// Processor time and bytes by operation; `payload_bytes` are those that the server took or gave.
    pub(crate) fn used(mut self, used: &Used, payload_bytes: u64) -> Self {
        let operations = self.measured.as_ref().map_or(1, |measured| measured.operations).max(1) as f64;
        let us_each = |ns: u64| rounded(ns as f64 / 1000.0 / operations, 2);
        let share = |ns: u64| rounded(ns as f64 / 1e9 / used.seconds.max(1e-9), 3);
        let figures = &mut self.figures;
        figures.push(("payload_bytes".into(), payload_bytes.into()));
        figures.push(("generator_cpu_us_each".into(), us_each(used.generator_cpu_ns)));
        figures.push(("generator_cores".into(), share(used.generator_cpu_ns)));
        let mut others = used.machine_cpu_ns.saturating_sub(used.generator_cpu_ns);
        if used.has_server {
            let cpu_ns = used.after.cpu_ns.saturating_sub(used.before.cpu_ns);
            let written = used.after.written_bytes.saturating_sub(used.before.written_bytes);
            others = others.saturating_sub(cpu_ns);
            figures.push(("server_cpu_us_each".into(), us_each(cpu_ns)));
            figures.push(("server_cores".into(), share(cpu_ns)));
            figures.push(("server_rss_kib".into(), used.after.rss_kib.into()));
            figures.push(("server_written_bytes".into(), written.into()));
            if payload_bytes > 0 {
                figures.push(("written_per_byte".into(), rounded(written as f64 / payload_bytes as f64, 3)));
            }
        }
        figures.push(("others_cores".into(), share(others)));
        self
    }

    /// Prints, and writes the distribution where it was asked for.
    pub(crate) fn print(&self, options: &Options) -> Result<(), Wrong> {
        if let (Some(file), Some(measured)) = (&options.histogram, &self.measured) {
            std::fs::write(file, measured.distribution())
                .map_err(|error| Wrong::io(file.display(), &error))?;
        }
        let text = if options.is_json { self.line(options) } else { self.table(options) };
        writeln!(std::io::stdout(), "{text}").map_err(|error| Wrong::io("standard output", &error))
    }

    fn line(&self, options: &Options) -> String {
        let mut line = opening(options, self.scenario);
        line.insert("figures".into(), self.figures.iter().cloned().collect::<Map<_, _>>().into());
        if let Some(measured) = &self.measured {
            line.insert("histogram".into(), measured.histogram().into());
            line.insert("series".into(), measured.series());
        }
        Value::from(line).to_string()
    }

    fn table(&self, options: &Options) -> String {
        let plural = if options.connections == 1 { "" } else { "s" };
        let size = match options.size {
            Size::Fixed(bytes) => format!("{bytes} bytes"),
            Size::Mixed => "mixed sizes".into(),
        };
        let pace = options.rate.map_or_else(
            || "each connection goes on at once".into(),
            |rate| format!("{rate} operations a second at intended times"),
        );
        let load = format!("{} connection{plural}, {size}, {pace}", options.connections);
        summary::table(self.scenario, &load, &self.figures)
    }
}

#[cfg(test)]
impl Report {
    pub(crate) fn figure_named(&self, name: &str) -> Option<&Value> {
        self.figures.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// A percentile of all operations.
    pub(crate) fn latency_percentile_us(&self, percentile: f64) -> f64 {
        self.measured.as_ref().map_or(0.0, |measured| measured.percentile_us(percentile))
    }
}

/// The line of a run that failed, so that it is missed where results are read; nothing where a person reads.
pub(crate) fn print_wrong(options: &Options, scenario: &str, wrong: &Wrong) {
    if options.is_json {
        let mut line = opening(options, scenario);
        line.insert("wrong".into(), wrong.to_string().into());
        println!("{}", Value::from(line));
    }
}

/// What is known before a run begins.
fn opening(options: &Options, scenario: &str) -> Map<String, Value> {
    let mut line = options.tags.line(scenario);
    let asked = json!({
        "label": options.label,
        "host": options.host.to_string(),
        "connections": options.connections,
        "users": options.users,
        "size": match options.size {
            Size::Fixed(bytes) => bytes.into(),
            Size::Mixed => Value::from("mixed"),
        },
        // Of the two ends a count goes first.
        "duration_s": options.count.is_none().then_some(options.duration.as_secs_f64()),
        "count": options.count,
        "rate_intended": options.rate,
        "is_tls": options.is_tls,
        "load_cpus": options.cpus,
    });
    if let Value::Object(asked) = asked {
        line.extend(asked);
    }
    line
}

/// To so many decimal places.
pub(crate) fn rounded(value: f64, places: i32) -> Value {
    let factor = 10_f64.powi(places);
    ((value * factor).round() / factor).into()
}
