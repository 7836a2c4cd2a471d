//! A table of text, for the terminal, for Markdown and for HTML.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::study::Spread;

/// What stands where there is no value.
pub(crate) const NONE: &str = "-";

/// A table with a title. All columns but the first `texts` hold numbers, and so does not the last if `has_note`.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    pub(crate) title: &'static str,
    /// How to read it.
    pub(crate) words: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Columns at the left that hold words.
    pub(crate) texts: usize,
    /// Whether the last column holds words too.
    pub(crate) has_note: bool,
}

impl Sheet {
    /// Leaves a last column of notes out if all of them are empty.
    pub(crate) fn without_empty_notes(mut self) -> Self {
        let is_empty = |row: &Vec<String>| row.last().is_none_or(String::is_empty);
        if self.has_note && self.rows.iter().all(is_empty) {
            self.header.pop();
            self.rows.iter_mut().for_each(|row| drop(row.pop()));
            self.has_note = false;
        }
        self
    }

    /// Whether a column holds numbers.
    pub(crate) fn is_number(&self, column: usize) -> bool {
        column >= self.texts && !(self.has_note && column + 1 == self.header.len())
    }

    /// With borders, to the width of the terminal.
    pub(crate) fn terminal(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(&self.header);
        table.add_rows(&self.rows);
        for column in 0..self.header.len() {
            if let Some(cells) = table.column_mut(column).filter(|_| self.is_number(column)) {
                cells.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n{}\n{table}\n", self.title, self.words)
    }

    /// As a section with a pipe table.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.words);
        let mut line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
        };
        line(&self.header);
        let rule = |column| if self.is_number(column) { "--:" } else { "---" };
        line(&(0..self.header.len()).map(|column| rule(column).to_owned()).collect::<Vec<_>>());
        self.rows.iter().for_each(|row| line(row));
        text
    }
}

/// Three or four digits, thousands in groups.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    grouped(value, places)
}

/// A count, thousands in groups.
pub(crate) fn count(value: f64) -> String {
    grouped(value, 0)
}

fn grouped(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, part)| (whole, part));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// A median, with the least and the greatest where rounds differ.
pub(crate) fn spread(value: Option<Spread>) -> String {
    with_range(value, "")
}

/// A ratio likewise.
pub(crate) fn times(value: Option<Spread>) -> String {
    with_range(value, "×")
}

fn with_range(value: Option<Spread>, unit: &str) -> String {
    let Some(Spread { median, min, max, .. }) = value else { return NONE.into() };
    let (least, greatest) = (number(min), number(max));
    if least == greatest {
        return format!("{}{unit}", number(median));
    }
    format!("{}{unit} ({least}–{greatest})", number(median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_or_four_digits() {
        let shown: Vec<String> =
            [0.0, 0.123_4, 1.5, 33.33, 999.6, 1_234.5, 1_234_567.0, -1_000.0].map(number).into();
        assert_eq!(shown, ["0", "0.123", "1.50", "33.3", "1,000", "1,234", "1,234,567", "-1,000"]);
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        let of = |values: &[f64]| times(Spread::of(values.to_vec()));
        assert_eq!(
            (of(&[]), of(&[2.0]), of(&[10.0, 30.0, 20.0])),
            ("-".into(), "2.00×".into(), "20.0× (10.0–30.0)".into())
        );
    }

    #[test]
    fn empty_notes_take_no_column() {
        let sheet = |note: &str| Sheet {
            title: "t",
            words: String::new(),
            header: vec!["a".into(), "n".into(), "note".into()],
            rows: vec![vec!["x|y".into(), "1".into(), note.into()]],
            texts: 1,
            has_note: true,
        };
        assert_eq!(sheet("").without_empty_notes().header.len(), 2);
        assert_eq!(
            sheet("bad").without_empty_notes().markdown(),
            "## t\n\n\n\n| a | n | note |\n| --- | --: | --- |\n| x\\|y | 1 | bad |\n"
        );
    }
}
