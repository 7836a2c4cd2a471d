//! Where it listens, under which name, with which certificates, and behind whom.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Postfix;
use super::directory::Domains;
use super::draft::{Block, Draft, Origin, list, quoted};
use super::lines::words;
use super::master::Service;
use super::numbers::network;
use super::tables::Table;

/// Which of our listeners a service of Postfix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Smtp,
    Submission,
    Submissions,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Smtp, Self::Submission, Self::Submissions];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
        }
    }
}

/// The services that take mail by SMTP from the network; what postscreen hands on is `Smtp`.
pub(super) fn servers(postfix: &Postfix) -> Vec<(Role, &Service)> {
    let is_server = |service: &&Service| {
        matches!(service.command.as_str(), "smtpd" | "postscreen")
            && ["inet", "pass"].contains(&service.kind.as_str())
    };
    let all = postfix.services.iter().filter(is_server).filter(|service| !is_way_back(postfix, service));
    all.map(|service| (role(postfix, service), service)).collect()
}

fn role(postfix: &Postfix, service: &Service) -> Role {
    let yes = |name: &str| postfix.own(service, name).eq_ignore_ascii_case("yes");
    let port = service.address().map(|(_, port)| port);
    if yes("smtpd_tls_wrappermode") || port == Some(465) {
        return Role::Submissions;
    }
    let is_called_so = service.overrides.get("syslog_name").is_some_and(|name| name.contains("submission"));
    if port == Some(587) || (is_called_so && yes("smtpd_sasl_auth_enable")) {
        Role::Submission
    } else {
        Role::Smtp
    }
}

/// Whether a content filter gives mail back here: on loopback, and without the filter that the others have.
pub(super) fn is_way_back(postfix: &Postfix, service: &Service) -> bool {
    let Some((host, port)) = service.address() else { return false };
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
    let filtered = |name: &str| {
        !postfix.value(name).is_empty()
            || postfix
                .services
                .iter()
                .any(|one| one.overrides.get(name).is_some_and(|value| !value.is_empty()))
    };
    is_loopback && port > 1024 && (filtered("content_filter") || filtered("smtpd_proxy_filter"))
}

pub(super) fn translate(postfix: &Postfix, domains: &Domains, draft: &mut Draft) {
    name(postfix, domains, draft);
    addresses(postfix, draft);
    if domains.has_mailboxes() {
        let remark = ["Postfix has no IMAP and POP3. Angarium serves both on their usual ports unless you say otherwise:".to_owned(),
                      "imap = []".to_owned(), "pop3 = []".to_owned()];
        draft.suggest(Origin { parameter: "", value: "" }, "listen", &remark);
    } else {
        let value = postfix.value("mydestination");
        for key in ["imap", "imaps", "pop3", "pop3s"] {
            draft.set(Origin { parameter: "mydestination", value: &value }, "listen", key, "[]");
        }
    }
    certificates(postfix, draft);
    others_in_front(postfix, draft);
}

fn name(postfix: &Postfix, domains: &Domains, draft: &mut Draft) {
    let name = postfix.value("myhostname");
    let origin = Origin { parameter: "myhostname", value: &name };
    draft.set(origin, "server", "hostname", &quoted(&name));
    if postfix.main.changed("myhostname").is_none() || !name.contains('.') || name.ends_with(".localdomain") {
        draft.unmatched(
            origin,
            "is this the server's name in DNS? Others look at it: set server.hostname to that name",
        );
    }
    let myorigin = postfix.value("myorigin");
    let origin = Origin { parameter: "myorigin", value: &myorigin };
    match &domains.origin {
        Some(domain) => draft.set(origin, "server", "default_domain", &quoted(domain)),
        None => draft.unmatched(origin, "this is no domain, or a file that cannot be read: set server.default_domain to what completes names without one"),
    }
    if let Some(postmaster) = &domains.postmaster {
        let origin = Origin { parameter: "alias_maps", value: "postmaster" };
        draft.set(origin, "server", "postmaster", &quoted(postmaster));
    }
}

