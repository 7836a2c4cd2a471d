//! A study as one HTML page: nothing is loaded from elsewhere, and no script runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::plot;
use crate::report::{Case, NONE, Run, Sheet, Study, sheets, spread};

const STYLE: &str = include_str!("html/style.css");
const METHOD: &str = include_str!("html/method.html");

/// The whole page.
pub(crate) fn page(study: &Study) -> String {
    let mut html = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = title(study);
    add(&mut html, &format!("<title>{}</title>\n", escaped(&title)));
    add(&mut html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n");
    add(&mut html, STYLE);
    add(&mut html, &peer_colours());
    add(&mut html, "</style>\n</head>\n<body>\n<header>\n");
    add(&mut html, &format!("<h1>{}</h1>\n", escaped(&title)));
    add(&mut html, &heading(study));
    add(&mut html, "</header>\n<main>\n");
    for sheet in first_sheets(study) {
        add(&mut html, &section(&sheet));
    }
    add(&mut html, &format!("<h2 id=\"method\">Method</h2>\n{METHOD}"));
    add(&mut html, &section(&sheets::machines(study)));
    add(&mut html, "<h2 id=\"cases\">Cases</h2>\n");
    for case in &study.cases {
        add(&mut html, &case_section(case));
    }
    add(&mut html, "</main>\n<footer>Written by angarium-bench report ");
    add(&mut html, env!("CARGO_PKG_VERSION"));
    add(
        &mut html,
        ". The results it was made from hold every latency distribution; keep them with this page.</footer>\n",
    );
    add(&mut html, "</body>\n</html>\n");
    html
}

fn add(html: &mut String, text: &str) {
    html.push_str(text);
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Letters, digits and hyphens, for links within the page.
fn anchor(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().map(plain).collect()
}

fn title(study: &Study) -> String {
    let others = study.peers.len().saturating_sub(1);
    let plural = if others == 1 { "" } else { "s" };
    if others == 0 {
        format!("{}, measured", study.baseline)
    } else {
        format!("{} beside {others} other server{plural}", study.baseline)
    }
}

/// Has the page's colours take the place of those in the pictures, by the values the pictures are drawn with.
fn peer_colours() -> String {
    let mut rules = String::new();
    let names = (0..plot::PEERS.len()).map(|at| format!("p{at}"));
    let inks = ["ink", "lesser", "line"].map(str::to_owned);
    let colours = plot::PEERS.iter().zip(names).chain(plot::INK.iter().zip(inks));
    for (colour, name) in colours {
        for property in ["fill", "stroke"] {
            writeln!(rules, "svg [{property}=\"{colour}\"] {{ {property}: var(--{name}); }}")
                .expect("a string takes everything");
        }
    }
    rules
}

/// When, on what, how much: and where to go from here.
fn heading(study: &Study) -> String {
    let days: BTreeSet<String> =
        study.runs().filter_map(|run| run.value("at_ms").as_u64()).map(|ms| day(ms / 1000)).collect();
    let machine = |name: &'static str| {
        study.distinct(move |run| run.value("machine")[name].as_str().map(str::to_owned))
    };
    let cores =
        study.distinct(|run| run.value("machine")["cores"].as_u64().map(|cores| format!("{cores} cores")));
    let commit = study.distinct(|run| run.text("bench_commit").map(str::to_owned));
    let runs = study.groups().map(crate::report::Group::tried).sum::<usize>();
    let failed = study.groups().map(|group| group.wrong.len() + group.missing).sum::<usize>();
    let tiles = [
        ("measured", days.into_iter().collect::<Vec<_>>().join(", ")),
        ("commit of the load generator", commit.join(", ")),
        ("processor", [cores, machine("cpu")].concat().join(", ")),
        ("kernel", machine("kernel").join(", ")),
        ("runs", format!("{runs}, of them without figures: {failed}")),
    ];
    let mut html = String::from("<div class=\"tiles\">\n");
    for (name, value) in tiles.iter().filter(|(_, value)| !value.is_empty()) {
        let value = escaped(value);
        writeln!(html, "<div class=\"tile\"><span>{name}</span><b>{value}</b></div>")
            .expect("a string takes everything");
    }
    add(&mut html, "</div>\n<nav>");
    let sections = first_sheets(study);
    for title in sections.iter().map(|sheet| sheet.title).chain(["Method", "Machine", "Cases"]) {
        write!(html, "<a href=\"#{}\">{title}</a> ", anchor(title)).expect("a string takes everything");
    }
    add(&mut html, "</nav>\n");
    html
}

/// The day of a moment in seconds since 1970, as ISO 8601 writes it (the civil calendar, counted from a March).
fn day(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{}-{month:02}-{day:02}", year + era * 400 + u64::from(month <= 2))
}

fn first_sheets(study: &Study) -> Vec<Sheet> {
    let sheets = [
        sheets::glance(study),
        sheets::ratios(study),
        sheets::trouble(study),
        sheets::figures(study),
        sheets::others(study),
        sheets::limits(study),
    ];
    sheets.into_iter().filter(|sheet| !sheet.rows.is_empty()).collect()
}

fn section(sheet: &Sheet) -> String {
    let (title, words) = (sheet.title, escaped(&sheet.words));
    format!("<h2 id=\"{}\">{title}</h2>\n<p class=\"words\">{words}</p>\n{}", anchor(title), table(sheet))
}

fn table(sheet: &Sheet) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (at, cell) in sheet.header.iter().enumerate() {
        let class = if sheet.is_number(at) { " class=\"number\"" } else { "" };
        write!(html, "<th{class}>{}</th>", escaped(cell)).expect("a string takes everything");
    }
    add(&mut html, "</tr></thead>\n<tbody>\n");
    let mut above: Option<&String> = None;
    for (at, row) in sheet.rows.iter().enumerate() {
        add(&mut html, "<tr>");
        let first = row.first();
        // Rows that begin alike share their first cell.
        if first != above {
            let alike = sheet.rows.iter().skip(at).take_while(|row| row.first() == first).count();
            let text = escaped(first.map_or("", String::as_str));
            write!(html, "<th rowspan=\"{alike}\">{text}</th>").expect("a string takes everything");
        }
        above = first;
        row.iter().enumerate().skip(1).for_each(|(at, cell)| add(&mut html, &cell_of(sheet, at, cell)));
        add(&mut html, "</tr>\n");
    }
    add(&mut html, "</tbody></table></div>\n");
    html
}

