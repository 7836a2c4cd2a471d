//! `angarium rules test`: what the mail-flow rules say of a message, and why. Nothing is done with it.

use std::path::Path;

use base::Timestamp;
use policy::{
    Applied, Flow, FlowAction, FlowFacts, FlowKnown, FlowOutcome, FlowQuestion, FlowVerdict, Message, Policy,
    Step, StepState, Truth, apply,
};
use serde_json::{Value, json};

use crate::cli::{RulesCommand, RulesTestArgs};
use crate::{Exit, Failure, Host, print};

/// Runs a command about rules.
pub(crate) fn rules(
    command: &RulesCommand,
    config: &Path,
    host: &dyn Host,
    is_json: bool,
) -> Result<Exit, Failure> {
    let RulesCommand::Test(args) = command;
    let flow = read_rules(args.rules.as_deref().unwrap_or(config))?;
    let bytes = with_crlf(&std::fs::read(&args.message).map_err(|error| broken(&args.message, &error))?);
    let tried = Trial::new(args, &bytes, args.at.unwrap_or_else(|| host.now())).run(&flow);
    if let (Some(file), Some(changed)) = (&args.output, &tried.changed) {
        let mut target = std::fs::File::create_new(file).map_err(|error| broken(file, &error))?;
        std::io::Write::write_all(&mut target, changed).map_err(|error| broken(file, &error))?;
    }
    print::answer(&tried.answer(args, is_json), is_json);
    Ok(if tried.goes_on() { Exit::Done } else { Exit::Failed })
}

fn broken(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", file.display()))
}

/// The mail-flow rules of a file. Its policy is read too: a fault in it would stop the server.
fn read_rules(file: &Path) -> Result<Flow, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let words = format!("{}: {error}; `--rules FILE` names a file with rules", file.display());
        Failure::new(Exit::Config, words)
    })?;
    let list = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let fault = |fault: policy::Fault| {
        Failure::new(Exit::Config, format!("{}:{}: {}", file.display(), fault.line, fault.message))
    };
    Policy::parse(&text, &list).map_err(fault)?;
    Flow::parse(&text, &list).map_err(fault)
}

/// Lines as they come over the wire: editors save messages with LF.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(bare) => {
                out.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
                out.extend(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// A message and what is supposed of it.
struct Trial<'a> {
    args: &'a RulesTestArgs,
    message: Message<'a>,
    sender: String,
    recipients: Vec<String>,
    now: Timestamp,
}

/// What came of it.
struct Tried {
    sender: String,
    recipients: Vec<String>,
    verdict: FlowVerdict,
    steps: Vec<Step>,
    /// The message as it would go on; `None` when a text that must be in it cannot be.
    changed: Option<Vec<u8>>,
    is_changed: bool,
}

impl<'a> Trial<'a> {
    fn new(args: &'a RulesTestArgs, bytes: &'a [u8], now: Timestamp) -> Self {
        let message = Message::of(bytes);
        let addresses = |names: &[&str]| -> Vec<String> {
            let fields = mime_fields(message.header(), names);
            fields.into_iter().filter(|address| !address.is_empty()).collect()
        };
        let sender = args.from.clone().or_else(|| addresses(&["From"]).into_iter().next());
        let recipients = if args.to.is_empty() { addresses(&["To", "Cc"]) } else { args.to.clone() };
        Self { args, message, sender: sender.unwrap_or_default(), recipients, now }
    }

    fn run(self, flow: &Flow) -> Tried {
        let recipients: Vec<&str> = self.recipients.iter().map(String::as_str).collect();
        let mut known = FlowKnown::default();
        let (verdict, steps) = loop {
            let mut facts = FlowFacts::of(&self.sender, &recipients, self.now, &known);
            facts.account = self.args.account.as_deref();
            facts.junk_score = self.args.junk_score;
            match flow.evaluate(&self.message, &facts) {
                FlowOutcome::Done(verdict) => {
                    // Rules that evaluation did not come to may ask for more.
                    let steps = flow.explain(&self.message, &facts);
                    let asked: Vec<FlowQuestion> = steps.iter().flat_map(|step| step.asked.clone()).collect();
                    if asked.is_empty() {
                        break (verdict, steps);
                    }
                    self.answer(&mut known, asked);
                }
                FlowOutcome::Needs(questions) => self.answer(&mut known, questions),
            }
        };
        let before = self.message.bytes();
        let changed = match apply(before, &verdict.effects, self.now.as_ms().unsigned_abs()) {
            Applied::Message(changed) => Some(changed),
            Applied::Refused(_) => None,
        };
        let is_changed = changed.as_deref() != Some(before);
        Tried { sender: self.sender, recipients: self.recipients, verdict, steps, changed, is_changed }
    }

    fn answer(&self, known: &mut FlowKnown, questions: Vec<FlowQuestion>) {
        for question in questions {
            let is_so = match &question {
                FlowQuestion::IsInside { domain } => {
                    self.args.inside.iter().any(|one| one.eq_ignore_ascii_case(domain))
                }
                FlowQuestion::IsMember { address, group } => {
                    self.args.member.iter().any(|(one, of)| one == address && of == group)
                }
            };
            known.answer(question, is_so);
        }
    }
}

/// The addresses of fields of these names.
fn mime_fields(header: &[u8], names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| policy::header_addresses(header, name)).collect()
}

impl Tried {
    fn goes_on(&self) -> bool {
        self.outcome() == "goes on"
    }

