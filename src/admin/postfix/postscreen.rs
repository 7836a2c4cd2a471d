//! Lists in DNS, of smtpd and of postscreen, and what else postscreen looks at before a client may speak.

use super::Postfix;
use super::draft::{Block, Draft, Origin, accepted, list, quoted};
use super::lines::words;
use super::numbers::{network, seconds};
use super::outbound::mynetworks;
use super::policy::{Rule, Scope, answer, later, refusal};
use super::tables::Table;
use std::fmt::Write as _;

/// A list in DNS as a block, and its name.
fn dnslist(draft: &mut Draft, spec: &str, by: &str, weight: i64) -> Result<(String, String), String> {
    let (zone, filter) = spec.split_once('=').unwrap_or((spec, ""));
    let zone = zone.trim_matches('.');
    let name = draft.name(&if by == "source" { zone.to_owned() } else { format!("{zone} by {by}") });
    let mut lines = format!("name = {}\nzone = {}", quoted(&name), quoted(zone));
    if by != "source" {
        let _never_fails = write!(lines, "\nby = {}", quoted(by));
    }
    if weight != 1 {
        let _never_fails = write!(lines, "\nweight = {weight}");
    }
    if !filter.is_empty() {
        let _never_fails = write!(lines, "\nanswers = {}", list(answers(filter).ok_or("its filter has more than [a;b..c] in its last place: list the answers in [[policy.dnslist]] answers")?));
    }
    Ok((name, lines))
}

/// `127.0.0.[2..11;20]` as addresses and ranges.
fn answers(filter: &str) -> Option<Vec<String>> {
    let Some((front, rest)) = filter.split_once('[') else { return Some(vec![filter.to_owned()]) };
    let inner = rest.strip_suffix(']')?;
    if front.split('.').count() != 4 {
        return None;
    }
    let part = |part: &str| match part.split_once("..") {
        Some((first, last)) => format!("{front}{}-{front}{}", first.trim(), last.trim()),
        None => format!("{front}{}", part.trim()),
    };
    Some(inner.split(';').map(part).collect())
}

/// reject_rbl_client and its like.
pub(super) fn listed(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    name: &str,
    argument: &str,
) -> Vec<Rule> {
    let from = format!("{name} {argument}");
    let origin = Origin { parameter: scope.parameter, value: &from };
    let (by, stage) = match name {
        "reject_rbl_client" | "reject_rbl" | "permit_dnswl_client" => ("source", "connect"),
        "reject_rhsbl_client" | "reject_rhsbl_reverse_client" | "permit_rhswl_client" => {
            ("reverse_name", "connect")
        }
        "reject_rhsbl_helo" => ("helo", "helo"),
        "reject_rhsbl_sender" => ("sender_domain", "mail"),
        _ => {
            draft.unmatched(
                origin,
                "lists in DNS are asked about the client's address and name, HELO and the sender's domain",
            );
            return Vec::new();
        }
    };
    // postscreen adds up the weights of its own lists, and a sum here is over all that there are.
    let weight = i64::from(postfix.value("postscreen_dnsbl_sites").is_empty());
    let (list_name, lines) = match dnslist(draft, argument, by, weight) {
        Ok(found) => found,
        Err(why) => {
            draft.unmatched(origin, why);
            return Vec::new();
        }
    };
    let zone = argument.split('=').next().unwrap_or_default();
    let then = if name.starts_with("permit") {
        "\"accept\"".to_owned()
    } else {
        let what = match by {
            "source" => "client [{source}]",
            "helo" => "HELO {helo}",
            "reverse_name" => "client {reverse_name}",
            _ => "sender {sender}",
        };
        refusal(postfix, "maps_rbl_reject_code", &format!("Service unavailable; {what} blocked using {zone}"))
    };
    let mut conditions = scope.conditions.clone();
    conditions.push(format!("dnslist = {}", quoted(&list_name)));
    vec![Rule {
        name: format!("listed by {list_name}"),
        stage: later(scope.stage, stage),
        conditions,
        then,
        needs: vec![(Block::DnsList, lines)],
        from,
    }]
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    if !postfix.services.iter().any(|service| service.command == "postscreen") {
        return;
    }
    let mut conditions = vec!["listener = [\"smtp\"]".to_owned()];
    let (allowed, needs) = access_list(postfix, draft);
    conditions.extend(allowed);
    weights(postfix, draft, &conditions, &needs);
    greeting(postfix, draft, &conditions, &needs);
    for parameter in ["postscreen_denylist_action", "postscreen_blacklist_action"] {
        // Asked for with the list itself.
        let _in_force = postfix.changed(parameter);
    }
}

