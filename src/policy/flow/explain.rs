//! Why mail-flow rules say what they say of a message.

use crate::flow::condition::FlowCondition;
use crate::flow::{Flow, FlowFacts, FlowQuestion, FlowRule, Message, Mode, distinct_questions};
use crate::tree::{Tree, Truth};

/// One rule and what it made of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub rule: String,
    /// What became of it.
    pub state: StepState,
    /// Each of its conditions, then each of its exceptions.
    pub findings: Vec<Finding>,
    /// What it orders, in words; also when it does not come to that.
    pub effects: Vec<String>,
    /// What its conditions would have to know; nothing else leaves them unknown.
    pub asked: Vec<FlowQuestion>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In words.
    pub condition: String,
    /// Whether it is an exception.
    pub is_exception: bool,
    /// Whether it holds.
    pub truth: Truth,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It holds, and its effects are ordered.
    Matched,
    /// It holds, in audit mode: nothing is done.
    Audited,
    /// It does not hold.
    NotMatched,
    /// That depends on something that is not known.
    Unknown,
    /// It is off.
    Off,
    /// Its time has not come, or is over.
    OutOfTime,
    /// A rule before it has ended the evaluation.
    Ended,
}

impl StepState {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Audited => "audit",
            Self::NotMatched => "no",
            Self::Unknown => "unknown",
            Self::Off => "off",
            Self::OutOfTime => "out of time",
            Self::Ended => "not reached",
        }
    }
}

impl Flow {
    /// What each rule makes of a message, in their order. A rule whose conditions are not known counts as not
    /// matched for those behind it.
    pub fn explain(&self, message: &Message<'_>, facts: &FlowFacts<'_>) -> Vec<Step> {
        let facts = FlowFacts { inside: self.inside.as_deref(), ..*facts };
        let (mut junk_score, mut has_ended) = (facts.junk_score, false);
        let mut steps = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let mut step = rule.step(message, &facts, junk_score);
            if has_ended {
                step.state = StepState::Ended;
            }
            if step.state == StepState::Matched {
                junk_score = rule.junk_score().unwrap_or(junk_score);
                has_ended = rule.ends();
            }
            steps.push(step);
        }
        steps
    }
}

impl FlowRule {
    fn step(&self, message: &Message<'_>, facts: &FlowFacts<'_>, junk_score: i32) -> Step {
        let mut asked = Vec::new();
        let truth = self.decide(message, facts, junk_score, &mut asked);
        let state = match (self.mode, truth) {
            (Mode::Off, _) => StepState::Off,
            _ if !(self.from..self.until).contains(&facts.now) => StepState::OutOfTime,
            (_, Truth::No) => StepState::NotMatched,
            (_, Truth::Unknown) => StepState::Unknown,
            (Mode::Audit, Truth::Yes) => StepState::Audited,
            (Mode::Enforce, Truth::Yes) => StepState::Matched,
        };
        let mut findings = Vec::new();
        for (tree, is_exception) in [(&self.when, false), (&self.except, true)] {
            let Some(tree) = tree else { continue };
            for part in parts(tree) {
                let mut one = |condition: &FlowCondition, asked: &mut Vec<FlowQuestion>| {
                    condition.decide(message, facts, junk_score, asked)
                };
                let truth = part.decide(&mut Vec::new(), &mut one);
                findings.push(Finding { condition: part.to_string(), is_exception, truth });
            }
        }
        let mut effects: Vec<String> = self.then.iter().map(ToString::to_string).collect();
        if self.stops {
            effects.push("stop here".to_owned());
        }
        Step { rule: self.name.clone(), state, findings, effects, asked: distinct_questions(asked) }
    }
}

/// The conditions of which all must hold.
fn parts(tree: &Tree<FlowCondition>) -> &[Tree<FlowCondition>] {
    match tree {
        Tree::All(parts) => parts,
        one => std::slice::from_ref(one),
    }
}
