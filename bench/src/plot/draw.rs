//! Lines and bars by the plotting library. Drawing into a string cannot fail.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::{INK, PEERS};
use crate::report::{Spread, spread};

/// The number of the colour for what is no peer.
pub(super) const LESSER: usize = usize::MAX;

const WIDTH: i32 = 640;
const HEIGHT: i32 = 300;
const TITLE: i32 = 30;
const LEGEND_ROW: i32 = 22;
const BAR_ROW: i32 = 30;

/// Pixels of a letter at the size of [`text_style`], generously.
const LETTER: i32 = 8;

/// The size that the library is told; it writes it divided by 1.24.
const TEXT: f64 = 17.0;

/// One peer's points.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// One peer's value.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) spread: Spread,
}

/// An axis as the library wants it, with our own marks.
struct Scale(Axis);

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.0.from) / (self.0.to - self.0.from);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Every mark has its label; there are no lesser ones between.
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.0.marks.iter().map(|mark| mark.0).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.0.from..self.0.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.0.text(*value)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Why the results below are expected to be good.
const DRAWN: &str = "a string takes everything";

/// A chart with a line for each peer and a legend above.
pub(super) fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let rows = legend(lines);
    let top = TITLE + LEGEND_ROW * whole(rows.len());
    picture(top + HEIGHT, |root| {
        heading(root, title);
        draw_legend(root, &rows);
        let (_, below) = root.split_vertically(top);
        let mut chart = ChartBuilder::on(&below)
            .margin_top(8)
            .margin_right(26)
            .x_label_area_size(48)
            .y_label_area_size(82)
            .build_cartesian_2d(Scale(x.clone()), Scale(y.clone()))
            .expect(DRAWN);
        chart
            .configure_mesh()
            .axis_style(colour(INK[1]))
            .bold_line_style(colour(INK[2]))
            .light_line_style(TRANSPARENT)
            .label_style(text_style(INK[1]))
            .axis_desc_style(text_style(INK[1]))
            .x_desc(&x.label)
            .y_desc(&y.label)
            .draw()
            .expect(DRAWN);
        for line in lines {
            let style = ShapeStyle { color: peer(line.colour).to_rgba(), filled: false, stroke_width: 2 };
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style)).expect(DRAWN);
        }
    })
}

/// A horizontal bar for each peer, from zero, with its value beside it.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let names = bars.iter().map(|bar| width_of(&bar.name)).max().unwrap_or(0);
    let value = |bar: &Bar| format!("{} {unit}", spread(Some(bar.spread)));
    let values = bars.iter().map(|bar| width_of(&value(bar))).max().unwrap_or(0);
    let left = (16 + names).min(WIDTH / 2);
    let room = f64::from((WIDTH - left - values - 16).max(60));
    let greatest = bars.iter().map(|bar| bar.spread.median).fold(f64::MIN_POSITIVE, f64::max);
    picture(TITLE + BAR_ROW * whole(bars.len()) + 8, |root| {
        heading(root, title);
        for (at, bar) in (0..).zip(bars) {
            let top = TITLE + BAR_ROW * at + 4;
            let middle = top + BAR_ROW / 2 - 3;
            let right = left + (room * bar.spread.median / greatest).round().max(1.0) as i32;
            text(root, &bar.name, (left - 8, middle), INK[0], HPos::Right);
            let shape = Rectangle::new([(left, top), (right, top + BAR_ROW - 8)], peer(bar.colour).filled());
            root.draw(&shape).expect(DRAWN);
            text(root, &value(bar), (right + 8, middle), INK[1], HPos::Left);
        }
    })
}

