//! The conditions of rules at the stages of SMTP.

use crate::facts::{AuthResult, DnsListId, Facts, LimitId, Question, Stage, domain, found};
use crate::lists::{Lists, NameSet, NetworkSet};
use crate::pattern::Kind;
use crate::read::{Fault, Value, Within, bytes, flag, integer, text, texts};
use crate::rules::Tables;
use crate::tree::{Grammar, Tree, Truth};
use crate::words::FieldTest;

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Source(NetworkSet),
    Listener(Vec<String>),
    Tls(bool),
    Authenticated(bool),
    Account(NameSet),
    EarlyTalker(bool),
    Helo(NameSet),
    HeloIsAddress(bool),
    ReverseName(NameSet),
    HasReverseName(bool),
    Sender(NameSet),
    SenderDomain(NameSet),
    Recipient(NameSet),
    RecipientDomain(NameSet),
    Check(Check, Vec<AuthResult>),
    DkimDomain(NameSet),
    DmarcPolicy(Vec<String>),
    Listed(Vec<DnsListId>),
    ListedWeight(Within),
    Reputation(Within),
    OverLimit(LimitId),
    Count(Count, Within),
    Header(FieldTest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Iprev,
    Spf,
    Dkim,
    Dmarc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Size,
    Recipients,
    Messages,
    Errors,
    Hops,
    Score,
}

const KEYS: [&str; 30] = [
    "source",
    "listener",
    "tls",
    "authenticated",
    "account",
    "early_talker",
    "helo",
    "helo_is_address",
    "reverse_name",
    "has_reverse_name",
    "iprev",
    "sender",
    "sender_domain",
    "recipient",
    "recipient_domain",
    "spf",
    "dkim",
    "dkim_domain",
    "dmarc",
    "dmarc_policy",
    "dnslist",
    "dnslist_weight",
    "reputation",
    "over_limit",
    "size",
    "recipients",
    "messages",
    "errors",
    "hops",
    "score",
];

impl Condition {
    /// The conditions of a rule at `stage`.
    pub(crate) fn tree(
        value: &Value<'_>,
        stage: Stage,
        lists: &Lists,
        tables: &Tables,
    ) -> Result<Tree<Self>, Fault> {
        let mut keys = KEYS.to_vec();
        keys.push("header");
        Tree::read(
            value,
            &Grammar {
                keys: &keys,
                one: &|key, value| {
                    let earliest = earliest(key);
                    if stage < earliest {
                        let message = format!(
                            "`{key}` is not known at stage {stage} yet: use stage {earliest} or later"
                        );
                        return Err(Fault::at(value, message));
                    }
                    Self::read(key, value, lists, tables)
                },
                is_asked: &Self::is_asked,
            },
        )
    }

    fn read(key: &str, value: &Value<'_>, lists: &Lists, tables: &Tables) -> Result<Self, Fault> {
        let names = |kind| lists.names(kind, value);
        Ok(match key {
            "source" => Self::Source(lists.networks(value)?),
            "listener" => Self::Listener(listeners(value)?),
            "tls" => Self::Tls(flag(value)?),
            "authenticated" => Self::Authenticated(flag(value)?),
            "account" => Self::Account(names(Kind::Address)?),
            "early_talker" => Self::EarlyTalker(flag(value)?),
            "helo" => Self::Helo(names(Kind::Name)?),
            "helo_is_address" => Self::HeloIsAddress(flag(value)?),
            "reverse_name" => Self::ReverseName(names(Kind::Name)?),
            "has_reverse_name" => Self::HasReverseName(flag(value)?),
            "iprev" => Self::Check(Check::Iprev, results(value)?),
            "sender" => Self::Sender(names(Kind::Address)?),
            "sender_domain" => Self::SenderDomain(names(Kind::Name)?),
            "recipient" => Self::Recipient(names(Kind::Address)?),
            "recipient_domain" => Self::RecipientDomain(names(Kind::Name)?),
            "spf" => Self::Check(Check::Spf, results(value)?),
            "dkim" => Self::Check(Check::Dkim, results(value)?),
            "dkim_domain" => Self::DkimDomain(names(Kind::Name)?),
            "dmarc" => Self::Check(Check::Dmarc, results(value)?),
            "dmarc_policy" => Self::DmarcPolicy(policies(value)?),
            "dnslist" => Self::Listed(dns_lists(value, tables)?),
            "dnslist_weight" if tables.dns_lists.is_empty() => {
                return Err(Fault::at(value, "there are no lists in DNS: add [[policy.dnslist]]"));
            }
            "dnslist_weight" => Self::ListedWeight(Within::read(value, integer)?),
            "reputation" => Self::Reputation(Within::read(value, integer)?),
            "over_limit" => Self::OverLimit(tables.limit(value)?),
            "size" => Self::Count(Count::Size, Within::read(value, bytes)?),
            "recipients" => Self::Count(Count::Recipients, Within::read(value, integer)?),
            "messages" => Self::Count(Count::Messages, Within::read(value, integer)?),
            "errors" => Self::Count(Count::Errors, Within::read(value, integer)?),
            "hops" => Self::Count(Count::Hops, Within::read(value, integer)?),
            "score" => Self::Count(Count::Score, Within::read(value, integer)?),
            _ => Self::Header(FieldTest::read(value)?),
        })
    }

