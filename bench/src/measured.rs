//! Latencies and rates of one run.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde_json::{Value, json};

use crate::limits::{LATENCY_NS_MAX, SERIES_STEP};

/// What a run's operations took.
#[derive(Clone)]
pub(crate) struct Measured {
    /// Nanoseconds.
    latencies: Histogram<u64>,
    /// Operations completed.
    pub(crate) operations: u64,
    /// Operations whose intended start had come and for which no connection was free before the end.
    /// Their wait so far is among the latencies.
    pub(crate) unstarted: u64,
    /// From the first start to the last completion.
    pub(crate) time: Duration,
    /// Completions in each [`SERIES_STEP`] of the run.
    steps: Vec<u64>,
}

impl Measured {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("these bounds are valid");
        Self { latencies, operations: 0, unstarted: 0, time: Duration::ZERO, steps: Vec::new() }
    }

    /// An operation that took `latency` is complete at `now`, in a run that began at `began`.
    pub(crate) fn complete(&mut self, latency: Duration, began: Instant, now: Instant) {
        self.record(latency);
        self.operations += 1;
        self.time = now.saturating_duration_since(began);
        let step = (self.time.as_nanos() / SERIES_STEP.as_nanos()) as usize;
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += 1;
    }

    /// An operation that should have begun `late` ago never did.
    pub(crate) fn never_began(&mut self, late: Duration) {
        self.record(late);
        self.unstarted += 1;
    }

    fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(ns.clamp(1, LATENCY_NS_MAX));
    }

    /// Adds another thread's part of the same run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the same bounds");
        self.operations += other.operations;
        self.unstarted += other.unstarted;
        self.time = self.time.max(other.time);
        if self.steps.len() < other.steps.len() {
            self.steps.resize(other.steps.len(), 0);
        }
        self.steps.iter_mut().zip(&other.steps).for_each(|(sum, more)| *sum += more);
    }

    /// Completions over time.
    pub(crate) fn series(&self) -> Value {
        json!({ "step_ms": SERIES_STEP.as_millis() as u64, "operations": self.steps })
    }

    /// All latencies in nanoseconds, in HdrHistogram's own form (V2, compressed, base64), which its tools of every
    /// language read.
    pub(crate) fn histogram(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.latencies, &mut bytes)
            .expect("a vector takes everything, and the counts fit");
        STANDARD.encode(bytes)
    }

    /// A percentile in microseconds.
    pub(crate) fn percentile_us(&self, percentile: f64) -> f64 {
        self.latencies.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The percentiles that are reported, in microseconds.
    pub(crate) fn latency_us(&self) -> Value {
        let rounded = |us: f64| (us * 10.0).round() / 10.0;
        let at = |percentile| rounded(self.percentile_us(percentile));
        json!({
            "p50": at(50.0), "p90": at(90.0), "p99": at(99.0), "p99.9": at(99.9), "p99.99": at(99.99),
            "max": rounded(self.latencies.max() as f64 / 1000.0),
            "mean": rounded(self.latencies.mean() / 1000.0),
        })
    }

    /// The whole distribution in the text form that HdrHistogram's plotter reads, in microseconds.
    pub(crate) fn distribution(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut count = 0;
        for step in self.latencies.iter_quantiles(5) {
            count += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let inverse = if quantile < 1.0 { 1.0 / (1.0 - quantile) } else { f64::INFINITY };
            let value = step.value_iterated_to() as f64 / 1000.0;
            writeln!(text, "{value:12.3} {quantile:14.12} {count:10} {inverse:14.2}")
                .expect("a string takes everything");
        }
        writeln!(
            text,
            "#[Mean = {:.3}, StdDeviation = {:.3}]",
            self.latencies.mean() / 1e3,
            self.latencies.stdev() / 1e3
        )
        .expect("a string takes everything");
        writeln!(
            text,
            "#[Max = {:.3}, Total count = {}]",
            self.latencies.max() as f64 / 1e3,
            self.latencies.len()
        )
        .expect("a string takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_run_add_up() {
        let began = crate::clock::now();
        let mut one = Measured::new();
        let mut two = Measured::new();
        one.complete(Duration::from_micros(100), began, began + Duration::from_millis(10));
        two.complete(Duration::from_micros(300), began, began + Duration::from_millis(1500));
        two.never_began(Duration::from_millis(50));
        one.add(&two);
        assert_eq!((one.operations, one.unstarted), (2, 1));
        let counts: Vec<u64> = (0..16).map(|step| u64::from(step == 0 || step == 15)).collect();
        assert_eq!(one.series(), json!({ "step_ms": 100, "operations": counts }));
        assert_eq!(one.time, Duration::from_millis(1500));
        assert!((99.0..101.0).contains(&one.percentile_us(10.0)));
        assert!((49_900.0..50_200.0).contains(&one.percentile_us(100.0)));
        assert!(one.distribution().contains("Total count = 3"));
    }
}