/// postscreen_access_list: those it permits are exempt from the rules of postscreen; those it rejects are refused.
fn access_list(postfix: &Postfix, draft: &mut Draft) -> (Option<String>, Vec<(Block, String)>) {
    let value = postfix.value("postscreen_access_list");
    let denied_action =
        ["postscreen_denylist_action", "postscreen_blacklist_action"].map(|name| postfix.value(name));
    let refuses = denied_action.iter().any(|action| ["enforce", "drop"].contains(&action.as_str()));
    let mut allowed: Vec<String> = Vec::new();
    // Networks that are refused, with how many of the allowed ones stand in front of them.
    let mut denied: Vec<(usize, Vec<String>)> = Vec::new();
    for item in words(&value) {
        let origin = Origin { parameter: "postscreen_access_list", value: item };
        if item.eq_ignore_ascii_case("permit_mynetworks") {
            allowed.extend(mynetworks(postfix, draft));
            continue;
        }
        let entries = match postfix.files.table(item, &postfix.usual_kind()) {
            Ok(Table::Networks(entries) | Table::Keys(entries)) => entries,
            Ok(_) => continue,
            Err(why) => {
                draft.unmatched(
                    origin,
                    format!("{why}; add its networks to the [[policy.list]] \"postscreen\""),
                );
                continue;
            }
        };
        for (key, action) in entries {
            let Some(network) = network(&key) else { continue };
            match action.to_ascii_lowercase().as_str() {
                "permit" => allowed.push(network),
                "reject" => match denied.last_mut() {
                    Some((before, networks)) if *before == allowed.len() => networks.push(network),
                    _ => denied.push((allowed.len(), vec![network])),
                },
                _ => {}
            }
        }
    }
    for (before, networks) in denied.iter().filter(|_| refuses) {
        let name = draft.name("refused by postscreen");
        let mut when = format!("listener = [\"smtp\"], source = {}", list(networks));
        if let Some(before) = allowed.get(..*before).filter(|before| !before.is_empty()) {
            let _never_fails = write!(when, ", not = {{ source = {} }}", list(before));
        }
        let then = answer(550, None, "Service denied");
        let lines =
            format!("name = {}\nstage = \"connect\"\nwhen = {{ {when} }}\nthen = {then}", quoted(&name));
        draft.block(Origin { parameter: "postscreen_access_list", value: &value }, Block::Rule, &lines, &[]);
    }
    if allowed.is_empty() {
        return (None, Vec::new());
    }
    let entries = format!("name = \"postscreen\"\nentries = {}", list(&allowed));
    (Some("not = { source = \"list:postscreen\" }".to_owned()), vec![(Block::List, entries)])
}

/// postscreen_dnsbl_sites, each with its weight, and the threshold.
fn weights(postfix: &Postfix, draft: &mut Draft, conditions: &[String], needs: &[(Block, String)]) {
    let sites = postfix.value("postscreen_dnsbl_sites");
    let action = postfix.value("postscreen_dnsbl_action");
    let threshold = postfix.value("postscreen_dnsbl_threshold");
    if sites.is_empty() {
        return;
    }
    let origin = Origin { parameter: "postscreen_dnsbl_sites", value: &sites };
    if !["enforce", "drop"].contains(&action.as_str()) {
        draft.unmatched(
            origin,
            "postscreen only logs what they say (postscreen_dnsbl_action = ignore): no rule was made",
        );
        return;
    }
    let mut needs = needs.to_vec();
    for site in words(&sites) {
        let (spec, weight) = site.rsplit_once('*').unwrap_or((site, "1"));
        let found = weight.parse::<i64>().map_err(|_| "its weight is no number".to_owned());
        match found.and_then(|weight| dnslist(draft, spec, "source", weight)) {
            Ok((_, lines)) => needs.push((Block::DnsList, lines)),
            Err(why) => draft.unmatched(Origin { parameter: "postscreen_dnsbl_sites", value: site }, why),
        }
    }
    let mut conditions = conditions.to_vec();
    conditions.push(format!("dnslist_weight = {{ at_least = {threshold} }}"));
    let name = draft.name("on too many lists");
    let lines = format!(
        "name = {}\nstage = \"connect\"\nwhen = {}\nthen = {}",
        quoted(&name),
        super::policy::when(&conditions),
        answer(550, None, "Service unavailable; client [{source}] blocked by lists in DNS")
    );
    draft.block(origin, Block::Rule, &lines, &needs);
}

/// Clients that speak before they are greeted.
fn greeting(postfix: &Postfix, draft: &mut Draft, conditions: &[String], needs: &[(Block, String)]) {
    let action = postfix.value("postscreen_greet_action");
    let wait = postfix.value("postscreen_greet_wait");
    if !["enforce", "drop"].contains(&action.as_str()) {
        return;
    }
    let origin = Origin { parameter: "postscreen_greet_action", value: &action };
    let wait = seconds(&wait, 's').filter(|wait| *wait > 0).unwrap_or(6);
    let table = format!("wait = \"{wait}s\"");
    // Servers that cannot wait before their greeting refuse the table, and say so.
    if let Err(why) = accepted(&format!("[policy.pregreet]\n{table}\n")) {
        draft.unmatched(origin, why);
        return;
    }
    let mut needs = needs.to_vec();
    needs.push((Block::PreGreet, table));
    let mut conditions = conditions.to_vec();
    conditions.push("early_talker = true".to_owned());
    let name = draft.name("spoke before the greeting");
    let lines = format!(
        "name = {}\nstage = \"connect\"\nwhen = {}\nthen = {}",
        quoted(&name),
        super::policy::when(&conditions),
        answer(550, None, "You spoke before you were greeted")
    );
    draft.block(origin, Block::Rule, &lines, &needs);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_answers() {
        assert_eq!(answers("127.0.0.2"), Some(vec!["127.0.0.2".to_owned()]));
        assert_eq!(
            answers("127.0.0.[2..11;20]"),
            Some(vec!["127.0.0.2-127.0.0.11".to_owned(), "127.0.0.20".to_owned()])
        );
        assert_eq!(answers("127.0.[0..3].[2..11]"), None);
    }
}
