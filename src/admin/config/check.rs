//! What can be wrong with a configuration beyond its grammar, and on which line that stands.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use directory::EmailAddress;
use toml::de::DeTable;

use super::outbound::networks_fault;
use super::{Config, ListenAddress};
use crate::limits::{
    FRAME_ROOM_BYTES, FRESH_BYTES_MIN, MESSAGE_BYTES_MIN, RECIPIENTS_MIN, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, SEGMENT_BYTES_UNIT, SLOW_OPERATIONS_MAX,
};

/// The place in the text, if the text names it, and the words.
pub(super) type Fault = (Option<Range<usize>>, String);

/// Where a setting such as `server.cpus` has its value in the text.
fn place(text: &str, setting: &str) -> Option<Range<usize>> {
    let (table, key) = setting.split_once('.')?;
    let document = DeTable::parse(text).ok()?;
    let table = document.get_ref().get(table)?.get_ref().as_table()?;
    table.get(key).map(toml::Spanned::span)
}

/// A fault of one setting.
pub(super) fn at(text: &str, setting: &str, remedy: &str) -> Fault {
    (place(text, setting), format!("{setting} {remedy}"))
}

impl Config {
    /// The first thing that is wrong beyond the grammar.
    pub(super) fn fault(&self, text: &str) -> Option<Fault> {
        self.addresses_fault()
            .or_else(|| self.server_fault(text))
            .or_else(|| self.limits_fault(text))
            .or_else(|| self.store_fault(text))
            .or_else(|| self.metrics_fault())
            .or_else(|| self.dns_fault(text))
            .or_else(|| self.outbound.fault().map(|(span, message)| (Some(span), message)))
            .or_else(|| self.reports.fault().map(|(span, message)| (Some(span), message)))
            .or_else(|| self.reports_fault())
            .or_else(|| self.mta_sts.fault().map(|(span, message)| (Some(span), message)))
            .or_else(|| super::filters::fault(&self.filter).map(|(span, message)| (Some(span), message)))
    }

    /// A rule that sends mail by a route that there is not would do something else than it says.
    pub(super) fn routes_fault(&self) -> Option<Fault> {
        let is_known = |name: &str| self.outbound.route.iter().any(|route| route.name.get_ref() == name);
        let name = self.policy.unknown_route(is_known)?;
        Some((None, format!("mailflow.rule: there is no [[outbound.route]] of the name {name:?}")))
    }

    /// What is published and not served would lose reports.
    fn reports_fault(&self) -> Option<Fault> {
        let https = &self.reports.https;
        let is_deaf = !https.get_ref().is_empty() && self.listen.https.is_empty();
        let message = "reports.https needs listen.https: nothing would take what is posted there";
        is_deaf.then(|| (Some(https.span()), message.to_owned()))
    }

    fn addresses_fault(&self) -> Option<Fault> {
        self.spanned_addresses().find_map(|(_, address)| {
            let message = parse_address(address.get_ref()).err()?;
            Some((Some(address.span()), message))
        })
    }

    fn server_fault(&self, text: &str) -> Option<Fault> {
        let server = &self.server;
        if server.hostname.is_empty() || server.hostname.contains(char::is_whitespace) {
            return Some(at(text, "server.hostname", "must be the server's name in DNS"));
        }
        if let Err(message) = parse_cpus(&server.cpus) {
            return Some(at(text, "server.cpus", &message));
        }
        if !server.default_domain.is_empty()
            && EmailAddress::parse(&format!("x@{}", server.default_domain)).is_err()
        {
            return Some(at(text, "server.default_domain", "must be a domain, such as \"example.org\""));
        }
        if !server.postmaster.is_empty() && EmailAddress::parse(&server.postmaster).is_err() {
            let remedy = "must be an e-mail address, such as \"postmaster@example.org\"";
            return Some(at(text, "server.postmaster", remedy));
        }
        if parse_mode(&self.listen.unix_socket_mode).is_none() {
            let remedy = "must be a file's mode in octal, such as \"0660\"";
            return Some(at(text, "listen.unix_socket_mode", remedy));
        }
        let listen = &self.listen;
        let fault = networks_fault("listen.proxy_from", &listen.proxy_from);
        let fault = fault.or_else(|| networks_fault("listen.xclient_from", &listen.xclient_from));
        fault.map(|(span, message)| (Some(span), message))
    }