    fn is_asked(&self) -> bool {
        !self.questions().is_empty()
    }

    /// What it may have to ask; names to look up are empty here.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let listed = |list: DnsListId| Question::Listed { list, name: String::new() };
        match self {
            Self::ReverseName(_) | Self::HasReverseName(_) => vec![Question::ReverseName],
            Self::Check(check, _) => vec![check.question()],
            Self::DkimDomain(_) => vec![Question::Dkim],
            Self::DmarcPolicy(_) => vec![Question::Dmarc],
            Self::Listed(lists) => lists.iter().copied().map(listed).collect(),
            Self::ListedWeight(_) => vec![listed(DnsListId(0))],
            Self::Reputation(_) => vec![Question::Reputation],
            Self::OverLimit(limit) => vec![Question::Limit(*limit)],
            _ => Vec::new(),
        }
    }

    /// What is known of it; what is not goes into `asked`. `score` is that of the stage so far.
    pub(crate) fn decide(
        &self,
        facts: &Facts<'_>,
        score: i32,
        tables: &Tables,
        asked: &mut Vec<Question>,
    ) -> Truth {
        let known = facts.known;
        let any_domain = |names: &NameSet| facts.recipients.iter().any(|one| names.matches(domain(one)));
        Truth::from(match self {
            Self::Source(networks) => networks.contains(facts.source),
            Self::Listener(names) => names.iter().any(|name| name == facts.listener),
            Self::Tls(wanted) => facts.is_tls == *wanted,
            Self::Authenticated(wanted) => facts.account.is_some() == *wanted,
            Self::Account(names) => facts.account.is_some_and(|account| names.matches(account)),
            Self::EarlyTalker(wanted) => facts.is_early_talker == *wanted,
            Self::Helo(names) => facts.helo.is_some_and(|helo| names.matches(helo)),
            Self::HeloIsAddress(wanted) => facts.helo.is_some_and(is_address) == *wanted,
            Self::Sender(names) => facts.sender.is_some_and(|sender| names.matches(sender)),
            Self::SenderDomain(names) => names.matches(facts.sender_domain()),
            Self::Recipient(names) => facts.recipients.iter().any(|one| names.matches(one)),
            Self::RecipientDomain(names) => any_domain(names),
            Self::Count(count, within) => {
                // A size that was not declared is no size at all.
                count.number(facts, score).is_some_and(|number| within.holds(number))
            }
            Self::Header(test) => test.holds(facts.header),
            Self::Listed(lists) => return listed(lists, facts, tables, asked),
            Self::ListedWeight(within) => return listed_weight(*within, facts, tables, asked),
            Self::ReverseName(names) => match &known.reverse_name {
                Some(name) => !name.is_empty() && names.matches(name),
                None => return ask(asked, Question::ReverseName),
            },
            Self::HasReverseName(wanted) => match &known.reverse_name {
                Some(name) => name.is_empty() != *wanted,
                None => return ask(asked, Question::ReverseName),
            },
            Self::Check(check, results) => match check.result(facts) {
                Some(result) => results.contains(&result),
                None => return ask(asked, check.question()),
            },
            Self::DkimDomain(names) => match &known.dkim {
                Some((_, domains)) => domains.iter().any(|domain| names.matches(domain)),
                None => return ask(asked, Question::Dkim),
            },
            Self::DmarcPolicy(policies) => match &known.dmarc {
                Some((_, policy)) => policies.iter().any(|one| one.eq_ignore_ascii_case(policy)),
                None => return ask(asked, Question::Dmarc),
            },
            Self::Reputation(within) => match known.reputation {
                Some(score) => within.holds(score.into()),
                None => return ask(asked, Question::Reputation),
            },
            Self::OverLimit(limit) => match found(&known.limits, *limit) {
                Some(is_over) => *is_over,
                None => return ask(asked, Question::Limit(*limit)),
            },
        })
    }
}

/// The first stage that knows what a condition is about.
fn earliest(key: &str) -> Stage {
    match key {
        "helo" | "helo_is_address" => Stage::Helo,
        "sender" | "sender_domain" | "spf" | "size" => Stage::Mail,
        "recipient" | "recipient_domain" | "recipients" => Stage::Rcpt,
        "dkim" | "dkim_domain" | "dmarc" | "dmarc_policy" | "header" | "hops" => Stage::Data,
        _ => Stage::Connect,
    }
}

