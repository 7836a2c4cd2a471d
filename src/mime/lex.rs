//! The tokens of structured fields: white space, comments, quoted strings (RFC 5322 §3.2) and MIME
//! tokens (RFC 2045 §5.1). Each byte is looked at a bounded number of times.

use alloc::string::String;
use alloc::vec::Vec;

/// A place in a field's value.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(crate) fn of(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// What lies between here and a later place.
    pub(crate) fn up_to(&self, later: &Self) -> &'a [u8] {
        self.rest.get(..self.rest.len() - later.rest.len()).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Goes past `byte` if it is next.
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Goes past white space, line ends and comments. True when there were any.
    pub(crate) fn skip_cfws(&mut self) -> bool {
        self.cfws(None)
    }

    /// The same, and keeps the text of the last comment in `comment`.
    pub(crate) fn skip_cfws_keeping(&mut self, comment: &mut Vec<u8>) -> bool {
        self.cfws(Some(comment))
    }

    fn cfws(&mut self, mut comment: Option<&mut Vec<u8>>) -> bool {
        let before = self.rest.len();
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => self.comment(comment.as_deref_mut()),
                _ if byte.is_ascii_whitespace() => {
                    self.next();
                }
                _ => break,
            }
        }
        self.rest.len() != before
    }

    /// Comments nest (RFC 5322 §3.2.2); one that is never closed takes all that is left.
    fn comment(&mut self, mut text: Option<&mut Vec<u8>>) {
        if let Some(text) = text.as_deref_mut() {
            text.clear();
        }
        let mut depth = 0_usize;
        while let Some(byte) = self.next() {
            let mut kept = byte;
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => kept = self.next().unwrap_or(b'\\'),
                _ => {}
            }
            if depth == 0 {
                return;
            }
            let is_outermost_opening = byte == b'(' && depth == 1;
            if let Some(text) = text.as_deref_mut()
                && !is_outermost_opening
                && !matches!(byte, b'\r' | b'\n')
            {
                text.push(kept);
            }
        }
    }

    /// The content of the quoted string that begins here, appended to `out` with its quoting
    /// removed (RFC 5322 §3.2.4). One that is never closed takes all that is left.
    pub(crate) fn quoted_string(&mut self, out: &mut Vec<u8>) {
        self.skip(b'"');
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return,
                b'\\' => out.extend(self.next()),
                // Folding inside of a quoted string is not part of it.
                b'\r' | b'\n' => {}
                _ => out.push(byte),
            }
        }
    }

    /// Bytes up to one that `is_end` says; maybe none.
    pub(crate) fn until(&mut self, is_end: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&byte| is_end(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, b""));
        self.rest = rest;
        taken
    }

    /// `token := 1*<any CHAR except SPACE, CTLs, or tspecials>` (RFC 2045 §5.1), 8-bit bytes
    /// tolerated; maybe empty.
    pub(crate) fn token(&mut self) -> &'a [u8] {
        self.until(|byte| byte <= b' ' || byte == 0x7f || b"()<>@,;:\\\"/[]?=".contains(&byte))
    }
}

/// Text of a header: UTF-8 (RFC 6532), or else what most often was meant, windows-1252.
pub(crate) fn text(bytes: &[u8]) -> String {
    match core::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_nest_and_quoting_is_removed() {
        let mut lexer = Lexer::of(b" (a (b\\) \"c) d)\r\n\t\"x\\\"y\r\n z\"tok/en");
        let mut comment = Vec::new();
        assert!(lexer.skip_cfws_keeping(&mut comment));
        assert_eq!(comment, b"a (b) \"c) d");
        let mut quoted = Vec::new();
        lexer.quoted_string(&mut quoted);
        assert_eq!(quoted, b"x\"y z");
        assert_eq!(lexer.token(), b"tok");
        assert!(!lexer.skip_cfws());
        assert!(lexer.skip(b'/') && !lexer.skip(b'/'));
        assert_eq!(lexer.token(), b"en");
    }

    #[test]
    fn what_is_never_closed_takes_all_that_is_left() {
        let mut lexer = Lexer::of(b"(((a");
        lexer.skip_cfws();
        assert_eq!(lexer.next(), None);
        let mut out = Vec::new();
        Lexer::of(b"\"abc\\").quoted_string(&mut out);
        assert_eq!(out, b"abc");
    }
}
