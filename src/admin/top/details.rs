//! What is said about one shard, or about all of them.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::rates::{Open, PROTOCOLS, Row};
use super::words::{bytes, count, seconds, share};

/// The operations that there is room for.
const OPERATIONS_SHOWN: usize = 4;

pub(super) fn details(row: &Row, accent: Style) -> Vec<Line<'static>> {
    let [first, second] = operations(row);
    let lines = [
        ("Connections", connections(row)),
        (
            "Traffic",
            format!(
                "in {}/s  out {}/s   logins {}/s, denied {}/s   refused {}/s",
                bytes(row.received_bytes),
                bytes(row.sent_bytes),
                count(row.logins),
                count(row.logins_denied),
                count(row.rejected),
            ),
        ),
        (
            "Commits",
            format!(
                "{}/s of {} transactions, {}   in flight {}, waiting {}",
                count(row.commits),
                row.commit_transactions.mean().map_or_else(|| "-".to_owned(), count),
                row.commit_bytes.mean().map_or_else(|| "-".to_owned(), bytes),
                count(row.gauge("angarium_commits_in_flight")),
                count(row.gauge("angarium_transactions_pending")),
            ),
        ),
        (
            "Inbox",
            format!(
                "{} jobs/s, {} waiting, {} at most   turns {}/s, watchdog {}/s",
                count(row.jobs),
                count(row.waiting),
                count(row.waiting_max),
                count(row.turns),
                count(row.wakes),
            ),
        ),
        (
            "Memory",
            format!(
                "content {} of {}   fresh index {}   directory {}",
                bytes(row.gauge("angarium_content_bytes")),
                bytes(row.gauge("angarium_content_limit_bytes")),
                bytes(row.gauge("angarium_fresh_index_bytes")),
                count(row.gauge("angarium_directory_cached")),
            ),
        ),
        (
            "Disk",
            format!(
                "log {}, to replay {}   index {} in {} files",
                bytes(row.gauge("angarium_journal_bytes")),
                bytes(row.gauge("angarium_replay_bytes")),
                bytes(row.gauge("angarium_index_bytes")),
                count(row.gauge("angarium_index_runs")),
            ),
        ),
        ("Compaction", compaction(row)),
        ("Operations", first),
        ("", second),
        ("Slow", format!("{} taken down since the start: angarium slow", count(row.slow_in_all))),
    ];
    let line = |(name, words): (&'static str, String)| {
        Line::from(vec![Span::styled(format!("{name:<12} "), accent), Span::raw(words)])
    };
    lines.into_iter().map(line).collect()
}

fn connections(row: &Row) -> String {
    let open = |open: &Open| match open.tls {
        0.0 => count(open.plain),
        tls => format!("{}+{} TLS", count(open.plain), count(tls)),
    };
    let all = PROTOCOLS.iter().zip(&row.open).map(|(name, one)| format!("{name} {}", open(one)));
    all.collect::<Vec<_>>().join("  ")
}

fn compaction(row: &Row) -> String {
    let (stored, dead) =
        (row.gauge("angarium_body_bytes_total"), row.gauge("angarium_dead_body_bytes_total"));
    let part = if stored > 0.0 { format!(" ({})", share(dead / stored)) } else { String::new() };
    format!("since the start {} stored, {} deleted{part}", bytes(stored), bytes(dead))
}

/// The most frequent operations, on two lines.
fn operations(row: &Row) -> [String; 2] {
    let words: Vec<String> = row
        .operations
        .iter()
        .take(OPERATIONS_SHOWN)
        .map(|(protocol, operation, times)| {
            let (half, most) = (seconds(times.quantile(0.5)), seconds(times.quantile(0.99)));
            let what = format!("{protocol} {operation}");
            format!("{what:<18} {half:>6} {most:>6}")
        })
        .collect();
    let lines: Vec<String> = words.chunks(2).map(|pair| pair.join("  ")).collect();
    let nothing = || "none (half of them took, 99 of 100 took)".to_owned();
    [lines.first().cloned().unwrap_or_else(nothing), lines.get(1).cloned().unwrap_or_default()]
}
