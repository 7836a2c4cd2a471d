//! Moments in text: the timestamps of RFC 3339.

use core::fmt;
use core::time::Duration;

use crate::Timestamp;

/// `date-time` (RFC 3339 §5.6): `2026-01-31T08:00:00Z`, with a fraction, or with an offset instead of the Z.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(10)?;
    let time = time.strip_prefix(['T', 't'])?;
    let (clock, zone) = time.split_at_checked(8)?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    // A leap second is the one before it.
    let civil = (i64::from(year), month, day, hour, minute, second.min(59));
    let moment = Timestamp::from_civil_utc(civil.0, civil.1, civil.2, civil.3, civil.4, civil.5);
    // A day that no month has comes out as another.
    if second > 60 || moment.civil_utc() != civil {
        return None;
    }
    let zone = match zone.strip_prefix('.') {
        None => zone,
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < fraction.len()).then_some(rest)?
        }
    };
    if zone.eq_ignore_ascii_case("Z") {
        return Some(moment);
    }
    let offset = zone.strip_prefix(['+', '-'])?;
    let [hours, minutes] = fields(offset, ':', [2, 2])?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = Duration::from_secs(u64::from(hours * 60 + minutes) * 60);
    Some(if zone.starts_with('+') { moment - offset } else { moment + offset })
}

/// Numbers of so many digits each, with a sign between them.
fn fields<const N: usize>(text: &str, sign: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut words = text.split(sign);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let word = words.next().filter(|word| word.len() == width)?;
        *number = word.parse().ok().filter(|_| word.bytes().all(|b| b.is_ascii_digit()))?;
    }
    words.next().is_none().then_some(numbers)
}

/// A moment as RFC 3339 writes it, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.0.civil_utc();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        let at = |s| Some(Timestamp::from_s(s));
        for (text, expected) in [
            ("2000-03-01T00:00:00Z", at(951_868_800)),
            ("2000-03-01t00:00:00.25z", at(951_868_800)),
            ("2000-03-01T01:30:00+01:30", at(951_868_800)),
            ("2000-02-29T19:00:00-05:00", at(951_868_800)),
            ("2000-02-30T00:00:00Z", None),
            ("2000-13-01T00:00:00Z", None),
            ("2000-03-01T24:00:00Z", None),
            ("2000-03-01 00:00:00Z", None),
            ("2000-03-01T00:00:00", None),
            ("2000-03-01T00:00:00.Z", None),
            ("2000-03-01T00:00:00+1:30", None),
            ("2000-3-01T00:00:00Z", None),
            ("+000-03-01T00:00:00Z", None),
            ("é000-03-01T00:00:00Z", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
        assert_eq!(alloc::format!("{}", Rfc3339(Timestamp::from_s(951_868_800))), "2000-03-01T00:00:00Z");
    }
}
