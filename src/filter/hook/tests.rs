use alloc::string::ToString as _;
use alloc::sync::Arc;

use super::*;
use crate::{Modification, Verdict, Which};

fn config(share: HookShare) -> HookConfig {
    HookConfig {
        url: Url::parse("http://hooks.example:8080/mail").expect("an address"),
        http: HttpConfig::default(),
        fields: Vec::from([("Authorization".to_string(), Secret::new("Bearer x".to_string()))]),
        share,
    }
}

fn message() -> Content {
    Content::new(Arc::new(b"Received: x\r\nSubject: a\r\n \"b\"\r\nX:\xff\r\n\r\n\"\"}}\r\n".to_vec()), 13)
}

fn facts() -> Facts {
    Facts {
        client_address: Some("2001:db8::1".parse().expect("an address")),
        client_port: Some(4321),
        helo: Some("me \"}".to_string()),
        sender: Some("a@b".to_string()),
        recipients: Vec::from(["c@d".to_string()]),
        tls_version: Some("TLSv1.3".to_string()),
        ..Facts::default()
    }
}

/// The head and the body of a question.
fn asked(share: HookShare, stage: HookStage, message: Option<&Content>) -> (String, serde_json::Value) {
    let mut hook = Hook::new(&config(share), stage, &facts(), message);
    let mut said = Vec::new();
    while hook.next(Timestamp::from_ms(0)) == Next::Write {
        said.append(hook.output());
    }
    let said = String::from_utf8(said).expect("UTF-8");
    let (head, body) = said.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&alloc::format!("Content-Length: {}", body.len())), "{head} {}", body.len());
    (head.to_string(), serde_json::from_str(body).expect("JSON"))
}

fn answer(stage: HookStage, json: &str) -> Result<Outcome, Failure> {
    answer::parse(json.as_bytes(), stage, 100)
}

#[test]
fn a_question_has_the_form_that_is_documented() {
    let (head, question) = asked(HookShare::Header, HookStage::Rcpt, None);
    assert!(head.starts_with(
        "POST /mail HTTP/1.1\r\nHost: hooks.example:8080\r\nContent-Type: application/json\r\n"
    ));
    assert!(head.contains("\r\nAuthorization: Bearer x\r\n"));
    let expected = serde_json::json!({
        "version": 1, "stage": "rcpt", "queue_id": null, "server": null,
        "client": {"address": "2001:db8::1", "port": 4321, "name": null, "helo": "me \"}"},
        "tls": {"version": "TLSv1.3", "cipher": null}, "user": null, "sender": "a@b", "recipients": ["c@d"],
    });
    assert_eq!(question, expected);
    let (_, question) = asked(HookShare::Size, HookStage::Data, Some(&message()));
    assert_eq!(question["message"], serde_json::json!({"size": 31}));
    let (_, question) = asked(HookShare::Header, HookStage::Data, Some(&message()));
    let headers = serde_json::json!([["Subject", "a \"b\""], ["X", "\u{fffd}"]]);
    assert_eq!(question["message"], serde_json::json!({"size": 31, "headers": headers}));
    let (_, question) = asked(HookShare::All, HookStage::Data, Some(&message()));
    assert_eq!(question["message"]["headers"], headers);
    assert_eq!(question["message"]["content"], "U3ViamVjdDogYQ0KICJiIg0KWDr/DQoNCiIifX0NCg==");
    let many = Content::new(Arc::new(b"a:\r\n".repeat(1_000_000)), 0);
    let (_, question) = asked(HookShare::Header, HookStage::Data, Some(&many));
    assert_eq!(question["message"]["headers"].as_array().map(Vec::len), Some(262_144));
    // Longer than one piece of output.
    let large =
        Content::new(Arc::new(b"A: b\r\n\r\n".iter().copied().chain(b"x".repeat(500_000)).collect()), 0);
    let (_, question) = asked(HookShare::All, HookStage::Data, Some(&large));
    assert_eq!(question["message"]["content"].as_str().map(str::len), Some(500_008usize.div_ceil(3) * 4));
}

