//! Whether a message meets a SEARCH, as far as what has been read of it can tell.

use account::Message;
use base::Timestamp;
use mime::{Date, PartTree};

use super::plan::{Look, Reads, Test};
use crate::command::search::{DateOf, Relation};

/// What is missing for a verdict: to read so much of the message, and the look at that place in
/// [`Plan::looks`](super::plan::Plan).
pub(super) type Missing = (Reads, usize);

/// Whether the test holds of a message, or which look to take next to tell: one that needs the
/// least reading. `known` are the looks taken so far. Nesting is bounded by the command's grammar.
pub(super) fn judge(test: &Test, message: &Message, known: &[Option<bool>]) -> Result<bool, Missing> {
    Ok(match test {
        Test::Always(verdict) => *verdict,
        Test::All(tests) => return all(tests, message, known),
        Test::Either(a, b) => return either(judge(a, message, known), judge(b, message, known)),
        Test::Not(test) => !judge(test, message, known)?,
        Test::Uids(uids) => uids.contains(message.uid.0),
        Test::Flag(flag) => message.flags.has(*flag),
        Test::Keyword(index) => message.keywords.has(*index),
        Test::Date(DateOf::Saved, relation, date) => holds(*relation, day(message.saved), *date),
        Test::Date(_, relation, date) => holds(*relation, day(message.received), *date),
        Test::Larger(size) => u64::from(message.size) > *size,
        Test::Smaller(size) => u64::from(message.size) < *size,
        Test::ReceivedUntil(moment) => message.received <= *moment,
        Test::ReceivedFrom(moment) => message.received >= *moment,
        Test::ModSeq(change) => message.change >= *change,
        Test::Id(id) => message.id == *id,
        Test::Look(reads, index) => {
            return known.get(*index).copied().flatten().ok_or((*reads, *index));
        }
    })
}

/// One that does not hold decides, whatever is not known of the others.
fn all(tests: &[Test], message: &Message, known: &[Option<bool>]) -> Result<bool, Missing> {
    let mut verdict = Ok(true);
    for test in tests {
        match judge(test, message, known) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(missing) => verdict = Err(verdict.err().map_or(missing, |other: Missing| other.min(missing))),
        }
    }
    verdict
}

fn either(a: Result<bool, Missing>, b: Result<bool, Missing>) -> Result<bool, Missing> {
    match (a, b) {
        (Ok(true), _) | (_, Ok(true)) => Ok(true),
        (Ok(false), other) | (other, Ok(false)) => other,
        (Err(a), Err(b)) => Err(a.min(b)),
    }
}

/// What has been read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// Its header.
    pub(super) header: &'a [u8],
    /// All of it with its parts.
    pub(super) whole: Option<(&'a [u8], &'a PartTree)>,
}

/// What a look comes to.
pub(super) fn look(look: &Look, seen: &Seen<'_>) -> bool {
    let whole = || seen.whole.expect("a look into the whole message is taken when that has been read");
    match look {
        // RFC 9051 §6.4.4: the date as its sender's clock showed it, zone disregarded.
        Look::Sent(relation, date) => {
            let sent = mime::field(seen.header, "Date").and_then(|field| mime::sent_on(field.value));
            sent.is_some_and(|sent| holds(*relation, sent, *date))
        }
        Look::HasField(name) => mime::field(seen.header, name).is_some(),
        Look::Field(name, needle) => mime::header_matches(seen.header, name, needle),
        Look::Body(needle) => mime::body_matches(whole().0, whole().1, needle),
        Look::Text(needle) => mime::text_matches(whole().0, whole().1, needle),
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
    use crate::handlers::search::plan::Plan;
    use crate::handlers::tests::Fixture;
    use crate::handlers::walk::header_end;

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
    fn what_is_decided_early_is_what_all_looks_decide() {
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
                let header = bytes.get(..header_end(bytes)).unwrap();
                let seen = Seen { header, whole: Some((bytes, tree)) };
                let all: Vec<Option<bool>> = plan.looks.iter().map(|one| Some(look(one, &seen))).collect();
                let verdict = judge(&plan.test, message, &all);
                assert!(verdict.is_ok(), "{keys:?}");
                // Step by step, as a search does it: at most one step a look, in order of reading.
                let mut known: Vec<Option<bool>> = all.iter().map(|_| None).collect();
                let mut last = Reads::Nothing;
                while let Err((reads, index)) = judge(&plan.test, message, &known) {
                    assert!(last <= reads && reads <= plan.reads && known[index].is_none(), "{keys:?}");
                    known[index] = all[index];
                    last = reads;
                }
                assert_eq!(judge(&plan.test, message, &known), verdict, "{keys:?}");
                early += known.iter().filter(|known| known.is_none()).count();
            }
        }
        assert!(early > 200, "{early}");
    }
}
