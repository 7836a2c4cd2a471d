//! Text as lines of a message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::{ENCODED_LINE_BYTES_MAX, LINE_BYTES_MAX};

/// Quoted-printable (RFC 2045 §6.7) of text: line ends stay line ends, as CRLF.
pub(crate) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 16);
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let line = if is_last { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        quoted_line(&mut out, line);
        if !is_last {
            out.extend(b"\r\n");
        }
    }
    out
}

fn quoted_line(out: &mut Vec<u8>, line: &[u8]) {
    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
    let mut column = 0;
    for (at, &byte) in line.iter().enumerate() {
        let is_end = at + 1 == line.len();
        let width = if is_plain(line, at, column) { 1 } else { 3 };
        // One place is kept for the = that says that the line goes on.
        if column + width > ENCODED_LINE_BYTES_MAX - usize::from(!is_end) {
            out.extend(b"=\r\n");
            column = 0;
        }
        if is_plain(line, at, column) {
            out.push(byte);
            column += 1;
        } else {
            out.extend([b'=', hex(byte >> 4), hex(byte & 15)]);
            column += 3;
        }
    }
}

/// Whether a byte can stand for itself at this column. White space at a line's end would be lost on the
/// way; a dot or "From " at a line's start could be changed.
fn is_plain(line: &[u8], at: usize, column: usize) -> bool {
    let rest = line.get(at..).unwrap_or_default();
    match rest.first() {
        Some(b'=') | None => false,
        Some(b' ' | b'\t') => rest.len() > 1,
        Some(b'.') => column > 0,
        Some(b'F') => column > 0 || !rest.starts_with(b"From "),
        Some(byte) => (b'!'..=b'~').contains(byte),
    }
}

/// Base64 (RFC 2045 §6.8) in lines, the last one with its end.
pub(crate) fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let encoded = STANDARD.encode(bytes);
    let mut out = Vec::with_capacity(encoded.len() + encoded.len() / 38 + 2);
    for line in encoded.as_bytes().chunks(ENCODED_LINE_BYTES_MAX) {
        out.extend_from_slice(line);
        out.extend(b"\r\n");
    }
    out
}

/// Whether bytes can stand in a message without any encoding but 8bit.
pub(crate) fn has_short_lines(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX) && !bytes.contains(&0)
}

/// Line ends of an operator's text as CRLF, and no empty lines at its end.
pub(crate) fn crlf(text: &str) -> String {
    text.trim_end().lines().collect::<Vec<_>>().join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mime::{Encoding, decode_transfer_strictly};

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let long = "ü=x ".repeat(100) + "\r\n.\r\nFrom me \r\n\t\r\n" + &"y".repeat(77);
        for text in ["", "a", "a\r\n", " ", "\r\n\r\n", "=\t", long.as_str()] {
            let encoded = quoted_printable(text.as_bytes());
            let lines: Vec<&[u8]> = encoded.split(|&byte| byte == b'\n').collect();
            assert!(lines.iter().all(|line| line.len() <= ENCODED_LINE_BYTES_MAX + 1), "{text:?}");
            assert!(!lines.iter().any(|line| line.starts_with(b".") || line.starts_with(b"From ")));
            assert_eq!(
                decode_transfer_strictly(Encoding::QuotedPrintable, &encoded).unwrap(),
                text.as_bytes()
            );
            let encoded = base64_lines(text.as_bytes());
            assert_eq!(decode_transfer_strictly(Encoding::Base64, &encoded).unwrap(), text.as_bytes());
        }
    }
}
