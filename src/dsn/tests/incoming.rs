//! Reports as other servers write them, made up after their manner.

use base::Timestamp;
use dsn::{Action, Bounce, FeedbackKind, Incoming, Status, Verp, classify, read_report};

const BOUNCE: &str = "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\r\nTo: owner+bob=example.net@lists.example\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"b/mx.example.net\"\r\n\r\nThis is a MIME-encapsulated message.\r\n\r\n--b/mx.example.net\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry.\r\n\r\n--b/mx.example.net\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\nX-Queue-ID: 4XYZ\r\nArrival-Date: Tue, 24 Nov 2026 12:00:00 +0000 (UTC)\r\n\r\nFinal-Recipient: rfc822; bob@example.net\r\nOriginal-Recipient: rfc822;bob@example.net\r\nAction: failed (for good)\r\nStatus: 5.2.2 (mailbox full)\r\nRemote-MTA: dns; store.example.net\r\nDiagnostic-Code: smtp; 552 5.2.2 <bob@example.net>\r\n    Mailbox is full\r\n\r\nFinal-Recipient: <eve@example.net>\r\nAction: delayed\r\nStatus: 4.4.1\r\nWill-Retry-Until: Sun, 29 Nov 2026 12:00:00 +0000\r\n\r\n--b/mx.example.net\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <1@lists.example>\r\nFrom: The list <owner@lists.example>\r\nDKIM-Signature: v=1; a=rsa-sha256; d=lists.\r\n example; s=x; b=d=no\r\nDKIM-Signature: v=1;d=esp.example\r\nSubject: hello\r\n\r\nHello\r\n--b/mx.example.net--\r\n";

const COMPLAINT: &str = "From: <abuse@isp.example>\nTo: fbl@lists.example\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=p\n\n--p\nContent-Type: text/plain\n\nThis is an email abuse report.\n\n--p\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: SomeGenerator/1.0\nVersion: 1\nOriginal-Mail-From: <owner+bob=example.net@lists.example>\nOriginal-Rcpt-To: <bob@example.net>\nOriginal-Rcpt-To: robert@example.net\nArrival-Date: Tue, 24 Nov 2026 12:00:00 GMT\nSource-IP: 192.0.2.7\nReporting-MTA: dns; mx.isp.example\nReported-Domain: lists.example\nReported-URI: http://lists.example/a\nReported-URI: mailto:owner@lists.example\nIncidents: 3\nAuthentication-Results: mx.isp.example; dkim=pass\n header.d=lists.example\n\n--p\nContent-Type: text/rfc822-headers\n\nMessage-ID: <2@lists.example>\nFrom: owner@lists.example\n\n--p--\n";

const AUTH_FAILURE: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=p\r\n\r\n--p\r\n\r\nText\r\n--p\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\nVersion: 1\r\nAuth-Failure: DMARC\r\nIdentity-Alignment: none\r\nDelivery-Result: Reject\r\nDKIM-Domain: example.org\r\nDKIM-Identity: @example.org\r\nDKIM-Selector: s1\r\nSPF-DNS: txt : example.org : \"v=spf1 -all\"\r\nSource-IP: 2001:db8::1\r\n\r\n--p\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: x@example.org\r\n\r\n--p--\r\n";

