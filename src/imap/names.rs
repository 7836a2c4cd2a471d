//! Mailbox names on the wire: UTF-8 once the client has enabled it, else modified UTF-7
//! (RFC 3501 §5.1.3), read strictly so that a name has one spelling.

use alloc::string::String;
use alloc::vec::Vec;

use account::MailboxName;

use crate::reply::{Code, Failure};

/// The mailbox that `raw` names.
pub(crate) fn decode(raw: &[u8], is_utf8: bool) -> Result<MailboxName, Failure> {
    let text = if is_utf8 { utf8(raw) } else { from_utf7(raw).or_else(|| utf8_leniently(raw)) };
    let Some(text) = text else {
        return Err(Failure::No(Some(Code::Word("CANNOT")), "the mailbox name is not spelled right"));
    };
    MailboxName::new(&text).map_err(|error| Failure::Account(account::Error::InvalidName(error)))
}

/// A LIST pattern in UTF-8, or `None` when it can match nothing.
pub(crate) fn decode_pattern(raw: &[u8], is_utf8: bool) -> Option<String> {
    if is_utf8 { utf8(raw) } else { from_utf7(raw).or_else(|| utf8_leniently(raw)) }
}

/// Writes a name as this client reads it: an astring that is quoted unless it is an atom.
pub(crate) fn write(out: &mut Vec<u8>, name: &str, is_utf8: bool) {
    if is_utf8 {
        return write_astring(out, name.as_bytes());
    }
    write_astring(out, to_utf7(name).as_bytes());
}

fn write_astring(out: &mut Vec<u8>, text: &[u8]) {
    let is_nil = text.eq_ignore_ascii_case(b"NIL");
    if !text.is_empty() && !is_nil && text.iter().all(|&byte| crate::parse::is_astring_char(byte)) {
        out.extend_from_slice(text);
    } else {
        crate::response::text::write_quoted(out, text);
    }
}

fn utf8(raw: &[u8]) -> Option<String> {
    core::str::from_utf8(raw).ok().map(String::from)
}

/// Clients that have not enabled UTF-8 and send it all the same mean what they say: 8-bit bytes
/// have no other meaning in modified UTF-7.
fn utf8_leniently(raw: &[u8]) -> Option<String> {
    if raw.is_ascii() { None } else { utf8(raw) }
}

/// Modified UTF-7: printable ASCII stands for itself, `&-` for `&`, and `&…-` for UTF-16 in a base64
/// with `,` for `/` and without padding.
fn from_utf7(raw: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut was_encoded = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'&' {
            was_encoded = false;
            if !matches!(byte, 0x20..=0x7E) {
                return None;
            }
            text.push(char::from(byte));
            continue;
        }
        let end = memchr::memchr(b'-', rest)?;
        let (encoded, after) = (rest.get(..end)?, rest.get(end + 1..)?);
        rest = after;
        if encoded.is_empty() {
            was_encoded = false;
            text.push('&');
            continue;
        }
        // Two encoded runs in a row could have been one: a second spelling, thus not allowed.
        if was_encoded {
            return None;
        }
        was_encoded = true;
        decode_run(encoded, &mut text)?;
    }
    Some(text)
}

fn decode_run(encoded: &[u8], text: &mut String) -> Option<()> {
    let mut units = Vec::with_capacity(encoded.len() * 3 / 8);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &byte in encoded {
        bits = bits << 6 | sextet(byte)?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    // What is left over is padding: less than a sextet, and zero.
    if count >= 6 || bits != 0 {
        return None;
    }
    for unit in char::decode_utf16(units) {
        let character = unit.ok()?;
        // Printable ASCII has to stand for itself.
        if matches!(character, ' '..='~') {
            return None;
        }
        text.push(character);
    }
    Some(())
}

fn sextet(byte: u8) -> Option<u32> {
    ALPHABET.iter().position(|&letter| letter == byte).map(|at| at as u32)
}

/// RFC 3501 §5.1.3: base64 with `,` in the place of `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

fn to_utf7(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut run: Vec<u16> = Vec::new();
    for character in name.chars() {
        if !matches!(character, ' '..='~') {
            run.extend_from_slice(character.encode_utf16(&mut [0; 2]));
            continue;
        }
        encode_run(&mut run, &mut out);
        out.push(character);
        if character == '&' {
            out.push('-');
        }
    }
    encode_run(&mut run, &mut out);
    out
}

fn encode_run(run: &mut Vec<u16>, out: &mut String) {
    if run.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut push =
        |sextet: u32| out.extend(ALPHABET.get((sextet & 63) as usize).map(|&letter| char::from(letter)));
    for unit in run.drain(..) {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            push(bits >> count);
            bits &= (1 << count) - 1;
        }
    }
    if count > 0 {
        push(bits << (6 - count));
    }
    out.push('-');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modified_utf7_goes_there_and_back() {
        for (wire, name) in [
            ("INBOX", "INBOX"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("&-", "&"),
            ("a&-b", "a&b"),
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("&2D3eCQ-", "😉"),
        ] {
            assert_eq!(from_utf7(wire.as_bytes()).as_deref(), Some(name), "{wire}");
            assert_eq!(to_utf7(name), wire);
        }
    }

    #[test]
    fn a_second_spelling_of_a_name_is_refused() {
        for wire in
            ["&", "&AG", "&AGE-", "&U,BTFw-&ZeVnLIqe-", "&APx-", "&AP*-", "&2D0-", "&3gk-", "a\u{7}", "&A-"]
        {
            assert_eq!(from_utf7(wire.as_bytes()), None, "{wire}");
        }
    }

    #[test]
    fn names_are_written_as_the_client_reads_them() {
        let written = |name, is_utf8| {
            let mut out = Vec::new();
            write(&mut out, name, is_utf8);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written("Entwürfe", false), "Entw&APw-rfe");
        assert_eq!(written("Entwürfe", true), "\"Entwürfe\"");
        assert_eq!(written("a \"b", false), "\"a \\\"b\"");
        assert_eq!(written("NIL", false), "\"NIL\"");
    }
}
