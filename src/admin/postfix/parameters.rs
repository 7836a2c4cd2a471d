//! Parameters: what main.cf sets, what a service of master.cf sets instead, and what they are otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::expand::{expand, names};
use super::lines::{Line, logical};

/// Every parameter of Postfix with its usual value.
static DEFAULTS: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("defaults.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim(), value.trim())).collect()
});

/// Parameters with their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    set: BTreeMap<String, String>,
    /// Usual values that depend on the machine.
    computed: BTreeMap<&'static str, String>,
}

impl Parameters {
    /// Reads main.cf; of a parameter that is set twice the last word counts. Lines that set nothing come back.
    pub(super) fn parse(text: &str) -> (Self, Vec<Line>) {
        let mut parameters = Self::default();
        let mut odd = Vec::new();
        for line in logical(text) {
            match line.text.split_once('=') {
                Some((name, value)) if is_name(name.trim()) => {
                    parameters.set.insert(name.trim().to_owned(), value.trim().to_owned());
                }
                _ => odd.push(line),
            }
        }
        (parameters, odd)
    }

    /// Says what depends on the machine: its own name and where the files lie.
    pub(super) fn compute(&mut self, machine: &str, folder: &str) {
        let domain_of = |name: &str| name.split_once('.').map(|(_, domain)| domain.to_owned());
        let whole = if machine.contains('.') {
            machine.to_owned()
        } else {
            let domain = self.set.get("mydomain").map(|text| self.expand(text));
            format!("{machine}.{}", domain.unwrap_or_else(|| "localdomain".to_owned()))
        };
        self.computed.insert("myhostname", whole);
        let domain = domain_of(&self.value("myhostname")).unwrap_or_else(|| "localdomain".to_owned());
        self.computed.insert("mydomain", domain);
        self.computed.insert("config_directory", folder.to_owned());
        // With style `host` these are all but the machine's own addresses, which need no relaying.
        self.computed.insert("mynetworks", "127.0.0.0/8 [::1]/128".to_owned());
    }

    /// With other values for some, as a service of master.cf has them.
    pub(super) fn overlaid(&self, overrides: &BTreeMap<String, String>) -> Self {
        let mut all = self.clone();
        all.set.extend(overrides.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    pub(super) fn expand(&self, text: &str) -> String {
        expand(text, &|name| self.raw(name).to_owned())
    }

    /// The value in force.
    pub(super) fn value(&self, name: &str) -> String {
        self.expand(self.raw(name))
    }

    /// The value, if the operator has set it to something else than the usual one.
    pub(super) fn changed(&self, name: &str) -> Option<String> {
        let value = self.expand(self.set.get(name)?);
        let usual = self.expand(self.usual(name));
        (plain(&value) != plain(&usual) || !is_known(name)).then_some(value)
    }

    /// What the operator has set, in order of names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str)
    }

    /// Names that values use.
    pub(super) fn used(&self) -> BTreeSet<String> {
        self.set.values().flat_map(|value| names(value)).collect()
    }

    fn raw(&self, name: &str) -> &str {
        self.set.get(name).map_or_else(|| self.usual(name), String::as_str)
    }

    fn usual(&self, name: &str) -> &str {
        let computed = self.computed.get(name).map(String::as_str);
        computed.or_else(|| DEFAULTS.get(name).copied()).unwrap_or_default()
    }
}

/// Whether Postfix has a parameter of that name.
pub(super) fn is_known(name: &str) -> bool {
    DEFAULTS.contains_key(name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_whitespace)
}

/// Without differences in white space, commas and case that mean nothing.
fn plain(value: &str) -> String {
    let words = value.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_usual_values_are_no_changes() {
        let text = "inet_interfaces = loopback-only\nbiff=no\ninet_interfaces = all\nnonsense\nmail_version = 1\n\
                    mynetworks=127.0.0.0/8, [::1]/128\nown_thing =\nsmtpd_banner = $myhostname ESMTP $mail_name\n";
        let (mut parameters, odd) = Parameters::parse(text);
        parameters.compute("host.example.org", "/etc/postfix");
        assert_eq!(odd, [Line { number: 4, text: "nonsense".to_owned() }]);
        assert_eq!(parameters.changed("inet_interfaces"), None);
        assert_eq!(parameters.changed("mynetworks"), None);
        assert_eq!(parameters.changed("smtpd_banner"), None);
        assert_eq!(parameters.changed("biff"), Some("no".to_owned()));
        assert_eq!(parameters.changed("own_thing"), Some(String::new()), "nobody knows it");
        assert_eq!(parameters.value("mydestination"), "host.example.org, localhost.example.org, localhost");
    }

    #[test]
    fn a_machine_without_a_domain_gets_one() {
        let (mut parameters, _) = Parameters::parse("mydomain = example.net\n");
        parameters.compute("vm", "/etc/postfix");
        assert_eq!(parameters.value("myhostname"), "vm.example.net");
        let (mut parameters, _) =
            Parameters::parse("myhostname = mx.example.com\ncompatibility_level = 3.6\n");
        parameters.compute("vm", "/etc/postfix");
        assert_eq!(parameters.value("mydomain"), "example.com");
        assert_eq!(parameters.value("relay_domains"), "");
        assert_eq!(parameters.value("smtputf8_enable"), "yes");
    }
}
