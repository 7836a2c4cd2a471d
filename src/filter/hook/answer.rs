//! What a hook answers.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::HookStage;
use crate::limits::{
    ADDRESS_BYTES_MAX, HOOK_POINTS_MAX, MODIFICATION_BYTES_MAX, MODIFICATIONS_MAX, REASON_BYTES_MAX,
};
use crate::milter::{bare_address, is_field_name};
use crate::outcome::{Failure, Modification, Outcome, Verdict, Which};
use crate::reply::Reply;

/// A word that is not known is an error: a verdict in a misspelt one must not be lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    action: Action,
    reply: Option<Words>,
    reason: Option<String>,
    score: Option<f64>,
    #[serde(default)]
    modifications: Vec<Edit>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Action {
    Accept,
    Reject,
    Defer,
    Discard,
    Quarantine,
    Junk,
    Score,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    code: u16,
    enhanced: Option<String>,
    text: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Edit {
    AddHeader { name: String, value: String },
    InsertHeader { index: i32, name: String, value: String },
    ChangeHeader { index: u32, name: String, value: String },
    RemoveHeader { name: String, index: Option<u32> },
    ReplaceBody { content: String },
    ChangeSender { address: String },
    AddRecipient { address: String },
    RemoveRecipient { address: String },
}

pub(super) fn parse(body: &[u8], stage: HookStage, body_bytes_max: usize) -> Result<Outcome, Failure> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let text = alloc::format!("an answer that is not understood: {error}");
        Failure::Reported(text.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect())
    })?;
    let is_message = stage == HookStage::Data;
    let needs_message = matches!(answer.action, Action::Discard | Action::Quarantine | Action::Junk);
    if !is_message && (needs_message || !answer.modifications.is_empty()) {
        return Err(Failure::Protocol("an action on a message where there is none yet"));
    }
    let reason = || -> String {
        let reason = answer.reason.as_deref().unwrap_or("held by a hook");
        reason.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect()
    };
    let verdict = match answer.action {
        Action::Accept => Verdict::Continue,
        Action::Reject => Verdict::Reject(reply(answer.reply, true)?),
        Action::Defer => Verdict::TempFail(reply(answer.reply, false)?),
        Action::Discard => Verdict::Discard,
        Action::Quarantine => Verdict::Quarantine(reason()),
        Action::Junk => Verdict::Junk { score: answer.score.unwrap_or(0.0) },
        Action::Score => Verdict::Points(points(answer.score, is_message)?),
    };
    let modifications =
        if verdict.lets_through() { changes(answer.modifications, body_bytes_max)? } else { Vec::new() };
    Ok(Outcome { verdict, modifications })
}

/// Points for the rules that come later: there are some before the content is there.
fn points(score: Option<f64>, is_message: bool) -> Result<i32, Failure> {
    let score = score.ok_or(Failure::Protocol("a score without a number"))?;
    if is_message {
        return Err(Failure::Protocol("a score when no rule comes any more"));
    }
    if !(-HOOK_POINTS_MAX..=HOOK_POINTS_MAX).contains(&score) {
        return Err(Failure::Protocol("a score out of bounds"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is within bounds")]
    Ok(score as i32)
}

fn reply(words: Option<Words>, is_permanent: bool) -> Result<Reply, Failure> {
    let Some(words) = words else {
        return Ok(if is_permanent {
            Reply::new(550, "5.7.1", "Refused by local policy")
        } else {
            Reply::new(451, "4.7.1", "Refused by local policy for now, try again later")
        });
    };
    Reply::from_parts(words.code, words.enhanced.as_deref(), words.text.as_bytes())
        .filter(|reply| reply.is_permanent() == is_permanent)
        .ok_or(Failure::Protocol("a code that does not go with the action"))
}

fn changes(edits: Vec<Edit>, body_bytes_max: usize) -> Result<Vec<Modification>, Failure> {
    if edits.len() > MODIFICATIONS_MAX {
        return Err(Failure::Protocol("too many changes"));
    }
    let mut bytes = 0;
    let mut list = Vec::with_capacity(edits.len());
    for edit in edits {
        let modification = modification(edit, body_bytes_max)?;
        bytes += match &modification {
            Modification::AddHeader { name, value }
            | Modification::InsertHeader { name, value, .. }
            | Modification::ChangeHeader { name, value, .. } => name.len() + value.len(),
            _ => 0,
        };
        if bytes > MODIFICATION_BYTES_MAX {
            return Err(Failure::Protocol("too many changes"));
        }
        list.push(modification);
    }
    Ok(list)
}

fn modification(edit: Edit, body_bytes_max: usize) -> Result<Modification, Failure> {
    Ok(match edit {
        Edit::AddHeader { name, value } => {
            Modification::AddHeader { name: named(name)?, value: spaced(&value) }
        }
        Edit::InsertHeader { index, name, value } => {
            Modification::InsertHeader { index, name: named(name)?, value: spaced(&value) }
        }
        Edit::ChangeHeader { index, name, value } => {
            Modification::ChangeHeader { index, name: named(name)?, value: spaced(&value) }
        }
        Edit::RemoveHeader { name, index } => {
            Modification::RemoveHeader { name: named(name)?, which: index.map_or(Which::All, Which::Nth) }
        }
        Edit::ReplaceBody { content } => {
            let body = STANDARD.decode(content).map_err(|_| Failure::Protocol("a body that is no base64"))?;
            if body.len() > body_bytes_max {
                return Err(Failure::Protocol("the new body is too long"));
            }
            Modification::ReplaceBody(body)
        }
        Edit::ChangeSender { address } => {
            Modification::ChangeSender { address: checked(&address)?, parameters: String::new() }
        }
        Edit::AddRecipient { address } => {
            let address = checked(&address)?;
            if address.is_empty() {
                return Err(Failure::Protocol("a recipient without an address"));
            }
            Modification::AddRecipient { address, parameters: String::new() }
        }
        Edit::RemoveRecipient { address } => Modification::RemoveRecipient(checked(&address)?),
    })
}

fn named(name: String) -> Result<String, Failure> {
    if is_field_name(name.as_bytes()) {
        Ok(name)
    } else {
        Err(Failure::Protocol("a header field's name that is none"))
    }
}

fn spaced(value: &str) -> Vec<u8> {
    alloc::format!(" {}", value.trim_start()).into_bytes()
}

fn checked(address: &str) -> Result<String, Failure> {
    if address.len() > ADDRESS_BYTES_MAX || address.chars().any(char::is_control) {
        return Err(Failure::Protocol("an address that is none"));
    }
    Ok(bare_address(address))
}
