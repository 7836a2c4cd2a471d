//! Dates: of messages (RFC 5322 §3.3, §4.3) and of IMAP (RFC 9051 §9, `date-time`).

use alloc::format;
use alloc::string::String;

use base::Timestamp;

use crate::lex::Lexer;

pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A civil date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// A civil date and time with its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The date in that zone.
    pub date: Date,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
    /// Minutes east of UTC, less than 100 hours either way.
    pub offset_minutes: i32,
}

impl Date {
    /// The date, if there is such a day.
    pub fn new(year: i64, month: u32, day: u32) -> Option<Self> {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(is_leap),
            1..=12 => 31,
            _ => return None,
        };
        if (1..=days).contains(&day) { Some(Self { year, month, day }) } else { None }
    }
}

impl DateTime {
    /// The moment as a clock in that zone shows it.
    pub fn at(moment: Timestamp, offset_minutes: i32) -> Self {
        let shifted = Timestamp::from_s(moment.as_s().saturating_add(i64::from(offset_minutes) * 60));
        let (year, month, day, hour, minute, second) = shifted.civil_utc();
        Self { date: Date { year, month, day }, hour, minute, second, offset_minutes }
    }

    /// Reads a Date field's value. Obsolete years and zones count (RFC 5322 §4.3); a missing time is
    /// midnight and a missing or unknown zone UTC. The order of C's `asctime` is understood too.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::of(value);
        let mut month = None;
        // A day's name and comma, or a month before its day.
        while let Some(byte) = next_byte(&mut lexer) {
            if byte.is_ascii_digit() {
                break;
            }
            month = month_named(word(&mut lexer)?);
        }
        let (day, _) = number(&mut lexer)?;
        let is_month_first = month.is_some();
        let month = if let Some(month) = month {
            month
        } else {
            next_byte(&mut lexer)?;
            month_named(word(&mut lexer)?)?
        };
        let (hour, minute, second, year);
        if is_month_first {
            (hour, minute, second) = time(&mut lexer)?;
            year = year_of(number_next(&mut lexer)?);
        } else {
            year = year_of(number_next(&mut lexer)?);
            (hour, minute, second) =
                if lexer_is_at_digit(&mut lexer) { time(&mut lexer)? } else { (0, 0, 0) };
        }
        let offset_minutes = zone(&mut lexer)?;
        Self::checked(Date::new(year, month, day)?, (hour, minute, second), offset_minutes)
    }

    /// The moment.
    pub fn timestamp(self) -> Timestamp {
        let Date { year, month, day } = self.date;
        let local = Timestamp::from_civil_utc(year, month, day, self.hour, self.minute, self.second);
        Timestamp::from_s(local.as_s() - i64::from(self.offset_minutes) * 60)
    }

    fn checked(date: Date, time: (u32, u32, u32), offset_minutes: i32) -> Option<Self> {
        let (hour, minute, second) = time;
        // RFC 5322 §3.3 has second 60 for leap seconds.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        Some(Self { date, hour, minute, second, offset_minutes })
    }
}

/// The moment of a Date field's value.
pub fn parse_date(value: &[u8]) -> Option<Timestamp> {
    DateTime::parse(value).map(DateTime::timestamp)
}

/// The date of a Date field's value in its own zone: what SENTON compares (RFC 9051 §6.4.4).
pub fn sent_on(value: &[u8]) -> Option<Date> {
    DateTime::parse(value).map(|sent| sent.date)
}

/// Reads an IMAP date-time without its quotes: ` 1-Jan-2026 10:00:00 +0000`.
///
/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
/// (RFC 9051 §9).
pub fn parse_imap_date_time(value: &[u8]) -> Option<Timestamp> {
    let (date, rest) = value.split_at_checked(11)?;
    let [d1, d2, b'-', m1, m2, m3, b'-', year @ ..] = date else { return None };
    let day = match (d1, d2) {
        (b' ', digit) => digits(&[*digit])?,
        _ => digits(&[*d1, *d2])?,
    };
    let month = month_named(&[*m1, *m2, *m3])?;
    let date = Date::new(i64::from(digits(year)?), month, day)?;
    let [b' ', h1, h2, b':', m1, m2, b':', s1, s2, b' ', sign, zone @ ..] = rest else { return None };
    let time = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    let offset_minutes = numeric_zone(*sign, zone)?;
    DateTime::checked(date, time, offset_minutes).map(DateTime::timestamp)
}

