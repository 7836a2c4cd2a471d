//! Which hosts take a domain's mail, and in which order they are tried (RFC 5321 §5.1).

use base::Random;
use base::dns::{Answer, Failure, Query, Record, RecordKind};

use crate::address::Ourselves;
use crate::limits::HOSTS_MAX;

/// The hosts of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// In the order of trying; at least one, at most [`HOSTS_MAX`].
    pub names: Vec<String>,
    /// DNSSEC proves the list, or proves that there is none: a condition of DANE (RFC 7672 §2.2.1).
    pub is_secure: bool,
    /// The domain has no MX records, so it is its own host.
    pub is_implicit: bool,
    /// The domain's name after its aliases. It is the domain unless that is one.
    pub domain: String,
}

/// Why a domain has no host to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHosts {
    /// There is no such domain: 5.1.2.
    NoSuchDomain,
    /// The domain says that it takes no mail (RFC 7505 §4): 556 5.1.10.
    NullMx,
    /// We are its most preferred host and do not take its mail: 5.4.6, a loop.
    Ourselves,
    /// None of its MX records names a host that could exist: 5.4.4.
    Unusable,
    /// Nobody knows now: 4.4.3.
    Unknown,
    /// The answer's signatures are wrong: 4.7.5, for perhaps it is mended later.
    Bogus,
}

impl NoHosts {
    /// Whether it may be otherwise later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Unknown | Self::Bogus)
    }
}

/// The question whose answer [`hosts`] takes.
pub fn question(domain: &str) -> Query {
    Query::new(domain, RecordKind::Mx)
}

/// The hosts in the order of trying: by preference, by chance among equals. Where we are one of them,
/// only those that are preferred to us remain, so that mail does not go round.
pub fn hosts(
    domain: &str,
    answer: Result<Answer, Failure>,
    ourselves: &Ourselves,
    random: &mut Random,
) -> Result<Hosts, NoHosts> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::NoRecords(absence)) => return implicit(domain, absence.is_secure, ourselves),
        Err(Failure::NoSuchName(_)) => return Err(NoHosts::NoSuchDomain),
        Err(Failure::Temporary) => return Err(NoHosts::Unknown),
        Err(Failure::Bogus) => return Err(NoHosts::Bogus),
    };
    let mut records: Vec<(u16, u64, String)> = Vec::new();
    let mut is_null = false;
    for record in answer.records {
        match record {
            Record::Mx { host, .. } if host.is_empty() => is_null = true,
            Record::Mx { preference, host } => records.push((preference, random.next_u64(), host)),
            _ => {}
        }
    }
    if records.is_empty() {
        return Err(if is_null { NoHosts::NullMx } else { NoHosts::Unusable });
    }
    let own = records.iter().filter(|(.., host)| ourselves.is_name(host)).map(|(preference, ..)| *preference);
    if let Some(own) = own.min() {
        records.retain(|(preference, ..)| *preference < own);
    }
    records.sort_unstable();
    let mut names: Vec<String> = Vec::new();
    for (.., host) in records {
        if names.len() < HOSTS_MAX && !names.contains(&host) {
            names.push(host);
        }
    }
    if names.is_empty() {
        return Err(NoHosts::Ourselves);
    }
    Ok(Hosts { names, is_secure: answer.is_secure, is_implicit: false, domain: answer.name })
}

/// A domain without MX records is its own host, with preference 0.
fn implicit(domain: &str, is_secure: bool, ourselves: &Ourselves) -> Result<Hosts, NoHosts> {
    if ourselves.is_name(domain) {
        return Err(NoHosts::Ourselves);
    }
    let domain = domain.to_owned();
    Ok(Hosts { names: vec![domain.clone()], is_secure, is_implicit: true, domain })
}

#[cfg(test)]
mod tests {
    use base::dns::Absence;

    use super::*;

    fn answer(records: &[(u16, &str)]) -> Answer {
        let records = records
            .iter()
            .map(|(preference, host)| Record::Mx { preference: *preference, host: (*host).into() });
        let records = records.collect();
        Answer { records, name: "example.org".into(), is_secure: true, ttl_s: 60 }
    }

    fn names(records: &[(u16, &str)], own: &str, seed: u64) -> Result<Vec<String>, NoHosts> {
        let ourselves = Ourselves { names: vec![own.to_owned()], ..Ourselves::default() };
        hosts("example.org", Ok(answer(records)), &ourselves, &mut Random::new(seed)).map(|hosts| hosts.names)
    }

    #[test]
    fn preference_goes_before_chance() {
        let mut first = std::collections::BTreeSet::new();
        for seed in 1..40 {
            let names = names(&[(20, "c"), (10, "a"), (10, "b"), (30, "a")], "", seed).unwrap();
            assert_eq!(names.len(), 3, "a host is tried once: {names:?}");
            assert_eq!(names[2], "c");
            first.insert(names[0].clone());
        }
        assert_eq!(first.into_iter().collect::<Vec<_>>(), ["a", "b"], "equal ones share the mail");
    }

    #[test]
    fn mail_goes_only_to_hosts_preferred_to_ourselves() {
        let records = [(10, "a"), (20, "us"), (20, "b"), (30, "c")];
        assert_eq!(names(&records, "US", 1), Ok(vec!["a".to_owned()]));
        assert_eq!(names(&records, "a", 1), Err(NoHosts::Ourselves));
    }

    #[test]
    fn a_null_mx_takes_no_mail_and_beside_others_means_nothing() {
        assert_eq!(names(&[(0, "")], "", 1), Err(NoHosts::NullMx));
        assert_eq!(names(&[(0, ""), (5, "a")], "", 1), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn a_domain_without_mx_is_its_own_host() {
        let ask = |failure| hosts("example.org", Err(failure), &Ourselves::default(), &mut Random::new(1));
        let absence = Absence { is_secure: true, ttl_s: 5 };
        let found = ask(Failure::NoRecords(absence)).unwrap();
        assert!(found.is_implicit && found.is_secure);
        assert_eq!(found.names, ["example.org"]);
        assert_eq!(ask(Failure::NoSuchName(absence)), Err(NoHosts::NoSuchDomain));
        assert_eq!(ask(Failure::Temporary), Err(NoHosts::Unknown));
        assert_eq!(ask(Failure::Bogus), Err(NoHosts::Bogus));
        let ourselves = Ourselves { names: vec!["example.org".into()], ..Ourselves::default() };
        let found = hosts("example.org", Err(Failure::NoRecords(absence)), &ourselves, &mut Random::new(1));
        assert_eq!(found, Err(NoHosts::Ourselves));
    }

    #[test]
    fn a_long_list_is_cut_behind_the_most_preferred() {
        let many: Vec<(u16, String)> = (0..500).map(|number| (number, format!("h{number}"))).collect();
        let many: Vec<(u16, &str)> = many.iter().map(|(number, host)| (*number, host.as_str())).collect();
        let names = names(&many, "", 3).unwrap();
        assert_eq!(names.len(), HOSTS_MAX);
        assert_eq!(names[0], "h0");
    }
}
