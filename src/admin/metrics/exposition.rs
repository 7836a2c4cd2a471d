//! The text that Prometheus reads (its text format 0.0.4): each metric with its help, its kind and
//! all of its values together.

#![expect(clippy::cast_precision_loss, reason = "figures to look at: 52 bits are enough")]

use std::borrow::Cow;
use std::fmt::Write;

use shard::{Distribution, FAMILIES, Kind, Value};

use super::Snapshot;

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where buckets of seconds end, as powers of two of nanoseconds: 16 microseconds to 17 seconds.
const SECONDS: [u32; 11] = [14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34];
/// Where buckets of bytes and pieces end, as powers of two: 1 to 64 Mi.
const PIECES: [u32; 14] = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26];

pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for family in FAMILIES {
        let mut is_headed = false;
        for (shard, sample) in snapshot.of(family) {
            if !std::mem::replace(&mut is_headed, true) {
                head(&mut out, family);
            }
            let shard = shard.map(|shard| shard.to_string());
            let shard = shard.iter().map(|shard| ("shard", Cow::Borrowed(shard.as_str())));
            let own = family.labels.iter().copied().zip(sample.labels.iter().map(|label| escaped(label)));
            let labels: Vec<_> =
                shard.chain(own).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let labels = labels.join(",");
            match &sample.value {
                Value::Whole(value) => line(&mut out, family.name, &labels, value),
                Value::Seconds(value) => line(&mut out, family.name, &labels, value),
                Value::Distribution(values) => histogram(&mut out, family, &labels, values),
            }
        }
    }
    out
}

fn head(out: &mut String, family: &shard::Family) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram { .. } => "histogram",
    };
    let shard::Family { name, help, .. } = family;
    let _never_fails = write!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
}

fn line(out: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    let _never_fails = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

fn histogram(out: &mut String, family: &shard::Family, labels: &str, values: &Distribution) {
    let Kind::Histogram { per_unit } = family.kind else { return };
    let ends = if per_unit == 1 { &PIECES[..] } else { &SECONDS[..] };
    let comma = if labels.is_empty() { "" } else { "," };
    let bucket = format!("{}_bucket", family.name);
    for end in ends {
        // Below 4 pieces is up to 3 of them; a nanosecond more or less is no matter.
        let most = if per_unit == 1 {
            ((1_u64 << end) - 1) as f64
        } else {
            (1_u64 << end) as f64 / f64::from(per_unit)
        };
        line(out, &bucket, &format!("{labels}{comma}le=\"{most}\""), &values.below(1 << end));
    }
    line(out, &bucket, &format!("{labels}{comma}le=\"+Inf\""), &values.count());
    let sum = values.sum() as f64 / f64::from(per_unit);
    line(out, &format!("{}_sum", family.name), labels, &sum);
    line(out, &format!("{}_count", family.name), labels, &values.count());
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use shard::metrics::families;
    use shard::{Sample, Samples};

    use super::*;

    fn sample(family: &'static shard::Family, labels: &[&'static str], value: Value) -> Sample {
        Sample { family, labels: labels.iter().map(|label| Cow::Borrowed(*label)).collect(), value }
    }

    fn samples(all: Vec<Sample>) -> Samples {
        Samples { clock_ns: 0, all }
    }

    #[test]
    fn each_metric_stands_together_with_its_head() {
        let of_shard = |commits| {
            samples(vec![
                sample(&families::COMMITS, &[], Value::Whole(commits)),
                sample(&families::CONNECTIONS, &["imap", "yes"], Value::Whole(3)),
            ])
        };
        let process = vec![sample(&families::PROCESS_CPU, &[], Value::Seconds(1.5))];
        let text = Snapshot { process, shards: vec![of_shard(7), of_shard(8)] }.exposition();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE process_cpu_seconds_total counter",
                "process_cpu_seconds_total 1.5",
                "# TYPE angarium_connections gauge",
                "angarium_connections{shard=\"0\",protocol=\"imap\",tls=\"yes\"} 3",
                "angarium_connections{shard=\"1\",protocol=\"imap\",tls=\"yes\"} 3",
                "# TYPE angarium_commits_total counter",
                "angarium_commits_total{shard=\"0\"} 7",
                "angarium_commits_total{shard=\"1\"} 8",
            ]
        );
    }

    #[test]
    fn histograms_add_up_in_base_units() {
        let flush = Distribution::new([(65_536, 2), (1 << 22, 5), (1 << 40, 1)], 2_500_000_000);
        let shard = samples(vec![
            sample(&families::FLUSH, &[], Value::Distribution(flush)),
            sample(
                &families::COMMIT_TRANSACTIONS,
                &[],
                Value::Distribution(Distribution::new([(2, 4), (4, 1)], 7)),
            ),
        ]);
        let text = Snapshot { process: Vec::new(), shards: vec![shard] }.exposition();
        for line in [
            "angarium_flush_seconds_bucket{shard=\"0\",le=\"0.000016384\"} 0",
            "angarium_flush_seconds_bucket{shard=\"0\",le=\"0.000065536\"} 2",
            "angarium_flush_seconds_bucket{shard=\"0\",le=\"0.004194304\"} 7",
            "angarium_flush_seconds_bucket{shard=\"0\",le=\"+Inf\"} 8",
            "angarium_flush_seconds_sum{shard=\"0\"} 2.5",
            "angarium_flush_seconds_count{shard=\"0\"} 8",
            "angarium_commit_transactions_bucket{shard=\"0\",le=\"1\"} 4",
            "angarium_commit_transactions_bucket{shard=\"0\",le=\"3\"} 5",
            "angarium_commit_transactions_sum{shard=\"0\"} 7",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }

    #[test]
    fn labels_cannot_end_their_quotes() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
