//! The tokens of RFC 9051 §9, read from one complete command: its line with the literals in place,
//! without the last CRLF. Nothing here knows commands or states.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use account::Flags;
use base::Timestamp;

/// The grammar was not met: where, and what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Bytes from the command's start.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// One end of a range in a sequence set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceNumber {
    /// A number, never 0.
    Number(u32),
    /// `*`, the greatest number in use.
    Star,
}

/// A sequence set as it was said: what `*` and `$` stand for, the view knows
/// ([`crate::Selected::resolve`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceSet {
    /// Ranges in the order given; a single number is a range of itself.
    Ranges(Vec<(SequenceNumber, SequenceNumber)>),
    /// `$`, the saved result of a search (RFC 5182).
    Saved,
}

/// Flags as a command names them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FlagList {
    /// System flags.
    pub flags: Flags,
    /// Keywords, each once, as written.
    pub keywords: Vec<String>,
}

impl FlagList {
    fn add(&mut self, keyword: &str) {
        if !self.keywords.iter().any(|have| have.eq_ignore_ascii_case(keyword)) {
            self.keywords.push(keyword.to_string());
        }
    }
}

/// A complete command: its line with the literals in place, without the last CRLF. Messages of an
/// APPEND are not in the text but beside it, so that they can be stored without being copied.
#[derive(Clone, Default)]
pub struct Text {
    /// The line.
    pub bytes: Vec<u8>,
    /// Literals kept apart, each with the place in `bytes` where it belongs, ascending.
    pub attached: Vec<(usize, Arc<Vec<u8>>)>,
}

