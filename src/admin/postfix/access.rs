//! access(5): tables of clients, names and addresses with what is done about them.

use super::Postfix;
use super::draft::{Block, Draft, Origin, list, quoted};
use super::lines::{unbraced, words};
use super::numbers::network;
use super::policy::{Rule, Scope, answer, is_constant, later, restriction};
use super::tables::{Pattern, Table};
use crate::limits::POSTFIX_RULE_NAME_CHARS_MAX;

/// Entries of a rule up to which they stand in the rule itself.
const INLINE_MAX: usize = 8;

/// Keys that a rule can compare at once: all networks, or all patterns of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    /// `source`, `reverse_name`, `helo`, `sender`, `recipient` or `account`.
    condition: &'static str,
    entries: Vec<String>,
}

/// One entry of a table.
#[derive(Clone, Debug)]
struct Entry {
    keys: Keys,
    /// Of tables in which the more special key wins: how special this one is.
    rank: u32,
    action: String,
}

/// `check_X_access TABLE`
pub(super) fn check(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    name: &str,
    argument: &str,
) -> Vec<Rule> {
    let from = format!("{name} {argument}");
    let origin = Origin { parameter: scope.parameter, value: &from };
    let (condition, stage) = match name {
        "check_client_access" => ("source", "connect"),
        "check_reverse_client_hostname_access" => ("reverse_name", "connect"),
        "check_helo_access" => ("helo", "helo"),
        "check_sender_access" => ("sender", "mail"),
        "check_recipient_access" => ("recipient", "rcpt"),
        "check_sasl_access" => ("account", "connect"),
        _ => {
            draft.unmatched(
                origin,
                "there is no condition about this: see docs/operate/rules.md for those that there are",
            );
            return Vec::new();
        }
    };
    let scope = Scope { stage: later(scope.stage, stage), ..scope.clone() };
    let table =
        words(unbraced(argument)).first().map(|table| postfix.files.table(table, &postfix.usual_kind()));
    let table = match table {
        Some(Ok(table)) => table,
        Some(Err(why)) => {
            draft.unmatched(origin, format!("{why}; write its entries as a [[policy.list]] and a rule"));
            return Vec::new();
        }
        None => return Vec::new(),
    };
    if let Some(action) = is_constant(&table) {
        let action = action.to_owned();
        return outcome(postfix, draft, &scope, (&from, &action), Vec::new());
    }
    let entries = entries(postfix, draft, &from, condition, table, scope.parameter);
    grouped(postfix, draft, &scope, &from, entries)
}

/// Entries in the order in which they count.
fn entries(
    postfix: &Postfix,
    draft: &mut Draft,
    from: &str,
    condition: &'static str,
    table: Table,
    parameter: &str,
) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut odd = |key: &str, why: &str| {
        let value = format!("{from}: {key}");
        draft.unmatched(Origin { parameter, value: &value }, why);
    };
    match table {
        Table::Keys(keys) => {
            for (key, action) in keys {
                match key_entry(postfix, condition, &key) {
                    Some((keys, rank)) => found.push(Entry { keys, rank, action }),
                    None => odd(&key, "no rule has such a key"),
                }
            }
            found.sort_by(|a, b| b.rank.cmp(&a.rank).then_with(|| a.action.cmp(&b.action)));
        }
        Table::Networks(keys) => {
            for (key, action) in keys {
                match network(&key).filter(|_| condition == "source") {
                    Some(network) => found.push(Entry {
                        keys: Keys { condition, entries: vec![network] },
                        rank: 0,
                        action,
                    }),
                    None => odd(&key, "this is no network"),
                }
            }
        }
        Table::Patterns(patterns) => {
            let condition = if condition == "source" { "reverse_name" } else { condition };
            for (pattern, action) in patterns {
                match glob(&pattern) {
                    Some(glob) => {
                        found.push(Entry { keys: Keys { condition, entries: vec![glob] }, rank: 0, action });
                    }
                    None => odd(
                        &format!("/{}/", pattern.expression),
                        "patterns of rules have * and ? and no more: write it anew",
                    ),
                }
            }
        }
        Table::Always(_) => {}
    }
    found
}

