//! The law of lines for messages: dot-stuffing (RFC 1939 §3) and how far TOP goes (RFC 1939 §7).
//! A line ends at CRLF and at nothing else.

use alloc::vec::Vec;

/// Where in a line the bytes so far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of a line.
    Start,
    /// After a CR.
    Cr,
    /// Anywhere else.
    Middle,
}

impl Place {
    fn after(self, piece: &[u8]) -> Self {
        let before = |last| matches!((self, last), (Self::Cr, true));
        match piece {
            [] => self,
            [.., b'\r', b'\n'] => Self::Start,
            [b'\n'] if before(true) => Self::Start,
            [.., b'\r'] => Self::Cr,
            _ => Self::Middle,
        }
    }
}

/// Writes a message piece by piece as a multi-line answer.
#[derive(Debug)]
pub(crate) struct DotStuffer {
    place: Place,
}

impl DotStuffer {
    pub(crate) const fn new() -> Self {
        Self { place: Place::Start }
    }

    /// Appends `piece`, every dot at the start of a line doubled.
    pub(crate) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + piece.len() / 64);
        let mut rest = piece;
        match (self.place, rest) {
            (Place::Start, [b'.', ..]) => out.push(b'.'),
            (Place::Cr, [b'\n', b'.', ..]) => {
                out.extend_from_slice(b"\n.");
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => {}
        }
        while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
            let Some((line, after)) = rest.split_at_checked(at + 2) else { break };
            out.extend_from_slice(line);
            out.push(b'.');
            rest = after;
        }
        out.extend_from_slice(rest);
        self.place = self.place.after(piece);
    }

    /// Ends the answer; a message without a final CRLF gets one.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        if self.place != Place::Start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// How much of a message TOP shows: the header section, the empty line, and some lines after it.
#[derive(Debug)]
pub(crate) struct Top {
    is_header: bool,
    lines_left: u32,
    place: Place,
    /// Whether the line so far is a CR and nothing else.
    is_lone_cr: bool,
}

impl Top {
    pub(crate) const fn new(lines: u32) -> Self {
        Self { is_header: true, lines_left: lines, place: Place::Start, is_lone_cr: false }
    }

    /// Whether all that is to be shown was taken.
    pub(crate) const fn is_done(&self) -> bool {
        !self.is_header && self.lines_left == 0
    }

    /// The front of `piece` that is to be shown.
    pub(crate) fn take<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let mut taken = 0;
        while !self.is_done() {
            let rest = piece.get(taken..).unwrap_or_default();
            let Some(length) = self.line_end(rest) else {
                self.is_lone_cr = match (self.place, rest) {
                    (Place::Start, [b'\r']) => true,
                    (_, []) => self.is_lone_cr,
                    _ => false,
                };
                self.place = self.place.after(rest);
                return piece;
            };
            let is_empty = match (self.place, length) {
                (Place::Start, 2) => true,
                (Place::Cr, 1) => self.is_lone_cr,
                _ => false,
            };
            taken += length;
            self.place = Place::Start;
            if self.is_header {
                self.is_header = !is_empty;
            } else {
                self.lines_left -= 1;
            }
        }
        piece.get(..taken).unwrap_or_default()
    }

    /// Bytes up to the end of the line that is under way.
    fn line_end(&self, rest: &[u8]) -> Option<usize> {
        match (self.place, rest) {
            (Place::Cr, [b'\n', ..]) => Some(1),
            _ => memchr::memmem::find(rest, b"\r\n").map(|at| at + 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::samples;

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut stuffer, mut out) = (DotStuffer::new(), Vec::new());
        for piece in pieces {
            stuffer.write(piece, &mut out);
        }
        stuffer.finish(&mut out);
        out
    }

    fn unstuffed(answer: &[u8]) -> Vec<u8> {
        let lines = answer.strip_suffix(b".\r\n").expect("it ends with the dot");
        let text = String::from_utf8_lossy(lines).replace("\r\n.", "\r\n");
        text.strip_prefix('.').unwrap_or(&text).as_bytes().to_vec()
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_no_others() {
        for (message, want) in [
            ("", ".\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("a.b\r\n..\r\n", "a.b\r\n...\r\n.\r\n"),
            ("a\n.\r.\r\n", "a\n.\r.\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&stuffed(&[message.as_bytes()])), want, "{message:?}");
        }
    }

    #[test]
    fn a_message_is_the_same_however_it_is_read() {
        for (name, message) in samples::ALL {
            let whole = stuffed(&[message]);
            for cut in 0..=message.len() {
                let (a, b) = message.split_at(cut);
                assert_eq!(stuffed(&[a, b]), whole, "{name} at {cut}");
            }
            let bytes: Vec<&[u8]> = message.chunks(1).collect();
            assert_eq!(stuffed(&bytes), whole, "{name}");
            if message.ends_with(b"\r\n") && message.is_ascii() {
                assert_eq!(unstuffed(&whole), *message, "{name}");
            }
        }
    }

    fn top(lines: u32, pieces: &[&[u8]]) -> Vec<u8> {
        let mut top = Top::new(lines);
        pieces.iter().flat_map(|piece| top.take(piece).to_vec()).collect()
    }

    #[test]
    fn top_is_the_header_and_so_many_lines() {
        let message = b"A: 1\r\nB:\r\n\r\none\r\n\r\nthree\r\nfour";
        for (lines, want) in [
            (0, &b"A: 1\r\nB:\r\n\r\n"[..]),
            (1, b"A: 1\r\nB:\r\n\r\none\r\n"),
            (2, b"A: 1\r\nB:\r\n\r\none\r\n\r\n"),
            (4, message),
            (u32::MAX, message),
        ] {
            assert_eq!(top(lines, &[message]), want);
            for cut in 0..=message.len() {
                let (a, b) = message.split_at(cut);
                assert_eq!(top(lines, &[a, b]), want, "{lines} lines cut at {cut}");
            }
            let bytes: Vec<&[u8]> = message.chunks(1).collect();
            assert_eq!(top(lines, &bytes), want);
        }
        assert_eq!(top(0, &[b"\r\nbody\r\n"]), b"\r\n");
        assert_eq!(top(0, &[b"A:\r\n\r", b"\r\nB:\r\n", b"\r", b"\nbody"]), b"A:\r\n\r\r\nB:\r\n\r\n");
        assert_eq!(top(0, &[b"no end\r\n\n\r"]), b"no end\r\n\n\r");
    }
}
