//! `angarium slow`: what the flight recorder has taken down, newest last.

use std::path::{Path, PathBuf};

use base::Timestamp;
use clap::Args;
use serde_json::{Value, json};
use shard::Wait;

use crate::{Config, Exit, Failure, Host, Request, print};

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    /// Of this shard alone.
    #[arg(long, value_name = "N")]
    shard: Option<u16>,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Asks the server and prints.
pub(crate) fn slow(args: &SlowArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let config = config_of(args.data.as_deref(), file)?;
    let found = host.server(&config)?.call(&Request::Slow { shard: args.shard }, &[])?.json;
    if is_json {
        print::answer(&found, true);
    } else {
        let rows: Vec<Value> = found.as_array().into_iter().flatten().map(row).collect();
        print::answer(&Value::Array(rows), false);
    }
    Ok(Exit::Done)
}

/// A configuration that leads to the server of a store, which may be none that a file describes (a demo's).
pub(crate) fn config_of(data: Option<&Path>, file: &Path) -> Result<Config, Failure> {
    let Some(data) = data else { return Ok(Config::read(file)?) };
    let mut config = Config::default();
    config.server.data = data.to_owned();
    Ok(config)
}

/// As one line of a table; times in milliseconds.
fn row(slow: &Value) -> Value {
    let at = Timestamp::from_ms(slow["at_ms"].as_i64().unwrap_or(0));
    let (year, month, day, hour, minute, second) = at.civil_utc();
    let mut row = json!({
        "at (UTC)": format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
        "connection": format!("{}-{}", slow["shard"], slow["connection"]),
        "what": format!("{} {}", text(&slow["protocol"]), text(&slow["operation"])),
        "account": slow["account"],
        "ms": slow["total_ms"],
        "work": slow["work_ms"],
    });
    for wait in Wait::ALL {
        row[wait.name().replace('_', " ")] = slow[format!("{}_ms", wait.name())].clone();
    }
    row
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_when_who_what_and_where_the_time_went() {
        let slow = json!({
            "at_ms": 1_767_225_600_123_i64, "shard": 1, "connection": 17, "protocol": "imap", "operation": "fetch",
            "account": 7, "total_ms": 90, "work_ms": 20, "turn_ms": 1, "store_ms": 2, "other_shard_ms": 3,
            "network_ms": 64, "password_ms": 0,
        });
        let row = row(&slow);
        assert_eq!(row["at (UTC)"], "2026-01-01 00:00:00");
        assert_eq!((&row["connection"], &row["what"]), (&json!("1-17"), &json!("imap fetch")));
        assert_eq!((&row["network"], &row["other shard"], &row["work"]), (&json!(64), &json!(3), &json!(20)));
    }
}
