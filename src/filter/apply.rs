//! Doing to a message what filters asked for. Pure: bytes in, bytes out.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::limits::FIELDS_MAX;
use crate::message::{body_at, field_at};
use crate::outcome::{Modification, Which};

/// A header field: the length of its name, and its lines with their CRLF.
struct Line<'a> {
    name: Cow<'a, [u8]>,
    bytes: Cow<'a, [u8]>,
}

/// The message with the modifications done in their order; those of the envelope are passed over, they are the
/// caller's. Its first `own_bytes` are fields that we added: they stay in front, no name finds them, and they
/// count in [`Modification::InsertHeader`]'s places. What is not changed stays byte for byte.
///
/// Whatever a filter asks for, a field's line breaks are CRLF followed by a space or tab, so that a value can
/// neither become another field nor end the header section; a new body has no CR or LF but in CRLF.
pub fn apply(message: &[u8], own_bytes: usize, modifications: &[Modification]) -> Vec<u8> {
    let (own, shown) = message.split_at_checked(own_bytes).unwrap_or((message, &[]));
    let (mut fields, body_begin, has_empty_line) = split(shown);
    let own_fields = split(own).0.len();
    let mut body = Cow::Borrowed(shown.get(body_begin..).unwrap_or_default());
    let (mut is_header_changed, mut is_body_new) = (false, false);
    for modification in modifications {
        match modification {
            Modification::ReplaceBody(bytes) => (body, is_body_new) = (Cow::Owned(with_crlf(bytes)), true),
            other => is_header_changed |= change_header(&mut fields, own_fields, other),
        }
    }
    let mut out = Vec::with_capacity(message.len() + 1024);
    out.extend_from_slice(own);
    for field in &fields {
        out.extend_from_slice(&field.bytes);
        if !field.bytes.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    // A body that had no empty line in front of it would run into what is changed above it.
    if has_empty_line || is_body_new || (is_header_changed && !body.is_empty()) {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&body);
    // A message that ended in the middle of its last field still does, when nothing was asked for.
    if !is_header_changed && !is_body_new { message.to_vec() } else { out }
}

/// Whether two addresses are one: the domain's case does not matter (RFC 5321 §2.4), and no more do angle
/// brackets around one of them.
pub fn is_same_address(one: &str, other: &str) -> bool {
    let bare = |address: &'_ str| -> usize { address.len() - address.trim_start_matches('<').len() };
    let one = one.get(bare(one)..).unwrap_or_default().trim_end_matches('>');
    let other = other.get(bare(other)..).unwrap_or_default().trim_end_matches('>');
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, domain)), Some((other_local, other_domain))) => {
            local == other_local && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one == other,
    }
}

/// The fields, where the body begins, and whether an empty line is in front of it. Fields over the bound are one, which
/// no name finds.
fn split(message: &[u8]) -> (Vec<Line<'_>>, usize, bool) {
    let (mut fields, mut at) = (Vec::new(), 0);
    while let Some(field) = field_at(message, at) {
        if fields.len() >= FIELDS_MAX {
            break;
        }
        fields.push(Line {
            name: Cow::Borrowed(message.get(field.name).unwrap_or_default()),
            bytes: Cow::Borrowed(message.get(at..field.end).unwrap_or_default()),
        });
        at = field.end;
    }
    let (begin, mut end) = (at, at);
    while let Some(field) = field_at(message, end) {
        end = field.end;
    }
    if end > begin {
        let bytes = Cow::Borrowed(message.get(begin..end).unwrap_or_default());
        fields.push(Line { name: Cow::Borrowed(b""), bytes });
        at = end;
    }
    let body = body_at(message, at);
    (fields, body, body > at)
}

/// Whether the modification changes the header section at all.
fn change_header(fields: &mut Vec<Line<'_>>, own_fields: usize, modification: &Modification) -> bool {
    match modification {
        Modification::AddHeader { name, value } => fields.push(line(name, value)),
        Modification::InsertHeader { index, name, value } => {
            let place = place(*index, own_fields, fields.len());
            fields.insert(place, line(name, value));
        }
        Modification::ChangeHeader { index, name, value } => match nth(fields, name, (*index).max(1)) {
            Some(at) => {
                if let Some(field) = fields.get_mut(at) {
                    *field = line(name, value);
                }
            }
            None => fields.push(line(name, value)),
        },
        Modification::RemoveHeader { name, which } => {
            let count = fields.len();
            remove(fields, name, *which);
            return fields.len() < count;
        }
        Modification::ReplaceBody(_)
        | Modification::ChangeSender { .. }
        | Modification::AddRecipient { .. }
        | Modification::RemoveRecipient(_) => return false,
    }
    true
}

