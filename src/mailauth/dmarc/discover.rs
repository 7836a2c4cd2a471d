//! Finding records and organisational domains by walking up the tree (RFC 9989 §4.10).

use super::record::{Malformed, Record, Suffix, is_dmarc};
use crate::Lookup;
use crate::limits::DMARC_WALK_QUERIES_MAX;
use crate::lookup::{Gap, Questions};
use crate::name;

/// A record on the way up, and the domain that has it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) domain: String,
    pub(super) record: Result<Record, Malformed>,
}

/// The name server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// The record at `_dmarc.` of a domain. Several are none (RFC 9989 §4.10).
pub(super) async fn record_at<L: Lookup>(
    lookup: &L,
    prefix: &str,
    domain: &str,
) -> Result<Option<Result<Record, Malformed>>, NoAnswer> {
    let host = format!("{prefix}{domain}");
    if !name::is_name(&host) {
        return Ok(None);
    }
    let records = match lookup.txt(&host).await {
        Ok(records) => records,
        Err(Gap::Temporary) => return Err(NoAnswer),
        Err(Gap::NoSuchName | Gap::NoRecords) => return Ok(None),
    };
    let mut ours = records.iter().filter(|record| is_dmarc(record));
    match (ours.next(), ours.next()) {
        (Some(record), None) => Ok(Some(Record::parse(record))),
        _ => Ok(None),
    }
}

/// Walks from a domain to the top. Long names skip to their last seven labels after the first question, so
/// that there are eight at most.
pub(super) async fn walk<L: Lookup>(lookup: &L, domain: &str) -> Result<Vec<Step>, NoAnswer> {
    let mut steps = Vec::new();
    let mut count = name::labels(domain);
    while count > 0 {
        let at = name::last_labels(domain, count);
        if let Some(record) = record_at(lookup, "_dmarc.", at).await? {
            let is_end = record.as_ref().is_ok_and(|record| record.suffix != Suffix::Unknown);
            steps.push(Step { domain: at.to_owned(), record });
            if is_end {
                break;
            }
        }
        count = (count - 1).min(DMARC_WALK_QUERIES_MAX - 1);
    }
    Ok(steps)
}

/// The organisational domain that a walk from `start` shows (RFC 9989 §4.10.2).
pub(super) fn organisation(steps: &[Step], start: &str) -> String {
    for step in steps {
        let Ok(record) = &step.record else { continue };
        match record.suffix {
            Suffix::No => return step.domain.clone(),
            Suffix::Yes if step.domain != start => {
                return name::last_labels(start, name::labels(&step.domain) + 1).to_owned();
            }
            Suffix::Yes | Suffix::Unknown => {}
        }
    }
    steps.last().map_or(start, |step| &step.domain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(domain: &str, record: &str) -> Step {
        Step { domain: domain.to_owned(), record: Record::parse(record.as_bytes()) }
    }

    #[test]
    fn organisations_follow_the_tree() {
        let plain = [step("a.b.example", "v=DMARC1; p=none"), step("b.example", "v=DMARC1; p=none")];
        assert_eq!(organisation(&plain, "a.b.example"), "b.example");
        let own = [step("a.b.example", "v=DMARC1; p=none; psd=n")];
        assert_eq!(organisation(&own, "x.a.b.example"), "a.b.example");
        let suffix = [step("example", "v=DMARC1; p=none; psd=y")];
        assert_eq!(organisation(&suffix, "x.a.b.example"), "b.example");
        assert_eq!(organisation(&suffix, "example"), "example");
        assert_eq!(organisation(&[], "a.example"), "a.example");
    }
}
