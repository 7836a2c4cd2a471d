//! Answers for people: tables and sentences. With `--json` the answer itself is printed.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::Exit;

/// A line on standard output.
macro_rules! say {
    ($($words:tt)*) => {
        written(writeln!(std::io::stdout(), $($words)*))
    };
}

/// Whoever reads may have gone (`| head`): that is no error. An answer that cannot be written is one.
fn written(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _closed = writeln!(std::io::stderr(), "angarium: the answer cannot be written: {error}");
        std::process::exit(Exit::Io as i32);
    }
}

/// Prints an answer.
pub(crate) fn answer(value: &Value, is_json: bool) {
    if is_json {
        say!("{value}");
        return;
    }
    match value {
        Value::Array(rows) if rows.is_empty() => say!("none"),
        Value::Array(rows) if rows.iter().all(Value::is_object) => say!("{}", table(rows)),
        Value::Array(rows) => rows.iter().for_each(|row| say!("{}", plain(row))),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Array(rows) if rows.iter().all(Value::is_object) && !rows.is_empty() => {
                        say!("{name}:\n{}", table(rows));
                    }
                    _ => say!("{name}: {}", plain(field)),
                }
            }
        }
        other => say!("{}", plain(other)),
    }
}

/// The bar of long work; drawn on standard error, and only where that is a terminal.
pub(crate) fn progress_bar() -> ProgressBar {
    let form = "{bar:40} {percent:>3}%  {msg}  {elapsed} (left: {eta})";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Prints text as it is.
pub(crate) fn text(text: &str) {
    say!("{text}");
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
