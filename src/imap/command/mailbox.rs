//! Commands about mailboxes: SELECT, CREATE, RENAME, LIST, LSUB, STATUS.

use alloc::string::String;
use alloc::vec::Vec;

use account::SpecialUse;
use base::{ChangeNumber, Ranges, UidValidity};

use super::Command;
use crate::limits::LIST_PATTERNS_MAX;
use crate::parse::{Cursor, ParseError, SequenceNumber, SequenceSet};

/// SELECT or EXAMINE (RFC 9051 §6.3.2, §6.3.3; RFC 7162 §3.1.8, §3.2.5).
#[derive(Clone, Debug)]
pub struct Select {
    /// The mailbox's name as sent.
    pub mailbox: Vec<u8>,
    /// EXAMINE.
    pub is_read_only: bool,
    /// With the CONDSTORE parameter.
    pub has_condstore: bool,
    /// With the QRESYNC parameter.
    pub sync_from: Option<SyncFrom>,
}

/// What a client knows already (RFC 7162 §3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFrom {
    /// The incarnation its knowledge is about.
    pub uid_validity: UidValidity,
    /// The change it knows everything up to.
    pub change: ChangeNumber,
    /// The UIDs it knows; `None` is all.
    pub known: Option<Ranges>,
}

/// CREATE (RFC 9051 §6.3.4, RFC 6154 §3).
#[derive(Clone, Debug)]
pub struct Create {
    /// The mailbox's name as sent.
    pub mailbox: Vec<u8>,
    /// The uses asked for, unknown ones as `None`.
    pub uses: Vec<Option<SpecialUse>>,
}

/// LIST (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) or LSUB (RFC 3501 §6.3.9).
#[derive(Clone, Debug, Default)]
pub struct List {
    /// In front of every pattern.
    pub reference: Vec<u8>,
    /// One or more.
    pub patterns: Vec<Vec<u8>>,
    /// Which mailboxes.
    pub select: ListSelect,
    /// What is told of each.
    pub returns: ListReturn,
    /// LSUB rather than LIST.
    pub is_lsub: bool,
    /// In the extended form: a pattern that is empty is a name then, no question for the separator.
    pub is_extended: bool,
}

/// Selection options (RFC 5258 §3.1, RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ListSelect {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// RECURSIVEMATCH
    pub recursive: bool,
    /// SPECIAL-USE
    pub special_use: bool,
}

/// Return options (RFC 5258 §3.2, RFC 5819, RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// STATUS
    pub status: Option<StatusItems>,
}

/// STATUS (RFC 9051 §6.3.11).
#[derive(Clone, Debug)]
pub struct Status {
    /// The mailbox's name as sent.
    pub mailbox: Vec<u8>,
    /// What is asked for.
    pub items: StatusItems,
}

/// A set of status data items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StatusItems(u16);

impl StatusItems {
    /// MESSAGES
    pub const MESSAGES: Self = Self(1);
    /// UIDNEXT
    pub const UIDNEXT: Self = Self(2);
    /// UIDVALIDITY
    pub const UIDVALIDITY: Self = Self(4);
    /// UNSEEN
    pub const UNSEEN: Self = Self(8);
    /// DELETED
    pub const DELETED: Self = Self(16);
    /// SIZE (RFC 8438)
    pub const SIZE: Self = Self(32);
    /// RECENT (RFC 3501)
    pub const RECENT: Self = Self(64);
    /// HIGHESTMODSEQ (RFC 7162 §3.1.7)
    pub const HIGHESTMODSEQ: Self = Self(128);
    /// MAILBOXID (RFC 8474 §4.3)
    pub const MAILBOXID: Self = Self(256);
    /// APPENDLIMIT (RFC 7889 §3.1)
    pub const APPENDLIMIT: Self = Self(512);

