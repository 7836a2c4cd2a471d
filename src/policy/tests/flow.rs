//! Mail-flow rules.

use base::Timestamp;

use crate::tests::{crlf, flow};
use crate::{
    Applied, FieldEdit, Flow, FlowAction, FlowFacts, FlowKnown, FlowOutcome, FlowQuestion, FlowVerdict,
    Message, Step, StepState, Truth, apply,
};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

const MAIL: &str = "From: Ann <ann@example.org>
To: bob@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= about Project X
Importance: high
In-Reply-To: <1@x>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=utf-8

Top-Secret plans.
--a
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<p>caf=E9 <b>sec</b>ret &amp; more</p>
--a--
--b
Content-Type: application/x-msdownload; name=\"=?utf-8?q?r=C3=A4t.EXE?=\"
Content-Transfer-Encoding: base64

aGVsbG8gd29ybGQ=
--b--
";

fn facts<'a>(recipients: &'a [&'a str], known: &'a FlowKnown) -> FlowFacts<'a> {
    FlowFacts { junk_score: 3, ..FlowFacts::of("ann@example.org", recipients, NOW, known) }
}

fn evaluate(flow: &Flow, mail: &[u8], recipients: &[&str]) -> FlowVerdict {
    let known = FlowKnown::default();
    match flow.evaluate(&Message::of(mail), &facts(recipients, &known)) {
        FlowOutcome::Done(verdict) => verdict,
        FlowOutcome::Needs(questions) => panic!("asked: {questions:?}"),
    }
}

#[test]
fn conditions_of_mail_flow_rules() {
    let mail = crlf(MAIL);
    for (when, is_true) in [
        ("{ sender = 'example.org' }", true),
        ("{ sender_inside = true, recipient_inside = false }", true),
        ("{ from = 'ann@*' }", true),
        ("{ from_inside = false }", false),
        ("{ recipient = 'carl@example.org' }", true),
        ("{ every_recipient = 'example.com' }", false),
        ("{ every_recipient_inside = false }", false),
        ("{ every_recipient = ['example.com', 'example.org'] }", true),
        ("{ authenticated = true }", false),
        ("{ source = '0.0.0.0/0' }", false),
        ("{ subject = 'GRÜSSE' }", false),
        ("{ subject = ['nothing', 'grüße'] }", true),
        ("{ subject = { matches = '(?i)project [xyz]$' } }", true),
        ("{ body = { words = 'secret' } }", true),
        ("{ body = { words = 'plan' } }", false),
        ("{ body = 'café secret & more' }", true),
        ("{ body = '<p>' }", false),
        ("{ subject_or_body = 'project' }", true),
        ("{ header = { name = 'To', contains = 'bob' } }", true),
        ("{ has_attachment = true, attachments = 1 }", true),
        ("{ attachment = { extension = ['com', '.exe'] } }", true),
        ("{ attachment = { name = '*.exe', size = { below = 20 } } }", true),
        ("{ attachment = { name = 'rät*', type = 'application/*', size = 11 } }", true),
        ("{ attachment = { name = '*.exe', type = 'text/*' } }", false),
        ("{ size = { above = '1MB' } }", false),
        ("{ recipients = 2, junk_score = 3 }", true),
        ("{ importance = 'high', type = ['calendar', 'reply'] }", true),
        ("{ type = ['automatic', 'signed', 'encrypted', 'report', 'list'] }", false),
        ("{ not = { any = [{ sender = 'x.test' }, { junk_score = { above = 5 } }] } }", true),
    ] {
        let flow = flow(&format!(
            "[mailflow]\ninside = 'example.org'\n[[mailflow.rule]]\nname = 'it'\nwhen = {when}\nthen = 'discard'\n"
        ));
        let verdict = evaluate(&flow, &mail, &["bob@example.com", "carl@example.org"]);
        assert_eq!(!verdict.effects.is_empty(), is_true, "{when}");
    }
}

