//! Numbers as short as a column wants them.

/// `1.2k`, `34`, `5.6M`: a rate or a count in at most five characters.
pub(super) fn count(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 999_500_000.0 => (value / 1e9, "G"),
        _ if value >= 999_500.0 => (value / 1e6, "M"),
        _ if value >= 9_999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = usize::from(value < 9.95 && (!unit.is_empty() || value.fract() != 0.0));
    format!("{value:.digits$}{unit}")
}

/// `1.2 MiB`
pub(super) fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 1023.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", units.get(unit).unwrap_or(&""))
}

/// `87us`, `1.2ms`, `3.4s`; nothing is a dash.
pub(super) fn seconds(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let (value, unit) = match value {
        _ if value >= 0.9995 => (value, "s"),
        _ if value >= 0.000_999_5 => (value * 1e3, "ms"),
        _ if value < 0.000_001 => return "<1us".to_owned(),
        _ => (value * 1e6, "us"),
    };
    let digits = usize::from(unit != "us" && value < 9.95);
    format!("{value:.digits$}{unit}")
}

/// `43%`
pub(super) fn share(value: f64) -> String {
    format!("{:.0}%", value * 100.0)
}

/// `3d 04:12:45`
#[expect(clippy::cast_sign_loss, reason = "a negative time would be shown as none")]
pub(super) fn uptime(seconds: f64) -> String {
    let s = seconds as u64;
    let clock = format!("{:02}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60);
    if s < 86_400 { clock } else { format!("{}d {clock}", s / 86_400) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 0.25, 7.0, 42.4, 9_999.0, 12_345.0, 1_234_567.0, 2e9].map(count);
        assert_eq!(counts, ["0", "0.2", "7", "42", "9999", "12k", "1.2M", "2.0G"]);
        assert_eq!(
            [0.0, 1023.0, 1536.0, 20e6, 3e12].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "19 MiB", "2.7 TiB"]
        );
        assert_eq!(
            [0.000_087, 0.001_23, 0.045, 3.4].map(|s| seconds(Some(s))),
            ["87us", "1.2ms", "45ms", "3.4s"]
        );
        assert_eq!(seconds(Some(5e-7)), "<1us");
        assert_eq!(
            (seconds(None), share(0.434), uptime(274_365.0)),
            ("-".to_owned(), "43%".to_owned(), "3d 04:12:45".to_owned())
        );
        assert!([999.6, 9_999.6, 99_999.0, 999_600.0, 9.96e6].map(count).iter().all(|text| text.len() <= 5));
    }
}
