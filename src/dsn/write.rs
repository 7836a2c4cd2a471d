//! Bytes of a message that is made here: fields whose values came from strangers, and delimiters.

use crate::limits::{PRINTABLE_CHARACTERS_MAX, WORD_BYTES_MAX};

/// Text of a stranger for one line: at most `bytes_max` bytes, every run of white space and controls one
/// space. Nothing of it can end the line or the field.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    let is_break = |character: char| {
        // The separators of lines and paragraphs break a line where text is shown.
        character.is_whitespace() || character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
    };
    for word in text.split(is_break).filter(|word| !word.is_empty()) {
        let room = bytes_max.saturating_sub(out.len() + usize::from(!out.is_empty()));
        if room == 0 {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let end = word.floor_char_boundary(room);
        out.push_str(word.get(..end).unwrap_or_default());
        if end < word.len() {
            break;
        }
    }
    out
}

/// The same, in ASCII: a character beyond it becomes a question mark.
pub(crate) fn one_ascii_line(text: &str, bytes_max: usize) -> String {
    let line = one_line(text, bytes_max);
    line.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect()
}

/// Which letters a text may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// Those of ASCII: a server without SMTPUTF8 carries it.
    Ascii,
    /// All.
    All,
}

/// A text of which each sign counts, such as an address or an identifier: nothing is joined or moved, and what
/// cannot stand in a field becomes a question mark. Bounded, since it came from outside too.
pub(crate) fn printable(text: &str, letters: Letters) -> String {
    let is_fit = |character: char| {
        !character.is_control()
            && !matches!(character, '\u{2028}' | '\u{2029}')
            && (letters == Letters::All || character.is_ascii())
    };
    let characters = text.chars().take(PRINTABLE_CHARACTERS_MAX);
    characters.map(|character| if is_fit(character) { character } else { '?' }).collect()
}

/// Writes a field, folded. No line of it is longer than RFC 5322 §2.1.1 allows: a word that would be is cut.
/// The value has no controls ([`one_line`]).
pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    if value.len() <= WORD_BYTES_MAX {
        out.extend_from_slice(mime::fold(name, value).as_bytes());
        return;
    }
    let mut cut = String::with_capacity(value.len() + 8);
    for word in value.split(' ') {
        let mut rest = word;
        while rest.len() > WORD_BYTES_MAX {
            let (taken, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES_MAX));
            cut.push_str(taken);
            cut.push(' ');
            rest = after;
        }
        cut.push_str(rest);
        cut.push(' ');
    }
    out.extend_from_slice(mime::fold(name, &cut).as_bytes());
}

/// A delimiter for a multipart that does not occur in `parts` (RFC 2046 §5.1.1). It is made of their content
/// and of `seed`, so nobody can write a message that holds it.
pub(crate) fn boundary(seed: &str, parts: &[&[u8]]) -> String {
    let mut hash = fnv(0xcbf2_9ce4_8422_2325, seed.as_bytes());
    for part in parts {
        hash = fnv(hash, part);
    }
    loop {
        let boundary = format!("=_report_{hash:016x}");
        let is_in = |part: &&[u8]| part.windows(boundary.len()).any(|window| window == boundary.as_bytes());
        if !parts.iter().any(is_in) {
            return boundary;
        }
        hash = fnv(hash, boundary.as_bytes());
    }
}

/// FNV-1a over 64 bits: spread, not secrecy.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_stays_on_its_line() {
        for (text, bytes_max, line) in [
            ("550-5.1.1 No\r\n550 5.1.1  user\n", 99, "550-5.1.1 No 550 5.1.1 user"),
            ("a\rb\0c\u{85}d\u{2028}e\u{7f}f", 99, "a b c d e f"),
            ("", 9, ""),
            (" \r\n ", 9, ""),
            ("ab cdef", 5, "ab cd"),
            ("ab cdef", 3, "ab"),
            ("éé", 3, "é"),
        ] {
            assert_eq!(one_line(text, bytes_max), line);
        }
        assert_eq!(one_ascii_line("é\r\nx", 9), "? x");
    }

    #[test]
    fn long_words_are_cut() {
        let mut field = Vec::new();
        put_field(&mut field, "Diagnostic-Code", &format!("smtp; {} é{}", "x".repeat(3000), "ü".repeat(700)));
        assert!(mime::is_line_safe(&field) && field.ends_with(b"\r\n"));
        assert_eq!(String::from_utf8_lossy(&field).matches('x').count(), 3000);
        assert_eq!(String::from_utf8(field).unwrap().matches('ü').count(), 700);
    }

    #[test]
    fn a_boundary_is_in_none_of_the_parts() {
        let first = boundary("<1@x>", &[b"abc"]);
        assert!(first.len() <= 70 && first != boundary("<2@x>", &[b"abc"]));
        // Even for whoever could know it.
        let parts: [&[u8]; 2] = [b"abc", first.as_bytes()];
        assert!(boundary("<1@x>", &parts) != first);
    }
}