#[test]
fn kinds_of_messages_are_told_apart() {
    for (header, kind, is_it) in [
        ("Auto-Submitted: auto-replied", "automatic", true),
        ("Auto-Submitted: no", "automatic", false),
        ("Precedence: Bulk", "automatic", true),
        ("List-Id: <x.y>", "list", true),
        ("Content-Type: text/calendar; method=REQUEST", "calendar", true),
        ("Content-Type: multipart/report; boundary=b\n\n--b\n\nx\n--b--", "report", true),
        ("Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--", "signed", true),
        ("Content-Type: application/pkcs7-mime; smime-type=signed-data", "signed", true),
        ("Content-Type: application/pkcs7-mime; smime-type=signed-data", "encrypted", false),
        ("Content-Type: application/x-pkcs7-mime; name=smime.p7m", "encrypted", true),
    ] {
        let flow = flow(&format!(
            "[[mailflow.rule]]\nname = 'it'\nwhen = {{ type = '{kind}' }}\nthen = 'discard'\n"
        ));
        let mail = crlf(&format!("{header}\n\nx\n"));
        assert_eq!(!evaluate(&flow, &mail, &["a@b"]).effects.is_empty(), is_it, "{header} {kind}");
    }
    for (header, importance) in [
        ("X-Priority: 1 (Highest)", "high"),
        ("X-Priority: 5", "low"),
        ("A: b", "normal"),
        ("Importance: Low\nX-Priority: 1", "low"),
    ] {
        let flow = flow(&format!(
            "[[mailflow.rule]]\nname = 'it'\nwhen = {{ importance = '{importance}' }}\nthen = 'discard'\n"
        ));
        assert!(!evaluate(&flow, &crlf(&format!("{header}\n\n")), &["a@b"]).effects.is_empty(), "{header}");
    }
}

#[test]
fn groups_and_the_organisation_are_asked_about() {
    let flow = flow(
        "[[mailflow.rule]]
        name = 'it'
        when = { sender_inside = true, recipient_member = ['staff', 'heads'] }
        except = { sender_member = 'press' }
        then = { moderate = 'boss@example.org' }",
    );
    let mail = crlf(MAIL);
    let message = Message::of(&mail);
    let mut known = FlowKnown::default();
    let mut rounds = 0;
    let verdict = loop {
        let recipients = ["Bob@example.com", "carl@example.org"];
        match flow.evaluate(&message, &facts(&recipients, &known)) {
            FlowOutcome::Done(verdict) => break verdict,
            FlowOutcome::Needs(questions) => {
                rounds += 1;
                for question in questions {
                    let answer = match &question {
                        FlowQuestion::IsInside { domain } => domain == "example.org",
                        FlowQuestion::IsMember { address, group } => {
                            address == "bob@example.com" && group == "heads"
                        }
                    };
                    known.answer(question, answer);
                }
            }
        }
    };
    assert_eq!(rounds, 1, "all questions are asked at the same time");
    assert_eq!(
        verdict.effects[0].action,
        FlowAction::Moderate { by: vec!["boss@example.org".into()], tells_sender: true }
    );
    // Nobody is the sender of a report about a delivery, so there is nobody to ask about.
    let known = FlowKnown::default();
    let nobody = FlowFacts::of("", &["a@b"], NOW, &known);
    assert_eq!(flow.evaluate(&message, &nobody), FlowOutcome::Done(FlowVerdict::default()));
}

const RULES: &str = "
[mailflow]
inside = 'example.org'
[[mailflow.rule]]
name = 'last'
priority = 9
then = { bcc = 'never@example.org' }
[[mailflow.rule]]
name = 'score'
then = [{ junk_score = 7 }, { set_header = 'X-Score: seven' }, { prepend_subject = '[X] ' }]
[[mailflow.rule]]
name = 'watched'
mode = 'audit'
when = { junk_score = 7 }
then = { reject = 'no' }
[[mailflow.rule]]
name = 'off'
mode = 'off'
then = 'discard'
[[mailflow.rule]]
name = 'early'
from = 2999-01-01T00:00:00Z
then = 'discard'
[[mailflow.rule]]
name = 'over'
until = 2026-11-24T07:00:00+01:00
then = 'discard'
[[mailflow.rule]]
name = 'copy'
priority = 1
stop = true
when = { junk_score = 7, any = [{ subject = 'none' }, { recipient = 'example.com' }] }
except = { body = 'not in it' }
then = [{ cc = 'copy@example.org' }, { route = 'partner' }, { journal = 'journal@example.org' }]
";

