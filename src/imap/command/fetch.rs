//! FETCH and UID FETCH (RFC 9051 §6.4.5, §9 `fetch`), with the modifiers of RFC 7162 and the items
//! of RFC 3516, 8474 and 8514.

use alloc::vec::Vec;

use base::ChangeNumber;

use crate::limits::{FETCH_FIELDS_MAX, FETCH_ITEMS_MAX, SECTION_FIELDS_MAX};
use crate::parse::{Cursor, ParseError, SequenceSet};

/// What to tell of which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which messages.
    pub set: SequenceSet,
    /// UID FETCH: the set means UIDs.
    pub is_uid: bool,
    /// What to tell, in the order of asking, each once; macros are expanded.
    pub items: Vec<Item>,
    /// Only messages changed after it (RFC 7162 §3.1.4.1).
    pub changed_since: Option<ChangeNumber>,
    /// Also tell which messages have gone since (RFC 7162 §3.2.6); only with `changed_since`.
    pub wants_vanished: bool,
}

impl Fetch {
    /// Whether it asks for MODSEQ, which enables CONDSTORE (RFC 7162 §3.1).
    pub fn enables_condstore(&self) -> bool {
        self.items.contains(&Item::Property(Property::ModSeq))
    }
}

/// One item of a FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// What the index knows, no byte of the message needed.
    Property(Property),
    /// ENVELOPE
    Envelope,
    /// BODY without a section
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// BODY[..], BINARY[..], RFC822, RFC822.HEADER, RFC822.TEXT
    Section(Section),
    /// BINARY.SIZE[..] with its part numbers (RFC 3516 §4.3)
    BinarySize(Vec<u32>),
}

impl Item {
    /// How many names of fields it has.
    fn field_names(&self) -> usize {
        match self {
            Self::Section(Section { what: What::Fields(names) | What::FieldsNot(names), .. }) => names.len(),
            _ => 0,
        }
    }
}

/// What is known of a message without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// MODSEQ (RFC 7162 §3.1.4)
    ModSeq,
    /// EMAILID (RFC 8474 §5.1)
    EmailId,
    /// THREADID (RFC 8474 §5.2)
    ThreadId,
    /// SAVEDATE (RFC 8514 §4.2)
    SaveDate,
}

/// Some bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// How the client called it and the answer calls it.
    pub label: Label,
    /// Part numbers; none is the whole message.
    pub path: Vec<u32>,
    /// What of the part.
    pub what: What,
    /// Some of its bytes only.
    pub partial: Option<Partial>,
    /// Whether asking for it sets `\Seen`.
    pub sets_seen: bool,
}

/// The names one can ask for bytes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// BODY[..]
    Body,
    /// BINARY[..]: the transfer encoding undone (RFC 3516 §4.2)
    Binary,
    /// RFC822 (RFC 3501 §6.4.5)
    Rfc822,
    /// RFC822.HEADER
    Rfc822Header,
    /// RFC822.TEXT
    Rfc822Text,
}

/// RFC 9051 §9 `section-text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing said: all of it.
    All,
    /// HEADER
    Header,
    /// HEADER.FIELDS with its names as written
    Fields(Vec<Vec<u8>>),
    /// HEADER.FIELDS.NOT
    FieldsNot(Vec<Vec<u8>>),
    /// TEXT
    Text,
    /// MIME
    Mime,
}

/// RFC 9051 §9 `partial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Bytes left out before it.
    pub offset: u64,
    /// Bytes wanted, not 0.
    pub length: u64,
}

/// Reads what follows `FETCH `.
pub(super) fn parse(cursor: &mut Cursor<'_>, is_uid: bool) -> Result<Fetch, ParseError> {
    let set = cursor.sequence_set()?;
    cursor.sp()?;
    let mut items = Vec::new();
    if is_uid {
        // RFC 9051 §6.4.9: UID is in the answer whether asked for or not.
        items.push(Item::Property(Property::Uid));
    }
    if cursor.skip(b'(') {
        loop {
            let item = item(cursor)?;
            add(&mut items, item);
            if items.len() > FETCH_ITEMS_MAX {
                return cursor.fail("fewer items");
            }
            if items.iter().map(Item::field_names).sum::<usize>() > FETCH_FIELDS_MAX {
                return cursor.fail("fewer field names");
            }
            if !cursor.skip(b' ') {
                break;
            }
        }
        cursor.close()?;
    } else {
        macro_or_item(cursor, &mut items)?;
    }
    let mut fetch = Fetch { set, is_uid, items, changed_since: None, wants_vanished: false };
    if cursor.skip(b' ') {
        modifiers(cursor, &mut fetch)?;
    }
    Ok(fetch)
}

