//! Sizes, times and limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Postfix;
use super::draft::{Block, Draft, Origin, quoted};
use super::lines::words;
use crate::limits::{
    CONTENT_BYTES_DEFAULT, FRAME_ROOM_BYTES, MESSAGE_BYTES_MIN, RECIPIENTS_MIN, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_UNIT,
};

/// A network as our configuration writes it: `[::1]/128` without brackets, IPv4 within IPv6 as IPv4, nothing behind its
/// length.
pub(super) fn network(text: &str) -> Option<String> {
    let (address, bits) = match text.rsplit_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let (address, bits) = match address {
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), bits) {
            (Some(v4), None) => (IpAddr::V4(v4), None),
            (Some(v4), Some(bits)) if bits >= 96 => (IpAddr::V4(v4), Some(bits - 96)),
            _ => (address, bits),
        },
        IpAddr::V4(_) => (address, bits),
    };
    let Some(bits) = bits else { return Some(address.to_string()) };
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(bits)?).unwrap_or(0);
            Some(format!("{}/{bits}", Ipv4Addr::from_bits(v4.to_bits() & mask)))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(bits)?).unwrap_or(0);
            Some(format!("{}/{bits}", Ipv6Addr::from_bits(v6.to_bits() & mask)))
        }
    }
}

/// Seconds of `300s`, `4h`, `5d` or, without a letter, of the parameter's own unit.
pub(super) fn seconds(text: &str, unit: char) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.chars().last()? {
        letter if letter.is_ascii_alphabetic() => (text.get(..text.len() - 1)?, letter.to_ascii_lowercase()),
        _ => (text, unit),
    };
    let unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    sizes(postfix, draft);
    lifetimes(postfix, draft);
    waits(postfix, draft);
    connections(postfix, draft);
    rates(postfix, draft);
}

fn sizes(postfix: &Postfix, draft: &mut Draft) {
    if let Some(value) = postfix.changed("message_size_limit") {
        let origin = Origin { parameter: "message_size_limit", value: &value };
        match value.parse::<usize>() {
            Ok(bytes) if bytes >= MESSAGE_BYTES_MIN => message_bytes(draft, origin, bytes),
            _ => draft.unmatched(
                origin,
                format!("limits.message_bytes_max is from {MESSAGE_BYTES_MIN} bytes up: choose one"),
            ),
        }
    }
    for parameter in ["mailbox_size_limit", "virtual_mailbox_limit"] {
        if let Some(value) = postfix.changed(parameter) {
            let origin = Origin { parameter, value: &value };
            if value == "0" {
                draft.settled(origin, "accounts have no limit unless they are given a quota");
            } else {
                draft.unmatched(
                    origin,
                    format!("a quota is an account's: `angarium account set ADDRESS --quota {value}`"),
                );
            }
        }
    }
    if let Some(value) = postfix.changed("smtpd_recipient_limit") {
        let origin = Origin { parameter: "smtpd_recipient_limit", value: &value };
        match value.parse::<usize>() {
            Ok(count) if count >= RECIPIENTS_MIN => draft.set(origin, "limits", "recipients_max", &value),
            _ => draft.unmatched(origin, format!("a server has to take {RECIPIENTS_MIN} recipients; for fewer write a rule with `recipients`")),
        }
    }
}

fn message_bytes(draft: &mut Draft, origin: Origin<'_>, bytes: usize) {
    let mut all = vec![("limits", "message_bytes_max", bytes.to_string())];
    if bytes * 2 > CONTENT_BYTES_DEFAULT {
        all.push(("limits", "content_bytes_max", (bytes * 2).to_string()));
    }
    let segment = (bytes + FRAME_ROOM_BYTES).next_multiple_of(SEGMENT_BYTES_UNIT as usize);
    if segment > SEGMENT_BYTES_MAX as usize {
        let most = SEGMENT_BYTES_MAX as usize - FRAME_ROOM_BYTES;
        draft.unmatched(
            origin,
            format!(
                "a message may have {most} bytes at most, with store.segment_bytes = {SEGMENT_BYTES_MAX}"
            ),
        );
        return;
    }
    if segment > storage_engine::Options::default().segment_bytes as usize {
        all.push(("store", "segment_bytes", segment.to_string()));
    }
    draft.set_all(origin, &all);
}

