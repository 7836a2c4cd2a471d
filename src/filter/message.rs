//! A message's header section and body, as filters count them (RFC 5322 §2.1): nothing is decoded.

use core::ops::Range;

/// One header field's place in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The name, without the colon and spaces in front of it.
    pub(crate) name: Range<usize>,
    /// What comes after the colon, without the last line's CRLF.
    pub(crate) value: Range<usize>,
    /// Where the next field begins.
    pub(crate) end: usize,
}

/// The field that begins at `at`; `None` where the header section ends: at an empty line, at a line that is no
/// field, or at the message's end.
pub(crate) fn field_at(message: &[u8], at: usize) -> Option<Field> {
    let rest = message.get(at..)?;
    let line = rest.get(..line_end(rest))?;
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?;
    let name_bytes = name.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'))? + 1;
    // RFC 5322 §2.2: a name is printable and has no space in it.
    if !name.get(..name_bytes)?.iter().all(|byte| matches!(byte, 33..=126)) {
        return None;
    }
    let mut end = line.len();
    // RFC 5322 §2.2.3: a line that begins with a space goes on with the field.
    while let Some(more) = rest.get(end..).filter(|more| matches!(more.first(), Some(b' ' | b'\t'))) {
        end += line_end(more);
    }
    let value = colon + 1..end;
    let text = rest.get(value.clone())?;
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    Some(Field {
        name: at..at + name_bytes,
        value: at + colon + 1..at + colon + 1 + text.len(),
        end: at + end,
    })
}

/// Where the body begins, when the header section ends at `end`: behind the empty line, if there is one.
pub(crate) fn body_at(message: &[u8], end: usize) -> usize {
    let has_line = message.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    if has_line { end + 2 } else { end }
}

/// Behind the first CRLF, or the end.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memmem::find(bytes, b"\r\n").map_or(bytes.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

    fn fields(message: &[u8]) -> (Pairs<'_>, &[u8]) {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(field) = field_at(message, at) {
            assert!(field.end > at);
            found.push((&message[field.name.clone()], &message[field.value.clone()]));
            at = field.end;
        }
        (found, &message[body_at(message, at)..])
    }

    #[test]
    fn fields_end_where_the_body_begins() {
        let (found, body) = fields(b"A: 1\r\nB:2\r\n\t3\r\n  4\r\nC :\r\n\r\nD: 5\r\n");
        assert_eq!(found, [(&b"A"[..], &b" 1"[..]), (b"B", b"2\r\n\t3\r\n  4"), (b"C", b"")]);
        assert_eq!(body, b"D: 5\r\n");
        // No empty line: what is no field is body.
        assert_eq!(fields(b"A: 1\r\nhello\r\n"), (Vec::from([(&b"A"[..], &b" 1"[..])]), &b"hello\r\n"[..]));
        assert_eq!(fields(b"A: 1"), (Vec::from([(&b"A"[..], &b" 1"[..])]), &b""[..]));
        for odd in [&b""[..], b"\r\n", b" x: y\r\n", b":\r\n", b"a b: c\r\n", b"\xc3: d\r\n"] {
            assert!(fields(odd).0.is_empty(), "{odd:?}");
        }
    }
}