/// Writes an IMAP date-time without quotes: `01-Jan-2026 10:00:00 +0000` in that zone.
pub fn imap_date_time(moment: Timestamp, offset_minutes: i32) -> String {
    let DateTime { date: Date { year, month, day }, hour, minute, second, .. } =
        DateTime::at(moment, offset_minutes);
    let (month, zone) = (month_name(month), zone_text(offset_minutes));
    format!("{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {zone}")
}

pub(crate) fn month_name(month: u32) -> &'static str {
    MONTHS.get((month as usize).wrapping_sub(1)).copied().unwrap_or("Jan")
}

/// `+hhmm` or `-hhmm`.
pub(crate) fn zone_text(offset_minutes: i32) -> String {
    let (sign, minutes) = (if offset_minutes < 0 { '-' } else { '+' }, offset_minutes.unsigned_abs());
    format!("{sign}{:02}{:02}", minutes / 60 % 100, minutes % 60)
}

/// The next byte that is neither white space, comment, comma nor the `-` some put between.
fn next_byte(lexer: &mut Lexer<'_>) -> Option<u8> {
    loop {
        lexer.skip_cfws();
        if !lexer.skip(b',') && !lexer.skip(b'-') {
            return lexer.peek();
        }
    }
}

fn lexer_is_at_digit(lexer: &mut Lexer<'_>) -> bool {
    lexer.skip_cfws();
    lexer.peek().is_some_and(|byte| byte.is_ascii_digit())
}

/// Letters, at least one; a full stop behind is skipped.
fn word<'a>(lexer: &mut Lexer<'a>) -> Option<&'a [u8]> {
    let word = lexer.until(|byte| !byte.is_ascii_alphabetic());
    lexer.skip(b'.');
    if word.is_empty() { None } else { Some(word) }
}

/// A number and how many digits it has.
fn number(lexer: &mut Lexer<'_>) -> Option<(u32, usize)> {
    let text = lexer.until(|byte| !byte.is_ascii_digit());
    Some((digits(text)?, text.len()))
}

fn number_next(lexer: &mut Lexer<'_>) -> Option<(u32, usize)> {
    next_byte(lexer)?;
    number(lexer)
}

/// One to nine digits, nothing else.
fn digits(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |value, byte| Some(value * 10 + (*byte as char).to_digit(10)?))
}

/// RFC 5322 §4.3: two digits up to 49 are 20xx, else 19xx; three digits are added to 1900.
fn year_of((number, digits): (u32, usize)) -> i64 {
    let year = i64::from(number);
    match digits {
        1 | 2 if year < 50 => 2000 + year,
        1..=3 => 1900 + year,
        _ => year,
    }
}

/// `hour ":" minute [":" second]`; a fraction of a second is dropped.
fn time(lexer: &mut Lexer<'_>) -> Option<(u32, u32, u32)> {
    let (hour, _) = number_next(lexer)?;
    lexer.skip_cfws();
    if !lexer.skip(b':') && !lexer.skip(b'.') {
        return None;
    }
    let (minute, _) = number_next(lexer)?;
    lexer.skip_cfws();
    if !lexer.skip(b':') && !lexer.skip(b'.') {
        return Some((hour, minute, 0));
    }
    let (second, _) = number_next(lexer)?;
    if lexer.skip(b'.') {
        lexer.until(|byte| !byte.is_ascii_digit());
    }
    Some((hour, minute, second))
}

/// Minutes east of UTC. Unknown names are `-0000` (RFC 5322 §4.3); a malformed number is an error.
fn zone(lexer: &mut Lexer<'_>) -> Option<i32> {
    lexer.skip_cfws();
    let name = lexer.until(|byte| !byte.is_ascii_alphabetic());
    lexer.skip_cfws();
    if let Some(sign @ (b'+' | b'-')) = lexer.peek() {
        lexer.next();
        return numeric_zone(sign, lexer.until(|byte| !byte.is_ascii_digit()));
    }
    let hours = match name.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        _ => 0,
    };
    Some(hours * 60)
}

fn numeric_zone(sign: u8, text: &[u8]) -> Option<i32> {
    let number = digits(text)?;
    if text.len() != 4 || number % 100 > 59 {
        return None;
    }
    let minutes = i32::try_from(number / 100 * 60 + number % 100).ok()?;
    match sign {
        b'+' => Some(minutes),
        b'-' => Some(-minutes),
        _ => None,
    }
}