#[test]
fn rules_go_by_priority_mode_and_time() {
    let (flow, mail) = (flow(RULES), crlf(MAIL));
    let names: Vec<&str> = flow.rule_names().collect();
    assert_eq!(names, ["score", "watched", "off", "early", "over", "copy", "last"]);
    let verdict = evaluate(&flow, &mail, &["bob@example.com"]);
    assert_eq!(verdict.junk_score, 7);
    let actions: Vec<(&str, String)> =
        verdict.effects.iter().map(|effect| (names[effect.rule], effect.action.to_string())).collect();
    assert_eq!(
        actions,
        [
            ("score", "junk score 7".to_owned()),
            ("score", "set field X-Score: seven".to_owned()),
            ("score", "begin the subject with \"[X] \"".to_owned()),
            ("copy", "add to Cc copy@example.org".to_owned()),
            ("copy", "route by partner".to_owned()),
            ("copy", "journal to journal@example.org".to_owned()),
        ]
    );
    assert_eq!(verdict.audited.len(), 1);
    let Applied::Message(changed) = apply(&mail, &verdict.effects, 1) else { panic!("refused") };
    let header = String::from_utf8_lossy(&changed[..mime::end_of_headers(&changed)]).into_owned();
    assert!(header.starts_with("Cc: copy@example.org\r\nX-Score: seven\r\nFrom: Ann"), "{header}");
    assert!(Message::of(&changed).subject().starts_with("[X] Grüße about"));
    assert!(changed.ends_with(&mail[mime::end_of_headers(&mail)..]));
}

#[test]
fn an_explanation_says_what_held_and_what_did_not() {
    let (flow, mail) = (flow(RULES), crlf(MAIL));
    let known = FlowKnown::default();
    let steps = flow.explain(&Message::of(&mail), &facts(&["bob@example.com"], &known));
    let states: Vec<(&str, StepState)> = steps.iter().map(|step| (step.rule.as_str(), step.state)).collect();
    assert_eq!(
        states,
        [
            ("score", StepState::Matched),
            ("watched", StepState::Audited),
            ("off", StepState::Off),
            ("early", StepState::OutOfTime),
            ("over", StepState::OutOfTime),
            ("copy", StepState::Matched),
            ("last", StepState::Ended),
        ]
    );
    let copy = &steps[5];
    let findings: Vec<(&str, bool, Truth)> = copy
        .findings
        .iter()
        .map(|found| (found.condition.as_str(), found.is_exception, found.truth))
        .collect();
    assert_eq!(
        findings,
        [
            ("subject contains \"none\" or a recipient is example.com", false, Truth::Yes),
            ("junk score = 7", false, Truth::Yes),
            ("body contains \"not in it\"", true, Truth::No),
        ]
    );
    assert_eq!(copy.effects.last().map(String::as_str), Some("stop here"));
    let unknown =
        crate::tests::flow("[[mailflow.rule]]\nname = 'a'\nwhen = { sender_member = 'x' }\nthen = 'discard'");
    let steps = unknown.explain(&Message::of(&mail), &facts(&["a@b"], &known));
    assert!(matches!(&steps[..], [Step { state: StepState::Unknown, asked, .. }] if asked.len() == 1));
}

#[test]
fn a_message_in_which_a_required_text_cannot_be_is_refused() {
    let flow =
        flow("[[mailflow.rule]]\nname = 'a'\nthen = { disclaimer = { text = 'Ours', fallback = 'reject' } }");
    let mail = crlf("Subject: x\nContent-Type: application/pkcs7-mime\n\nMII=\n");
    let effects = evaluate(&flow, &mail, &["a@b"]).effects;
    assert!(matches!(apply(&mail, &effects, 1), Applied::Refused(reply) if reply.code == 550));
    let plain = apply(b"Subject: x\r\n\r\nhi\r\n", &effects, 1);
    assert_eq!(plain, Applied::Message(b"Subject: x\r\n\r\nhi\r\n\r\nOurs\r\n".to_vec()));
    let field = FlowAction::Field(FieldEdit::Remove { name: "X".into() });
    assert_eq!(field.to_string(), "remove field X");
}
