//! What a run is called when it stands beside others: whose server, which case, which round.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::machine;

/// Options that change nothing in a run and go into its result.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Tags {
    /// Goes into the result: whose server this is, such as dovecot. `report` compares by it.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Result")]
    pub(crate) peer: Option<String>,
    /// Goes into the result: the server's version.
    #[arg(long, global = true, value_name = "TEXT", help_heading = "Result")]
    pub(crate) peer_version: Option<String>,
    /// Goes into the result: what is compared. Runs of one case are alike in all but peer and round.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Result")]
    pub(crate) case: Option<String>,
    /// Goes into the result: which repetition this is. Runs of one round are compared with each other.
    #[arg(long, global = true, value_name = "N", help_heading = "Result")]
    pub(crate) round: Option<u32>,
    /// Goes into the result: shards, workers or cores that the server has. `report` draws scaling over it.
    #[arg(long, global = true, value_name = "N", help_heading = "Result")]
    pub(crate) shards: Option<u32>,
    /// Where the server's data lies: its file system and device go into the result.
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Result")]
    pub(crate) data_folder: Option<PathBuf>,
}

impl Tags {
    /// What every line says, whether its run went well or not.
    pub(crate) fn line(&self, scenario: &str) -> Map<String, Value> {
        let (commit, commit_from) = commit();
        let folder = self.data_folder.as_deref().unwrap_or(Path::new("."));
        let line = json!({
            "scenario": scenario,
            "peer": self.peer,
            "peer_version": self.peer_version,
            "case": self.case,
            "round": self.round,
            "shards": self.shards,
            "bench_version": env!("CARGO_PKG_VERSION"),
            "bench_commit": commit,
            "bench_commit_from": commit_from,
            "at_ms": crate::clock::unix_ms(),
            "command": command_line(std::env::args()),
            "machine": machine::machine(folder),
        });
        let Value::Object(line) = line else { unreachable!("written as an object above") };
        line
    }
}

/// The commit that this program was made from, and how that is known: what `ANGARIUM_COMMIT` said when it was
/// built, or what it says now, or what git says of the checkout that the program lies in.
fn commit() -> (Option<String>, &'static str) {
    if let Some(commit) = option_env!("ANGARIUM_COMMIT") {
        return (Some(commit.into()), "ANGARIUM_COMMIT at build time");
    }
    if let Ok(commit) = std::env::var("ANGARIUM_COMMIT") {
        return (Some(commit), "ANGARIUM_COMMIT when it ran");
    }
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(Path::parent);
    let said = folder.and_then(|folder| {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).args(["describe", "--always", "--dirty", "--abbrev=12"]);
        git.output().ok().filter(|output| output.status.success())
    });
    let commit = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if commit.is_some() { (commit, "git describe where the program lies") } else { (None, "unknown") }
}

/// The command line as one would type it again, without the password.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut is_secret = false;
    let words = arguments.enumerate().map(|(at, word)| {
        let hide = std::mem::replace(&mut is_secret, word == "--password");
        if at == 0 {
            "angarium-bench".into()
        } else if hide {
            "...".into()
        } else if word.starts_with("--password=") {
            "--password=...".into()
        } else {
            quoted(word)
        }
    });
    words.collect::<Vec<String>>().join(" ")
}

/// A word as a shell takes it.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_keeps_all_but_the_password() {
        let said = |words: &[&str]| command_line(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(
            said(&["/x/bench", "login", "--password", "s e", "--user", "a b"]),
            "angarium-bench login --password ... --user 'a b'"
        );
        assert_eq!(
            said(&["b", "--password=secret", "--label", ""]),
            "angarium-bench --password=... --label ''"
        );
    }
}
