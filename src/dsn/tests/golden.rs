//! Whole reports beside what they must be, byte for byte: `tests/*.eml`. `UPDATE=1` writes them anew; read the
//! difference before you keep it.

mod support;

use std::path::Path;

use base::Timestamp;
use dsn::{
    Content, Notice, Notify, Original, Outcome, Recipient, Report, Reporter, Return, Status, Templates,
    compose, is_for_postmaster, notice_for, undeliverable,
};
use support::check_report;

const NOW: Timestamp = Timestamp::from_s(1_795_521_600);
const EARLIER: Timestamp = Timestamp::from_s(1_795_521_000);
const LATER: Timestamp = Timestamp::from_s(1_795_953_600);

const ORIGINAL: &str = "Received: from laptop (laptop.example [192.0.2.7])\r\n\tby mx.example.org with ESMTPS id 1;\r\n\tTue, 24 Nov 2026 11:50:00 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>, Eve <eve@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from here\r\nMessage-ID: <original.1@example.org>\r\nDate: Tue, 24 Nov 2026 12:50:00 +0100\r\n\r\nHello,\r\n-- \r\nAnn\r\n";

const SUCCESS: Option<Notify> = Some(Notify { on_success: true, on_failure: true, on_delay: false });

/// What a case adds to the common report.
struct Case<'a> {
    sender: &'a str,
    recipients: Vec<Recipient<'a>>,
    ret: Option<Return>,
    release_at: Option<Timestamp>,
    deliver_by: Option<Timestamp>,
    content: Content<'a>,
}

impl<'a> Case<'a> {
    fn new(recipients: Vec<Recipient<'a>>) -> Self {
        Self {
            sender: "ann@example.org",
            recipients,
            ret: None,
            release_at: None,
            deliver_by: None,
            content: Content::Whole(ORIGINAL.as_bytes()),
        }
    }

    fn report(&self) -> Report {
        let notice = notice_for(Some(self.sender), &self.recipients).expect("somebody is to be told");
        self.compose(&notice, &Templates::default())
    }

    fn compose(&self, notice: &Notice<'_>, templates: &Templates) -> Report {
        let original = Original {
            envid: Some("QQ=31 4+159"),
            ret: self.ret,
            arrived_at: Some(EARLIER),
            received_from: Some("laptop"),
            release_at: self.release_at,
            deliver_by: self.deliver_by,
            content: self.content,
        };
        let reporter = Reporter {
            hostname: "mx.example.org",
            from: "MAILER-DAEMON@mx.example.org",
            postmaster: "postmaster@example.org",
            message_id: "report.1@mx.example.org",
            now: NOW,
            utc_offset_minutes: 60,
            templates,
            returned_bytes_max: 10_000,
        };
        compose(notice, &original, &reporter)
    }
}

fn failed(address: &str) -> Recipient<'_> {
    Recipient {
        status: Some(Status::new(5, 1, 1)),
        remote_host: Some("mx.example.net"),
        response: Some("550-5.1.1 The account that you wrote to\r\n550 5.1.1 does not exist (x)"),
        attempted_at: Some(NOW),
        retry_until: Some(LATER),
        ..Recipient::new(address, Outcome::Failed)
    }
}