/// A key of hash: and its like, and how special it is: a whole name before its domain, that before the domain above.
fn key_entry(postfix: &Postfix, condition: &'static str, key: &str) -> Option<(Keys, u32)> {
    let keys = |condition, entries| Keys { condition, entries };
    if condition == "source" {
        if let Some((network, bits)) = prefix(key) {
            return Some((keys("source", vec![network]), bits));
        }
        let (entries, rank) = domain(key)?;
        // Names come before addresses in Postfix.
        return Some((keys("reverse_name", entries), 1000 + rank));
    }
    if ["sender", "recipient"].contains(&condition) {
        if key == "<>" || key == postfix.value("smtpd_null_access_lookup_key") {
            return (condition == "sender").then(|| (keys(condition, vec!["<>".to_owned()]), 3000));
        }
        if let Some((local, domain)) = key.split_once('@') {
            if domain.is_empty() {
                return Some((keys(condition, vec![format!("{local}@*")]), 1));
            }
            let mut entries = vec![key.to_owned()];
            let delimiters = postfix.value("recipient_delimiter");
            entries.extend(
                delimiters.chars().filter(|_| !local.is_empty()).map(|c| format!("{local}{c}*@{domain}")),
            );
            return Some((keys(condition, entries), 2000));
        }
    }
    if condition == "account" {
        return key.contains('@').then(|| (keys(condition, vec![key.to_owned()]), 0));
    }
    let (entries, rank) = domain(key)?;
    Some((keys(condition, entries), rank))
}

/// A domain stands for those below it as well (parent_domain_matches_subdomains).
fn domain(key: &str) -> Option<(Vec<String>, u32)> {
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-._[]:".contains(c));
    let rank = key.split('.').filter(|label| !label.is_empty()).count() as u32;
    if key.starts_with('.') {
        return is_name(key).then(|| (vec![key.to_owned()], rank));
    }
    let below = (!key.starts_with('[')).then(|| format!(".{key}"));
    is_name(key).then(|| (std::iter::once(key.to_owned()).chain(below).collect(), rank))
}

/// `192.0.2.1`, `192.0`, `2001:db8` as networks with their bits.
fn prefix(key: &str) -> Option<(String, u32)> {
    if let Ok(address) = key.parse::<std::net::IpAddr>() {
        return Some((network(key)?, if address.is_ipv4() { 32 } else { 128 }));
    }
    let octets: Vec<&str> = key.split('.').collect();
    if octets.len() < 4 && octets.iter().all(|octet| octet.parse::<u8>().is_ok()) {
        let bits = octets.len() as u32 * 8;
        let whole: Vec<&str> = octets.iter().copied().chain(std::iter::repeat("0")).take(4).collect();
        return network(&format!("{}/{bits}", whole.join("."))).map(|network| (network, bits));
    }
    let groups: Vec<&str> = key.split(':').collect();
    let is_group = |group: &&str| u16::from_str_radix(group, 16).is_ok();
    if key.contains(':') && groups.len() < 8 && groups.iter().all(is_group) {
        let bits = groups.len() as u32 * 16;
        return network(&format!("{}::/{bits}", groups.join(":"))).map(|network| (network, bits));
    }
    None
}

/// A regular expression that says no more than `*` and `?` can.
pub(super) fn glob(pattern: &Pattern) -> Option<String> {
    if !pattern.is_simple || !pattern.flags.is_empty() {
        return None;
    }
    let text = pattern.expression.as_str();
    let (text, begins) = text.strip_prefix('^').map_or((text, false), |text| (text, true));
    let is_end = text.ends_with('$') && !text.ends_with("\\$");
    let text = if is_end { text.get(..text.len() - 1)? } else { text };
    let mut out = if begins { String::new() } else { "*".to_owned() };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = match c {
            '\\' => chars.next().filter(|c| !c.is_alphanumeric() && !"*?".contains(*c))?,
            '.' => '?',
            c if c.is_alphanumeric() || "-_@ =,<>:".contains(c) => c,
            _ => return None,
        };
        match chars.peek() {
            Some('*') if c == '.' => {
                chars.next();
                out.push('*');
            }
            Some('+') if c == '.' => {
                chars.next();
                out.push_str("?*");
            }
            Some('*' | '+' | '?' | '{') => return None,
            _ => out.push(next),
        }
    }
    if !is_end {
        out.push('*');
    }
    while out.contains("**") {
        out = out.replace("**", "*");
    }
    Some(out)
}

