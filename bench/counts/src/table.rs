//! Two measurements beside each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// A table of the files that `measure` filled.
pub(crate) fn of_files(new: &str, old: Option<&str>) -> Result<String, String> {
    let new = read(new)?;
    let old = old.map(read).transpose()?;
    Ok(table(&new, old.as_deref()))
}

fn read(file: &str) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))
}

/// As Markdown, which a terminal shows well enough. A ratio below 1 means fewer instructions than before.
fn table(new: &[Value], old: Option<&[Value]>) -> String {
    let name = |case: &Value| case["case"].as_str().unwrap_or_default().to_owned();
    let before: BTreeMap<String, &Value> = old.into_iter().flatten().map(|case| (name(case), case)).collect();
    let width = new.iter().map(|case| name(case).chars().count()).max().unwrap_or(4);
    let mut text = String::new();
    let mut line = |cells: [&str; 6]| {
        let [case, now, was, ratio, allocations, bytes] = cells;
        writeln!(
            text,
            "| {case:width$} | {now:>12} | {was:>12} | {ratio:>6} | {allocations:>11} | {bytes:>15} |"
        )
        .expect("a string takes everything");
    };
    line(["case", "instructions", "before", "ratio", "allocations", "allocated bytes"]);
    line([&"-".repeat(width), "-----------:", "-----------:", "-----:", "----------:", "--------------:"]);
    for case in new {
        let number = |case: &Value, figure: &str| case[figure].as_f64();
        let was = before.get(&name(case)).and_then(|case| number(case, "instructions"));
        let now = number(case, "instructions");
        let ratio = now.zip(was).filter(|(_, was)| *was > 0.0).map(|(now, was)| now / was);
        let shown = |value: Option<f64>, places: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
        };
        line([
            &name(case),
            &shown(now, 0),
            &shown(was, 0),
            &shown(ratio, 3),
            &shown(number(case, "allocations"), 1),
            &shown(number(case, "allocated_bytes"), 0),
        ]);
    }
    for gone in before.keys().filter(|gone| new.iter().all(|case| name(case) != **gone)) {
        line([gone, "gone", "", "", "", ""]);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn this_commit_stands_beside_the_one_before() {
        let new = [
            json!({ "case": "a", "instructions": 90.0, "allocations": 1.5, "allocated_bytes": 64.0 }),
            json!({ "case": "fresh", "instructions": 7.0 }),
        ];
        let old =
            [json!({ "case": "a", "instructions": 100.0 }), json!({ "case": "lost", "instructions": 1.0 })];
        let table = table(&new, Some(&old));
        let cells: Vec<Vec<&str>> =
            table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
        assert_eq!(cells[2][1..7], ["a", "90", "100", "0.900", "1.5", "64"]);
        assert_eq!(cells[3][1..5], ["fresh", "7", "-", "-"]);
        assert_eq!(cells[4][1..3], ["lost", "gone"]);
    }

    #[test]
    fn without_a_commit_before_there_is_no_ratio() {
        let new = [json!({ "case": "a", "instructions": 90.0 })];
        assert!(
            table(&new, None)
                .lines()
                .nth(2)
                .is_some_and(|line| line.contains("| 90 |") || line.contains("90"))
        );
    }
}
