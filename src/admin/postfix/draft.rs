//! What is written: tables of angarium.toml, what has no counterpart, and commands. Every piece is shown to the reader
//! of the configuration before it goes in, so that the whole is one that it accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::limits::POSTFIX_SHOWN_CHARS_MAX;
use crate::{Config, Exit, Failure};

/// Where a setting comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) parameter: &'a str,
    pub(super) value: &'a str,
}

/// A parameter that is not taken over, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Note {
    pub(super) parameter: String,
    pub(super) value: String,
    pub(super) why: String,
}

/// Tables of which there may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Block {
    Certificate,
    Pool,
    Route,
    Destination,
    Filter,
    List,
    DnsList,
    Limit,
    PreGreet,
    Rule,
    FlowRule,
}

/// Tables of which there is one, in the order in which they are written.
const TABLES: [&str; 5] = ["server", "listen", "outbound", "limits", "store"];

#[derive(Debug, Default)]
pub(super) struct Draft {
    settings: BTreeMap<&'static str, Vec<String>>,
    blocks: BTreeMap<Block, Vec<String>>,
    names: BTreeSet<String>,
    told: BTreeSet<Note>,
    pub(super) unmatched: Vec<Note>,
    /// What needs nothing done.
    pub(super) settled: Vec<Note>,
    /// Lines of the shell script.
    pub(super) commands: Vec<String>,
}

impl Block {
    const fn head(self) -> &'static str {
        match self {
            Self::Certificate => "[[tls.certificates]]",
            Self::Pool => "[[outbound.pool]]",
            Self::Route => "[[outbound.route]]",
            Self::Destination => "[[outbound.destination]]",
            Self::Filter => "[[filter]]",
            Self::List => "[[policy.list]]",
            Self::DnsList => "[[policy.dnslist]]",
            Self::Limit => "[[policy.limit]]",
            Self::PreGreet => "[policy.pregreet]",
            Self::Rule => "[[policy.rule]]",
            Self::FlowRule => "[[mailflow.rule]]",
        }
    }
}

impl Draft {
    /// Names what has no counterpart.
    pub(super) fn unmatched(&mut self, origin: Origin<'_>, why: impl Into<String>) {
        let note = note(origin, why.into());
        if self.told.insert(note.clone()) {
            self.unmatched.push(note);
        }
    }

    /// Names what is so without a setting.
    pub(super) fn settled(&mut self, origin: Origin<'_>, why: impl Into<String>) {
        let note = note(origin, why.into());
        if self.told.insert(note.clone()) {
            self.settled.push(note);
        }
    }

    /// Adds one setting.
    pub(super) fn set(&mut self, origin: Origin<'_>, table: &'static str, key: &str, value: &str) {
        self.set_all(origin, &[(table, key, value.to_owned())]);
    }