fn lifetimes(postfix: &Postfix, draft: &mut Draft) {
    let queue = postfix.value("maximal_queue_lifetime");
    if let Some(value) = postfix.changed("maximal_queue_lifetime") {
        let origin = Origin { parameter: "maximal_queue_lifetime", value: &value };
        match seconds(&value, 'd').filter(|seconds| *seconds > 0) {
            Some(seconds) => {
                draft.set(origin, "outbound", "expire_hours", &seconds.div_ceil(3600).to_string());
            }
            None => draft.unmatched(origin, "outbound.expire_hours is at least 1"),
        }
    }
    if let Some(value) = postfix.changed("bounce_queue_lifetime") {
        let origin = Origin { parameter: "bounce_queue_lifetime", value: &value };
        if seconds(&value, 'd') == seconds(&queue, 'd') {
            draft.settled(origin, "notices wait as long as other mail");
        } else {
            draft.unmatched(origin, "notices wait as long as other mail: outbound.expire_hours is for both");
        }
    }
    if let Some(value) = postfix.changed("delay_warning_time") {
        let origin = Origin { parameter: "delay_warning_time", value: &value };
        match seconds(&value, 'h') {
            Some(seconds) => draft.set(origin, "outbound", "late_hours", &seconds.div_ceil(3600).to_string()),
            None => draft.unmatched(origin, "this is no time"),
        }
    }
}

/// Waits that double from the least to the most, as those of Postfix do.
fn waits(postfix: &Postfix, draft: &mut Draft) {
    let (least, most) = (postfix.value("minimal_backoff_time"), postfix.value("maximal_backoff_time"));
    let is_changed =
        ["minimal_backoff_time", "maximal_backoff_time"].map(|name| postfix.changed(name).is_some());
    if is_changed == [false, false] {
        return;
    }
    let value = format!("{least}, maximal_backoff_time = {most}");
    let origin = Origin { parameter: "minimal_backoff_time", value: &value };
    let (Some(least), Some(most)) = (seconds(&least, 's'), seconds(&most, 's')) else {
        draft.unmatched(origin, "these are no times: set outbound.retry_minutes");
        return;
    };
    let mut minutes = Vec::new();
    let mut wait = least.max(60);
    while wait < most {
        minutes.push(wait.div_ceil(60));
        wait = wait.saturating_mul(2);
    }
    minutes.push(most.max(60).div_ceil(60));
    let texts: Vec<String> = minutes.iter().map(ToString::to_string).collect();
    draft.set(origin, "outbound", "retry_minutes", &format!("[{}]", texts.join(", ")));
}

fn connections(postfix: &Postfix, draft: &mut Draft) {
    let general = postfix.changed("default_destination_concurrency_limit");
    let own = postfix.changed("smtp_destination_concurrency_limit");
    let found = own.map(|value| ("smtp_destination_concurrency_limit", value));
    let found = found.or_else(|| general.map(|value| ("default_destination_concurrency_limit", value)));
    if let Some((parameter, value)) = found {
        let origin = Origin { parameter, value: &value };
        match value.parse::<u64>() {
            Ok(1..) => draft.set(origin, "outbound", "connections_max", &value),
            _ => draft
                .unmatched(origin, "there is no destination without a limit: set outbound.connections_max"),
        }
    }
    if let Some(value) = postfix.changed("smtpd_client_connection_count_limit") {
        let origin = Origin { parameter: "smtpd_client_connection_count_limit", value: &value };
        match value.parse::<u64>() {
            Ok(1..) => draft.set(origin, "limits", "connections_per_source_max", &value),
            _ => {
                draft
                    .unmatched(origin, "there is always a limit: set limits.connections_per_source_max high");
            }
        }
    }
    if let Some(value) = postfix.changed("smtp_connection_reuse_count_limit") {
        let origin = Origin { parameter: "smtp_connection_reuse_count_limit", value: &value };
        match value.parse::<u32>() {
            Ok(1..) => draft.set(origin, "outbound", "messages_per_connection_max", &value),
            _ => draft.settled(origin, "there is a limit of 1000 messages for a connection"),
        }
    }
}