fn remove(fields: &mut Vec<Line<'_>>, name: &str, which: Which) {
    let at = match which {
        Which::All => return fields.retain(|field| !field.name.eq_ignore_ascii_case(name.as_bytes())),
        Which::Nth(number) => nth(fields, name, number.max(1)),
        Which::FromEnd(number) => {
            let count =
                fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).count();
            let number = (count + 1).saturating_sub(number.max(1) as usize);
            if number == 0 { None } else { nth(fields, name, number as u32) }
        }
    };
    if let Some(at) = at {
        fields.remove(at);
    }
}

fn nth(fields: &[Line<'_>], name: &str, number: u32) -> Option<usize> {
    let named =
        fields.iter().enumerate().filter(|(_, field)| field.name.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(at, _)| at).nth(number.saturating_sub(1) as usize)
}

/// Among `count` shown fields, for an index that counts our own fields too when it is not negative.
fn place(index: i32, own_fields: usize, count: usize) -> usize {
    match usize::try_from(index) {
        Ok(index) => index.saturating_sub(own_fields).min(count),
        Err(_) => (count + 1).saturating_sub(index.unsigned_abs() as usize),
    }
}

fn line(name: &str, value: &[u8]) -> Line<'static> {
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b':');
    let value = value.trim_ascii_end();
    for (number, part) in value.split(|byte| *byte == b'\n').enumerate() {
        let mut part = part.strip_suffix(b"\r").unwrap_or(part);
        if number > 0 {
            // A line of spaces alone reads as the end of the header section to some (RFC 5322 §4.2).
            if part.trim_ascii().is_empty() {
                continue;
            }
            bytes.extend_from_slice(b"\r\n");
            if !matches!(part.first(), Some(b' ' | b'\t')) {
                bytes.push(b'\t');
            }
        } else if part.is_empty() && !value.is_empty() {
            part = b" ";
        }
        bytes.extend(part.iter().filter(|byte| !matches!(byte, b'\r' | 0)));
    }
    bytes.extend_from_slice(b"\r\n");
    Line { name: Cow::Owned(name.as_bytes().to_vec()), bytes: Cow::Owned(bytes) }
}

