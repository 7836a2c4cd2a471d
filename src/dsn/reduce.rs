//! A feedback report without what it gives back of other people's mail: what is kept of it.

use mime::{Headers, decode_transfer};

use crate::limits::{PARTS_SEARCHED_MAX, REPORT_PART_BYTES_MAX};
use crate::read::returned_header;

/// Fields of the original that are kept.
const KEPT: [&str; 6] = ["Message-ID", "From", "To", "Date", "Subject", "DKIM-Signature"];

/// The same report as a message of its own: the machine's fields and some of the original's header, nothing else.
/// [`crate::read_report`] reads the same out of it. `None` when the message is no feedback report.
pub fn reduced(message: &[u8]) -> Option<Vec<u8>> {
    const BOUNDARY: &str = "feedback";
    let tree = mime::scan(message);
    let parts = || tree.root().children.iter().take(PARTS_SEARCHED_MAX).map(|id| tree.part(*id));
    let report = parts().find(|part| part.content_type.is("message", "feedback-report"))?;
    let body = report.body_of(message);
    let fields = decode_transfer(report.encoding, body.get(..REPORT_PART_BYTES_MAX).unwrap_or(body));
    let mut out = format!(
        "Content-Type: multipart/report; report-type=feedback-report; boundary={BOUNDARY}\r\n\r\n\
         --{BOUNDARY}\r\nContent-Type: message/feedback-report\r\n\r\n"
    )
    .into_bytes();
    for field in Headers::of(fields.trim_ascii_start()) {
        put(&mut out, field.name, field.value);
    }
    out.extend(format!("\r\n--{BOUNDARY}\r\nContent-Type: text/rfc822-headers\r\n\r\n").into_bytes());
    if let Some(header) = parts().find_map(|part| returned_header(&tree, part, message)) {
        for field in Headers::of(&header).filter(|field| KEPT.iter().any(|kept| field.is(kept))) {
            put(&mut out, field.name, field.value);
        }
    }
    out.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    Some(out)
}

/// A field on one line: no line of it can be taken for a boundary.
fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let value = mime::unfold(value);
    let clean = |byte: &u8| if byte.is_ascii_control() { b' ' } else { *byte };
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend(value.trim_ascii().iter().map(clean));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_report;

    const COMPLAINT: &str = "From: <abuse@isp.example>\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=p\r\n\r\n--p\r\nContent-Type: text/plain\r\n\r\nSomebody complains.\r\n--p\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: X/1\r\nVersion: 1\r\nOriginal-Rcpt-To: <bob@example.net>\r\nAuthentication-Results: mx.isp.example; dkim=pass\r\n header.d=lists.example\r\n\r\n--p\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <2@lists.example>\r\nFrom: owner@lists.example\r\nX-Secret: no\r\nDKIM-Signature: v=1;\r\n d=lists.example\r\n\r\nThe text of the message.\r\n--p--\r\n";

    #[test]
    fn a_reduced_report_says_the_same_and_nothing_of_the_mail() {
        let small = reduced(COMPLAINT.as_bytes()).expect("it is one");
        assert_eq!(read_report(&small), read_report(COMPLAINT.as_bytes()));
        assert!(read_report(&small).is_some());
        let text = String::from_utf8(small).expect("ASCII");
        assert!(!text.contains("The text") && !text.contains("Secret") && !text.contains("complains"));
        assert_eq!(reduced(b"Subject: x\r\n\r\nx\r\n"), None);
    }
}
