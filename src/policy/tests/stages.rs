//! Rules at the stages of SMTP.

use std::fmt::Write as _;

use crate::tests::policy;
use crate::{
    Answer, AuthResult, Decision, DnsListId, Facts, FieldEdit, Known, LimitId, Outcome, Policy, Question,
    Stage, Verdict,
};

fn facts(known: &Known) -> Facts<'_> {
    Facts {
        is_tls: true,
        helo: Some("mail.example.net"),
        sender: Some("ann@example.net"),
        recipients: &["bob@example.org"],
        recipient_count: 1,
        size: Some(5000),
        header: b"Received: a\r\nReceived: b\r\nSubject: =?utf-8?q?Hell=C3=B6?=\r\nX-Spam: Yes\r\n\r\n",
        ..Facts::of_connection("192.0.2.7".parse().unwrap(), "smtp", known)
    }
}

fn one_rule(stage: Stage, when: &str) -> Policy {
    policy(&format!(
        "[[policy.list]]\nname = 'us'\nentries = ['192.0.2.0/24', '2001:db8::/32']\n\
         [[policy.list]]\nname = 'friends'\nentries = ['example.net', '.example.com']\n\
         [[policy.rule]]\nname = 'it'\nstage = '{stage}'\nwhen = {when}\nthen = 'accept'\n"
    ))
}

fn holds(stage: Stage, when: &str, facts: &Facts<'_>) -> bool {
    match one_rule(stage, when).evaluate(stage, facts) {
        Outcome::Done(verdict) => verdict.decision == Decision::Accept,
        Outcome::Needs(questions) => panic!("{when} asks {questions:?}"),
    }
}

fn done(policy: &Policy, stage: Stage, facts: &Facts<'_>) -> Verdict {
    match policy.evaluate(stage, facts) {
        Outcome::Done(verdict) => verdict,
        Outcome::Needs(questions) => panic!("asked: {questions:?}"),
    }
}

#[test]
fn conditions_about_what_is_there() {
    let known = Known::default();
    for (when, is_true) in [
        ("{ source = '192.0.2.0/24' }", true),
        ("{ source = ['198.51.100.1', 'list:us'] }", true),
        ("{ source = '::/0' }", false),
        ("{ listener = 'smtp' }", true),
        ("{ listener = ['submission', 'lmtp'] }", false),
        ("{ tls = true, authenticated = false }", true),
        ("{ account = 'example.net' }", false),
        ("{ early_talker = true }", false),
        ("{ helo = '.example.net' }", true),
        ("{ helo = '*.example.net' }", true),
        ("{ helo_is_address = true }", false),
        ("{ sender = 'list:friends' }", true),
        ("{ sender = '<>' }", false),
        ("{ sender_domain = 'list:friends' }", true),
        ("{ recipient = 'bob@*' }", true),
        ("{ recipient_domain = 'example.com' }", false),
        ("{ size = { above = '4KB' } }", true),
        ("{ size = { above = '5KB' } }", false),
        ("{ recipients = { at_least = 2 } }", false),
        ("{ hops = 2 }", true),
        ("{ header = 'x-spam' }", true),
        ("{ header = { name = 'Subject', contains = 'HELLÖ' } }", true),
        ("{ header = { name = 'X-Spam', is = 'no' } }", false),
        ("{ messages = 0, errors = { below = 1 } }", true),
        ("{ any = [{ tls = false }, { not = { helo = 'x.test' } }] }", true),
        ("{ all = [{ tls = true }, { any = [{ hops = 9 }, { score = { above = 0 } }] }] }", false),
    ] {
        assert_eq!(holds(Stage::Data, when, &facts(&known)), is_true, "{when}");
    }
    let literal = Facts { helo: Some("[192.0.2.7]"), sender: Some(""), size: None, ..facts(&known) };
    assert!(holds(Stage::Data, "{ helo_is_address = true, sender = '<>' }", &literal));
    assert!(!holds(Stage::Mail, "{ size = { at_least = 0 } }", &literal), "it was not declared");
    let user = Facts { account: Some("Ann@Example.org"), ..facts(&known) };
    assert!(holds(Stage::Connect, "{ account = 'ann@example.org', authenticated = true }", &user));
}