fn month_named(word: &[u8]) -> Option<u32> {
    let name = word.get(..3)?;
    let index = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes()))?;
    Some(index as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(value: &str) -> Option<String> {
        parse_date(value.as_bytes()).map(|at| imap_date_time(at, 0))
    }

    #[test]
    fn dates_of_messages_are_read() {
        for (value, expected) in [
            // RFC 5322 appendix A.
            ("Fri, 21 Nov 1997 09:55:06 -0600", "21-Nov-1997 15:55:06 +0000"),
            ("Tue, 1 Jul 2003 10:52:37 +0200", "01-Jul-2003 08:52:37 +0000"),
            (
                "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
                "14-Feb-1969 03:02:00 +0000",
            ),
            ("21 Nov 97 09:55:06 GMT", "21-Nov-1997 09:55:06 +0000"),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "21-Nov-1997 15:55:06 +0000"),
            // Obsolete and what programs send.
            ("1 Jan 49 00:00 EST", "01-Jan-2049 05:00:00 +0000"),
            ("1 Jan 101 00:00 Z", "01-Jan-2001 00:00:00 +0000"),
            ("Mon, 1 January 2024 01:02:03 GMT+0100", "01-Jan-2024 00:02:03 +0000"),
            ("01-Jan-2024 01:02:03 +0100", "01-Jan-2024 00:02:03 +0000"),
            ("Thu Feb 13 23:32:54 1969", "13-Feb-1969 23:32:54 +0000"),
            ("Mon, 1 Jan 2024", "01-Jan-2024 00:00:00 +0000"),
            ("Mon, 1 Jan 2024 10:00:00.123 XYZ", "01-Jan-2024 10:00:00 +0000"),
            ("29 Feb 2024 12:00 A", "29-Feb-2024 12:00:00 +0000"),
            ("31 Dec 2016 23:59:60 +0000", "01-Jan-2017 00:00:00 +0000"),
        ] {
            assert_eq!(utc(value).as_deref(), Some(expected), "{value}");
        }
        for value in [
            "",
            "yesterday",
            "Mon,",
            "1 Foo 2024",
            "31 Feb 2024 00:00 Z",
            "0 Jan 2024",
            "1 Jan 2024 24:00 Z",
            "1 Jan 2024 10:60 Z",
            "1 Jan 2024 10:00 +01",
            "1 Jan 2024 10:00 +0160",
            "1 Jan",
            "29 Feb 2023",
            "1 Jan 99999999999 10:00 Z",
            "2024-01-01T00:00:00Z",
        ] {
            assert_eq!(utc(value), None, "{value}");
        }
    }

    #[test]
    fn the_date_sent_is_that_of_its_own_zone() {
        let sent = sent_on(b"Thu, 1 Jan 2026 23:30:00 -0800").expect("a date");
        assert_eq!(sent, Date { year: 2026, month: 1, day: 1 });
        assert!(sent < Date { year: 2026, month: 1, day: 2 });
    }

    #[test]
    fn imap_dates_go_there_and_back() {
        for (value, back) in [
            ("01-Jan-2026 10:00:00 +0000", "01-Jan-2026 10:00:00 +0000"),
            (" 1-jan-2026 10:00:00 +0130", "01-Jan-2026 10:00:00 +0130"),
            ("31-DEC-1969 23:59:59 -1200", "31-Dec-1969 23:59:59 -1200"),
        ] {
            let at = parse_imap_date_time(value.as_bytes()).expect("a date-time");
            let offset = DateTime::parse(value.as_bytes()).expect("the same").offset_minutes;
            assert_eq!(imap_date_time(at, offset), back);
        }
        for value in [
            "",
            "1-Jan-2026 10:00:00 +0000",
            "01-Jan-26 10:00:00 +0000",
            "01-Jan-2026 10:00:00",
            "01-Jan-2026 10:00 +0000",
            "01-Jan-2026 10:00:00 +00000",
            "01-Jan-2026 10:00:00 0000",
            "31-Feb-2026 10:00:00 +0000",
            "  -Jan-2026 10:00:00 +0000",
            "01-Jan-2026 10:00:00 +0000 ",
            "01-Jän-2026 10:00:00 +0000",
        ] {
            assert_eq!(parse_imap_date_time(value.as_bytes()), None, "{value}");
        }
    }
}
