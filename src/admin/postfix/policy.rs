//! smtpd_*_restrictions, as rules of `[policy]`. Each list of Postfix has a stage of ours; what permits there ends the
//! stage here, so that the lists stay apart as they are in Postfix.

use super::Postfix;
use super::access;
use super::draft::{Block, Draft, Origin, list, quoted};
use super::lines::{unbraced, words};
use super::listen::{Role, servers};
use super::outbound::mynetworks;
use super::tables::Table;
use crate::limits::POSTFIX_RULE_NAME_CHARS_MAX;
use std::fmt::Write as _;

/// A list of Postfix, the stage of ours, and the word of the checks that a bare table in it means.
const LISTS: [(&str, &str, &str); 8] = [
    ("smtpd_client_restrictions", "connect", "client"),
    ("smtpd_helo_restrictions", "helo", "helo"),
    ("smtpd_sender_restrictions", "mail", "sender"),
    ("smtpd_relay_restrictions", "rcpt", "recipient"),
    ("smtpd_recipient_restrictions", "rcpt", "recipient"),
    ("smtpd_data_restrictions", "data", "client"),
    ("smtpd_end_of_data_restrictions", "data", "client"),
    ("smtpd_etrn_restrictions", "", "etrn"),
];

/// Lists after which another one of the same stage comes: what permits in them must not end the stage.
const FIRST_OF_TWO: [&str; 2] = ["smtpd_relay_restrictions", "smtpd_data_restrictions"];

/// Where a rule is made.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    pub(super) parameter: &'a str,
    pub(super) stage: &'static str,
    /// What a bare table means here.
    pub(super) usual_check: &'a str,
    /// Conditions that every rule has: the listeners, the keys of an access table that led here.
    pub(super) conditions: Vec<String>,
    /// Whether what permits is kept as a condition of the rules behind it, instead of a rule.
    pub(super) is_exempting: bool,
    /// How deep restriction classes lie in each other.
    pub(super) depth: usize,
}

/// A rule that is not yet written.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) stage: &'static str,
    pub(super) conditions: Vec<String>,
    /// TOML of `then`.
    pub(super) then: String,
    pub(super) needs: Vec<(Block, String)>,
    /// The words of Postfix.
    pub(super) from: String,
}

impl Rule {
    fn permits(&self) -> bool {
        self.then == "\"accept\""
    }

    fn lines(&self, name: &str) -> String {
        let mut lines = format!("name = {}\nstage = \"{}\"", quoted(name), self.stage);
        if !self.conditions.is_empty() {
            let _never_fails = write!(lines, "\nwhen = {}", when(&self.conditions));
        }
        lines + &format!("\nthen = {}", self.then)
    }
}

/// A table of conditions; of those of one key each has a table of its own.
pub(super) fn when(conditions: &[String]) -> String {
    let key = |condition: &String| condition.split(' ').next().unwrap_or_default().to_owned();
    let mut keys: Vec<String> = conditions.iter().map(key).collect();
    keys.sort();
    keys.dedup();
    if keys.len() == conditions.len() {
        return format!("{{ {} }}", conditions.join(", "));
    }
    let tables: Vec<String> = conditions.iter().map(|condition| format!("{{ {condition} }}")).collect();
    format!("{{ all = [{}] }}", tables.join(", "))
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    tls(postfix, draft);
    for (parameter, stage, check) in LISTS {
        if stage.is_empty() {
            if let Some(value) = postfix.changed(parameter) {
                draft.settled(Origin { parameter, value: &value }, "there is no ETRN");
            }
            continue;
        }
        for (value, listeners) in lists(postfix, parameter) {
            let mut conditions = Vec::new();
            if let Some(listeners) = &listeners {
                conditions.push(format!("listener = {}", list(listeners)));
            }
            let is_exempting = FIRST_OF_TWO.contains(&parameter);
            let scope = Scope { parameter, stage, usual_check: check, conditions, is_exempting, depth: 0 };
            let is_submission = listeners.as_ref().is_some_and(|all| !all.contains(&"smtp"));
            let rules = rules(postfix, draft, &scope, &value, is_submission);
            write(draft, parameter, rules);
        }
    }
}