    fn limits_fault(&self, text: &str) -> Option<Fault> {
        let limits = &self.limits;
        let least = [
            ("limits.message_bytes_max", *limits.message_bytes_max.get_ref(), MESSAGE_BYTES_MIN),
            ("limits.recipients_max", limits.recipients_max, RECIPIENTS_MIN),
            ("limits.messages_per_minute_max", limits.messages_per_minute_max as usize, 1),
            ("limits.connections_max", limits.connections_max, 1),
            ("limits.connections_per_source_max", limits.connections_per_source_max, 1),
            ("store.fresh_bytes_max", self.store.fresh_bytes_max, FRESH_BYTES_MIN),
        ];
        let (setting, _, least) = least.into_iter().find(|(_, value, least)| value < least)?;
        Some(at(text, setting, &format!("must be at least {least}")))
    }

    fn store_fault(&self, text: &str) -> Option<Fault> {
        if !(16..=1024).contains(self.store.partitions.get_ref()) {
            return Some(at(text, "store.partitions", "must be from 16 to 1024"));
        }
        let segment = *self.store.segment_bytes.get_ref();
        let is_whole = segment.is_multiple_of(SEGMENT_BYTES_UNIT);
        if !is_whole || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment) {
            let remedy = format!(
                "must be a multiple of {SEGMENT_BYTES_UNIT} from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
            );
            return Some(at(text, "store.segment_bytes", &remedy));
        }
        // A message is one frame of the log, with its rows, and a frame fits a segment.
        let largest = (segment as usize).saturating_sub(FRAME_ROOM_BYTES);
        let message = *self.limits.message_bytes_max.get_ref();
        if message <= largest {
            return self.content_fault(text);
        }
        // The one that stands in the file is the one to change.
        let is_set = |setting| place(text, setting).is_some();
        if is_set("store.segment_bytes") && !is_set("limits.message_bytes_max") {
            let least = (message + FRAME_ROOM_BYTES).next_multiple_of(SEGMENT_BYTES_UNIT as usize);
            let remedy = format!(
                "must be at least {least}, or limits.message_bytes_max, which is {message}, at most {largest}"
            );
            return Some(at(text, "store.segment_bytes", &remedy));
        }
        let remedy = format!(
            "must be at most {largest}, what a segment has room for: lower it, or raise store.segment_bytes"
        );
        Some(at(text, "limits.message_bytes_max", &remedy))
    }
}

impl Config {
    fn metrics_fault(&self) -> Option<Fault> {
        let (listen, kept) = (&self.metrics.listen, &self.metrics.slow_operations_max);
        if !listen.get_ref().is_empty() && listen.get_ref().parse::<SocketAddr>().is_err() {
            let remedy = "must be IP:PORT, such as \"127.0.0.1:9464\", or empty";
            return Some((Some(listen.span()), format!("metrics.listen {remedy}")));
        }
        let remedy = format!("metrics.slow_operations_max must be at most {SLOW_OPERATIONS_MAX}");
        (*kept.get_ref() > SLOW_OPERATIONS_MAX).then(|| (Some(kept.span()), remedy))
    }

    fn content_fault(&self, text: &str) -> Option<Fault> {
        // A quarter of it is kept for small messages.
        let least = self.limits.message_bytes_max.get_ref().saturating_mul(2);
        let remedy = format!("must be at least {least}, twice limits.message_bytes_max");
        (self.limits.content_bytes_max < least).then(|| at(text, "limits.content_bytes_max", &remedy))
    }
}

/// An address to listen on.
pub(super) fn parse_address(text: &str) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.starts_with('/') {
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        return Err(format!("{text:?}: the path of a Unix socket begins with /"));
    }
    text.parse::<SocketAddr>().map(ListenAddress::Tcp).map_err(|_| {
        format!("{text:?} is no address to listen on; write IP:PORT, such as \"0.0.0.0:25\", \"[::]:25\" or \"unix:/run/angarium/lmtp.sock\"")
    })
}

/// A file's mode, such as `0660`.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777)
}

