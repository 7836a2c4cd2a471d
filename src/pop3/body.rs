//! The law of lines for messages: dot-stuffing (RFC 1939 §3) and how far TOP goes (RFC 1939 §7).
//!
//! A line of a message ends at LF, whether a CR stands before it or not. RFC 1939 §3 knows CRLF
//! alone, but messages with lone LFs may be stored (BINARYMIME, IMAP APPEND, imports), and clients
//! that end lines at LF would take a dot between two of them for the end of the answer, and the rest
//! of the message for further answers. So a lone LF goes out as CRLF, and a dot after it is doubled.
//! A lone CR ends no line and goes out as it is. A message whose lines all end at CRLF goes out byte
//! for byte.

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
    const fn after(self, piece: &[u8]) -> Self {
        match piece {
            [] => self,
            [.., b'\n'] => Self::Start,
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

    /// Appends `piece`, every lone LF as CRLF and every dot at the start of a line doubled: twice
    /// the bytes of `piece` at most.
    pub(crate) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + piece.len() / 64);
        if self.place == Place::Start && piece.starts_with(b".") {
            out.push(b'.');
        }
        let mut written = 0;
        for at in memchr::memchr_iter(b'\n', piece) {
            let is_lone = match at.checked_sub(1) {
                Some(before) => piece.get(before) != Some(&b'\r'),
                None => self.place != Place::Cr,
            };
            if is_lone {
                out.extend_from_slice(piece.get(written..at).unwrap_or_default());
                out.push(b'\r');
                written = at;
            }
            if piece.get(at + 1) == Some(&b'.') {
                out.extend_from_slice(piece.get(written..=at).unwrap_or_default());
                out.push(b'.');
                written = at + 1;
            }
        }
        out.extend_from_slice(piece.get(written..).unwrap_or_default());
        self.place = self.place.after(piece);
    }

    /// Ends the answer; a message whose last line has no end gets one.
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
    /// In the line under way; here [`Place::Cr`] says that it is a CR and nothing else.
    place: Place,
}

impl Top {
    pub(crate) const fn new(lines: u32) -> Self {
        Self { is_header: true, lines_left: lines, place: Place::Start }
    }

    /// Whether all that is to be shown was taken.
    pub(crate) const fn is_done(&self) -> bool {
        !self.is_header && self.lines_left == 0
    }

    /// The front of `piece` that is to be shown.
    pub(crate) fn take<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let mut rest = piece;
        while !self.is_done() {
            let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let Some((line, after)) = end.and_then(|end| rest.split_at_checked(end)) else {
                self.place = match (self.place, rest) {
                    (place, []) => place,
                    (Place::Start, b"\r") => Place::Cr,
                    _ => Place::Middle,
                };
                return piece;
            };
            let is_empty = matches!((self.place, line), (Place::Start, b"\n" | b"\r\n") | (Place::Cr, b"\n"));
            rest = after;
            self.place = Place::Start;
            if self.is_header {
                self.is_header = !is_empty;
            } else {
                self.lines_left -= 1;
            }
        }
        piece.get(..piece.len() - rest.len()).unwrap_or_default()
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
            ("a", "a\r\n.\r\n"),
            // A lone LF ends a line.
            ("\n", "\r\n.\r\n"),
            ("a\n", "a\r\n.\r\n"),
            (".\n", "..\r\n.\r\n"),
            ("a\n.\n+OK b\n", "a\r\n..\r\n+OK b\r\n.\r\n"),
            ("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n\n.b", "a\r\n\r\n..b\r\n.\r\n"),
            ("\n\n..\n", "\r\n\r\n...\r\n.\r\n"),
            // A lone CR ends none.
            ("a\r", "a\r\r\n.\r\n"),
            ("a\r.\rb\r\n", "a\r.\rb\r\n.\r\n"),
            ("a\r\r\n.", "a\r\r\n..\r\n.\r\n"),
            ("a\n\r.\n", "a\r\n\r.\r\n.\r\n"),
        ] {
            for pieces in splits(message.as_bytes()) {
                assert_eq!(String::from_utf8_lossy(&stuffed(&pieces)), want, "{message:?} as {pieces:?}");
            }
        }
    }

    /// Every way to cut a short message into pieces.
    fn splits(message: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
        let borders = message.len().saturating_sub(1);
        (0..1_u32 << borders).map(move |cuts| {
            let (mut pieces, mut rest) = (Vec::new(), message);
            for at in (0..borders).filter(|at| cuts >> at & 1 == 1) {
                let (piece, after) = rest.split_at(at + 1 - (message.len() - rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            pieces
        })
    }

    /// Every message of so many bytes that matter here.
    fn messages(length: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..4_usize.pow(length)).map(move |n| (0..length).map(|at| b"\r\n.a"[n >> (2 * at) & 3]).collect())
    }

    /// The lines of a message without their ends.
    fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
        message.split_inclusive(|byte| *byte == b'\n').map(|line| {
            line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text))
        })
    }

    #[test]
    fn no_answer_ends_early_however_its_lines_are_split() {
        for message in (0..=6).flat_map(messages) {
            let mut want = Vec::new();
            for line in lines(&message) {
                want.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
                want.extend_from_slice(line);
                want.extend_from_slice(b"\r\n");
            }
            want.extend_from_slice(b".\r\n");
            for pieces in splits(&message) {
                let answer = stuffed(&pieces);
                assert_eq!(answer.escape_ascii().to_string(), want.escape_ascii().to_string(), "{pieces:?}");
            }
            let at_lf: Vec<&[u8]> = lines(&want).collect();
            assert_eq!(at_lf.iter().position(|line| *line == b"."), Some(at_lf.len() - 1), "{message:?}");
        }
    }

    #[test]
    fn top_shows_the_same_however_a_message_is_read() {
        for message in (0..=6).flat_map(messages) {
            for shown in 0..3 {
                let header = lines(&message).position(<[u8]>::is_empty).map_or(usize::MAX, |at| at + 1);
                let each = message.split_inclusive(|byte| *byte == b'\n');
                let want: Vec<u8> = each.take(header.saturating_add(shown)).flatten().copied().collect();
                for pieces in splits(&message) {
                    assert_eq!(top(shown as u32, &pieces), want, "{shown} lines of {pieces:?}");
                }
            }
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
        assert_eq!(top(0, &[b"A: 1\r\nB:\n", b"\n.\n"]), b"A: 1\r\nB:\n\n");
        assert_eq!(top(2, &[b"A: 1\n\none\n.\r\nthree\n"]), b"A: 1\n\none\n.\r\n");
        assert_eq!(top(0, &[b"no end\r\n\r\r\n\r"]), b"no end\r\n\r\r\n\r");
    }
}