/// The values of a list, each with its listeners; `None` is all that there are.
fn lists(postfix: &Postfix, parameter: &str) -> Vec<(String, Option<Vec<&'static str>>)> {
    let servers = servers(postfix);
    let mut found: Vec<(String, Vec<&'static str>)> = Vec::new();
    let mut count = 0;
    for role in Role::ALL {
        // postscreen has no restrictions: what it hands on to has them.
        let service = servers.iter().find(|(one, service)| *one == role && service.command == "smtpd");
        let Some((_, service)) = service else { continue };
        count += 1;
        let value = postfix.own(service, parameter);
        match found.iter_mut().find(|(one, _)| words(one) == words(&value)) {
            Some((_, listeners)) => listeners.push(role.key()),
            None => found.push((value, vec![role.key()])),
        }
    }
    found.into_iter().map(|(value, all)| (value, (all.len() < count).then_some(all))).collect()
}

/// The rules of a list; on submission everybody has logged in, so that nothing behind `permit_sasl_authenticated` counts.
fn rules(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    value: &str,
    is_submission: bool,
) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    // Conditions, and what they need.
    let mut exempt: Vec<(String, Vec<(Block, String)>)> = Vec::new();
    let mut items = words(value).into_iter().peekable();
    while let Some(item) = items.next() {
        let name = item.to_ascii_lowercase();
        if is_submission && name == "permit_sasl_authenticated" {
            break;
        }
        let argument = takes_argument(&name).then(|| items.next().unwrap_or_default());
        for mut rule in restriction(postfix, draft, scope, &name, argument.unwrap_or_default()) {
            if !rule.permits() || !scope.is_exempting {
                for (condition, needs) in &exempt {
                    rule.conditions.push(condition.clone());
                    rule.needs.extend(needs.iter().cloned());
                }
                rules.push(rule);
                continue;
            }
            let own: Vec<String> =
                rule.conditions.iter().filter(|one| !scope.conditions.contains(one)).cloned().collect();
            exempt.push((format!("not = {}", when(&own)), rule.needs));
        }
    }
    // What permits at the end of a list changes nothing.
    while rules.last().is_some_and(Rule::permits) {
        rules.pop();
    }
    rules
}

fn write(draft: &mut Draft, parameter: &str, rules: Vec<Rule>) {
    for rule in rules {
        let short: String = rule.name.chars().take(POSTFIX_RULE_NAME_CHARS_MAX).collect();
        let name = draft.name(&short);
        let origin = Origin { parameter, value: &rule.from };
        draft.block(origin, Block::Rule, &rule.lines(&name), &rule.needs);
    }
}

fn takes_argument(name: &str) -> bool {
    let first = ["check_", "reject_rbl", "reject_rhsbl", "permit_dnswl", "permit_rhswl"];
    first.iter().any(|begin| name.starts_with(begin))
        || ["reject_maps_rbl_domain", "sleep", "warn_if_reject"].contains(&name)
}

/// One restriction and its argument.
pub(super) fn restriction(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    name: &str,
    argument: &str,
) -> Vec<Rule> {
    let from = format!("{name} {argument}").trim_end().to_owned();
    let origin = Origin { parameter: scope.parameter, value: &from };
    let make = |rule_name: &str, stage: &'static str, condition: Option<String>, then: String| {
        let mut conditions = scope.conditions.clone();
        conditions.extend(condition);
        let stage = later(scope.stage, stage);
        vec![Rule {
            name: rule_name.to_owned(),
            stage,
            conditions,
            then,
            needs: Vec::new(),
            from: from.clone(),
        }]
    };
    let accept = || "\"accept\"".to_owned();
    match name {
        "permit" => make("permit", "", None, accept()),
        "permit_sasl_authenticated" => {
            make("who has logged in", "", Some("authenticated = true".to_owned()), accept())
        }
        "permit_mynetworks" => {
            let networks = mynetworks(postfix, draft);
            let mut rules =
                make("our networks", "", Some("source = \"list:mynetworks\"".to_owned()), accept());
            let entries = format!("name = \"mynetworks\"\nentries = {}", list(networks));
            for rule in &mut rules {
                rule.needs.push((Block::List, entries.clone()));
            }
            rules
        }
        "reject" => make("reject", "", None, refusal(postfix, "reject_code", "Access denied")),
        "defer" => make("defer", "", None, refusal(postfix, "defer_code", "Try again later")),
        "sleep" => make("sleep", "", None, format!("{{ tarpit = \"{}s\" }}", argument.trim_end_matches('s'))),
        _ if name.starts_with("reject_rbl")
            || name.starts_with("reject_rhsbl")
            || name.starts_with("permit_dnswl")
            || name.starts_with("permit_rhswl") =>
        {
            super::postscreen::listed(postfix, draft, scope, name, argument)
        }
        "check_policy_service" => policy_service(draft, scope, argument),
        "reject_multi_recipient_bounce" => make(
            "bounces to many",
            "rcpt",
            Some("sender = \"<>\", recipients = { above = 1 }".to_owned()),
            refusal(postfix, "multi_recipient_bounce_reject_code", "Bounces have one recipient"),
        ),
        _ if name.starts_with("check_") => access::check(postfix, draft, scope, name, argument),
        _ if name.contains(':') => {
            access::check(postfix, draft, scope, &format!("check_{}_access", scope.usual_check), name)
        }
        _ => match about_names(postfix, name) {
            Some((rule_name, stage, condition, then)) => make(rule_name, stage, Some(condition), then),
            None => class_or_nothing(postfix, draft, scope, name, origin),
        },
    }
}