    /// Each with its name, in the order they are answered.
    pub const NAMED: [(Self, &'static str); 10] = [
        (Self::MESSAGES, "MESSAGES"),
        (Self::RECENT, "RECENT"),
        (Self::UIDNEXT, "UIDNEXT"),
        (Self::UIDVALIDITY, "UIDVALIDITY"),
        (Self::UNSEEN, "UNSEEN"),
        (Self::DELETED, "DELETED"),
        (Self::SIZE, "SIZE"),
        (Self::HIGHESTMODSEQ, "HIGHESTMODSEQ"),
        (Self::MAILBOXID, "MAILBOXID"),
        (Self::APPENDLIMIT, "APPENDLIMIT"),
    ];

    /// Whether all of `other` are asked for.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `select = "SELECT" SP mailbox [select-params]`
pub(super) fn select(cursor: &mut Cursor<'_>, is_read_only: bool) -> Result<Select, ParseError> {
    cursor.sp()?;
    let mut select =
        Select { mailbox: cursor.mailbox()?, is_read_only, has_condstore: false, sync_from: None };
    if !cursor.skip(b' ') {
        return Ok(select);
    }
    cursor.open()?;
    loop {
        let at = cursor.position();
        match cursor.word()?.to_ascii_uppercase().as_str() {
            "CONDSTORE" => select.has_condstore = true,
            "QRESYNC" => select.sync_from = Some(sync_from(cursor)?),
            _ => return Err(ParseError { at, expected: "CONDSTORE or QRESYNC" }),
        }
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(select)
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`
///
/// What a client says of its sequence numbers (RFC 7162 §3.2.5.2) would only matter for a server
/// that forgets which messages are gone; here all of them are known, so it is read and not used.
fn sync_from(cursor: &mut Cursor<'_>) -> Result<SyncFrom, ParseError> {
    cursor.sp()?;
    cursor.open()?;
    let uid_validity = UidValidity(cursor.nz_number()?);
    cursor.sp()?;
    let change = ChangeNumber(cursor.number64()?);
    let mut from = SyncFrom { uid_validity, change, known: None };
    let mut has_more = cursor.skip(b' ');
    if has_more && cursor.peek() != Some(b'(') {
        from.known = Some(plain_set(cursor)?);
        has_more = cursor.skip(b' ');
    }
    if has_more {
        cursor.open()?;
        plain_set(cursor)?;
        cursor.sp()?;
        plain_set(cursor)?;
        cursor.close()?;
    }
    cursor.close()?;
    Ok(from)
}

/// A sequence set in which `*` is not allowed (RFC 7162 §7, `known-uids`).
fn plain_set(cursor: &mut Cursor<'_>) -> Result<Ranges, ParseError> {
    let error = ParseError { at: cursor.position(), expected: "a set of numbers" };
    let SequenceSet::Ranges(ranges) = cursor.sequence_set()? else { return Err(error) };
    let mut ends = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (SequenceNumber::Number(first), SequenceNumber::Number(last)) = range else { return Err(error) };
        ends.push((first.min(last), first.max(last)));
    }
    ends.sort_unstable();
    let mut set = Ranges::new();
    for (first, last) in ends {
        set.insert_range(first, last);
    }
    Ok(set)
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Create, ParseError> {
    cursor.sp()?;
    let mut create = Create { mailbox: cursor.mailbox()?, uses: Vec::new() };
    if !cursor.skip(b' ') {
        return Ok(create);
    }
    cursor.open()?;
    if !cursor.skip_word("USE") {
        return cursor.fail("USE");
    }
    cursor.sp()?;
    cursor.open()?;
    while !cursor.skip(b')') {
        if !create.uses.is_empty() {
            cursor.sp()?;
        }
        cursor.eat(b'\\', "a special use")?;
        let attribute = String::from_iter(["\\", cursor.atom()?]);
        create.uses.push(SpecialUse::from_attribute(&attribute));
    }
    cursor.close()?;
    Ok(create)
}

/// `rename = "RENAME" SP mailbox SP mailbox`
pub(super) fn rename(cursor: &mut Cursor<'_>) -> Result<Command, ParseError> {
    cursor.sp()?;
    let from = cursor.mailbox()?;
    cursor.sp()?;
    Ok(Command::Rename { from, to: cursor.mailbox()? })
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox` (RFC 3501 §9)
pub(super) fn lsub(cursor: &mut Cursor<'_>) -> Result<List, ParseError> {
    cursor.sp()?;
    let reference = cursor.mailbox()?;
    cursor.sp()?;
    let patterns = Vec::from([cursor.list_mailbox()?]);
    let select = ListSelect { subscribed: true, recursive: true, special_use: false };
    Ok(List { reference, patterns, select, is_lsub: true, ..List::default() })
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`
pub(super) fn list(cursor: &mut Cursor<'_>) -> Result<List, ParseError> {
    let mut list = List::default();
    cursor.sp()?;
    if cursor.peek() == Some(b'(') {
        list.select = select_options(cursor)?;
        list.is_extended = true;
        cursor.sp()?;
    }
    list.reference = cursor.mailbox()?;
    cursor.sp()?;
    if cursor.peek() == Some(b'(') {
        list.patterns = patterns(cursor)?;
        list.is_extended = true;
    } else {
        list.patterns.push(cursor.list_mailbox()?);
    }
    if cursor.skip(b' ') {
        list.returns = return_options(cursor)?;
        list.is_extended = true;
    }
    Ok(list)
}

fn patterns(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>, ParseError> {
    cursor.open()?;
    let mut patterns = Vec::new();
    loop {
        if patterns.len() == LIST_PATTERNS_MAX {
            return cursor.fail("fewer patterns");
        }
        patterns.push(cursor.list_mailbox()?);
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(patterns)
}

fn select_options(cursor: &mut Cursor<'_>) -> Result<ListSelect, ParseError> {
    let mut select = ListSelect::default();
    let start = cursor.position();
    each_word(cursor, |_, word, at| {
        match word {
            "SUBSCRIBED" => select.subscribed = true,
            "RECURSIVEMATCH" => select.recursive = true,
            "SPECIAL-USE" => select.special_use = true,
            // There are no mailboxes on other servers (RFC 5258 §3.1).
            "REMOTE" => {}
            _ => return Err(ParseError { at, expected: "a selection option" }),
        }
        Ok(())
    })?;
    // RFC 5258 §3.1: RECURSIVEMATCH needs something to match.
    if select.recursive && !select.subscribed && !select.special_use {
        return Err(ParseError { at: start, expected: "another selection option beside RECURSIVEMATCH" });
    }
    Ok(select)
}

fn return_options(cursor: &mut Cursor<'_>) -> Result<ListReturn, ParseError> {
    if !cursor.skip_word("RETURN ") {
        return cursor.fail("RETURN");
    }
    let mut returns = ListReturn::default();
    each_word(cursor, |cursor, word, at| {
        match word {
            "SUBSCRIBED" => returns.subscribed = true,
            // Both are told of every mailbox anyway.
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.sp()?;
                returns.status = Some(status_items(cursor)?);
            }
            _ => return Err(ParseError { at, expected: "a return option" }),
        }
        Ok(())
    })?;
    Ok(returns)
}

fn each_word<'a>(
    cursor: &mut Cursor<'a>,
    mut each: impl FnMut(&mut Cursor<'a>, &str, usize) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    cursor.open()?;
    if cursor.skip(b')') {
        return Ok(());
    }
    loop {
        let at = cursor.position();
        let word = cursor.word()?.to_ascii_uppercase();
        each(cursor, &word, at)?;
        if !cursor.skip(b' ') {
            return cursor.close();
        }
    }
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(super) fn status(cursor: &mut Cursor<'_>) -> Result<Status, ParseError> {
    cursor.sp()?;
    let mailbox = cursor.mailbox()?;
    cursor.sp()?;
    Ok(Status { mailbox, items: status_items(cursor)? })
}

fn status_items(cursor: &mut Cursor<'_>) -> Result<StatusItems, ParseError> {
    let mut items = StatusItems::default();
    each_word(cursor, |_, word, at| {
        let known = StatusItems::NAMED.iter().find(|(_, name)| *name == word);
        let (item, _) = known.ok_or(ParseError { at, expected: "a status item" })?;
        items.0 |= item.0;
        Ok(())
    })?;
    Ok(items)
}
