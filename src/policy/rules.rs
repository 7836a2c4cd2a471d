//! Rules at the stages of SMTP: `[[policy.rule]]`, and what they are made of.

pub(crate) mod action;
mod condition;
pub(crate) mod settings;
pub(crate) mod template;

use std::collections::BTreeSet;

use crate::edit::FieldEdit;
use crate::facts::{Facts, LimitId, Question, Stage};
use crate::limits::{RULES_MAX, TARPIT_MS_MAX};
use crate::lists::{Lists, ReadFile};
use crate::read::{Fault, Section, Value, document, text};
use crate::rules::action::Action;
use crate::rules::condition::{Condition, ask};
use crate::rules::settings::{Limit, Settings};
use crate::tree::{Tree, Truth};
use crate::{DnsList, Reply};

/// A rule of the policy, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// All that `[policy]` says, checked and compiled. It does not change while it is used, and it can be
/// shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    settings: Settings,
    tables: Tables,
    names: Vec<String>,
    /// By stage, in the order of [`Stage::ALL`].
    stages: [Vec<Rule>; 5],
}

/// What conditions refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) dns_lists: Vec<DnsList>,
    pub(crate) limits: Vec<Limit>,
}

#[derive(Clone, Debug)]
struct Rule {
    id: RuleId,
    when: Option<Tree<Condition>>,
    then: Vec<Action>,
}

/// What a stage's rules say so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Find these out, tell [`crate::Known::answer`], and evaluate again. They are independent of each other.
    Needs(Vec<Question>),
    /// That is all.
    Done(Verdict),
}

/// What a stage's rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether and how it goes on.
    pub decision: Decision,
    /// Milliseconds to wait before the answer.
    pub tarpit_ms: u32,
    /// To be added to [`Facts::score`] of later stages. At rcpt it is about one recipient: of several, the
    /// greatest counts, for a message is no worse because it is for many.
    pub score: i32,
    /// Whether the message belongs into Junk: at stage rcpt for this recipient, else for all.
    pub is_junk: bool,
    /// Changes of the header, for this message; in their order.
    pub fields: Vec<FieldEdit>,
    /// The rules that matched, for the log and the trace.
    pub rules: Vec<RuleId>,
}

/// Whether and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No rule has ended the stage: go on as without rules.
    Continue,
    /// Go on; a rule said so.
    Accept,
    /// Go on, and look at no rules of later stages: until the message ends, or for the whole connection
    /// when it was said at connect or helo.
    Trust,
    /// Answer so. At connect it takes the place of the greeting, and the connection ends with it.
    Reject(Reply),
    /// Answer so: the client may come again.
    Defer(Reply),
    /// Answer that the message (or this recipient) is accepted, and drop it.
    Discard,
    /// Answer that the message (or this recipient) is accepted, and hold it for the operator.
    Quarantine,
}

