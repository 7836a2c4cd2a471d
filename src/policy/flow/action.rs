//! What mail-flow rules do.

use std::fmt;
use std::sync::Arc;

use toml::value::{Datetime, Offset};

use base::Timestamp;

use crate::edit::{Disclaimer, Fallback, FieldEdit, Place};
use crate::limits::{
    DISCLAIMER_BYTES_MAX, DISCLAIMER_LINE_BYTES_MAX, FIELD_BYTES_MAX, PATTERN_BYTES_MAX,
    REPLY_TEXT_BYTES_MAX, TARGETS_MAX,
};
use crate::read::{Fault, Section, Value, each, flag, integer, single, text, texts};
use crate::rules::action::{Class, Reply, checked_name, codes};

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowAction {
    /// It goes to these instead of its recipients.
    Redirect(Vec<String>),
    /// It goes to these too, and the header does not tell.
    Bcc(Vec<String>),
    /// It goes to these too, and To names them.
    To(Vec<String>),
    /// It goes to these too, and Cc names them.
    Cc(Vec<String>),
    /// One of these must approve it first.
    Moderate {
        /// Their addresses.
        by: Vec<String>,
        /// The sender is told when it is rejected.
        tells_sender: bool,
    },
    /// A text is put into it.
    Disclaim(Arc<Disclaimer>),
    /// Its header is changed.
    Field(FieldEdit),
    /// It is refused with this answer, or comes back to its sender with it.
    Reject(Reply),
    /// It leaves by the route of that name.
    Route(String),
    /// It is held for the operator.
    Quarantine,
    /// It is dropped.
    Discard,
    /// A report about it goes to that mailbox, with the message.
    Journal(String),
    /// Its junk score is this from now on.
    JunkScore(i32),
}

const WORDS: &str = "redirect, bcc, to, cc, moderate, disclaimer, add_header, set_header, remove_header, prepend_subject, reject, route, quarantine, discard, journal, junk_score";

impl FlowAction {
    /// Reads `then`: one action or a list of them.
    pub(crate) fn read_all(value: &Value<'_>) -> Result<Vec<Self>, Fault> {
        let mut all: Vec<Self> = Vec::new();
        for one in each(value) {
            if all.last().is_some_and(Self::is_terminal) {
                return Err(Fault::at(one, "nothing comes after reject, quarantine or discard: put it last"));
            }
            all.push(Self::read(one)?);
        }
        if all.is_empty() {
            return Err(Fault::at(value, format!("there is no action; there are {WORDS}")));
        }
        Ok(all)
    }

    fn read(value: &Value<'_>) -> Result<Self, Fault> {
        if let Some(word) = value.get_ref().as_str() {
            return match word {
                "quarantine" => Ok(Self::Quarantine),
                "discard" => Ok(Self::Discard),
                "reject" => Ok(Self::Reject(usual_reply())),
                _ => Err(Fault::at(
                    value,
                    format!("there is no action `{word}` without a value; there are {WORDS}"),
                )),
            };
        }
        let (word, value) = single(value, "such as { bcc = \"archive@example.org\" }")?;
        match word {
            "redirect" => targets(value).map(Self::Redirect),
            "bcc" => targets(value).map(Self::Bcc),
            "to" => targets(value).map(Self::To),
            "cc" => targets(value).map(Self::Cc),
            "moderate" => moderate(value),
            "disclaimer" => disclaimer(value).map(|it| Self::Disclaim(Arc::new(it))),
            "add_header" => field(value).map(|(name, value)| Self::Field(FieldEdit::Add { name, value })),
            "set_header" => field(value).map(|(name, value)| Self::Field(FieldEdit::Set { name, value })),
            "remove_header" => {
                checked_name(text(value)?, value).map(|name| Self::Field(FieldEdit::Remove { name }))
            }
            "prepend_subject" => {
                one_line(value, 100).map(|prefix| Self::Field(FieldEdit::PrefixSubject(prefix)))
            }
            "reject" => reply(value).map(Self::Reject),
            "route" => one_line(value, 100).map(Self::Route),
            "journal" => address(text(value)?, value).map(Self::Journal),
            "junk_score" => {
                let score = i32::try_from(integer(value)?).ok().filter(|score| score.unsigned_abs() <= 1000);
                score
                    .map(Self::JunkScore)
                    .ok_or_else(|| Fault::at(value, "a junk score is from -1000 to 1000"))
            }
            word => Err(Fault::at(value, format!("there is no action `{word}`; there are {WORDS}"))),
        }
    }

