//! Expected lines with variables: `${name}` is bound at first sight and compared later; `${_}` is
//! anything.

use std::collections::BTreeMap;

/// What variables stand for.
pub type Bindings = BTreeMap<String, Vec<u8>>;

/// Bytes with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Variable(String),
}

impl Pattern {
    /// Cuts `text` at its `${name}`s. What is no such thing stands for itself.
    pub fn parse(text: &[u8]) -> Self {
        let (mut parts, mut literal, mut rest) = (Vec::new(), Vec::new(), text);
        while let Some((&first, after)) = rest.split_first() {
            if let Some((name, after)) = variable(rest) {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Variable(name));
                rest = after;
            } else {
                literal.push(first);
                rest = after;
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self(parts)
    }

    /// Bytes that stand for themselves.
    pub fn literal(bytes: Vec<u8>) -> Self {
        Self(vec![Part::Literal(bytes)])
    }

    /// Whether `text` is of this form; binds what is seen for the first time.
    pub fn matches(&self, text: &[u8], bindings: &mut Bindings) -> bool {
        match matched(&self.0, text, bindings) {
            Some(found) => {
                *bindings = found;
                true
            }
            None => false,
        }
    }

    /// The bytes with every variable replaced. `Err` is the name of one that is not bound.
    pub fn fill(&self, bindings: &Bindings) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Variable(name) => out.extend(bindings.get(name).ok_or_else(|| name.clone())?),
            }
        }
        Ok(out)
    }

    /// The bytes with the unbound variables written as they stand in the transcript.
    pub fn fill_known(&self, bindings: &Bindings) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Variable(name) => match bindings.get(name) {
                    Some(value) => out.extend(value),
                    None => out.extend(format!("${{{name}}}").bytes()),
                },
            }
        }
        out
    }
}

fn variable(text: &[u8]) -> Option<(String, &[u8])> {
    let inner = text.strip_prefix(b"${")?;
    let end = inner.iter().position(|&b| b == b'}')?;
    let (name, rest) = inner.split_at(end);
    let is_name = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let rest = rest.get(1..)?;
    is_name.then(|| (String::from_utf8_lossy(name).into_owned(), rest))
}

/// Tries shortest values first; lines are short, so trying all of them is cheap.
fn matched(parts: &[Part], text: &[u8], bindings: &Bindings) -> Option<Bindings> {
    let Some((part, parts)) = parts.split_first() else {
        return text.is_empty().then(|| bindings.clone());
    };
    match part {
        Part::Literal(bytes) => matched(parts, text.strip_prefix(bytes.as_slice())?, bindings),
        Part::Variable(name) => match bindings.get(name) {
            Some(value) => matched(parts, text.strip_prefix(value.as_slice())?, bindings),
            None if name == "_" => (0..=text.len()).find_map(|n| matched(parts, text.get(n..)?, bindings)),
            None => (1..=text.len()).find_map(|n| {
                let (value, rest) = text.split_at(n);
                let mut bindings = bindings.clone();
                bindings.insert(name.clone(), value.to_vec());
                matched(parts, rest, &bindings)
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_bound_once_and_compared_later() {
        let mut bindings = Bindings::new();
        assert!(Pattern::parse(b"* ${n} EXISTS ${_}").matches(b"* 23 EXISTS ok", &mut bindings));
        assert_eq!(bindings.get("n").map(Vec::as_slice), Some(&b"23"[..]));
        assert!(Pattern::parse(b"${n}:${n}").matches(b"23:23", &mut bindings));
        assert!(!Pattern::parse(b"${n}").matches(b"24", &mut bindings));
        assert_eq!(Pattern::parse(b"FETCH ${n}").fill(&bindings), Ok(b"FETCH 23".to_vec()));
        assert_eq!(Pattern::parse(b"FETCH ${m}").fill(&bindings), Err("m".to_owned()));
        assert!(Pattern::parse(b"$ {x} ${").matches(b"$ {x} ${", &mut bindings));
    }
}
