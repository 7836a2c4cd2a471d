//! Conditions joined by `all`, `any` and `not`, decided with what is known so far.

use std::fmt;

use crate::limits::CONDITION_DEPTH_MAX;
use crate::read::{Fault, Section, Value, each};

/// What is known of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// That depends on something that was not asked yet.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// A condition of some kind, or a combination of them.
#[derive(Clone, Debug)]
pub(crate) enum Tree<C> {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    One(C),
}

/// What a condition is made of: its keys, and how one is read.
pub(crate) struct Grammar<'g, C> {
    /// The keys besides `all`, `any` and `not`, for errors.
    pub(crate) keys: &'g [&'g str],
    /// Reads one of them.
    pub(crate) one: &'g dyn Fn(&str, &Value<'_>) -> Result<C, Fault>,
    /// Whether it may have to be asked: those are looked at last.
    pub(crate) is_asked: &'g dyn Fn(&C) -> bool,
}

impl<C> Tree<C> {
    /// Reads the conditions of a table, all of which must hold.
    pub(crate) fn read(value: &Value<'_>, grammar: &Grammar<'_, C>) -> Result<Self, Fault> {
        Self::read_at(value, grammar, 0)
    }

    fn read_at(value: &Value<'_>, grammar: &Grammar<'_, C>, depth: usize) -> Result<Self, Fault> {
        let section = Section::of(value, "a table of conditions")?;
        if depth >= CONDITION_DEPTH_MAX {
            return Err(section.fault(format!(
                "conditions lie in each other more than {CONDITION_DEPTH_MAX} deep: use a rule more"
            )));
        }
        if section.is_empty() {
            return Err(section
                .fault("there is no condition in this table: leave it out if the rule is for everything"));
        }
        let several = |value: &Value<'_>| -> Result<Vec<Self>, Fault> {
            let all = each(value);
            if all.is_empty() {
                return Err(Fault::at(value, "the list of conditions is empty: leave it out"));
            }
            all.into_iter().map(|one| Self::read_at(one, grammar, depth + 1)).collect()
        };
        let mut parts = Vec::new();
        for (key, span, value) in section.entries() {
            parts.push(match key {
                "all" => Self::All(several(value)?),
                "any" => Self::Any(several(value)?),
                "not" => Self::Not(Box::new(Self::read_at(value, grammar, depth + 1)?)),
                key if grammar.keys.contains(&key) => Self::One((grammar.one)(key, value)?),
                key => {
                    let known = grammar.keys.join(", ");
                    return Err(Fault::new(
                        span,
                        format!("there is no condition `{key}`; there are all, any, not, {known}"),
                    ));
                }
            });
        }
        let mut tree = if parts.len() == 1 { parts.pop().expect("it has one") } else { Self::All(parts) };
        tree.cheap_first(grammar.is_asked);
        Ok(tree)
    }

    /// Puts what is known behind nothing that must be asked; the order is otherwise as it was.
    fn cheap_first(&mut self, is_asked: &dyn Fn(&C) -> bool) {
        if let Self::All(parts) | Self::Any(parts) = self {
            parts.sort_by_key(|part| part.has(is_asked));
        }
    }

    /// Whether some condition in it is such a one.
    pub(crate) fn has(&self, such: &dyn Fn(&C) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.has(such)),
            Self::Not(part) => part.has(such),
            Self::One(condition) => such(condition),
        }
    }

    /// Calls `visit` with each condition in it.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&C)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(visit)),
            Self::Not(part) => part.each(visit),
            Self::One(condition) => visit(condition),
        }
    }

    /// Decides it. `one` says what is known of a condition and may put into `asked` what it lacks;
    /// what turns out not to matter is taken out again.
    pub(crate) fn decide<Q>(
        &self,
        asked: &mut Vec<Q>,
        one: &mut dyn FnMut(&C, &mut Vec<Q>) -> Truth,
    ) -> Truth {
        let (parts, end) = match self {
            Self::One(condition) => return one(condition, asked),
            Self::Not(part) => {
                return match part.decide(asked, one) {
                    Truth::Yes => Truth::No,
                    Truth::No => Truth::Yes,
                    Truth::Unknown => Truth::Unknown,
                };
            }
            Self::All(parts) => (parts, Truth::No),
            Self::Any(parts) => (parts, Truth::Yes),
        };
        let before = asked.len();
        let mut is_unknown = false;
        for part in parts {
            match part.decide(asked, one) {
                truth if truth == end => {
                    asked.truncate(before);
                    return end;
                }
                Truth::Unknown => is_unknown = true,
                _ => {}
            }
        }
        match (is_unknown, end) {
            (true, _) => Truth::Unknown,
            (false, Truth::No) => Truth::Yes,
            (false, _) => Truth::No,
        }
    }
}