/// Restrictions about the names that a client has or says.
fn about_names(postfix: &Postfix, name: &str) -> Option<(&'static str, &'static str, String, String)> {
    let refusal = |code: &str, text: &str| refusal(postfix, code, text);
    let (rule, stage, condition, then) = match name {
        "reject_unknown_client_hostname" | "reject_unknown_client" => (
            "unknown client",
            "",
            "not = { iprev = [\"pass\", \"temperror\"] }",
            refusal("unknown_client_reject_code", "Cannot find your hostname, [{source}]"),
        ),
        "reject_unknown_reverse_client_hostname" => (
            "no reverse name",
            "",
            "has_reverse_name = false",
            refusal("unknown_client_reject_code", "Cannot find your reverse hostname, [{source}]"),
        ),
        "reject_non_fqdn_helo_hostname" | "reject_non_fqdn_hostname" => (
            "HELO without a domain",
            "helo",
            "not = { any = [{ helo = \"*.*\" }, { helo_is_address = true }] }",
            refusal("non_fqdn_reject_code", "Helo command rejected: need fully-qualified hostname"),
        ),
        "reject_non_fqdn_sender" => (
            "sender without a domain",
            "mail",
            "not = { any = [{ sender_domain = \"*.*\" }, { sender = \"<>\" }] }",
            refusal("non_fqdn_reject_code", "Sender address rejected: need fully-qualified address"),
        ),
        "reject_non_fqdn_recipient" => (
            "recipient without a domain",
            "rcpt",
            "not = { recipient_domain = \"*.*\" }",
            refusal("non_fqdn_reject_code", "Recipient address rejected: need fully-qualified address"),
        ),
        "reject_plaintext_session" => (
            "not encrypted",
            "mail",
            "tls = false",
            refusal("plaintext_reject_code", "Session encryption is required"),
        ),
        _ => return None,
    };
    Some((rule, stage, condition.to_owned(), then))
}

/// A class of smtpd_restriction_classes, what is so anyway, or what has no counterpart.
fn class_or_nothing(
    postfix: &Postfix,
    draft: &mut Draft,
    scope: &Scope<'_>,
    name: &str,
    origin: Origin<'_>,
) -> Vec<Rule> {
    let classes = postfix.value("smtpd_restriction_classes");
    if words(&classes).iter().any(|class| class.eq_ignore_ascii_case(name)) && scope.depth < 10 {
        let value = postfix.value(name);
        let scope = Scope { depth: scope.depth + 1, ..scope.clone() };
        return rules(postfix, draft, &scope, &value, false);
    }
    match super::known::restriction(name) {
        Some((true, why)) => draft.settled(origin, why),
        Some((false, why)) => draft.unmatched(origin, why),
        None => draft.unmatched(
            origin,
            "this restriction is not known here: see whether a rule can say it (docs/operate/rules.md)",
        ),
    }
    Vec::new()
}

/// The stage of a list, or a later one that knows enough.
pub(super) fn later(stage: &'static str, needed: &'static str) -> &'static str {
    const ORDER: [&str; 5] = ["connect", "helo", "mail", "rcpt", "data"];
    let place = |one: &str| ORDER.iter().position(|stage| *stage == one).unwrap_or(0);
    if place(needed) > place(stage) { needed } else { stage }
}

/// `then` of a refusal with the code of a parameter.
pub(super) fn refusal(postfix: &Postfix, parameter: &str, text: &str) -> String {
    let code = postfix.value(parameter).parse::<u16>().ok().filter(|code| (400..600).contains(code));
    let usual = if parameter.starts_with("defer") { 450 } else { 554 };
    answer(code.unwrap_or(usual), None, text)
}