fn picture(height: i32, draw: impl FnOnce(&Area<'_>)) -> String {
    let mut svg = String::new();
    let root =
        SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    draw(&root);
    root.present().expect(DRAWN);
    drop(root);
    svg
}

fn heading(root: &Area<'_>, title: &str) {
    let font = ("sans-serif", TEXT + 1.0, FontStyle::Bold);
    let style = TextStyle { color: colour(INK[0]).to_backend_color(), ..TextStyle::from(font) };
    root.draw(&Text::new(title.to_owned(), (10, 6), style)).expect(DRAWN);
}

/// Names in rows, each with its colour and its place from the left.
fn legend(lines: &[Line]) -> Vec<Vec<(i32, &str, usize)>> {
    let mut rows = vec![Vec::new()];
    let mut left = 10;
    for line in lines {
        let width = width_of(&line.name) + 34;
        if left > 10 && left + width > WIDTH {
            rows.push(Vec::new());
            left = 10;
        }
        if let Some(row) = rows.last_mut() {
            row.push((left, line.name.as_str(), line.colour));
        }
        left += width;
    }
    rows
}

/// Pixels of a text, generously.
fn width_of(text: &str) -> i32 {
    LETTER * whole(text.chars().count())
}

/// A number of things as one of pixels: nobody draws a million.
fn whole(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(0)
}

fn draw_legend(root: &Area<'_>, rows: &[Vec<(i32, &str, usize)>]) {
    for (at, row) in (0..).zip(rows) {
        let middle = TITLE + LEGEND_ROW * at + LEGEND_ROW / 2;
        for (left, name, number) in row {
            let chip = [(*left, middle - 5), (left + 14, middle + 5)];
            root.draw(&Rectangle::new(chip, peer(*number).filled())).expect(DRAWN);
            text(root, name, (left + 20, middle), INK[0], HPos::Left);
        }
    }
}

fn text(root: &Area<'_>, words: &str, at: (i32, i32), ink: &str, side: HPos) {
    let style = text_style(ink).pos(Pos::new(side, VPos::Center));
    root.draw(&Text::new(words.to_owned(), at, style)).expect(DRAWN);
}

fn text_style(ink: &str) -> TextStyle<'static> {
    TextStyle { color: colour(ink).to_backend_color(), ..TextStyle::from(("sans-serif", TEXT)) }
}

fn peer(number: usize) -> RGBColor {
    if number == LESSER { colour(INK[1]) } else { colour(PEERS[number % PEERS.len()]) }
}

/// `#RRGGBB`.
fn colour(text: &str) -> RGBColor {
    let part =
        |at: usize| text.get(at..at + 2).and_then(|part| u8::from_str_radix(part, 16).ok()).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags open and close in order, and no text opens one by accident.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for piece in svg.split('<').skip(1) {
            let Some((tag, text)) = piece.split_once('>') else { return false };
            if tag.matches('"').count() % 2 == 1 || text.contains('"') {
                return false;
            }
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        open.is_empty() && svg.starts_with("<svg ")
    }

    #[test]
    fn lines_are_well_formed_and_have_their_names_and_colours() {
        let line =
            |name: &str, colour| Line { name: name.into(), colour, points: vec![(0.0, 1.0), (1.0, 4.0)] };
        let all = [line("a <b> & \"c\"", 0), line("second", 1)];
        let x = Axis::from_zero("seconds", [1.0].into_iter()).expect("a value");
        let y = Axis::from_zero("rate", [4.0].into_iter()).expect("a value");
        let svg = lines("Title", &x, &y, &all);
        assert!(is_well_formed(&svg), "{svg}");
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
        for expected in ["a &lt;b&gt; &amp; &quot;c&quot;", "second", PEERS[0], PEERS[1], "seconds", "Title"]
        {
            assert!(svg.contains(expected), "{expected} is not in {svg}");
        }
        assert!(!is_well_formed("<svg ><g></svg>") && !is_well_formed("<svg >"));
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let bar = |value: f64| Bar {
            name: "peer".into(),
            colour: 0,
            spread: Spread { median: value, min: value, max: value, count: 1 },
        };
        let svg = bars("Title", "µs", &[bar(10.0), bar(40.0)]);
        assert!(is_well_formed(&svg), "{svg}");
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect"))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((widths[1] / widths[0] - 4.0).abs() < 0.1, "{widths:?}");
    }

    #[test]
    fn a_long_legend_takes_more_rows() {
        let all: Vec<Line> =
            (0..12).map(|i| Line { name: format!("a long name {i}"), colour: i, points: vec![] }).collect();
        let rows = legend(&all);
        assert!(rows.len() > 1 && rows.iter().map(Vec::len).sum::<usize>() == 12, "{rows:?}");
    }
}
