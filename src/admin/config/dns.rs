//! `[dns]`: name resolution.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::Config;
use super::check::{Fault, at};

/// `[dns]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Servers that resolve for us, `IP:PORT`; none are the system's.
    pub servers: Vec<Spanned<String>>,
    /// Whether signatures are checked here. Without a word: where the servers pass them on.
    pub validate: Option<bool>,
    /// Whether the servers' word counts that they have checked them.
    pub trust_ad: bool,
    /// The longest wait for an answer, in seconds.
    pub timeout_s: Spanned<u64>,
    /// DNSKEY records instead of the root's keys; empty is the root's.
    pub trust_anchor: PathBuf,
}

/// The longest time that may be given for an answer: a session waits for it.
const TIMEOUT_S_MAX: u64 = 60;

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            validate: None,
            trust_ad: false,
            timeout_s: Spanned::new(0..0, 10),
            trust_anchor: PathBuf::new(),
        }
    }
}

impl Dns {
    /// The servers' addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().filter_map(|server| server.get_ref().parse().ok()).collect()
    }

    /// Whether `other` asks the same servers in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.addresses() == other.addresses()
            && (self.validate, self.trust_ad) == (other.validate, other.trust_ad)
            && self.timeout_s.get_ref() == other.timeout_s.get_ref()
            && self.trust_anchor == other.trust_anchor
    }
}

impl Config {
    pub(super) fn dns_fault(&self, text: &str) -> Option<Fault> {
        let dns = &self.dns;
        let wrong = dns.servers.iter().find(|server| server.get_ref().parse::<SocketAddr>().is_err());
        if let Some(server) = wrong {
            let words = "dns.servers must be a list of IP:PORT, such as \"127.0.0.1:53\"";
            return Some((Some(server.span()), words.to_owned()));
        }
        if !(1..=TIMEOUT_S_MAX).contains(dns.timeout_s.get_ref()) {
            return Some(at(text, "dns.timeout_s", &format!("must be from 1 to {TIMEOUT_S_MAX}")));
        }
        if dns.trust_ad && dns.validate != Some(false) {
            let remedy = "means nothing where signatures are checked here: set dns.validate = false as well";
            return Some(at(text, "dns.trust_ad", remedy));
        }
        if dns.validate == Some(false) && !dns.trust_anchor.as_os_str().is_empty() {
            let remedy = "means nothing with dns.validate = false: leave one of them out";
            return Some(at(text, "dns.trust_anchor", remedy));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("a.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_work_are_found_before_they_are_used() {
        for (text, words) in [
            ("[dns]\nservers = [\"127.0.0.1:53\", \"::1\"]\n", "2: dns.servers must be a list of IP:PORT"),
            ("[dns]\n\ntimeout_s = 0\n", "3: dns.timeout_s must be from 1 to 60"),
            ("[dns]\ntrust_ad = true\n", "2: dns.trust_ad means nothing where signatures"),
            ("[dns]\nvalidate = false\ntrust_anchor = \"k\"\n", "3: dns.trust_anchor means nothing with"),
        ] {
            let said = parse(text).map(|_| ()).unwrap_err();
            assert!(said.starts_with(&format!("a.toml:{words}")), "{said}");
        }
    }

    #[test]
    fn a_restart_is_needed_where_anything_changes() {
        let before = parse("").unwrap();
        let same = parse("[dns]\ntimeout_s = 10\n").unwrap();
        assert_eq!(before.waits_for_restart(&same), [""; 0]);
        for other in ["validate = true", "timeout_s = 3", "servers = [\"[::1]:53\"]", "trust_anchor = \"k\""]
        {
            let other = parse(&format!("[dns]\n{other}\n")).unwrap();
            assert_eq!(before.waits_for_restart(&other), ["dns"]);
        }
    }
}
