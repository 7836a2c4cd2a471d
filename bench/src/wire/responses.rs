//! IMAP responses off the wire, whole, with their literals (RFC 9051 §4.3).

use std::ops::Range;

use crate::limits::RESPONSE_BYTES_MAX;
use crate::wrong::Wrong;

/// Cuts what a server says into responses.
#[derive(Default)]
pub(super) struct Responses {
    buffer: Vec<u8>,
    /// Where the response under way begins.
    start: usize,
    /// Up to where it has been looked at; beyond the buffer's end inside a literal.
    seen: usize,
}

impl Responses {
    pub(super) fn input(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
        } else if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
        } else {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        self.seen -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Where the next whole response is, without its last CRLF. Good until more input comes.
    pub(super) fn take(&mut self) -> Result<Option<Range<usize>>, Wrong> {
        loop {
            let rest = self.buffer.get(self.seen..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', rest) else {
                if self.buffer.len() - self.start > RESPONSE_BYTES_MAX {
                    return Err(Wrong::Answer("a response beyond all bounds".into()));
                }
                return Ok(None);
            };
            let end = self.seen + at;
            let line = &self.buffer[self.seen..end];
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Wrong::answer("a line with CRLF", line));
            };
            self.seen = end + 1;
            if let Some(bytes) = literal(line) {
                self.seen += bytes;
                continue;
            }
            let range = self.start..end - 1;
            self.start = self.seen;
            return Ok(Some(range));
        }
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }
}

/// The size of the literal that a line announces.
fn literal(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', digits)?;
    std::str::from_utf8(&digits[open + 1..]).ok()?.parse().ok().filter(|bytes| *bytes <= RESPONSE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_whole_however_the_bytes_come() {
        let said = b"* 1 FETCH (BODY[] {6}\r\na\r\nb\r\n X)\r\nt1 OK\r\n* 2 EXISTS\r\n";
        for step in [1, 3, 7, 100] {
            let mut responses = Responses::default();
            let mut got = Vec::new();
            for piece in said.chunks(step) {
                responses.input(piece);
                while let Some(range) = responses.take().expect("a clean answer") {
                    got.push(responses.bytes(range).to_vec());
                }
            }
            let want: [&[u8]; 3] = [b"* 1 FETCH (BODY[] {6}\r\na\r\nb\r\n X)", b"t1 OK", b"* 2 EXISTS"];
            assert_eq!(got, want, "in steps of {step}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_no_line_end() {
        let mut responses = Responses::default();
        responses.input(b"* OK\n");
        assert!(responses.take().is_err());
    }
}
