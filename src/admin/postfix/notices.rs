//! What the postmaster is told, and return paths for each recipient.

use super::Postfix;
use super::draft::{Draft, Origin, list};
use super::lines::words;

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    if let Some(value) = postfix.changed("notify_classes") {
        let origin = Origin { parameter: "notify_classes", value: &value };
        let classes: Vec<String> = words(&value).iter().map(|word| word.to_ascii_lowercase()).collect();
        let ours = [("2bounce", "undeliverable"), ("bounce", "bounce"), ("delay", "delay")];
        let told = ours.iter().filter(|(class, _)| classes.iter().any(|one| one == class));
        draft.set(origin, "outbound", "tell_postmaster", &list(told.map(|(_, word)| word)));
        let others: Vec<&str> = classes
            .iter()
            .map(String::as_str)
            .filter(|class| !ours.iter().any(|(one, _)| one == class))
            .filter(|class| !["resource", "software"].contains(class))
            .collect();
        if !others.is_empty() {
            let origin = Origin { parameter: "notify_classes", value: &others.join(", ") };
            draft.unmatched(origin, "what else goes wrong is in the log and the metrics (docs/operate/monitor.md), and not mailed");
        }
    }
    for parameter in ["bounce_notice_recipient", "2bounce_notice_recipient", "delay_notice_recipient"] {
        if let Some(value) = postfix.changed(parameter) {
            let why = "notices go to server.postmaster: make that an alias of who reads them";
            draft.unmatched(Origin { parameter, value: &value }, why);
        }
    }
    for parameter in ["smtpd_authorized_verp_clients", "authorized_verp_clients"] {
        if let Some(value) = postfix.changed(parameter).filter(|value| !value.is_empty()) {
            let origin = Origin { parameter, value: &value };
            draft.set(origin, "outbound", "verp", "true");
            draft.unmatched(origin, "who may ask for it are your users, programs of this machine, and networks of outbound.relay_from: see that these clients are among them");
            break;
        }
    }
    if let Some(value) = postfix.changed("default_verp_delimiters") {
        let why = "they are + and = where the client names none: let it name others (XVERP=-=, docs/operate/bounces.md)";
        draft.unmatched(Origin { parameter: "default_verp_delimiters", value: &value }, why);
    }
}
