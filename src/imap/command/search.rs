//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4), with RETURN (RFC 4731, 5182) and the
//! keys of RFC 5032, 7162, 8474 and 8514.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use account::Flags;
use base::ChangeNumber;
use mime::Date;

use crate::limits::{SEARCH_KEYS_MAX, SEARCH_NESTING_MAX};
use crate::parse::{Cursor, ParseError, SequenceSet};

/// Which messages are looked for, and what of them is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// UID SEARCH: the answer names UIDs.
    pub is_uid: bool,
    /// What RETURN asks for, if it was there; an empty one means ALL (RFC 4731 §3.1).
    pub returns: Option<Returns>,
    /// What CHARSET said.
    pub charset: Charset,
    /// All of these must hold.
    pub keys: Vec<Key>,
}

/// What CHARSET said of the strings; they are decoded by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Nothing: UTF-8, which has US-ASCII in it.
    Unnamed,
    /// One we know.
    Known,
    /// One we do not: `NO [BADCHARSET]` (RFC 9051 §6.4.4).
    Unknown,
}

/// The options of RETURN, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returns(u8);

impl Returns {
    /// ALL
    pub const ALL: Self = Self(1);
    /// MIN
    pub const MIN: Self = Self(2);
    /// MAX
    pub const MAX: Self = Self(4);
    /// COUNT
    pub const COUNT: Self = Self(8);
    /// SAVE (RFC 5182)
    pub const SAVE: Self = Self(16);