    /// Adds settings that only hold together.
    pub(super) fn set_all(&mut self, origin: Origin<'_>, all: &[(&'static str, &str, String)]) {
        let mut trial: BTreeMap<&str, String> = BTreeMap::new();
        for (table, key, value) in all {
            let text = trial.entry(table).or_insert_with(|| format!("[{table}]\n"));
            let _never_fails = writeln!(text, "{key} = {value}");
        }
        if let Err(why) = accepted(&trial.into_values().collect::<String>()) {
            self.unmatched(origin, why);
            return;
        }
        for (table, key, value) in all {
            self.remark(table, origin);
            self.settings.entry(table).or_default().push(format!("{key} = {value}"));
        }
    }

    /// Adds a comment that says where the next setting comes from.
    fn remark(&mut self, table: &'static str, origin: Origin<'_>) {
        if !origin.parameter.is_empty() {
            let line = format!("# {}", shown(origin));
            let lines = self.settings.entry(table).or_default();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }

    /// Adds lines that the operator may make settings by taking the `#` away.
    pub(super) fn suggest(&mut self, origin: Origin<'_>, table: &'static str, lines: &[String]) {
        self.remark(table, origin);
        let lines = lines.iter().map(|line| format!("# {}", one_line(line)));
        self.settings.entry(table).or_default().extend(lines);
    }

    /// Adds a table with what it needs, each of them once. Says whether it was accepted.
    pub(super) fn block(
        &mut self,
        origin: Origin<'_>,
        block: Block,
        lines: &str,
        needs: &[(Block, String)],
    ) -> bool {
        let mut trial = String::new();
        for (block, lines) in needs {
            let _never_fails = write!(trial, "{}\n{lines}\n", block.head());
        }
        let _never_fails = write!(trial, "{}\n{lines}\n", block.head());
        let is_full = self.blocks.get(&block).is_some_and(|all| all.len() >= policy::RULES_MAX);
        let full = || {
            Err(format!(
                "there are more than {} of these: put names and networks into lists",
                policy::RULES_MAX
            ))
        };
        if let Err(why) = if is_full { full() } else { accepted(&trial) } {
            self.unmatched(origin, why);
            return false;
        }
        for (block, lines) in needs {
            let there = self.blocks.entry(*block).or_default();
            let is_there = there.iter().any(|one| one.ends_with(lines.as_str()));
            if !is_there {
                there.push(lines.clone());
            }
        }
        let text = format!("# {}\n{lines}", shown(origin));
        self.blocks.entry(block).or_default().push(text);
        true
    }

    /// Adds a setting that names a table, and the table. Says whether they were accepted.
    pub(super) fn set_naming(
        &mut self,
        origin: Origin<'_>,
        (table, key, value): (&'static str, &str, &str),
        (block, lines): (Block, &str),
    ) -> bool {
        let trial = format!("[{table}]\n{key} = {value}\n{}\n{lines}\n", block.head());
        if let Err(why) = accepted(&trial) {
            self.unmatched(origin, why);
            return false;
        }
        self.remark(table, origin);
        self.settings.entry(table).or_default().push(format!("{key} = {value}"));
        self.blocks.entry(block).or_default().push(lines.to_owned());
        true
    }

    /// A name that no other block has, of letters, digits, `-`, `_` and `.` only.
    pub(super) fn plain_name(&mut self, wanted: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let clean: String = wanted.chars().map(|c| if is_plain(c) { c } else { '-' }).take(80).collect();
        let mut name = clean.clone();
        for number in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{clean}-{number}");
        }
        name
    }

    /// A name that no other block has.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        let clean = printable(wanted);
        let mut name = clean.clone();
        for number in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{clean} {number}");
        }
        name
    }

    /// angarium.toml, without what only people read.
    fn tables(&self) -> String {
        let mut out = String::new();
        for table in TABLES {
            if let Some(lines) = self.settings.get(table) {
                let _never_fails = write!(out, "\n[{table}]\n{}\n", lines.join("\n"));
            }
            if table == "server" {
                self.write_blocks(&mut out, |block| block == Block::Certificate);
            }
        }
        self.write_blocks(&mut out, |block| block != Block::Certificate);
        out
    }

    fn write_blocks(&self, out: &mut String, is_wanted: impl Fn(Block) -> bool) {
        for (block, all) in self.blocks.iter().filter(|(block, _)| is_wanted(**block)) {
            for lines in all {
                let _never_fails = write!(out, "\n{}\n{lines}\n", block.head());
            }
        }
    }

    /// The whole file. With `has_script` the commands are elsewhere.
    pub(super) fn config(&self, folder: &Path, has_script: bool) -> Result<String, Failure> {
        let mut out = format!(
            "# Made by `angarium config from-postfix` of {}. Read docs/operate/postfix.md before you serve with it.\n",
            one_line(&folder.display().to_string())
        );
        out += &self.tables();
        if !self.unmatched.is_empty() {
            out += "\n# What has no counterpart in this file, and what to do:\n#\n";
            for note in &self.unmatched {
                let _never_fails = writeln!(out, "# {}\n#     {}", shown(note.origin()), one_line(&note.why));
            }
        }
        if !self.settled.is_empty() {
            out += "\n# What needs nothing done:\n#\n";
            for note in &self.settled {
                let _never_fails = writeln!(out, "# {}: {}", shown(note.origin()), one_line(&note.why));
            }
        }
        if !has_script && !self.commands.is_empty() {
            out += "\n# Domains, accounts and aliases are not in this file. Commands that make them (--commands FILE writes a script):\n#\n";
            for command in &self.commands {
                let _never_fails = writeln!(out, "{}", format!("# {}", printable(command)).trim_end());
            }
        }
        accepted(&out).map(|()| out).map_err(|why| {
            let words = format!("the configuration that was made is not accepted, which is a bug: {why}");
            Failure::new(Exit::Internal, words)
        })
    }

    /// The commands without what only people read.
    pub(super) fn bare_commands(&self) -> Vec<&String> {
        self.commands.iter().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    /// The commands as a script that may run twice.
    pub(super) fn script(&self, folder: &Path, config: &Path) -> String {
        let mut out = format!(
            "#!/bin/sh\n# Domains, accounts and aliases of the Postfix in {}.\n# May be run again: what is there already (73) is left as it is.\nset -eu\nangarium() {{ command angarium --config {} \"$@\" || [ \"$?\" -eq 73 ]; }}\n\n",
            one_line(&folder.display().to_string()),
            word(&config.display().to_string()),
        );
        for command in &self.commands {
            let _never_fails = writeln!(out, "{command}");
        }
        out
    }

    pub(super) fn notes(notes: &[Note]) -> Value {
        let row = |note: &Note| json!({ "parameter": note.parameter, "value": note.value, "why": note.why });
        Value::Array(notes.iter().map(row).collect())
    }
}