impl fmt::Debug for Text {
    /// Without what was said: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// A place in a command. Each method reads one token and moves past it, or fails; after a failure
/// the place is not to be relied on.
#[derive(Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    attached: &'a [(usize, Arc<Vec<u8>>)],
    at: usize,
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, attached: &[], at: 0 }
    }

    /// At the start of a command.
    pub fn of(text: &'a Text) -> Self {
        Self { bytes: &text.bytes, attached: &text.attached, at: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The next byte, not consumed.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// Whether everything has been read.
    pub const fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// An error here.
    pub const fn fail<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        Err(ParseError { at: self.at, expected })
    }

    /// Nothing may follow.
    pub const fn end(&self) -> Result<(), ParseError> {
        if self.is_end() { Ok(()) } else { self.fail("the end of the command") }
    }

    /// Consumes `byte` if it is next.
    pub fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Consumes `byte`, which must be next.
    pub fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseError> {
        if self.skip(byte) { Ok(()) } else { self.fail(expected) }
    }

    /// Consumes one space.
    pub fn sp(&mut self) -> Result<(), ParseError> {
        self.eat(b' ', "a space")
    }

    /// Consumes `(`.
    pub fn open(&mut self) -> Result<(), ParseError> {
        self.eat(b'(', "an opening parenthesis")
    }

    /// Consumes `)`.
    pub fn close(&mut self) -> Result<(), ParseError> {
        self.eat(b')', "a closing parenthesis")
    }

    /// Consumes `word` if it is next in any case, whatever follows it.
    pub fn skip_word(&mut self, word: &str) -> bool {
        let is_next =
            self.rest().get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Consumes the longest run of bytes that `is_part` accepts; may be empty.
    pub fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or(&[])
    }

    /// `atom = 1*ATOM-CHAR`
    pub fn atom(&mut self) -> Result<&'a str, ParseError> {
        self.run(is_atom_char, "an atom")
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`
    pub fn tag(&mut self) -> Result<&'a str, ParseError> {
        self.run(|byte| is_astring_char(byte) && byte != b'+', "a tag")
    }

    /// A word of letters, digits, `-`, `.`, `=` and `&`, such as a command's or an item's name.
    pub fn word(&mut self) -> Result<&'a str, ParseError> {
        self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'=' | b'&'), "a word")
    }

    fn run(&mut self, is_part: impl Fn(u8) -> bool, expected: &'static str) -> Result<&'a str, ParseError> {
        let start = self.at;
        match core::str::from_utf8(self.take_while(is_part)) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(ParseError { at: start, expected }),
        }
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub fn astring(&mut self) -> Result<Cow<'a, [u8]>, ParseError> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        self.run(is_astring_char, "a string").map(|text| Cow::Borrowed(text.as_bytes()))
    }

    /// `string = quoted / literal`
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, ParseError> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => self.fail("a string"),
        }
    }

    /// `nstring = string / nil`
    pub fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>, ParseError> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string().map(Some);
        }
        if self.skip_word("NIL") { Ok(None) } else { self.fail("a string or NIL") }
    }

    /// `quoted`: bytes above 127 are let through, for RFC 9051 has UTF-8 there and RFC 6855 too.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, ParseError> {
        self.eat(b'"', "a quotation mark")?;
        let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0));
        if self.skip(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(escaped @ (b'"' | b'\\')) => text.push(escaped),
                        _ => return self.fail("a quoted character after the backslash"),
                    }
                    self.at += 1;
                }
                Some(b'\r' | b'\n' | 0) | None => return self.fail("a closing quotation mark"),
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// `literal = "{" number64 ["+"] "}" CRLF *CHAR8`; NUL is not a CHAR8.
    pub fn literal(&mut self) -> Result<&'a [u8], ParseError> {
        let start = self.at;
        let bytes = self.counted()?;
        if memchr::memchr(0, bytes).is_some() {
            return Err(ParseError { at: start, expected: "a literal without NUL" });
        }
        Ok(bytes)
    }

    /// `literal / literal8`; the latter, with `~` in front, may hold any byte (RFC 3516 §7).
    pub fn literal8(&mut self) -> Result<&'a [u8], ParseError> {
        if self.skip(b'~') { self.counted() } else { self.literal() }
    }

    /// As [`Cursor::literal8`], to keep: a message of an APPEND. `None` when it has a NUL and did not
    /// come as a `literal8`; the command is read on.
    pub fn message(&mut self) -> Result<Option<Arc<Vec<u8>>>, ParseError> {
        let is_any = self.skip(b'~');
        let mut ahead = self.clone();
        ahead.literal_head()?;
        let data = match self.attached.iter().find(|(at, _)| *at == ahead.at) {
            Some((_, data)) => {
                self.at = ahead.at;
                Arc::clone(data)
            }
            None => Arc::new(self.counted()?.to_vec()),
        };
        Ok(Some(data).filter(|data| is_any || memchr::memchr(0, data).is_none()))
    }

    fn literal_head(&mut self) -> Result<u64, ParseError> {
        self.eat(b'{', "a literal")?;
        let length = self.number64()?;
        self.skip(b'+');
        self.eat(b'}', "a closing brace")?;
        self.eat(b'\r', "CRLF")?;
        self.eat(b'\n', "CRLF")?;
        Ok(length)
    }

    fn counted(&mut self) -> Result<&'a [u8], ParseError> {
        let length = self.literal_head()?;
        let bytes = usize::try_from(length).ok().and_then(|length| self.rest().get(..length));
        let Some(bytes) = bytes else { return self.fail("the literal's bytes") };
        self.at += bytes.len();
        Ok(bytes)
    }

    /// `number`, 32 bits.
    pub fn number(&mut self) -> Result<u32, ParseError> {
        let start = self.at;
        self.number64().and_then(|value| {
            u32::try_from(value).map_err(|_| ParseError { at: start, expected: "a number below 4294967296" })
        })
    }

    /// `nz-number`, 32 bits, not 0.
    pub fn nz_number(&mut self) -> Result<u32, ParseError> {
        let start = self.at;
        match self.number()? {
            0 => Err(ParseError { at: start, expected: "a number that is not 0" }),
            value => Ok(value),
        }
    }

    /// `number64` and `mod-sequence-valzer`: 63 bits (RFC 9051 §9, RFC 7162 §7).
    pub fn number64(&mut self) -> Result<u64, ParseError> {
        let error = ParseError { at: self.at, expected: "a number" };
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return Err(error);
        }
        let value = digits
            .iter()
            .try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        value.filter(|&value| value <= i64::MAX.cast_unsigned()).ok_or(error)
    }

    /// `sequence-set = (seq-number / seq-range) ["," sequence-set] / "$"`
    pub fn sequence_set(&mut self) -> Result<SequenceSet, ParseError> {
        if self.skip(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = self.sequence_number()?;
            let last = if self.skip(b':') { self.sequence_number()? } else { first };
            ranges.push((first, last));
            if !self.skip(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
        }
    }

    fn sequence_number(&mut self) -> Result<SequenceNumber, ParseError> {
        if self.skip(b'*') {
            return Ok(SequenceNumber::Star);
        }
        self.nz_number().map(SequenceNumber::Number)
    }

    /// `mailbox = "INBOX" / astring`: the name as sent; [`crate::names`] says what it means.
    pub fn mailbox(&mut self) -> Result<Vec<u8>, ParseError> {
        self.astring().map(Cow::into_owned)
    }

    /// `list-mailbox = 1*list-char / string`: a name with `%` and `*`.
    pub fn list_mailbox(&mut self) -> Result<Vec<u8>, ParseError> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string().map(Cow::into_owned);
        }
        let is_part = |byte| is_astring_char(byte) || matches!(byte, b'%' | b'*');
        self.run(is_part, "a mailbox name or pattern").map(|text| text.as_bytes().to_vec())
    }

    /// `flag-list = "(" [flag *(SP flag)] ")"`
    pub fn flag_list(&mut self) -> Result<FlagList, ParseError> {
        self.open()?;
        if self.skip(b')') {
            return Ok(FlagList::default());
        }
        let flags = self.flags()?;
        self.close()?;
        Ok(flags)
    }

    /// As [`Cursor::flag_list`], for APPEND: `\Recent`, which a client may have read with the message, is
    /// not kept (RFC 3501 §2.3.2), nor are keywords that an account has no room for: the message is
    /// worth more.
    pub fn append_flag_list(&mut self) -> Result<FlagList, ParseError> {
        self.open()?;
        let mut list = FlagList::default();
        if self.skip(b')') {
            return Ok(list);
        }
        loop {
            if self.peek() != Some(b'\\') {
                let keyword = self.atom()?;
                let fits = keyword.len() <= account::KEYWORD_BYTES_MAX;
                if fits && list.keywords.len() < account::KEYWORDS_MAX {
                    list.add(keyword);
                }
            } else if !self.skip_flag("\\Recent") {
                self.flag(&mut list)?;
            }
            if !self.skip(b' ') {
                return self.close().map(|()| list);
            }
        }
    }

    fn skip_flag(&mut self, flag: &str) -> bool {
        let mut ahead = self.clone();
        let is_it = ahead.skip_word(flag) && ahead.peek().is_none_or(|byte| !is_atom_char(byte));
        if is_it {
            self.at = ahead.at;
        }
        is_it
    }

    /// `flag *(SP flag)`, as STORE takes it without parentheses too.
    pub fn flags(&mut self) -> Result<FlagList, ParseError> {
        let mut list = FlagList::default();
        loop {
            self.flag(&mut list)?;
            if !self.skip(b' ') {
                return Ok(list);
            }
        }
    }

    fn flag(&mut self, list: &mut FlagList) -> Result<(), ParseError> {
        let start = self.at;
        if !self.skip(b'\\') {
            let keyword = self.atom()?;
            if keyword.len() > account::KEYWORD_BYTES_MAX {
                return Err(ParseError { at: start, expected: "a shorter keyword" });
            }
            if list.keywords.len() == account::KEYWORDS_MAX {
                return Err(ParseError { at: start, expected: "fewer keywords" });
            }
            list.add(keyword);
            return Ok(());
        }
        // \Recent cannot be set by clients, and no flag-extension is known here (RFC 9051 §2.3.2).
        let name = self.atom()?;
        let known = Flags::NAMED
            .iter()
            .find(|(_, text)| text.get(1..).is_some_and(|text| text.eq_ignore_ascii_case(name)));
        match known {
            Some((flag, _)) => list.flags = list.flags.with(*flag),
            None => return Err(ParseError { at: start, expected: "a system flag or a keyword" }),
        }
        Ok(())
    }

    /// `date = date-text / DQUOTE date-text DQUOTE`, e.g. `1-Feb-2026`.
    pub fn date(&mut self) -> Result<mime::Date, ParseError> {
        let is_quoted = self.skip(b'"');
        let start = self.at;
        let error = ParseError { at: start, expected: "a date such as 1-Feb-2026" };
        let day = self.number().map_err(|_| error)?;
        self.eat(b'-', error.expected)?;
        let name = self.take_while(|byte| byte.is_ascii_alphabetic());
        let month =
            MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes())).ok_or(error)?;
        self.eat(b'-', error.expected)?;
        let year = self.take_while(|byte| byte.is_ascii_digit());
        if !(1..=31).contains(&day) || year.len() != 4 {
            return Err(error);
        }
        let year = year.iter().fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
        if is_quoted {
            self.eat(b'"', "a closing quotation mark")?;
        }
        Ok(mime::Date { year, month: month as u32 + 1, day })
    }

    /// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
    pub fn date_time(&mut self) -> Result<Timestamp, ParseError> {
        let error =
            ParseError { at: self.at, expected: "a date and time such as \"01-Feb-2026 10:00:00 +0000\"" };
        self.eat(b'"', error.expected)?;
        let text = self.take_while(|byte| byte != b'"');
        self.eat(b'"', error.expected)?;
        mime::parse_imap_date_time(text).ok_or(error)
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `ATOM-CHAR = <any CHAR except atom-specials>` (RFC 9051 §9).
pub(crate) fn is_atom_char(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR = ATOM-CHAR / "]"`
pub(crate) fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<SequenceSet, ParseError> {
        Cursor::new(text.as_bytes()).sequence_set()
    }

    #[test]
    fn strings_come_in_three_forms() {
        let mut cursor = Cursor::new(b"ab] \"c \\\"d\\\\\" {3}\r\ne f {2+}\r\n\r\n ~{2}\r\n\0\x01");
        assert_eq!(cursor.astring().unwrap().as_ref(), b"ab]");
        cursor.sp().unwrap();
        assert_eq!(cursor.astring().unwrap().as_ref(), b"c \"d\\");
        cursor.sp().unwrap();
        assert_eq!(cursor.astring().unwrap().as_ref(), b"e f");
        cursor.sp().unwrap();
        assert_eq!(cursor.nstring().unwrap().unwrap().as_ref(), b"\r\n");
        cursor.sp().unwrap();
        assert_eq!(cursor.literal8().unwrap(), b"\0\x01");
        assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn what_is_no_string_is_refused_where_it_goes_wrong() {
        for (text, at) in
            [("\"a", 2), ("\"a\\n\"", 3), ("{5}\r\nabc", 5), ("{a}\r\n", 1), ("{1}a", 3), ("(", 0), ("", 0)]
        {
            assert_eq!(Cursor::new(text.as_bytes()).astring().map_err(|error| error.at), Err(at), "{text}");
        }
        assert_eq!(Cursor::new(b"{1}\r\n\0").literal().map_err(|error| error.at), Err(0));
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        assert_eq!(Cursor::new(b"4294967295").number(), Ok(u32::MAX));
        assert!(Cursor::new(b"4294967296").number().is_err());
        assert!(Cursor::new(b"0").nz_number().is_err());
        assert_eq!(Cursor::new(b"9223372036854775807").number64(), Ok(u64::MAX / 2));
        assert!(Cursor::new(b"9223372036854775808").number64().is_err());
        assert!(Cursor::new(b"99999999999999999999999").number64().is_err());
    }

    #[test]
    fn sequence_sets_are_kept_as_said() {
        use SequenceNumber::{Number, Star};
        assert_eq!(
            set("1,5:3,*:7"),
            Ok(SequenceSet::Ranges(Vec::from([
                (Number(1), Number(1)),
                (Number(5), Number(3)),
                (Star, Number(7))
            ])))
        );
        assert_eq!(set("$"), Ok(SequenceSet::Saved));
        for text in ["", "0", "1,", "1:", "a", "1,0"] {
            assert!(set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_and_dates_are_read() {
        let list = Cursor::new(b"(\\seen $Junk \\Deleted $junk)").flag_list().unwrap();
        assert_eq!(list.flags, Flags::SEEN.with(Flags::DELETED));
        assert_eq!(list.keywords, ["$Junk"]);
        assert!(Cursor::new(b"(\\Recent)").flag_list().is_err());
        let list = Cursor::new(b"(\\Recent \\Seen a)").append_flag_list().unwrap();
        assert_eq!((list.flags, list.keywords.len()), (Flags::SEEN, 1));
        assert_eq!(Cursor::new(b"()").append_flag_list(), Ok(FlagList::default()));
        let many: String = (0..70).map(|n| ["k", &n.to_string(), " "].concat()).collect();
        let many = ["(", &many, &"x".repeat(101), ")"].concat();
        assert!(Cursor::new(many.as_bytes()).flag_list().is_err());
        let list = Cursor::new(many.as_bytes()).append_flag_list().unwrap();
        assert_eq!(list.keywords.last().map(String::as_str), Some("k63"));
        for text in ["(\\Recently)", "(\\Seen )", "(", "( \\Seen)"] {
            assert!(Cursor::new(text.as_bytes()).append_flag_list().is_err(), "{text}");
        }
        assert!(Cursor::new(b"()").flag_list().unwrap().keywords.is_empty());
        assert_eq!(Cursor::new(b"\"1-feb-2026\"").date(), Ok(mime::Date { year: 2026, month: 2, day: 1 }));
        assert!(Cursor::new(b"32-Feb-2026").date().is_err());
        assert!(Cursor::new(b"1-Foo-2026").date().is_err());
    }
}
