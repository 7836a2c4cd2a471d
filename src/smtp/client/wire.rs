//! Replies off the wire (RFC 5321 §4.2.1), and content onto it.

use alloc::string::String;
use alloc::vec::Vec;

use base::{Line, take_line};

use crate::limits::{REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX};

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// 200 to 599.
    pub code: u16,
    /// Its text, without codes; lines are parted by LF.
    pub text: String,
}

impl ServerReply {
    /// Whether the server did, or goes on with, what was asked.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// An EHLO keyword's parameters, if the keyword is there (RFC 5321 §4.1.1.1).
    pub(super) fn extension(&self, keyword: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (word, parameters) = line.split_once(' ').unwrap_or((line, ""));
            word.eq_ignore_ascii_case(keyword).then_some(parameters)
        })
    }
}

/// Replies as they gather.
#[derive(Default)]
pub(super) struct Replies {
    input: Vec<u8>,
    lines: Vec<String>,
}

pub(super) enum Taken {
    Reply(ServerReply),
    Partial,
    Malformed,
}

impl Replies {
    pub(super) fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.lines.is_empty()
    }

    pub(super) fn take(&mut self) -> Taken {
        loop {
            let line = match take_line(&mut self.input, REPLY_LINE_BYTES_MAX) {
                Ok(Line::Complete(line)) => line,
                Ok(Line::Partial) => return Taken::Partial,
                Err(_) => return Taken::Malformed,
            };
            let Some((code, is_last, text)) = reply_line(&line) else { return Taken::Malformed };
            if self.lines.len() >= REPLY_LINES_MAX {
                return Taken::Malformed;
            }
            self.lines.push(text);
            if is_last {
                let text = self.lines.join("\n");
                self.lines.clear();
                return Taken::Reply(ServerReply { code, text });
            }
        }
    }
}

/// `Reply-code [ "-" / SP text ]`. Text that is no UTF-8 is shown as well as it can be.
fn reply_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = core::str::from_utf8(code).ok()?.parse().ok().filter(|code| (200..600).contains(code))?;
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    match rest {
        [] => Some((code, true, String::new())),
        [b' ', rest @ ..] => Some((code, true, text(rest))),
        [b'-', rest @ ..] => Some((code, false, text(rest))),
        _ => None,
    }
}

/// Appends content with its dots doubled and its end marked (RFC 5321 §4.5.2). A last line without CRLF
/// gets one.
#[cfg(test)]
pub(crate) fn stuff(content: &[u8], output: &mut Vec<u8>) {
    let rest = stuff_piece(content, 0, usize::MAX, output);
    debug_assert!(rest.is_none(), "a piece without a bound is all there is");
}

/// Appends about `bytes` of the content from `from` on, with its dots doubled, and with its last piece the mark
/// of its end. Where the next piece begins, if there is one.
pub(super) fn stuff_piece(content: &[u8], from: usize, bytes: usize, output: &mut Vec<u8>) -> Option<usize> {
    let mut to = from.saturating_add(bytes).min(content.len());
    // No piece ends within a line's end: whether a dot begins a line is seen from what is before it.
    while to < content.len() && content.get(..to).is_some_and(|before| before.ends_with(b"\r")) {
        to += 1;
    }
    let piece = content.get(from..to).unwrap_or_default();
    output.reserve(piece.len() + piece.len() / 64 + 6);
    let begins_line = from == 0 || content.get(..from).is_some_and(|before| before.ends_with(b"\r\n"));
    if begins_line && piece.starts_with(b".") {
        output.push(b'.');
    }
    let mut copied = 0;
    for at in memchr::memmem::find_iter(piece, b"\r\n.") {
        output.extend_from_slice(piece.get(copied..at + 2).unwrap_or_default());
        output.push(b'.');
        copied = at + 2;
    }
    output.extend_from_slice(piece.get(copied..).unwrap_or_default());
    if to < content.len() {
        return Some(to);
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        output.extend_from_slice(b"\r\n");
    }
    output.extend_from_slice(b".\r\n");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_at_the_start_of_lines() {
        for (content, stuffed) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b".a\r\n..\r\nb.\r\n", b"..a\r\n...\r\nb.\r\n.\r\n"),
            (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
        ] {
            let mut output = Vec::new();
            stuff(content, &mut output);
            assert_eq!(output, stuffed, "{content:?}");
            for bytes in 1..content.len() {
                let (mut output, mut from) = (Vec::new(), Some(0));
                while let Some(at) = from {
                    from = stuff_piece(content, at, bytes, &mut output);
                }
                assert_eq!(output, stuffed, "{content:?} in pieces of {bytes}");
            }
        }
    }

    #[test]
    fn replies_are_read_line_by_line() {
        let mut replies = Replies::default();
        replies.input(b"250-host\r\n250-SIZE 10\r\n250 auth PLAIN LOGIN\r\n354\r\nHello\r\n");
        let Taken::Reply(reply) = replies.take() else { panic!("a reply is there") };
        assert_eq!(reply.extension("AUTH"), Some("PLAIN LOGIN"));
        assert_eq!(reply.extension("host"), None);
        assert!(matches!(replies.take(), Taken::Reply(ServerReply { code: 354, .. })));
        assert!(matches!(replies.take(), Taken::Malformed));
        assert!(matches!(replies.take(), Taken::Partial));
    }
}
