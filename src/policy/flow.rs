//! Mail-flow rules: `[[mailflow.rule]]`, for every message of an organisation, wherever it comes from and
//! goes.

pub(crate) mod action;
mod apply;
mod condition;
mod explain;
mod message;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base::Timestamp;

use crate::flow::action::moment;
use crate::flow::condition::FlowCondition;
use crate::limits::RULES_MAX;
use crate::lists::{Lists, NameSet, ReadFile};
use crate::pattern::Kind;
use crate::read::{Fault, Section, document, flag, integer, text};
use crate::rules::distinct;
use crate::tree::{Tree, Truth};

pub use action::{FlowAction, parse_moment};
pub use apply::{Applied, apply};
pub use explain::{Finding, Step, StepState};
pub use message::{Attachment, Message};

/// All that `[mailflow]` says, checked and compiled, in the order in which it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    rules: Vec<FlowRule>,
    inside: Option<Arc<NameSet>>,
}

#[derive(Clone, Debug)]
struct FlowRule {
    name: String,
    priority: i64,
    mode: Mode,
    from: Timestamp,
    until: Timestamp,
    when: Option<Tree<FlowCondition>>,
    except: Option<Tree<FlowCondition>>,
    then: Vec<FlowAction>,
    stops: bool,
}

/// Whether a rule does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Enforce,
    Audit,
    Off,
}

/// What mail-flow rules know besides the message. Addresses have their domains in ASCII; case does not count.
#[derive(Clone, Copy, Debug)]
pub struct FlowFacts<'a> {
    /// The reverse path, empty for `<>`.
    pub sender: &'a str,
    /// Everybody it is for.
    pub recipients: &'a [&'a str],
    /// The account that sent it, if one logged in.
    pub account: Option<&'a str>,
    /// Where it came from, unless it was made here.
    pub source: Option<IpAddr>,
    /// Its junk score so far.
    pub junk_score: i32,
    /// Now.
    pub now: Timestamp,
    /// What was asked and answered.
    pub known: &'a FlowKnown,
    /// What `inside` of the configuration says; [`Flow::evaluate`] fills it in.
    pub(crate) inside: Option<&'a NameSet>,
}

/// What rules need to know and nobody has said yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowQuestion {
    /// Whether a domain is the organisation's own.
    IsInside {
        /// In lower case.
        domain: String,
    },
    /// Whether an address belongs to a group.
    IsMember {
        /// In lower case.
        address: String,
        /// As the rule names it.
        group: String,
    },
}

/// What has been answered for one message.
#[derive(Clone, Debug, Default)]
pub struct FlowKnown {
    answers: BTreeMap<FlowQuestion, bool>,
}

impl FlowKnown {
    /// Keeps an answer.
    pub fn answer(&mut self, question: FlowQuestion, answer: bool) {
        self.answers.insert(question, answer);
    }
}

impl<'a> FlowFacts<'a> {
    /// The facts of a message that was sent now and of which nothing else is known.
    pub fn of(sender: &'a str, recipients: &'a [&'a str], now: Timestamp, known: &'a FlowKnown) -> Self {
        Self { sender, recipients, account: None, source: None, junk_score: 0, now, known, inside: None }
    }

    fn is_inside(&self, domain: &str, asked: &mut Vec<FlowQuestion>) -> Truth {
        if domain.is_empty() {
            return Truth::No;
        }
        match self.inside {
            Some(names) => names.matches(domain).into(),
            None => self.ask(FlowQuestion::IsInside { domain: domain.to_lowercase() }, asked),
        }
    }

    fn is_member(&self, address: &str, group: &str, asked: &mut Vec<FlowQuestion>) -> Truth {
        if address.is_empty() {
            return Truth::No;
        }
        let (address, group) = (address.to_lowercase(), group.to_owned());
        self.ask(FlowQuestion::IsMember { address, group }, asked)
    }

    fn ask(&self, question: FlowQuestion, asked: &mut Vec<FlowQuestion>) -> Truth {
        if let Some(answer) = self.known.answers.get(&question) {
            return (*answer).into();
        }
        asked.push(question);
        Truth::Unknown
    }
}

/// What mail-flow rules say so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowOutcome {
    /// Find these out, tell [`FlowKnown::answer`], and evaluate again.
    Needs(Vec<FlowQuestion>),
    /// That is all.
    Done(FlowVerdict),
}

/// What mail-flow rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowVerdict {
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
    /// What rules in audit mode would have done: for the log.
    pub audited: Vec<Effect>,
    /// The junk score after all rules.
    pub junk_score: i32,
}

/// Something that a rule orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The rule, by its place among [`Flow::rule_names`].
    pub rule: usize,
    /// What is to be done.
    pub action: FlowAction,
}

impl Flow {
    /// Reads `[mailflow]` of a configuration, with the lists of `[policy]`. What else stands in it is not looked
    /// at; without `[mailflow]` there are no rules. `file` reads the files that lists name.
    pub fn parse(text: &str, file: ReadFile<'_>) -> Result<Self, Fault> {
        document(text, |all| {
            let Some(section) = all.section("mailflow")? else { return Ok(Self::default()) };
            let shared = all.section("policy")?.map(|policy| policy.tables("list")).transpose()?;
            let lists = Lists::read(&shared.unwrap_or_default(), file)?;
            Self::read(&section, &lists)
        })
    }

