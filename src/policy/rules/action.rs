//! What rules at the stages of SMTP do.

use crate::facts::{Facts, Stage};
use crate::limits::{FIELD_BYTES_MAX, REPLY_TEXT_BYTES_MAX, TARPIT_MS_MAX};
use crate::read::{Fault, Section, Value, duration_ms, each, integer, single, text};
use crate::rules::template::Template;
use crate::words::is_field_name;

/// An answer to a client: `550 5.7.1 text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2: 400 to 599.
    pub code: u16,
    /// RFC 3463; its class agrees with the code.
    pub enhanced: (u8, u16, u16),
    /// One line of printable ASCII.
    pub text: String,
}

/// A reply whose text has places for facts.
#[derive(Clone, Debug)]
pub(crate) struct ReplyForm {
    code: u16,
    enhanced: (u8, u16, u16),
    text: Template,
}

/// One action.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Accept,
    Trust,
    Reject(ReplyForm),
    Defer(ReplyForm),
    Greylist(Template),
    Discard,
    Quarantine,
    Junk,
    Tarpit(u32),
    Score(i32),
    AddField(String, Template),
    SetField(String, Template),
    RemoveField(String),
}

const WORDS: &str = "accept, trust, reject, defer, greylist, discard, quarantine, junk, tarpit, score, add_header, set_header, remove_header";

impl Action {
    /// Reads `then`: one action or a list of them, of which only the last may end the rules.
    pub(crate) fn read_all(value: &Value<'_>, stage: Stage) -> Result<Vec<Self>, Fault> {
        let mut all: Vec<Self> = Vec::new();
        for one in each(value) {
            if let Some(last) = all.last().filter(|last| last.is_terminal()) {
                let message = format!("nothing comes after `{}`: put it last", last.word());
                return Err(Fault::at(one, message));
            }
            let action = Self::read(one, stage)?;
            action.check(one, stage)?;
            all.push(action);
        }
        if all.is_empty() {
            return Err(Fault::at(value, format!("there is no action; there are {WORDS}")));
        }
        Ok(all)
    }

    fn read(value: &Value<'_>, stage: Stage) -> Result<Self, Fault> {
        if let Some(word) = value.get_ref().as_str() {
            return Self::bare(word, value, stage);
        }
        let (word, value) = single(value, "such as { reject = { text = \"...\" } }")?;
        match word {
            "reject" => Ok(Self::Reject(ReplyForm::read(value, Class::Permanent, stage)?)),
            "defer" => Ok(Self::Defer(ReplyForm::read(value, Class::Temporary, stage)?)),
            "greylist" => {
                let section = Section::of(value, "a table such as { text = \"...\" }")?;
                section.only(&["text"])?;
                Ok(Self::Greylist(Template::read(section.need("text")?, REPLY_TEXT_BYTES_MAX)?))
            }
            "tarpit" => {
                let ms = duration_ms(value)?;
                let ms = u32::try_from(ms).ok().filter(|ms| (1..=TARPIT_MS_MAX).contains(ms));
                ms.map(Self::Tarpit).ok_or_else(|| {
                    Fault::at(
                        value,
                        format!("a tarpit is from 1 ms to {} s: clients give up", TARPIT_MS_MAX / 1000),
                    )
                })
            }
            "score" => {
                let score = i32::try_from(integer(value)?).ok().filter(|score| score.unsigned_abs() <= 1000);
                score.map(Self::Score).ok_or_else(|| Fault::at(value, "a score is from -1000 to 1000"))
            }
            "add_header" => field(value).map(|(name, value)| Self::AddField(name, value)),
            "set_header" => field(value).map(|(name, value)| Self::SetField(name, value)),
            "remove_header" => removed_field(value).map(Self::RemoveField),
            word => {
                Err(Fault::at(value, format!("there is no action `{word}` with a value; there are {WORDS}")))
            }
        }
    }

    fn bare(word: &str, value: &Value<'_>, stage: Stage) -> Result<Self, Fault> {
        Ok(match word {
            "accept" => Self::Accept,
            "trust" => Self::Trust,
            "reject" => Self::Reject(ReplyForm::usual(Class::Permanent, stage)),
            "defer" => Self::Defer(ReplyForm::usual(Class::Temporary, stage)),
            "greylist" => Self::Greylist(Template::of("Greylisted, please try again later")),
            "discard" => Self::Discard,
            "quarantine" => Self::Quarantine,
            "junk" => Self::Junk,
            word => return Err(Fault::at(value, format!("there is no action `{word}`; there are {WORDS}"))),
        })
    }

    fn check(&self, value: &Value<'_>, stage: Stage) -> Result<(), Fault> {
        let message = match self {
            Self::Greylist(_) if stage != Stage::Rcpt => {
                "greylisting needs sender and recipient: use stage rcpt"
            }
            Self::Discard | Self::Quarantine if stage < Stage::Mail => {
                "there is no message yet that this could be done to: use stage mail or later"
            }
            _ => return Ok(()),
        };
        Err(Fault::at(value, message))
    }

