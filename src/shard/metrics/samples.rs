//! A shard's counts as a list of values, to be carried to whoever asked.

#![expect(clippy::cast_precision_loss, reason = "figures to look at: 52 bits are enough")]

use std::borrow::Cow;

use super::families::{self as f, Family};
use super::{Distribution, Operation, Protocol};
use crate::limits::DESTINATIONS_SHOWN_MAX;
use crate::{Process, Shard, Vitals};

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter or gauge of whole things.
    Whole(u64),
    /// Seconds.
    Seconds(f64),
    /// A histogram.
    Distribution(Distribution),
}

/// A metric's value under one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric.
    pub family: &'static Family,
    /// The values of its labels, in their order.
    pub labels: Vec<Cow<'static, str>>,
    /// The value.
    pub value: Value,
}

/// What one shard has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// When, by a clock that never jumps, in nanoseconds.
    pub clock_ns: u64,
    /// Everything that it counts.
    pub all: Vec<Sample>,
}

fn whole(family: &'static Family, value: u64) -> Sample {
    Sample { family, labels: Vec::new(), value: Value::Whole(value) }
}

fn labelled(family: &'static Family, labels: &[&'static str], value: u64) -> Sample {
    let labels = labels.iter().map(|label| Cow::Borrowed(*label)).collect();
    Sample { family, labels, value: Value::Whole(value) }
}

fn seconds(family: &'static Family, nanoseconds: u64) -> Sample {
    Sample { family, labels: Vec::new(), value: Value::Seconds(nanoseconds as f64 / 1e9) }
}

fn distribution(family: &'static Family, value: Distribution) -> Sample {
    Sample { family, labels: Vec::new(), value: Value::Distribution(value) }
}

impl Shard {
    /// Everything that this shard counts.
    pub fn samples(&self) -> Samples {
        let vitals = self.world.vitals().unwrap_or_default();
        let mut all = turning(&vitals);
        let inbox = self.router.depth(self.id);
        all.extend([
            whole(&f::INBOX_JOBS, inbox.taken),
            whole(&f::INBOX_WAITING, inbox.waiting),
            whole(&f::INBOX_DEEPEST, inbox.waiting_max),
        ]);
        for protocol in Protocol::ALL {
            self.add_traffic(protocol, &mut all);
        }
        self.add_logins(&mut all);
        self.add_relay(&mut all);
        self.add_filters(&mut all);
        self.add_reports(&mut all);
        self.add_store(&mut all);
        all.extend([
            whole(&f::CONTENT_BYTES, self.content.used() as u64),
            whole(&f::CONTENT_LIMIT, self.settings().content_bytes_max as u64),
            whole(&f::CACHED, self.people.remembered() as u64),
        ]);
        Samples { clock_ns: vitals.clock_ns, all }
    }

    fn add_traffic(&self, protocol: Protocol, all: &mut Vec<Sample>) {
        let traffic = self.metrics.traffic(protocol);
        let name = protocol.name();
        all.extend([
            labelled(&f::CONNECTIONS, &[name, "no"], traffic.open_plain.get()),
            labelled(&f::CONNECTIONS, &[name, "yes"], traffic.open_tls.get()),
            labelled(&f::OPENED, &[name], traffic.opened.get()),
            labelled(&f::PROXIES_REFUSED, &[name], traffic.proxies_refused.get()),
            labelled(&f::HANDSHAKES_FAILED, &[name], traffic.handshakes_failed.get()),
            labelled(&f::RECEIVED_BYTES, &[name], traffic.received_bytes.get()),
            labelled(&f::SENT_BYTES, &[name], traffic.sent_bytes.get()),
        ]);
        if !matches!(protocol, Protocol::Imap | Protocol::Pop3 | Protocol::Https) {
            all.extend([
                labelled(&f::MESSAGES_RECEIVED, &[name], traffic.messages_received.get()),
                labelled(&f::MESSAGES_REJECTED, &[name], traffic.messages_rejected.get()),
                labelled(&f::RECIPIENTS_REJECTED, &[name], traffic.recipients_rejected.get()),
            ]);
        }
        for (operation, histogram) in Operation::ALL.iter().zip(&traffic.operations) {
            let Some(histogram) = histogram.get() else { continue };
            all.push(Sample {
                family: &f::OPERATION,
                labels: vec![name.into(), operation.name().into()],
                value: Value::Distribution(histogram.read()),
            });
        }
    }