fn addresses(postfix: &Postfix, draft: &mut Draft) {
    let interfaces = postfix.value("inet_interfaces");
    let servers = servers(postfix);
    for role in Role::ALL {
        let mut found: Vec<String> = Vec::new();
        for (_, service) in servers.iter().filter(|(one, service)| *one == role && service.kind == "inet") {
            let Some((host, port)) = service.address() else {
                let title = service.title();
                draft.unmatched(
                    Origin { parameter: "master.cf", value: &title },
                    "the port has no number here: add it to [listen]",
                );
                continue;
            };
            for host in hosts(postfix, &host, draft) {
                found.push(format!("{host}:{port}"));
            }
        }
        found.dedup();
        let origin = Origin { parameter: "inet_interfaces", value: &interfaces };
        draft.set(origin, "listen", role.key(), &list(&found));
    }
    for service in postfix.services.iter().filter(|service| service.kind == "inet") {
        let title = service.title();
        let origin = Origin { parameter: "master.cf", value: &title };
        match service.command.as_str() {
            "smtpd" if is_way_back(postfix, service) => {
                draft.unmatched(origin, "a content filter gives mail back here: Angarium asks filters itself, by [[filter]], and needs no way back");
            }
            "smtpd" | "postscreen" => {}
            other => {
                draft.unmatched(origin, format!("there is nothing that does what {other} does on this port"));
            }
        }
    }
}

