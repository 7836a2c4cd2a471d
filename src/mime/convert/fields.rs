//! Fields with 8-bit text of programs that know no encoded-words, for a host that takes ASCII (RFC 1428 §2, RFC 2047 §5).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::header::{Header, clean};
use crate::lex::Lexer;
use crate::limits::WORD_BYTES_MAX;
use crate::words::decode_words;
use crate::write::{encode_word, fold};

/// Fields that are free text; so is every one that begins with `X-`.
const TEXTS: [&str; 6] =
    ["Subject", "Comments", "Organization", "Thread-Topic", "Content-Description", "List-Id"];

/// Fields that are lists of addresses.
const ADDRESSES: [&str; 6] = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"];

/// What stands in a word of a charset that nobody knows (RFC 1428 §3).
const UNKNOWN: &str = "=?unknown-8bit?B?";
const UNKNOWN_BYTES_MAX: usize = (WORD_BYTES_MAX - UNKNOWN.len() - "?=".len()) / 4 * 3;

/// The field in ASCII, with its line end; `None` where RFC 2047 has no form for what is in it.
pub(super) fn in_ascii(field: &Header<'_>) -> Option<String> {
    let name = core::str::from_utf8(field.name).ok().filter(|name| name.is_ascii())?;
    let is = |known: &str| field.is(known);
    let value = clean(field.value);
    let value = if TEXTS.iter().any(|known| is(known)) || starts_with(name, "X-") {
        text(&value)
    } else if ADDRESSES.iter().any(|known| is(known) || is_resent(name, known)) {
        addresses(&value)?
    } else {
        return None;
    };
    Some(fold(name, &value))
}

fn starts_with(name: &str, start: &str) -> bool {
    name.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start))
}

fn is_resent(name: &str, known: &str) -> bool {
    starts_with(name, "Resent-")
        && name.get("Resent-".len()..).is_some_and(|rest| rest.eq_ignore_ascii_case(known))
}

/// Free text: from the first word that is not ASCII to the last one it is encoded. Words that are encoded already count with
/// those, since white space between two encoded ones shows nothing (RFC 2047 §6.2).
fn text(value: &[u8]) -> String {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let (mut start, mut end, mut at) = (value.len(), 0, 0);
    for word in value.split(is_space) {
        if !word.is_ascii() || word.starts_with(b"=?") {
            start = start.min(at);
            end = at + word.len();
        }
        at += word.len() + 1;
    }
    let part = |from: usize, to: usize| String::from_utf8_lossy(value.get(from..to).unwrap_or_default());
    let middle = encoded(value.get(start..end).unwrap_or_default());
    format!("{}{middle}{}", part(0, start.min(value.len())), part(end, value.len()))
}

/// Text as encoded-words: in UTF-8 if it is that, else in the charset that nobody knows.
fn encoded(bytes: &[u8]) -> Cow<'static, str> {
    if core::str::from_utf8(bytes).is_ok() {
        return encode_word(&decode_words(bytes)).into_owned().into();
    }
    let mut out = String::new();
    for piece in bytes.chunks(UNKNOWN_BYTES_MAX) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(UNKNOWN);
        STANDARD.encode_string(piece, &mut out);
        out.push_str("?=");
    }
    out.into()
}

/// Addresses: names in front of `<` and of the `:` of a group are encoded, and comments. There is no form for what is part of
/// an address.
fn addresses(value: &[u8]) -> Option<String> {
    let (mut out, mut rest) = (String::new(), Lexer::of(value));
    // What may be a name: with its quotes, and as it is read.
    let (mut raw, mut name) = (Vec::new(), Vec::new());
    while let Some(byte) = rest.peek() {
        match byte {
            b'"' => {
                let before = rest.clone();
                rest.quoted_string(&mut name);
                raw.extend_from_slice(before.up_to(&rest));
            }
            b'(' => {
                put(&mut out, &mut raw, &mut name, Place::Address)?;
                let (before, mut comment) = (rest.clone(), Vec::new());
                rest.skip_cfws_keeping(&mut comment);
                put_comment(&mut out, before.up_to(&rest), &comment)?;
            }
            b'<' => {
                put(&mut out, &mut raw, &mut name, Place::Name)?;
                out.push_str(
                    core::str::from_utf8(rest.until(|byte| byte == b'>'))
                        .ok()
                        .filter(|text| text.is_ascii())?,
                );
            }
            b':' => {
                put(&mut out, &mut raw, &mut name, Place::Name)?;
                out.push(':');
                rest.next();
            }
            b',' | b';' | b'>' => {
                put(&mut out, &mut raw, &mut name, Place::Address)?;
                out.push(char::from(byte));
                rest.next();
            }
            _ => {
                raw.push(byte);
                name.push(byte);
                rest.next();
            }
        }
    }
    put(&mut out, &mut raw, &mut name, Place::Address)?;
    Some(out)
}

