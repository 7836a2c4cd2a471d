//! Settings of `[policy]` besides its rules: limits, and what is remembered.

use std::ops::RangeInclusive;

use crate::facts::Facts;
use crate::facts::domain;
use crate::network::{Networks, network_of};
use crate::read::{Fault, Section, duration_ms, integer, text, texts};
use crate::state::{GreylistSettings, PreGreet, Rate, ReputationSettings, Tarpit};

/// The settings of the state machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[policy.greylist]`
    pub greylist: GreylistSettings,
    /// `[policy.reputation]`
    pub reputation: ReputationSettings,
    /// `[policy.tarpit]`; without that table answers are not delayed.
    pub tarpit: Option<Tarpit>,
    /// `[policy.pregreet]`; without that table nobody waits.
    pub pregreet: PreGreet,
}

/// A limit: `[[policy.limit]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in rules.
    pub name: String,
    /// By what it counts.
    pub per: Per,
    /// What it counts.
    pub of: Counted,
    /// How much.
    pub amount: Amount,
    network_v4: u8,
    network_v6: u8,
}

/// By what a limit counts: each has a count of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The source's network.
    Source,
    /// The account that has logged in.
    Account,
    /// The sender's address.
    Sender,
    /// The sender's domain.
    SenderDomain,
    /// The recipient's address.
    Recipient,
    /// The recipient's domain.
    RecipientDomain,
}

/// What one asking of a limit counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// One, whenever a rule asks: a connection, message or recipient, as the rule's stage is.
    Times,
    /// The message's size in bytes.
    Bytes,
}

/// How much a limit lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So much in a time: [`crate::Rates::take`].
    Rate(Rate),
    /// So many connections at a time: [`crate::Concurrent::open`], closed when the connection ends.
    AtOnce(u32),
}

impl Settings {
    pub(crate) const KEYS: [&'static str; 4] = ["greylist", "reputation", "tarpit", "pregreet"];

    pub(crate) fn read(section: &Section<'_>) -> Result<Self, Fault> {
        let mut settings = Self::default();
        if let Some(table) = section.section("greylist")? {
            settings.greylist = greylist(&table)?;
        }
        if let Some(table) = section.section("reputation")? {
            table.only(&["half_life", "network_v4", "network_v6"])?;
            let usual = ReputationSettings::default();
            settings.reputation = ReputationSettings {
                half_life_ms: ms(&table, "half_life", usual.half_life_ms)?,
                network_v4: bits(&table, "network_v4", usual.network_v4, 16..=32)?,
                network_v6: bits(&table, "network_v6", usual.network_v6, 32..=128)?,
            };
        }
        if let Some(table) = section.section("tarpit")? {
            table.only(&["after", "step", "most"])?;
            let usual = Tarpit::default();
            let after = number(&table, "after", u64::from(usual.after))?;
            settings.tarpit = Some(Tarpit {
                after: after as u32,
                step_ms: short_ms(&table, "step", usual.step_ms)?,
                most_ms: short_ms(&table, "most", usual.most_ms)?,
            });
        }
        if let Some(table) = section.section("pregreet")? {
            settings.pregreet = pregreet(&table)?;
        }
        Ok(settings)
    }
}

fn pregreet(table: &Section<'_>) -> Result<PreGreet, Fault> {
    table.only(&["wait", "keep", "then", "score", "reputation", "exempt"])?;
    let within = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(value) => match i32::try_from(integer(value)?) {
            Ok(number) if (-100..=100).contains(&number) => Ok(Some(number)),
            _ => Err(Fault::at(value, format!("`{key}` is from -100 to 100"))),
        },
    };
    let refuses = match table.get("then") {
        None => true,
        Some(value) => match text(value)? {
            "reject" => true,
            "greet" => false,
            _ => return Err(Fault::at(value, "`then` is \"reject\" or \"greet\"")),
        },
    };
    let score = within("score")?.unwrap_or(0);
    if refuses && score != 0 {
        return Err(table.fault("`score` is of no use with `then = \"reject\"`"));
    }
    let exempt = match table.get("exempt") {
        None => Networks::default(),
        Some(value) => {
            let names = texts(value)?;
            let compiled = Networks::compile(names.iter().map(|(name, _)| *name));
            compiled
                .map_err(|(at, message)| Fault::at(names.get(at).map_or(value, |(_, one)| one), message))?
        }
    };
    Ok(PreGreet {
        wait_ms: short_ms(table, "wait", 6000)?,
        keep_ms: ms(table, "keep", 7 * 86_400_000)?,
        refuses,
        score,
        reputation_min: within("reputation")?,
        exempt,
    })
}

fn greylist(table: &Section<'_>) -> Result<GreylistSettings, Fault> {
    table.only(&["delay", "window", "keep", "trust_after", "network_v4", "network_v6"])?;
    let usual = GreylistSettings::default();
    let settings = GreylistSettings {
        delay_ms: ms(table, "delay", usual.delay_ms)?,
        window_ms: ms(table, "window", usual.window_ms)?,
        keep_ms: ms(table, "keep", usual.keep_ms)?,
        trust_after: number(table, "trust_after", u64::from(usual.trust_after))? as u32,
        network_v4: bits(table, "network_v4", usual.network_v4, 16..=32)?,
        network_v6: bits(table, "network_v6", usual.network_v6, 32..=128)?,
    };
    if settings.window_ms <= settings.delay_ms {
        return Err(table.fault("nobody could ever pass: `window` must be longer than `delay`"));
    }
    Ok(settings)
}

