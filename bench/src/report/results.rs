//! Results that were written as JSON lines, read back.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;

use crate::wrong::Wrong;

/// What stands in `peer` for what the machine itself can do: a disk, a loopback, a copy in memory.
pub(crate) const MACHINE: &str = "machine";

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) case: String,
    pub(crate) peer: String,
    pub(crate) round: u64,
    pub(crate) outcome: Outcome,
    line: Value,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With figures.
    Figures,
    /// With a wrong answer, or not at all: why.
    Wrong(String),
    /// The peer cannot do this, says whoever started the run: why.
    NotOffered(String),
}

impl Run {
    /// A line that has what every line must: a scenario, and figures or the reason why there are none.
    fn read(line: Value) -> Result<Self, String> {
        let text = |name: &str| line[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let scenario = text("scenario").or_else(|| text("case")).ok_or("neither a scenario nor a case")?;
        let outcome = if let Some(why) = text("wrong") {
            Outcome::Wrong(why)
        } else if let Some(why) = text("not_offered") {
            Outcome::NotOffered(why)
        } else if line["figures"].is_object() {
            Outcome::Figures
        } else {
            return Err("neither `figures` nor `wrong` nor `not_offered`".into());
        };
        let is_limit = scenario == "raw-write" && text("peer").is_none();
        let peer = if is_limit { Some(MACHINE.to_owned()) } else { text("peer").or_else(|| text("label")) };
        let case = text("case").unwrap_or_else(|| case_of(&scenario, &line));
        let round = line["round"].as_u64().unwrap_or(1);
        Ok(Self { case, peer: peer.unwrap_or_else(|| "unnamed".into()), round, outcome, line })
    }

    /// A number of the figures by its name; `latency_us.p50` is inside `latency_us`.
    pub(crate) fn figure(&self, path: &str) -> Option<f64> {
        // `p99.9` has a dot of its own.
        let (outer, inner) = path.split_once('.').map_or((path, None), |(outer, inner)| (outer, Some(inner)));
        let value = &self.line["figures"][outer];
        inner.map_or(value, |inner| &value[inner]).as_f64()
    }

    /// The names of all numbers among the figures, in the order of the line.
    pub(crate) fn figure_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (name, value) in self.line["figures"].as_object().into_iter().flatten() {
            match value {
                Value::Number(_) => names.push(name.clone()),
                Value::Object(parts) => {
                    let numbers = parts.iter().filter(|(_, value)| value.is_number());
                    names.extend(numbers.map(|(part, _)| format!("{name}.{part}")));
                }
                _ => {}
            }
        }
        names
    }

    /// A value of the line itself as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.line[name].as_str().filter(|text| !text.is_empty())
    }

    /// A value of the line itself.
    pub(crate) fn value(&self, name: &str) -> &Value {
        &self.line[name]
    }

    /// All latencies in nanoseconds.
    pub(crate) fn latencies(&self) -> Option<Histogram<u64>> {
        let bytes = STANDARD.decode(self.text("histogram")?).ok()?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
    }

    /// Operations a second over time: seconds since the start, and the rate in the step that ends there. The last
    /// step is left out, for it is not whole.
    pub(crate) fn rates(&self) -> Vec<(f64, f64)> {
        let series = &self.line["series"];
        let step = series["step_ms"].as_f64().unwrap_or(0.0) / 1000.0;
        let counts: Vec<f64> =
            series["operations"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        if step <= 0.0 {
            return Vec::new();
        }
        let whole = counts.len().saturating_sub(1);
        let points = counts.iter().take(whole).enumerate();
        points.map(|(i, count)| ((i + 1) as f64 * step, count / step)).collect()
    }
}

/// A name for runs that were given none.
fn case_of(scenario: &str, line: &Value) -> String {
    let number = |name: &str| line[name].as_u64();
    let size =
        number("size").map(|size| format!("{size} B")).or_else(|| line["size"].as_str().map(str::to_owned));
    let connections = number("connections").map(|connections| format!("x {connections}"));
    let words = [Some(scenario.to_owned()), size, connections];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Reads all files, in their order. A line that is no result is an error: to skip it would be to lose a run.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Run>, Wrong> {
    let mut runs = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| Wrong::io(file.display(), &error))?;
        runs.extend(parse(&text).map_err(|why| Wrong::Usage(format!("{}:{why}", file.display())))?);
    }
    if runs.is_empty() {
        return Err(Wrong::Usage("there is no result in these files".into()));
    }
    Ok(runs)
}

/// Reads JSON lines; the error begins with the line's number.
pub(crate) fn parse(text: &str) -> Result<Vec<Run>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let value = serde_json::from_str(line).map_err(|error| format!("{}: {error}", at + 1))?;
            Run::read(value).map_err(|why| format!("{}: {why}", at + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_ran_and_how_it_ended() {
        let text = r#"
            {"scenario":"login","peer":"a","case":"login x 8","round":2,"figures":{"rate_per_s":5,"latency_us":{"p99.9":7}}}
            {"scenario":"raw-write","size":4096,"figures":{}}
            {"case":"pop3","peer":"b","not_offered":"no POP3"}
            {"scenario":"login","label":"old","connections":8,"size":512,"wrong":"wrong answer: x"}"#;
        let runs = parse(text).expect("four lines");
        let first = &runs[0];
        assert_eq!((first.peer.as_str(), first.case.as_str(), first.round), ("a", "login x 8", 2));
        assert_eq!((first.figure("latency_us.p99.9"), first.figure("nothing")), (Some(7.0), None));
        assert_eq!(first.figure_names(), ["latency_us.p99.9", "rate_per_s"]);
        assert_eq!((runs[1].peer.as_str(), runs[1].case.as_str()), (MACHINE, "raw-write 4096 B"));
        assert_eq!(runs[2].outcome, Outcome::NotOffered("no POP3".into()));
        assert_eq!(runs[3].outcome, Outcome::Wrong("wrong answer: x".into()));
        assert_eq!((runs[3].peer.as_str(), runs[3].case.as_str()), ("old", "login 512 B x 8"));
    }

    #[test]
    fn what_is_no_result_is_told_with_its_line() {
        for (text, begins) in
            [("\n{", "2: "), ("{}", "1: neither a"), ("{\"scenario\":\"x\"}", "1: neither `f")]
        {
            let why = parse(text).expect_err("no result");
            assert!(why.starts_with(begins), "{why}");
        }
    }

    #[test]
    fn the_series_becomes_rates_without_its_cut_end() {
        let text = r#"{"scenario":"x","figures":{},"series":{"step_ms":100,"operations":[5,7,1]}}"#;
        let rates = parse(text).expect("a line")[0].rates();
        assert_eq!(rates, [(0.1, 50.0), (0.2, 70.0)]);
    }
}
