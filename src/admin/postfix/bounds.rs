//! Limits of transports as `[[outbound.destination]]`: of those that transport_maps binds to domains, and of all mail.

use std::collections::BTreeMap;

use super::Postfix;
use super::draft::{Block, Draft, Origin, list};
use super::numbers::seconds;

/// What transports lead to: domains or hosts by the name of the transport. `None` is what no domain says.
pub(super) type Bound = BTreeMap<String, Vec<Option<String>>>;

/// Writes the bounds of transports, then those of everything.
pub(super) fn translate(postfix: &Postfix, bound: &Bound, draft: &mut Draft) {
    let general = rate(postfix, draft, &["smtp_destination_rate_delay", "default_destination_rate_delay"]);
    for (transport, places) in bound.iter().filter(|(name, _)| *name != "smtp") {
        of_transport(postfix, draft, transport, places, general.as_ref());
    }
    if let Some((parameter, value, Some(most))) = general {
        let lines = format!("domains = [\"*\"]\nmessages_per_minute_max = {most}");
        draft.block(Origin { parameter: &parameter, value: &value }, Block::Destination, &lines, &[]);
    }
}

/// A parameter, its value and the messages in a minute; none is no bound.
type Rate = (String, String, Option<u64>);

fn of_transport(
    postfix: &Postfix,
    draft: &mut Draft,
    transport: &str,
    places: &[Option<String>],
    general: Option<&Rate>,
) {
    let (limit, delay) =
        (format!("{transport}_destination_concurrency_limit"), format!("{transport}_destination_rate_delay"));
    let own = rate(postfix, draft, &[&delay]);
    let concurrency = postfix.changed(&limit);
    let mut from: Vec<(&str, &str)> =
        own.iter().map(|(name, value, _)| (name.as_str(), value.as_str())).collect();
    from.extend(concurrency.iter().map(|value| (limit.as_str(), value.as_str())));
    let Some((parameter, value)) = from.first().copied() else { return };
    let shown =
        from.iter().skip(1).fold(value.to_owned(), |all, (name, value)| format!("{all}, {name} = {value}"));
    let origin = Origin { parameter, value: &shown };
    let Some(places) = places.iter().cloned().collect::<Option<Vec<String>>>() else {
        draft.unmatched(origin, "this transport is taken for single addresses or by sender, and [[outbound.destination]] has bounds of whole domains: see connections_max and messages_per_minute_max of [[outbound.pool]]");
        return;
    };
    let mut lines = format!("domains = {}", list(&places));
    if let Some(value) = &concurrency {
        match value.parse::<u64>() {
            Ok(most @ 1..) => lines.extend([format!("\nconnections_max = {most}")]),
            _ => draft.unmatched(
                origin,
                "there is no destination without a limit: set outbound.destination.connections_max",
            ),
        }
    }
    let per_minute = own.as_ref().or(general).and_then(|(_, _, most)| *most);
    lines.extend(per_minute.map(|most| format!("\nmessages_per_minute_max = {most}")));
    if lines.contains('\n') {
        draft.block(origin, Block::Destination, &lines, &[]);
    }
}

/// The first of these that is set, as messages in a minute.
fn rate(postfix: &Postfix, draft: &mut Draft, parameters: &[&str]) -> Option<Rate> {
    let found = parameters.iter().find_map(|name| Some(((*name).to_owned(), postfix.changed(name)?)));
    let (parameter, value) = found?;
    let most = match seconds(&value, 's') {
        Some(0) => None,
        Some(delay @ 1..=60) => Some(60 / delay),
        _ => {
            let why = "one message a minute is the least that can be said: set messages_per_minute_max of an [[outbound.destination]]";
            draft.unmatched(Origin { parameter: &parameter, value: &value }, why);
            return None;
        }
    };
    Some((parameter, value, most))
}
