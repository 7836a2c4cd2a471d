//! Header fields (RFC 5322 §2.2): where they are, and their folding.
//!
//! Stored mail came from anywhere, so a bare LF ends a line here as CRLF does. Nothing is changed.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name without the colon; empty for a line that is no field.
    pub name: &'a [u8],
    /// What follows the colon: raw, folded, without the final line end. For a line that is no
    /// field, the whole line.
    pub value: &'a [u8],
    /// The whole field with its line end, as offsets into what [`Headers::of`] was given.
    pub range: Range<usize>,
}

impl Header<'_> {
    /// Whether this is the field of that name; case does not count (RFC 5322 §1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Iterates over the fields of a header. Their ranges lie end to end from 0 to the empty line.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Headers<'a> {
    /// The fields of `bytes` up to the first empty line, or to its end.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let rest = self.bytes.get(self.at..)?;
        if rest.is_empty() || starts_with_line_end(rest) {
            return None;
        }
        let mut end = line_end(rest, 0);
        // RFC 5322 §2.2.3: a line that begins with white space continues the field.
        while let Some(b' ' | b'\t') = rest.get(end) {
            end = line_end(rest, end);
        }
        let range = self.at..self.at + end;
        self.at = range.end;
        let field = without_line_end(rest.get(..end)?);
        let (name, value) = split_field(field);
        Some(Header { name, value, range })
    }
}

/// The first field of a name (compared without case).
pub fn field<'a>(header: &'a [u8], name: &str) -> Option<Header<'a>> {
    Headers::of(header).find(|field| field.is(name))
}

/// Where the body starts: behind the first empty line. The length of `bytes` when there is none.
pub fn end_of_headers(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        if let Some(length) = line_end_at_start(rest) {
            return at + length;
        }
        if rest.is_empty() {
            break;
        }
        at = line_end(bytes, at);
    }
    bytes.len()
}

/// Removes folding: each line end before white space (RFC 5322 §2.2.3). Borrows when nothing is
/// folded.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(without_line_end(line));
    }
    Cow::Owned(out)
}

/// A value as it is compared and shown: unfolded, no white space around it.
pub(crate) fn clean(value: &[u8]) -> Cow<'_, [u8]> {
    match unfold(value) {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim_ascii()),
        Cow::Owned(value) => Cow::Owned(value.trim_ascii().to_vec()),
    }
}

/// Where the line that contains `at` ends: behind its LF, or at the end of `bytes`.
pub(crate) fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(bytes.len(), |offset| at + offset + 1)
}

/// The length of the line end that `bytes` begin with, if they do.
pub(crate) fn line_end_at_start(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// `line` without the LF or CRLF at its end.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] => rest,
        _ => line,
    }
}

fn starts_with_line_end(bytes: &[u8]) -> bool {
    line_end_at_start(bytes).is_some()
}

/// Name and value. The name is what RFC 5322 §3.6.8 allows (printable ASCII), or a byte of UTF-8
/// by mistake; white space before the colon is obsolete and tolerated (RFC 5322 §4.5).
fn split_field(field: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, value)) = memchr::memchr(b':', field)
        .and_then(|colon| Some((field.get(..colon)?.trim_ascii_end(), field.get(colon + 1..)?)))
    else {
        return (b"", field);
    };
    if name.is_empty() || name.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return (b"", field);
    }
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Headers::of(bytes).map(|h| (text(h.name), text(h.value))).collect()
    }

    #[test]
    fn fields_are_found_with_their_folding_and_their_ranges_lie_end_to_end() {
        let bytes = b"A: 1\r\nB : 2\r\n\tmore\r\n \r\nFrom x\r\n: none\nC:3\n\nbody: no\r\n";
        assert_eq!(
            names(bytes),
            [("A", " 1"), ("B", " 2\r\n\tmore\r\n "), ("", "From x"), ("", ": none"), ("C", "3")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        let mut at = 0;
        for header in Headers::of(bytes) {
            assert_eq!(header.range.start, at);
            at = header.range.end;
        }
        assert_eq!(end_of_headers(bytes), at + 1);
        assert_eq!(field(bytes, "c").map(|f| f.value), Some(&b"3"[..]));
        assert_eq!(field(bytes, "body"), None);
    }

    #[test]
    fn the_body_starts_behind_the_first_empty_line() {
        for (bytes, end) in [
            ("", 0),
            ("\r\n", 2),
            ("\n", 1),
            ("\r\nx", 2),
            ("A: 1", 4),
            ("A: 1\r\n", 6),
            ("A: 1\r\n\r", 7),
            ("A: 1\r\n\r\n", 8),
            ("A: 1\r\n\r\nx\r\n\r\n", 8),
            ("A: 1\n\nx", 6),
            ("A: 1\n\r\nx", 7),
            ("A: 1\r\rx", 7),
        ] {
            assert_eq!(end_of_headers(bytes.as_bytes()), end, "{bytes:?}");
        }
    }

    #[test]
    fn unfolding_removes_line_ends_and_nothing_else() {
        assert_eq!(&*unfold(b"a b"), b"a b");
        assert!(matches!(unfold(b"a b"), Cow::Borrowed(_)));
        assert_eq!(&*unfold(b" a\r\n b\n\tc"), b" a b\tc");
        assert_eq!(&*unfold(b"a\rb\r\n"), b"a\rb");
        assert_eq!(&*clean(b" a\r\n b \r\n"), b"a b");
    }
}