    /// Whether no later rule of the stage is looked at. Greylisting ends them only while it lasts.
    pub(crate) const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Accept | Self::Trust | Self::Reject(_) | Self::Defer(_) | Self::Discard | Self::Quarantine
        )
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Trust => "trust",
            Self::Reject(_) => "reject",
            Self::Defer(_) => "defer",
            Self::Greylist(_) => "greylist",
            Self::Discard => "discard",
            Self::Quarantine => "quarantine",
            Self::Junk => "junk",
            Self::Tarpit(_) => "tarpit",
            Self::Score(_) => "score",
            Self::AddField(..) => "add_header",
            Self::SetField(..) => "set_header",
            Self::RemoveField(_) => "remove_header",
        }
    }
}

/// Whether a refusal is for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Permanent,
    Temporary,
}

impl ReplyForm {
    fn usual(class: Class, stage: Stage) -> Self {
        // RFC 5321 §3.1: 554 in place of a greeting; 421 where the connection ends with it.
        let (code, enhanced, text) = match (class, stage) {
            (Class::Permanent, Stage::Connect) => (554, (5, 7, 1), "No mail is taken from you"),
            (Class::Permanent, _) => (550, (5, 7, 1), "Refused by policy"),
            (Class::Temporary, Stage::Connect) => (421, (4, 7, 1), "No mail is taken from you now"),
            (Class::Temporary, _) => (451, (4, 7, 1), "Refused for now by policy"),
        };
        Self { code, enhanced, text: Template::of(text) }
    }

    /// `"text"`, or a table of code, enhanced and text, each of which has a usual value.
    fn read(value: &Value<'_>, class: Class, stage: Stage) -> Result<Self, Fault> {
        let mut form = Self::usual(class, stage);
        if value.get_ref().is_str() {
            form.text = Template::read(value, REPLY_TEXT_BYTES_MAX)?;
            return Ok(form);
        }
        let section = Section::of(value, "a text, or a table of code, enhanced and text")?;
        section.only(&["code", "enhanced", "text"])?;
        (form.code, form.enhanced) = codes(&section, class, (form.code, form.enhanced))?;
        if let Some(value) = section.get("text") {
            form.text = Template::read(value, REPLY_TEXT_BYTES_MAX)?;
        }
        Ok(form)
    }

    pub(crate) fn fill(&self, facts: &Facts<'_>, score: i32) -> Reply {
        Reply { code: self.code, enhanced: self.enhanced, text: self.text.fill(facts, score) }
    }
}

/// `code` and `enhanced` of a table, which must be of one class.
pub(crate) fn codes(
    section: &Section<'_>,
    class: Class,
    usual: (u16, (u8, u16, u16)),
) -> Result<(u16, (u8, u16, u16)), Fault> {
    let (range, digit, word) = match class {
        Class::Permanent => (500..=599, 5, "a refusal for good has a code from 500 to 599"),
        Class::Temporary => (400..=499, 4, "a refusal for now has a code from 400 to 499"),
    };
    let (mut code, mut enhanced) = usual;
    if let Some(value) = section.get("code") {
        code = u16::try_from(integer(value)?)
            .ok()
            .filter(|code| range.contains(code))
            .ok_or_else(|| Fault::at(value, word))?;
    }
    if let Some(value) = section.get("enhanced") {
        let parsed = enhanced_code(text(value)?).filter(|(class, ..)| *class == digit);
        enhanced = parsed.ok_or_else(|| {
            Fault::at(
                value,
                format!("an enhanced code is wanted that begins with {digit}, such as \"{digit}.7.1\""),
            )
        })?;
    }
    Ok((code, enhanced))
}

fn enhanced_code(text: &str) -> Option<(u8, u16, u16)> {
    let mut parts = text.split('.');
    let class = parts.next()?.parse().ok()?;
    let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let is_whole = parts.next().is_none() && subject <= 999 && detail <= 999;
    is_whole.then_some((class, subject, detail))
}

/// `"Name: value"`, or a table of name and value.
fn field(value: &Value<'_>) -> Result<(String, Template), Fault> {
    if value.get_ref().is_str() {
        let all = text(value)?;
        let (name, rest) = all.split_once(':').ok_or_else(|| Fault::at(value, "write \"Name: value\""))?;
        let name = checked_name(name.trim(), value)?;
        return Ok((
            name,
            Template::parse(rest.trim(), FIELD_BYTES_MAX).map_err(|message| Fault::at(value, message))?,
        ));
    }
    let section = Section::of(value, "\"Name: value\", or a table of name and value")?;
    section.only(&["name", "value"])?;
    let place = section.need("name")?;
    Ok((checked_name(text(place)?, place)?, Template::read(section.need("value")?, FIELD_BYTES_MAX)?))
}

fn removed_field(value: &Value<'_>) -> Result<String, Fault> {
    checked_name(text(value)?, value)
}

/// Fields that carry the message on its way, or say what it is made of, are no rule's to change.
const UNTOUCHED: [&str; 7] = [
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Bcc",
];

/// The name of a field that a rule may write or take away.
pub(crate) fn checked_name(name: &str, place: &Value<'_>) -> Result<String, Fault> {
    if !is_field_name(name) {
        return Err(Fault::at(place, format!("{name:?} is no name of a header field")));
    }
    if let Some(kept) = UNTOUCHED.iter().find(|kept| kept.eq_ignore_ascii_case(name)) {
        return Err(Fault::at(
            place,
            format!("{kept} is written by the server alone: rules cannot change it"),
        ));
    }
    Ok(name.to_owned())
}
