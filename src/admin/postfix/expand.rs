//! Values within values: `$name`, `${name}`, `${name?text}`, `${name:text}`, `${name?{text}:{text}}` and
//! `${{text} == {text} ? {text} : {text}}`.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;

use super::lines::{braced, enclosed};
use crate::limits::{POSTFIX_DEPTH_MAX, POSTFIX_NAMES_MAX};

/// Where names get their values, unexpanded; what has none is empty.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> String;

/// The text with every name replaced, also in what replaces them.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> String {
    let left = Cell::new(POSTFIX_NAMES_MAX);
    let bounded = |name: &str| match left.get().checked_sub(1) {
        Some(rest) => {
            left.set(rest);
            lookup(name)
        }
        None => String::new(),
    };
    expanded(text, &bounded, 0)
}

/// The names that a text uses, the conditions among them.
pub(super) fn names(text: &str) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    let note = |name: &str| {
        found.borrow_mut().push(name.to_owned());
        String::new()
    };
    // With every name empty the texts for "not empty" are not looked at: they are tried as well.
    let _with_empty_names = expanded(text, &note, 0);
    let present = |name: &str| {
        note(name);
        "x".to_owned()
    };
    let _with_names = expanded(text, &present, 0);
    found.into_inner()
}

fn expanded(text: &str, lookup: Lookup<'_>, depth: usize) -> String {
    // Postfix gives up here; a value that contains itself ends nowhere.
    if depth > POSTFIX_DEPTH_MAX {
        return String::new();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let inside = braced(after).or_else(|| enclosed(after, '(', ')'));
        if let Some((inner, behind)) = inside {
            out.push_str(&conditional(inner, lookup, depth));
            rest = behind;
            continue;
        }
        let (name, behind) = name(after);
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&expanded(&lookup(name), lookup, depth + 1));
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// What stands between `${` and `}`.
fn conditional(inner: &str, lookup: Lookup<'_>, depth: usize) -> String {
    let inner = inner.trim_start();
    let (value, is_true, rest) = if inner.starts_with('{') {
        match comparison(inner, lookup, depth) {
            Some((is_true, rest)) => (String::new(), is_true, rest),
            None => return String::new(),
        }
    } else {
        let (name, rest) = name(inner.trim_end());
        let value = lookup(name);
        let is_true = !value.is_empty();
        (value, is_true, rest)
    };
    let rest = rest.trim_start();
    let texts = match rest.split_at_checked(1) {
        Some(("?", texts)) => {
            let (yes, rest) = branch(texts);
            let no = rest.trim_start().strip_prefix(':').map_or("", |no| branch(no).0);
            (yes, no)
        }
        Some((":", texts)) => ("", branch(texts).0),
        _ => return expanded(&value, lookup, depth + 1),
    };
    expanded(if is_true { texts.0 } else { texts.1 }, lookup, depth + 1)
}

/// `{text}` and what follows, or all of it.
fn branch(text: &str) -> (&str, &str) {
    match braced(text.trim_start()) {
        Some((inner, rest)) => (inner.trim(), rest),
        None => (text, ""),
    }
}

/// `{text} operator {text}`: whether it is so, and what follows.
fn comparison<'a>(text: &'a str, lookup: Lookup<'_>, depth: usize) -> Option<(bool, &'a str)> {
    let (left, rest) = braced(text)?;
    let (operator, rest) = rest.split_at(rest.find('{')?);
    let (right, rest) = braced(rest)?;
    let (left, right) = (expanded(left.trim(), lookup, depth + 1), expanded(right.trim(), lookup, depth + 1));
    let operator = operator.trim();
    let (operator, order) = match operator.strip_suffix("level") {
        Some(operator) => (operator, levels(&left).cmp(&levels(&right))),
        None => (operator, compared(&left, &right)),
    };
    let is_true = match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return None,
    };
    Some((is_true, rest))
}

/// Numbers as numbers, all else as text.
fn compared(left: &str, right: &str) -> Ordering {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(right),
    }
}

/// `3.6` to numbers that can be compared.
fn levels(text: &str) -> [u64; 3] {
    let mut levels = [0; 3];
    for (level, part) in levels.iter_mut().zip(text.split('.')) {
        *level = part.parse().unwrap_or(0);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let lookup = |name: &str| {
            let value = match name {
                "host" => "mail.$domain",
                "domain" => "example.org",
                "level" => "3.10",
                "self" => "x$self",
                "twice" => "$twice$twice",
                _ => "",
            };
            value.to_owned()
        };
        expand(text, &lookup)
    }

    #[test]
    fn names_have_values_that_have_names() {
        for (text, expected) in [
            ("$host, $(host) and ${host}!", "mail.example.org, mail.example.org and mail.example.org!"),
            ("a$$b $ {c} $-", "a$b $ {c} $-"),
            ("[$nothing]", "[]"),
            ("${nothing?yes}${nothing:no $domain}", "no example.org"),
            ("${host?yes $domain}${host:no}", "yes example.org"),
            ("${host?{yes}:{no}} ${nothing?{yes}:{no}} ${nothing ? {yes} : {no}}", "yes no no"),
            ("${host?a}:b", "a:b"),
            ("${{$domain} == {example.org} ? {same} : {other}}", "same"),
            ("${{$level} <level {3.6} ? {old} : {new}}", "new"),
            ("${{10} < {9} ? {text} : {number}}", "number"),
            ("${{a} ~ {b} ? {c} : {d}}", ""),
            ("${host?{in {braces}}}", "in {braces}"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert!(of("$self").len() > POSTFIX_DEPTH_MAX / 2, "it ends");
        assert_eq!(of("$twice"), "", "this too");
    }

    #[test]
    fn names_in_either_branch_are_found() {
        let mut found = names("${a?{$b}:{$c}} $d");
        found.sort();
        found.dedup();
        assert_eq!(found, ["a", "b", "c", "d"]);
    }
}