#[test]
fn conditions_about_what_must_be_asked() {
    let cases: [(&str, Question, Vec<Answer>, bool); 10] = [
        (
            "{ reverse_name = '.example.net' }",
            Question::ReverseName,
            vec![Answer::ReverseName(Some("MX.example.net".into()))],
            true,
        ),
        ("{ has_reverse_name = false }", Question::ReverseName, vec![Answer::ReverseName(None)], true),
        ("{ iprev = ['fail', 'permerror'] }", Question::Iprev, vec![Answer::Iprev(AuthResult::Pass)], false),
        ("{ spf = 'softfail' }", Question::Spf, vec![Answer::Spf(AuthResult::SoftFail)], true),
        (
            "{ dkim = 'pass' }",
            Question::Dkim,
            vec![Answer::Dkim { result: AuthResult::Fail, domains: vec![] }],
            false,
        ),
        (
            "{ dkim_domain = 'example.net' }",
            Question::Dkim,
            vec![Answer::Dkim { result: AuthResult::Pass, domains: vec!["example.net".into()] }],
            true,
        ),
        (
            "{ dmarc = 'fail', dmarc_policy = 'reject' }",
            Question::Dmarc,
            vec![Answer::Dmarc { result: AuthResult::Fail, policy: "reject".into() }],
            true,
        ),
        ("{ reputation = { below = -50 } }", Question::Reputation, vec![Answer::Reputation(-51)], true),
        ("{ reputation = { below = -50 } }", Question::Reputation, vec![Answer::Reputation(-50)], false),
        (
            "{ dmarc_policy = 'none' }",
            Question::Dmarc,
            vec![Answer::Dmarc { result: AuthResult::None, policy: String::new() }],
            false,
        ),
    ];
    for (when, question, answers, is_true) in cases {
        let mut known = Known::default();
        let policy = one_rule(Stage::Data, when);
        assert_eq!(
            policy.evaluate(Stage::Data, &facts(&known)),
            Outcome::Needs(vec![question.clone()]),
            "{when}"
        );
        assert!(policy.asks(Stage::Data, |asked| *asked == question) && !policy.asks(Stage::Rcpt, |_| true));
        for answer in answers {
            known.answer(answer);
        }
        assert_eq!(holds(Stage::Data, when, &facts(&known)), is_true, "{when}");
        known.end_of_message();
        let stays = matches!(question, Question::ReverseName | Question::Iprev | Question::Reputation);
        let asks = matches!(policy.evaluate(Stage::Data, &facts(&known)), Outcome::Needs(_));
        assert_eq!(asks, !stays, "{when} after the message");
    }
}

const LISTS: &str = "
[[policy.dnslist]]
name = 'bad'
zone = 'bad.test'
weight = 5
[[policy.dnslist]]
name = 'domains'
zone = 'domains.test'
by = 'sender_domain'
weight = 3
[[policy.dnslist]]
name = 'good'
zone = 'good.test'
weight = -4
";

