//! TLS reports (RFC 8460): how the protection of connections fared, counted by domain and day
//! (`collect`), the report that a domain is sent or sends (`Report`), and where it is to go.

mod collect;
mod lists;
mod message;

use std::collections::HashSet;

use base::dns::{Answer, Query, RecordKind};
use serde::{Deserialize, Serialize};

pub use collect::{Collected, Day, Session, Tally, Used};
pub use message::{filename, message};

use crate::fault::Fault;
use crate::limits::REPORT_ADDRESSES_MAX;
use crate::text_record::fields;

/// A report, as it goes over the wire (RFC 8460 §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Whose report it is.
    #[serde(default)]
    pub organization_name: String,
    /// The time it is about.
    pub date_range: DateRange,
    /// Whom to ask about it.
    #[serde(default)]
    pub contact_info: String,
    /// Its name, given once by its sender.
    pub report_id: String,
    /// What was found, by policy.
    #[serde(default, deserialize_with = "lists::policies")]
    pub policies: Vec<PolicyResult>,
}

/// From when to when, in RFC 3339's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// The first moment.
    pub start_datetime: String,
    /// The last.
    pub end_datetime: String,
}

/// How one policy fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyResult {
    /// Which policy.
    pub policy: PolicyText,
    /// How many connections.
    pub summary: Summary,
    /// The failures, by their kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lists::failures")]
    pub failure_details: Vec<FailureDetails>,
}

/// A policy, as the domain has published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyText {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy_type: String,
    /// TLSA records or lines of the policy's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lists::one_or_more")]
    pub policy_string: Vec<String>,
    /// Whose it is.
    pub policy_domain: String,
    /// The hosts: those of the policy's `mx` lines, or the one with the records.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lists::one_or_more")]
    pub mx_host: Vec<String>,
}

/// How many connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// That were protected.
    pub total_successful_session_count: u64,
    /// That were not.
    pub total_failure_session_count: u64,
}

/// One kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailureDetails {
    /// What.
    pub result_type: Fault,
    /// The address that the connections came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<String>,
    /// The host they were for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// What it called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<String>,
    /// How many.
    pub failed_session_count: u64,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// What the sender's software says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

impl Report {
    /// Reads a report, unpacked. `None` when it is none. The caller bounds its length.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The report's text.
    pub fn json(&self) -> String {
        // Texts and numbers only: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The question for where reports about a domain go.
pub fn question(domain: &str) -> Query {
    Query::new(&format!("_smtp._tls.{domain}"), RecordKind::Txt)
}

/// Where reports about a domain go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Mail addresses.
    pub mail: Vec<String>,
    /// Addresses to post them to.
    pub https: Vec<String>,
}

/// Reads the record (RFC 8460 §3). `None` when the domain wants no reports.
pub fn recipients(answer: &Answer) -> Option<Recipients> {
    let fields = fields(answer, "TLSRPTv1")?;
    let (_, addresses) = fields.into_iter().find(|(key, _)| *key == "rua")?;
    let mut recipients = Recipients::default();
    for address in addresses.split(',').map(str::trim).take(REPORT_ADDRESSES_MAX) {
        let (scheme, rest) = address.split_once(':')?;
        if scheme.eq_ignore_ascii_case("mailto") {
            recipients.mail.extend(unescape(rest).filter(|address| address.contains('@')));
        } else if scheme.eq_ignore_ascii_case("https") {
            recipients.https.push(format!("https:{rest}"));
        }
    }
    // Who is named twice gets it once.
    for addresses in [&mut recipients.mail, &mut recipients.https] {
        let mut known = HashSet::new();
        addresses.retain(|address| known.insert(address.clone()));
    }
    (recipients != Recipients::default()).then_some(recipients)
}

/// Percent signs in a mailto address (RFC 6068 §2); its fields behind `?` are left out.
fn unescape(address: &str) -> Option<String> {
    let address = address.split('?').next().unwrap_or_default();
    let (mut bytes, mut rest) = (Vec::new(), address.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let byte = if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            rest = after;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
        } else {
            *first
        };
        // It goes into a command and into a header.
        if byte.is_ascii_control() || byte == b' ' || byte == b'<' || byte == b'>' {
            return None;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use base::dns::Record;

    use super::*;

    #[test]
    fn the_record_names_addresses_of_two_kinds() {
        let read = |text: &str| {
            let records = vec![Record::Txt(text.as_bytes().to_vec())];
            recipients(&Answer { records, name: String::new(), is_secure: false, ttl_s: 1 })
        };
        let both =
            read("v=TLSRPTv1; rua=mailto:a%2Bb@example.org?subject=x,https://report.example/v1").unwrap();
        assert_eq!(both.mail, ["a+b@example.org"]);
        assert_eq!(both.https, ["https://report.example/v1"]);
        assert_eq!(read("v=TLSRPTv1;rua=MAILTO:a@b").unwrap().mail, ["a@b"]);
        assert_eq!(read("v=TLSRPTv1;rua=HTTPS://x/Y").unwrap().https, ["https://x/Y"]);
        let twice = read("v=TLSRPTv1;rua=https://x,mailto:a@b,https://y,HTTPS://x,mailto:a@b").unwrap();
        assert_eq!(
            (twice.mail.len(), twice.https),
            (1, vec!["https://x".to_owned(), "https://y".to_owned()])
        );
        for none in [
            "v=TLSRPTv1",
            "v=TLSRPTv2; rua=mailto:a@b",
            "v=TLSRPTv1; rua=http://x",
            "v=TLSRPTv1; rua=mailto:a@b%0d%0aRCPT",
            "v=TLSRPTv1; rua=mailto:a@b%2",
            "v=TLSRPTv1; rua=x",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    /// The form of RFC 8460 Appendix B, with the places where reporters differ.
    #[test]
    fn a_report_of_others_is_read() {
        let json = r#"{
            "organization-name": "Company-X",
            "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
            "contact-info": "sts-reporting@company-x.example",
            "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
            "policies": [{
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
                    "policy-domain": "company-y.example",
                    "mx-host": "*.mail.company-y.example"
                },
                "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
                "failure-details": [{
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd:0012::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "failed-session-count": 100
                }, {
                    "result-type": "something-new",
                    "receiving-ip": "192.0.2.1",
                    "failed-session-count": 203,
                    "additional-information": null
                }]
            }, {
                "policy": {"policy-type": "no-policy-found", "policy-string": null, "policy-domain": "z"},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0}
            }]
        }"#;
        let report = Report::parse(json.as_bytes()).unwrap();
        assert_eq!(report.policies[0].policy.mx_host, ["*.mail.company-y.example"]);
        assert_eq!(report.policies[0].failure_details[0].result_type, Fault::CertificateExpired);
        assert_eq!(report.policies[0].failure_details[1].result_type, Fault::Other);
        assert_eq!(Report::parse(report.json().as_bytes()), Some(report));
        assert_eq!(Report::parse(b"{}"), None);
        assert_eq!(Report::parse(b"\x1f\x8b\x08"), None);
    }
}