fn add(items: &mut Vec<Item>, item: Item) {
    if !items.contains(&item) {
        items.push(item);
    }
}

/// `"ALL" / "FULL" / "FAST" / fetch-att`: macros stand alone (RFC 9051 §6.4.5).
fn macro_or_item(cursor: &mut Cursor<'_>, items: &mut Vec<Item>) -> Result<(), ParseError> {
    let mut ahead = cursor.clone();
    let word = ahead.word()?;
    let more: &[Item] = if word.eq_ignore_ascii_case("FAST") {
        &[]
    } else if word.eq_ignore_ascii_case("ALL") {
        &[Item::Envelope]
    } else if word.eq_ignore_ascii_case("FULL") {
        &[Item::Envelope, Item::Body]
    } else {
        let item = item(cursor)?;
        add(items, item);
        return Ok(());
    };
    *cursor = ahead;
    let fast = [
        Item::Property(Property::Flags),
        Item::Property(Property::InternalDate),
        Item::Property(Property::Size),
    ];
    items.extend(fast.iter().chain(more).cloned());
    Ok(())
}

/// Items that are one word.
const WORDS: [(&str, Item); 10] = [
    ("UID", Item::Property(Property::Uid)),
    ("FLAGS", Item::Property(Property::Flags)),
    ("INTERNALDATE", Item::Property(Property::InternalDate)),
    ("RFC822.SIZE", Item::Property(Property::Size)),
    ("MODSEQ", Item::Property(Property::ModSeq)),
    ("EMAILID", Item::Property(Property::EmailId)),
    ("THREADID", Item::Property(Property::ThreadId)),
    ("SAVEDATE", Item::Property(Property::SaveDate)),
    ("ENVELOPE", Item::Envelope),
    ("BODYSTRUCTURE", Item::BodyStructure),
];

/// RFC 9051 §9 `fetch-att`.
fn item(cursor: &mut Cursor<'_>) -> Result<Item, ParseError> {
    let start = cursor.clone();
    let word = cursor.word()?;
    if let Some((_, item)) = WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)) {
        return Ok(item.clone());
    }
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is("BODY") && cursor.peek() != Some(b'[') {
        return Ok(Item::Body);
    }
    if is("BODY") || is("BODY.PEEK") {
        return body_section(cursor, is("BODY")).map(Item::Section);
    }
    if is("BINARY") || is("BINARY.PEEK") {
        let path = binary_path(cursor)?;
        let partial = partial(cursor)?;
        let section =
            Section { label: Label::Binary, path, what: What::All, partial, sets_seen: is("BINARY") };
        return Ok(Item::Section(section));
    }
    if is("BINARY.SIZE") {
        return binary_path(cursor).map(Item::BinarySize);
    }
    // RFC 3501 §6.4.5; IMAP4rev2 dropped these and clients of it do not ask.
    let (label, what) = match () {
        () if is("RFC822") => (Label::Rfc822, What::All),
        () if is("RFC822.HEADER") => (Label::Rfc822Header, What::Header),
        () if is("RFC822.TEXT") => (Label::Rfc822Text, What::Text),
        () => return start.fail("an item to fetch"),
    };
    let sets_seen = label != Label::Rfc822Header;
    Ok(Item::Section(Section { label, path: Vec::new(), what, partial: None, sets_seen }))
}

/// `section ["<" number "." nz-number ">"]`
fn body_section(cursor: &mut Cursor<'_>, sets_seen: bool) -> Result<Section, ParseError> {
    cursor.eat(b'[', "an opening bracket")?;
    let (path, what) = spec(cursor)?;
    cursor.eat(b']', "a closing bracket")?;
    let partial = partial(cursor)?;
    Ok(Section { label: Label::Body, path, what, partial, sets_seen })
}

/// `section-spec`, which may be empty.
fn spec(cursor: &mut Cursor<'_>) -> Result<(Vec<u32>, What), ParseError> {
    let (path, has_more) = part_numbers(cursor)?;
    let what = if has_more { section_text(cursor, !path.is_empty())? } else { What::All };
    Ok((path, what))
}

