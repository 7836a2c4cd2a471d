//! header_checks and body_checks, and copies to others: rules of `[mailflow]`.

use super::Postfix;
use super::draft::{Block, Draft, Origin, list, quoted};
use super::lines::words;
use super::tables::{Pattern, Table};

/// Tables of patterns, and what they are about.
const CHECKS: [(&str, Part); 5] = [
    ("header_checks", Part::Header),
    ("mime_header_checks", Part::Unknown),
    ("nested_header_checks", Part::Unknown),
    ("body_checks", Part::Body),
    ("smtp_header_checks", Part::Unknown),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
    Unknown,
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    for (parameter, part) in CHECKS {
        let Some(value) = postfix.changed(parameter) else { continue };
        // Unless they are set, attached parts are looked at with header_checks too; rules see the message's own header.
        for item in words(&value) {
            let origin = Origin { parameter, value: item };
            match postfix.files.table(item, &postfix.usual_kind()) {
                _ if part == Part::Unknown => draft.unmatched(origin, "rules see the message's own header, as it comes in: write a [[mailflow.rule]] with `header` or `attachment`"),
                Ok(Table::Patterns(patterns)) => checks(draft, parameter, part, patterns),
                Ok(_) => draft.unmatched(origin, "only regexp: and pcre: tables say something here"),
                Err(why) => draft.unmatched(origin, why),
            }
        }
    }
    copies(postfix, draft);
}

fn checks(draft: &mut Draft, parameter: &str, part: Part, patterns: Vec<(Pattern, String)>) {
    let mut excepts = false;
    for (pattern, action) in patterns {
        let shown = format!("/{}/{} {action}", pattern.expression, pattern.flags);
        let origin = Origin { parameter, value: &shown };
        let word = action.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if ["DUNNO", "OK"].contains(&word.as_str()) {
            excepts = true;
            draft.unmatched(
                origin,
                "this takes lines out of the checks behind it: add it to their rules as `except`",
            );
            continue;
        }
        let condition = match part {
            Part::Header => field(&pattern),
            _ => expression(&pattern, "")
                .map(|matches| (None, format!("body = {{ matches = {} }}", quoted(&matches)))),
        };
        let Some((name, condition)) = condition else {
            draft.unmatched(origin, "only expressions that begin with ^Name: are about one header field: write a [[mailflow.rule]]");
            continue;
        };
        let text = action.split_once(char::is_whitespace).map_or("", |(_, text)| text.trim());
        let Some(then) = consequence(&word, text, name.as_deref(), &pattern.expression) else {
            draft.unmatched(origin, "a rule of [mailflow] has no such action: see docs/operate/rules.md");
            continue;
        };
        if excepts {
            draft.unmatched(
                origin,
                "a rule was made of it; what an entry above takes out is not taken out yet",
            );
        }
        let rule_name = draft.name(&format!("{parameter} {}", pattern.expression));
        let lines = format!("name = {}\nwhen = {{ {condition} }}\nthen = {then}", quoted(&rule_name));
        draft.block(origin, Block::FlowRule, &lines, &[]);
    }
}

fn consequence(word: &str, text: &str, name: Option<&str>, expression: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| (' '..='~').contains(c)).collect();
    match word {
        "REJECT" if plain.is_empty() => Some("\"reject\"".to_owned()),
        "REJECT" => Some(format!("{{ reject = {} }}", quoted(&plain))),
        "DISCARD" => Some("\"discard\"".to_owned()),
        "HOLD" => Some("\"quarantine\"".to_owned()),
        "PREPEND" => Some(format!("{{ add_header = {} }}", quoted(text))),
        "REDIRECT" => Some(format!("{{ redirect = {} }}", quoted(text))),
        "BCC" => Some(format!("{{ bcc = {} }}", quoted(text))),
        // Of all fields of the name, so only where the expression is about nothing else.
        "IGNORE" => {
            let name = name.filter(|name| expression.trim_start_matches('^') == format!("{name}:"))?;
            Some(format!("{{ remove_header = {} }}", quoted(name)))
        }
        _ => None,
    }
}

