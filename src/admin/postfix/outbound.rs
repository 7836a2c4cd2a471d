//! Mail that goes elsewhere: who may send it, by which host, and how that is protected.

use super::Postfix;
use super::draft::{Draft, Origin, list, quoted, word};
use super::lines::words;
use super::listen::{Role, servers};
use super::master::port_of;
use super::numbers::network;
use super::tables::Table;

/// The file that the password for the smarthost goes into.
const PASSWORD_FILE: &str = "/etc/angarium/smarthost.password";

/// A host to send to: `[mail.example.org]:587`, `example.org`, `[2001:db8::1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// In brackets: the host itself, and not the mail hosts of a domain.
    pub(super) is_host: bool,
}

impl NextHop {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (host, port, is_host) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None, true),
            Some((host, port)) => (host, Some(port.strip_prefix(':')?), true),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port), false),
                None => (text, None, false),
            },
        };
        let host = host.strip_prefix("ipv6:").or_else(|| host.strip_prefix("IPv6:")).unwrap_or(host);
        let port = match port {
            Some(port) => Some(port_of(port)?),
            None => None,
        };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, is_host })
    }

    /// `HOST:PORT`
    pub(super) fn with_port(&self, usual: u16) -> String {
        let port = self.port.unwrap_or(usual);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

pub(super) fn translate(postfix: &Postfix, draft: &mut Draft) {
    relay_from(postfix, draft);
    let transport = postfix.value("default_transport");
    let (kind, hop) = transport.split_once(':').unwrap_or((transport.as_str(), ""));
    let origin = Origin { parameter: "default_transport", value: &transport };
    match kind {
        "error" | "retry" | "discard" => draft.set(origin, "outbound", "enabled", "false"),
        _ if hop.is_empty() && super::ways::sends_by_smtp(postfix, kind) => {}
        _ => draft.unmatched(origin, "mail goes to the mail hosts of its domain, or by outbound.smarthost"),
    }
    smarthost(postfix, draft);
    protocols(postfix, draft);
}

/// The networks of `mynetworks`; what is no network is named.
pub(super) fn mynetworks(postfix: &Postfix, draft: &mut Draft) -> Vec<String> {
    let value = postfix.value("mynetworks");
    let style = postfix.value("mynetworks_style");
    if postfix.main.changed("mynetworks").is_none() && ["subnet", "class"].contains(&style.as_str()) {
        let why = "Postfix trusts the networks that this machine is in, which stand in no file: add them to outbound.relay_from if you want that";
        draft.unmatched(Origin { parameter: "mynetworks_style", value: &style }, why);
    }
    let mut found = Vec::new();
    for item in words(&value) {
        let origin = Origin { parameter: "mynetworks", value: item };
        if item.starts_with('!') {
            draft.unmatched(
                origin,
                "nothing can be taken out of outbound.relay_from: write the networks without it there",
            );
            continue;
        }
        let entries =
            if item.starts_with('[') { Ok(vec![item.to_owned()]) } else { postfix.files.items(item) };
        match entries {
            Ok(entries) => {
                for entry in entries {
                    match network(&entry) {
                        Some(network) => found.push(network),
                        None => draft.unmatched(
                            Origin { parameter: "mynetworks", value: &entry },
                            "only networks can be named in outbound.relay_from: write the host's addresses there",
                        ),
                    }
                }
            }
            Err(why) => draft.unmatched(origin, format!("{why}; add its networks to outbound.relay_from")),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|network| seen.insert(network.clone()));
    found
}

fn relay_from(postfix: &Postfix, draft: &mut Draft) {
    if let Some((parameter, value)) = forbidding(postfix) {
        draft.set(Origin { parameter, value: &value }, "outbound", "relay_from", "[]");
        return;
    }
    let networks = mynetworks(postfix, draft);
    let value = postfix.value("mynetworks");
    draft.set(Origin { parameter: "mynetworks", value: &value }, "outbound", "relay_from", &list(&networks));
}

/// The restrictions by which not even `mynetworks` may send to others without a login, if they are so.
fn forbidding(postfix: &Postfix) -> Option<(&'static str, String)> {
    let servers = servers(postfix);
    let (_, service) =
        servers.iter().find(|(role, service)| *role == Role::Smtp && service.command == "smtpd")?;
    let relay = postfix.own(service, "smtpd_relay_restrictions");
    let (parameter, value) = if words(&relay).is_empty() {
        ("smtpd_recipient_restrictions", postfix.own(service, "smtpd_recipient_restrictions"))
    } else {
        ("smtpd_relay_restrictions", relay)
    };
    let is_end = |word: &&str| {
        ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer"].contains(word)
    };
    let all = words(&value);
    let permits = all
        .iter()
        .take_while(|word| !is_end(word))
        .any(|word| ["permit_mynetworks", "permit"].contains(word));
    let ends = all.iter().any(is_end);
    (ends && !permits).then_some((parameter, value))
}

fn smarthost(postfix: &Postfix, draft: &mut Draft) {
    let value = postfix.value("relayhost");
    let level = tls_level(postfix);
    let hosts = words(&value);
    let Some(first) = hosts.first() else {
        everywhere(draft, postfix, &level);
        return;
    };
    let origin = Origin { parameter: "relayhost", value: &value };
    let Some(hop) = NextHop::parse(first) else {
        draft.unmatched(origin, "this is no host with a port: set outbound.smarthost");
        return;
    };
    if hosts.len() > 1 {
        draft.unmatched(origin, "there is one smarthost: the first was taken");
    }
    if !hop.is_host && hop.host.parse::<std::net::IpAddr>().is_err() {
        let why = "Postfix asks for the mail hosts (MX) of this name; a smarthost is a host: if the name has MX records, set outbound.smarthost to one of them";
        draft.unmatched(origin, why);
    }
    let is_wrapped = postfix.is_yes("smtp_tls_wrappermode");
    draft.set(origin, "outbound", "smarthost", &quoted(&hop.with_port(25)));
    let origin = Origin { parameter: "smtp_tls_security_level", value: &level };
    // What was never set stays at our usual value, which takes TLS where it is offered.
    if !level.is_empty() || is_wrapped {
        let tls = smarthost_tls(draft, is_wrapped, &level);
        draft.set(origin, "outbound", "smarthost_tls", &quoted(tls));
    }
    if postfix.is_yes("smtp_sasl_auth_enable") {
        login(postfix, draft, &hop, first);
    }
}

/// Our word for it; that it demands more than Postfix does is said.
pub(super) fn smarthost_tls(draft: &mut Draft, is_wrapped: bool, level: &str) -> &'static str {
    if ["encrypt", "fingerprint", "dane-only"].contains(&level) || is_wrapped {
        let why = "with this the smarthost's certificate has to be valid for its name as well; tls.authorities names others than the system's authorities";
        draft.unmatched(Origin { parameter: "smtp_tls_security_level", value: level }, why);
    }
    match (is_wrapped, level) {
        (true, _) => "implicit",
        (_, "none") => "never",
        (_, "" | "may" | "dane") => "if-offered",
        _ => "required",
    }
}

/// `smtp_tls_security_level`, or what older settings mean.
pub(super) fn tls_level(postfix: &Postfix) -> String {
    let level = postfix.value("smtp_tls_security_level");
    let (enforce, use_it) = (postfix.is_yes("smtp_enforce_tls"), postfix.is_yes("smtp_use_tls"));
    match (level.as_str(), enforce, use_it) {
        ("", true, _) => "encrypt".to_owned(),
        ("", _, true) => "may".to_owned(),
        _ => level,
    }
}

/// Without a smarthost TLS is used wherever it is offered, and more where DANE or MTA-STS say so.
fn everywhere(draft: &mut Draft, postfix: &Postfix, level: &str) {
    let Some(set) = postfix.changed("smtp_tls_security_level") else { return };
    let origin = Origin { parameter: "smtp_tls_security_level", value: &set };
    match level {
        "may" | "dane" => draft.settled(origin, "TLS is used where it is offered, and proven by DANE and MTA-STS"),
        "none" => draft.unmatched(origin, "TLS is used where other servers offer it; it cannot be turned off"),
        _ => draft.unmatched(origin, "TLS cannot be demanded of all servers: those with DANE or MTA-STS are held to it, others get mail without it if they offer none"),
    }
}

/// A login that `smtp_sasl_password_maps` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// The table that has it.
    item: String,
    key: String,
    pub(super) user: String,
}