/// Bare CR and LF become CRLF, and the last line ends.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(b"\r\n");
        let is_pair = rest.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n"));
        rest = rest.get(at + 1 + usize::from(is_pair)..).unwrap_or_default();
    }
    if !rest.is_empty() {
        out.extend_from_slice(rest);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    const MESSAGE: &str = "Received: ours\r\n by us\r\nA: 1\r\nB: 2\r\n two\r\na: 3\r\n\r\nbody\r\n";
    const OWN: usize = 24;

    fn done(modifications: &[Modification]) -> String {
        String::from_utf8(apply(MESSAGE.as_bytes(), OWN, modifications)).expect("ASCII")
    }

    fn add(name: &str, value: &str) -> Modification {
        Modification::AddHeader { name: name.to_string(), value: value.into() }
    }

    fn insert(index: i32, name: &str) -> Modification {
        Modification::InsertHeader { index, name: name.to_string(), value: b" x".to_vec() }
    }

    fn change(index: u32, name: &str, value: &str) -> Modification {
        Modification::ChangeHeader { index, name: name.to_string(), value: value.into() }
    }

    fn without(name: &str, which: Which) -> Modification {
        Modification::RemoveHeader { name: name.to_string(), which }
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        assert_eq!(done(&[]), MESSAGE);
        assert_eq!(
            done(&[Modification::RemoveRecipient("a@b".to_string()), without("C", Which::All)]),
            MESSAGE
        );
        for odd in [&b""[..], b"\r\n", b"A: 1", b"no field\r\n", b"A: 1\r\n\r\nbare\nlf", b"\n\n"] {
            assert_eq!(apply(odd, 0, &[]), odd);
        }
    }

    #[test]
    fn fields_go_where_they_are_told_and_ours_stay_on_top() {
        assert_eq!(done(&[add("X", " y")]), MESSAGE.replace("\r\n\r\n", "\r\nX: y\r\n\r\n"));
        for top in [0, 1] {
            assert_eq!(done(&[insert(top, "X")]), MESSAGE.replace("A: 1", "X: x\r\nA: 1"));
        }
        assert_eq!(done(&[insert(2, "X")]), MESSAGE.replace("B: 2", "X: x\r\nB: 2"));
        for end in [4, 400, i32::MAX, -1] {
            assert_eq!(done(&[insert(end, "X")]), MESSAGE.replace("\r\n\r\n", "\r\nX: x\r\n\r\n"), "{end}");
        }
        assert_eq!(done(&[insert(-2, "X")]), MESSAGE.replace("a: 3", "X: x\r\na: 3"));
        assert_eq!(done(&[insert(i32::MIN, "X")]), MESSAGE.replace("A: 1", "X: x\r\nA: 1"));
    }

    #[test]
    fn fields_are_counted_by_name_without_case() {
        assert_eq!(done(&[change(2, "A", " new")]), MESSAGE.replace("a: 3", "A: new"));
        assert_eq!(done(&[change(1, "b", "new")]), MESSAGE.replace("B: 2\r\n two", "b:new"));
        assert_eq!(done(&[change(3, "A", " new")]), done(&[add("A", " new")]), "there is no third");
        assert_eq!(done(&[without("A", Which::Nth(2))]), MESSAGE.replace("a: 3\r\n", ""));
        assert_eq!(done(&[without("a", Which::FromEnd(1))]), MESSAGE.replace("a: 3\r\n", ""));
        assert_eq!(done(&[without("a", Which::FromEnd(2))]), MESSAGE.replace("A: 1\r\n", ""));
        assert_eq!(done(&[without("a", Which::FromEnd(3))]), MESSAGE);
        assert_eq!(
            done(&[without("A", Which::All)]),
            MESSAGE.replace("A: 1\r\n", "").replace("a: 3\r\n", "")
        );
        assert_eq!(done(&[without("Received", Which::All)]), MESSAGE, "ours is not found by its name");
        // In order: what the first does is what the second finds.
        assert_eq!(
            done(&[without("A", Which::Nth(1)), change(1, "A", " z")]),
            MESSAGE.replace("A: 1\r\n", "").replace("a: 3", "A: z")
        );
    }

    #[test]
    fn a_value_can_neither_end_the_header_nor_become_a_field() {
        let field = |value: &str| {
            let text = done(&[add("X", value)]);
            let at = text.find("\r\nX:").expect("added") + 2;
            text[at..text.find("\r\n\r\nbody").expect("the body follows")].to_string()
        };
        assert_eq!(field(" a\n b"), "X: a\r\n b");
        assert_eq!(field(" a\r\n\tb"), "X: a\r\n\tb");
        assert_eq!(field(" a\r\n\r\nevil: b\n"), "X: a\r\n\tevil: b");
        assert_eq!(field(" a\rb\0c"), "X: abc");
        assert_eq!(field(" a\n \n\t\nb"), "X: a\r\n\tb");
        assert_eq!(field("\n folded"), "X: \r\n folded");
        assert_eq!(field(""), "X:");
    }

    #[test]
    fn a_new_body_has_crlf_and_nothing_else() {
        let body = |bytes: &[u8]| {
            let text = done(&[Modification::ReplaceBody(bytes.to_vec())]);
            text.split_once("\r\n\r\n").expect("a body").1.to_string()
        };
        assert_eq!(body(b"a\nb\rc\r\nd"), "a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(body(b"\n.\n"), "\r\n.\r\n");
        assert_eq!(body(b"\r\r\n"), "\r\n\r\n");
        assert_eq!(body(b""), "");
    }

    #[test]
    fn a_body_without_an_empty_line_is_kept_apart() {
        assert_eq!(apply(b"hello\r\n", 0, &[add("X", " y")]), b"X: y\r\n\r\nhello\r\n");
        assert_eq!(apply(b"A: 1", 0, &[add("X", " y")]), b"A: 1\r\nX: y\r\n");
        assert_eq!(apply(b"A: 1\r\n", 0, &[Modification::ReplaceBody(b"b".to_vec())]), b"A: 1\r\n\r\nb\r\n");
    }

    #[test]
    fn a_message_that_is_all_fields_stays_what_it_is() {
        let many = [&b"a:\r\n".repeat(FIELDS_MAX + 5), b"b: c\r\n\r\nbody".as_slice()].concat();
        let out = apply(&many, 0, &[without("a", Which::All), without("b", Which::All), add("X", " y")]);
        assert_eq!(out, b"a:\r\na:\r\na:\r\na:\r\na:\r\nb: c\r\nX: y\r\n\r\nbody");
    }

    #[test]
    fn addresses_are_compared_as_mail_compares_them() {
        assert!(is_same_address("<ann@Example.org>", "ann@example.ORG"));
        assert!(!is_same_address("Ann@example.org", "ann@example.org"));
        assert!(is_same_address("<postmaster>", "postmaster"));
        assert!(!is_same_address("ann@example.org", "ann"));
    }
}
