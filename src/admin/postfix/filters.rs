//! Milters and content filters.

use super::Postfix;
use super::draft::{Block, Draft, Origin, list, quoted};
use super::lines::{unbraced, words};
use super::listen::{Role, servers};
use super::master::Service;
use super::numbers::seconds;
use std::fmt::Write as _;

/// A milter and the listeners whose mail it sees.
struct Milter {
    /// As it stands in main.cf.
    word: String,
    address: String,
    on_failure: String,
    connect: Option<String>,
    content: Option<String>,
    listeners: Vec<&'static str>,
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    let mut milters: Vec<Milter> = Vec::new();
    for (role, service) in servers(postfix) {
        if service.command == "postscreen" {
            continue;
        }
        let value = postfix.own(service, "smtpd_milters");
        for item in words(&value) {
            // Ours have one list for both kinds of submission.
            let listener = if role == Role::Smtp { "smtp" } else { "submission" };
            add(postfix, draft, &mut milters, (item, "smtpd_milters", Some(service)), listener);
        }
    }
    let local = postfix.value("non_smtpd_milters");
    for item in words(&local) {
        add(postfix, draft, &mut milters, (item, "non_smtpd_milters", None), "submission");
    }
    for milter in milters {
        write(draft, &milter);
    }
    for parameter in ["content_filter", "smtpd_proxy_filter"] {
        let mut values = vec![postfix.value(parameter)];
        values.extend(servers(postfix).iter().map(|(_, service)| postfix.own(service, parameter)));
        values.retain(|value| !value.is_empty());
        values.dedup();
        for value in values {
            let why = "mail is not sent through another server to be looked at: ask rspamd, clamd or a milter of that filter by [[filter]] (docs/operate/filters.md)";
            draft.unmatched(Origin { parameter, value: &value }, why);
        }
    }
}

/// Adds a milter, or a listener to one that is there.
fn add(
    postfix: &Postfix,
    draft: &mut Draft,
    milters: &mut Vec<Milter>,
    place: (&str, &str, Option<&Service>),
    listener: &'static str,
) {
    let (item, parameter, service) = place;
    let mut parts = words(unbraced(item)).into_iter();
    let Some(word) = parts.next() else { return };
    let origin = Origin { parameter, value: item };
    let Some(address) = address(postfix, service, word) else {
        draft.unmatched(origin, "its address is none of inet:HOST:PORT and unix:/PATH: write a [[filter]]");
        return;
    };
    let mut milter = Milter {
        word: item.to_owned(),
        address,
        on_failure: service.map_or_else(
            || postfix.value("milter_default_action"),
            |service| postfix.own(service, "milter_default_action"),
        ),
        connect: postfix.changed("milter_connect_timeout"),
        content: postfix.changed("milter_content_timeout"),
        listeners: vec![listener],
    };
    for option in parts {
        match option.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("default_action", value)) => value.clone_into(&mut milter.on_failure),
            Some(("connect_timeout", value)) => milter.connect = Some(value.to_owned()),
            Some(("content_timeout", value)) => milter.content = Some(value.to_owned()),
            _ => draft.unmatched(Origin { parameter, value: option }, "a milter has no such setting here"),
        }
    }
    match milters.iter_mut().find(|one| one.address == milter.address) {
        Some(there) if !there.listeners.contains(&listener) => there.listeners.push(listener),
        Some(_) => {}
        None => milters.push(milter),
    }
}

/// `inet:HOST:PORT` or `unix:/PATH`.
fn address(postfix: &Postfix, service: Option<&Service>, word: &str) -> Option<String> {
    let (kind, rest) = word.split_once(':')?;
    match kind {
        "unix" | "local" => {
            // Without a service it is cleanup that asks, which runs as smtpd does.
            let cleanup = postfix.services.iter().find(|service| service.command == "cleanup");
            Some(format!("unix:{}", postfix.path(service.or(cleanup), rest)))
        }
        // `inet:8891@host` is the form of sendmail.
        "inet" | "inet6" => match rest.split_once('@') {
            Some((port, host)) => Some(format!("inet:{host}:{port}")),
            None => Some(format!("inet:{rest}")),
        },
        _ => None,
    }
}

fn write(draft: &mut Draft, milter: &Milter) {
    let origin = Origin { parameter: "smtpd_milters", value: &milter.word };
    let wanted = milter
        .address
        .rsplit(['/', ':'])
        .find(|part| part.chars().any(char::is_alphabetic))
        .unwrap_or("milter");
    let wanted: String = wanted
        .trim_end_matches(".sock")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(40)
        .collect();
    let name = draft.name(&format!("milter-{wanted}")).replace(' ', "-");
    let on_failure = match milter.on_failure.as_str() {
        "accept" => "accept",
        "reject" => "reject",
        "" | "tempfail" => "defer",
        other => {
            let why = "a filter that does not answer has no such consequence: the message is deferred ([[filter]] on_failure)";
            draft.unmatched(Origin { parameter: "milter_default_action", value: other }, why);
            "defer"
        }
    };
    let mut lines = format!(
        "kind = \"milter\"\nname = {}\naddress = {}\nlisteners = {}\non_failure = \"{on_failure}\"",
        quoted(&name),
        quoted(&milter.address),
        list(&milter.listeners)
    );
    for (key, value, parameter) in [
        ("connect_s", &milter.connect, "milter_connect_timeout"),
        ("timeout_s", &milter.content, "milter_content_timeout"),
    ] {
        let Some(value) = value else { continue };
        match seconds(value, 's').filter(|seconds| (1..=540).contains(seconds)) {
            Some(seconds) => {
                let _never_fails = write!(lines, "\n{key} = {seconds}");
            }
            None => {
                draft.unmatched(Origin { parameter, value }, format!("[[filter]] {key} is from 1 to 540"));
            }
        }
    }
    draft.block(origin, Block::Filter, &lines, &[]);
}