    /// Whether no later rule is looked at.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Reject(_) | Self::Quarantine | Self::Discard)
    }
}

fn usual_reply() -> Reply {
    Reply { code: 550, enhanced: (5, 7, 1), text: "Refused by a rule of the organisation".to_owned() }
}

fn reply(value: &Value<'_>) -> Result<Reply, Fault> {
    let mut reply = usual_reply();
    let place = if value.get_ref().is_str() {
        value
    } else {
        let section = Section::of(value, "a text, or a table of code, enhanced and text")?;
        section.only(&["code", "enhanced", "text"])?;
        (reply.code, reply.enhanced) = codes(&section, Class::Permanent, (reply.code, reply.enhanced))?;
        let Some(place) = section.get("text") else { return Ok(reply) };
        place
    };
    reply.text = one_line(place, REPLY_TEXT_BYTES_MAX)?;
    if !reply.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Fault::at(place, "an answer to a client is printable ASCII only"));
    }
    Ok(reply)
}

fn one_line(value: &Value<'_>, bytes_max: usize) -> Result<String, Fault> {
    let text = text(value)?;
    if text.trim().is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(Fault::at(value, format!("one line of text is wanted, of at most {bytes_max} bytes")));
    }
    Ok(text.to_owned())
}

fn field(value: &Value<'_>) -> Result<(String, String), Fault> {
    if value.get_ref().is_str() {
        let line = one_line(value, FIELD_BYTES_MAX)?;
        let (name, rest) = line.split_once(':').ok_or_else(|| Fault::at(value, "write \"Name: value\""))?;
        return Ok((checked_name(name.trim(), value)?, rest.trim().to_owned()));
    }
    let section = Section::of(value, "\"Name: value\", or a table of name and value")?;
    section.only(&["name", "value"])?;
    let place = section.need("name")?;
    Ok((checked_name(text(place)?, place)?, one_line(section.need("value")?, FIELD_BYTES_MAX)?))
}

fn targets(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let all = texts(value)?;
    if all.len() > TARGETS_MAX {
        return Err(Fault::at(value, format!("at most {TARGETS_MAX} addresses: name a group instead")));
    }
    all.into_iter().map(|(text, place)| address(text, place)).collect()
}

/// `moderate`: addresses, or a table that says more.
fn moderate(value: &Value<'_>) -> Result<FlowAction, Fault> {
    if value.get_ref().as_table().is_none() {
        return targets(value).map(|by| FlowAction::Moderate { by, tells_sender: true });
    }
    let section = Section::of(value, "addresses, or a table of by and tell_sender")?;
    section.only(&["by", "tell_sender"])?;
    let tells_sender = section.get("tell_sender").map(flag).transpose()?.unwrap_or(true);
    Ok(FlowAction::Moderate { by: targets(section.need("by")?)?, tells_sender })
}

/// An address that can be written into a header and an envelope as it stands.
fn address(text: &str, place: &Value<'_>) -> Result<String, Fault> {
    let is_plain = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let good = text
        .rsplit_once('@')
        .filter(|(local, host)| is_plain(local, ".!#$%&'*+/=?^_`{|}~-") && is_plain(host, ".-"))
        .filter(|_| text.len() <= PATTERN_BYTES_MAX);
    good.map(|_| text.to_owned()).ok_or_else(|| Fault::at(place, format!("{text:?} is no e-mail address")))
}

