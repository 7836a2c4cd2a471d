//! The conditions of mail-flow rules.

use std::fmt;

use crate::edit::header_addresses;
use crate::facts::domain;
use crate::flow::message::{Attachment, Message};
use crate::flow::{FlowFacts, FlowQuestion};
use crate::limits::FROM_ADDRESSES_MAX;
use crate::lists::{Lists, NameSet, NetworkSet};
use crate::pattern::{Kind, Patterns};
use crate::read::{Fault, Section, Value, Within, bytes, flag, integer, text, texts};
use crate::tree::{Grammar, Tree, Truth};
use crate::words::{FieldTest, Words};

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum FlowCondition {
    Who(Who, Test),
    Authenticated(bool),
    Source(NetworkSet),
    Words(Where, Words),
    Header(FieldTest),
    Attachment(AttachmentTest),
    HasAttachment(bool),
    Number(Number, Within),
    Type(Vec<MessageType>),
    Importance(Importance),
}

/// Whose address is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The reverse path.
    Sender,
    /// Any address in From.
    From,
    /// Any recipient.
    Recipient,
    /// All recipients.
    EveryRecipient,
}

/// What is asked of an address.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Matches(NameSet),
    Inside(bool),
    Member(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Subject,
    Body,
    SubjectOrBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Size,
    Recipients,
    Attachments,
    JunkScore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageType {
    Automatic,
    Reply,
    Calendar,
    Report,
    Signed,
    Encrypted,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    High,
    Normal,
    Low,
}

/// What one attachment must be, all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttachmentTest {
    name: Option<Patterns>,
    extension: Vec<String>,
    kind: Option<Patterns>,
    size: Option<Within>,
    label: String,
}

const TYPES: [(&str, MessageType); 7] = [
    ("automatic", MessageType::Automatic),
    ("reply", MessageType::Reply),
    ("calendar", MessageType::Calendar),
    ("report", MessageType::Report),
    ("signed", MessageType::Signed),
    ("encrypted", MessageType::Encrypted),
    ("list", MessageType::List),
];

const KEYS: [&str; 26] = [
    "sender",
    "sender_inside",
    "sender_member",
    "from",
    "from_inside",
    "from_member",
    "recipient",
    "recipient_inside",
    "recipient_member",
    "every_recipient",
    "every_recipient_inside",
    "every_recipient_member",
    "authenticated",
    "source",
    "subject",
    "body",
    "subject_or_body",
    "header",
    "attachment",
    "has_attachment",
    "attachments",
    "size",
    "recipients",
    "junk_score",
    "type",
    "importance",
];

impl FlowCondition {
    /// The conditions, or exceptions, of a rule.
    pub(crate) fn tree(value: &Value<'_>, lists: &Lists) -> Result<Tree<Self>, Fault> {
        Tree::read(
            value,
            &Grammar {
                keys: &KEYS,
                one: &|key, value| Self::read(key, value, lists),
                is_asked: &|one: &Self| matches!(one, Self::Who(_, Test::Inside(_) | Test::Member(_))),
            },
        )
    }

    fn read(key: &str, value: &Value<'_>, lists: &Lists) -> Result<Self, Fault> {
        let number = |number, read: fn(&Value<'_>) -> Result<i64, Fault>| {
            Within::read(value, read).map(|within| Self::Number(number, within))
        };
        if let Some((who, rest)) = who(key) {
            let test = match rest {
                "" => Test::Matches(lists.names(Kind::Address, value)?),
                "_inside" => Test::Inside(flag(value)?),
                _ => Test::Member(texts(value)?.into_iter().map(|(text, _)| text.to_owned()).collect()),
            };
            return Ok(Self::Who(who, test));
        }
        match key {
            "authenticated" => flag(value).map(Self::Authenticated),
            "source" => lists.networks(value).map(Self::Source),
            "subject" => Words::read(value).map(|words| Self::Words(Where::Subject, words)),
            "body" => Words::read(value).map(|words| Self::Words(Where::Body, words)),
            "subject_or_body" => Words::read(value).map(|words| Self::Words(Where::SubjectOrBody, words)),
            "header" => FieldTest::read(value).map(Self::Header),
            "attachment" => AttachmentTest::read(value).map(Self::Attachment),
            "has_attachment" => flag(value).map(Self::HasAttachment),
            "attachments" => number(Number::Attachments, integer),
            "size" => number(Number::Size, bytes),
            "recipients" => number(Number::Recipients, integer),
            "junk_score" => number(Number::JunkScore, integer),
            "type" => types(value).map(Self::Type),
            _ => importance(value).map(Self::Importance),
        }
    }

