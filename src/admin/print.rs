//! Answers for people: tables and sentences. With `--json` the answer itself is printed.

#![expect(clippy::print_stdout, reason = "this is where the command line speaks")]

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use serde_json::Value;

/// Prints an answer.
pub(crate) fn answer(value: &Value, is_json: bool) {
    if is_json {
        println!("{value}");
        return;
    }
    match value {
        Value::Array(rows) if rows.is_empty() => println!("none"),
        Value::Array(rows) if rows.iter().all(Value::is_object) => println!("{}", table(rows)),
        Value::Array(rows) => rows.iter().for_each(|row| println!("{}", plain(row))),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Array(rows) if rows.iter().all(Value::is_object) && !rows.is_empty() => {
                        println!("{name}:\n{}", table(rows));
                    }
                    _ => println!("{name}: {}", plain(field)),
                }
            }
        }
        other => println!("{}", plain(other)),
    }
}

/// Prints text as it is.
pub(crate) fn text(text: &str) {
    println!("{text}");
}

fn table(rows: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    if let Some(Value::Object(first)) = rows.first() {
        table.set_header(first.keys());
        for row in rows {
            table.add_row(first.keys().map(|key| plain(&row[key])));
        }
    }
    table
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