/// Entries with the same outcome, one rule for each run of them. DUNNO takes its keys out of what follows.
fn grouped(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    from: &str,
    entries: Vec<Entry>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut exempt: Vec<Keys> = Vec::new();
    let mut runs: Vec<(Keys, String)> = Vec::new();
    for entry in entries {
        match runs.last_mut() {
            Some((keys, action)) if *action == entry.action && keys.condition == entry.keys.condition => {
                keys.entries.extend(entry.keys.entries);
            }
            _ => runs.push((entry.keys, entry.action)),
        }
    }
    for (keys, action) in runs {
        if action.eq_ignore_ascii_case("dunno") {
            // No other key is about the empty sender.
            if keys.entries == ["<>"] {
                continue;
            }
            match exempt.iter_mut().find(|one| one.condition == keys.condition) {
                Some(there) => there.entries.extend(keys.entries),
                None => exempt.push(keys),
            }
            continue;
        }
        let mut needs = Vec::new();
        let mut inner = scope.clone();
        inner.conditions.extend(conditions(draft, from, &keys, &mut needs));
        for keys in &exempt {
            let without = conditions(draft, from, keys, &mut needs);
            inner.conditions.push(format!("not = {{ {} }}", without.join(", ")));
        }
        rules.extend(outcome(postfix, draft, &inner, (from, &action), needs));
    }
    rules
}

/// The conditions for keys; many become a list.
fn conditions(draft: &mut Draft, from: &str, keys: &Keys, needs: &mut Vec<(Block, String)>) -> Vec<String> {
    let mut all = if keys.entries.len() <= INLINE_MAX {
        vec![format!("{} = {}", keys.condition, list(&keys.entries))]
    } else {
        let short: String = from.chars().take(POSTFIX_RULE_NAME_CHARS_MAX).collect();
        let name = draft.name(&short);
        needs.push((Block::List, format!("name = {}\nentries = {}", quoted(&name), list(&keys.entries))));
        vec![format!("{} = {}", keys.condition, quoted(&format!("list:{name}")))]
    };
    // Postfix takes a client's name only when the name leads back to the address.
    if keys.condition == "reverse_name" && !from.starts_with("check_reverse") {
        all.push("iprev = \"pass\"".to_owned());
    }
    all
}

