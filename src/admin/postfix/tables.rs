//! Lookup tables, as far as they are text: `hash:` and its like by the file that postmap reads, `texthash:`, `inline:`,
//! `static:`, `cidr:`, `regexp:`, `pcre:`, alias files and lists of words. What is a database elsewhere is not asked.

use std::path::{Path, PathBuf};

use super::lines::{logical, unbraced, words};
use crate::limits::POSTFIX_FILE_BYTES_MAX;

/// The files of the machine whose Postfix is read.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Where its `/` lies here.
    root: PathBuf,
    /// Where main.cf lies, for names that begin with no slash.
    folder: PathBuf,
}

/// What a table says of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Each key is found by itself, whatever their order; keys are in lower case.
    Keys(Vec<(String, String)>),
    /// The first network that has an address counts.
    Networks(Vec<(String, String)>),
    /// The first pattern that matches counts.
    Patterns(Vec<(Pattern, String)>),
    /// One answer to all.
    Always(String),
}

/// `/regular expression/flags`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) expression: String,
    pub(super) flags: String,
    /// `!` in front, or within `if`: not just this expression decides.
    pub(super) is_simple: bool,
}

impl Files {
    pub(super) fn new(root: &Path, folder: &Path) -> Self {
        Self { root: root.to_owned(), folder: folder.to_owned() }
    }

    /// The text of a file that Postfix names; the error says why there is none.
    pub(super) fn read(&self, name: &str) -> Result<String, String> {
        let path = match name.strip_prefix('/') {
            Some(below) => self.root.join(below),
            None => self.folder.join(name),
        };
        read_text(&path)
    }

    /// Reads `type:name`.
    pub(super) fn table(&self, spec: &str, usual_kind: &str) -> Result<Table, String> {
        let spec = spec.strip_prefix("proxy:").unwrap_or(spec);
        let (kind, name) = match spec.split_once(':') {
            Some((kind, name)) => (kind, name.trim()),
            None => (usual_kind, spec),
        };
        match kind {
            "hash" | "btree" | "lmdb" | "cdb" | "dbm" | "sdbm" | "texthash" => {
                self.read(name).map(|text| Table::Keys(keys(&text)))
            }
            "inline" => Ok(Table::Keys(inline(name))),
            "static" => Ok(Table::Always(unbraced(name).to_owned())),
            "cidr" => self.read(name).and_then(|text| networks(&text)).map(Table::Networks),
            "regexp" | "pcre" => self.read(name).map(|text| Table::Patterns(patterns(&text))),
            "unix" | "environ" => Err("it is about the machine's users, not a file of mail's".to_owned()),
            _ => Err(format!("{kind}: is a database, which is not asked here")),
        }
    }

    /// The keys of a table, or the words of a file: what a list such as mydestination means by one of its items.
    pub(super) fn items(&self, item: &str) -> Result<Vec<String>, String> {
        if item.starts_with('/') {
            let text = self.read(item)?;
            return Ok(logical(&text).iter().flat_map(|line| words(&line.text)).map(str::to_owned).collect());
        }
        let is_table = item
            .split_once(':')
            .is_some_and(|(kind, _)| kind.len() > 1 && kind.chars().all(|c| c.is_ascii_lowercase()));
        if !is_table {
            return Ok(vec![item.to_owned()]);
        }
        match self.table(item, "")? {
            Table::Keys(keys) | Table::Networks(keys) => Ok(keys.into_iter().map(|(key, _)| key).collect()),
            Table::Patterns(_) | Table::Always(_) => {
                Err("its patterns name nothing that could be listed".to_owned())
            }
        }
    }

    /// The entries of alias files: names and what they stand for.
    pub(super) fn aliases(&self, spec: &str, usual_kind: &str) -> Result<Vec<(String, Vec<String>)>, String> {
        let bare = spec.strip_prefix("proxy:").unwrap_or(spec);
        let (kind, name) = bare.split_once(':').unwrap_or((usual_kind, bare));
        if ["hash", "btree", "lmdb", "cdb", "dbm", "sdbm"].contains(&kind) {
            return self.read(name).map(|text| alias_lines(&text));
        }
        match self.table(spec, usual_kind)? {
            Table::Keys(keys) => Ok(keys.into_iter().map(|(key, value)| (key, targets(&value))).collect()),
            _ => Err("its patterns name nothing that could be listed".to_owned()),
        }
    }
}

/// A whole text file; bytes that are no UTF-8 are replaced, since Postfix takes any.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let broken = |error: std::io::Error| format!("{}: {error}", path.display());
    let about = std::fs::metadata(path).map_err(broken)?;
    if !about.is_file() {
        return Err(format!("{}: this is no file", path.display()));
    }
    if about.len() > POSTFIX_FILE_BYTES_MAX {
        return Err(format!("{}: it has more than {POSTFIX_FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(path).map_err(broken).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn keys(text: &str) -> Vec<(String, String)> {
    let lines = logical(text).into_iter();
    lines.filter_map(|line| key_and_value(&line.text)).collect()
}

fn key_and_value(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (key, value) = line.split_once(char::is_whitespace)?;
    Some((key.to_lowercase(), value.trim().to_owned()))
}

fn inline(text: &str) -> Vec<(String, String)> {
    let entry = |word: &str| {
        let (key, value) = unbraced(word).split_once('=')?;
        let entry = (key.trim().to_lowercase(), value.trim().to_owned());
        (!entry.0.is_empty()).then_some(entry)
    };
    words(unbraced(text)).into_iter().filter_map(entry).collect()
}

fn networks(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for line in logical(text) {
        let odd = ["if ", "if\t", "endif", "!"].iter().any(|word| line.text.starts_with(word));
        match key_and_value(&line.text).filter(|_| !odd) {
            Some(entry) => found.push(entry),
            None => return Err(format!("line {} is no network with a result", line.number)),
        }
    }
    Ok(found)
}

fn patterns(text: &str) -> Vec<(Pattern, String)> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    for line in logical(text) {
        let word = line.text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "if" => depth += 1,
            "endif" => depth = depth.saturating_sub(1),
            _ => {
                let (is_negated, text) = match line.text.strip_prefix('!') {
                    Some(rest) => (true, rest.trim_start()),
                    None => (false, line.text.as_str()),
                };
                let Some((expression, rest)) = delimited(text) else { continue };
                let (flags, result) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let pattern =
                    Pattern { expression, flags: flags.to_owned(), is_simple: !is_negated && depth == 0 };
                found.push((pattern, result.trim().to_owned()));
            }
        }
    }
    found
}