/// A number with its range below it; a ratio in the colour of who is ahead.
fn cell_of(sheet: &Sheet, column: usize, cell: &str) -> String {
    if !sheet.is_number(column) {
        return format!("<td>{}</td>", escaped(cell));
    }
    let (value, range) = cell.split_once(" (").map_or((cell, ""), |(value, range)| (value, range));
    let ratio = value.strip_suffix('×').and_then(|digits| digits.replace(',', "").parse::<f64>().ok());
    let class = match ratio {
        Some(1.05..) => "ahead",
        Some(..0.95) => "behind",
        _ => "",
    };
    let range = range.trim_end_matches(')');
    let range = if range.is_empty() {
        String::new()
    } else {
        format!("<span class=\"range\">{}</span>", escaped(range))
    };
    format!("<td class=\"number\"><span class=\"{class}\">{}</span>{range}</td>", escaped(value))
}

/// Everything that is known of a case: plots, all figures, the command lines.
fn case_section(case: &Case) -> String {
    let mut html = format!("<h3 id=\"{}\">{}</h3>\n", anchor(&case.name), escaped(&case.name));
    for group in case.groups.iter().filter(|group| !group.note().is_empty()) {
        let reasons: Vec<&str> = group.wrong.iter().chain(&group.not_offered).map(String::as_str).collect();
        let text = format!("{}: {}. {}", group.peer, group.note(), reasons.join("; "));
        writeln!(html, "<p class=\"words\">{}</p>", escaped(&text)).expect("a string takes everything");
    }
    let plots = plot::of_case(case);
    if !plots.is_empty() {
        add(&mut html, "<div class=\"plots\">\n");
        for plot in plots {
            writeln!(html, "<figure>{}</figure>", plot.svg.trim_end()).expect("a string takes everything");
        }
        add(&mut html, "</div>\n");
    }
    add(&mut html, "<details><summary>All figures</summary>\n");
    add(&mut html, &table(&details(case)));
    add(&mut html, "</details>\n");
    add(&mut html, &commands(case));
    html
}

/// Every number of a case, a column for each peer.
fn details(case: &Case) -> Sheet {
    let groups: Vec<_> = case.groups.iter().filter(|group| !group.runs.is_empty()).collect();
    let mut header = vec!["figure".to_owned()];
    header.extend(groups.iter().map(|group| group.peer.clone()));
    let row = |name: String| {
        let values = groups.iter().map(|group| spread(group.spread(|run| run.figure(&name))));
        let mut row: Vec<String> = values.collect();
        row.insert(0, name);
        row
    };
    let rows =
        case.figure_names().into_iter().map(row).filter(|row| row.iter().skip(1).any(|cell| cell != NONE));
    Sheet {
        title: "All figures",
        words: String::new(),
        header,
        rows: rows.collect(),
        texts: 1,
        has_note: false,
    }
}

/// The first round's command line of each peer.
fn commands(case: &Case) -> String {
    let first = |runs: &[Run]| runs.first().and_then(|run| run.text("command")).map(str::to_owned);
    let lines: Vec<String> = case
        .groups
        .iter()
        .filter_map(|group| Some(format!("# {}\n{}", group.peer, first(&group.runs)?)))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("<details><summary>Command lines</summary><pre>{}</pre></details>\n", escaped(&lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_the_calendar() {
        let days = [0, 951_782_400, 1_709_164_800, 4_102_444_799].map(day);
        assert_eq!(days, ["1970-01-01", "2000-02-29", "2024-02-29", "2099-12-31"]);
    }
}
