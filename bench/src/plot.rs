//! Plots of a case, as SVG: latency percentiles, throughput over time, processor time, scaling.
//!
//! Colours are those of [`INK`] and [`PEERS`]; a page may give them others by its style sheet, for a dark background.

mod axis;
mod draw;

use hdrhistogram::Histogram;

use crate::report::{CPU, Case, Group, Metric, RATE};
use axis::Axis;
use draw::{Bar, Line};

/// Text, lesser text, and lines of the grid.
pub(crate) const INK: [&str; 3] = ["#1B1F24", "#5A6472", "#D5DAE1"];

/// A colour for each peer in the study's order; with more peers they come again.
pub(crate) const PEERS: [&str; 8] =
    ["#0068B5", "#D2520A", "#00875F", "#B5438A", "#A87400", "#3A9BD0", "#6B6F76", "#7A4FBF"];

/// How far the latency plot goes, as nines: 1 is 90 %, 4 is 99.99 %.
const NINES_MAX: f64 = 4.0;

/// Points of a latency curve for each nine.
const POINTS_A_NINE: f64 = 24.0;

/// One picture.
#[derive(Debug)]
pub(crate) struct Plot {
    case: String,
    kind: &'static str,
    pub(crate) svg: String,
}

impl Plot {
    /// Letters, digits and hyphens.
    pub(crate) fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.case.chars().map(plain).collect();
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        format!("{}-{}.svg", words.join("-"), self.kind)
    }
}

/// All plots for which a case has figures.
pub(crate) fn of_case(case: &Case) -> Vec<Plot> {
    let plots = [
        ("latency", latencies(case)),
        ("throughput", throughput(case)),
        ("cpu", cpu(case)),
        ("scaling", scaling(case)),
    ];
    let drawn = plots.into_iter().filter_map(|(kind, svg)| Some((kind, svg?)));
    drawn.map(|(kind, svg)| Plot { case: case.name.clone(), kind, svg }).collect()
}