    /// What is known of it; what is not goes into `asked`. `junk_score` is that of the rules so far.
    pub(crate) fn decide(
        &self,
        message: &Message<'_>,
        facts: &FlowFacts<'_>,
        junk_score: i32,
        asked: &mut Vec<FlowQuestion>,
    ) -> Truth {
        Truth::from(match self {
            Self::Who(who, test) => return who.decide(test, message, facts, asked),
            Self::Authenticated(wanted) => facts.account.is_some() == *wanted,
            Self::Source(networks) => facts.source.is_some_and(|source| networks.contains(source)),
            Self::Words(place, words) => match place {
                Where::Subject => words.found_in(message.subject()),
                Where::Body => words.found_in_long(message.text(), || message.lower_text()),
                Where::SubjectOrBody => {
                    words.found_in(message.subject())
                        || words.found_in_long(message.text(), || message.lower_text())
                }
            },
            Self::Header(test) => test.holds(message.header()),
            Self::Attachment(test) => message.attachments().iter().any(|file| test.holds(file)),
            Self::HasAttachment(wanted) => message.attachments().is_empty() != *wanted,
            Self::Number(number, within) => within.holds(match number {
                Number::Size => count(message.bytes().len()),
                Number::Recipients => count(facts.recipients.len()),
                Number::Attachments => count(message.attachments().len()),
                Number::JunkScore => junk_score.into(),
            }),
            Self::Type(types) => types.iter().any(|one| one.holds(message)),
            Self::Importance(wanted) => Importance::of(message) == *wanted,
        })
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Whose address a key is about, and what stands behind that.
fn who(key: &str) -> Option<(Who, &str)> {
    let (who, rest) = [
        (Who::EveryRecipient, key.strip_prefix("every_recipient")),
        (Who::Recipient, key.strip_prefix("recipient")),
        (Who::Sender, key.strip_prefix("sender")),
        (Who::From, key.strip_prefix("from")),
    ]
    .into_iter()
    .find_map(|(who, rest)| Some((who, rest?)))?;
    ["", "_inside", "_member"].contains(&rest).then_some((who, rest))
}

impl Who {
    fn decide(
        self,
        test: &Test,
        message: &Message<'_>,
        facts: &FlowFacts<'_>,
        asked: &mut Vec<FlowQuestion>,
    ) -> Truth {
        let from: Vec<String>;
        let sender = [facts.sender];
        let mut all: Box<dyn Iterator<Item = &str>> = match self {
            Self::Sender => Box::new(sender.into_iter()),
            Self::From => {
                let mut all = header_addresses(message.header(), "From");
                all.truncate(FROM_ADDRESSES_MAX);
                from = all;
                Box::new(from.iter().map(String::as_str))
            }
            Self::Recipient | Self::EveryRecipient => Box::new(facts.recipients.iter().copied()),
        };
        if self == Self::EveryRecipient {
            let mut truth = Truth::from(!facts.recipients.is_empty());
            let before = asked.len();
            for address in all {
                match test.decide(address, facts, asked) {
                    Truth::No => {
                        asked.truncate(before);
                        return Truth::No;
                    }
                    Truth::Unknown => truth = Truth::Unknown,
                    Truth::Yes => {}
                }
            }
            return truth;
        }
        let before = asked.len();
        let mut truth = Truth::No;
        all.try_for_each(|address| match test.decide(address, facts, asked) {
            Truth::Yes => {
                truth = Truth::Yes;
                Err(())
            }
            Truth::Unknown => {
                truth = Truth::Unknown;
                Ok(())
            }
            Truth::No => Ok(()),
        })
        .unwrap_or_else(|()| asked.truncate(before));
        truth
    }
}

impl Test {
    fn decide(&self, address: &str, facts: &FlowFacts<'_>, asked: &mut Vec<FlowQuestion>) -> Truth {
        match self {
            Self::Matches(names) => names.matches(address).into(),
            // The empty sender is no person and belongs to nobody.
            Self::Inside(wanted) => match facts.is_inside(domain(address), asked) {
                Truth::Unknown => Truth::Unknown,
                truth => ((truth == Truth::Yes) == *wanted).into(),
            },
            Self::Member(groups) => {
                let before = asked.len();
                let mut truth = Truth::No;
                for group in groups {
                    match facts.is_member(address, group, asked) {
                        Truth::Yes => {
                            asked.truncate(before);
                            return Truth::Yes;
                        }
                        Truth::Unknown => truth = Truth::Unknown,
                        Truth::No => {}
                    }
                }
                truth
            }
        }
    }
}

impl MessageType {
    fn holds(self, message: &Message<'_>) -> bool {
        let kind = &message.tree().root().content_type;
        let has = |kind: &str, subtype: &str| {
            message.tree().parts().iter().any(|part| part.content_type.is(kind, subtype))
        };
        match self {
            // RFC 3834 §5, and the older Precedence.
            Self::Automatic => {
                let auto = message.value("Auto-Submitted");
                let precedence = message.value("Precedence").to_ascii_lowercase();
                (!auto.is_empty() && !auto.eq_ignore_ascii_case("no"))
                    || ["bulk", "junk", "auto_reply"].contains(&precedence.as_str())
            }
            Self::Reply => {
                !message.value("In-Reply-To").is_empty() || !message.value("References").is_empty()
            }
            Self::Calendar => has("text", "calendar"),
            Self::Report => kind.is("multipart", "report"),
            Self::Signed => has("multipart", "signed") || smime(message, "signed-data"),
            Self::Encrypted => has("multipart", "encrypted") || smime(message, "enveloped-data"),
            // RFC 2369, 2919.
            Self::List => !message.value("List-Id").is_empty() || !message.value("List-Post").is_empty(),
        }
    }
}

/// S/MIME in one part says in a parameter what it is (RFC 8551 §3.2.2).
fn smime(message: &Message<'_>, what: &str) -> bool {
    message.tree().parts().iter().any(|part| {
        let kind = &part.content_type;
        let is_smime = kind.kind == "application" && kind.subtype.trim_start_matches("x-") == "pkcs7-mime";
        let says = kind.param("smime-type").unwrap_or_else(|| "enveloped-data".to_owned());
        is_smime && says.eq_ignore_ascii_case(what)
    })
}

impl Importance {
    /// Importance (RFC 4021 §2.1.55), or the older X-Priority.
    fn of(message: &Message<'_>) -> Self {
        let word = message.value("Importance").to_ascii_lowercase();
        match word.as_str() {
            "high" => return Self::High,
            "low" => return Self::Low,
            "normal" => return Self::Normal,
            _ => {}
        }
        match message.value("X-Priority").as_bytes().first() {
            Some(b'1' | b'2') => Self::High,
            Some(b'4' | b'5') => Self::Low,
            _ => Self::Normal,
        }
    }
}

fn importance(value: &Value<'_>) -> Result<Importance, Fault> {
    match text(value)? {
        "high" => Ok(Importance::High),
        "normal" => Ok(Importance::Normal),
        "low" => Ok(Importance::Low),
        _ => Err(Fault::at(value, "an importance is high, normal or low")),
    }
}

fn types(value: &Value<'_>) -> Result<Vec<MessageType>, Fault> {
    let mut all = Vec::new();
    for (text, place) in texts(value)? {
        let found = TYPES.iter().find(|(name, _)| *name == text);
        let known = || TYPES.map(|(name, _)| name).join(", ");
        all.push(
            found
                .ok_or_else(|| {
                    Fault::at(place, format!("{text:?} is no type of message; those are {}", known()))
                })?
                .1,
        );
    }
    Ok(all)
}

impl AttachmentTest {
    fn read(value: &Value<'_>) -> Result<Self, Fault> {
        let section = Section::of(value, "a table such as { extension = [\"exe\", \"js\"] }")?;
        section.only(&["name", "extension", "type", "size"])?;
        if section.is_empty() {
            return Err(section
                .fault("say what it must be: name, extension, type or size; `has_attachment` asks for any"));
        }
        let patterns = |key: &str| -> Result<Option<Patterns>, Fault> {
            let Some(value) = section.get(key) else { return Ok(None) };
            let all = texts(value)?;
            let globs = all.iter().map(|(text, _)| *text);
            Patterns::globs(globs).map(Some).map_err(|(_, message)| Fault::at(value, message))
        };
        let mut label = Vec::new();
        for (key, _, value) in section.entries() {
            let shown =
                texts(value).map(|all| all.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(", "));
            label.push(format!("{key} {}", shown.unwrap_or_else(|_| "in range".to_owned())));
        }
        let extension = section.get("extension").map(texts).transpose()?.unwrap_or_default();
        Ok(Self {
            name: patterns("name")?,
            extension: extension
                .iter()
                .map(|(text, _)| text.trim_start_matches('.').to_lowercase())
                .collect(),
            kind: patterns("type")?,
            size: section.get("size").map(|value| Within::read(value, bytes)).transpose()?,
            label: label.join(", "),
        })
    }

    fn holds(&self, file: &Attachment) -> bool {
        self.name.as_ref().is_none_or(|names| names.matches_any_text(&file.name))
            && (self.extension.is_empty() || self.extension.contains(&file.extension))
            && self.kind.as_ref().is_none_or(|kinds| kinds.matches_any_text(&file.kind))
            && self.size.as_ref().is_none_or(|size| size.holds(i64::try_from(file.bytes).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for FlowCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |wanted: &bool| if *wanted { "" } else { "not " };
        match self {
            Self::Who(who, test) => {
                let who = match who {
                    Who::Sender => "sender",
                    Who::From => "From",
                    Who::Recipient => "a recipient",
                    Who::EveryRecipient => "every recipient",
                };
                match test {
                    Test::Matches(names) => write!(f, "{who} is {names}"),
                    Test::Inside(wanted) => write!(f, "{who} is {}inside", not(wanted)),
                    Test::Member(groups) => write!(f, "{who} is a member of {}", groups.join(" or ")),
                }
            }
            Self::Authenticated(wanted) => write!(f, "{}sent by somebody who logged in", not(wanted)),
            Self::Source(networks) => write!(f, "it came from {networks}"),
            Self::Words(place, words) => {
                let place = match place {
                    Where::Subject => "subject",
                    Where::Body => "body",
                    Where::SubjectOrBody => "subject or body",
                };
                write!(f, "{place} {words}")
            }
            Self::Header(test) => write!(f, "{test}"),
            Self::Attachment(test) => write!(f, "an attachment has {}", test.label),
            Self::HasAttachment(wanted) => write!(f, "{}it has attachments", not(wanted)),
            Self::Number(number, within) => {
                let number = match number {
                    Number::Size => "size",
                    Number::Recipients => "number of recipients",
                    Number::Attachments => "number of attachments",
                    Number::JunkScore => "junk score",
                };
                write!(f, "{number} {within}")
            }
            Self::Type(types) => {
                let names = TYPES.iter().filter(|(_, kind)| types.contains(kind)).map(|(name, _)| *name);
                write!(f, "type is {}", names.collect::<Vec<_>>().join(" or "))
            }
            Self::Importance(Importance::High) => f.write_str("importance is high"),
            Self::Importance(Importance::Normal) => f.write_str("importance is normal"),
            Self::Importance(Importance::Low) => f.write_str("importance is low"),
        }
    }
}
