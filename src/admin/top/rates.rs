//! From what a server had counted at two moments to what it did between them.

#![expect(clippy::cast_precision_loss, reason = "figures to look at: 52 bits are enough")]

use base::Timestamp;
use serde_json::{Map, Value, json};

/// Names of the protocols, as metrics have them.
pub(super) const PROTOCOLS: [&str; 6] = ["smtp", "submission", "lmtp", "imap", "pop3", "https"];
/// Names of the queues, as metrics have them.
pub(super) const QUEUES: [&str; 3] = ["interactive", "delivery", "background"];

/// What a server had counted at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    at: Timestamp,
    process: Value,
    /// In the order of their numbers.
    shards: Vec<Counted>,
}

/// One shard's counts.
#[derive(Clone, Debug)]
struct Counted {
    shard: u64,
    clock_s: f64,
    metrics: Value,
}

impl Moment {
    /// From the answer to [`crate::Request::Metrics`].
    pub(super) fn of(answer: &Value, at: Timestamp) -> Self {
        let shards = answer["shards"].as_array().into_iter().flatten();
        let shards = shards.map(|shard| Counted {
            shard: shard["shard"].as_u64().unwrap_or(0),
            clock_s: shard["clock_s"].as_f64().unwrap_or(0.0),
            metrics: shard["metrics"].clone(),
        });
        Self { at, process: answer["process"].clone(), shards: shards.collect() }
    }
}

/// The sum of a metric over all its labels, or of the part of it below some of them.
fn sum(value: &Value) -> f64 {
    match value {
        Value::Object(parts) => parts.values().map(sum).sum(),
        value => value.as_f64().unwrap_or(0.0),
    }
}

/// Open connections of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Open {
    pub(super) plain: f64,
    pub(super) tls: f64,
}

/// How often which sizes came in an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// The first value above each bucket, and the count in it.
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

impl Spread {
    fn of(value: &Value) -> Self {
        let pair = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_f64()?));
        let buckets = value["buckets"].as_array().into_iter().flatten().filter_map(pair).collect();
        Self { buckets, sum: value["sum"].as_f64().unwrap_or(0.0) }
    }

    fn since(mut self, earlier: &Self) -> Self {
        for (end, count) in &mut self.buckets {
            let known = earlier.buckets.iter().find(|(known, _)| known.total_cmp(end).is_eq());
            *count -= known.map_or(0.0, |(_, count)| *count);
        }
        self.buckets.retain(|(_, count)| *count > 0.0);
        self.sum -= earlier.sum;
        self
    }

    fn add(&mut self, other: &Self) {
        for (end, count) in &other.buckets {
            match self.buckets.iter_mut().find(|(known, _)| known.total_cmp(end).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => self.buckets.push((*end, *count)),
            }
        }
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.sum += other.sum;
    }

    pub(super) fn count(&self) -> f64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0.0).then(|| self.sum / count)
    }

    /// A value that so much of all values is below, to the end of its bucket.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = self.count() * share;
        let mut seen = 0.0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(end, _)| *end)
    }
}

/// What one shard, or all together, did in an interval. Rates are a second's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// `None` is all of them.
    pub(super) shard: Option<u64>,
    /// Of a core; of all shards, the sum of their shares.
    pub(super) busy: f64,
    pub(super) queues: [f64; QUEUES.len()],
    pub(super) turns: f64,
    pub(super) wakes: f64,
    pub(super) jobs: f64,
    pub(super) waiting: f64,
    pub(super) waiting_max: f64,
    pub(super) open: [Open; PROTOCOLS.len()],
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
    pub(super) logins: f64,
    pub(super) logins_denied: f64,
    pub(super) messages: f64,
    pub(super) rejected: f64,
    pub(super) delivered: f64,
    pub(super) commits: f64,
    pub(super) commit_transactions: Spread,
    pub(super) commit_bytes: Spread,
    pub(super) flush: Spread,
    /// Protocol, operation and its times.
    pub(super) operations: Vec<(String, String, Spread)>,
    pub(super) slow_in_all: f64,
    /// What is now: by metric's name.
    pub(super) gauges: Vec<(&'static str, f64)>,
}

