//! Where an axis begins and ends, and what stands at its marks.

use super::draw::Line;
use crate::report::number;

/// Marks that an axis has at most, about.
const MARKS: f64 = 6.0;

/// An axis in the plot's own coordinates: a logarithmic one holds logarithms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) marks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number above all values.
    pub(super) fn from_zero(label: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let greatest = values.reduce(f64::max).filter(|greatest| *greatest > 0.0)?;
        let step = round_step(greatest / MARKS);
        let count = (greatest / step - 1e-9).ceil();
        let marks = (0_u32..).map(f64::from).take_while(|i| *i <= count).map(|i| i * step);
        let marks =
            marks.map(|value| (value, if value == 0.0 { "0".into() } else { short(value) })).collect();
        Some(Self { label: label.into(), from: 0.0, to: count * step, marks })
    }

    /// Whole numbers, each with a mark.
    pub(super) fn counts(label: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        let (first, last) = (*all.first()?, *all.last()?);
        let marks = all.iter().map(|value| (*value, number_of(*value))).collect();
        Some(Self { label: label.into(), from: (first - 1.0).max(0.0), to: last, marks })
    }

    /// Around all points' second values, which are logarithms to base 10. Marks at 1, 2 and 5 times each power, or at the
    /// powers alone where those would be too many.
    pub(super) fn logarithmic(label: &str, lines: &[Line], text: fn(f64) -> String) -> Option<Self> {
        let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let (least, greatest) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        let steps = |of: &'static [f64]| {
            let powers = (least.floor() as i32 - 1)..=(greatest.ceil() as i32 + 1);
            powers.flat_map(move |power| of.iter().map(move |digit| digit * 10_f64.powi(power)))
        };
        let all: Vec<f64> = steps(&[1.0, 2.0, 5.0]).collect();
        let from = all.iter().rev().find(|mark| mark.log10() <= least + 1e-9)?.log10();
        let to = all.iter().find(|mark| mark.log10() >= greatest - 1e-9 && mark.log10() > from)?.log10();
        let is_inside = |mark: &f64| (from - 1e-9..=to + 1e-9).contains(&mark.log10());
        let few: Vec<f64> = if to - from > 2.5 { steps(&[1.0]).collect() } else { all };
        let marks = few.into_iter().filter(is_inside).map(|mark| (mark.log10(), text(mark))).collect();
        Some(Self { label: label.into(), from, to, marks })
    }

    /// What stands at a mark.
    pub(super) fn text(&self, at: f64) -> String {
        let mark = self.marks.iter().find(|(value, _)| (value - at).abs() < 1e-9);
        mark.map_or_else(String::new, |(_, text)| text.clone())
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Thousands as k, millions as M.
fn short(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{}M", number_of(value / 1e6)),
        10_000.0.. => format!("{}k", number_of(value / 1e3)),
        1_000.0.. => number(value),
        _ => number_of(value),
    }
}

/// As few digits as say it.
fn number_of(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// A time in the unit that suits it.
pub(super) fn time_of_us(us: f64) -> String {
    match us {
        1_000_000.0.. => format!("{} s", number_of(us / 1e6)),
        1_000.0.. => format!("{} ms", number_of(us / 1e3)),
        _ => format!("{} µs", number_of(us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number() {
        let axis = Axis::from_zero("x", [3.0, 33_000.0].into_iter()).expect("values above zero");
        let texts: Vec<&str> = axis.marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0", "10k", "20k", "30k", "40k"]);
        assert!(Axis::from_zero("x", [0.0].into_iter()).is_none());
        let small = Axis::from_zero("x", [0.5].into_iter()).expect("a value");
        assert_eq!(small.text(0.1), "0.1");
    }

    #[test]
    fn a_logarithmic_axis_holds_its_values() {
        let line = |points: &[f64]| {
            [Line {
                name: "a".into(),
                colour: 0,
                points: points.iter().map(|us| (0.0, us.log10())).collect(),
            }]
        };
        let axis = Axis::logarithmic("y", &line(&[70.0, 900.0]), time_of_us).expect("two values");
        let texts: Vec<&str> = axis.marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["50 µs", "100 µs", "200 µs", "500 µs", "1 ms"]);
        let wide = Axis::logarithmic("y", &line(&[1.0, 2_000_000.0]), time_of_us).expect("two values");
        let texts: Vec<&str> = wide.marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        let flat = Axis::logarithmic("y", &line(&[100.0]), time_of_us).expect("one value");
        assert!(flat.to > flat.from, "{flat:?}");
    }
}