#[test]
fn lists_in_dns_are_asked_together_and_weighed() {
    let policy = policy(&format!(
        "{LISTS}
        [[policy.rule]]
        name = 'listed'
        stage = 'mail'
        when = {{ dnslist = ['bad', 'domains'] }}
        then = {{ score = 1 }}
        [[policy.rule]]
        name = 'heavy'
        stage = 'mail'
        when = {{ dnslist_weight = {{ at_least = 4 }} }}
        then = {{ reject = 'weight of {{source}}' }}"
    ));
    let listed = |list, name: &str| Question::Listed { list: DnsListId(list), name: name.into() };
    let mut known = Known::default();
    let (bad, domains) = (listed(0, "7.2.0.192.bad.test"), listed(1, "example.net.domains.test"));
    assert_eq!(policy.evaluate(Stage::Mail, &facts(&known)), Outcome::Needs(vec![bad, domains.clone()]));
    known.answer(Answer::Listed(DnsListId(0), vec![[127, 0, 0, 2].into()]));
    // One is enough for the first rule; the second wants to know all.
    let good = listed(2, "7.2.0.192.good.test");
    assert_eq!(policy.evaluate(Stage::Mail, &facts(&known)), Outcome::Needs(vec![domains, good]));
    known.answer(Answer::Listed(DnsListId(1), vec![[127, 255, 255, 254].into()]));
    known.answer(Answer::Listed(DnsListId(2), vec![]));
    let verdict = done(&policy, Stage::Mail, &facts(&known));
    assert_eq!(verdict.score, 1);
    let Decision::Reject(reply) = verdict.decision else { panic!("{verdict:?}") };
    assert_eq!((reply.code, reply.text.as_str()), (550, "weight of 192.0.2.7"));
    known.answer(Answer::Listed(DnsListId(2), vec![[127, 0, 0, 9].into()]));
    assert_eq!(done(&policy, Stage::Mail, &facts(&known)).decision, Decision::Continue);
}

#[test]
fn the_first_rule_that_ends_decides_and_those_before_it_add_up() {
    let policy = policy(
        "
        [[policy.rule]]
        name = 'a'
        stage = 'rcpt'
        then = [{ score = 2 }, { tarpit = '1s' }, { add_header = 'X-Why: {sender} to {recipient}' }]
        [[policy.rule]]
        name = 'b'
        stage = 'rcpt'
        when = { score = { at_least = 2 } }
        then = [{ tarpit = '500ms' }, { remove_header = 'X-Old' }, 'junk']
        [[policy.rule]]
        name = 'other stage'
        stage = 'data'
        then = 'discard'
        [[policy.rule]]
        name = 'c'
        stage = 'rcpt'
        when = { score = 3 }
        then = 'discard'
        [[policy.rule]]
        name = 'd'
        stage = 'rcpt'
        then = [{ score = 9 }, { defer = { code = 450, enhanced = '4.2.1', text = 'score {score}' } }]
        [[policy.rule]]
        name = 'e'
        stage = 'rcpt'
        then = 'accept'",
    );
    let known = Known::default();
    let sender = Some("é<b>@x y.test");
    let verdict = done(&policy, Stage::Rcpt, &Facts { sender, ..facts(&known) });
    let names: Vec<&str> = verdict.rules.iter().map(|id| policy.rule_name(*id)).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert_eq!((verdict.score, verdict.tarpit_ms, verdict.is_junk), (11, 1500, true));
    assert_eq!(
        verdict.fields,
        [
            FieldEdit::Add { name: "X-Why".into(), value: "?<b>@x?y.test to bob@example.org".into() },
            FieldEdit::Remove { name: "X-Old".into() }
        ]
    );
    let Decision::Defer(reply) = verdict.decision else { panic!("{verdict:?}") };
    assert_eq!((reply.code, reply.enhanced, reply.text.as_str()), (450, (4, 2, 1), "score 11"));
    let scored = done(&policy, Stage::Rcpt, &Facts { score: 1, ..facts(&known) });
    assert_eq!(scored.decision, Decision::Discard);
    assert_eq!(done(&policy, Stage::Helo, &facts(&known)).decision, Decision::Continue);
    assert!(!policy.has_rules(Stage::Helo) && policy.has_rules(Stage::Data));
}