    /// What becomes of the message, in a word.
    fn outcome(&self) -> &'static str {
        let last = self.verdict.effects.last().map(|effect| &effect.action);
        match last {
            Some(FlowAction::Reject(_)) => "refused",
            Some(FlowAction::Quarantine) => "held",
            Some(FlowAction::Discard) => "dropped",
            _ if self.changed.is_none() => "refused",
            _ if self.waits() => "waits for approval",
            _ => "goes on",
        }
    }

    fn waits(&self) -> bool {
        self.verdict.effects.iter().any(|effect| matches!(effect.action, FlowAction::Moderate { .. }))
    }

    fn answer(&self, args: &RulesTestArgs, is_json: bool) -> Value {
        let row = if is_json { full } else { brief };
        let mut answer = json!({
            "message": args.message,
            "from": self.sender,
            "to": self.recipients,
            "is": self.outcome(),
            "changed": self.is_changed,
            "junk_score": self.verdict.junk_score,
            "rules": self.steps.iter().map(row).collect::<Vec<_>>(),
        });
        if let Some(output) = args.output.as_ref().filter(|_| self.changed.is_some()) {
            answer["output"] = json!(output);
        }
        answer
    }
}

fn full(step: &Step) -> Value {
    let truth = |truth: Truth| match truth {
        Truth::Yes => json!(true),
        Truth::No => json!(false),
        Truth::Unknown => Value::Null,
    };
    let findings: Vec<Value> = step
        .findings
        .iter()
        .map(|found| json!({ "condition": found.condition, "exception": found.is_exception, "holds": truth(found.truth) }))
        .collect();
    json!({ "rule": step.rule, "state": step.state.word(), "conditions": findings, "actions": step.effects })
}

/// A row of a table: each condition on a line of its own, marked.
fn brief(step: &Step) -> Value {
    let mark = |truth: Truth| match truth {
        Truth::Yes => '+',
        Truth::No => '-',
        Truth::Unknown => '?',
    };
    let conditions: Vec<String> = step
        .findings
        .iter()
        .map(|found| {
            let except = if found.is_exception { "except: " } else { "" };
            format!("{} {except}{}", mark(found.truth), found.condition)
        })
        .collect();
    let conditions = if conditions.is_empty() { "+ always".to_owned() } else { conditions.join("\n") };
    let shown = matches!(step.state, StepState::Matched | StepState::Audited);
    let actions = if shown { step.effects.join("\n") } else { String::new() };
    json!({ "rule": step.rule, "state": step.state.word(), "conditions": conditions, "does": actions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{member, moment};

    const RULES: &str = "
[mailflow]
inside = 'example.org'
[[mailflow.rule]]
name = 'outside'
when = { recipient_inside = false }
except = { sender_member = 'press' }
then = { prepend_subject = '[X] ' }
[[mailflow.rule]]
name = 'secret'
when = { body = { words = 'secret' } }
then = 'quarantine'
";
    const MAIL: &[u8] =
        b"From: Ann <ann@example.org>\nTo: bob@example.com, Carl <carl@example.org>\nSubject: a\n\nno secrets\n";

    fn try_it(mail: &[u8], members: &[&str]) -> (Value, Tried) {
        let args = RulesTestArgs {
            message: "a.eml".into(),
            rules: None,
            from: None,
            to: Vec::new(),
            account: None,
            inside: Vec::new(),
            member: members.iter().map(|text| member(text).unwrap()).collect(),
            junk_score: 0,
            at: moment("2026-12-01T08:00:00+01:00").ok(),
            output: None,
        };
        let flow = Flow::parse(RULES, &|_: &str| Err("none".to_owned())).unwrap();
        let bytes = with_crlf(mail);
        let tried = Trial::new(&args, &bytes, args.at.unwrap()).run(&flow);
        (tried.answer(&args, true), tried)
    }

    #[test]
    fn a_trial_says_why_and_shows_the_message() {
        let (answer, tried) = try_it(MAIL, &[]);
        assert_eq!(answer["to"], json!(["bob@example.com", "carl@example.org"]));
        assert_eq!((&answer["is"], &answer["changed"]), (&json!("goes on"), &json!(true)));
        assert_eq!(answer["rules"][0]["state"], "matched");
        assert_eq!(
            answer["rules"][0]["conditions"][1],
            json!({
                "condition": "sender is a member of press", "exception": true, "holds": false
            })
        );
        assert_eq!(answer["rules"][1]["state"], "no");
        let changed = String::from_utf8(tried.changed.clone().unwrap()).unwrap();
        assert!(changed.contains("Subject: [X] a\r\n\r\nno secrets\r\n"), "{changed}");
        assert_eq!(brief(&tried.steps[1])["conditions"], "- body has the word \"secret\"");
    }

    #[test]
    fn members_and_words_change_what_becomes_of_it() {
        let (answer, _) = try_it(MAIL, &["ANN@example.org=press"]);
        assert_eq!((&answer["rules"][0]["state"], &answer["changed"]), (&json!("no"), &json!(false)));
        let (answer, tried) = try_it(&[MAIL, b"a secret\n"].concat(), &[]);
        assert!(answer["is"] == "held" && !tried.goes_on());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(member("ann").is_err() && moment("tomorrow").is_err());
        let missing = read_rules(Path::new("/nowhere/rules.toml")).err().unwrap();
        assert_eq!(missing.exit, Exit::Config);
    }
}
