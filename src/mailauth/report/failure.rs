//! Reports about single messages that failed (RFC 6591, with RFC 9991 for DMARC), in the form of RFC 5965.

use std::net::IpAddr;

use base::Timestamp;

use super::mail::Envelope;
use crate::Verdicts;
use crate::dkim::DkimResult;
use crate::spf::SpfResult;
use crate::text::put;

/// The message that failed, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// What was found out about it.
    pub verdicts: &'a Verdicts,
    /// The peer's address.
    pub ip: IpAddr,
    /// The envelope's sender.
    pub mail_from: &'a str,
    /// When it came.
    pub arrived_at: Timestamp,
    /// Its header. The body stays here: it may be anybody's mail (RFC 9991 §6).
    pub header: &'a [u8],
    /// What was done with it: `delivered`, `spam`, `policy`, `reject` or `other` (RFC 6591 §3.2.2).
    pub delivery: &'a str,
}

/// The whole message, to be signed and sent. Nothing when the envelope cannot be written.
pub fn failure_report(failed: &Failed<'_>, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
    if !envelope.is_writable() {
        return None;
    }
    let dmarc = &failed.verdicts.dmarc;
    let boundary = format!("report-{}-{}", failed.arrived_at.as_ms(), envelope.now.as_ms());
    let subject = format!("Failure report for {}", dmarc.author);
    let mut mail = envelope.head(&subject, &boundary, "multipart/report; report-type=feedback-report");
    put(&mut mail, format_args!("A message with a From of {} failed authentication here.\r\n", dmarc.author));
    put(&mut mail, format_args!("--{boundary}\r\nContent-Type: message/feedback-report\r\n\r\n"));
    mail.push_str(&fields(failed, envelope.submitter));
    put(&mut mail, format_args!("\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n"));
    let mut bytes = mail.into_bytes();
    bytes.extend(header_only(failed.header));
    bytes.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    Some(bytes)
}

/// The machine's part.
fn fields(failed: &Failed<'_>, submitter: &str) -> String {
    let verdicts = failed.verdicts;
    let dmarc = &verdicts.dmarc;
    let alignment = match (dmarc.has_aligned_dkim, dmarc.has_aligned_spf) {
        (true, true) => "dkim, spf",
        (true, false) => "dkim",
        (false, true) => "spf",
        (false, false) => "none",
    };
    let mut text = String::from("Feedback-Type: auth-failure\r\nVersion: 1\r\nUser-Agent: Angarium\r\n");
    let mut add = |name: &str, value: &str| {
        // A stranger wrote some of them.
        let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&mime::fold(name, &clean));
    };
    add("Auth-Failure", "dmarc");
    add("Identity-Alignment", alignment);
    add("Delivery-Result", failed.delivery);
    add("Source-IP", &failed.ip.to_canonical().to_string());
    add("Arrival-Date", &mime::rfc5322_date(failed.arrived_at, 0));
    add("Original-Mail-From", &format!("<{}>", failed.mail_from));
    add("Reported-Domain", &dmarc.author);
    add("Reporting-MTA", &format!("dns; {submitter}"));
    add("Authentication-Results", &verdicts.results);
    let broken = verdicts.dkim.iter().find(|dkim| dkim.result != DkimResult::Pass && !dkim.domain.is_empty());
    if let Some(dkim) = broken {
        add("DKIM-Domain", &dkim.domain);
        add("DKIM-Identity", &dkim.identity);
        add("DKIM-Selector", &dkim.selector);
    }
    if verdicts.spf.result != SpfResult::Pass && !verdicts.spf.domain.is_empty() {
        add("SPF-DNS", &format!("txt : {}", verdicts.spf.domain));
    }
    text
}

/// The header without its empty line, whatever else was given.
fn header_only(header: &[u8]) -> &[u8] {
    match memchr::memmem::find(header, b"\r\n\r\n") {
        Some(at) => header.get(..at + 2).unwrap_or_default(),
        None => header,
    }
}
