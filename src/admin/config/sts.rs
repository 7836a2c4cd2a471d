//! `[mta_sts]`: the policies of our domains, which other servers fetch (RFC 8461 §3.2).

use std::collections::HashSet;
use std::ops::Range;

use directory::EmailAddress;
use serde::Deserialize;
use shard::OwnPolicies;
use toml::Spanned;
use transport::sts::{Mode, Policy, host_pattern};
use transport::{STS_HOSTS_MAX, STS_MAX_AGE_S};

/// `[mta_sts]`: of every domain, unless it has its own word for something.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MtaSts {
    /// What is asked of other servers: `testing` unless it is set.
    pub mode: Option<Asks>,
    /// Hosts that take mail; unless it is set, the server's name.
    pub mx: Option<Spanned<Vec<Spanned<String>>>>,
    /// For how long others keep a policy, in seconds: a week unless it is set.
    pub max_age_s: Option<Spanned<u32>>,
    /// Domains with something of their own.
    pub domain: Vec<DomainPolicy>,
}

/// `[[mta_sts.domain]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainPolicy {
    /// Which domain.
    pub name: Spanned<String>,
    /// Instead of the usual one.
    #[serde(default)]
    pub mode: Option<Asks>,
    /// Instead of the usual ones.
    #[serde(default)]
    pub mx: Option<Spanned<Vec<Spanned<String>>>>,
    /// Instead of the usual one.
    #[serde(default)]
    pub max_age_s: Option<Spanned<u32>>,
}

/// What a policy asks of other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// To deliver to no host that does not satisfy it.
    Enforce,
    /// To report what would fail, and to deliver.
    Testing,
    /// Nothing.
    None,
}

type Hosts = Option<Spanned<Vec<Spanned<String>>>>;
type Fault = (Range<usize>, String);

impl MtaSts {
    /// In the form the services need.
    pub(super) fn policies(&self, hostname: &str) -> OwnPolicies {
        let mut all = OwnPolicies::new(hostname);
        all.usual = changed(&all.usual, self.mode, &self.mx, self.max_age_s.as_ref());
        for own in &self.domain {
            let Some(name) = domain(own.name.get_ref()) else { continue };
            let policy = changed(&all.usual, own.mode, &own.mx, own.max_age_s.as_ref());
            all.others.insert(name, policy);
        }
        all
    }

    /// The first thing that is wrong beyond the grammar.
    pub(super) fn fault(&self) -> Option<Fault> {
        let fault = |mx, age: &Option<_>| hosts_fault(mx).or_else(|| age_fault(age.as_ref()));
        if let Some(fault) = fault(&self.mx, &self.max_age_s) {
            return Some(fault);
        }
        let mut known = HashSet::new();
        self.domain.iter().find_map(|own| {
            let at = |message| Some((own.name.span(), message));
            match domain(own.name.get_ref()) {
                None => at("mta_sts.domain.name must be a domain, such as \"example.org\"".to_owned()),
                Some(name) if !known.insert(name.clone()) => {
                    at(format!("mta_sts.domain.name: {name} has a table already; make one of them"))
                }
                Some(_) => fault(&own.mx, &own.max_age_s),
            }
        })
    }
}

fn changed(usual: &Policy, mode: Option<Asks>, mx: &Hosts, max_age_s: Option<&Spanned<u32>>) -> Policy {
    let mode = mode.map_or(usual.mode, |asks| match asks {
        Asks::Enforce => Mode::Enforce,
        Asks::Testing => Mode::Testing,
        Asks::None => Mode::None,
    });
    let hosts = mx.as_ref().map_or_else(
        || usual.hosts.clone(),
        |mx| mx.get_ref().iter().filter_map(|host| host_pattern(host.get_ref())).collect(),
    );
    Policy { mode, hosts, max_age_s: max_age_s.map_or(usual.max_age_s, |age| *age.get_ref()) }
}

/// A domain in the form that the directory has it in.
fn domain(name: &str) -> Option<String> {
    let address = EmailAddress::parse(&format!("x@{name}")).ok()?;
    Some(address.domain().to_owned()).filter(|domain| !domain.starts_with('['))
}

fn hosts_fault(mx: &Hosts) -> Option<Fault> {
    let mx = mx.as_ref()?;
    if !(1..=STS_HOSTS_MAX).contains(&mx.get_ref().len()) {
        return Some((mx.span(), format!("mx must name 1 to {STS_HOSTS_MAX} hosts, or be left out")));
    }
    let wrong = mx.get_ref().iter().find(|host| host_pattern(host.get_ref()).is_none())?;
    let remedy = "is no host; write such as \"mail.example.org\" or \"*.example.org\"";
    Some((wrong.span(), format!("mx: {:?} {remedy}", wrong.get_ref())))
}

fn age_fault(age: Option<&Spanned<u32>>) -> Option<Fault> {
    let age = age.filter(|age| !(1..=STS_MAX_AGE_S).contains(age.get_ref()))?;
    Some((age.span(), format!("max_age_s must be from 1 to {STS_MAX_AGE_S}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::Config;

    fn text(config: &str, domain: &str) -> String {
        let config = format!("[server]\nhostname = \"Mail.Example.org\"\n{config}");
        let config = Config::parse(Path::new("a.toml"), &config).expect("valid");
        config.settings().policies.of(domain).text()
    }

    #[test]
    fn a_policy_is_the_usual_one_but_for_what_its_domain_has_of_its_own() {
        let usual = "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 604800\r\n";
        assert_eq!(text("", "example.org"), usual);
        let own = "[mta_sts]\nmode = \"enforce\"\nmx = [\"A.example\", \"*.b.example\"]\n\
            [[mta_sts.domain]]\nname = \"B\u{fc}cher.example\"\nmax_age_s = 86400\n\
            [[mta_sts.domain]]\nname = \"example.net\"\nmode = \"none\"\nmx = [\"c.example\"]\n";
        let of = |mode: &str, mx: &str, age: u32| {
            format!("version: STSv1\r\nmode: {mode}\r\n{mx}max_age: {age}\r\n")
        };
        let both = "mx: a.example\r\nmx: *.b.example\r\n";
        assert_eq!(text(own, "example.org"), of("enforce", both, 604_800));
        assert_eq!(text(own, "xn--bcher-kva.example"), of("enforce", both, 86_400));
        assert_eq!(text(own, "example.net"), of("none", "mx: c.example\r\n", 604_800));
    }

    #[test]
    fn what_no_sender_could_use_is_refused() {
        for (config, words) in [
            ("[mta_sts]\nmx = []\n", "2: mx must name 1 to 64 hosts"),
            ("[mta_sts]\nmx = [\"a\",\n\"a.*.b\"]\n", "3: mx: \"a.*.b\" is no host"),
            ("[mta_sts]\nmax_age_s = 0\n", "2: max_age_s must be from 1 to 31557600"),
            ("[mta_sts]\nmode = \"on\"\n", "2: unknown variant"),
            ("[[mta_sts.domain]]\nname = \"a b\"\n", "2: mta_sts.domain.name must be a domain"),
            (
                "[[mta_sts.domain]]\nname = \"a.example\"\n[[mta_sts.domain]]\nname = \"A.example\"\n",
                "4: mta_sts.domain.name: a.example has a table already",
            ),
            ("[[mta_sts.domain]]\nname = \"a.example\"\nmx = [\"\"]\n", "3: mx: \"\" is no host"),
        ] {
            let said = Config::parse(Path::new("a.toml"), config).map(|_| ()).unwrap_err().to_string();
            assert!(said.starts_with(&format!("a.toml:{words}")), "{said}");
        }
    }
}
