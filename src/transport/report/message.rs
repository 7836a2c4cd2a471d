//! The message that carries a report (RFC 8460 §5.3).

use super::Report;

/// Bytes of a line of the body, in front of its CRLF.
const LINE_BYTES: usize = 76;

/// The name of the attached file (RFC 8460 §5.2). The times of the report are days of UTC.
pub fn filename(report: &Report, submitter: &str, domain: &str) -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (start, end) = (&report.date_range.start_datetime, &report.date_range.end_datetime);
    format!("{submitter}!{domain}!{}!{}.json", digits(start), digits(end))
}

/// The fields and body that a report needs, for a message from `from` to `to` about `domain`. `date` and
/// `message_id` are the fields' values. It must be signed by DKIM and not ask for TLS (RFC 8460 §3, §5.3).
pub fn message(
    report: &Report,
    (from, to): (&str, &str),
    (submitter, domain): (&str, &str),
    (date, message_id): (&str, &str),
) -> String {
    let id = &report.report_id;
    let boundary =
        format!("tlsrpt-{}", id.bytes().fold(7_u64, |sum, byte| sum * 31 % 0xffff_ffff + u64::from(byte)));
    let file = filename(report, submitter, domain);
    let day = report.date_range.start_datetime.split('T').next().unwrap_or_default();
    let lines = [
        format!("From: <{from}>"),
        format!("To: <{to}>"),
        format!("Date: {date}"),
        format!("Message-ID: {message_id}"),
        format!("Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>"),
        format!("TLS-Report-Domain: {domain}"),
        format!("TLS-Report-Submitter: {submitter}"),
        "TLS-Required: No".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        format!("Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\""),
        String::new(),
        format!("--{boundary}"),
        "Content-Type: text/plain; charset=us-ascii".to_owned(),
        String::new(),
        format!(
            "How connections from {submitter} to the mail hosts of {domain}\r\nwere protected on {day} (RFC 8460)."
        ),
        String::new(),
        format!("--{boundary}"),
        "Content-Type: application/tlsrpt+json".to_owned(),
        format!("Content-Disposition: attachment;\r\n filename=\"{file}\""),
        "Content-Transfer-Encoding: quoted-printable".to_owned(),
        String::new(),
        quoted_printable(&report.json()),
        format!("--{boundary}--"),
        String::new(),
    ];
    lines.join("\r\n")
}

/// RFC 2045 §6.7, for a text of one line.
fn quoted_printable(text: &str) -> String {
    let (mut coded, mut column) = (String::new(), 0);
    for byte in text.bytes() {
        let is_plain = (b' '..=b'~').contains(&byte) && byte != b'=';
        let piece = if is_plain { char::from(byte).to_string() } else { format!("={byte:02X}") };
        // A space may end no line, so each line ends with the soft break's sign.
        if column + piece.len() >= LINE_BYTES {
            coded.push_str("=\r\n");
            column = 0;
        }
        column += piece.len();
        coded.push_str(&piece);
    }
    coded
}

#[cfg(test)]
mod tests {
    use base::Timestamp;

    use super::super::{Collected, Day, Session, Used};
    use super::*;
    use crate::fault::Fault;
    use crate::hop::Applied;

    #[test]
    fn a_report_travels_as_a_message_and_comes_out_as_it_was() {
        let mut collected = Collected::default();
        let used = Used { applied: Applied::Sts, lines: vec!["mode: enforce = ä".into()], hosts: vec![] };
        let session =
            Session { host: "mx.example", address: None, source: None, fault: Some(Fault::StsPolicyInvalid) };
        let now = Timestamp::from_s(1_480_000_000);
        collected.note(now, "example.org", &used, &session);
        let report = collected.report(Day::of(now), "example.org", "us.example", "tls@us.example").unwrap();
        let ends = (("tls@us.example", "r@example.org"), ("us.example", "example.org"));
        let text = message(&report, ends.0, ends.1, ("Thu, 24 Nov 2016 15:06:40 +0000", "<1@us.example>"));
        assert!(text.split("\r\n").all(|line| line.len() <= 78 && !line.contains('\n')), "{text}");
        assert!(text.contains("filename=\"us.example!example.org!20161124000000!20161124235959.json\""));
        let (_, body) = text.split_once("quoted-printable\r\n\r\n").unwrap();
        let (body, _) = body.split_once("\r\n--tlsrpt-").unwrap();
        let joined = body.replace("=\r\n", "");
        let decoded = joined.replace("=3D", "=").replace("=C3=A4", "ä");
        assert_eq!(Report::parse(decoded.as_bytes()), Some(report));
    }
}
