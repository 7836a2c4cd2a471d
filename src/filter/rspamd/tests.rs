use alloc::string::ToString as _;
use alloc::sync::Arc;

use base::Random;

use super::*;
use crate::{Modification, Verdict, Which};

fn config() -> RspamdConfig {
    let url = Url::parse("http://127.0.0.1:11333/checkv2").expect("an address");
    RspamdConfig { url, http: HttpConfig::default(), password: None }
}

fn parse(json: &str) -> Assessment {
    Assessment::parse(json.as_bytes()).expect("an answer")
}

fn failure(json: &str) -> Failure {
    Assessment::parse(json.as_bytes()).expect_err("no answer")
}

fn add(name: &str, value: &str) -> Modification {
    Modification::AddHeader { name: name.to_string(), value: value.into() }
}

fn remove(name: &str, which: Which) -> Modification {
    Modification::RemoveHeader { name: name.to_string(), which }
}

#[test]
fn all_that_is_known_is_told() {
    let facts = Facts {
        client_address: Some("192.0.2.1".parse().expect("an address")),
        client_name: Some("client.example".to_string()),
        helo: Some("me\r\nX: y".to_string()),
        user: Some("ann".to_string()),
        sender: Some(String::new()),
        recipients: Vec::from(["a@b".to_string(), "c@d".to_string()]),
        queue_id: Some("Q1".to_string()),
        server_name: Some("mx".to_string()),
        tls_version: Some("TLSv1.3".to_string()),
        tls_cipher: Some("TLS_AES".to_string()),
        ..Facts::default()
    };
    let request = RspamdRequest {
        facts,
        deliver_to: Some("c@d".to_string()),
        mta_tag: Some("in".to_string()),
        settings_id: Some("id".to_string()),
        settings: Some("{\"a\":1}".to_string()),
    };
    let message = Content::new(Arc::new(b"Received: x\r\nA: b\r\n\r\nc\r\n".to_vec()), 13);
    let mut rspamd = Rspamd::new(&config(), &request, message);
    assert_eq!(rspamd.next(Timestamp::from_ms(0)), Next::Write);
    let said = String::from_utf8(core::mem::take(rspamd.output())).expect("ASCII");
    let expected = "POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nIP: 192.0.2.1\r\nHelo: meX: y\r\n\
        Hostname: client.example\r\nFrom: <>\r\nRcpt: <a@b>\r\nRcpt: <c@d>\r\nUser: ann\r\nQueue-Id: Q1\r\n\
        MTA-Name: mx\r\nMTA-Tag: in\r\nDeliver-To: c@d\r\nTLS-Version: TLSv1.3\r\nTLS-Cipher: TLS_AES\r\n\
        Settings-ID: id\r\nSettings: {\"a\":1}\r\nContent-Length: 11\r\n\r\nA: b\r\n\r\nc\r\n";
    assert_eq!(said, expected);
    assert_eq!(rspamd.next(Timestamp::from_ms(0)), Next::Read);
    rspamd.input(b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"action\":\"no action\"}");
    assert!(matches!(rspamd.next(Timestamp::from_ms(0)), Next::Answer(_)));
    assert!(rspamd.is_reusable());
}

#[test]
fn every_action_has_its_meaning() {
    let verdict = |action: &str, more: &str| {
        parse(&alloc::format!("{{\"action\":\"{action}\",\"score\":7.5{more}}}")).outcome.verdict
    };
    let words = ",\"messages\":{\"smtp_message\":\"my\\r\\nwords\"}";
    assert_eq!(verdict("no action", ""), Verdict::Continue);
    assert!(matches!(verdict("reject", ""), Verdict::Reject(reply) if reply.code() == 554));
    assert!(matches!(verdict("reject", words), Verdict::Reject(reply) if reply.lines() == ["my", "words"]));
    assert_eq!(verdict("reject", ",\"milter\":{\"reject\":\"discard\"}"), Verdict::Discard);
    assert!(matches!(verdict("reject", ",\"milter\":{\"reject\":\"quarantine\"}"), Verdict::Quarantine(_)));
    assert!(
        matches!(verdict("soft reject", words), Verdict::TempFail(reply) if reply.lines() == ["my", "words"])
    );
    assert!(matches!(verdict("greylist", ""), Verdict::Greylist(reply) if reply.code() == 451));
    assert!(matches!(verdict("quarantine", ""), Verdict::Quarantine(_)));
    assert_eq!(verdict("discard", ""), Verdict::Discard);
    assert_eq!(verdict("add header", ""), Verdict::Junk { score: 7.5 });
    assert_eq!(verdict("reject", ",\"milter\":{\"no_action\":true}"), Verdict::Continue);
    assert_eq!(failure("{\"action\":\"dance\"}"), Failure::Protocol("an action that is not rspamd's"));
}

