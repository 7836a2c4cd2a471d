//! What all shards count, gathered for whoever asked: as JSON for `angarium top` and programs, as
//! text for Prometheus.

#![expect(clippy::cast_precision_loss, reason = "figures to look at: 52 bits are enough")]

mod exposition;

use std::rc::Rc;

pub use self::exposition::CONTENT_TYPE;

use base::ShardId;
use serde_json::{Map, Value, json};
use shard::{Family, Kind, Sample, Samples, Shard, SlowOperation, Value as Counted, Wait};

use crate::Failure;
use crate::failures::gone;

/// What a server has counted up to now.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// About the process.
    pub process: Vec<Sample>,
    /// About each shard.
    pub shards: Vec<Samples>,
}

impl Snapshot {
    /// Asks every shard, from any of them.
    pub async fn gather(shard: &Shard) -> Result<Self, Failure> {
        let mut shards = Vec::with_capacity(usize::from(shard.router.shards()));
        for id in 0..shard.router.shards() {
            let asked = shard.router.on(ShardId(id), async |there: Rc<Shard>| there.samples());
            shards.push(asked.await.map_err(|_| gone())?);
        }
        let process = shard.world.process().map_or_else(Vec::new, |process| process.samples());
        Ok(Self { process, shards })
    }

    /// The text that Prometheus reads, format 0.0.4.
    pub fn exposition(&self) -> String {
        exposition::text(self)
    }

    /// For the control socket (`docs/formats/control.md`).
    pub(crate) fn json(&self) -> Value {
        let shards: Vec<Value> = self
            .shards
            .iter()
            .enumerate()
            .map(|(shard, samples)| {
                let clock_s = samples.clock_ns as f64 / 1e9;
                json!({ "shard": shard, "clock_s": clock_s, "metrics": by_name(&samples.all) })
            })
            .collect();
        json!({ "process": by_name(&self.process), "shards": shards })
    }

    /// The values of one metric, with the shard they are about.
    fn of<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = (Option<usize>, &'a Sample)> {
        let of_shards = self.shards.iter().enumerate();
        let of_shards =
            of_shards.flat_map(|(shard, samples)| samples.all.iter().map(move |one| (Some(shard), one)));
        let all = self.process.iter().map(|one| (None, one)).chain(of_shards);
        all.filter(move |(_, sample)| std::ptr::eq(sample.family, family))
    }
}

/// Values by metric, and below it by label after label.
fn by_name(samples: &[Sample]) -> Value {
    let mut all = Map::new();
    for sample in samples {
        let Some((last, outer)) = sample.labels.split_last() else {
            all.insert(sample.family.name.to_owned(), value(sample));
            continue;
        };
        let mut place = all.entry(sample.family.name).or_insert_with(|| Value::Object(Map::new()));
        for label in outer {
            place = &mut place[label.as_ref()];
        }
        place[last.as_ref()] = value(sample);
    }
    Value::Object(all)
}

fn value(sample: &Sample) -> Value {
    let distribution = match &sample.value {
        Counted::Whole(value) => return json!(value),
        Counted::Seconds(value) => return json!(value),
        Counted::Distribution(distribution) => distribution,
    };
    let unit = |value: u64| match sample.family.kind {
        Kind::Histogram { per_unit } if per_unit != 1 => json!(value as f64 / f64::from(per_unit)),
        _ => json!(value),
    };
    let buckets: Vec<Value> =
        distribution.buckets().iter().map(|(end, count)| json!([unit(*end), count])).collect();
    json!({ "count": distribution.count(), "sum": unit(distribution.sum()), "buckets": buckets })
}

/// The slow operations that shards have kept, newest last in each; of one shard if one is named.
pub(crate) async fn slow(shard: &Shard, only: Option<u16>) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for id in (0..shard.router.shards()).filter(|id| only.is_none_or(|only| only == *id)) {
        let asked = shard.router.on(ShardId(id), async |there: Rc<Shard>| there.metrics.slow_operations());
        let kept = asked.await.map_err(|_| gone())?;
        all.extend(kept.iter().map(|slow| (slow.at, slow_json(id, slow))));
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, slow)| slow).collect())
}

fn slow_json(shard: u16, slow: &SlowOperation) -> Value {
    let mut json = json!({
        "at_ms": slow.at.as_ms(),
        "shard": shard,
        "connection": slow.connection,
        "protocol": slow.protocol.name(),
        "operation": slow.operation.name(),
        "account": slow.account.map(|account| account.0),
        "total_ms": slow.total_ms,
        "work_ms": slow.work_ms(),
    });
    for (wait, waited) in Wait::ALL.iter().zip(slow.waits_ms) {
        json[format!("{}_ms", wait.name())] = json!(waited);
    }
    json
}