/// `section-spec` alone, as a URL has it.
pub(crate) fn section_spec(text: &[u8]) -> Result<(Vec<u32>, What), ParseError> {
    let mut cursor = Cursor::new(text);
    let spec = spec(&mut cursor)?;
    cursor.end().map(|()| spec)
}

/// `section-part = nz-number *("." nz-number)`, possibly none; true when a `section-text` follows.
fn part_numbers(cursor: &mut Cursor<'_>) -> Result<(Vec<u32>, bool), ParseError> {
    let mut path = Vec::new();
    loop {
        match cursor.peek() {
            Some(b'0'..=b'9') => path.push(cursor.nz_number()?),
            Some(b']') if path.is_empty() => return Ok((path, false)),
            _ => return Ok((path, true)),
        }
        if !cursor.skip(b'.') {
            return Ok((path, false));
        }
    }
}

/// `section-text`; MIME only behind part numbers (`section-msgtext` alone has no MIME).
fn section_text(cursor: &mut Cursor<'_>, is_part: bool) -> Result<What, ParseError> {
    let start = cursor.clone();
    let word = cursor.word()?;
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    match () {
        () if is("HEADER") => Ok(What::Header),
        () if is("TEXT") => Ok(What::Text),
        () if is("MIME") && is_part => Ok(What::Mime),
        () if is("HEADER.FIELDS") => header_list(cursor).map(What::Fields),
        () if is("HEADER.FIELDS.NOT") => header_list(cursor).map(What::FieldsNot),
        () => start.fail("HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or, for a part, MIME"),
    }
}