impl Login {
    /// The one with the first of these keys; `remedy` says what to set where none can be found.
    pub(super) fn find(
        postfix: &Postfix,
        draft: &mut Draft,
        wanted: &[String],
        remedy: &str,
    ) -> Option<Self> {
        let spec = postfix.value("smtp_sasl_password_maps");
        let origin = Origin { parameter: "smtp_sasl_password_maps", value: &spec };
        let mut found = None;
        for item in words(&spec) {
            let login = |key: &String, value: &String| {
                let user = value.split_once(':').map_or(value.as_str(), |(user, _)| user);
                Self { item: item.to_owned(), key: key.clone(), user: user.to_owned() }
            };
            match postfix.files.table(item, &postfix.usual_kind()) {
                Ok(Table::Keys(keys)) => {
                    let of = |wanted: &String| keys.iter().find(|(key, _)| *key == wanted.to_lowercase());
                    found =
                        found.or_else(|| wanted.iter().find_map(of).map(|(key, value)| login(key, value)));
                }
                Ok(Table::Always(value)) => {
                    found = found.or_else(|| wanted.first().map(|key| login(key, &value)));
                }
                Ok(_) => draft.unmatched(origin, format!("its patterns are not tried: {remedy}")),
                Err(why) => draft.unmatched(origin, format!("{why}; {remedy}")),
            }
        }
        found
    }