fn compare(name: &str, report: &Report) {
    check_report(report);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(format!("{name}.eml"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &report.message).expect("the tree can be written");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (golden, made) = (String::from_utf8_lossy(&golden), String::from_utf8_lossy(&report.message));
    for (at, (golden, made)) in golden.split("\r\n").zip(made.split("\r\n")).enumerate() {
        assert_eq!(made, golden, "{name}.eml, line {}", at + 1);
    }
    assert_eq!(made.len(), golden.len(), "{name}.eml has another length");
}

#[test]
fn a_failure_gives_the_header_back() {
    let orcpt = Recipient { orcpt: Some("rfc822;Bob+2Btag@example.net"), ..failed("bob@example.net") };
    let report = Case::new(vec![orcpt, failed("eve@example.net")]).report();
    assert!(!report.is_8bit && !report.is_smtputf8);
    compare("failure", &report);
}

#[test]
fn a_failure_gives_all_back_when_asked() {
    let original = format!("{ORIGINAL}\u{e4}\u{f6}\u{fc}\r\n.\r\n");
    let mut case = Case::new(vec![failed("bob@example.net")]);
    case.ret = Some(Return::Full);
    case.content = Content::Whole(original.as_bytes());
    let report = case.report();
    assert!(report.is_8bit && !report.is_smtputf8);
    compare("failure-full", &report);
    // Larger than this reporter gives back, not fit for lines, or not at hand: the header.
    let long = original.clone() + &"x\r\n".repeat(4000);
    let bare = original.clone() + "a\nb";
    for content in [long.as_bytes(), bare.as_bytes()]
        .map(Content::Whole)
        .into_iter()
        .chain([Content::Header(original.as_bytes())])
    {
        case.content = content;
        let report = case.report();
        check_report(&report);
        assert!(!report.is_8bit && !String::from_utf8_lossy(&report.message).contains("message/rfc822"));
    }
}

#[test]
fn the_postmaster_is_told_of_what_has_no_sender() {
    let recipients = [failed("bob@example.net")];
    let notice = undeliverable("postmaster@example.org", &recipients).expect("it failed");
    let report = Case::new(Vec::new()).compose(&notice, &Templates::for_postmaster());
    assert!(is_for_postmaster(&report.message));
    compare("postmaster", &report);
    let case = Case::new(vec![failed("bob@example.net")]);
    let notice = notice_for(Some(case.sender), &case.recipients).expect("somebody is to be told");
    let copy = case.compose(&notice.copy_for("postmaster@example.org"), &Templates::for_postmaster());
    check_report(&copy);
    let text = String::from_utf8_lossy(&copy.message);
    assert!(
        text.contains("\r\nMail from ann@example.org\r\n") && text.contains("To: <postmaster@"),
        "{text}"
    );
    assert!(!is_for_postmaster(&case.report().message));
}

#[test]
fn what_is_not_known_is_left_out() {
    let recipient = Recipient { response: Some(" "), remote_host: Some(""), ..failed("bob@example.net") };
    let mut case = Case::new(vec![recipient]);
    case.content = Content::Header(b"");
    let report = case.report();
    check_report(&report);
    let message = String::from_utf8(report.message).expect("text");
    for absent in
        ["Diagnostic-Code", "Remote-MTA", "In-Reply-To", "rfc822-headers", "Details:", "Mail server:"]
    {
        assert!(!message.contains(absent), "{absent}");
    }
    assert!(message.contains("\r\nSubject: Not delivered\r\n"));
}

#[test]
fn a_delay_says_until_when() {
    let recipient = Recipient {
        status: Some(Status::new(4, 4, 1)),
        response: Some("connection timed out"),
        attempted_at: Some(NOW),
        retry_until: Some(LATER),
        ..Recipient::new("bob@example.net", Outcome::Delayed)
    };
    let mut case = Case::new(vec![recipient]);
    // Only failures give all back (RFC 3461 §6.2).
    case.ret = Some(Return::Full);
    (case.release_at, case.deliver_by) = (Some(EARLIER), Some(NOW));
    compare("delay", &case.report());
}

#[test]
fn a_success_tells_delivery_from_relaying() {
    let recipients = vec![
        Recipient { notify: SUCCESS, ..Recipient::new("bob@example.net", Outcome::Delivered) },
        Recipient {
            notify: SUCCESS,
            status: Some(Status::new(2, 6, 0)),
            remote_host: Some("mx.example.com"),
            response: Some("250 2.6.0 queued"),
            attempted_at: Some(NOW),
            ..Recipient::new("eve@example.com", Outcome::Relayed { has_dsn: false })
        },
        Recipient { notify: SUCCESS, ..Recipient::new("team@example.net", Outcome::Expanded) },
    ];
    compare("success", &Case::new(recipients).report());
}

#[test]
fn one_report_tells_everything_and_the_worst_first() {
    let recipients = vec![
        Recipient { notify: SUCCESS, ..Recipient::new("bob@example.net", Outcome::Delivered) },
        Recipient::new("carol@example.net", Outcome::Delayed),
        failed("eve@example.net"),
    ];
    compare("mixed", &Case::new(recipients).report());
}

#[test]
fn an_address_beyond_ascii_is_written_so_that_every_server_carries_it() {
    let original = ORIGINAL.replace("Bob", "B\u{f6}b");
    let recipient = Recipient {
        orcpt: Some("utf-8;b\u{f6}b@example.net"),
        response: Some("550 5.1.1 b\u{f6}b is unknown"),
        ..failed("b\u{f6}b@example.net")
    };
    let mut case = Case::new(vec![recipient]);
    case.content = Content::Header(original.as_bytes());
    let report = case.report();
    assert!(!report.is_8bit && !report.is_smtputf8 && report.message.is_ascii());
    compare("utf8-recipient", &report);
}

#[test]
fn a_sender_beyond_ascii_gets_everything_as_it_is() {
    let original = ORIGINAL.replace("Ann", "\u{c4}nn");
    let recipient =
        Recipient { orcpt: Some("utf-8;b\\x{F6}b@example.net"), ..failed("b\u{f6}b@example.net") };
    let mut case = Case::new(vec![recipient]);
    case.sender = "\u{e4}nn@example.org";
    case.content = Content::Whole(original.as_bytes());
    let report = case.report();
    assert!(report.is_8bit && report.is_smtputf8);
    compare("utf8-sender", &report);
}

#[test]
fn a_hostile_server_and_a_broken_original_break_nothing() {
    let original = format!(
        "Subject: a\rb\0c\r\nX-Long: {}\r\nX-Bytes: \u{1}\u{7f}\r\nMessage-ID: <a b>\r\nTo: x\nBcc: y\r\n\r\n",
        "z".repeat(1500)
    );
    let response = format!("550 5.7.1 \r\n.\r\nQUIT\r\n--=_report\r\n\r\n\0\u{1b}[31m{}", "w".repeat(2000));
    let recipient = Recipient {
        remote_host: Some("mx.example.net\r\nX-Injected: yes"),
        response: Some(&response),
        orcpt: Some("x400;no+xtext"),
        ..failed("eve@example.net")
    };
    let mut case = Case::new(vec![recipient]);
    case.ret = Some(Return::Full);
    case.content = Content::Whole(original.as_bytes());
    let report = case.report();
    assert!(!report.is_8bit);
    compare("hostile", &report);
}
