//! Whether a message meets a SEARCH, as far as what has been read of it can tell.

use account::Message;
use base::Timestamp;
use mime::{Date, PartTree};

use super::plan::Test;
use crate::command::search::{DateOf, Relation};

/// What has been read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Its row.
    pub(super) message: &'a Message,
    /// Its header.
    pub(super) header: Option<&'a [u8]>,
    /// All of it with its parts.
    pub(super) whole: Option<(&'a [u8], &'a PartTree)>,
}

impl<'a> Facts<'a> {
    /// Nothing but the row.
    pub(super) const fn of_row(message: &'a Message) -> Self {
        Self { message, header: None, whole: None }
    }
}

/// Whether the test holds, or `None` when more must be read to tell. With the whole message it is
/// never `None`. Nesting is bounded by the command's grammar.
pub(super) fn judge(test: &Test, facts: &Facts<'_>) -> Option<bool> {
    let message = facts.message;
    Some(match test {
        Test::Always(verdict) => *verdict,
        Test::All(tests) => return all(tests, facts),
        Test::Either(a, b) => return either(a, b, facts),
        Test::Not(test) => return judge(test, facts).map(|verdict| !verdict),
        Test::Uids(uids) => uids.contains(message.uid.0),
        Test::Flag(flag) => message.flags.has(*flag),
        Test::Keyword(index) => message.keywords.has(*index),
        Test::Date(DateOf::Received, relation, date) => holds(*relation, day(message.received), *date),
        Test::Date(DateOf::Saved, relation, date) => holds(*relation, day(message.saved), *date),
        Test::Date(DateOf::Sent, relation, date) => {
            // RFC 9051 §6.4.4: the date as its sender's clock showed it, zone disregarded.
            let sent = mime::field(facts.header?, "Date").and_then(|field| mime::sent_on(field.value));
            sent.is_some_and(|sent| holds(*relation, sent, *date))
        }
        Test::Larger(size) => u64::from(message.size) > *size,
        Test::Smaller(size) => u64::from(message.size) < *size,
        Test::ReceivedUntil(moment) => message.received <= *moment,
        Test::ReceivedFrom(moment) => message.received >= *moment,
        Test::ModSeq(change) => message.change >= *change,
        Test::Id(id) => message.id == *id,
        Test::HasField(name) => mime::field(facts.header?, name).is_some(),
        Test::Field(name, needle) => mime::header_matches(facts.header?, name, needle),
        Test::Body(needle) => {
            let (bytes, tree) = facts.whole?;
            mime::body_matches(bytes, tree, needle)
        }
        Test::Text(needle) => {
            let (bytes, tree) = facts.whole?;
            mime::text_matches(bytes, tree, needle)
        }
    })
}

/// One that does not hold decides, whatever is not known of the others.
fn all(tests: &[Test], facts: &Facts<'_>) -> Option<bool> {
    let mut verdict = Some(true);
    for test in tests {
        match judge(test, facts) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => verdict = None,
        }
    }
    verdict
}

fn either(a: &Test, b: &Test, facts: &Facts<'_>) -> Option<bool> {
    match (judge(a, facts), judge(b, facts)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn holds(relation: Relation, date: Date, given: Date) -> bool {
    match relation {
        Relation::Before => date < given,
        Relation::On => date == given,
        Relation::Since => date >= given,
    }
}

/// The date of a moment, in UTC: the zone in which INTERNALDATE is told.
fn day(at: Timestamp) -> Date {
    let (year, month, day, ..) = at.civil_utc();
    Date { year, month, day }
}