/// `SP header-list`, where `header-list = "(" header-fld-name *(SP header-fld-name) ")"`.
fn header_list(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>, ParseError> {
    cursor.sp()?;
    cursor.open()?;
    let mut names = Vec::new();
    loop {
        names.push(cursor.astring()?.into_owned());
        if names.len() > SECTION_FIELDS_MAX {
            return cursor.fail("fewer field names");
        }
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(names)
}

/// `section-binary = "[" [section-part] "]"`
fn binary_path(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, ParseError> {
    cursor.eat(b'[', "an opening bracket")?;
    let (path, has_more) = part_numbers(cursor)?;
    if has_more {
        return cursor.fail("part numbers only");
    }
    cursor.eat(b']', "a closing bracket")?;
    Ok(path)
}

/// `partial = "<" number64 "." nz-number64 ">"`, or nothing.
fn partial(cursor: &mut Cursor<'_>) -> Result<Option<Partial>, ParseError> {
    if !cursor.skip(b'<') {
        return Ok(None);
    }
    let offset = cursor.number64()?;
    cursor.eat(b'.', "a dot")?;
    let length = cursor.number64()?;
    if length == 0 {
        return cursor.fail("a length that is not 0");
    }
    cursor.eat(b'>', "a closing angle bracket")?;
    Ok(Some(Partial { offset, length }))
}

/// `fetch-modifiers` (RFC 4466 §2.4): CHANGEDSINCE and VANISHED (RFC 7162 §7).
fn modifiers(cursor: &mut Cursor<'_>, fetch: &mut Fetch) -> Result<(), ParseError> {
    cursor.open()?;
    loop {
        let start = cursor.clone();
        let word = cursor.word()?;
        if word.eq_ignore_ascii_case("CHANGEDSINCE") {
            cursor.sp()?;
            fetch.changed_since = Some(ChangeNumber(cursor.number64()?));
            // RFC 7162 §3.1.4.1: CHANGEDSINCE implies MODSEQ.
            add(&mut fetch.items, Item::Property(Property::ModSeq));
        } else if word.eq_ignore_ascii_case("VANISHED") {
            fetch.wants_vanished = true;
        } else {
            return start.fail("CHANGEDSINCE or VANISHED");
        }
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    // RFC 7162 §3.2.6: VANISHED needs UID FETCH and CHANGEDSINCE.
    if fetch.wants_vanished && (!fetch.is_uid || fetch.changed_since.is_none()) {
        return cursor.fail("VANISHED in UID FETCH with CHANGEDSINCE only");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_uid: bool) -> Result<Fetch, ParseError> {
        let mut cursor = Cursor::new(text.as_bytes());
        let fetch = parse(&mut cursor, is_uid)?;
        cursor.end()?;
        Ok(fetch)
    }

    fn items(text: &str) -> Vec<Item> {
        read(&alloc::format!("1 {text}"), false).unwrap().items
    }

    fn section(path: &[u32], what: What) -> Item {
        Item::Section(Section {
            label: Label::Body,
            path: path.to_vec(),
            what,
            partial: None,
            sets_seen: true,
        })
    }

    #[test]
    fn macros_stand_for_their_items_and_repeats_count_once() {
        assert_eq!(
            items("fast"),
            [
                Item::Property(Property::Flags),
                Item::Property(Property::InternalDate),
                Item::Property(Property::Size)
            ]
        );
        assert_eq!(items("ALL").last(), Some(&Item::Envelope));
        assert_eq!(items("Full").last(), Some(&Item::Body));
        assert_eq!(
            items("(UID FLAGS uid)"),
            [Item::Property(Property::Uid), Item::Property(Property::Flags)]
        );
        assert_eq!(
            read("1:* (FLAGS UID)", true).unwrap().items,
            [Item::Property(Property::Uid), Item::Property(Property::Flags)]
        );
        assert_eq!(items("(BODY BODY[])"), [Item::Body, section(&[], What::All)]);
    }

    #[test]
    fn sections_are_read() {
        let names = || Vec::from([b"From".to_vec(), b"X y".to_vec()]);
        for (text, path, what) in [
            ("BODY[]", &[][..], What::All),
            ("BODY[header]", &[], What::Header),
            ("BODY[TEXT]", &[], What::Text),
            ("BODY[1]", &[1], What::All),
            ("BODY[1.2.TEXT]", &[1, 2], What::Text),
            ("BODY[4.1.MIME]", &[4, 1], What::Mime),
            ("BODY[HEADER.FIELDS (From \"X y\")]", &[], What::Fields(names())),
            ("BODY[3.HEADER.FIELDS.NOT (From {3}\r\nX y)]", &[3], What::FieldsNot(names())),
        ] {
            assert_eq!(items(text), [section(path, what)], "{text}");
        }
        let Some(Item::Section(peek)) = items("BODY.PEEK[1]<5.10>").pop() else { panic!("a section") };
        assert_eq!((peek.sets_seen, peek.partial), (false, Some(Partial { offset: 5, length: 10 })));
        let Some(Item::Section(binary)) = items("BINARY[1.2]").pop() else { panic!("a section") };
        assert_eq!((binary.sets_seen, binary.label, binary.path), (true, Label::Binary, Vec::from([1, 2])));
        assert_eq!(items("BINARY.SIZE[2]"), [Item::BinarySize(Vec::from([2]))]);
        let Some(Item::Section(header)) = items("RFC822.HEADER").pop() else { panic!("a section") };
        assert!(!header.sets_seen);
    }

    #[test]
    fn modifiers_are_read() {
        let fetch = read("1:* (FLAGS) (CHANGEDSINCE 12 VANISHED)", true).unwrap();
        assert_eq!(fetch.changed_since, Some(ChangeNumber(12)));
        assert!(fetch.wants_vanished && fetch.enables_condstore());
        assert!(read("1:* FLAGS (VANISHED)", true).is_err());
        assert!(read("1:* FLAGS (CHANGEDSINCE 1 VANISHED)", false).is_err());
    }

    #[test]
    fn names_of_fields_are_bounded_over_all_items() {
        let fields =
            |n: usize, letter: &str| alloc::format!("BODY[HEADER.FIELDS ({})]", [letter].repeat(n).join(" "));
        let ask =
            |last| alloc::format!("1 ({} {} {})", fields(200, "a"), fields(200, "b"), fields(last, "c"));
        assert!(read(&ask(FETCH_FIELDS_MAX - 400), false).is_ok());
        assert!(read(&ask(FETCH_FIELDS_MAX - 399), false).is_err());
        assert!(read(&alloc::format!("1 {}", fields(SECTION_FIELDS_MAX + 1, "a")), false).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "()",
            "(ALL)",
            "(FLAGS",
            "FLAGS UID",
            "BODY[",
            "BODY[]x",
            "BODY[0]",
            "BODY[MIME]",
            "BODY[1.]",
            "BODY[1.FOO]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS]",
            "BODY[]<0.0>",
            "BODY[]<1>",
            "BINARY[TEXT]",
            "BINARY.SIZE",
            "FLAGS (NONSENSE)",
            "FLAGS (CHANGEDSINCE)",
            "RFC823",
        ] {
            assert!(read(&alloc::format!("1 {text}"), false).is_err(), "{text}");
        }
    }
}
