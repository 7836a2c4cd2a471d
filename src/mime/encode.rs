//! Transfer encodings as they are written (RFC 2045 §6.7, §6.8), and the question whether bytes need one.

use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::header::without_line_end;
use crate::limits::{ENCODED_LINE_BYTES_MAX, LINE_BYTES_MAX};

/// Bytes that one line of base64 holds.
const BASE64_LINE_CONTENT_BYTES: usize = ENCODED_LINE_BYTES_MAX / 4 * 3;

/// Whether every line ends at CRLF and is no longer than a line may be (RFC 5322 §2.1.1), with neither CR, LF nor NUL
/// elsewhere: then SMTP carries the bytes unchanged, 7-bit or 8-bit. The last line may lack its end.
pub fn is_line_safe(bytes: &[u8]) -> bool {
    has_whole_lines(bytes) && lines(bytes).all(|line| without_line_end(line).len() <= LINE_BYTES_MAX)
}

/// Whether CR and LF are nowhere but together at the ends of lines, and there is no NUL: what text is.
pub(crate) fn has_whole_lines(bytes: &[u8]) -> bool {
    memchr::memchr(0, bytes).is_none()
        && lines(bytes).all(|line| {
            let content = match line {
                [content @ .., b'\r', b'\n'] => content,
                [.., b'\n'] => return false,
                _ => line,
            };
            memchr::memchr(b'\r', content).is_none()
        })
}

/// The lines with their ends; the last may have none.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

/// Encodes as quoted-printable. CRLF stays a line end; a CR or LF alone is encoded. So is what programs on the way would
/// change, or take for something else: white space at the end of a line, `From ` and dashes at its beginning, and a dot.
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut column = 0;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (column, rest) = (0, after);
            continue;
        }
        let is_last = after.is_empty() || after.starts_with(b"\r\n");
        let mut is_plain = match byte {
            b'=' => false,
            b' ' | b'\t' => !is_last,
            byte => byte.is_ascii_graphic(),
        };
        // Room for the `=` of a soft line break.
        if column + if is_plain { 1 } else { 3 } > ENCODED_LINE_BYTES_MAX - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        is_plain &= column > 0 || !is_mistaken(rest);
        if is_plain {
            out.push(byte);
            column += 1;
        } else {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
            column += 3;
        }
        rest = after;
    }
    out
}

/// What at the beginning of a line could be a delimiter, the end of the message, or a line of an mbox file.
fn is_mistaken(line: &[u8]) -> bool {
    line.starts_with(b"--") || line.starts_with(b".") || line.starts_with(b"From ")
}

/// Encodes as base64, with CRLF between the lines and none behind the last.
pub fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(bytes.len() / BASE64_LINE_CONTENT_BYTES * (ENCODED_LINE_BYTES_MAX + 2) + 80);
    let mut line = [0; ENCODED_LINE_BYTES_MAX];
    for content in bytes.chunks(BASE64_LINE_CONTENT_BYTES) {
        if !out.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        let length = STANDARD.encode_slice(content, &mut line).expect("the line has room for its content");
        out.extend_from_slice(line.get(..length).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, decode_transfer_strictly};

    #[test]
    fn bytes_that_lines_cannot_carry_are_told() {
        for (bytes, is_safe) in [
            ("", true),
            ("a\r\nb", true),
            ("a\r\n", true),
            ("a\n", false),
            ("a\rb", false),
            ("a\r", false),
            ("\r\r\n", false),
            ("a\0", false),
        ] {
            assert_eq!(is_line_safe(bytes.as_bytes()), is_safe, "{bytes:?}");
        }
        let line = "x".repeat(LINE_BYTES_MAX);
        assert!(is_line_safe(format!("{line}\r\n{line}").as_bytes()));
        assert!(!is_line_safe(format!("{line}x\r\n").as_bytes()));
    }

    #[test]
    fn both_encodings_go_there_and_back() {
        let mut random = base::Random::new(3);
        for round in 0..3000 {
            let bytes: Vec<u8> = (0..random.below(300))
                .map(|_| {
                    if round % 2 == 0 {
                        random.next_u64() as u8
                    } else {
                        b"a =\r\n\t\xe9-.F"[random.below(10) as usize]
                    }
                })
                .collect();
            for (encoding, encoded) in [
                (Encoding::QuotedPrintable, quoted_printable(&bytes)),
                (Encoding::Base64, base64_lines(&bytes)),
            ] {
                assert!(is_line_safe(&encoded) && encoded.is_ascii());
                let mut lines = lines(&encoded).map(without_line_end);
                assert!(lines.all(|line| line.len() <= ENCODED_LINE_BYTES_MAX && !is_mistaken(line)));
                assert_eq!(decode_transfer_strictly(encoding, &encoded), Ok(bytes.clone()));
            }
        }
    }

    #[test]
    fn no_line_begins_as_something_else() {
        let long = format!("{}--b", "x".repeat(75));
        for (text, encoded) in [
            ("--b\r\n-- \r\n", "=2D-b\r\n=2D-=20\r\n"),
            ("a--b", "a--b"),
            (".\r\na.", "=2E\r\na."),
            ("From x\r\nFrom", "=46rom x\r\nFrom"),
            (&long, &format!("{}=\r\n=2D-b", "x".repeat(75))),
        ] {
            assert_eq!(String::from_utf8(quoted_printable(text.as_bytes())).unwrap(), encoded);
        }
    }
}