fn disclaimer(value: &Value<'_>) -> Result<Disclaimer, Fault> {
    let section = Section::of(value, "a table of text, html, place and fallback")?;
    section.only(&["text", "html", "place", "fallback"])?;
    let form = |key: &str| -> Result<String, Fault> {
        let Some(value) = section.get(key) else { return Ok(String::new()) };
        let form = text(value)?;
        if form.len() > DISCLAIMER_BYTES_MAX
            || form.lines().any(|line| line.len() > DISCLAIMER_LINE_BYTES_MAX)
        {
            let message = format!(
                "at most {DISCLAIMER_BYTES_MAX} bytes, in lines of at most {DISCLAIMER_LINE_BYTES_MAX}"
            );
            return Err(Fault::at(value, message));
        }
        if form.trim().is_empty()
            || form.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
        {
            return Err(Fault::at(value, "there is no text in it, or there are control characters"));
        }
        Ok(form.to_owned())
    };
    section.need("text")?;
    let place = match section.text("place")?.unwrap_or("end") {
        "start" => Place::Start,
        "end" => Place::End,
        _ => return Err(section.fault("`place` is start or end")),
    };
    let fallback = match section.text("fallback")?.unwrap_or("wrap") {
        "wrap" => Fallback::Wrap,
        "ignore" => Fallback::Ignore,
        "reject" => Fallback::Reject,
        _ => return Err(section.fault("`fallback` is wrap, ignore or reject")),
    };
    Ok(Disclaimer { text: form("text")?, html: form("html")?, place, fallback })
}

/// A moment with its zone: `2026-12-01T08:00:00+01:00`.
pub(crate) fn moment(value: &Value<'_>) -> Result<Timestamp, Fault> {
    let fault =
        || Fault::at(value, "a moment with its zone is wanted, without quotes: 2026-12-01T08:00:00+01:00");
    value.get_ref().as_datetime().and_then(moment_of).ok_or_else(fault)
}

/// A moment with its zone as a text, as it stands in rules (RFC 3339).
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().as_ref().and_then(moment_of)
}

fn moment_of(datetime: &Datetime) -> Option<Timestamp> {
    let (date, time, offset) = (datetime.date?, datetime.time?, datetime.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let (year, month, day) = (i64::from(date.year), u32::from(date.month), u32::from(date.day));
    let second = u32::from(time.second.unwrap_or(0));
    let civil = Timestamp::from_civil_utc(year, month, day, time.hour.into(), time.minute.into(), second);
    Some(Timestamp::from_s(civil.as_s() - minutes * 60))
}

impl fmt::Display for FlowAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect(to) => write!(f, "redirect to {}", to.join(", ")),
            Self::Bcc(to) => write!(f, "Bcc to {}", to.join(", ")),
            Self::To(to) => write!(f, "add to To {}", to.join(", ")),
            Self::Cc(to) => write!(f, "add to Cc {}", to.join(", ")),
            Self::Moderate { by, .. } => write!(f, "ask {}", by.join(", ")),
            Self::Disclaim(it) => {
                let place = if it.place == Place::Start { "start" } else { "end" };
                write!(f, "disclaimer at its {place}")
            }
            Self::Field(FieldEdit::Add { name, value }) => write!(f, "add field {name}: {value}"),
            Self::Field(FieldEdit::Set { name, value }) => write!(f, "set field {name}: {value}"),
            Self::Field(FieldEdit::Remove { name }) => write!(f, "remove field {name}"),
            Self::Field(FieldEdit::PrefixSubject(prefix)) => write!(f, "begin the subject with {prefix:?}"),
            Self::Field(FieldEdit::AddAddress { name, address }) => write!(f, "add {address} to {name}"),
            Self::Reject(reply) => {
                let (class, subject, detail) = reply.enhanced;
                write!(f, "reject: {} {class}.{subject}.{detail} {}", reply.code, reply.text)
            }
            Self::Route(route) => write!(f, "route by {route}"),
            Self::Quarantine => f.write_str("quarantine"),
            Self::Discard => f.write_str("discard"),
            Self::Journal(to) => write!(f, "journal to {to}"),
            Self::JunkScore(score) => write!(f, "junk score {score}"),
        }
    }
}
