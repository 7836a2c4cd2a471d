//! `angarium slow`: what the flight recorder has taken down, newest last.

use std::path::Path;

use base::Timestamp;
use serde_json::Value;
use shard::Wait;

use crate::cli::SlowArgs;
use crate::{Config, Exit, Failure, Host, Request, print};

/// Asks the server and prints.
pub(crate) fn slow(args: &SlowArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let config = config_of(args.data.as_deref(), file)?;
    let found = host.server(&config)?.call(&Request::Slow { shard: args.shard }, &[])?.json;
    if is_json {
        print::answer(&found, true);
        return Ok(Exit::Done);
    }
    let kept = found.as_array().map_or(&[][..], Vec::as_slice);
    print::text(if kept.is_empty() { "none" } else { HEAD });
    for slow in kept {
        print::text(&line(slow));
    }
    Ok(Exit::Done)
}

/// A configuration that leads to the server of a store, which may be none that a file describes (a demo's).
pub(crate) fn config_of(data: Option<&Path>, file: &Path) -> Result<Config, Failure> {
    let Some(data) = data else { return Ok(Config::read(file)?) };
    let mut config = Config::default();
    data.clone_into(&mut config.server.data);
    Ok(config)
}

/// The columns of [`line`]; times in milliseconds.
const HEAD: &str = "\
at (UTC)            connection what               account     ms   work   turn  store  other network password";

fn line(slow: &Value) -> String {
    let at = Timestamp::from_ms(slow["at_ms"].as_i64().unwrap_or(0));
    let (year, month, day, hour, minute, second) = at.civil_utc();
    let at = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    let connection = format!("{}-{}", slow["shard"], slow["connection"]);
    let what = format!("{} {}", text(&slow["protocol"]), text(&slow["operation"]));
    let account = slow["account"].as_u64().map_or_else(|| "-".to_owned(), |account| account.to_string());
    let [turn, store, other, network, password] = Wait::ALL.map(|wait| number(slow, wait.name()));
    let (total, work) = (number(slow, "total"), number(slow, "work"));
    format!(
        "{at:<19} {connection:<10} {what:<18} {account:>7} {total:>6} {work:>6} {turn:>6} {store:>6} {other:>6} {network:>7} {password:>8}"
    )
}

fn number(slow: &Value, name: &str) -> u64 {
    slow[format!("{name}_ms")].as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_when_who_what_and_where_the_time_went() {
        let slow = json!({
            "at_ms": 1_767_225_600_123_i64, "shard": 1, "connection": 17, "protocol": "imap", "operation": "fetch",
            "account": 7, "total_ms": 90, "work_ms": 20, "turn_ms": 1, "store_ms": 2, "other_shard_ms": 3,
            "network_ms": 64, "password_ms": 0,
        });
        let line = line(&slow);
        let words: Vec<&str> = line.split_whitespace().collect();
        let times = ["90", "20", "1", "2", "3", "64", "0"];
        assert_eq!(words[..6], ["2026-01-01", "00:00:00", "1-17", "imap", "fetch", "7"]);
        assert_eq!(words[6..], times);
        assert_eq!(line.len(), HEAD.len());
    }
}
