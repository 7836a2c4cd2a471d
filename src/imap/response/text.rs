//! Strings and numbers (RFC 9051 §4).

use alloc::vec::Vec;

use base::Ranges;

/// A number in decimal digits, without allocating.
pub(crate) fn write_number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0_u8; 20];
    let mut left = value;
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        length += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or(&[]));
}

/// `string`: quoted where that can hold it, else a literal. Neither can hold NUL (RFC 9051 §9
/// `CHAR8`), so NUL is left out.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    // Without a way out of the loop, so that it is many bytes at a time.
    let (mut is_printable, mut has_quotes) = (true, false);
    for &byte in text {
        is_printable &= matches!(byte, 0x20..=0x7E);
        has_quotes |= matches!(byte, b'"' | b'\\');
    }
    if text.len() > QUOTED_BYTES_MAX || !is_printable {
        return write_literal(out, text);
    }
    if has_quotes {
        return write_quoted(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// `nstring = string / nil`
pub(crate) fn write_nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `literal`, without the NULs that it cannot hold.
pub(crate) fn write_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    let nuls = memchr::memchr_iter(0, bytes).count();
    write_literal_head(out, (bytes.len() - nuls) as u64);
    for run in bytes.split(|&byte| byte == 0) {
        out.extend_from_slice(run);
    }
}

/// The part of a literal in front of its bytes: for bytes that are streamed.
pub(crate) fn write_literal_head(out: &mut Vec<u8>, length: u64) {
    out.push(b'{');
    write_number(out, length);
    out.extend_from_slice(b"}\r\n");
}

/// `quoted`, whatever is inside; the caller has seen to it that there is no CR, LF or NUL.
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A set of numbers, `1:3,7`, without allocating.
pub(crate) fn write_ranges(out: &mut Vec<u8>, set: &Ranges) {
    for (index, (first, last)) in set.ranges().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_number(out, u64::from(first));
        if first != last {
            out.push(b':');
            write_number(out, u64::from(last));
        }
    }
}

/// Longer strings are sent as literals: some clients' quoted strings are bounded.
const QUOTED_BYTES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> alloc::string::String {
        let mut out = Vec::new();
        write(&mut out);
        alloc::string::String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 9, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(written(|out| write_number(out, value)), value.to_string());
        }
    }

    #[test]
    fn strings_take_the_form_that_can_hold_them() {
        for (text, want) in
            [("", "\"\""), ("a \"b\\", "\"a \\\"b\\\\\""), ("ü", "{2}\r\nü"), ("a\r\n", "{3}\r\na\r\n")]
        {
            assert_eq!(written(|out| write_string(out, text.as_bytes())), want);
        }
        assert_eq!(written(|out| write_nstring(out, None)), "NIL");
        assert_eq!(written(|out| write_string(out, b"\0a\0\0b\0")), "{2}\r\nab");
        assert_eq!(written(|out| write_string(out, b"\0")), "{0}\r\n");
    }
}
