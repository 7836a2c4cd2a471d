//! Bytes of a message that is made here: fields whose values came from strangers, quoted-printable, and the
//! question whether bytes can travel as they are.

use crate::limits::{LINE_BYTES_MAX, PRINTABLE_CHARACTERS_MAX, QUOTED_LINE_BYTES_MAX, WORD_BYTES_MAX};

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

/// Whether every line ends at CRLF and is no longer than a line may be, with neither CR, LF nor NUL elsewhere:
/// then SMTP carries the bytes unchanged. The last line may lack its CRLF.
pub(crate) fn is_line_safe(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        // What stands before an LF must end with CR; what stands behind the last one may not.
        let content = if lines.peek().is_some() { line.strip_suffix(b"\r") } else { Some(line) };
        let Some(content) = content else { return false };
        if content.len() > LINE_BYTES_MAX || content.iter().any(|&byte| matches!(byte, b'\r' | 0)) {
            return false;
        }
    }
    true
}

/// Encodes as quoted-printable (RFC 2045 §6.7). CRLF stays a line end; a CR or LF alone is encoded.
pub(crate) fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut column = 0;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (column, rest) = (0, after);
            continue;
        }
        // White space before a line end would be taken off on the way.
        let is_last = after.is_empty() || after.starts_with(b"\r\n");
        let is_plain = match byte {
            b'=' => false,
            b' ' | b'\t' => !is_last,
            byte => byte.is_ascii_graphic(),
        };
        let width = if is_plain { 1 } else { 3 };
        // Room for the `=` of a soft line break.
        if column + width > QUOTED_LINE_BYTES_MAX - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_plain {
            out.push(byte);
        } else {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
        }
        column += width;
        rest = after;
    }
    out
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
        assert!(is_line_safe(&field) && field.ends_with(b"\r\n"));
        assert_eq!(String::from_utf8_lossy(&field).matches('x').count(), 3000);
        assert_eq!(String::from_utf8(field).unwrap().matches('ü').count(), 700);
    }

    #[test]
    fn bytes_that_lines_cannot_carry_are_told() {
        for (bytes, is_safe) in [
            ("", true),
            ("a\r\nb", true),
            ("a\r\n", true),
            ("a\n", false),
            ("a\rb", false),
            ("a\r", false),
            ("\r\r\n", false),
            ("a\0", false),
        ] {
            assert_eq!(is_line_safe(bytes.as_bytes()), is_safe, "{bytes:?}");
        }
        let line = "x".repeat(LINE_BYTES_MAX);
        assert!(is_line_safe(format!("{line}\r\n{line}").as_bytes()));
        assert!(!is_line_safe(format!("{line}x\r\n").as_bytes()));
    }

    #[test]
    fn quoted_printable_goes_there_and_back() {
        let mut random = base::Random::new(3);
        for round in 0..3000 {
            let bytes: Vec<u8> = (0..random.below(300))
                .map(|_| {
                    if round % 2 == 0 {
                        random.next_u64() as u8
                    } else {
                        b"a =\r\n\t\xe9"[random.below(7) as usize]
                    }
                })
                .collect();
            let encoded = quoted_printable(&bytes);
            assert!(is_line_safe(&encoded) && encoded.is_ascii());
            assert!(encoded.split(|&byte| byte == b'\n').all(|line| line.len() <= QUOTED_LINE_BYTES_MAX + 1));
            assert_eq!(mime::decode_transfer_strictly(mime::Encoding::QuotedPrintable, &encoded), Ok(bytes));
        }
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