/// Gauges that are shown, and whose sum over the shards means something.
const GAUGES: [&str; 13] = [
    "angarium_commits_in_flight",
    "angarium_transactions_pending",
    "angarium_journal_bytes",
    "angarium_replay_bytes",
    "angarium_index_runs",
    "angarium_index_bytes",
    "angarium_fresh_index_bytes",
    "angarium_content_bytes",
    "angarium_content_limit_bytes",
    "angarium_directory_cached",
    "angarium_body_bytes_total",
    "angarium_dead_body_bytes_total",
    "angarium_store_written_bytes_total",
];

impl Row {
    fn between(last: Option<&Counted>, now: &Counted) -> Self {
        let none = Value::Null;
        let before = last.map_or(&none, |last| &last.metrics);
        let seconds = last.map_or(0.0, |last| now.clock_s - last.clock_s);
        // A server that was started again has counted less than before: then there is no rate.
        let rate = |pick: &dyn Fn(&Value) -> f64| {
            if seconds > 0.0 { ((pick(&now.metrics) - pick(before)) / seconds).max(0.0) } else { 0.0 }
        };
        let of = |name: &'static str| rate(&move |metrics| sum(&metrics[name]));
        let spread = |name: &str| Spread::of(&now.metrics[name]).since(&Spread::of(&before[name]));
        let now_is = |name: &str| sum(&now.metrics[name]);
        Self {
            shard: Some(now.shard),
            busy: of("angarium_shard_cpu_seconds_total"),
            queues: QUEUES.map(|queue| rate(&|metrics| sum(&metrics["angarium_queue_seconds_total"][queue]))),
            turns: of("angarium_executor_turns_total"),
            wakes: of("angarium_watchdog_wakes_total"),
            jobs: of("angarium_inbox_jobs_total"),
            waiting: now_is("angarium_inbox_waiting"),
            waiting_max: now_is("angarium_inbox_waiting_max"),
            open: PROTOCOLS.map(|protocol| {
                let open = &now.metrics["angarium_connections"][protocol];
                Open { plain: sum(&open["no"]), tls: sum(&open["yes"]) }
            }),
            received_bytes: of("angarium_received_bytes_total"),
            sent_bytes: of("angarium_sent_bytes_total"),
            logins: rate(&|metrics| sum(&metrics["angarium_logins_total"]["ok"])),
            logins_denied: rate(&|metrics| sum(&metrics["angarium_logins_total"]["denied"])),
            messages: of("angarium_messages_received_total"),
            rejected: of("angarium_messages_rejected_total") + of("angarium_recipients_rejected_total"),
            delivered: of("angarium_messages_delivered_total"),
            commits: of("angarium_commits_total"),
            commit_transactions: spread("angarium_commit_transactions"),
            commit_bytes: spread("angarium_commit_bytes"),
            flush: spread("angarium_flush_seconds"),
            operations: operations(before, &now.metrics),
            slow_in_all: now_is("angarium_slow_operations_total"),
            gauges: GAUGES.map(|name| (name, now_is(name))).to_vec(),
        }
    }

