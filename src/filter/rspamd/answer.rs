//! rspamd's JSON, and what its actions mean here: the same as they mean to rspamd's own milter.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::{Map, Value};

use crate::limits::{
    ADDRESS_BYTES_MAX, MODIFICATION_BYTES_MAX, MODIFICATIONS_MAX, REASON_BYTES_MAX, RSPAMD_SYMBOLS_MAX,
};
use crate::milter::{bare_address, is_field_name};
use crate::outcome::{Failure, Modification, Outcome, Verdict, Which};
use crate::reply::Reply;

/// What rspamd says of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// What to do.
    pub outcome: Outcome,
    /// rspamd's word for it: `no action`, `greylist`, `add header`, `rewrite subject`, `soft reject`, `reject`,
    /// `quarantine`, `discard`.
    pub action: String,
    /// The message's score; more is worse.
    pub score: f64,
    /// The score from which rspamd rejects.
    pub required_score: f64,
    /// What was found, by name; a bounded number of them.
    pub symbols: Vec<Symbol>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// Its name, as `BAYES_SPAM`.
    pub name: String,
    /// What it adds to the score.
    pub score: f64,
}

impl Assessment {
    /// Reads an answer of `/checkv2`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let answer: Value =
            serde_json::from_slice(body).map_err(|_| Failure::Protocol("an answer that is no JSON"))?;
        let answer = answer.as_object().ok_or(Failure::Protocol("an answer that is no JSON object"))?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            return Err(Failure::Reported(cut(error)));
        }
        let action = answer.get("action").and_then(Value::as_str).ok_or(Failure::Protocol("no action"))?;
        let number = |name: &str| answer.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        let score = number("score");
        let mut changes = Changes::default();
        let milter = answer.get("milter").and_then(Value::as_object);
        if let Some(milter) = milter {
            changes.milter(milter)?;
        }
        changes.signatures(answer.get("dkim-signature"))?;
        let is_advice =
            milter.and_then(|milter| milter.get("no_action")).and_then(Value::as_bool) == Some(true);
        let verdict = if is_advice {
            changes.add("X-Rspamd-Action", action)?;
            Verdict::Continue
        } else {
            verdict(action, answer, &mut changes)?
        };
        let modifications = if verdict.lets_through() { changes.list } else { Vec::new() };
        Ok(Self {
            outcome: Outcome { verdict, modifications },
            action: cut(action),
            score,
            required_score: number("required_score"),
            symbols: symbols(answer),
        })
    }
}

fn verdict(action: &str, answer: &Map<String, Value>, changes: &mut Changes) -> Result<Verdict, Failure> {
    let milter = answer.get("milter").and_then(Value::as_object);
    let words =
        answer.get("messages").and_then(|messages| messages.get("smtp_message")).and_then(Value::as_str);
    let reply = |code, enhanced, usual| {
        let text = words.unwrap_or(usual);
        Reply::new(code, enhanced, text)
    };
    Ok(match action {
        "no action" => Verdict::Continue,
        "reject" => match milter.and_then(|milter| milter.get("reject")).and_then(Value::as_str) {
            Some("discard") => Verdict::Discard,
            Some("quarantine") => Verdict::Quarantine("rspamd: reject".to_string()),
            _ => Verdict::Reject(reply(554, "5.7.1", "Message refused as spam")),
        },
        "soft reject" => Verdict::TempFail(reply(451, "4.7.1", "Message refused for now, try again later")),
        "greylist" => Verdict::Greylist(reply(451, "4.7.1", "Greylisted, try again later")),
        "rewrite subject" => {
            if let Some(subject) = answer.get("subject").and_then(Value::as_str) {
                changes.set("Subject", subject)?;
            }
            Verdict::Continue
        }
        "add header" => {
            match milter.and_then(|milter| milter.get("spam_header")) {
                Some(Value::String(value)) => changes.replace("X-Spam", value)?,
                Some(Value::Object(fields)) => {
                    for (name, value) in fields {
                        changes.replace(name, value.as_str().unwrap_or_default())?;
                    }
                }
                _ => changes.replace("X-Spam", "Yes")?,
            }
            Verdict::Junk { score: answer.get("score").and_then(Value::as_f64).unwrap_or(0.0) }
        }
        "quarantine" => Verdict::Quarantine("rspamd: quarantine".to_string()),
        "discard" => Verdict::Discard,
        _ => return Err(Failure::Protocol("an action that is not rspamd's")),
    })
}

/// Changes, bounded in number and size.
#[derive(Default)]
struct Changes {
    list: Vec<Modification>,
    bytes: usize,
}