#[test]
fn answers_are_understood() {
    let verdict = |json: &str| answer(HookStage::Data, json).expect("an answer").verdict;
    assert_eq!(verdict(r#"{"action":"accept"}"#), Verdict::Continue);
    assert_eq!(verdict(r#"{"action":"discard"}"#), Verdict::Discard);
    assert_eq!(verdict(r#"{"action":"junk","score":3}"#), Verdict::Junk { score: 3.0 });
    assert_eq!(verdict(r#"{"action":"quarantine","reason":"a\nb"}"#), Verdict::Quarantine("ab".to_string()));
    assert!(matches!(verdict(r#"{"action":"reject"}"#), Verdict::Reject(reply) if reply.code() == 550));
    assert!(matches!(verdict(r#"{"action":"defer"}"#), Verdict::TempFail(reply) if reply.code() == 451));
    let reply = r#"{"action":"reject","reply":{"code":554,"enhanced":"5.7.9","text":"no\nnever"}}"#;
    assert!(matches!(verdict(reply), Verdict::Reject(reply)
        if (reply.code(), reply.enhanced()) == (554, Some("5.7.9")) && reply.lines() == ["no", "never"]));
    let json = r#"{"action":"accept","modifications":[
        {"type":"add_header","name":"A","value":"1"},
        {"type":"insert_header","index":0,"name":"B","value":"2"},
        {"type":"change_header","index":1,"name":"C","value":"3"},
        {"type":"remove_header","name":"D"},
        {"type":"remove_header","name":"E","index":2},
        {"type":"replace_body","content":"aGVsbG8="},
        {"type":"change_sender","address":""},
        {"type":"add_recipient","address":"<a@b>"},
        {"type":"remove_recipient","address":"c@d"}]}"#;
    let text = str::to_string;
    let expected = [
        Modification::AddHeader { name: text("A"), value: b" 1".to_vec() },
        Modification::InsertHeader { index: 0, name: text("B"), value: b" 2".to_vec() },
        Modification::ChangeHeader { index: 1, name: text("C"), value: b" 3".to_vec() },
        Modification::RemoveHeader { name: text("D"), which: Which::All },
        Modification::RemoveHeader { name: text("E"), which: Which::Nth(2) },
        Modification::ReplaceBody(b"hello".to_vec()),
        Modification::ChangeSender { address: text(""), parameters: text("") },
        Modification::AddRecipient { address: text("a@b"), parameters: text("") },
        Modification::RemoveRecipient(text("c@d")),
    ];
    assert_eq!(answer(HookStage::Data, json).expect("an answer").modifications, expected);
}

#[test]
fn points_are_given_before_the_content_and_within_bounds() {
    let points = |stage, json: &str| answer(stage, json).map(|outcome| outcome.verdict);
    assert_eq!(points(HookStage::Rcpt, r#"{"action":"score","score":3.9}"#), Ok(Verdict::Points(3)));
    assert_eq!(points(HookStage::Connect, r#"{"action":"score","score":-1000}"#), Ok(Verdict::Points(-1000)));
    for (stage, json) in [
        (HookStage::Data, r#"{"action":"score","score":3}"#),
        (HookStage::Rcpt, r#"{"action":"score","score":1001}"#),
        (HookStage::Rcpt, r#"{"action":"score"}"#),
    ] {
        assert!(matches!(points(stage, json), Err(Failure::Protocol(_))), "{json}");
    }
}

#[test]
fn an_answer_that_is_not_understood_is_a_failure_and_no_consent() {
    for json in [
        "",
        "{}",
        r#"{"action":"acept"}"#,
        r#"{"action":"accept","repply":{}}"#,
        r#"{"action":"accept","modifications":[{"type":"dance"}]}"#,
        r#"{"action":"accept","modifications":[{"type":"add_header","name":"A"}]}"#,
        r#"{"action":"accept","modifications":[{"type":"remove_header","name":"A","indx":1}]}"#,
    ] {
        assert!(matches!(answer(HookStage::Data, json), Err(Failure::Reported(_))), "{json}");
    }
    let protocol = |stage, json: &str| match answer(stage, json) {
        Err(Failure::Protocol(what)) => what,
        other => panic!("{json}: {other:?}"),
    };
    let none = "an action on a message where there is none yet";
    assert_eq!(protocol(HookStage::Rcpt, r#"{"action":"junk"}"#), none);
    let add = r#"{"action":"accept","modifications":[{"type":"add_header","name":"A","value":"b"}]}"#;
    assert_eq!(protocol(HookStage::Mail, add), none);
    let data = |json: &str| protocol(HookStage::Data, json);
    let reply = r#"{"action":"defer","reply":{"code":550,"text":"x"}}"#;
    assert_eq!(data(reply), "a code that does not go with the action");
    assert_eq!(data(&reply.replace("550", "250")), "a code that does not go with the action");
    assert_eq!(data(&add.replace("\"A\"", "\"A:\"")), "a header field's name that is none");
    let edit = |edit: &str| alloc::format!(r#"{{"action":"accept","modifications":[{edit}]}}"#);
    assert_eq!(data(&edit(r#"{"type":"add_recipient","address":"a\r\nb"}"#)), "an address that is none");
    assert_eq!(data(&edit(r#"{"type":"add_recipient","address":"<>"}"#)), "a recipient without an address");
    assert_eq!(data(&edit(r#"{"type":"replace_body","content":"?"}"#)), "a body that is no base64");
    let large = alloc::format!(r#"{{"type":"replace_body","content":"{}"}}"#, "AAAA".repeat(34));
    assert_eq!(data(&edit(&large)), "the new body is too long");
    let many = [r#"{"type":"remove_header","name":"A"}"#; 1001].join(",");
    assert_eq!(data(&edit(&many)), "too many changes");
}

#[test]
fn no_content_is_consent_and_another_status_is_none() {
    let answer = |head: &str| {
        let mut hook = Hook::new(&config(HookShare::Size), HookStage::Connect, &facts(), None);
        hook.input(alloc::format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        hook.next(Timestamp::from_ms(0))
    };
    assert_eq!(answer("204 No Content"), Next::Answer(Outcome::CONTINUE));
    assert_eq!(answer("500 Oh"), Next::Failed(Failure::Status(500)));
    assert!(matches!(answer("200 OK"), Next::Failed(Failure::Reported(_))));
}