impl Verdict {
    const fn nothing() -> Self {
        Self {
            decision: Decision::Continue,
            tarpit_ms: 0,
            score: 0,
            is_junk: false,
            fields: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads `[policy]` of a configuration. What else stands in it is not looked at; without `[policy]` there
    /// are no rules. `file` reads the files that lists name.
    pub fn parse(text: &str, file: ReadFile<'_>) -> Result<Self, Fault> {
        document(text, |all| match all.section("policy")? {
            Some(section) => Self::read(&section, file),
            None => Ok(Self::default()),
        })
    }

    fn read(section: &Section<'_>, file: ReadFile<'_>) -> Result<Self, Fault> {
        let mut known = vec!["rule", "list", "dnslist", "limit"];
        known.extend(Settings::KEYS);
        section.only(&known)?;
        let lists = Lists::read(&section.tables("list")?, file)?;
        let dns_lists =
            section.tables("dnslist")?.iter().map(DnsList::read).collect::<Result<Vec<_>, _>>()?;
        let limits = section.tables("limit")?.iter().map(Limit::read).collect::<Result<Vec<_>, _>>()?;
        distinct(section, "dnslist", dns_lists.iter().map(|list| list.name.as_str()))?;
        distinct(section, "limit", limits.iter().map(|limit| limit.name.as_str()))?;
        let mut policy = Self {
            settings: Settings::read(section)?,
            tables: Tables { dns_lists, limits },
            ..Self::default()
        };
        for rule in section.tables("rule")? {
            policy.add(&rule, &lists)?;
        }
        distinct(section, "rule", policy.names.iter().map(String::as_str))?;
        Ok(policy)
    }

    fn add(&mut self, section: &Section<'_>, lists: &Lists) -> Result<(), Fault> {
        let name = text(section.need("name")?)?.to_owned();
        if self.names.len() >= RULES_MAX {
            return Err(section
                .fault(format!("there are more than {RULES_MAX} rules: put names and networks into lists")));
        }
        let id = RuleId(self.names.len() as u32);
        let (stage, rule) = self.rule(id, section, lists).map_err(|fault| fault.within("rule", &name))?;
        self.stages[stage as usize].push(rule);
        self.names.push(name);
        Ok(())
    }

    fn rule(&self, id: RuleId, section: &Section<'_>, lists: &Lists) -> Result<(Stage, Rule), Fault> {
        section.only(&["name", "stage", "when", "then"])?;
        let place = section.need("stage")?;
        let word = text(place)?;
        let stage = Stage::ALL.into_iter().find(|stage| stage.name() == word);
        let stage = stage.ok_or_else(|| {
            Fault::at(place, format!("there is no stage {word:?}; there are connect, helo, mail, rcpt, data"))
        })?;
        let when = section.get("when").map(|value| Condition::tree(value, stage, lists, &self.tables));
        let then = Action::read_all(section.need("then")?, stage)?;
        Ok((stage, Rule { id, when: when.transpose()?, then }))
    }

    /// What the rules of a stage say of these facts: the first that ends the stage decides, those before it
    /// add up. The same facts give the same outcome; it takes microseconds and keeps nothing.
    pub fn evaluate(&self, stage: Stage, facts: &Facts<'_>) -> Outcome {
        let mut verdict = Verdict::nothing();
        for rule in &self.stages[stage as usize] {
            let mut asked = Vec::new();
            let truth = rule.when.as_ref().map_or(Truth::Yes, |when| {
                when.decide(&mut asked, &mut |one, asked| {
                    one.decide(facts, verdict.score, &self.tables, asked)
                })
            });
            match truth {
                Truth::No => continue,
                Truth::Unknown => return Outcome::Needs(asked),
                Truth::Yes => verdict.rules.push(rule.id),
            }
            for action in &rule.then {
                verdict.apply(action, facts, &mut asked);
                if verdict.decision != Decision::Continue {
                    break;
                }
            }
            if !asked.is_empty() {
                return Outcome::Needs(asked);
            }
            if verdict.decision != Decision::Continue {
                break;
            }
        }
        Outcome::Done(verdict)
    }

    /// Whether a stage has any rules: without them there is nothing to evaluate.
    pub fn has_rules(&self, stage: Stage) -> bool {
        !self.stages[stage as usize].is_empty()
    }

    /// Whether some rule is about something that has to be asked, so that a server can leave out work
    /// nobody wants: `such` is told each question's kind with empty names.
    pub fn asks(&self, stage: Stage, such: impl Fn(&Question) -> bool) -> bool {
        let rules = &self.stages[stage as usize];
        let greylists =
            rules.iter().any(|rule| rule.then.iter().any(|action| matches!(action, Action::Greylist(_))));
        let mut asks = greylists && such(&Question::Greylist);
        for when in rules.iter().filter_map(|rule| rule.when.as_ref()) {
            when.each(&mut |condition| asks |= condition.questions().iter().any(&such));
        }
        asks
    }

    /// A rule's name.
    pub fn rule_name(&self, id: RuleId) -> &str {
        self.names.get(id.0 as usize).map_or("", String::as_str)
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.names.len()
    }

    /// The settings of what is remembered between connections.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A limit.
    pub fn limit(&self, id: LimitId) -> Option<&Limit> {
        self.tables.limits.get(id.0 as usize)
    }

    /// All lists in DNS.
    pub fn dns_lists(&self) -> &[DnsList] {
        &self.tables.dns_lists
    }
}

impl Verdict {
    fn apply(&mut self, action: &Action, facts: &Facts<'_>, asked: &mut Vec<Question>) {
        match action {
            Action::Accept => self.decision = Decision::Accept,
            Action::Trust => self.decision = Decision::Trust,
            Action::Reject(reply) => self.decision = Decision::Reject(reply.fill(facts, self.score)),
            Action::Defer(reply) => self.decision = Decision::Defer(reply.fill(facts, self.score)),
            Action::Discard => self.decision = Decision::Discard,
            Action::Quarantine => self.decision = Decision::Quarantine,
            Action::Junk => self.is_junk = true,
            Action::Tarpit(ms) => self.tarpit_ms = self.tarpit_ms.saturating_add(*ms).min(TARPIT_MS_MAX),
            Action::Score(score) => self.score = self.score.saturating_add(*score),
            Action::AddField(name, value) => {
                self.fields.push(FieldEdit::Add { name: name.clone(), value: value.fill(facts, self.score) });
            }
            Action::SetField(name, value) => {
                self.fields.push(FieldEdit::Set { name: name.clone(), value: value.fill(facts, self.score) });
            }
            Action::RemoveField(name) => self.fields.push(FieldEdit::Remove { name: name.clone() }),
            Action::Greylist(text) => match facts.known.greylist_wait_s {
                None => drop(ask(asked, Question::Greylist)),
                Some(0) => {}
                // RFC 6647 §2.1: 451 with 4.7.1.
                Some(_) => {
                    let text = text.fill(facts, self.score);
                    self.decision = Decision::Defer(Reply { code: 451, enhanced: (4, 7, 1), text });
                }
            },
        }
    }
}

impl Tables {
    /// The limit of that name.
    pub(crate) fn limit(&self, value: &Value<'_>) -> Result<LimitId, Fault> {
        let name = text(value)?;
        let known = || self.limits.iter().map(|limit| limit.name.as_str()).collect::<Vec<_>>().join(", ");
        let at = self.limits.iter().position(|limit| limit.name == name).ok_or_else(|| {
            Fault::at(
                value,
                format!("there is no limit {name:?}; add [[policy.limit]] (there are: {})", known()),
            )
        })?;
        Ok(LimitId(at as u32))
    }
}

/// Refuses two of one name.
pub(crate) fn distinct<'a>(
    section: &Section<'_>,
    what: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for (at, name) in names.enumerate() {
        if !seen.insert(name) {
            let place = section.tables(what)?.get(at).map_or_else(|| section.fault(""), |one| one.fault(""));
            return Err(Fault {
                message: format!("there are two of the name {name:?}: rename this {what}"),
                ..place
            });
        }
    }
    Ok(())
}