    fn read(section: &Section<'_>, lists: &Lists) -> Result<Self, Fault> {
        section.only(&["inside", "rule"])?;
        let inside = section.get("inside").map(|value| lists.names(Kind::Name, value)).transpose()?;
        let mut rules = Vec::new();
        for rule in section.tables("rule")? {
            let name = text(rule.need("name")?)?.to_owned();
            rules.push(FlowRule::read(&rule, &name, lists).map_err(|fault| fault.within("rule", &name))?);
            if rules.len() > RULES_MAX {
                return Err(
                    rule.fault(format!("there are more than {RULES_MAX} rules: put names into lists"))
                );
            }
        }
        distinct(section, "rule", rules.iter().map(|rule| rule.name.as_str()))?;
        // Stable: rules of one priority stay in the order of the file.
        rules.sort_by_key(|rule| rule.priority);
        Ok(Self { rules, inside: inside.map(Arc::new) })
    }

    /// What the rules say of a message. The conditions see it as it came; only the junk score is that which
    /// earlier rules have set.
    pub fn evaluate(&self, message: &Message<'_>, facts: &FlowFacts<'_>) -> FlowOutcome {
        let facts = FlowFacts { inside: self.inside.as_deref(), ..*facts };
        let mut verdict = FlowVerdict { junk_score: facts.junk_score, ..FlowVerdict::default() };
        for (at, rule) in self.rules.iter().enumerate() {
            if rule.mode == Mode::Off || !(rule.from..rule.until).contains(&facts.now) {
                continue;
            }
            let mut asked = Vec::new();
            match rule.decide(message, &facts, verdict.junk_score, &mut asked) {
                Truth::No => continue,
                Truth::Unknown => return FlowOutcome::Needs(distinct_questions(asked)),
                Truth::Yes => {}
            }
            let effects = rule.then.iter().map(|action| Effect { rule: at, action: action.clone() });
            if rule.mode == Mode::Audit {
                verdict.audited.extend(effects);
                continue;
            }
            verdict.effects.extend(effects);
            verdict.junk_score = rule.junk_score().unwrap_or(verdict.junk_score);
            if rule.ends() {
                break;
            }
        }
        FlowOutcome::Done(verdict)
    }

    /// The routes that rules name.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| &rule.then).filter_map(|action| match action {
            FlowAction::Route(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The rules' names in the order in which they are looked at.
    pub fn rule_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }
}

/// Each question once: recipients of one domain ask the same.
fn distinct_questions(mut asked: Vec<FlowQuestion>) -> Vec<FlowQuestion> {
    asked.sort_unstable();
    asked.dedup();
    asked
}

impl FlowRule {
    fn read(section: &Section<'_>, name: &str, lists: &Lists) -> Result<Self, Fault> {
        section.only(&["name", "priority", "mode", "from", "until", "when", "except", "then", "stop"])?;
        let mode = match section.text("mode")?.unwrap_or("enforce") {
            "enforce" => Mode::Enforce,
            "audit" => Mode::Audit,
            "off" => Mode::Off,
            _ => return Err(section.fault("`mode` is enforce, audit or off")),
        };
        let from = section.get("from").map(moment).transpose()?;
        let until = section.get("until").map(moment).transpose()?;
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            return Err(section.fault("`until` is not after `from`: the rule would never hold"));
        }
        let tree = |key: &str| section.get(key).map(|value| FlowCondition::tree(value, lists)).transpose();
        Ok(Self {
            name: name.to_owned(),
            priority: section.get("priority").map_or(Ok(0), integer)?,
            mode,
            from: from.unwrap_or(Timestamp::from_ms(i64::MIN)),
            until: until.unwrap_or(Timestamp::NEVER),
            when: tree("when")?,
            except: tree("except")?,
            then: FlowAction::read_all(section.need("then")?)?,
            stops: section.get("stop").map_or(Ok(false), flag)?,
        })
    }

    fn decide(
        &self,
        message: &Message<'_>,
        facts: &FlowFacts<'_>,
        junk_score: i32,
        asked: &mut Vec<FlowQuestion>,
    ) -> Truth {
        let mut one = |condition: &FlowCondition, asked: &mut Vec<FlowQuestion>| {
            condition.decide(message, facts, junk_score, asked)
        };
        let when = self.when.as_ref().map_or(Truth::Yes, |tree| tree.decide(asked, &mut one));
        if when == Truth::No {
            return Truth::No;
        }
        let except = self.except.as_ref().map_or(Truth::No, |tree| tree.decide(asked, &mut one));
        match (when, except) {
            (_, Truth::Yes) => Truth::No,
            (Truth::Yes, Truth::No) => Truth::Yes,
            _ => Truth::Unknown,
        }
    }

    /// The junk score that it sets.
    fn junk_score(&self) -> Option<i32> {
        self.then.iter().rev().find_map(|action| match action {
            FlowAction::JunkScore(score) => Some(*score),
            _ => None,
        })
    }

    /// Whether no later rule is looked at.
    fn ends(&self) -> bool {
        self.stops || self.then.iter().any(FlowAction::is_terminal)
    }
}