/// What an action of a table does.
fn outcome(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    told: (&str, &str),
    needs: Vec<(Block, String)>,
) -> Vec<Rule> {
    let (from, action) = told;
    let shown = format!("{from}: {action}");
    let origin = Origin { parameter: scope.parameter, value: &shown };
    let (word, text) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
    let text = text.trim();
    let mut stage = scope.stage;
    let upper = word.to_ascii_uppercase();
    let code = upper.parse::<u16>().ok().filter(|code| (400..600).contains(code) && upper.len() == 3);
    let then = match (upper.as_str(), code) {
        (_, Some(code)) => reply(code, text),
        ("OK" | "RELAY", _) => "\"accept\"".to_owned(),
        (digits, _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => "\"accept\"".to_owned(),
        ("REJECT", _) => reply(postfix.value("access_map_reject_code").parse().unwrap_or(554), text),
        ("DEFER", _) => reply(postfix.value("access_map_defer_code").parse().unwrap_or(450), text),
        ("DISCARD" | "HOLD", _) => {
            stage = later(stage, "mail");
            if upper == "HOLD" { "\"quarantine\"".to_owned() } else { "\"discard\"".to_owned() }
        }
        ("PREPEND", _) => format!("{{ add_header = {} }}", quoted(text)),
        ("DUNNO", _) => return Vec::new(),
        ("REDIRECT" | "BCC" | "FILTER", _) => {
            draft.unmatched(origin, "rules of [policy] send nothing elsewhere: a [[mailflow.rule]] with the same condition can (`redirect`, `bcc`)");
            return Vec::new();
        }
        ("WARN" | "INFO" | "DEFER_IF_PERMIT" | "DEFER_IF_REJECT", _) => {
            draft.unmatched(
                origin,
                "there is no action like this: choose another, such as `score` or `defer`",
            );
            return Vec::new();
        }
        _ => return classes(postfix, draft, scope, action, &needs),
    };
    if then == "\"accept\"" && scope.parameter == "smtpd_relay_restrictions" {
        draft.unmatched(origin, "this lets others send through the server: add their networks to outbound.relay_from if you want that");
    }
    vec![Rule {
        name: from.to_owned(),
        stage,
        conditions: scope.conditions.clone(),
        then,
        needs,
        from: shown,
    }]
}

/// An action may be restrictions of its own, or a class of them.
fn classes(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    action: &str,
    needs: &[(Block, String)],
) -> Vec<Rule> {
    let scope = Scope { depth: scope.depth + 1, ..scope.clone() };
    let mut rules = Vec::new();
    let mut items = words(action).into_iter();
    while let Some(item) = items.next().filter(|_| scope.depth < 10) {
        let name = item.to_ascii_lowercase();
        let argument = if name.starts_with("check_") || name.contains("bl_") { items.next() } else { None };
        rules.extend(restriction(postfix, draft, &scope, &name, argument.unwrap_or_default()));
    }
    for rule in &mut rules {
        rule.needs.extend(needs.iter().cloned());
    }
    rules
}

/// `REJECT 5.7.1 text`: the enhanced code may be in front of the text.
fn reply(code: u16, text: &str) -> String {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let parts: Vec<&str> = first.split('.').collect();
    let is_enhanced = parts.len() == 3 && parts.iter().all(|part| part.parse::<u16>().is_ok());
    let (enhanced, text) = if is_enhanced { (Some(first), rest) } else { (None, text) };
    // Braces are places for facts here, and answers are ASCII.
    let plain: String = text.chars().filter(|c| (' '..='~').contains(c) && !"{}".contains(*c)).collect();
    let plain = if plain.trim().is_empty() { "Access denied" } else { plain.trim() };
    answer(code, enhanced, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses_are_networks() {
        for (key, expected) in [
            ("192.0.2.1", Some(("192.0.2.1", 32))),
            ("10", Some(("10.0.0.0/8", 8))),
            ("192.0.2", Some(("192.0.2.0/24", 24))),
            ("2001:db8", Some(("2001:db8::/32", 32))),
            ("2001:db8::1", Some(("2001:db8::1", 128))),
            ("example.org", None),
        ] {
            assert_eq!(prefix(key), expected.map(|(text, bits)| (text.to_owned(), bits)), "{key}");
        }
    }

    #[test]
    fn simple_expressions_are_patterns() {
        let of = |text: &str| {
            glob(&Pattern { expression: text.to_owned(), flags: String::new(), is_simple: true })
        };
        for (text, expected) in [
            ("^dsl-.*\\.example\\.net$", Some("dsl-*.example.net")),
            ("\\.dynamic\\.", Some("*.dynamic.*")),
            ("@example\\.com$", Some("*@example.com")),
            ("^a.b.+c$", Some("a?b?*c")),
            ("^(a|b)$", None),
            ("a*", None),
            ("\\d", None),
            ("[0-9]", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn replies_have_codes_of_their_own() {
        assert_eq!(reply(554, "5.7.9 Go {away}"), answer(554, Some("5.7.9"), "Go away"));
        assert_eq!(reply(450, ""), answer(450, None, "Access denied"));
    }
}