    const NAMED: [(Self, &'static str); 5] = [
        (Self::ALL, "ALL"),
        (Self::MIN, "MIN"),
        (Self::MAX, "MAX"),
        (Self::COUNT, "COUNT"),
        (Self::SAVE, "SAVE"),
    ];

    /// Whether `option` is in the set.
    pub const fn has(self, option: Self) -> bool {
        self.0 & option.0 == option.0
    }

    /// Whether nothing but `options` is in the set.
    pub const fn is_within(self, options: Self) -> bool {
        self.0 & !options.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What must hold of a message (RFC 9051 §9 `search-key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// ALL; OLD too, since no message is ever recent here.
    All,
    /// RECENT and NEW: no message (RFC 9051 dropped both).
    Nothing,
    /// All of these.
    And(Vec<Key>),
    /// One of the two.
    Or(Box<Key>, Box<Key>),
    /// Not this.
    Not(Box<Key>),
    /// A system flag is set.
    Flag(Flags),
    /// A keyword is set.
    Keyword(String),
    /// In a set of message sequence numbers.
    Numbers(SequenceSet),
    /// In a set of UIDs.
    Uids(SequenceSet),
    /// A date lies so to the one given, time and zone disregarded.
    Date(DateOf, Relation, Date),
    /// RFC822.SIZE is greater.
    Larger(u64),
    /// RFC822.SIZE is less.
    Smaller(u64),
    /// INTERNALDATE is so many seconds ago, or more (RFC 5032).
    Older(u32),
    /// INTERNALDATE is so many seconds ago, or less.
    Younger(u32),
    /// MODSEQ is this or greater (RFC 7162 §3.1.5).
    ModSeq(ChangeNumber),
    /// A field of that name contains the text; an empty text only asks for the field.
    Header(String, String),
    /// The text is in the body.
    Body(String),
    /// The text is in the header or the body.
    Text(String),
    /// EMAILID is this (RFC 8474 §5.3).
    EmailId(String),
    /// THREADID is this: no message has one.
    ThreadId(String),
}

/// Which date of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOf {
    /// INTERNALDATE
    Received,
    /// The Date field's.
    Sent,
    /// SAVEDATE (RFC 8514)
    Saved,
}

/// How a message's date lies to the one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Earlier.
    Before,
    /// The same.
    On,
    /// The same or later.
    Since,
}

impl Search {
    /// Whether it has the key MODSEQ, which enables CONDSTORE (RFC 7162 §3.1).
    pub fn enables_condstore(&self) -> bool {
        self.keys.iter().any(Key::has_mod_seq)
    }
}

impl Key {
    /// Whether the key MODSEQ is in it.
    pub fn has_mod_seq(&self) -> bool {
        match self {
            Self::ModSeq(_) => true,
            Self::And(keys) => keys.iter().any(Self::has_mod_seq),
            Self::Or(a, b) => a.has_mod_seq() || b.has_mod_seq(),
            Self::Not(key) => key.has_mod_seq(),
            _ => false,
        }
    }
}

/// Reads what follows `SEARCH `: `[return] [charset] search-key *(SP search-key)`.
pub(crate) fn parse(cursor: &mut Cursor<'_>, is_uid: bool) -> Result<Search, ParseError> {
    let mut returns = None;
    if cursor.skip_word("RETURN ") {
        returns = Some(return_options(cursor)?);
        cursor.sp()?;
    }
    let (mut name, mut charset) = (String::new(), Charset::Unnamed);
    if cursor.skip_word("CHARSET ") {
        let label = cursor.astring()?;
        cursor.sp()?;
        name = String::from_utf8_lossy(&label).into_owned();
        charset = if mime::charset_known(&name) { Charset::Known } else { Charset::Unknown };
    }
    let mut reader = Reader { cursor, name, charset, keys_left: SEARCH_KEYS_MAX };
    let keys = reader.keys(0)?;
    Ok(Search { is_uid, returns, charset, keys })
}

/// `"(" [search-return-opt *(SP search-return-opt)] ")"`
fn return_options(cursor: &mut Cursor<'_>) -> Result<Returns, ParseError> {
    let mut returns = Returns(0);
    cursor.open()?;
    while cursor.peek() != Some(b')') {
        let start = cursor.clone();
        let word = cursor.word()?;
        let Some((option, _)) = Returns::NAMED.iter().find(|(_, name)| word.eq_ignore_ascii_case(name))
        else {
            return start.fail("MIN, MAX, ALL, COUNT or SAVE");
        };
        returns = returns.with(*option);
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(if returns == Returns(0) { Returns::ALL } else { returns })
}

/// Keys that take nothing.
const PLAIN: [(&str, Key); 14] = [
    ("ALL", Key::All),
    ("ANSWERED", Key::Flag(Flags::ANSWERED)),
    ("DELETED", Key::Flag(Flags::DELETED)),
    ("DRAFT", Key::Flag(Flags::DRAFT)),
    ("FLAGGED", Key::Flag(Flags::FLAGGED)),
    ("SEEN", Key::Flag(Flags::SEEN)),
    ("NEW", Key::Nothing),
    ("OLD", Key::All),
    ("RECENT", Key::Nothing),
    // RFC 8514 §4.3: the mailbox keeps save dates, as all of ours do.
    ("SAVEDATESUPPORTED", Key::All),
    ("UNANSWERED", Key::Flag(Flags::ANSWERED)),
    ("UNDELETED", Key::Flag(Flags::DELETED)),
    ("UNDRAFT", Key::Flag(Flags::DRAFT)),
    ("UNFLAGGED", Key::Flag(Flags::FLAGGED)),
];

/// Keys that take a date.
const DATES: [(&str, DateOf, Relation); 9] = [
    ("BEFORE", DateOf::Received, Relation::Before),
    ("ON", DateOf::Received, Relation::On),
    ("SINCE", DateOf::Received, Relation::Since),
    ("SENTBEFORE", DateOf::Sent, Relation::Before),
    ("SENTON", DateOf::Sent, Relation::On),
    ("SENTSINCE", DateOf::Sent, Relation::Since),
    ("SAVEDBEFORE", DateOf::Saved, Relation::Before),
    ("SAVEDON", DateOf::Saved, Relation::On),
    ("SAVEDSINCE", DateOf::Saved, Relation::Since),
];

/// Keys that are the name of the field they look in.
const FIELDS: [&str; 5] = ["BCC", "CC", "FROM", "SUBJECT", "TO"];

struct Reader<'a, 'b> {
    cursor: &'b mut Cursor<'a>,
    /// The charset of strings; only looked at when it is known.
    name: String,
    charset: Charset,
    keys_left: usize,
}

impl Reader<'_, '_> {
    /// `search-key *(SP search-key)`
    fn keys(&mut self, depth: usize) -> Result<Vec<Key>, ParseError> {
        let mut keys = Vec::from([self.key(depth)?]);
        while self.cursor.skip(b' ') {
            keys.push(self.key(depth)?);
        }
        Ok(keys)
    }

    /// RFC 9051 §9 `search-key`.
    fn key(&mut self, depth: usize) -> Result<Key, ParseError> {
        if depth > SEARCH_NESTING_MAX {
            return self.cursor.fail("fewer keys inside keys");
        }
        self.keys_left = match self.keys_left.checked_sub(1) {
            Some(left) => left,
            None => return self.cursor.fail("fewer keys"),
        };
        match self.cursor.peek() {
            Some(b'(') => {
                self.cursor.open()?;
                let keys = self.keys(depth + 1)?;
                self.cursor.close()?;
                Ok(Key::And(keys))
            }
            Some(b'0'..=b'9' | b'*' | b'$') => self.cursor.sequence_set().map(Key::Numbers),
            _ => self.named_key(depth),
        }
    }

    fn named_key(&mut self, depth: usize) -> Result<Key, ParseError> {
        let start = self.cursor.clone();
        let word = self.cursor.word()?;
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("UNSEEN") {
            return Ok(not(Key::Flag(Flags::SEEN)));
        }
        if let Some((name, key)) = PLAIN.iter().find(|(name, _)| is(name)) {
            let is_negated = name.starts_with("UN");
            return Ok(if is_negated { not(key.clone()) } else { key.clone() });
        }
        if !self.cursor.skip(b' ') {
            return start.fail("a search key, with what it looks for");
        }
        if let Some(&(_, of, relation)) = DATES.iter().find(|(name, ..)| is(name)) {
            return Ok(Key::Date(of, relation, self.cursor.date()?));
        }
        if let Some(field) = FIELDS.iter().find(|name| is(name)) {
            return Ok(Key::Header(String::from(*field), self.text()?));
        }
        match () {
            () if is("NOT") => self.key(depth + 1).map(not),
            () if is("OR") => {
                let first = self.key(depth + 1)?;
                self.cursor.sp()?;
                Ok(Key::Or(Box::new(first), Box::new(self.key(depth + 1)?)))
            }
            () if is("HEADER") => {
                let field = self.text()?;
                self.cursor.sp()?;
                Ok(Key::Header(field, self.text()?))
            }
            () if is("BODY") => self.text().map(Key::Body),
            () if is("TEXT") => self.text().map(Key::Text),
            () if is("UID") => self.cursor.sequence_set().map(Key::Uids),
            () if is("KEYWORD") => Ok(Key::Keyword(String::from(self.cursor.atom()?))),
            () if is("UNKEYWORD") => Ok(not(Key::Keyword(String::from(self.cursor.atom()?)))),
            () if is("LARGER") => self.cursor.number64().map(Key::Larger),
            () if is("SMALLER") => self.cursor.number64().map(Key::Smaller),
            () if is("OLDER") => self.cursor.nz_number().map(Key::Older),
            () if is("YOUNGER") => self.cursor.nz_number().map(Key::Younger),
            () if is("MODSEQ") => self.mod_seq(),
            () if is("EMAILID") => Ok(Key::EmailId(String::from(self.cursor.atom()?))),
            () if is("THREADID") => Ok(Key::ThreadId(String::from(self.cursor.atom()?))),
            () => start.fail("a search key"),
        }
    }

    /// `[entry-name SP entry-type-req SP] mod-sequence-valzer` (RFC 7162 §7). We keep one number a
    /// message, so the entry's name makes no difference (RFC 7162 §3.1.5 allows that).
    fn mod_seq(&mut self) -> Result<Key, ParseError> {
        if self.cursor.peek() == Some(b'"') {
            self.cursor.string()?;
            self.cursor.sp()?;
            let start = self.cursor.clone();
            let kind = self.cursor.word()?;
            if !["all", "priv", "shared"].iter().any(|name| kind.eq_ignore_ascii_case(name)) {
                return start.fail("all, priv or shared");
            }
            self.cursor.sp()?;
        }
        self.cursor.number64().map(|number| Key::ModSeq(ChangeNumber(number)))
    }

    /// An `astring` in the charset of this search.
    fn text(&mut self) -> Result<String, ParseError> {
        let start = self.cursor.clone();
        let bytes = self.cursor.astring()?;
        match self.charset {
            Charset::Known if !self.name.eq_ignore_ascii_case("utf-8") => {
                Ok(mime::decode_text(&self.name, &bytes))
            }
            Charset::Unknown => Ok(String::new()),
            _ => match core::str::from_utf8(&bytes) {
                Ok(text) => Ok(String::from(text)),
                Err(_) => start.fail("text in UTF-8"),
            },
        }
    }
}

fn not(key: Key) -> Key {
    Key::Not(Box::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::SequenceNumber;
    use alloc::string::ToString;

    fn read(text: &[u8]) -> Result<Search, ParseError> {
        let mut cursor = Cursor::new(text);
        let search = parse(&mut cursor, false)?;
        cursor.end()?;
        Ok(search)
    }

    fn keys(text: &str) -> Vec<Key> {
        read(text.as_bytes()).unwrap().keys
    }

    fn header(field: &str, text: &str) -> Key {
        Key::Header(field.to_string(), text.to_string())
    }

    #[test]
    fn keys_are_read() {
        let date = Date { year: 1994, month: 2, day: 1 };
        assert_eq!(
            keys("flagged SINCE 1-Feb-1994 NOT FROM \"Smith\""),
            [
                Key::Flag(Flags::FLAGGED),
                Key::Date(DateOf::Received, Relation::Since, date),
                not(header("FROM", "Smith")),
            ]
        );
        assert_eq!(
            keys("OR (TEXT a BODY b) HEADER X-y \"\""),
            [Key::Or(
                Box::new(Key::And(Vec::from([Key::Text("a".to_string()), Key::Body("b".to_string())]))),
                Box::new(header("X-y", "")),
            )]
        );
        let set = SequenceSet::Ranges(Vec::from([(SequenceNumber::Number(2), SequenceNumber::Star)]));
        assert_eq!(keys("2:* UID 2:*"), [Key::Numbers(set.clone()), Key::Uids(set)]);
        assert_eq!(keys("$ UID $"), [Key::Numbers(SequenceSet::Saved), Key::Uids(SequenceSet::Saved)]);
        assert_eq!(
            keys("UNSEEN unkeyword x"),
            [not(Key::Flag(Flags::SEEN)), not(Key::Keyword("x".to_string()))]
        );
        assert_eq!(keys("UNDRAFT NEW OLD"), [not(Key::Flag(Flags::DRAFT)), Key::Nothing, Key::All]);
        assert_eq!(keys("LARGER 5 OLDER 6"), [Key::Larger(5), Key::Older(6)]);
        assert_eq!(
            keys("MODSEQ \"/flags/\\\\draft\" all 620162338"),
            [Key::ModSeq(ChangeNumber(620_162_338))]
        );
        assert!(read(b"OR NOT MODSEQ 1 ALL").unwrap().enables_condstore());
        assert!(!read(b"OR NOT ALL ALL").unwrap().enables_condstore());
    }

    #[test]
    fn return_options_are_read() {
        let returns = |text: &str| read(text.as_bytes()).unwrap().returns;
        assert_eq!(returns("ALL"), None);
        assert_eq!(returns("RETURN () ALL"), Some(Returns::ALL));
        assert_eq!(returns("RETURN (MIN save) ALL"), Some(Returns::MIN.with(Returns::SAVE)));
        assert!(read(b"RETURN (FOO) ALL").is_err());
        assert!(read(b"RETURN (MIN) ").is_err());
    }

    #[test]
    fn strings_are_decoded_by_their_charset() {
        assert_eq!(read(b"SUBJECT {5}\r\ncaf\xc3\xa9").unwrap().keys, [header("SUBJECT", "café")]);
        assert!(read(b"SUBJECT {4}\r\ncaf\xe9").is_err());
        let search = read(b"CHARSET iso-8859-1 SUBJECT {4}\r\ncaf\xe9").unwrap();
        assert_eq!((search.charset, search.keys), (Charset::Known, Vec::from([header("SUBJECT", "café")])));
        assert_eq!(read(b"CHARSET x-nonsense TEXT {1}\r\n\xff").unwrap().charset, Charset::Unknown);
    }

    #[test]
    fn nonsense_and_excess_are_refused() {
        for text in
            ["", "FOO", "(ALL", "()", "NOT", "OR ALL", "FROM", "BEFORE 1994", "LARGER x", "UID x", "ALL "]
        {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(("NOT ".repeat(SEARCH_NESTING_MAX) + "ALL").as_bytes()).is_ok());
        assert!(read(("NOT ".repeat(SEARCH_NESTING_MAX + 2) + "ALL").as_bytes()).is_err());
        assert!(read(("(".repeat(30_000)).as_bytes()).is_err());
        assert!(read(("ALL ".repeat(SEARCH_KEYS_MAX) + "ALL").as_bytes()).is_err());
    }
}