/// Limits on what one client may do in a time.
fn rates(postfix: &Postfix, draft: &mut Draft) {
    let unit = postfix.value("anvil_rate_time_unit");
    let exempt = exempt(postfix, draft);
    for (parameter, stage, what) in [
        ("smtpd_client_connection_rate_limit", "connect", "connections"),
        ("smtpd_client_message_rate_limit", "mail", "messages"),
        ("smtpd_client_recipient_rate_limit", "rcpt", "recipients"),
    ] {
        let Some(value) = postfix.changed(parameter) else { continue };
        let origin = Origin { parameter, value: &value };
        let every = seconds(&unit, 's').filter(|seconds| *seconds > 0);
        let (Ok(1..), Some(every)) = (value.parse::<u64>(), every) else {
            draft.unmatched(origin, "this is no number in a time: write a [[policy.limit]]");
            continue;
        };
        let name = draft.name(&format!("{what} of a client"));
        let limit = format!(
            "name = {0}\nper = \"source\"\nrate = {value}\nevery = \"{every}s\"\nnetwork_v4 = 32",
            quoted(&name)
        );
        let mut when = vec![format!("over_limit = {}", quoted(&name))];
        when.extend(
            (!exempt.is_empty()).then(|| format!("not = {{ source = {} }}", super::draft::list(&exempt))),
        );
        let text = format!("Too many {what} from {{source}}");
        let rule = format!(
            "name = {}\nstage = \"{stage}\"\nwhen = {{ {} }}\nthen = {{ defer = {{ code = 450, enhanced = \"4.7.1\", text = {} }} }}",
            quoted(&draft.name(&format!("too many {what}"))),
            when.join(", "),
            quoted(&text),
        );
        draft.block(origin, Block::Rule, &rule, &[(Block::Limit, limit)]);
    }
}

/// Clients that are not counted: `mynetworks` unless it says otherwise.
fn exempt(postfix: &Postfix, draft: &mut Draft) -> Vec<String> {
    if postfix.changed("smtpd_client_event_limit_exceptions").is_none() {
        return super::outbound::mynetworks(postfix, draft);
    }
    let value = postfix.value("smtpd_client_event_limit_exceptions");
    let mut found = Vec::new();
    for item in words(&value) {
        match network(item) {
            Some(network) => found.push(network),
            None => draft.unmatched(
                Origin { parameter: "smtpd_client_event_limit_exceptions", value: item },
                "only networks can be exempt: add the host's addresses to the rules of the limits",
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_as_ours() {
        for (text, ours) in [
            ("127.0.0.0/8", Some("127.0.0.0/8")),
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[::1]/128", Some("::1/128")),
            ("[2001:db8::]/32", Some("2001:db8::/32")),
            ("[::ffff:127.0.0.0]/104", Some("127.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("[::]/0", Some("::/0")),
            ("192.0.2.0/33", None),
            ("host.example.org", None),
        ] {
            assert_eq!(network(text).as_deref(), ours, "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("300s", 's'), Some(300));
        assert_eq!(seconds("5", 'd'), Some(5 * 86_400));
        assert_eq!(seconds("2w", 's'), Some(14 * 86_400));
        assert_eq!(seconds("", 's'), None);
        assert_eq!(seconds("soon", 's'), None);
    }
}