    fn add_logins(&self, all: &mut Vec<Sample>) {
        let logins = &self.metrics.logins;
        all.extend([
            labelled(&f::LOGINS, &["ok"], logins.granted.get()),
            labelled(&f::LOGINS, &["denied"], logins.denied.get()),
            labelled(&f::LOGINS, &["throttled"], logins.throttled.get()),
            labelled(&f::LOGINS, &["unavailable"], logins.unavailable.get()),
            labelled(&f::LOGINS, &["challenged"], logins.challenged.get()),
            whole(&f::DELIVERED, self.metrics.delivered.get()),
            whole(&f::POLICIES_SERVED, self.metrics.policies_served.get()),
            whole(&f::SLOW, self.metrics.slow.get()),
        ]);
    }

    fn add_relay(&self, all: &mut Vec<Sample>) {
        let counts = self.relay.counts();
        let (waiting, out, down) = self.relay.load();
        all.extend([
            whole(&f::RELAY_QUEUED, counts.queued.get()),
            whole(&f::RELAY_ATTEMPTS, counts.attempts.get()),
            labelled(&f::RELAY_RECIPIENTS, &["relayed"], counts.relayed.get()),
            labelled(&f::RELAY_RECIPIENTS, &["delayed"], counts.delayed.get()),
            labelled(&f::RELAY_RECIPIENTS, &["failed"], counts.failed.get()),
            whole(&f::RELAY_IN_DOUBT, counts.in_doubt.get()),
            whole(&f::RELAY_CONNECTIONS, counts.connections.get()),
            whole(&f::RELAY_WAITING, waiting as u64),
            whole(&f::RELAY_OUT, out as u64),
            whole(&f::RELAY_DESTINATIONS_DOWN, down as u64),
        ]);
        for own in self.relay.busiest(DESTINATIONS_SHOWN_MAX) {
            let of = |family, labels: &[&'static str], value| {
                let all = std::iter::once(Cow::Owned(own.name.clone()));
                let labels = all.chain(labels.iter().map(|label| Cow::Borrowed(*label))).collect();
                Sample { family, labels, value: Value::Whole(value) }
            };
            all.extend([
                of(&f::DESTINATION_RECIPIENTS, &["relayed"], own.recipients[0]),
                of(&f::DESTINATION_RECIPIENTS, &["delayed"], own.recipients[1]),
                of(&f::DESTINATION_RECIPIENTS, &["failed"], own.recipients[2]),
                of(&f::DESTINATION_WAITING, &[], own.waiting),
                of(&f::DESTINATION_FAILURES, &[], own.failures),
            ]);
        }
    }

    fn add_reports(&self, all: &mut Vec<Sample>) {
        let tally = &self.reports.tally;
        all.extend([
            labelled(&f::REPORTS_SENT, &["dmarc"], tally.dmarc_sent.get()),
            labelled(&f::REPORTS_SENT, &["tls"], tally.tls_sent.get()),
            labelled(&f::REPORTS_SENT, &["tls-https"], tally.tls_posted.get()),
            labelled(&f::REPORTS_SENT, &["failure"], tally.failures_sent.get()),
            whole(&f::REPORTS_LEFT_OUT, tally.left_out.get()),
            labelled(&f::REPORTS_RECEIVED, &["unreadable"], tally.unreadable.get()),
            labelled(&f::REPORTS_RECEIVED, &["tls-https"], tally.posted.get()),
            labelled(&f::REPORTS_RECEIVED, &["unreadable-https"], tally.unreadable_posts.get()),
            labelled(&f::REPORTS_RECEIVED, &["throttled-https"], tally.throttled.get()),
        ]);
        for (kind, received) in reports::Kind::ALL.iter().zip(&tally.received) {
            all.push(labelled(&f::REPORTS_RECEIVED, &[kind.name()], received.get()));
        }
        all.extend(tally.complaints.borrow().iter().map(|((kind, domain, account), count)| Sample {
            labels: vec![(*kind).into(), domain.clone().into(), account.clone().into()],
            ..whole(&f::COMPLAINTS, *count)
        }));
    }

