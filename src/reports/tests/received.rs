//! Reports in the forms that others send: our own, those of large receivers, damaged ones, and none.

use base::Timestamp;
use mailauth::report::{
    Aggregate, Disposition, Envelope, Failed, Period, Published, Row, UnpackError, aggregate_mail,
    failure_report, pack,
};
use reports::{
    Digest, Found, Kind, POSTED_JSON_BYTES_MAX, Report, Summary, read_mail, read_posted, unpack_report,
};
use transport::report::{DateRange, PolicyResult, PolicyText, Report as TlsReport, message};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

/// As Google writes it: no namespace, RFC 7489's elements.
const PLAIN: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>big.example</org_name>
    <email>noreply-dmarc-support@big.example</email>
    <extra_contact_info>https://support.big.example/a/answer/2466580</extra_contact_info>
    <report_id>16403178210582951231</report_id>
    <date_range><begin>1795392000</begin><end>1795478399</end></date_range>
  </report_metadata>
  <policy_published>
    <domain>Example.org</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>reject</sp><pct>100</pct><np>reject</np>
  </policy_published>
  <record>
    <row>
      <source_ip>192.0.2.7</source_ip><count>5</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated>
    </row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results>
      <dkim><domain>example.org</domain><result>pass</result><selector>s1</selector></dkim>
      <spf><domain>example.org</domain><result>pass</result></spf>
    </auth_results>
  </record>
  <record>
    <row>
      <source_ip>2001:db8::9</source_ip><count>2</count>
      <policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated>
    </row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results><spf><domain>evil.example</domain><result>softfail</result></spf></auth_results>
  </record>
</feedback>
"#;

/// As Microsoft writes it: schema namespaces on the root, a version first, nothing indented.
const SPACED: &str = "<?xml version=\"1.0\"?><feedback xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><version>1.0</version><report_metadata><org_name>Outlook.example</org_name><email>dmarcreport@outlook.example</email><report_id>0123456789abcdef0123456789abcdef</report_id><date_range><begin>1795392000</begin><end>1795478400</end></date_range></report_metadata><policy_published><domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct><fo>0</fo></policy_published><record><row><source_ip>192.0.2.7</source_ip><count>3</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><envelope_to>outlook.example</envelope_to><envelope_from>lists.example</envelope_from><header_from>example.org</header_from></identifiers><auth_results><dkim><domain>example.org</domain><selector>s1</selector><result>pass</result></dkim><spf><domain>lists.example</domain><scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>";