/// The addresses that a service listens on, written for `[listen]`.
fn hosts(postfix: &Postfix, host: &str, draft: &mut Draft) -> Vec<String> {
    let interfaces = postfix.value("inet_interfaces");
    let protocols = postfix.value("inet_protocols");
    let wants = |family: &str| words(&protocols).iter().any(|word| *word == family || *word == "all");
    let pair = |v4: &str, v6: &str| {
        let both = [(wants("ipv4"), v4), (wants("ipv6"), v6)];
        both.into_iter().filter(|(wanted, _)| *wanted).map(|(_, host)| host.to_owned()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    let named = if host.is_empty() { words(&interfaces) } else { vec![host] };
    for one in named {
        let bare = one.trim_start_matches('[').trim_end_matches(']');
        match (one.to_ascii_lowercase().as_str(), bare.parse::<IpAddr>()) {
            ("all", _) => found.extend(pair("0.0.0.0", "[::]")),
            ("loopback-only" | "localhost", _) => found.extend(pair("127.0.0.1", "[::1]")),
            (_, Ok(IpAddr::V4(address))) => found.push(address.to_string()),
            (_, Ok(IpAddr::V6(address))) => found.push(format!("[{address}]")),
            _ => draft.unmatched(
                Origin { parameter: "inet_interfaces", value: one },
                "a name, which is not looked up here: add its addresses to the lists of [listen]",
            ),
        }
    }
    found
}

fn certificates(postfix: &Postfix, draft: &mut Draft) {
    let chains = postfix.value("smtpd_tls_chain_files");
    let certificate = postfix.value("smtpd_tls_cert_file");
    if chains.is_empty() {
        let key = postfix.value("smtpd_tls_key_file");
        if !certificate.is_empty() && certificate != "none" {
            let origin = Origin { parameter: "smtpd_tls_cert_file", value: &certificate };
            certificate_block(draft, origin, (&certificate, &key), &[]);
        }
    } else {
        chain_files(postfix, draft, Origin { parameter: "smtpd_tls_chain_files", value: &chains }, &[]);
    }
    for parameter in
        ["smtpd_tls_eccert_file", "smtpd_tls_eckey_file", "smtpd_tls_dcert_file", "smtpd_tls_dkey_file"]
    {
        if let Some(value) = postfix.changed(parameter).filter(|value| *value != certificate) {
            let why = "there is one certificate for a name: keep this one instead of the other if clients can use it, which all of today can with ECDSA";
            draft.unmatched(Origin { parameter, value: &value }, why);
        }
    }
    let Some(spec) = postfix.changed("tls_server_sni_maps") else { return };
    let origin = Origin { parameter: "tls_server_sni_maps", value: &spec };
    for item in words(&spec) {
        match postfix.files.table(item, &postfix.usual_kind()) {
            Ok(Table::Keys(keys)) => {
                for (name, files) in keys {
                    // `.example.org` is for the names below.
                    let name = if name.starts_with('.') { format!("*{name}") } else { name };
                    let value = format!("{name} {files}");
                    chain_files(
                        postfix,
                        draft,
                        Origin { parameter: "tls_server_sni_maps", value: &value },
                        &[name],
                    );
                }
            }
            Ok(_) => draft.unmatched(origin, "its names are patterns: write a [[tls.certificates]] for each"),
            Err(why) => draft.unmatched(origin, format!("{why}; write a [[tls.certificates]] for each name")),
        }
    }
}

/// Files in which keys and chains follow each other: those with both, or a key and the chain behind it.
fn chain_files(postfix: &Postfix, draft: &mut Draft, origin: Origin<'_>, names: &[String]) {
    let files = words(origin.value);
    let files = if names.is_empty() { &files[..] } else { files.get(1..).unwrap_or_default() };
    let mut key: Option<&str> = None;
    let mut is_first = true;
    for file in files {
        let text = match postfix.files.read(file) {
            Ok(text) => text,
            Err(why) => {
                draft.unmatched(
                    origin,
                    format!("{why}; write a [[tls.certificates]] with its certificate and key"),
                );
                return;
            }
        };
        if text.contains("PRIVATE KEY-----") {
            key = Some(file);
        }
        if text.contains("BEGIN CERTIFICATE-----") {
            let Some(key) = key.take() else { continue };
            if is_first {
                certificate_block(draft, origin, (file, key), names);
            } else {
                draft.unmatched(origin, "there is one certificate for a name: the first was taken");
            }
            is_first = false;
        }
    }
    if is_first {
        draft.unmatched(
            origin,
            "no key with a chain behind it was found in these files: write a [[tls.certificates]]",
        );
    }
}

fn certificate_block(draft: &mut Draft, origin: Origin<'_>, files: (&str, &str), names: &[String]) {
    let mut lines = format!("certificate = {}\nkey = {}", quoted(files.0), quoted(files.1));
    if !names.is_empty() {
        let _never_fails = write!(lines, "\nnames = {}", list(names));
    }
    draft.block(origin, Block::Certificate, &lines, &[]);
}

fn others_in_front(postfix: &Postfix, draft: &mut Draft) {
    let balancer = "name the load balancer's networks in listen.proxy_from: Postfix takes such headers from whoever can connect, Angarium from those alone";
    if let Some(value) = postfix.changed("postscreen_upstream_proxy_protocol") {
        draft.unmatched(Origin { parameter: "postscreen_upstream_proxy_protocol", value: &value }, balancer);
    }
    let mut told = postfix.changed("smtpd_upstream_proxy_protocol").into_iter().collect::<Vec<_>>();
    told.extend(
        servers(postfix).iter().map(|(_, service)| postfix.own(service, "smtpd_upstream_proxy_protocol")),
    );
    if let Some(value) = told.iter().find(|value| !value.is_empty()) {
        draft.unmatched(Origin { parameter: "smtpd_upstream_proxy_protocol", value }, balancer);
    }
    let mut gateways = Vec::new();
    let value = postfix.value("smtpd_authorized_xclient_hosts");
    for item in words(&value) {
        match network(item) {
            Some(network) => gateways.push(network),
            None => draft.unmatched(
                Origin { parameter: "smtpd_authorized_xclient_hosts", value: item },
                "only networks can be named in listen.xclient_from: write the host's addresses there",
            ),
        }
    }
    if !gateways.is_empty() {
        let origin = Origin { parameter: "smtpd_authorized_xclient_hosts", value: &value };
        draft.set(origin, "listen", "xclient_from", &list(&gateways));
    }
}
