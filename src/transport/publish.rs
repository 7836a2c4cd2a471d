//! What a domain of ours should publish so that other servers find its hosts and reach them protected, and
//! whether it does.

use aws_lc_rs::digest::{SHA256, digest};
use base::dns::{Answer, Failure, Query, Record, RecordKind};

use crate::dane::{self, Tlsa};
use crate::report;
use crate::sts::{self, Policy};

/// A domain of ours.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a> {
    /// Its name.
    pub name: &'a str,
    /// The hosts that take its mail, with their preferences.
    pub hosts: &'a [Host<'a>],
    /// Its MTA-STS policy, if it has one.
    pub sts: Option<&'a Policy>,
    /// The address that TLS reports go to, if they are wanted.
    pub reports_to: Option<&'a str>,
}

/// One of its hosts.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its name.
    pub name: &'a str,
    /// Lower is asked first.
    pub preference: u16,
    /// The certificates (DER) that it shows or is about to show. RFC 7671 §8.1: a new one is published before
    /// it is used.
    pub certificates: &'a [&'a [u8]],
}

/// One record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The question that it answers.
    pub query: Query,
    /// Its data.
    pub record: Record,
}

/// What is published in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The record itself, and for TLSA a proof of it.
    Right,
    /// The record, without the proof that makes it count: the zone is not signed, or nobody checks here.
    Unproven,
    /// Other records of the kind, and not this.
    Other,
    /// Nothing.
    Missing,
    /// That cannot be told now.
    Unknown,
}

/// The version of a policy, for its record: another text has another.
pub fn policy_id(policy: &Policy) -> String {
    let hash = digest(&SHA256, policy.text().as_bytes());
    hash.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// The records, hosts first.
pub fn records(domain: &Domain<'_>) -> Vec<Published> {
    let mut records = Vec::new();
    for host in domain.hosts {
        let record = Record::Mx { preference: host.preference, host: base::dns::normal(host.name) };
        records.push(Published { query: Query::new(domain.name, RecordKind::Mx), record });
    }
    for host in domain.hosts {
        let tlsa = host.certificates.iter().filter_map(|certificate| Tlsa::for_certificate(certificate));
        let tlsa = tlsa.map(|tlsa| Published { query: dane::question(host.name, 25), record: tlsa.record() });
        records.extend(tlsa);
    }
    if let Some(policy) = domain.sts {
        let text = format!("v=STSv1; id={};", policy_id(policy));
        records.push(Published { query: sts::question(domain.name), record: Record::Txt(text.into_bytes()) });
    }
    if let Some(address) = domain.reports_to {
        let text = format!("v=TLSRPTv1; rua=mailto:{address}");
        records
            .push(Published { query: report::question(domain.name), record: Record::Txt(text.into_bytes()) });
    }
    records
}

impl Published {
    /// The record as a zone has it.
    pub fn text(&self) -> String {
        let name = &self.query.name;
        match &self.record {
            Record::A(address) => format!("{name}. IN A {address}"),
            Record::Aaaa(address) => format!("{name}. IN AAAA {address}"),
            Record::Mx { preference, host } => format!("{name}. IN MX {preference} {host}."),
            Record::Txt(text) => {
                // A string has 255 bytes at most (RFC 1035 §3.3).
                let strings = text.chunks(255).map(|string| format!(" \"{}\"", string.escape_ascii()));
                format!("{name}. IN TXT{}", strings.collect::<Vec<_>>().concat())
            }
            Record::Ptr(target) => format!("{name}. IN PTR {target}."),
            Record::Cname(target) => format!("{name}. IN CNAME {target}."),
            Record::Srv { priority, weight, port, host } => {
                format!("{name}. IN SRV {priority} {weight} {port} {host}.")
            }
            Record::Tlsa { usage, selector, matching, data } => {
                let data: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{name}. IN TLSA {usage} {selector} {matching} {}", data.concat())
            }
        }
    }

    /// What the answer to its question says of it.
    pub fn found(&self, answer: &Result<Answer, Failure>) -> Found {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::NoSuchName(_) | Failure::NoRecords(_)) => return Found::Missing,
            Err(Failure::Temporary | Failure::Bogus) => return Found::Unknown,
        };
        if !answer.records.contains(&self.record) {
            return Found::Other;
        }
        let needs_proof = matches!(self.record, Record::Tlsa { .. });
        if needs_proof && !answer.is_secure { Found::Unproven } else { Found::Right }
    }
}

#[cfg(test)]
mod tests {
    use base::dns::Absence;

    use super::*;
    use crate::certificate::tests::shaped;

    #[test]
    fn a_domain_publishes_what_senders_look_for() {
        let policy =
            Policy::parse(b"version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 86400\n").unwrap();
        let certificate = shaped(b"key", true);
        let hosts = [Host { name: "MX.example", preference: 10, certificates: &[&certificate] }];
        let domain = Domain {
            name: "example.org",
            hosts: &hosts,
            sts: Some(&policy),
            reports_to: Some("tls@example.org"),
        };
        let records = records(&domain);
        let texts: Vec<String> = records.iter().map(Published::text).collect();
        assert_eq!(texts[0], "example.org. IN MX 10 mx.example.");
        assert!(texts[1].starts_with("_25._tcp.mx.example. IN TLSA 3 1 1 "), "{}", texts[1]);
        assert_eq!(texts[3], "_smtp._tls.example.org. IN TXT \"v=TLSRPTv1; rua=mailto:tls@example.org\"");
        // What we publish, we read.
        let answer = |published: &Published, is_secure| {
            let (records, name) = (vec![published.record.clone()], published.query.name.clone());
            Ok(Answer { records, name, is_secure, ttl_s: 60 })
        };
        assert_eq!(sts::version(&answer(&records[2], false)), Some(policy_id(&policy).as_str()));
        assert_eq!(
            report::recipients(&answer(&records[3], false).unwrap()).unwrap().mail,
            ["tls@example.org"]
        );
        let demanded = dane::demand(answer(&records[1], true));
        assert!(matches!(demanded, dane::Dane::Records(records) if records[0].matches(&certificate)));
        assert_eq!(records[1].found(&answer(&records[1], true)), Found::Right);
        assert_eq!(records[1].found(&answer(&records[1], false)), Found::Unproven);
        assert_eq!(records[0].found(&answer(&records[0], false)), Found::Right);
        assert_eq!(records[0].found(&answer(&records[3], false)), Found::Other);
        assert_eq!(records[0].found(&Err(Failure::NoSuchName(Absence::default()))), Found::Missing);
        assert_eq!(records[0].found(&Err(Failure::Temporary)), Found::Unknown);
    }
}