impl Note {
    fn origin(&self) -> Origin<'_> {
        Origin { parameter: &self.parameter, value: &self.value }
    }
}

fn note(origin: Origin<'_>, why: String) -> Note {
    Note { parameter: origin.parameter.to_owned(), value: public(origin), why }
}

/// Whether the configuration's own reader takes it.
pub(super) fn accepted(text: &str) -> Result<(), String> {
    Config::parse(Path::new("angarium.toml"), text).map(|_| ()).map_err(|error| error.message)
}

/// The value on one line, without passwords that stand in the parameter itself.
fn public(origin: Origin<'_>) -> String {
    let value = one_line(origin.value);
    if !origin.parameter.contains("sasl_password_maps") {
        return value;
    }
    let hides = |word: &str| ["inline:", "static:"].iter().find(|kind| word.contains(*kind)).copied();
    let all = super::lines::words(&value).into_iter().map(|word| hides(word).unwrap_or(word));
    all.collect::<Vec<_>>().join(" ")
}

/// `parameter = value` on one line, shortened.
fn shown(origin: Origin<'_>) -> String {
    let value = public(origin);
    let mut short: String = value.chars().take(POSTFIX_SHOWN_CHARS_MAX).collect();
    if short.len() < value.len() {
        short += " ...";
    }
    let line = format!("{} = {short}", one_line(origin.parameter));
    line.trim_end().to_owned()
}

/// What a comment may hold.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text that stays on its line and within its comment.
fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _never_fails = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of texts of TOML.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", all.join(", "))
}

/// A word of a shell command, quoted where it must be.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._+=:/-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin { parameter: "x", value: "a\nb" };

    #[test]
    fn nothing_gets_in_that_would_be_refused() {
        let mut draft = Draft::default();
        draft.set(ORIGIN, "limits", "recipients_max", "5");
        draft.set(ORIGIN, "limits", "recipients_max", "500");
        assert!(!draft.block(
            ORIGIN,
            Block::Rule,
            "name = \"x\"\nstage = \"nowhere\"\nthen = \"accept\"",
            &[]
        ));
        let listed = (Block::List, "name = \"l\"\nentries = [\"192.0.2.1\"]".to_owned());
        for name in ["a", "b"] {
            let rule = format!(
                "name = \"{name}\"\nstage = \"rcpt\"\nwhen = {{ source = \"list:l\" }}\nthen = \"accept\""
            );
            assert!(draft.block(ORIGIN, Block::Rule, &rule, std::slice::from_ref(&listed)));
        }
        let config = draft.config(Path::new("/etc/postfix"), false).unwrap();
        assert_eq!(config.matches("[[policy.list]]").count(), 1);
        assert!(config.contains("recipients_max = 500") && !config.contains("\nrecipients_max = 5\n"));
        assert_eq!(draft.unmatched.len(), 2);
        assert_eq!(draft.unmatched[0].value, "a b");
    }

    #[test]
    fn words_and_texts_are_quoted() {
        assert_eq!(word("ann+x@example.org"), "ann+x@example.org");
        assert_eq!(word("o'neil@example.org; rm -rf $HOME"), "'o'\\''neil@example.org; rm -rf $HOME'");
        assert_eq!(word(""), "''");
        assert_eq!(quoted("a\"b\\\u{7f}\n"), "\"a\\\"b\\\\\\u007F\\u000A\"");
    }

    #[test]
    fn names_are_given_once() {
        let mut draft = Draft::default();
        assert_eq!(
            (draft.name("a"), draft.name("a"), draft.name("a")),
            ("a".into(), "a 2".into(), "a 3".into())
        );
    }
}
