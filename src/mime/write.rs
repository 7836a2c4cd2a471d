//! Small helpers to build mail: reports, samples, notices.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use base::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::date::{Date, DateTime, month_name, zone_text};
use crate::limits::{LINE_BYTES_WANTED, WORD_BYTES_MAX};

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Bytes of text that fit into one encoded-word.
const WORD_TEXT_BYTES_MAX: usize = (WORD_BYTES_MAX - "=?utf-8?B??=".len()) / 4 * 3;

/// Text for an unstructured field or a display name outside of quotes: as it is when it is
/// printable ASCII and cannot be mistaken, else as encoded-words in UTF-8 (RFC 2047 §2) with a space
/// between two.
pub fn encode_word(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) && !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        // RFC 2047 §5: a character is never cut in two.
        let end = rest.floor_char_boundary(WORD_TEXT_BYTES_MAX);
        let (taken, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("=?utf-8?B?");
        STANDARD.encode_string(taken, &mut out);
        out.push_str("?=");
    }
    Cow::Owned(out)
}

/// A field with its line end, folded before words that would pass 78 columns (RFC 5322 §2.2.3).
/// White space in `value` stays as it is, so unfolding gives it back; CR and LF become spaces.
pub fn fold(name: &str, value: &str) -> String {
    let mut out = format!("{name}:");
    let mut column = out.len();
    let mut rest = value.trim_ascii();
    let mut is_first = true;
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_ascii_start().len();
        let length =
            rest.get(spaces..).and_then(|word| word.find(is_space)).map_or(rest.len(), |end| spaces + end);
        let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        let space = if is_first { " " } else { "" };
        // The first word stays behind the colon: a line of white space alone is obsolete (§4.2).
        if !is_first && column + word.len() > LINE_BYTES_WANTED {
            out.push_str("\r\n");
            column = 0;
        }
        out.push_str(space);
        out.extend(
            word.chars().map(|character| if matches!(character, '\r' | '\n') { ' ' } else { character }),
        );
        column += space.len() + word.len();
        is_first = false;
    }
    out.push_str("\r\n");
    out
}

/// A Date field's value (RFC 5322 §3.3): `Thu, 1 Jan 2026 10:00:00 +0000` in that zone.
pub fn rfc5322_date(moment: Timestamp, offset_minutes: i32) -> String {
    let DateTime { date: Date { year, month, day }, hour, minute, second, .. } =
        DateTime::at(moment, offset_minutes);
    let weekday = Timestamp::from_civil_utc(year, month, day, 0, 0, 0).weekday_utc();
    let weekday = DAYS.get(weekday as usize).copied().unwrap_or("Sun");
    let (month, zone) = (month_name(month), zone_text(offset_minutes));
    format!("{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {zone}")
}

fn is_space(character: char) -> bool {
    character.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_words, parse_date, unfold};

    #[test]
    fn words_are_encoded_when_they_must_be() {
        assert_eq!(encode_word("Plain text, 100%"), "Plain text, 100%");
        assert_eq!(encode_word("Grüße"), "=?utf-8?B?R3LDvMOfZQ==?=");
        let long = "Ein sehr länger Betreff mit Umläuten — und mehr ".repeat(9);
        for text in ["=?utf-8?q?x?=", "a\r\nb", long.as_str(), "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀"]
        {
            let encoded = encode_word(text);
            assert_eq!(decode_words(encoded.as_bytes()), text);
            assert!(encoded.split(' ').all(|word| word.len() <= WORD_BYTES_MAX && word.is_ascii()));
        }
    }

    #[test]
    fn fields_are_folded_and_unfold_again() {
        assert_eq!(fold("Subject", "short"), "Subject: short\r\n");
        assert_eq!(fold("Subject", ""), "Subject:\r\n");
        let value = "word  and ".repeat(40) + &"x".repeat(200) + " end";
        let field = fold("X-Long", &value);
        assert!(field.lines().all(|line| line.len() <= LINE_BYTES_WANTED || line.trim().len() >= 200));
        assert_eq!(&*unfold(field.as_bytes()), format!("X-Long: {value}").as_bytes());
        assert_eq!(fold("A", "b\r\nInjected: c"), "A: b  Injected: c\r\n");
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        let at = Timestamp::from_civil_utc(2026, 1, 1, 10, 0, 5);
        assert_eq!(rfc5322_date(at, 0), "Thu, 1 Jan 2026 10:00:05 +0000");
        assert_eq!(rfc5322_date(at, -630), "Wed, 31 Dec 2025 23:30:05 -1030");
        for offset in [-720, -30, 0, 345, 840] {
            assert_eq!(parse_date(rfc5322_date(at, offset).as_bytes()), Some(at));
        }
    }
}