/// `then` of a refusal: code, enhanced code and a text that may have our places in braces.
pub(super) fn answer(code: u16, enhanced: Option<&str>, text: &str) -> String {
    let word = if code < 500 { "defer" } else { "reject" };
    let usual = if code < 500 { "4.7.1" } else { "5.7.1" };
    format!(
        "{{ {word} = {{ code = {code}, enhanced = {}, text = {} }} }}",
        quoted(enhanced.unwrap_or(usual)),
        quoted(text)
    )
}

/// Servers that are asked about policy: those that greylist or look at SPF have a counterpart.
fn policy_service(draft: &mut Draft, scope: &Scope<'_>, argument: &str) -> Vec<Rule> {
    let from = format!("check_policy_service {argument}");
    let address = words(unbraced(argument)).first().copied().unwrap_or_default().to_ascii_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| address.contains(mark));
    let rule = |name: &str, stage: &'static str, condition: &str, then: &str| {
        let mut conditions = scope.conditions.clone();
        conditions.push(condition.to_owned());
        let stage = later(scope.stage, stage);
        vec![Rule {
            name: name.to_owned(),
            stage,
            conditions,
            then: then.to_owned(),
            needs: Vec::new(),
            from: from.clone(),
        }]
    };
    if has(&["postgrey", "sqlgrey", ":10023", ":2501", "gld", "greylist"]) && scope.stage != "data" {
        return rule("greylisting", "rcpt", "authenticated = false", "\"greylist\"");
    }
    if has(&["spf"]) {
        let then = answer(550, Some("5.7.23"), "SPF does not allow {source} to send for {sender}");
        return rule("SPF", "mail", "authenticated = false, spf = \"fail\"", &then);
    }
    let why = if has(&["12340", "quota"]) {
        "accounts have quotas: a full mailbox is refused without asking"
    } else if has(&["srs", "mta-sts", "dovecot"]) {
        "Angarium does not ask it"
    } else {
        "servers of Postfix's policy protocol are not asked: write what it decides as rules, limits and greylisting of [policy] (docs/operate/rules.md), or as a hook ([[filter]])"
    };
    draft.unmatched(Origin { parameter: scope.parameter, value: &from }, why);
    Vec::new()
}

/// TLS that is demanded, or not offered, on port 25.
fn tls(postfix: &Postfix, draft: &mut Draft) {
    let servers = servers(postfix);
    for (_, service) in servers.iter().filter(|(role, _)| *role != Role::Smtp) {
        if let level @ "encrypt" = postfix.own(service, "smtpd_tls_security_level").as_str() {
            let parameter = format!("smtpd_tls_security_level ({} of master.cf)", service.title());
            draft.settled(Origin { parameter: &parameter, value: level }, "users log in over TLS only");
        }
    }
    let Some((_, service)) =
        servers.iter().find(|(role, service)| *role == Role::Smtp && service.command == "smtpd")
    else {
        return;
    };
    let level = postfix.own(service, "smtpd_tls_security_level");
    let enforces = postfix.own(service, "smtpd_enforce_tls").eq_ignore_ascii_case("yes");
    let origin = Origin { parameter: "smtpd_tls_security_level", value: &level };
    match level.as_str() {
        _ if enforces || level == "encrypt" => {
            let then = answer(530, Some("5.7.0"), "Must issue a STARTTLS command first");
            let rule = Rule {
                name: "TLS is needed".to_owned(),
                stage: "mail",
                conditions: vec!["listener = [\"smtp\"]".to_owned(), "tls = false".to_owned()],
                then,
                needs: Vec::new(),
                from: level.clone(),
            };
            write(draft, "smtpd_tls_security_level", vec![rule]);
        }
        "none" => draft.unmatched(origin, "STARTTLS is always offered"),
        _ => {}
    }
}

/// The answers of an access table that is used for all of its keys alike.
pub(super) fn is_constant(table: &Table) -> Option<&str> {
    match table {
        Table::Always(value) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_one_key_stand_apart() {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(when(&texts(&["tls = false", "helo = \"x\""])), "{ tls = false, helo = \"x\" }");
        assert_eq!(
            when(&texts(&["not = { a }", "not = { b }"])),
            "{ all = [{ not = { a } }, { not = { b } }] }"
        );
    }

    #[test]
    fn stages_only_get_later() {
        assert_eq!(later("connect", "mail"), "mail");
        assert_eq!(later("data", "mail"), "data");
        assert_eq!(later("helo", ""), "helo");
    }
}