/// A ZIP archive with one stored file.
fn zip(name: &str, text: &[u8]) -> Vec<u8> {
    let size = (text.len() as u32).to_le_bytes();
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend([0; 14]);
    archive.extend(size);
    archive.extend(size);
    archive.extend((name.len() as u16).to_le_bytes());
    archive.extend([0; 2]);
    archive.extend(name.bytes());
    archive.extend(text);
    let directory = archive.len() as u32;
    archive.extend(b"PK\x01\x02");
    archive.extend([0; 16]);
    archive.extend(size);
    archive.extend(size);
    archive.extend((name.len() as u16).to_le_bytes());
    archive.extend([0; 16]);
    archive.extend(name.bytes());
    archive.extend(b"PK\x05\x06");
    archive.extend([0; 8]);
    archive.extend([0; 4]);
    archive.extend(directory.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (at, chunk) in bytes.chunks(3).enumerate() {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let number = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
        if at % 19 == 18 {
            text.push_str("\r\n");
        }
    }
    text
}

/// A message that is nothing but the attachment.
fn bare(kind: &str, content: &[u8]) -> Vec<u8> {
    format!(
        "From: r@big.example\r\nTo: dmarc@example.org\r\nSubject: Report domain: example.org Submitter: big.example Report-ID: 1\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        base64(content)
    )
    .into_bytes()
}

/// A message with a text and the attachment.
fn mixed(kind: &str, content: &[u8]) -> Vec<u8> {
    format!(
        "From: r@outlook.example\r\nSubject: Report Domain: example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"_m_\"\r\n\r\n--_m_\r\nContent-Type: multipart/related; boundary=\"_r_\"\r\n\r\n--_r_\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n<div>A report.</div>\r\n--_r_--\r\n--_m_\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a.xml.gz\"\r\n\r\n{}\r\n--_m_--\r\n",
        base64(content)
    )
    .into_bytes()
}

fn dmarc(message: &[u8]) -> Aggregate {
    match read_mail(message) {
        Some(Found { report: Report::Dmarc(report), content }) => {
            assert_eq!(unpack_report(Kind::Dmarc, &content), Some(Report::Dmarc(report.clone())));
            report
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_forms_of_large_receivers_are_read() {
    let google = bare(
        "application/zip; name=\"big.example!example.org!1795392000!1795478399.zip\"",
        &zip("a.xml", PLAIN.as_bytes()),
    );
    let report = dmarc(&google);
    let summary = Summary::of(&Report::Dmarc(report.clone()), "", NOW);
    assert_eq!((summary.domain.as_str(), summary.reporter.as_str()), ("example.org", "big.example"));
    assert_eq!((summary.total, summary.failed), (7, 2));
    assert_eq!((summary.begin.as_s(), summary.end.as_s()), (1_795_392_000, 1_795_478_399));
    let microsoft = dmarc(&mixed("application/gzip", &pack(SPACED.as_bytes())));
    assert_eq!((microsoft.reporter.as_str(), microsoft.rows.len()), ("Outlook.example", 1));
    assert_eq!(microsoft.rows[0].envelope_from.as_deref(), Some("lists.example"));
    for kind in ["application/x-gzip", "application/octet-stream", "application/x-zip-compressed"] {
        assert_eq!(dmarc(&mixed(kind, &pack(SPACED.as_bytes()))), microsoft, "{kind}");
    }
    let mut digest = Digest::default();
    digest.add(&Report::Dmarc(report));
    digest.add(&Report::Dmarc(microsoft));
    assert_eq!((digest.reports, digest.reporters.len(), digest.sources.len()), (2, 2, 2));
    let source = digest.sources[&"192.0.2.7".parse().unwrap()];
    assert_eq!((source.count, source.dkim, source.spf, source.failed), (8, 8, 5, 0));
    assert_eq!(digest.sources[&"2001:db8::9".parse().unwrap()].rejected, 2);
}

#[test]
fn what_we_write_we_read() {
    let row = Row {
        source_ip: "192.0.2.1".parse().unwrap(),
        count: 4,
        disposition: Disposition::Quarantine,
        has_aligned_dkim: false,
        has_aligned_spf: false,
        reasons: Vec::new(),
        header_from: "d.example".to_owned(),
        envelope_from: None,
        envelope_to: None,
        dkim: Vec::new(),
        spf: Vec::new(),
    };
    let report = Aggregate {
        reporter: "us.example".to_owned(),
        email: "p@us.example".to_owned(),
        id: "1".to_owned(),
        period: Period { begin_s: 0, end_s: 86_399 },
        published: Published {
            domain: "d.example".to_owned(),
            policy: Some(mailauth::dmarc::Policy::None),
            failure_options: Some("0".to_owned()),
            ..Published::default()
        },
        rows: vec![row],
        ..Aggregate::default()
    };
    let envelope = Envelope { from: "p@us.example", to: "r@d.example", submitter: "us.example", now: NOW };
    assert_eq!(dmarc(&aggregate_mail(&report, &envelope).unwrap()), report);

    let tls = TlsReport {
        organization_name: "us.example".to_owned(),
        date_range: DateRange {
            start_datetime: "2026-11-23T00:00:00Z".to_owned(),
            end_datetime: "2026-11-23T23:59:59Z".to_owned(),
        },
        contact_info: "p@us.example".to_owned(),
        report_id: "2".to_owned(),
        policies: vec![PolicyResult {
            policy: PolicyText {
                policy_type: "no-policy-found".to_owned(),
                policy_string: Vec::new(),
                policy_domain: "d.example".to_owned(),
                mx_host: Vec::new(),
            },
            summary: transport::report::Summary {
                total_successful_session_count: 9,
                total_failure_session_count: 1,
            },
            failure_details: Vec::new(),
        }],
    };
    let mail = message(&tls, ("p@us.example", "r@d.example"), ("us.example", "d.example"), ("x", "<1@us>"));
    // Others pack it (RFC 8460 §5.3).
    let packed = mixed("application/tlsrpt+gzip", &pack(tls.json().as_bytes()));
    for mail in [mail.into_bytes(), packed] {
        let Some(Found { report, content }) = read_mail(&mail) else { panic!("a report") };
        assert_eq!(report, Report::Tls(tls.clone()));
        assert_eq!(unpack_report(Kind::Tls, &content), Some(report.clone()));
        let summary = Summary::of(&report, "", NOW);
        assert_eq!((summary.domain.as_str(), summary.total, summary.failed), ("d.example", 10, 1));
        assert_eq!(summary.end.as_s() - summary.begin.as_s(), 86_399);
    }
}

#[test]
fn complaints_and_our_own_failure_reports_are_read_and_kept_without_the_mail() {
    let complaint = b"From: fbl@isp.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=p\r\n\r\n--p\r\nContent-Type: text/plain\r\n\r\nx\r\n--p\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: X/1\r\nVersion: 1\r\nReporting-MTA: dns; mx.isp.example\r\n\r\n--p\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <2@example.org>\r\nFrom: Ann <ann@Example.org>\r\nSubject: hello\r\n\r\nA secret.\r\n--p--\r\n";
    let Some(Found { report, content }) = read_mail(complaint) else { panic!("a report") };
    let summary = Summary::of(&report, "<9@isp.example>", NOW);
    assert_eq!((summary.kind, summary.domain.as_str(), summary.total), (Kind::Feedback, "example.org", 1));
    assert_eq!(
        (summary.reporter.as_str(), summary.report_id.as_str()),
        ("mx.isp.example", "<9@isp.example>")
    );
    assert!(!String::from_utf8_lossy(&content).contains("secret"));
    assert_eq!(unpack_report(Kind::Feedback, &content), Some(report));

    let dmarc = mailauth::dmarc::Dmarc {
        result: mailauth::dmarc::DmarcResult::Fail,
        author: "d.example".to_owned(),
        organisation: "d.example".to_owned(),
        policy_domain: None,
        policy: mailauth::dmarc::Policy::Reject,
        record: None,
        has_aligned_spf: false,
        has_aligned_dkim: false,
    };
    let mut verdicts = verdicts(&complaint[..]);
    verdicts.dmarc = dmarc;
    let failed = Failed {
        verdicts: &verdicts,
        ip: "192.0.2.1".parse().unwrap(),
        mail_from: "x@e.example",
        arrived_at: NOW,
        header: b"From: x@d.example\r\nMessage-ID: <3@d>\r\n",
        delivery: "reject",
    };
    let envelope = Envelope { from: "p@us.example", to: "r@d.example", submitter: "us.example", now: NOW };
    let mail = failure_report(&failed, &envelope).unwrap();
    let Some(Found { report: Report::Feedback(report), .. }) = read_mail(&mail) else { panic!("a report") };
    assert_eq!(report.auth_failure.as_deref(), Some("dmarc"));
    assert_eq!(report.returned.message_id.as_deref(), Some("<3@d>"));
}

/// Verdicts of a message in a world without names.
fn verdicts(message: &[u8]) -> mailauth::Verdicts {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    struct Nothing;
    impl mailauth::Lookup for Nothing {
        async fn ask(&self, _: base::dns::Query) -> Result<base::dns::Answer, base::dns::Failure> {
            Err(base::dns::Failure::Temporary)
        }
    }
    let checks = mailauth::Checks {
        ip: "192.0.2.1".parse().expect("an address"),
        helo: "e.example",
        mail_from: "x@e.example",
        message,
        now: NOW,
        authserv_id: "us.example",
    };
    let mut verify = std::pin::pin!(mailauth::verify(&Nothing, &checks));
    loop {
        if let Poll::Ready(verdicts) = verify.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return verdicts;
        }
    }
}

/// A report by somebody of that name, without what may be left out.
fn tls_by(name: &str) -> Vec<u8> {
    let range = r#"{"start-datetime":"2026-11-23T00:00:00Z","end-datetime":"2026-11-23T23:59:59Z"}"#;
    let summary = r#"{"total-successful-session-count":1,"total-failure-session-count":0}"#;
    let policy = r#"{"policy-type":"sts","policy-domain":"d.example"}"#;
    format!(
        r#"{{"organization-name":"{name}","date-range":{range},"report-id":"1","policies":[{{"policy":{policy},"summary":{summary}}}]}}"#
    )
    .into_bytes()
}

#[test]
fn what_is_posted_has_closer_bounds() {
    let plain = tls_by("us.example");
    let found = read_posted(&plain, false).expect("a report");
    assert_eq!(read_posted(&pack(&plain), true), Ok(found));
    // Only what the media type says.
    for (content, is_packed) in
        [(pack(&plain), false), (zip("a", &plain), false), (zip("a", &plain), true), (plain, true)]
    {
        assert_eq!(read_posted(&content, is_packed), Err(UnpackError::Damaged));
    }
    let long = tls_by(&"x".repeat(POSTED_JSON_BYTES_MAX));
    assert_eq!(read_posted(&pack(&long), true), Err(UnpackError::TooLarge));
    assert_eq!(read_posted(&long, false), Err(UnpackError::TooLarge));
    let mut random = base::Random::new(7);
    let noise = (0..20_000).map(|_| format!("{:016x}", random.next_u64())).collect::<Vec<_>>().concat();
    assert_eq!(
        read_posted(&tls_by(&noise), false),
        Err(UnpackError::TooLarge),
        "it packs to more than is kept"
    );
}

#[test]
fn what_would_not_be_read_back_is_not_kept() {
    let rest = tls_by("").len();
    // The bound as it came; we name who is to be asked, too.
    for (less, is_read) in [(0, false), (100, true)] {
        let json = tls_by(&"x".repeat(mailauth::limits::REPORT_BYTES_MAX - rest - less));
        let mail = bare("application/tlsrpt+gzip", &pack(&json));
        let found = read_mail(&mail);
        assert_eq!(found.is_some(), is_read);
        assert!(found.is_none_or(|found| unpack_report(Kind::Tls, &found.content).is_some()));
    }
}

#[test]
fn damage_bombs_and_other_mail_are_no_reports() {
    let bomb = pack(&vec![b' '; mailauth::limits::REPORT_BYTES_MAX + 1]);
    assert_eq!(read_mail(&mixed("application/gzip", &bomb)), None);
    assert_eq!(read_mail(&mixed("application/tlsrpt+gzip", &bomb)), None);
    assert_eq!(read_mail(&bare("application/zip", b"PK\x03\x04 and nothing")), None);
    assert_eq!(read_mail(b"Subject: hello\r\n\r\nNo report.\r\n"), None);
    assert_eq!(read_mail(b""), None);
    let bounce = b"Content-Type: multipart/report; report-type=delivery-status; boundary=p\r\n\r\n--p\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n--p--\r\n";
    assert_eq!(read_mail(bounce), None);
    // Whatever is cut off or changed: an answer, and no panic.
    let whole = mixed("application/gzip", &pack(SPACED.as_bytes()));
    for end in (0..whole.len()).step_by(7) {
        let _ = read_mail(&whole[..end]);
    }
    let mut random = base::Random::new(7);
    for _ in 0..300 {
        let mut changed = whole.clone();
        let at = (random.next_u64() % changed.len() as u64) as usize;
        changed[at] = random.next_u64() as u8;
        let _ = read_mail(&changed);
    }
}