#[test]
fn greylisting_waits_or_lets_the_next_rules_decide() {
    let policy = policy(
        "
        [[policy.rule]]
        name = 'known'
        stage = 'rcpt'
        when = { spf = 'pass', sender = 'good.test' }
        then = 'accept'
        [[policy.rule]]
        name = 'grey'
        stage = 'rcpt'
        then = ['greylist', { score = 1 }]",
    );
    let mut known = Known::default();
    // The sender says that SPF does not matter: it is not asked.
    assert_eq!(policy.evaluate(Stage::Rcpt, &facts(&known)), Outcome::Needs(vec![Question::Greylist]));
    known.answer(Answer::Greylist { wait_s: 300 });
    let verdict = done(&policy, Stage::Rcpt, &facts(&known));
    let Decision::Defer(reply) = &verdict.decision else { panic!("{verdict:?}") };
    assert_eq!((reply.code, reply.enhanced, verdict.score), (451, (4, 7, 1), 0));
    known.answer(Answer::Greylist { wait_s: 0 });
    let verdict = done(&policy, Stage::Rcpt, &facts(&known));
    assert_eq!((verdict.decision, verdict.score), (Decision::Continue, 1));
    known.end_of_stage();
    assert_eq!(policy.evaluate(Stage::Rcpt, &facts(&known)), Outcome::Needs(vec![Question::Greylist]));
}

fn user(known: &Known) -> Facts<'_> {
    Facts { account: Some("Ann@example.org"), ..facts(known) }
}

#[test]
fn limits_are_asked_when_all_else_holds() {
    let policy = policy(
        "
        [[policy.limit]]
        name = 'users'
        per = 'account'
        of = 'bytes'
        rate = '1GB'
        every = '1d'
        [[policy.limit]]
        name = 'sources'
        per = 'source'
        at_once = 20
        [[policy.rule]]
        name = 'too much'
        stage = 'data'
        when = { over_limit = 'users', authenticated = true }
        then = { defer = 'Come again tomorrow' }",
    );
    let mut known = Known::default();
    assert_eq!(done(&policy, Stage::Data, &facts(&known)).decision, Decision::Continue);
    let question = Question::Limit(LimitId(0));
    assert_eq!(policy.evaluate(Stage::Data, &user(&known)), Outcome::Needs(vec![question]));
    let limit = policy.limit(LimitId(0)).unwrap();
    assert_eq!(limit.subject(&user(&known)).as_deref(), Some("ann@example.org"));
    assert_eq!((limit.subject(&facts(&known)), limit.amount_of(&user(&known))), (None, 5000));
    assert_eq!(policy.limit(LimitId(1)).unwrap().subject(&user(&known)).as_deref(), Some("4:c0000207"));
    known.answer(Answer::Limit(LimitId(0), true));
    assert!(matches!(done(&policy, Stage::Data, &user(&known)).decision, Decision::Defer(_)));
}

#[test]
fn a_large_list_is_looked_up() {
    let mut entries = String::new();
    for n in 0..100_000 {
        writeln!(entries, "d{n}.test\n.s{n}.test # why").unwrap();
    }
    let file =
        move |path: &str| if path == "/lists/a" { Ok(entries.clone()) } else { Err("not there".to_owned()) };
    let text = "[[policy.list]]\nname = 'big'\nfile = '/lists/a'\n[[policy.rule]]\nname = 'x'\nstage = 'mail'\nwhen = { sender_domain = 'list:big' }\nthen = 'discard'";
    let policy = Policy::parse(text, &file).unwrap();
    let known = Known::default();
    for (sender, is_listed) in
        [("a@d99999.test", true), ("a@x.s5.test", true), ("a@s5.test", false), ("a@e.test", false)]
    {
        let verdict = done(&policy, Stage::Mail, &Facts { sender: Some(sender), ..facts(&known) });
        assert_eq!(verdict.decision == Decision::Discard, is_listed, "{sender}");
    }
}

#[test]
fn without_a_policy_there_are_no_rules() {
    let policy = policy("[server]\nhostname = 'x'\n");
    assert_eq!(policy.rule_count(), 0);
    assert_eq!(done(&policy, Stage::Connect, &facts(&Known::default())).decision, Decision::Continue);
}
