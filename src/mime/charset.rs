//! Charsets of text, by the labels of the WHATWG encoding standard, and UTF-7 (RFC 2152).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::lex;
use crate::transfer::{Encoding as TransferEncoding, decode_transfer};

/// Text of bytes in a charset. What the charset does not define becomes U+FFFD; an unknown charset
/// is read as UTF-8 if the bytes are that, else as windows-1252, of which iso-8859-1 is a part.
pub fn decode_text(charset: &str, bytes: &[u8]) -> String {
    decode(charset, bytes).into_owned()
}

/// The same, borrowing where bytes are already UTF-8.
pub(crate) fn decode<'a>(charset: &str, bytes: &'a [u8]) -> Cow<'a, str> {
    let Some(encoding) = encoding(charset) else {
        if is_utf_7(charset) {
            return Cow::Owned(decode_utf_7(bytes));
        }
        return match core::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        };
    };
    if encoding == UTF_16LE || encoding == UTF_16BE {
        // Plain "utf-16" leaves the byte order to the mark (RFC 2781 §4.3).
        return encoding.decode(bytes).0;
    }
    encoding.decode_with_bom_removal(bytes).0
}

/// Whether [`decode_text`] knows the charset (for BADCHARSET, RFC 9051 §7.1).
pub fn charset_known(charset: &str) -> bool {
    encoding(charset).is_some() || is_utf_7(charset)
}

/// Whether each byte below 128 is the ASCII character wherever it stands, so that ASCII text can be
/// looked for without decoding.
pub(crate) fn keeps_ascii(charset: &str) -> bool {
    match encoding(charset) {
        Some(encoding) => encoding == UTF_8 || encoding.is_single_byte(),
        None => !is_utf_7(charset),
    }
}

fn is_utf_7(charset: &str) -> bool {
    const NAMES: [&str; 4] = ["utf-7", "unicode-1-1-utf-7", "csunicode11utf7", "csutf7"];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(charset.trim()))
}

/// RFC 2152: `+`, base64 of UTF-16, then `-` or any byte that is no base64 digit; `+-` is a plus.
fn decode_utf_7(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(plus) = memchr::memchr(b'+', rest) {
        let (plain, shifted) = rest.split_at_checked(plus).unwrap_or((rest, b""));
        out.push_str(&lex::text(plain));
        let shifted = shifted.get(1..).unwrap_or_default();
        let length = shifted.iter().position(|&byte| !is_digit(byte)).unwrap_or(shifted.len());
        let (digits, after) = shifted.split_at_checked(length).unwrap_or((shifted, b""));
        if digits.is_empty() {
            out.push('+');
        }
        let units: Vec<u16> = decode_transfer(TransferEncoding::Base64, digits)
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |unit, &byte| unit << 8 | u16::from(byte)))
            .collect();
        out.push_str(&String::from_utf16_lossy(&units));
        rest = after.strip_prefix(b"-").unwrap_or(after);
    }
    out.push_str(&lex::text(rest));
    out
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

fn encoding(charset: &str) -> Option<&'static Encoding> {
    // RFC 2978 names that the encoding standard leaves out.
    const MORE: [(&str, &Encoding); 6] = [
        ("utf-8-mac", UTF_8),
        ("windows-28591", WINDOWS_1252),
        ("cp-1252", WINDOWS_1252),
        ("iso-8859-8-e", encoding_rs::ISO_8859_8),
        ("cp932", encoding_rs::SHIFT_JIS),
        ("cp936", encoding_rs::GBK),
    ];
    let encoding = Encoding::for_label(charset.as_bytes()).or_else(|| {
        MORE.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(charset.trim())).map(|(_, known)| known)
    })?;
    // The standard's "replacement" stands for charsets that it refuses to decode.
    if encoding == REPLACEMENT { None } else { Some(encoding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_decoded() {
        for (charset, bytes, text) in [
            ("utf-8", &b"caf\xc3\xa9"[..], "café"),
            ("UTF-8", b"\xef\xbb\xbfx\xff", "x\u{fffd}"),
            ("us-ascii", b"abc", "abc"),
            ("ISO-8859-1", b"caf\xe9", "café"),
            ("iso-8859-15", b"\xa4", "€"),
            ("koi8-r", b"\xf0\xd2\xc9", "При"),
            ("iso-2022-jp", b"\x1b$B%F%9%H\x1b(B", "テスト"),
            ("shift_jis", b"\x83e", "テ"),
            ("gb2312", b"\xc4\xe3", "你"),
            ("big5", b"\xa7A", "你"),
            ("utf-16", b"\xfe\xff\x00a", "a"),
            ("utf-16le", b"a\x00", "a"),
            ("x-nobody", b"caf\xe9", "café"),
            ("x-nobody", b"caf\xc3\xa9", "café"),
            ("", b"abc", "abc"),
            // The examples of RFC 2152.
            ("utf-7", b"A+ImIDkQ.", "A\u{2262}\u{391}."),
            ("UTF-7", b"Hi Mom +Jjo--+-!", "Hi Mom \u{263a}-+!"),
            ("utf-7", b"+ZeVnLIqe", "\u{65e5}\u{672c}\u{8a9e}"),
            ("utf-7", b"+2D3eAA x+", "\u{1f600} x+"),
        ] {
            assert_eq!(decode_text(charset, bytes), text, "{charset}");
        }
    }

    #[test]
    fn unknown_charsets_are_told_apart() {
        assert!(charset_known("utf-8") && charset_known("ISO-8859-1") && charset_known("cp932"));
        assert!(!charset_known("x-nobody") && !charset_known("") && !charset_known("iso-2022-kr"));
        assert!(keeps_ascii("utf-8") && keeps_ascii("koi8-r"));
        assert!(!keeps_ascii("shift_jis") && !keeps_ascii("utf-16") && !keeps_ascii("iso-2022-jp"));
        assert!(charset_known("utf-7") && !keeps_ascii("utf-7"));
    }
}
