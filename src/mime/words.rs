//! Encoded-words (RFC 2047): `=?charset?encoding?text?=` in fields.

use alloc::string::String;
use alloc::vec::Vec;

use crate::charset;
use crate::header::unfold;
use crate::lex;
use crate::limits::WORD_CHARSET_BYTES_MAX;
use crate::transfer::{Encoding, decode_transfer};

/// A field's value as text: unfolded, encoded-words decoded, and white space between two of them
/// removed (RFC 2047 §6.2). Raw 8-bit text is UTF-8 (RFC 6532) or else windows-1252.
///
/// Words that stand where RFC 2047 §5 does not allow them are decoded all the same: programs send
/// them inside of quoted strings and without white space around.
pub fn decode_words(value: &[u8]) -> String {
    let value = unfold(value);
    let mut text = Text::default();
    let mut rest = &*value;
    let mut searched = 0;
    while let Some(at) = memchr::memmem::find(rest.get(searched..).unwrap_or_default(), b"=?") {
        let at = searched + at;
        let Some((word, length)) = rest.get(at..).and_then(word) else {
            searched = at + 2;
            continue;
        };
        text.plain(rest.get(..at).unwrap_or_default());
        text.word(&word);
        rest = rest.get(at + length..).unwrap_or_default();
        searched = 0;
    }
    text.plain(rest);
    text.finish()
}

/// One encoded-word, not decoded yet.
struct Word<'a> {
    charset: &'a str,
    encoding: u8,
    text: &'a [u8],
}

/// The encoded-word at the start of `bytes`, and its length.
///
/// `encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="`
/// (RFC 2047 §2, RFC 2231 §5).
fn word(bytes: &[u8]) -> Option<(Word<'_>, usize)> {
    let rest = bytes.get(2..)?;
    let window = rest.get(..WORD_CHARSET_BYTES_MAX).unwrap_or(rest);
    let charset_length = memchr::memchr(b'?', window)?;
    let charset = core::str::from_utf8(window.get(..charset_length)?).ok()?;
    if charset.is_empty() || charset.contains([' ', '\t', '=']) {
        return None;
    }
    let [_, encoding, b'?', text @ ..] = rest.get(charset_length..)? else {
        return None;
    };
    let encoding = encoding.to_ascii_uppercase();
    if !matches!(encoding, b'B' | b'Q') {
        return None;
    }
    let text_length = memchr::memchr(b'?', text)?;
    if text.get(text_length + 1) != Some(&b'=') {
        return None;
    }
    let charset = charset.split('*').next().unwrap_or_default();
    let length = 2 + charset_length + 3 + text_length + 2;
    Some((Word { charset, encoding, text: text.get(..text_length)? }, length))
}

/// What has been decoded. The bytes of adjacent words of one charset are decoded together, since
/// programs cut characters in two between words although RFC 2047 §5 forbids it.
#[derive(Default)]
struct Text {
    out: String,
    charset: String,
    pending: Vec<u8>,
}

impl Text {
    fn plain(&mut self, bytes: &[u8]) {
        if !self.pending.is_empty() && bytes.trim_ascii().is_empty() {
            // Between two words; at the very end it is dropped too, as white space that shows nothing.
            return;
        }
        self.flush();
        match core::str::from_utf8(bytes) {
            Ok(text) => self.out.push_str(text),
            Err(_) => self.out.push_str(&lex::text(bytes)),
        }
    }

    fn word(&mut self, word: &Word<'_>) {
        if !word.charset.eq_ignore_ascii_case(&self.charset) {
            self.flush();
            self.charset.clear();
            self.charset.push_str(word.charset);
        }
        match word.encoding {
            b'B' => self.pending.extend(decode_transfer(Encoding::Base64, word.text)),
            _ => self.pending.extend(q_decode(word.text)),
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.out.push_str(&charset::decode(&self.charset, &self.pending));
            self.pending.clear();
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.out
    }
}

/// RFC 2047 §4.2: quoted-printable in which `_` is a space.
fn q_decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'_' { b' ' } else { byte }).collect();
    // White space at the end of a line would be taken off as added on the way; here it is meant.
    let end = spaced.trim_ascii_end().len();
    let mut out = decode_transfer(Encoding::QuotedPrintable, spaced.get(..end).unwrap_or_default());
    out.extend_from_slice(spaced.get(end..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_2047_are_decoded() {
        for (value, text) in [
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen <keld@dkuug.dk>"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a?=    \r\n   =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        ] {
            assert_eq!(decode_words(value.as_bytes()), text);
        }
    }

    #[test]
    fn what_programs_send_is_decoded_too() {
        for (value, text) in [
            (&b""[..], ""),
            (b"plain", "plain"),
            (b" a\r\n b", " a b"),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xe9", "café"),
            (b"=?utf-8?b?w6k=?==?UTF-8?q?=C3=A9?=", "éé"),
            (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
            (b"=?utf-8*en?q?a_?=b", "a b"),
            (b"=?utf-8?q?two words?=", "two words"),
            (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
            (b"=?utf-8?q?open", "=?utf-8?q?open"),
            (b"=?=?utf-8?q?a?=", "=?a"),
            (b"=??q?a?=", "=??q?a?="),
            (b"=?x-nobody?q?a=E9?=", "aé"),
            (b"=?iso-2022-jp?B?GyRCJUYbKEI=?=", "テ"),
            (b"=? 1 ?= 2 =?", "=? 1 ?= 2 =?"),
        ] {
            assert_eq!(decode_words(value), text, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn endless_beginnings_take_linear_time() {
        let value = b"=?u?Q?".repeat(200_000);
        assert_eq!(decode_words(&value).len(), value.len());
    }
}