    fn add(&mut self, other: &Self) {
        let numbers = [
            (&mut self.busy, other.busy),
            (&mut self.turns, other.turns),
            (&mut self.wakes, other.wakes),
            (&mut self.jobs, other.jobs),
            (&mut self.waiting, other.waiting),
            (&mut self.received_bytes, other.received_bytes),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.logins, other.logins),
            (&mut self.logins_denied, other.logins_denied),
            (&mut self.messages, other.messages),
            (&mut self.rejected, other.rejected),
            (&mut self.delivered, other.delivered),
            (&mut self.commits, other.commits),
            (&mut self.slow_in_all, other.slow_in_all),
        ];
        for (sum, more) in numbers {
            *sum += more;
        }
        self.waiting_max = self.waiting_max.max(other.waiting_max);
        self.queues.iter_mut().zip(other.queues).for_each(|(sum, more)| *sum += more);
        for (sum, more) in self.open.iter_mut().zip(other.open) {
            (sum.plain, sum.tls) = (sum.plain + more.plain, sum.tls + more.tls);
        }
        self.commit_transactions.add(&other.commit_transactions);
        self.commit_bytes.add(&other.commit_bytes);
        self.flush.add(&other.flush);
        for (protocol, operation, times) in &other.operations {
            let same = |one: &&mut (String, String, Spread)| one.0 == *protocol && one.1 == *operation;
            match self.operations.iter_mut().find(same) {
                Some((_, _, sum)) => sum.add(times),
                None => self.operations.push((protocol.clone(), operation.clone(), times.clone())),
            }
        }
        if self.gauges.is_empty() {
            self.gauges.clone_from(&other.gauges);
        } else {
            self.gauges.iter_mut().zip(&other.gauges).for_each(|(sum, more)| sum.1 += more.1);
        }
    }

    pub(super) fn gauge(&self, name: &str) -> f64 {
        self.gauges.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value)
    }

    pub(super) fn connections(&self) -> f64 {
        self.open.iter().map(|open| open.plain + open.tls).sum()
    }

    fn json(&self) -> Value {
        let spread = |values: &Spread| json!({ "mean": values.mean(), "p50": values.quantile(0.5), "p99": values.quantile(0.99) });
        let open = PROTOCOLS.iter().zip(&self.open);
        let open: Map<_, _> = open
            .map(|(name, open)| ((*name).to_owned(), json!({ "plain": open.plain, "tls": open.tls })))
            .collect();
        let queues: Map<_, _> =
            QUEUES.iter().zip(self.queues).map(|(name, share)| ((*name).to_owned(), json!(share))).collect();
        let operations = self.operations.iter().map(|(protocol, operation, times)| {
            let mut row = spread(times);
            row["protocol"] = json!(protocol);
            row["operation"] = json!(operation);
            row["count"] = json!(times.count());
            row
        });
        json!({
            "shard": self.shard, "busy": self.busy, "queues": queues, "turns": self.turns, "wakes": self.wakes,
            "jobs": self.jobs, "waiting": self.waiting, "waiting_max": self.waiting_max, "connections": open,
            "received_bytes": self.received_bytes, "sent_bytes": self.sent_bytes, "logins": self.logins,
            "logins_denied": self.logins_denied, "messages": self.messages, "rejected": self.rejected,
            "delivered": self.delivered, "commits": self.commits,
            "commit_transactions": spread(&self.commit_transactions), "commit_bytes": spread(&self.commit_bytes),
            "flush_seconds": spread(&self.flush), "operations": operations.collect::<Vec<_>>(),
            "slow_in_all": self.slow_in_all,
            "now": self.gauges.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        })
    }
}

/// What was done in the interval, most often first.
fn operations(before: &Value, now: &Value) -> Vec<(String, String, Spread)> {
    const NAME: &str = "angarium_operation_seconds";
    let mut all = Vec::new();
    for (protocol, operations) in now[NAME].as_object().into_iter().flatten() {
        for (operation, times) in operations.as_object().into_iter().flatten() {
            let times = Spread::of(times).since(&Spread::of(&before[NAME][protocol][operation]));
            if times.count() > 0.0 {
                all.push((protocol.clone(), operation.clone(), times));
            }
        }
    }
    all.sort_by(|a, b| b.2.count().total_cmp(&a.2.count()));
    all
}

/// What a server did between two moments.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) at: Timestamp,
    pub(super) version: String,
    pub(super) up_s: f64,
    /// Of a core, all threads together.
    pub(super) cpu: f64,
    pub(super) resident_bytes: f64,
    pub(super) descriptors: f64,
    pub(super) pool_waiting: f64,
    pub(super) seconds: f64,
    pub(super) shards: Vec<Row>,
    pub(super) all: Row,
}

