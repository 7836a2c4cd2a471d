//! The page and the dashboard for operators name the metrics there are, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use shard::{FAMILIES, Kind};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words of a text that are names of metrics by their look.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("angarium_") || word.starts_with("process_")).collect()
}

/// The names under which a metric is fetched: a histogram has three.
fn exposed() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for family in FAMILIES {
        match family.kind {
            Kind::Histogram { .. } => {
                all.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)));
            }
            Kind::Counter | Kind::Gauge => {
                all.insert(family.name.to_owned());
            }
        }
    }
    all
}

#[test]
fn the_page_has_a_row_for_every_metric() {
    let page = read("monitor.md");
    let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(&names(&page) - &known, BTreeSet::new(), "monitor.md names what is not there");
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let own = family.labels.iter().copied();
        let shard = (!family.is_of_process).then_some("shard");
        let labels = shard.into_iter().chain(own).collect::<Vec<_>>().join(" ");
        let row = format!("| `{}` | {kind} | {labels} | ", family.name);
        assert!(
            page.lines().any(|line| line.starts_with(&row)),
            "monitor.md lacks a row that begins with {row}"
        );
    }
}

/// Every string of a JSON text.
fn strings<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, all)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn the_dashboard_asks_for_every_metric_and_for_nothing_else() {
    let text = read("grafana-angarium.json");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut all = Vec::new();
    strings(&dashboard, &mut all);
    let asked: BTreeSet<String> = all.iter().flat_map(|text| names(text)).map(str::to_owned).collect();
    let exposed = exposed();
    assert_eq!(&asked - &exposed, BTreeSet::new(), "the dashboard asks for what is not there");
    for family in FAMILIES.iter().filter(|family| family.name != "process_start_time_seconds") {
        let is_asked = asked.iter().any(|name| name.starts_with(family.name));
        assert!(is_asked, "the dashboard has no panel for {}", family.name);
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value =
        serde_json::from_str(&read("grafana-angarium.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let ids: BTreeSet<_> =
        panels.iter().map(|panel| panel["id"].as_u64().expect("each has a number")).collect();
    assert_eq!(ids.len(), panels.len(), "numbers are given once");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!panel["title"].as_str().expect("a title").is_empty());
        let targets = panel["targets"].as_array().expect("something to show");
        assert!(!targets.is_empty());
        for target in targets {
            let asked = target["expr"].as_str().expect("a query");
            let pairs = [('(', ')'), ('[', ']'), ('{', '}')];
            let is_paired = pairs
                .iter()
                .all(|(open, close)| asked.matches(*open).count() == asked.matches(*close).count());
            assert!(is_paired, "{asked}");
        }
    }
}
