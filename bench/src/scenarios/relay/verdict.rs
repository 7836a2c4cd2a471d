//! What was acknowledged beside what has arrived: each recipient's message once, and how long it took.

use std::collections::BTreeMap;
use std::time::Instant;

use super::arrivals::{Arrivals, Arrived};
use crate::measured::Measured;
use crate::wrong::Wrong;

/// A message that the server said 250 to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) number: u64,
    /// When it was to be sent.
    pub(super) began: Instant,
    /// When the 250 was read.
    pub(super) at: Instant,
}

/// What came of a run in which nothing was lost, doubled or changed.
pub(super) struct Verdict {
    /// From the 250 to the arrival at the last recipient.
    pub(super) queued: Measured,
    /// From the intended start to the same.
    pub(super) through: Measured,
    pub(super) arrived_before_250: u64,
    /// Messages that were acknowledged and had not arrived, at most.
    pub(super) depth_max: u64,
    pub(super) arrived_per_second: f64,
    /// From the first start to the last arrival.
    pub(super) seconds: f64,
    pub(super) compared: u64,
    pub(super) of_other_runs: u64,
}

impl Verdict {
    pub(super) fn of(
        mut accepted: Vec<Accepted>,
        recipients: usize,
        sinks: impl Iterator<Item = Arrivals>,
    ) -> Result<Self, Wrong> {
        let (mut arrived, mut compared, mut changed, mut of_other_runs) = (Vec::new(), 0, 0, 0);
        for sink in sinks {
            arrived.extend(sink.arrived);
            compared += sink.compared;
            changed += sink.changed;
            of_other_runs += sink.of_other_runs;
        }
        if changed > 0 {
            return Err(Wrong::Answer(format!("{changed} of {compared} messages were changed on their way")));
        }
        accepted.sort_unstable_by_key(|message| message.number);
        arrived.sort_unstable();
        let last = last_arrivals(&accepted, recipients, &arrived)?;
        let began = accepted.iter().map(|message| message.began).min();
        let ended = last.iter().max().copied();
        let (Some(began), Some(ended)) = (began, ended) else {
            return Err(Wrong::Answer("not one message was acknowledged".into()));
        };
        let (mut queued, mut through, mut arrived_before_250) = (Measured::new(), Measured::new(), 0);
        for (message, at) in accepted.iter().zip(&last) {
            queued.complete(at.saturating_duration_since(message.at), began, *at);
            through.complete(at.saturating_duration_since(message.began), began, *at);
            arrived_before_250 += u64::from(*at < message.at);
        }
        let seconds = ended.saturating_duration_since(began).as_secs_f64().max(1e-9);
        Ok(Self {
            queued,
            through,
            arrived_before_250,
            depth_max: depth(&accepted, &last),
            arrived_per_second: accepted.len() as f64 / seconds,
            seconds,
            compared,
            of_other_runs,
        })
    }
}

/// When the last recipient of each message had it. Both lists are in order.
fn last_arrivals(
    accepted: &[Accepted],
    recipients: usize,
    arrived: &[Arrived],
) -> Result<Vec<Instant>, Wrong> {
    let (mut next, mut lost, mut doubled) = (arrived.iter().peekable(), 0_u64, 0_u64);
    let mut unknown = 0_u64;
    let mut all = Vec::with_capacity(accepted.len());
    for message in accepted {
        let first = message.number * recipients as u64;
        let mut last = None;
        for key in first..first + recipients as u64 {
            while next.next_if(|arrived| arrived.key < key).is_some() {
                unknown += 1;
            }
            match next.next_if(|arrived| arrived.key == key) {
                Some(arrived) => last = last.max(Some(arrived.at)),
                None => lost += 1,
            }
            while next.next_if(|arrived| arrived.key == key).is_some() {
                doubled += 1;
            }
        }
        all.push(last.unwrap_or(message.at));
    }
    unknown += next.count() as u64;
    if lost + doubled + unknown > 0 {
        return Err(Wrong::Answer(format!(
            "of {} messages acknowledged, for {recipients} recipients each: {lost} have not arrived, {doubled} \
             arrived twice, {unknown} arrived that were not acknowledged",
            accepted.len()
        )));
    }
    Ok(all)
}

/// How many messages were acknowledged and not yet there, at most.
fn depth(accepted: &[Accepted], last: &[Instant]) -> u64 {
    let mut changes = BTreeMap::<Instant, i64>::new();
    for (message, at) in accepted.iter().zip(last) {
        if message.at < *at {
            *changes.entry(message.at).or_default() += 1;
            *changes.entry(*at).or_default() -= 1;
        }
    }
    let (mut now, mut most) = (0, 0);
    for change in changes.values() {
        now += change;
        most = most.max(now);
    }
    most.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn accepted(number: u64, start: Instant, ms: u64) -> Accepted {
        let at = start + Duration::from_millis(ms);
        Accepted { number, began: at, at }
    }

    #[test]
    fn what_is_lost_doubled_or_unknown_is_seen() {
        let start = crate::clock::now();
        let all = [accepted(0, start, 0), accepted(2, start, 0)];
        let arrived = |keys: &[u64]| {
            let each = |key: &u64| Arrived { key: *key, at: start + Duration::from_millis(*key) };
            keys.iter().map(each).collect::<Vec<_>>()
        };
        let last = last_arrivals(&all, 2, &arrived(&[0, 1, 4, 5])).expect("each once");
        assert_eq!(last, [start + Duration::from_millis(1), start + Duration::from_millis(5)]);
        for (keys, expected) in [
            (&[0, 1, 4][..], "1 have not arrived, 0 arrived twice, 0 arrived that"),
            (&[0, 1, 1, 4, 5], "0 have not arrived, 1 arrived twice, 0 arrived that"),
            (&[0, 1, 2, 4, 5, 9], "0 have not arrived, 0 arrived twice, 2 arrived that"),
            (&[], "4 have not arrived"),
        ] {
            let Err(Wrong::Answer(text)) = last_arrivals(&all, 2, &arrived(keys)) else { panic!("{keys:?}") };
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_queue_is_as_deep_as_what_is_not_there_yet() {
        let start = crate::clock::now();
        let all = [accepted(0, start, 0), accepted(1, start, 10), accepted(2, start, 40)];
        let last = [30, 20, 35].map(|ms| start + Duration::from_millis(ms));
        assert_eq!(depth(&all, &last), 2);
    }
}