pub(super) fn ask(asked: &mut Vec<Question>, question: Question) -> Truth {
    if !asked.contains(&question) {
        asked.push(question);
    }
    Truth::Unknown
}

/// What is known of one DNS list; a name that cannot be looked up is not listed.
fn listed_on(id: DnsListId, facts: &Facts<'_>, tables: &Tables, asked: &mut Vec<Question>) -> Truth {
    let Some(list) = tables.dns_lists.get(id.0 as usize) else { return Truth::No };
    if let Some(is_listed) = list.listed(id, facts) {
        return is_listed.into();
    }
    if list.needs_reverse_name() && facts.known.reverse_name.is_none() {
        return ask(asked, Question::ReverseName);
    }
    match list.query(facts) {
        Some(name) => ask(asked, Question::Listed { list: id, name }),
        None => Truth::No,
    }
}

fn listed(lists: &[DnsListId], facts: &Facts<'_>, tables: &Tables, asked: &mut Vec<Question>) -> Truth {
    let before = asked.len();
    let mut truth = Truth::No;
    for id in lists {
        match listed_on(*id, facts, tables, asked) {
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

fn listed_weight(within: Within, facts: &Facts<'_>, tables: &Tables, asked: &mut Vec<Question>) -> Truth {
    let mut weight = 0;
    let mut is_unknown = false;
    for (at, list) in tables.dns_lists.iter().enumerate() {
        match listed_on(DnsListId(at as u32), facts, tables, asked) {
            Truth::Yes => weight += i64::from(list.weight),
            Truth::Unknown => is_unknown = true,
            Truth::No => {}
        }
    }
    if is_unknown { Truth::Unknown } else { within.holds(weight).into() }
}

/// A bare address or an address literal (RFC 5321 §4.1.3).
fn is_address(helo: &str) -> bool {
    helo.starts_with('[') || helo.parse::<std::net::IpAddr>().is_ok()
}

fn listeners(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let known = ["smtp", "submission", "submissions", "lmtp"];
    one_of(value, &known)
}

fn policies(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    one_of(value, &["none", "quarantine", "reject"])
}

fn one_of(value: &Value<'_>, known: &[&str]) -> Result<Vec<String>, Fault> {
    let mut all = Vec::new();
    for (text, place) in texts(value)? {
        if !known.contains(&text) {
            return Err(Fault::at(place, format!("{text:?} is none of {}", known.join(", "))));
        }
        all.push(text.to_owned());
    }
    Ok(all)
}

fn results(value: &Value<'_>) -> Result<Vec<AuthResult>, Fault> {
    let mut all = Vec::new();
    for (text, place) in texts(value)? {
        let found = AuthResult::NAMES.iter().find(|(name, _)| *name == text);
        let names = || AuthResult::NAMES.map(|(name, _)| name).join(", ");
        all.push(
            found.ok_or_else(|| Fault::at(place, format!("{text:?} is no result; those are {}", names())))?.1,
        );
    }
    Ok(all)
}

fn dns_lists(value: &Value<'_>, tables: &Tables) -> Result<Vec<DnsListId>, Fault> {
    let mut all = Vec::new();
    for (_, place) in texts(value)? {
        let name = text(place)?;
        let at = tables.dns_lists.iter().position(|list| list.name == name);
        let known = || tables.dns_lists.iter().map(|list| list.name.as_str()).collect::<Vec<_>>().join(", ");
        all.push(DnsListId(at.ok_or_else(|| {
            Fault::at(
                place,
                format!("there is no list {name:?} in DNS; add [[policy.dnslist]] (there are: {})", known()),
            )
        })? as u32));
    }
    Ok(all)
}

impl Check {
    fn result(self, facts: &Facts<'_>) -> Option<AuthResult> {
        let known = facts.known;
        match self {
            Self::Iprev => known.iprev,
            Self::Spf => known.spf,
            Self::Dkim => known.dkim.as_ref().map(|(result, _)| *result),
            Self::Dmarc => known.dmarc.as_ref().map(|(result, _)| *result),
        }
    }

    fn question(self) -> Question {
        match self {
            Self::Iprev => Question::Iprev,
            Self::Spf => Question::Spf,
            Self::Dkim => Question::Dkim,
            Self::Dmarc => Question::Dmarc,
        }
    }
}

impl Count {
    fn number(self, facts: &Facts<'_>, score: i32) -> Option<i64> {
        Some(match self {
            Self::Size => i64::try_from(facts.size?).unwrap_or(i64::MAX),
            Self::Recipients => facts.recipient_count.into(),
            Self::Messages => facts.message_count.into(),
            Self::Errors => facts.error_count.into(),
            Self::Hops => {
                let hops = mime::Headers::of(facts.header).filter(|field| field.is("Received")).count();
                i64::try_from(hops).unwrap_or(i64::MAX)
            }
            Self::Score => i64::from(facts.score.saturating_add(score)),
        })
    }
}