/// Latency over percentiles, both axes logarithmic: the tail is what is looked at.
fn latencies(case: &Case) -> Option<String> {
    let lines = lines(case, |group| curve(&latencies_of(group)?));
    let y = Axis::logarithmic("latency", &lines, axis::time_of_us)?;
    let marks = [(0.5_f64, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let furthest = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(0.0, f64::max);
    let marks = marks.map(|(quantile, text)| (nines(quantile), text.to_owned()));
    let x = Axis {
        label: "percentile of operations".into(),
        from: nines(0.5),
        to: furthest.max(1.0),
        marks: marks.into_iter().filter(|mark| mark.0 <= furthest.max(1.0) + 1e-9).collect(),
    };
    Some(draw::lines("Latency by percentile", &x, &y, &lines))
}

/// The latencies of all rounds together.
fn latencies_of(group: &Group) -> Option<Histogram<u64>> {
    let mut all: Option<Histogram<u64>> = None;
    for more in group.runs.iter().filter_map(crate::report::Run::latencies).filter(|more| !more.is_empty()) {
        match &mut all {
            Some(all) => all.add(more).ok()?,
            None => all = Some(more),
        }
    }
    all
}

/// Nines of a quantile: 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Latencies (log10 of microseconds) over nines, as far as one operation at least lies beyond.
fn curve(latencies: &Histogram<u64>) -> Option<Vec<(f64, f64)>> {
    let last = (latencies.len() as f64).log10().min(NINES_MAX);
    let first = nines(0.5);
    if last <= first {
        return None;
    }
    let steps =
        (0_u32..).map(|step| first + f64::from(step) / POINTS_A_NINE).take_while(|nines| *nines < last);
    let at = |nines: f64| {
        let ns = latencies.value_at_quantile(1.0 - 10_f64.powf(-nines)).max(1);
        (nines, (ns as f64 / 1000.0).log10())
    };
    Some(steps.chain([last]).map(at).collect())
}

/// Operations a second in each step of a run: the round whose rate is the median.
fn throughput(case: &Case) -> Option<String> {
    let lines = lines(case, |group| {
        let mut runs: Vec<_> = group.runs.iter().filter(|run| run.rates().len() > 1).collect();
        runs.sort_by(|a, b| f64::total_cmp(&RATE.of(a).unwrap_or(0.0), &RATE.of(b).unwrap_or(0.0)));
        runs.get(runs.len() / 2).map(|run| run.rates())
    });
    let x = Axis::from_zero("seconds", lines.iter().flat_map(|line| &line.points).map(|point| point.0))?;
    let y = Axis::from_zero(
        "operations a second",
        lines.iter().flat_map(|line| &line.points).map(|point| point.1),
    )?;
    Some(draw::lines("Throughput over time", &x, &y, &lines))
}

/// The server's processor time for one operation.
fn cpu(case: &Case) -> Option<String> {
    let bars = bars(case, CPU);
    (bars.len() > 1).then(|| draw::bars("Server processor time for each operation", "µs", &bars))
}

fn bars(case: &Case, metric: Metric) -> Vec<Bar> {
    let bar = |(at, group): (usize, &Group)| {
        let spread = group.spread(|run| metric.of(run))?;
        Some(Bar { name: group.peer.clone(), colour: at, spread })
    };
    case.groups.iter().enumerate().filter_map(bar).collect()
}

/// The rate over the number of shards, for peers that ran with several, and what a line through the origin would be.
fn scaling(case: &Case) -> Option<String> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, group) in case.groups.iter().enumerate() {
        let Some(shards) = group.runs.first().and_then(|run| run.value("shards").as_f64()) else { continue };
        let Some(rate) = group.spread(|run| RATE.of(run)) else { continue };
        let name = group.peer.split(", ").next().unwrap_or_default();
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push((shards, rate.median)),
            None => lines.push(Line { name: name.into(), colour: at, points: vec![(shards, rate.median)] }),
        }
    }
    lines.retain(|line| line.points.len() > 1);
    for line in &mut lines {
        line.points.sort_by(|a, b| f64::total_cmp(&a.0, &b.0));
    }
    let ideal = lines.first().and_then(|line| {
        let (first, last) = (line.points.first()?, line.points.last()?);
        let points = vec![*first, (last.0, first.1 * last.0 / first.0)];
        Some(Line { name: "in proportion".into(), colour: draw::LESSER, points })
    });
    lines.extend(ideal);
    let y = Axis::from_zero(
        "operations a second",
        lines.iter().flat_map(|line| &line.points).map(|point| point.1),
    )?;
    let x = Axis::counts("shards", lines.iter().flat_map(|line| &line.points).map(|point| point.0))?;
    Some(draw::lines("Rate by shards", &x, &y, &lines))
}

fn lines(case: &Case, points: impl Fn(&Group) -> Option<Vec<(f64, f64)>>) -> Vec<Line> {
    let line = |(at, group): (usize, &Group)| {
        Some(Line { name: group.peer.clone(), colour: at, points: points(group)? })
    };
    case.groups.iter().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_operations_end() {
        let mut latencies = Histogram::<u64>::new(3).expect("three digits");
        (1..=1000).for_each(|us| latencies.record(us * 1000).expect("it grows"));
        let curve = curve(&latencies).expect("a thousand points");
        let (first, last) = (curve[0], curve[curve.len() - 1]);
        assert!((first.0 - 0.301).abs() < 0.001 && (10_f64.powf(first.1) - 500.0).abs() < 1.0, "{first:?}");
        assert!((last.0 - 3.0).abs() < 0.001 && (10_f64.powf(last.1) - 999.0).abs() < 2.0, "{last:?}");
    }

    #[test]
    fn file_names_are_plain() {
        let plot = Plot { case: "smtp-deliver 4 KB x 32, held".into(), kind: "cpu", svg: String::new() };
        assert_eq!(plot.file_name(), "smtp-deliver-4-kb-x-32-held-cpu.svg");
    }
}