impl View {
    pub(super) fn between(last: &Moment, now: &Moment) -> Self {
        let shards: Vec<Row> = now
            .shards
            .iter()
            .map(|shard| Row::between(last.shards.iter().find(|one| one.shard == shard.shard), shard))
            .collect();
        let mut all = Row::default();
        for row in &shards {
            all.add(row);
        }
        all.operations.sort_by(|a, b| b.2.count().total_cmp(&a.2.count()));
        let clock = |moment: &Moment| moment.shards.first().map_or(0.0, |shard| shard.clock_s);
        let seconds = clock(now) - clock(last);
        let cpu = |moment: &Moment| sum(&moment.process["process_cpu_seconds_total"]);
        let process = |name: &str| sum(&now.process[name]);
        let build = now.process["angarium_build_info"].as_object();
        Self {
            at: now.at,
            version: build.and_then(|build| build.keys().next()).cloned().unwrap_or_default(),
            up_s: (now.at.as_ms() as f64 / 1e3 - process("process_start_time_seconds")).max(0.0),
            cpu: if seconds > 0.0 { ((cpu(now) - cpu(last)) / seconds).max(0.0) } else { 0.0 },
            resident_bytes: process("process_resident_memory_bytes"),
            descriptors: process("process_open_fds"),
            pool_waiting: process("angarium_pool_waiting"),
            seconds: seconds.max(0.0),
            shards,
            all,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "at_ms": self.at.as_ms(),
            "seconds": self.seconds,
            "version": self.version,
            "up_s": self.up_s,
            "cpu": self.cpu,
            "resident_bytes": self.resident_bytes,
            "descriptors": self.descriptors,
            "pool_waiting": self.pool_waiting,
            "shards": self.shards.iter().map(Row::json).collect::<Vec<_>>(),
            "all": self.all.json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(clock_s: f64, commits: u64, flushes: u64) -> Moment {
        let shard = |shard: u64, times: u64| {
            json!({ "shard": shard, "clock_s": clock_s, "metrics": {
                "angarium_shard_cpu_seconds_total": clock_s / 4.0,
                "angarium_commits_total": commits * times,
                "angarium_flush_seconds": { "count": flushes + 1, "sum": 0.5, "buckets": [[0.25, flushes], [0.5, 1]] },
                "angarium_connections": { "imap": { "no": 2, "yes": 3 } },
                "angarium_inbox_waiting_max": times,
                "angarium_operation_seconds": { "imap": { "fetch": { "count": flushes, "sum": 1, "buckets": [[0.125, flushes]] } } },
                "angarium_content_bytes": 10,
            }})
        };
        let answer = json!({ "process": { "angarium_build_info": { "0.1.0": 1 }, "process_start_time_seconds": 100.0,
            "process_cpu_seconds_total": clock_s }, "shards": [shard(0, 1), shard(1, 3)] });
        Moment::of(&answer, Timestamp::from_s(160))
    }

    #[test]
    fn rates_are_of_the_interval_and_add_up() {
        let view = View::between(&moment(10.0, 100, 4), &moment(12.0, 140, 14));
        assert_eq!((view.up_s, view.cpu, view.seconds, view.version.as_str()), (60.0, 1.0, 2.0, "0.1.0"));
        let (first, all) = (&view.shards[0], &view.all);
        assert_eq!((first.busy, first.commits, first.connections()), (0.25, 20.0, 5.0));
        assert_eq!((all.busy, all.commits, all.connections(), all.waiting_max), (0.5, 80.0, 10.0, 3.0));
        assert_eq!((first.flush.count(), first.flush.quantile(0.99)), (10.0, Some(0.25)));
        assert_eq!((all.flush.count(), all.operations.len(), all.operations[0].2.count()), (20.0, 1, 20.0));
        assert_eq!((all.gauge("angarium_content_bytes"), all.gauge("nothing")), (20.0, 0.0));
        assert_eq!(view.json()["all"]["connections"]["imap"]["tls"], json!(6.0));
    }

    #[test]
    fn a_server_that_began_again_has_no_negative_rates() {
        let view = View::between(&moment(12.0, 140, 14), &moment(1.0, 2, 1));
        assert_eq!((view.all.commits, view.cpu, view.seconds), (0.0, 0.0, 0.0));
        assert!(view.all.flush.count() >= 0.0 && view.all.flush.mean().is_none());
    }

    #[test]
    fn every_metric_that_is_read_is_there() {
        let text = include_str!("rates.rs").split("#[cfg(test)]").next().expect("there is a first part");
        let known: Vec<&str> = shard::FAMILIES.iter().map(|family| family.name).collect();
        let named =
            text.split('"').filter(|part| part.starts_with("angarium_") || part.starts_with("process_"));
        let unknown: Vec<&str> = named.filter(|name| !known.contains(name)).collect();
        assert_eq!(unknown, [""; 0]);
        assert_eq!(PROTOCOLS, shard::Protocol::ALL.map(shard::Protocol::name));
    }
}