    fn add_filters(&self, all: &mut Vec<Sample>) {
        all.extend(self.filters.counts().into_iter().map(|(filter, verdict, count)| Sample {
            labels: vec![filter.into(), verdict.into()],
            ..whole(&f::FILTERED, count)
        }));
    }

    fn add_store(&self, all: &mut Vec<Sample>) {
        let stats = self.engine.stats();
        all.extend([
            whole(&f::TRANSACTIONS, stats.commits),
            whole(&f::COMMITS, stats.batches),
            distribution(&f::COMMIT_TRANSACTIONS, (&stats.batch_commits).into()),
            distribution(&f::COMMIT_BYTES, (&stats.batch_bytes).into()),
            distribution(&f::FLUSH, (&stats.flush_nanos).into()),
            whole(&f::IN_FLIGHT, stats.in_flight),
            whole(&f::PENDING, stats.pending),
            labelled(&f::WRITTEN_BYTES, &["log"], stats.bytes_written - stats.padding_bytes),
            labelled(&f::WRITTEN_BYTES, &["padding"], stats.padding_bytes),
            labelled(&f::WRITTEN_BYTES, &["zeroes"], stats.zero_bytes),
            labelled(&f::WRITTEN_BYTES, &["runs"], stats.checkpoint_bytes),
            whole(&f::READS, stats.reads),
            whole(&f::READ_BYTES, stats.bytes_read),
            whole(&f::CHECKPOINTS, stats.checkpoints),
            whole(&f::JOURNAL_BYTES, stats.journal_bytes),
            whole(&f::BODY_BYTES, stats.body_bytes),
            whole(&f::DEAD_BYTES, stats.dead_body_bytes),
            whole(&f::REPLAY_BYTES, stats.replay_bytes),
            whole(&f::RUNS, stats.runs),
            whole(&f::RUN_BYTES, stats.run_bytes),
            whole(&f::FRESH_BYTES, stats.fresh_bytes),
        ]);
    }
}

fn turning(vitals: &Vitals) -> Vec<Sample> {
    let mut all = vec![
        seconds(&f::CPU, vitals.cpu_ns),
        whole(&f::TURNS, vitals.turns),
        whole(&f::POLLS, vitals.polls),
        whole(&f::WAKES, vitals.watchdog_wakes),
        whole(&f::PANICS, vitals.panics),
    ];
    all.extend(vitals.queues_ns.iter().map(|(queue, nanoseconds)| Sample {
        labels: vec![Cow::Borrowed(*queue)],
        ..seconds(&f::QUEUE, *nanoseconds)
    }));
    all
}

impl Process {
    /// What is counted for the whole process.
    pub fn samples(&self) -> Vec<Sample> {
        let version = Cow::Borrowed(env!("CARGO_PKG_VERSION"));
        let start = Sample {
            value: Value::Seconds(self.started.as_ms() as f64 / 1e3),
            ..whole(&f::PROCESS_START, 0)
        };
        vec![
            Sample { labels: vec![version], ..whole(&f::BUILD, 1) },
            start,
            seconds(&f::PROCESS_CPU, self.cpu_ns),
            whole(&f::PROCESS_MEMORY, self.resident_bytes),
            whole(&f::PROCESS_FILES, self.descriptors),
            whole(&f::POOL_WAITING, self.pool_waiting),
        ]
    }
}
