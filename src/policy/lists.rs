//! Lists that rules share: `[[policy.list]]`, named in patterns as `list:NAME`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::network::Networks;
use crate::pattern::{Kind, Patterns};
use crate::read::{Fault, Section, Value, text, texts};

/// Reads a file that a list names; the error is the reason why not.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// The lists of a configuration; each is compiled when a rule first uses it as that kind.
pub(crate) struct Lists {
    entries: BTreeMap<String, Vec<String>>,
    patterns: RefCell<BTreeMap<(String, Kind), Arc<Patterns>>>,
    networks: RefCell<BTreeMap<String, Arc<Networks>>>,
}

/// Names or addresses: those of a rule and those of lists.
#[derive(Clone, Debug)]
pub(crate) struct NameSet {
    own: Patterns,
    shared: Vec<Arc<Patterns>>,
    label: String,
}

/// Networks: those of a rule and those of lists.
#[derive(Clone, Debug)]
pub(crate) struct NetworkSet {
    own: Networks,
    shared: Vec<Arc<Networks>>,
    label: String,
}

impl Lists {
    /// Reads `[[policy.list]]`.
    pub(crate) fn read(sections: &[Section<'_>], file: ReadFile<'_>) -> Result<Self, Fault> {
        let mut entries = BTreeMap::new();
        for section in sections {
            section.only(&["name", "entries", "file"])?;
            let name = text(section.need("name")?)?.to_owned();
            let found = Self::entries_of(section, file).map_err(|fault| fault.within("list", &name))?;
            if entries.insert(name.clone(), found).is_some() {
                return Err(section.fault(format!("there are two lists {name:?}: rename one of them")));
            }
        }
        Ok(Self { entries, patterns: RefCell::default(), networks: RefCell::default() })
    }

    fn entries_of(section: &Section<'_>, file: ReadFile<'_>) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        if let Some(value) = section.get("entries") {
            found.extend(texts(value)?.into_iter().map(|(text, _)| text.to_owned()));
        }
        if let Some(value) = section.get("file") {
            let path = text(value)?;
            let content = file(path)
                .map_err(|error| Fault::at(value, format!("{path}: {error}; a list has one entry a line")))?;
            let lines = content.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            found.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        }
        if section.get("entries").is_none() && section.get("file").is_none() {
            return Err(section.fault("a list has `entries = [...]` or `file = \"...\"`: add one"));
        }
        Ok(found)
    }

    /// Patterns of a kind, some of which may be `list:NAME`.
    pub(crate) fn names(&self, kind: Kind, value: &Value<'_>) -> Result<NameSet, Fault> {
        let all = texts(value)?;
        let own: Vec<_> = all.iter().filter(|(text, _)| !text.starts_with("list:")).collect();
        let patterns =
            Patterns::compile(kind, own.iter().map(|(text, _)| *text)).map_err(|(at, message)| {
                Fault::new(own.get(at).map_or_else(|| value.span(), |(_, value)| value.span()), message)
            })?;
        let mut shared = Vec::new();
        for (text, place) in &all {
            if let Some(name) = text.strip_prefix("list:") {
                shared.push(self.patterns_of(name, kind).map_err(|message| Fault::at(place, message))?);
            }
        }
        Ok(NameSet { own: patterns, shared, label: label(&all) })
    }

    /// Networks, some of which may be `list:NAME`.
    pub(crate) fn networks(&self, value: &Value<'_>) -> Result<NetworkSet, Fault> {
        let all = texts(value)?;
        let own: Vec<_> = all.iter().filter(|(text, _)| !text.starts_with("list:")).collect();
        let networks = Networks::compile(own.iter().map(|(text, _)| *text)).map_err(|(at, message)| {
            Fault::new(own.get(at).map_or_else(|| value.span(), |(_, value)| value.span()), message)
        })?;
        let mut shared = Vec::new();
        for (text, place) in &all {
            if let Some(name) = text.strip_prefix("list:") {
                shared.push(self.networks_of(name).map_err(|message| Fault::at(place, message))?);
            }
        }
        Ok(NetworkSet { own: networks, shared, label: label(&all) })
    }

    fn found(&self, name: &str) -> Result<&[String], String> {
        let known = || self.entries.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.entries.get(name).map(Vec::as_slice).ok_or_else(|| {
            format!("there is no list {name:?}; add [[policy.list]] with that name (there are: {})", known())
        })
    }

    fn patterns_of(&self, name: &str, kind: Kind) -> Result<Arc<Patterns>, String> {
        let key = (name.to_owned(), kind);
        if let Some(compiled) = self.patterns.borrow().get(&key) {
            return Ok(Arc::clone(compiled));
        }
        let entries = self.found(name)?;
        let compiled = Patterns::compile(kind, entries.iter().map(String::as_str))
            .map_err(|(at, message)| format!("list {name:?}, entry {}: {message}", at + 1))?;
        let compiled = Arc::new(compiled);
        self.patterns.borrow_mut().insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }

    fn networks_of(&self, name: &str) -> Result<Arc<Networks>, String> {
        if let Some(compiled) = self.networks.borrow().get(name) {
            return Ok(Arc::clone(compiled));
        }
        let entries = self.found(name)?;
        let compiled = Networks::compile(entries.iter().map(String::as_str))
            .map_err(|(at, message)| format!("list {name:?}, entry {}: {message}", at + 1))?;
        let compiled = Arc::new(compiled);
        self.networks.borrow_mut().insert(name.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl NameSet {
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.own.matches(text) || self.shared.iter().any(|patterns| patterns.matches(text))
    }
}

impl NetworkSet {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.own.contains(address) || self.shared.iter().any(|networks| networks.contains(address))
    }
}

impl fmt::Display for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Display for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The first of a list's patterns, for people.
fn label(all: &[(&str, &Value<'_>)]) -> String {
    let shown: Vec<&str> = all.iter().take(3).map(|(text, _)| *text).collect();
    let more = if all.len() > shown.len() {
        format!(" and {} more", all.len() - shown.len())
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}