fn ms(table: &Section<'_>, key: &str, usual: u64) -> Result<u64, Fault> {
    let Some(value) = table.get(key) else { return Ok(usual) };
    match duration_ms(value)? {
        0 => Err(Fault::at(value, format!("`{key}` must be longer than nothing"))),
        ms => Ok(ms),
    }
}

/// A wait that a client has to bear.
fn short_ms(table: &Section<'_>, key: &str, usual: u32) -> Result<u32, Fault> {
    let ms = ms(table, key, usual.into())?;
    let most = crate::TARPIT_MS_MAX;
    u32::try_from(ms)
        .ok()
        .filter(|ms| *ms <= most)
        .ok_or_else(|| table.fault(format!("`{key}` must be at most {} s: clients give up", most / 1000)))
}

fn bits(table: &Section<'_>, key: &str, usual: u8, allowed: RangeInclusive<u8>) -> Result<u8, Fault> {
    let Some(value) = table.get(key) else { return Ok(usual) };
    let bits = u8::try_from(integer(value)?).ok().filter(|bits| allowed.contains(bits));
    bits.ok_or_else(|| {
        Fault::at(
            value,
            format!("`{key}` is the length of a network, from {} to {}", allowed.start(), allowed.end()),
        )
    })
}

fn number(table: &Section<'_>, key: &str, usual: u64) -> Result<u64, Fault> {
    let Some(value) = table.get(key) else { return Ok(usual) };
    let number = u32::try_from(integer(value)?);
    number.map(u64::from).map_err(|_| Fault::at(value, format!("`{key}` is from 0 to {}", u32::MAX)))
}

impl Limit {
    const KEYS: [&'static str; 9] =
        ["name", "per", "of", "rate", "every", "burst", "at_once", "network_v4", "network_v6"];

    pub(crate) fn read(section: &Section<'_>) -> Result<Self, Fault> {
        let name = text(section.need("name")?)?.to_owned();
        Self::read_named(section, &name).map_err(|fault| fault.within("limit", &name))
    }

    fn read_named(section: &Section<'_>, name: &str) -> Result<Self, Fault> {
        section.only(&Self::KEYS)?;
        let place = section.need("per")?;
        let per = match text(place)? {
            "source" => Per::Source,
            "account" => Per::Account,
            "sender" => Per::Sender,
            "sender_domain" => Per::SenderDomain,
            "recipient" => Per::Recipient,
            "recipient_domain" => Per::RecipientDomain,
            word => {
                let known = "source, account, sender, sender_domain, recipient, recipient_domain";
                return Err(Fault::at(
                    place,
                    format!("a limit cannot be per {word:?}; it can be per {known}"),
                ));
            }
        };
        let of = match section.text("of")?.unwrap_or("times") {
            "times" => Counted::Times,
            "bytes" => Counted::Bytes,
            _ => return Err(section.fault("`of` is times or bytes")),
        };
        let amount = if section.get("at_once").is_some() {
            if of == Counted::Bytes || section.get("rate").is_some() || section.get("every").is_some() {
                return Err(section.fault("`at_once` stands alone: a limit of a rate is another one"));
            }
            Amount::AtOnce(positive(section, "at_once")? as u32)
        } else {
            let count = positive(section, "rate")?;
            let burst = if section.get("burst").is_some() { positive(section, "burst")? } else { count };
            Amount::Rate(Rate { count, every_ms: ms(section, "every", 3_600_000)?, burst })
        };
        Ok(Self {
            name: name.to_owned(),
            per,
            of,
            amount,
            network_v4: bits(section, "network_v4", 32, 1..=32)?,
            network_v6: bits(section, "network_v6", 64, 1..=128)?,
        })
    }

    /// Whose count it is, for the key of [`crate::Rates::key`] and [`crate::Concurrent::key`]; `None` when the
    /// facts have no such thing, and then the limit is not exceeded.
    pub fn subject(&self, facts: &Facts<'_>) -> Option<String> {
        let recipient = || facts.recipients.last().copied();
        let subject = match self.per {
            Per::Source => {
                let (is_v4, network) = network_of(facts.source, self.network_v4, self.network_v6);
                return Some(format!("{}{network:x}", if is_v4 { "4:" } else { "6:" }));
            }
            Per::Account => facts.account?,
            Per::Sender => facts.sender?,
            Per::SenderDomain => domain(facts.sender?),
            Per::Recipient => recipient()?,
            Per::RecipientDomain => domain(recipient()?),
        };
        Some(subject.to_lowercase())
    }

    /// What one asking counts as.
    pub fn amount_of(&self, facts: &Facts<'_>) -> u64 {
        match self.of {
            Counted::Times => 1,
            Counted::Bytes => facts.size.unwrap_or(0),
        }
    }
}

fn positive(section: &Section<'_>, key: &str) -> Result<u64, Fault> {
    let value = section.need(key)?;
    let number = crate::read::bytes(value)?;
    u64::try_from(number)
        .ok()
        .filter(|number| (1..=1 << 50).contains(number))
        .ok_or_else(|| Fault::at(value, format!("`{key}` must be a number above 0")))
}