#[test]
fn a_bounce_says_who_and_why() {
    let Some(Incoming::Delivery(report)) = read_report(BOUNCE.as_bytes()) else {
        panic!("a delivery report")
    };
    let day = Timestamp::from_civil_utc(2026, 11, 24, 12, 0, 0);
    assert_eq!((report.reporting_mta.as_deref(), report.arrived_at), (Some("mx.example.net"), Some(day)));
    assert_eq!((report.envelope_id, report.is_cut), (None, false));
    let [bob, eve] = report.recipients.as_slice() else { panic!("{:?}", report.recipients) };
    assert_eq!(bob.address.as_deref(), Some("bob@example.net"));
    assert_eq!(bob.original, bob.address);
    assert_eq!((bob.action, bob.status), (Some(Action::Failed), Some(Status::new(5, 2, 2))));
    assert_eq!(bob.remote_mta.as_deref(), Some("store.example.net"));
    assert_eq!(bob.diagnostic.as_deref(), Some("552 5.2.2 <bob@example.net> Mailbox is full"));
    assert_eq!(classify(bob.status, bob.diagnostic.as_deref().unwrap()), Bounce::MailboxFull);
    assert_eq!(eve.address.as_deref(), Some("eve@example.net"));
    assert_eq!((eve.action, eve.retry_until.is_some()), (Some(Action::Delayed), true));
    assert_eq!(report.returned.message_id.as_deref(), Some("<1@lists.example>"));
    assert_eq!(report.returned.from.as_deref(), Some("owner@lists.example"));
    assert_eq!(report.returned.dkim_domains, ["lists.example", "esp.example"]);
    let (sender, recipient) = Verp::default().decode("owner+bob=example.net@lists.example").unwrap();
    assert_eq!((&*sender, &*recipient), ("owner@lists.example", "bob@example.net"));
}

#[test]
fn a_complaint_says_who_and_about_what() {
    let Some(Incoming::Feedback(report)) = read_report(COMPLAINT.as_bytes()) else {
        panic!("a feedback report")
    };
    assert_eq!((&report.kind, report.incidents), (&FeedbackKind::Abuse, 3));
    assert_eq!(report.sender.as_deref(), Some("owner+bob=example.net@lists.example"));
    assert_eq!(report.recipients, ["bob@example.net", "robert@example.net"]);
    assert_eq!(report.source_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(report.user_agent.as_deref(), Some("SomeGenerator/1.0"));
    assert_eq!(report.reporting_mta.as_deref(), Some("mx.isp.example"));
    assert_eq!(report.reported_domains, ["lists.example"]);
    assert_eq!(report.reported_uris, ["http://lists.example/a", "mailto:owner@lists.example"]);
    assert_eq!(report.authentication_results, ["mx.isp.example; dkim=pass header.d=lists.example"]);
    assert_eq!(report.arrived_at, Some(Timestamp::from_civil_utc(2026, 11, 24, 12, 0, 0)));
    assert_eq!(report.returned.message_id.as_deref(), Some("<2@lists.example>"));
    assert_eq!(FeedbackKind::NotSpam.as_str(), "not-spam");
}

#[test]
fn a_failed_check_is_told() {
    let Some(Incoming::Feedback(report)) = read_report(AUTH_FAILURE.as_bytes()) else {
        panic!("a feedback report")
    };
    assert_eq!((&report.kind, report.incidents), (&FeedbackKind::AuthFailure, 1));
    let values = [
        (&report.auth_failure, "dmarc"),
        (&report.delivery_result, "reject"),
        (&report.identity_alignment, "none"),
        (&report.dkim_domain, "example.org"),
        (&report.dkim_identity, "@example.org"),
        (&report.dkim_selector, "s1"),
        (&report.spf_dns, "txt : example.org : \"v=spf1 -all\""),
        (&report.source_ip, "2001:db8::1"),
        (&report.returned.from, "x@example.org"),
    ];
    for (value, expected) in values {
        assert_eq!(value.as_deref(), Some(expected));
    }
}

#[test]
fn what_is_no_report_is_none() {
    // Also a report that somebody forwards within a message, and one that is not taken apart at all.
    let forwarded = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nLook.\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n{BOUNCE}\r\n--o--\r\n"
    );
    for message in [
        "",
        "Subject: x\r\n\r\nbody",
        "Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n",
        &forwarded,
    ] {
        assert_eq!(read_report(message.as_bytes()), None, "{message}");
    }
}

#[test]
fn a_flood_of_recipients_is_cut() {
    let block = "\r\nFinal-Recipient: rfc822; bob@example.net\r\nAction: failed\r\n";
    let message = BOUNCE.replace("\r\nFinal-Recipient: <eve@example.net>", &block.repeat(5000));
    let Some(Incoming::Delivery(report)) = read_report(message.as_bytes()) else {
        panic!("a delivery report")
    };
    assert_eq!((report.recipients.len(), report.is_cut), (dsn::limits::REPORTED_RECIPIENTS_MAX, true));
    assert_eq!(report.failures().count(), report.recipients.len());
}
