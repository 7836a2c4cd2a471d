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

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use account::Flags;
    use base::{ChangeNumber, Random};
    use sim::{Clock, samples};

    use super::*;
    use crate::command::search::Key;
    use crate::handlers::search::plan::{Plan, Reads};
    use crate::handlers::tests::Fixture;

    fn key(random: &mut Random, depth: u64) -> Key {
        let texts = ["", "plan", "café", "bob", "multipart", "grüße", "zzz"];
        let text = |random: &mut Random| texts[random.below(texts.len() as u64) as usize].to_string();
        let date = Date { year: 2026, month: 1, day: random.below(9) as u32 + 1 };
        let of = [DateOf::Received, DateOf::Sent, DateOf::Saved][random.below(3) as usize];
        let relation = [Relation::Before, Relation::On, Relation::Since][random.below(3) as usize];
        match random.below(if depth == 0 { 9 } else { 12 }) {
            0 => Key::Body(text(random)),
            1 => Key::Text(text(random)),
            2 => {
                Key::Header(["Subject", "From", "X-None"][random.below(3) as usize].to_string(), text(random))
            }
            3 => Key::Date(of, relation, date),
            4 => Key::Larger(random.below(900)),
            5 => Key::ModSeq(ChangeNumber(random.below(20))),
            6 => Key::Flag(Flags::SEEN),
            7 => Key::EmailId("M3".to_string()),
            8 => Key::All,
            9 => Key::Not(Box::new(key(random, depth - 1))),
            10 => Key::Or(Box::new(key(random, depth - 1)), Box::new(key(random, depth - 1))),
            _ => Key::And(Vec::from([key(random, depth - 1), key(random, depth - 1)])),
        }
    }

    #[test]
    fn what_is_decided_early_is_what_the_whole_message_decides() {
        let bytes: Vec<&[u8]> = samples::ALL.iter().map(|(_, bytes)| *bytes).collect();
        let ann = Fixture::new(&bytes);
        let view = ann.selected.as_deref().unwrap();
        let mut messages = Vec::new();
        ann.account.for_each(view.mailbox, |message| messages.push(*message));
        let trees: Vec<PartTree> = bytes.iter().map(|bytes| mime::scan(bytes)).collect();
        let (mut random, mut early) = (Random::new(11), 0);
        for _ in 0..300 {
            let keys = [key(&mut random, 3)];
            let plan = Plan::new(&keys, view, &[], Clock::START);
            for ((message, bytes), tree) in messages.iter().zip(&bytes).zip(&trees) {
                let header = bytes.get(..mime::end_of_headers(bytes));
                let verdict = judge(&plan.test, &Facts { message, header, whole: Some((bytes, tree)) });
                assert!(verdict.is_some(), "{keys:?}");
                for facts in [Facts::of_row(message), Facts { message, header, whole: None }] {
                    let decided = judge(&plan.test, &facts);
                    assert!(decided.is_none() || decided == verdict, "{keys:?}");
                    assert!(decided.is_some() || plan.reads > Reads::Nothing, "{keys:?}");
                    early += usize::from(decided.is_some());
                }
            }
        }
        assert!(early > 1000);
    }
}
