//! Moments. The clock itself is `runtime`'s; everybody else is told the time.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every moment a clock gives: "no deadline".
    pub const NEVER: Self = Self(i64::MAX);

    /// The moment `ms` milliseconds after (or before) 1970.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// The moment `s` seconds after (or before) 1970.
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn as_s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Year, month (1-12), day (1-31), hour, minute, second in UTC.
    pub fn civil_utc(self) -> (i64, u32, u32, u32, u32, u32) {
        let s = self.as_s();
        let (days, rest) = (s.div_euclid(86_400), s.rem_euclid(86_400) as u32);
        let (year, month, day) = civil_from_days(days);
        (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
    }

    /// The moment of a civil date and time given in UTC. Fields may be out of their range by
    /// little (second 60); they carry over.
    pub fn from_civil_utc(year: i64, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Self {
        let days = days_from_civil(year, month, day);
        Self::from_s(days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
    }

    /// 0 = Sunday to 6 = Saturday, in UTC.
    pub fn weekday_utc(self) -> u32 {
        (self.as_s().div_euclid(86_400) + 4).rem_euclid(7) as u32
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Days since 1970-01-01 to the proleptic Gregorian date, by shifting the year to begin in March.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1).unsigned_abs() as u32;
    let month = (if month_index < 10 { month_index + 3 } else { month_index - 9 }).unsigned_abs() as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_index + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_go_there_and_back() {
        for (s, civil, weekday) in [
            (0, (1970, 1, 1, 0, 0, 0), 4),
            (951_782_399, (2000, 2, 28, 23, 59, 59), 1),
            (951_868_800, (2000, 3, 1, 0, 0, 0), 3),
            (-1, (1969, 12, 31, 23, 59, 59), 3),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0), 1),
        ] {
            let moment = Timestamp::from_s(s);
            assert_eq!(moment.civil_utc(), civil);
            assert_eq!(moment.weekday_utc(), weekday);
            let (year, month, day, hour, minute, second) = civil;
            assert_eq!(Timestamp::from_civil_utc(year, month, day, hour, minute, second), moment);
        }
    }
}