impl<C: fmt::Display> fmt::Display for Tree<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::One(condition) => return write!(f, "{condition}"),
            Self::Not(part) => return write!(f, "not ({part})"),
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (at, part) in parts.iter().enumerate() {
            let word = if at == 0 { "" } else { word };
            let is_simple = matches!(part, Self::One(_) | Self::Not(_));
            if is_simple { write!(f, "{word}{part}")? } else { write!(f, "{word}({part})")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{document, text};

    /// `t` holds, `f` does not, anything else must be asked.
    fn decide(conditions: &str) -> (Truth, Vec<String>) {
        let tree = document(&format!("x = {conditions}"), |all| {
            let grammar = Grammar {
                keys: &["c", "d"],
                one: &|_, value| text(value).map(str::to_owned),
                is_asked: &|one: &String| one != "t" && one != "f",
            };
            Tree::read(all.need("x")?, &grammar)
        });
        let mut asked = Vec::new();
        let truth = tree.unwrap().decide(&mut asked, &mut |one, asked| match one.as_str() {
            "t" => Truth::Yes,
            "f" => Truth::No,
            name => {
                asked.push(name.to_owned());
                Truth::Unknown
            }
        });
        (truth, asked)
    }

    #[test]
    fn only_what_matters_is_asked() {
        for (conditions, truth, asked) in [
            (r#"{ c = "t" }"#, Truth::Yes, ""),
            (r#"{ c = "a", d = "b" }"#, Truth::Unknown, "ab"),
            (r#"{ c = "a", d = "f" }"#, Truth::No, ""),
            (r#"{ any = [{ c = "a" }, { c = "t" }] }"#, Truth::Yes, ""),
            (r#"{ any = [{ c = "a" }, { c = "f" }, { d = "b" }] }"#, Truth::Unknown, "ab"),
            (r#"{ any = [{ c = "f" }, { c = "f" }] }"#, Truth::No, ""),
            (r#"{ not = { c = "a" } }"#, Truth::Unknown, "a"),
            (r#"{ not = { c = "f", d = "a" } }"#, Truth::Yes, ""),
            (r#"{ all = [{ any = [{ c = "a" }, { c = "b" }] }, { c = "t" }] }"#, Truth::Unknown, "ab"),
        ] {
            assert_eq!(
                decide(conditions),
                (truth, asked.chars().map(String::from).collect()),
                "{conditions}"
            );
        }
    }

    #[test]
    fn senseless_conditions_are_refused() {
        let deep = "{ not = ".repeat(20) + "{ c = \"t\" }" + &" }".repeat(20);
        for (conditions, word) in [
            ("{}", "no condition in this table"),
            ("{ e = 1 }", "there is no condition `e`; there are all, any, not, c, d"),
            ("{ any = [] }", "empty"),
            (deep.as_str(), "deep"),
        ] {
            let read = document(&format!("x = {conditions}"), |all| {
                let grammar = Grammar {
                    keys: &["c", "d"],
                    one: &|_, value| text(value).map(str::to_owned),
                    is_asked: &|_: &String| false,
                };
                Tree::read(all.need("x")?, &grammar).map(|_| ())
            });
            assert!(read.as_ref().unwrap_err().message.contains(word), "{read:?}");
        }
    }
}
