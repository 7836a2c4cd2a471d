//! Aggregate reports as mail (RFC 9990 §3.5).

use base::Timestamp;

use super::packed::{pack, unpack};
use super::{Aggregate, read, write};
use crate::limits::{REPORT_PACKED_BYTES_MAX, REPORT_PARTS_MAX};
use crate::name;
use crate::tags::to_base64;
use crate::text::put;

/// Who sends a report, to whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The address in From.
    pub from: &'a str,
    /// The address in To.
    pub to: &'a str,
    /// Our domain, as the submitter.
    pub submitter: &'a str,
    /// For Date and Message-ID.
    pub now: Timestamp,
}

impl Envelope<'_> {
    /// Whether it can be written into fields: no line ends or other control characters.
    pub(super) fn is_writable(&self) -> bool {
        [self.from, self.to, self.submitter]
            .into_iter()
            .all(|text| !text.bytes().any(|byte| byte.is_ascii_control()))
    }

    /// A message's header and the begin of its first part, a text.
    pub(super) fn head(&self, subject: &str, boundary: &str, kind: &str) -> String {
        let mut mail = mime::fold("From", self.from);
        mail.push_str(&mime::fold("To", self.to));
        mail.push_str(&mime::fold("Subject", subject));
        mail.push_str(&mime::fold("Date", &mime::rfc5322_date(self.now, 0)));
        put(&mut mail, format_args!("Message-ID: <{boundary}@{}>\r\n", self.submitter));
        mail.push_str("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
        put(&mut mail, format_args!("Content-Type: {kind};\r\n boundary=\"{boundary}\"\r\n\r\n"));
        put(&mut mail, format_args!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"));
        mail
    }
}

/// The report's file name: `receiver!domain!begin!end!id.xml.gz`.
pub fn aggregate_name(report: &Aggregate, submitter: &str) -> String {
    let id: String = report.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let domain = name::normal(&report.published.domain).unwrap_or_default();
    let domain: String = domain.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
    format!("{submitter}!{domain}!{}!{}!{id}.xml.gz", report.period.begin_s, report.period.end_s)
}

/// The whole message, to be signed and sent. Nothing when the envelope cannot be written, or when there is
/// nothing to report.
pub fn aggregate_mail(report: &Aggregate, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
    if !envelope.is_writable() || report.rows.is_empty() {
        return None;
    }
    let file = aggregate_name(report, envelope.submitter);
    let boundary = format!("report-{}-{}", report.period.begin_s, envelope.now.as_ms());
    // `ridfmt = dot-atom-text [ "@" dot-atom-text ]`
    let is_atom = |c: &char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@".contains(*c);
    let id: String = report.id.chars().filter(is_atom).take(128).collect();
    let subject = format!(
        "Report Domain: {} Submitter: {} Report-ID: <{id}>",
        report.published.domain, envelope.submitter
    );
    let mut mail = envelope.head(&subject, &boundary, "multipart/mixed");
    let count: u64 = report.rows.iter().fold(0, |sum, row| sum.saturating_add(row.count));
    put(
        &mut mail,
        format_args!("{count} messages with a From of this domain were seen; the report is attached.\r\n"),
    );
    put(
        &mut mail,
        format_args!(
            "--{boundary}\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
        ),
    );
    put(&mut mail, format_args!("Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\r\n"));
    let packed = to_base64(&pack(write(report).as_bytes()));
    let mut rest = packed.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        mail.push_str(line);
        mail.push_str("\r\n");
        rest = after;
    }
    put(&mut mail, format_args!("--{boundary}--\r\n"));
    Some(mail.into_bytes())
}

/// The report in a message that was received, if there is one: the first part that unpacks to one.
pub fn aggregate_of_mail(message: &[u8]) -> Option<Aggregate> {
    let tree = mime::scan(message);
    let parts = tree.parts().iter().filter(|part| !part.is_multipart() && !part.is_message());
    let candidates = parts.filter(|part| {
        let kind = &part.content_type;
        let is_packed = ["gzip", "x-gzip", "zip", "x-zip-compressed", "xml", "octet-stream"]
            .into_iter()
            .any(|subtype| kind.is("application", subtype));
        (is_packed || kind.is("text", "xml")) && part.size() as usize <= REPORT_PACKED_BYTES_MAX
    });
    // Each may unpack to much.
    candidates.take(REPORT_PARTS_MAX).find_map(|part| {
        let packed = mime::decode_transfer(part.encoding, part.body_of(message));
        read(&unpack(&packed).ok()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Disposition, DkimSeen, Period, Published, Reason, Row, SpfSeen};
    use super::*;
    use crate::dmarc::Policy;

    fn report() -> Aggregate {
        let text = |text: &str| Some(text.to_owned());
        Aggregate {
            reporter: "Receiver <& co>".to_owned(),
            email: "dmarc@mx.example".to_owned(),
            contact: None,
            id: "2026-11-24.d.example".to_owned(),
            period: Period { begin_s: 1, end_s: 86_400 },
            errors: vec!["one".to_owned()],
            generator: text("Angarium"),
            published: Published {
                domain: "d.example".to_owned(),
                policy: Some(Policy::Reject),
                subdomains: Some(Policy::Quarantine),
                missing: None,
                is_dkim_strict: true,
                is_spf_strict: false,
                is_test: true,
                failure_options: text("1"),
                discovery: text("treewalk"),
            },
            rows: vec![Row {
                source_ip: "2001:db8::1".parse().unwrap(),
                count: 3,
                disposition: Disposition::Pass,
                has_aligned_dkim: true,
                has_aligned_spf: false,
                reasons: vec![Reason { kind: "local_policy".to_owned(), comment: text("arc=pass") }],
                header_from: "d.example".to_owned(),
                envelope_from: text("e.example"),
                envelope_to: None,
                dkim: vec![DkimSeen {
                    domain: "d.example".to_owned(),
                    selector: text("s"),
                    result: "pass".to_owned(),
                    human_result: None,
                }],
                spf: vec![SpfSeen {
                    domain: "e.example".to_owned(),
                    scope: text("mfrom"),
                    result: "fail".to_owned(),
                }],
            }],
        }
    }

    #[test]
    fn a_report_comes_out_of_the_mail_it_went_into() {
        let envelope = Envelope {
            from: "dmarc@mx.example",
            to: "rua@d.example",
            submitter: "mx.example",
            now: Timestamp::from_s(1_795_500_000),
        };
        let mail = aggregate_mail(&report(), &envelope).unwrap();
        assert_eq!(aggregate_of_mail(&mail), Some(report()));
        let text = String::from_utf8(mail).unwrap();
        assert!(text.contains("filename=\"mx.example!d.example!1!86400!20261124dexample.xml.gz\""), "{text}");
        assert!(text.lines().all(|line| line.len() <= 998));
        assert_eq!(aggregate_mail(&report(), &Envelope { to: "a@b\r\nBcc: c", ..envelope }), None);
        assert_eq!(aggregate_mail(&Aggregate { rows: Vec::new(), ..report() }, &envelope), None);
        assert_eq!(aggregate_of_mail(b"Subject: none\r\n\r\ntext"), None);
    }
}
