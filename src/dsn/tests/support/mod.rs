//! What holds of every report, whatever it was made of.

use dsn::Report;

/// Clean lines, a header as RFC 5322 wants it, a text, the report, and at most one part more.
pub(crate) fn check_report(report: &Report) {
    let Report { message, is_8bit, is_smtputf8 } = report;
    assert!(message.ends_with(b"--\r\n"));
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\r\n").expect("a line ends at CRLF");
        assert!(content.len() <= 998, "a line of {} bytes", content.len());
        assert!(!content.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    assert!(*is_8bit || message.is_ascii(), "8-bit and does not say so");
    assert!(*is_8bit || !*is_smtputf8);
    let tree = mime::scan(message);
    let root = tree.root();
    for name in
        ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    {
        let fields = mime::Headers::of(message).filter(|field| field.is(name)).count();
        assert_eq!(fields, 1, "{name}");
    }
    assert!(mime::Headers::of(message).all(|field| !field.name.is_empty()));
    assert!(!mime::field(message, "Subject").expect("counted").value.trim_ascii().is_empty());
    assert!(*is_smtputf8 || root.header_of(message).is_ascii());
    assert!(mime::parse_date(mime::field(message, "Date").expect("counted").value).is_some());
    assert!(root.content_type.is("multipart", "report"));
    assert_eq!(root.content_type.param("report-type").as_deref(), Some("delivery-status"));
    let kinds: Vec<String> = root
        .children
        .iter()
        .map(|id| format!("{}/{}", tree.part(*id).content_type.kind, tree.part(*id).content_type.subtype))
        .collect();
    assert!((2..=3).contains(&kinds.len()), "{kinds:?}");
    assert_eq!(kinds[0], "text/plain");
    assert!(["message/delivery-status", "message/global-delivery-status"].contains(&&*kinds[1]));
    for id in &root.children {
        let part = tree.part(*id);
        assert!(part.encoding != mime::Encoding::SevenBit || part.body_of(message).is_ascii());
    }
}