impl Changes {
    fn push(&mut self, bytes: usize, modification: Modification) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.list.len() >= MODIFICATIONS_MAX || self.bytes > MODIFICATION_BYTES_MAX {
            return Err(Failure::Protocol("too many changes"));
        }
        self.list.push(modification);
        Ok(())
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let (name, value) = field(name, value)?;
        self.push(name.len() + value.len(), Modification::AddHeader { name, value })
    }

    fn insert(&mut self, index: i32, name: &str, value: &str) -> Result<(), Failure> {
        let (name, value) = field(name, value)?;
        self.push(name.len() + value.len(), Modification::InsertHeader { index, name, value })
    }

    /// The first field of that name gets another value.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let (name, value) = field(name, value)?;
        self.push(name.len() + value.len(), Modification::ChangeHeader { index: 1, name, value })
    }

    /// All fields of that name give way to one.
    fn replace(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.remove(name, Which::All)?;
        self.add(name, value)
    }

    fn remove(&mut self, name: &str, which: Which) -> Result<(), Failure> {
        if !is_field_name(name.as_bytes()) {
            return Err(Failure::Protocol("a header field's name that is none"));
        }
        self.push(name.len(), Modification::RemoveHeader { name: name.to_string(), which })
    }

    /// The `milter` block.
    fn milter(&mut self, milter: &Map<String, Value>) -> Result<(), Failure> {
        let object = |name: &str| milter.get(name).and_then(Value::as_object).into_iter().flatten();
        for (name, number) in object("remove_headers") {
            // From 1; 0 is all of them, and below it counts from the end.
            for number in values(number).filter_map(Value::as_i64) {
                let count = u32::try_from(number.unsigned_abs()).unwrap_or(u32::MAX);
                let which = match number {
                    0 => Which::All,
                    1.. => Which::Nth(count),
                    _ => Which::FromEnd(count),
                };
                self.remove(name, which)?;
            }
        }
        for (name, value) in object("add_headers") {
            for value in values(value) {
                self.add_header(name, value)?;
            }
        }
        if let Some(sender) = milter.get("change_from").and_then(Value::as_str) {
            let address = address(sender)?;
            self.push(address.len(), Modification::ChangeSender { address, parameters: String::new() })?;
        }
        for recipient in milter.get("add_rcpt").into_iter().flat_map(values).filter_map(Value::as_str) {
            let address = address(recipient)?;
            self.push(address.len(), Modification::AddRecipient { address, parameters: String::new() })?;
        }
        for recipient in milter.get("del_rcpt").into_iter().flat_map(values).filter_map(Value::as_str) {
            let address = address(recipient)?;
            self.push(address.len(), Modification::RemoveRecipient(address))?;
        }
        Ok(())
    }

    /// A value, or a value with its place.
    fn add_header(&mut self, name: &str, value: &Value) -> Result<(), Failure> {
        if let Some(text) = value.as_str() {
            return self.add(name, text);
        }
        let text = value.get("value").and_then(Value::as_str);
        let text = text.ok_or(Failure::Protocol("a header field without a value"))?;
        let place = value.get("order").or_else(|| value.get("index")).and_then(Value::as_i64);
        match place.map(|place| i32::try_from(place).unwrap_or(i32::MAX)) {
            Some(place) => self.insert(place, name, text),
            None => self.add(name, text),
        }
    }

    /// Signatures go in front of what they sign, under our Received field.
    fn signatures(&mut self, signatures: Option<&Value>) -> Result<(), Failure> {
        let texts = signatures.into_iter().flat_map(values).filter_map(Value::as_str);
        for (place, signature) in (1..).zip(texts) {
            self.insert(place, "DKIM-Signature", signature)?;
        }
        Ok(())
    }
}

/// An array's values, or the one that is none.
fn values(value: &Value) -> impl Iterator<Item = &Value> {
    let (many, one) = match value {
        Value::Array(values) => (values.as_slice(), None),
        one => ([].as_slice(), Some(one)),
    };
    many.iter().chain(one)
}

fn symbols(answer: &Map<String, Value>) -> Vec<Symbol> {
    let symbols = answer.get("symbols").and_then(Value::as_object).into_iter().flatten();
    let symbol = |(name, symbol): (&String, &Value)| Symbol {
        name: cut(name),
        score: symbol.get("score").and_then(Value::as_f64).unwrap_or(0.0),
    };
    symbols.take(RSPAMD_SYMBOLS_MAX).map(symbol).collect()
}

fn field(name: &str, value: &str) -> Result<(String, Vec<u8>), Failure> {
    if !is_field_name(name.as_bytes()) {
        return Err(Failure::Protocol("a header field's name that is none"));
    }
    Ok((name.to_string(), alloc::format!(" {value}").into_bytes()))
}

fn address(text: &str) -> Result<String, Failure> {
    if text.len() > ADDRESS_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Failure::Protocol("an address that is none"));
    }
    Ok(bare_address(text))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect()
}