    /// The two settings, with the password in that file.
    pub(super) fn lines(&self, file: &str) -> [String; 2] {
        [
            format!("smarthost_user = {}", quoted(&self.user)),
            format!("smarthost_password_file = {}", quoted(file)),
        ]
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { parameter: "smtp_sasl_password_maps", value: &self.item }
    }

    /// Says how the password gets into its file; `place` is where the settings stand that wait for it.
    pub(super) fn tell(&self, draft: &mut Draft, file: &str, place: &str) {
        // Where the table is in main.cf itself, a command would repeat the password.
        let is_file = !["inline:", "static:"].iter().any(|kind| self.item.contains(kind));
        let how = if is_file { " (a command does that)" } else { "" };
        draft.unmatched(self.origin(), format!("the password is not copied: put it alone into {file}{how}, which the server's user alone can read, and take the # from the two lines {place}"));
        if !is_file {
            return;
        }
        draft.commands.push(
            "# The password for the smarthost, into a file that only the server's user reads:".to_owned(),
        );
        draft.commands.push(format!(
            "(umask 077; postmap -q {} {} | sed 's/^[^:]*://' > {file}; chown angarium: {file})",
            word(&self.key),
            word(&self.item)
        ));
    }
}

fn login(postfix: &Postfix, draft: &mut Draft, hop: &NextHop, destination: &str) {
    let remedy = "set outbound.smarthost_user and smarthost_password_file";
    let wanted = [destination.to_owned(), hop.host.clone()];
    let Some(login) = Login::find(postfix, draft, &wanted, remedy) else {
        let spec = postfix.value("smtp_sasl_password_maps");
        let origin = Origin { parameter: "smtp_sasl_password_maps", value: &spec };
        draft.unmatched(origin, format!("no login for the relayhost was found in it: {remedy}"));
        return;
    };
    let lines = login.lines(PASSWORD_FILE);
    let text = format!("[outbound]\nsmarthost = \"mail.example.org:25\"\n{}\n", lines.join("\n"));
    if super::draft::accepted(&text).is_ok() {
        draft.set_all(
            login.origin(),
            &[
                ("outbound", "smarthost_user", quoted(&login.user)),
                ("outbound", "smarthost_password_file", quoted(PASSWORD_FILE)),
            ],
        );
        return;
    }
    draft.suggest(login.origin(), "outbound", &lines);
    login.tell(draft, PASSWORD_FILE, "below [outbound]");
}

fn protocols(postfix: &Postfix, draft: &mut Draft) {
    let Some(value) = postfix.changed("inet_protocols") else { return };
    let origin = Origin { parameter: "inet_protocols", value: &value };
    let has = |family: &str| words(&value).contains(&family);
    match (has("ipv4"), has("ipv6")) {
        (true, false) => draft.set(origin, "outbound", "addresses", "\"ipv4\""),
        (false, true) => draft.set(origin, "outbound", "addresses", "\"ipv6\""),
        _ => draft.settled(origin, "both are connected to"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_have_brackets_and_ports() {
        let of = |text: &str| NextHop::parse(text).map(|hop| (hop.with_port(25), hop.is_host));
        for (text, expected) in [
            ("[mail.example.org]:587", Some(("mail.example.org:587", true))),
            ("[mail.example.org]", Some(("mail.example.org:25", true))),
            ("example.org:submission", Some(("example.org:587", false))),
            ("[2001:db8::1]:2525", Some(("[2001:db8::1]:2525", true))),
            ("[ipv6:2001:db8::1]", Some(("[2001:db8::1]:25", true))),
            ("192.0.2.1", Some(("192.0.2.1:25", false))),
            ("[mail.example.org]587", None),
            ("example.org:nowhere", None),
            ("", None),
        ] {
            assert_eq!(of(text), expected.map(|(text, is_host)| (text.to_owned(), is_host)), "{text}");
        }
    }
}