/// `0-3,6` to numbers.
pub(crate) fn parse_cpus(list: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("{list:?} is no list of cores; write such as \"0-3,6\"");
    let mut cpus = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last || last > 4095 {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fault(text: &str) -> String {
        Config::parse(Path::new("a.toml"), text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        assert!(fault("[server]\nhostnam = \"x\"\n").starts_with("a.toml:2: unknown field"));
        let said = fault("[listen]\n\nimap = [\"127.0.0.1:143\", \"localhost\"]\n");
        assert!(
            said.starts_with("a.toml:3: \"localhost\" is no address") && said.contains("0.0.0.0:25"),
            "{said}"
        );
        assert_eq!(fault("[store]\npartitions = 7\n"), "a.toml:2: store.partitions must be from 16 to 1024");
        assert!(
            fault("[limits]\nmessage_bytes_max = 500000000\n")
                .starts_with("a.toml:2: limits.message_bytes_max")
        );
        assert!(
            fault("[server]\n\ncpus = \"3-1\"\n")
                .starts_with("a.toml:3: server.cpus \"3-1\" is no list of cores")
        );
        assert!(fault("[server\n").starts_with("a.toml:1:"));
    }

    #[test]
    fn settings_that_cannot_work_are_found_before_they_are_used() {
        let faults = [
            ("[server]\npostmaster = \"nonsense\"\n", "2: server.postmaster must be an e-mail address"),
            ("[server]\ndefault_domain = \"exa mple\"\n", "2: server.default_domain must be a domain"),
            ("[limits]\n\nrecipients_max = 0\n", "3: limits.recipients_max must be at least 100"),
            ("[limits]\ncontent_bytes_max = 1\n", "2: limits.content_bytes_max must be at least 104857600"),
            ("[limits]\nconnections_max = 0\n", "2: limits.connections_max must be at least 1"),
            ("[store]\nfresh_bytes_max = 0\n", "2: store.fresh_bytes_max must be at least"),
            ("[store]\nsegment_bytes = 67108865\n", "2: store.segment_bytes must be a multiple of 4096"),
            ("[store]\nsegment_bytes = 2147483648\n", "2: store.segment_bytes must be a multiple of 4096"),
            ("[store]\nsegment_bytes = 8388608\n", "2: store.segment_bytes must be at least 56623104"),
            ("[metrics]\nlisten = \"9464\"\n", "2: metrics.listen must be IP:PORT"),
            (
                "[metrics]\nslow_operations_max = 70000\n",
                "2: metrics.slow_operations_max must be at most 65536",
            ),
            ("[listen]\nunix_socket_mode = \"rw\"\n", "2: listen.unix_socket_mode must be a file's mode"),
            (
                "[listen]\nproxy_from = [\"192.0.2.0/33\"]\n",
                "2: listen.proxy_from: \"192.0.2.0/33\" is no network",
            ),
            ("[listen]\nxclient_from = [\"gw\"]\n", "2: listen.xclient_from: \"gw\" is no network"),
        ];
        for (text, words) in faults {
            let said = fault(text);
            assert!(said.starts_with(&format!("a.toml:{words}")), "{said}");
        }
        let both = "[store]\nsegment_bytes = 8388608\n[limits]\nmessage_bytes_max = 8000000\n";
        assert!(fault(both).starts_with("a.toml:4: limits.message_bytes_max must be at most 4194304"));
    }

    #[test]
    fn the_bounds_of_a_segment_are_the_engines() {
        let prepare = |segment_bytes| {
            let disk = storage_engine::Disk::simulated(&storage_engine::Simulated::instant());
            let options = storage_engine::Options { segment_bytes, ..storage_engine::Options::default() };
            storage_engine::prepare(&disk, &options, 1)
        };
        for good in [SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX] {
            assert!(prepare(good).is_ok());
        }
        for bad in [
            SEGMENT_BYTES_MIN - SEGMENT_BYTES_UNIT,
            SEGMENT_BYTES_MAX + SEGMENT_BYTES_UNIT,
            SEGMENT_BYTES_MIN + 1,
        ] {
            assert!(prepare(bad).is_err());
        }
    }

    #[test]
    fn core_lists_are_read() {
        assert_eq!(parse_cpus("0-2, 5"), Ok(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpus(""), Ok(vec![]));
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0660"), Some(0o660));
        assert_eq!(parse_mode("1777"), None);
        assert_eq!(parse_mode("0o660"), None);
    }
}
