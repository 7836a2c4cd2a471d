//! The keys of a SEARCH made ready: sets resolved against the view, keywords to bits, strings to
//! needles, moments computed.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use account::{Flags, Message};
use base::{ChangeNumber, MessageId, Ranges, Timestamp};
use mime::{Date, Needle};

use crate::command::search::{DateOf, Key, Relation};
use crate::limits::{HEADER_READ_BYTES, ROW_COST_BYTES};
use crate::response::fetch::read_email_id;
use crate::view::Selected;

/// What must hold of a message.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// Of every message, or of none.
    Always(bool),
    /// All of these.
    All(Vec<Test>),
    /// One of the two.
    Either(Box<Test>, Box<Test>),
    /// Not this.
    Not(Box<Test>),
    /// It is one of these.
    Uids(Ranges),
    /// A system flag.
    Flag(Flags),
    /// A keyword, by its place in the account's table.
    Keyword(usize),
    /// The date received or saved lies so to the one given.
    Date(DateOf, Relation, Date),
    /// RFC822.SIZE is greater.
    Larger(u64),
    /// RFC822.SIZE is less.
    Smaller(u64),
    /// INTERNALDATE is this or earlier.
    ReceivedUntil(Timestamp),
    /// INTERNALDATE is this or later.
    ReceivedFrom(Timestamp),
    /// MODSEQ is this or greater.
    ModSeq(ChangeNumber),
    /// EMAILID is this.
    Id(MessageId),
    /// A look into the message, by its place in [`Plan::looks`].
    Look(Reads, usize),
}

/// A test that has to look into the message.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// The date that its sender gave it lies so to the one given.
    Sent(Relation, Date),
    /// There is such a field.
    HasField(String),
    /// A field of that name contains the text.
    Field(String, Needle),
    /// The body contains the text.
    Body(Needle),
    /// The header or the body contains the text.
    Text(Needle),
}

impl Look {
    const fn reads(&self) -> Reads {
        match self {
            Self::Sent(..) | Self::HasField(_) | Self::Field(..) => Reads::Header,
            Self::Body(_) | Self::Text(_) => Reads::Whole,
        }
    }
}

/// How much of a message a test may have to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reads {
    /// Its row.
    Nothing,
    /// Its header.
    Header,
    /// All of it.
    Whole,
}

/// A search made ready.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) test: Test,
    /// What the test may have to look for in a message.
    pub(super) looks: Vec<Look>,
    /// The most that the test may have to see of a message.
    pub(super) reads: Reads,
    /// What judging a row counts as, in bytes.
    pub(super) row_cost: usize,
}

impl Plan {
    /// Prepares `keys`, all of which must hold.
    pub(super) fn new(keys: &[Key], view: &Selected, keywords: &[String], now: Timestamp) -> Self {
        let mut maker = Maker { view, keywords, now, looks: Vec::new(), tests: 0 };
        let test = Test::All(maker.tests(keys));
        let Maker { looks, tests, .. } = maker;
        let reads = looks.iter().map(Look::reads).max().unwrap_or(Reads::Nothing);
        Self { test, looks, reads, row_cost: ROW_COST_BYTES * tests.div_ceil(TESTS_PER_ROW_COST) }
    }

    /// Bytes that are read of a message together with others, at most: what a header has beyond
    /// is read for one message at a time.
    pub(super) fn bytes_of(&self, message: &Message) -> u32 {
        match self.reads {
            Reads::Nothing => 0,
            Reads::Header => message.size.min(HEADER_READ_BYTES),
            Reads::Whole => message.size,
        }
    }

    /// Those of the view that the sets among the outermost keys leave over.
    pub(super) fn candidates(&self, uids: &Ranges) -> Ranges {
        let Test::All(tests) = &self.test else { return uids.clone() };
        tests.iter().fold(uids.clone(), |left, test| match test {
            Test::Uids(set) => left.intersection(set),
            _ => left,
        })
    }
}

/// Tests that cost as much as looking at a row does.
const TESTS_PER_ROW_COST: usize = 8;

struct Maker<'a> {
    view: &'a Selected,
    keywords: &'a [String],
    now: Timestamp,
    looks: Vec<Look>,
    /// How many tests have been made.
    tests: usize,
}

impl Maker<'_> {
    fn tests(&mut self, keys: &[Key]) -> Vec<Test> {
        keys.iter().map(|key| self.test(key)).collect()
    }

    fn test(&mut self, key: &Key) -> Test {
        self.tests += 1;
        match key {
            Key::All => Test::Always(true),
            // Threads are not kept, so no message has a THREADID (RFC 8474 §5.2).
            Key::Nothing | Key::ThreadId(_) => Test::Always(false),
            Key::And(keys) => Test::All(self.tests(keys)),
            Key::Or(a, b) => Test::Either(Box::new(self.test(a)), Box::new(self.test(b))),
            Key::Not(key) => Test::Not(Box::new(self.test(key))),
            Key::Flag(flag) => Test::Flag(*flag),
            Key::Keyword(name) => self.keyword(name),
            Key::Numbers(set) => Test::Uids(self.view.resolve_known(set, false)),
            Key::Uids(set) => Test::Uids(self.view.resolve_known(set, true)),
            Key::Date(DateOf::Sent, relation, date) => self.look(Look::Sent(*relation, *date)),
            Key::Date(of, relation, date) => Test::Date(*of, *relation, *date),
            Key::Larger(size) => Test::Larger(*size),
            Key::Smaller(size) => Test::Smaller(*size),
            Key::Older(s) => Test::ReceivedUntil(self.ago(*s)),
            Key::Younger(s) => Test::ReceivedFrom(self.ago(*s)),
            Key::ModSeq(change) => Test::ModSeq(*change),
            Key::EmailId(id) => read_email_id(id).map_or(Test::Always(false), Test::Id),
            // RFC 9051 §6.4.4: an empty string asks only whether the field is there.
            Key::Header(field, text) if text.is_empty() => self.look(Look::HasField(field.clone())),
            Key::Header(field, text) => self.look(Look::Field(field.clone(), Needle::new(text))),
            // The empty string is in every text.
            Key::Body(text) | Key::Text(text) if text.is_empty() => Test::Always(true),
            Key::Body(text) => self.look(Look::Body(Needle::new(text))),
            Key::Text(text) => self.look(Look::Text(Needle::new(text))),
        }
    }

    fn look(&mut self, look: Look) -> Test {
        let test = Test::Look(look.reads(), self.looks.len());
        self.looks.push(look);
        test
    }

    fn keyword(&self, name: &str) -> Test {
        let at = self.keywords.iter().position(|have| have.eq_ignore_ascii_case(name));
        at.map_or(Test::Always(false), Test::Keyword)
    }

    fn ago(&self, s: u32) -> Timestamp {
        Timestamp::from_s(self.now.as_s().saturating_sub(i64::from(s)))
    }
}