#[test]
fn changes_are_those_of_its_own_milter() {
    let changes = |json: &str| parse(json).outcome.modifications;
    assert_eq!(
        changes("{\"action\":\"rewrite subject\",\"subject\":\"*** x\"}"),
        [Modification::ChangeHeader { index: 1, name: "Subject".to_string(), value: b" *** x".to_vec() }]
    );
    assert_eq!(changes("{\"action\":\"add header\"}"), [remove("X-Spam", Which::All), add("X-Spam", " Yes")]);
    assert_eq!(
        changes("{\"action\":\"add header\",\"milter\":{\"spam_header\":{\"X-Junk\":\"very\"}}}"),
        [remove("X-Junk", Which::All), add("X-Junk", " very")]
    );
    let json = r#"{"action":"no action","dkim-signature":["v=1; a","v=1; b"],"milter":{
        "remove_headers":{"A":0,"B":2,"C":-1},
        "add_headers":{"D":"1","E":["2","3"],"F":{"value":"4","order":0},"G":[{"value":"5","order":-1}]},
        "change_from":"<x@y>","add_rcpt":["a@b"],"del_rcpt":["<c@d>"]}}"#;
    let place = |index, name: &str, value: &str| Modification::InsertHeader {
        index,
        name: name.to_string(),
        value: value.into(),
    };
    let expected = [
        remove("A", Which::All),
        remove("B", Which::Nth(2)),
        remove("C", Which::FromEnd(1)),
        add("D", " 1"),
        add("E", " 2"),
        add("E", " 3"),
        place(0, "F", " 4"),
        place(-1, "G", " 5"),
        Modification::ChangeSender { address: "x@y".to_string(), parameters: String::new() },
        Modification::AddRecipient { address: "a@b".to_string(), parameters: String::new() },
        Modification::RemoveRecipient("c@d".to_string()),
        place(1, "DKIM-Signature", " v=1; a"),
        place(2, "DKIM-Signature", " v=1; b"),
    ];
    assert_eq!(changes(json), expected);
    assert_eq!(changes(&json.replace("no action", "reject")), [], "a refusal takes no changes along");
    assert_eq!(
        changes("{\"action\":\"reject\",\"milter\":{\"no_action\":true}}"),
        [add("X-Rspamd-Action", " reject")]
    );
}

#[test]
fn scores_and_findings_are_kept() {
    let json = r#"{"action":"no action","score":-1.5,"required_score":15,"symbols":{
        "BAYES_HAM":{"name":"BAYES_HAM","score":-3.0,"options":["x"]},"ODD":{}}}"#;
    let answer = parse(json);
    assert_eq!((answer.score, answer.required_score, answer.action.as_str()), (-1.5, 15.0, "no action"));
    let symbol = |name: &str, score| Symbol { name: name.to_string(), score };
    assert_eq!(answer.symbols, [symbol("BAYES_HAM", -3.0), symbol("ODD", 0.0)]);
}

#[test]
fn what_is_no_answer_is_a_failure() {
    for (json, what) in [
        ("", "an answer that is no JSON"),
        ("{", "an answer that is no JSON"),
        ("[]", "an answer that is no JSON object"),
        ("{}", "no action"),
        ("{\"action\":1}", "no action"),
        (
            "{\"action\":\"no action\",\"milter\":{\"add_headers\":{\"A\\r\\nB\":\"c\"}}}",
            "a header field's name that is none",
        ),
        (
            "{\"action\":\"no action\",\"milter\":{\"add_headers\":{\"A\":1}}}",
            "a header field without a value",
        ),
        ("{\"action\":\"no action\",\"milter\":{\"add_rcpt\":[\"a\\r\\nDATA\"]}}", "an address that is none"),
    ] {
        assert_eq!(failure(json), Failure::Protocol(what), "{json}");
    }
    assert_eq!(failure(&"[".repeat(100_000)), Failure::Protocol("an answer that is no JSON"));
    assert_eq!(failure("{\"error\":\"bad\\nday\"}"), Failure::Reported("badday".to_string()));
    let many = "\"x\",".repeat(1001);
    let json =
        alloc::format!("{{\"action\":\"no action\",\"milter\":{{\"add_headers\":{{\"A\":[{many}\"x\"]}}}}}}");
    assert_eq!(failure(&json), Failure::Protocol("too many changes"));
    let mut rspamd = Rspamd::new(&config(), &RspamdRequest::default(), Content::new(Arc::new(Vec::new()), 0));
    rspamd.input(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rspamd.next(Timestamp::from_ms(0)), Next::Failed(Failure::Status(403)));
}

#[test]
fn noise_never_panics() {
    let rounds: u64 = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let good = br#"{"action":"add header","score":9.5,"symbols":{"A":{"score":1}},"dkim-signature":"v=1",
        "milter":{"remove_headers":{"A":-1},"add_headers":{"D":"1","F":{"value":"4","order":0}},"add_rcpt":["a@b"]}}"#;
    let mut answered = 0;
    for seed in 0..rounds {
        let mut random = Random::new(seed + 1);
        let mut bytes = good.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"0\"{}[],-9e"[random.below(10) as usize]),
            }
        }
        if let Ok(assessment) = Assessment::parse(&bytes) {
            answered += 1;
            crate::apply(b"A: b\r\n\r\nc", 0, &assessment.outcome.modifications);
        }
    }
    assert!(answered > 0, "the noise is not all noise");
}