/// What comes behind a piece of text says what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Address,
}

fn put(out: &mut String, raw: &mut Vec<u8>, name: &mut Vec<u8>, place: Place) -> Option<()> {
    let (raw, name) = (core::mem::take(raw), core::mem::take(name));
    if raw.is_ascii() {
        out.push_str(core::str::from_utf8(&raw).ok()?);
    } else if place == Place::Name {
        put_space(out);
        out.push_str(&encoded(name.trim_ascii()));
        out.push(' ');
    } else {
        return None;
    }
    Some(())
}

/// A comment and the white space around it.
fn put_comment(out: &mut String, raw: &[u8], comment: &[u8]) -> Option<()> {
    if raw.is_ascii() {
        out.push_str(core::str::from_utf8(raw).ok()?);
        return Some(());
    }
    // One comment, with none in it.
    let is_plain = memchr::memchr_iter(b'(', raw).count() == 1 && !raw.contains(&b'\\');
    is_plain.then(|| {
        put_space(out);
        out.push('(');
        out.push_str(&encoded(comment));
        out.push_str(") ");
    })
}

/// RFC 2047 §5: an encoded-word stands apart.
fn put_space(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;

    fn field(bytes: &[u8]) -> Option<String> {
        in_ascii(&Headers::of(bytes).next().expect("there is a field"))
    }

    #[test]
    fn text_is_encoded_from_its_first_word_that_must_be_to_the_last() {
        for (text, ascii) in [
            ("Subject: Grüße", "Subject: =?utf-8?B?R3LDvMOfZQ==?="),
            ("subject: Re: Grüße\r\n an alle", "subject: Re: =?utf-8?B?R3LDvMOfZQ==?= an alle"),
            ("X-Note: a ü b ö c", "X-Note: a =?utf-8?B?w7wgYiDDtg==?= c"),
            ("Subject: =?utf-8?q?a?= ü", "Subject: =?utf-8?B?YSDDvA==?="),
        ] {
            assert_eq!(field(text.as_bytes()).as_deref(), Some(&*format!("{ascii}\r\n")), "{text}");
            let value =
                |field: &str| decode_words(field.split_once(": ").expect("a field").1.trim_end().as_bytes());
            assert_eq!(value(ascii), value(text));
        }
        let latin = [b"Subject: Stra\xdfe nach K\xf6ln ".as_slice(), &b"\xe4".repeat(200)].concat();
        let out = field(&latin).expect("it is text");
        assert!(out.is_ascii() && out.lines().all(|line| line.len() <= 90), "{out}");
        assert!(out.starts_with("Subject: =?unknown-8bit?B?U3RyYd9lIG5hY2g"), "{out}");
        // Read as what it most likely is.
        assert!(decode_words(out.as_bytes()).starts_with("Subject: Straße nach Köln ääää"), "{out}");
    }

    #[test]
    fn names_and_comments_are_encoded_and_addresses_are_not() {
        for (text, ascii) in [
            ("From: Jörg <j@x>", "From: =?utf-8?B?SsO2cmc=?= <j@x>"),
            (
                "To: \"Müller, Jörg\" <j@x>, Ann <a@x>,Ö <o@x>",
                "To: =?utf-8?B?TcO8bGxlciwgSsO2cmc=?= <j@x>, Ann <a@x>, =?utf-8?B?w5Y=?= <o@x>",
            ),
            ("Cc: Käufer: a@x, b@x;", "Cc: =?utf-8?B?S8OkdWZlcg==?= : a@x, b@x;"),
            ("Resent-From: a@x (Jörg)", "Resent-From: a@x (=?utf-8?B?SsO2cmc=?=)"),
        ] {
            assert_eq!(field(text.as_bytes()).as_deref(), Some(&*format!("{ascii}\r\n")), "{text}");
        }
        for text in [
            "From: jörg@x",
            "From: Ann <jörg@x>",
            "To: a@x (b (ü))",
            "From: \"jörg\"@x",
            "Message-ID: <ü@x>",
            "Content-Type: a/b; name=ü.pdf",
            "Ü: x",
        ] {
            assert_eq!(field(text.as_bytes()), None, "{text}");
        }
    }
}