/// `/^Name: rest/` as a condition about that field.
fn field(pattern: &Pattern) -> Option<(Option<String>, String)> {
    let (name, rest) = pattern.expression.strip_prefix('^')?.split_once(':')?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return None;
    }
    // A value has no white space in front here.
    let space = ["[[:space:]]*", "[[:space:]]+", "\\s*", "\\s+", " *", " +", " "];
    let value = space.iter().find_map(|space| rest.strip_prefix(space)).unwrap_or(rest);
    let name = name.to_owned();
    let about = if value.trim_start_matches(".*").is_empty() {
        quoted(&name)
    } else {
        let begin = if value.starts_with(".*") { "" } else { "^" };
        let value = value.strip_prefix(".*").unwrap_or(value);
        let matches = expression(&Pattern { expression: value.to_owned(), ..pattern.clone() }, begin)?;
        format!("{{ name = {}, matches = {} }}", quoted(&name), quoted(&matches))
    };
    pattern.is_simple.then(|| (Some(name), format!("header = {about}")))
}

/// An expression with its flags in our form; case means nothing unless `i` says that it does.
fn expression(pattern: &Pattern, begin: &str) -> Option<String> {
    if !pattern.is_simple {
        return None;
    }
    let flags = match pattern.flags.as_str() {
        "" => "(?i)",
        "i" => "",
        _ => return None,
    };
    Some(format!("{flags}{begin}{}", pattern.expression))
}

fn copies(postfix: &Postfix, draft: &mut Draft) {
    if let Some(value) = postfix.changed("always_bcc") {
        let name = draft.name("always_bcc");
        let lines = format!("name = {}\nthen = {{ bcc = {} }}", quoted(&name), list(words(&value)));
        draft.block(Origin { parameter: "always_bcc", value: &value }, Block::FlowRule, &lines, &[]);
    }
    for (parameter, condition) in [("sender_bcc_maps", "sender"), ("recipient_bcc_maps", "recipient")] {
        let Some(value) = postfix.changed(parameter) else { continue };
        for item in words(&value) {
            let origin = Origin { parameter, value: item };
            let entries = match postfix.files.table(item, &postfix.usual_kind()) {
                Ok(Table::Keys(entries)) => entries,
                Ok(Table::Always(value)) => vec![("*".to_owned(), value)],
                Ok(_) => {
                    draft.unmatched(
                        origin,
                        "its keys are patterns: write a [[mailflow.rule]] with `bcc` for each",
                    );
                    continue;
                }
                Err(why) => {
                    draft.unmatched(
                        origin,
                        format!("{why}; write a [[mailflow.rule]] with `bcc` for each entry"),
                    );
                    continue;
                }
            };
            for (key, target) in entries {
                // A key without a domain is somebody of myorigin.
                let key = if key.contains('@') || key == "*" {
                    key
                } else {
                    format!("{key}@{}", postfix.value("myorigin"))
                };
                let shown = format!("{key} {target}");
                let name = draft.name(&format!("copies of {key}"));
                let lines = format!(
                    "name = {}\nwhen = {{ {condition} = {} }}\nthen = {{ bcc = {} }}",
                    quoted(&name),
                    quoted(&key),
                    list(words(&target))
                );
                draft.block(Origin { parameter, value: &shown }, Block::FlowRule, &lines, &[]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_about_a_field_become_conditions() {
        let of = |text: &str, flags: &str| {
            field(&Pattern { expression: text.to_owned(), flags: flags.to_owned(), is_simple: true })
                .map(|(_, condition)| condition)
        };
        for (text, flags, expected) in [
            ("^Subject: .*viagra", "", Some("header = { name = \"Subject\", matches = \"(?i)viagra\" }")),
            (
                "^X-Spam-Flag:[[:space:]]+YES",
                "i",
                Some("header = { name = \"X-Spam-Flag\", matches = \"^YES\" }"),
            ),
            ("^Received:", "", Some("header = \"Received\"")),
            ("^(To|From): x", "", None),
            ("viagra", "", None),
            ("^Subject: x", "m", None),
        ] {
            assert_eq!(of(text, flags).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_field_is_taken_out_only_when_all_of_its_name_are_meant() {
        assert_eq!(
            consequence("IGNORE", "", Some("X-A"), "^X-A:").as_deref(),
            Some("{ remove_header = \"X-A\" }")
        );
        assert_eq!(consequence("IGNORE", "", Some("X-A"), "^X-A: 1"), None);
        assert_eq!(consequence("WARN", "", Some("X-A"), "^X-A:"), None);
    }
}