/// The text up to the delimiter with which it begins; behind a backslash it is not one.
fn delimited(text: &str) -> Option<(String, &str)> {
    let open = text.chars().next().filter(char::is_ascii_punctuation)?;
    let mut expression = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == open {
            return Some((expression, text.get(at + 1..)?));
        }
        if c == '\\' {
            let (_, next) = chars.next()?;
            if next != open {
                expression.push('\\');
            }
            expression.push(next);
            continue;
        }
        expression.push(c);
    }
    None
}

/// aliases(5): `name: value, value`; names and values may be quoted.
fn alias_lines(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for line in logical(text) {
        let colon = unquoted(&line.text, ':').first().copied();
        let Some((name, values)) =
            colon.and_then(|at| Some((line.text.get(..at)?, line.text.get(at + 1..)?)))
        else {
            continue;
        };
        found.push((name.trim().trim_matches('"').to_lowercase(), targets(values)));
    }
    found
}

/// What a value of an alias stands for: commas part it, but not within quotes.
pub(super) fn targets(values: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for at in unquoted(values, ',').into_iter().chain([values.len()]) {
        parts.push(values.get(begin..at).unwrap_or_default().trim());
        begin = at + 1;
    }
    // White space parts addresses as well, but belongs to commands, files and quoted text.
    let spaced = |part: &str| part.starts_with(['"', '|', '/', ':']);
    let split = parts
        .into_iter()
        .flat_map(|part| if spaced(part) { vec![part] } else { part.split_whitespace().collect() });
    split.map(ToOwned::to_owned).filter(|part| !part.is_empty()).collect()
}

/// Where a character stands outside of quotes.
fn unquoted(text: &str, wanted: char) -> Vec<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match c {
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if c == wanted && !is_quoted => found.push(at),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_networks_and_patterns_are_read() {
        assert_eq!(
            keys("# a\nAnn@Example.org  ann, bob\n   carl\nalone\n"),
            [("ann@example.org".to_owned(), "ann, bob   carl".to_owned())]
        );
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            inline("{ a = b c, {D = e, f} }"),
            [pair("d", "e, f")],
            "words outside of braces are no entry"
        );
        assert_eq!(inline("{ {a = b}, c=d }"), [pair("a", "b"), pair("c", "d")]);
        assert_eq!(networks("10.0.0.0/8 permit\n"), Ok(vec![pair("10.0.0.0/8", "permit")]));
        assert!(networks("!10.0.0.0/8 reject\n").is_err() && networks("10.0.0.0/8\n").is_err());
        let found = patterns("/^a\\/b\\./i REJECT no\nif /x/\n/y/ DUNNO\nendif\n!/z/ OK\n");
        let simple: Vec<_> = found.iter().map(|(pattern, _)| pattern.is_simple).collect();
        assert_eq!(simple, [true, false, false]);
        assert_eq!((found[0].0.expression.as_str(), found[0].0.flags.as_str()), ("^a/b\\.", "i"));
        assert_eq!(found[0].1, "REJECT no");
    }

    #[test]
    fn aliases_may_be_quoted_and_go_on() {
        let text = "postmaster: root\nRoot: ann,\n  bob@example.org\n\"a b\": \"|/bin/x -a, b\", /var/mail/x\n\
                    list: :include:/etc/list\n";
        let found = alias_lines(text);
        assert_eq!(found[1], ("root".to_owned(), vec!["ann".to_owned(), "bob@example.org".to_owned()]));
        assert_eq!(found[2].1, ["\"|/bin/x -a, b\"", "/var/mail/x"]);
        assert_eq!(found[3].1, [":include:/etc/list"]);
    }

    #[test]
    fn what_is_no_text_is_said_and_not_guessed() {
        let files = Files::new(Path::new("/nowhere"), Path::new("/nowhere/etc/postfix"));
        assert!(files.table("mysql:/etc/x.cf", "hash").is_err_and(|why| why.contains("a database")));
        assert!(files.table("hash:/etc/x", "hash").is_err_and(|why| why.starts_with("/nowhere/etc/x: ")));
        assert_eq!(files.items("example.org"), Ok(vec!["example.org".to_owned()]));
        assert_eq!(files.items("inline:{{a.example=x}}"), Ok(vec!["a.example".to_owned()]));
        assert_eq!(files.items("[::1]"), Ok(vec!["[::1]".to_owned()]));
        assert!(files.items("/etc/domains").is_err());
    }
}
