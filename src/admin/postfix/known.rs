//! What Postfix can be told and Angarium cannot: why, and what to do instead. Names end with `*` for all that begin so,
//! and begin with `*` for all that end so.

use super::Postfix;
use super::draft::{Draft, Origin};
use super::lines::words;
use super::listen::{Role, is_way_back, servers};
use super::parameters::is_known;

/// What needs nothing done.
const SETTLED: &[(&str, &str)] = &[
    ("compatibility_level", "about Postfix's own history"),
    ("biff", "nobody is told on terminals"),
    ("append_dot_mydomain", "addresses are taken as they are"),
    ("append_at_myorigin", "sendmail completes addresses with server.default_domain"),
    ("alias_database", "what newaliases makes; the aliases are in the commands"),
    ("*_directory", "where Postfix has its files"),
    ("sendmail_path", "where Postfix has its programs"),
    ("newaliases_path", "where Postfix has its programs"),
    ("mailq_path", "where Postfix has its programs"),
    ("mail_owner", "a user of Postfix"),
    ("setgid_group", "a group of Postfix"),
    ("default_privs", "a user of Postfix"),
    ("debug_*", "about finding faults of Postfix"),
    ("maillog_*", "Angarium logs to standard error, which systemd keeps (docs/operate/monitor.md)"),
    ("syslog_*", "Angarium logs to standard error, which systemd keeps (docs/operate/monitor.md)"),
    ("*_loglevel", "how much is logged is said when the server starts (docs/operate/monitor.md)"),
    ("*_session_cache_database", "TLS sessions are resumed without files"),
    ("*_session_cache_timeout", "TLS sessions are resumed without files"),
    ("*_tls_mandatory_protocols", "TLS 1.2 and 1.3 are spoken"),
    ("*_tls_protocols", "TLS 1.2 and 1.3 are spoken"),
    ("*_tls_mandatory_ciphers", "only ciphers that are good today are offered"),
    ("*_tls_ciphers", "only ciphers that are good today are offered"),
    ("*_exclude_ciphers", "only ciphers that are good today are offered"),
    ("smtpd_tls_dh*", "only ciphers that are good today are offered"),
    ("*_eecdh_grade", "only ciphers that are good today are offered"),
    ("tls_*_cipherlist", "only ciphers that are good today are offered"),
    ("tls_preempt_cipherlist", "only ciphers that are good today are offered"),
    ("tls_ssl_options", "only ciphers that are good today are offered"),
    ("tls_eecdh_*", "only ciphers that are good today are offered"),
    ("tls_random_*", "chance comes from the kernel"),
    ("smtpd_tls_received_header", "Received says how a message was protected"),
    ("smtpd_tls_auth_only", "passwords are taken over TLS only"),
    ("smtpd_use_tls", "STARTTLS is always offered"),
    ("smtpd_helo_required", "HELO or EHLO comes first"),
    ("disable_vrfy_command", "VRFY tells nothing about who is here"),
    ("strict_rfc821_envelopes", "addresses have to be addresses"),
    ("smtpd_delay_reject", "rules of earlier stages are looked at with the first recipient"),
    ("smtpd_sasl_auth_enable", "users log in on the submission ports"),
    ("smtpd_sasl_security_options", "nobody is anonymous, and passwords are taken over TLS only"),
    ("smtpd_sasl_tls_security_options", "nobody is anonymous, and passwords are taken over TLS only"),
    ("smtpd_sasl_local_domain", "login names are addresses; server.default_domain completes them"),
    ("smtpd_sasl_authenticated_header", "Received says that somebody had logged in"),
    ("broken_sasl_auth_clients", "such clients are long gone"),
    ("smtp_sasl_auth_enable", "the login is below [outbound]"),
    ("smtp_sasl_*security_options", "the best mechanism that both know is taken"),
    ("smtp_sasl_mechanism_filter", "the best mechanism that both know is taken"),
    ("smtp_sasl_type", "the login is below [outbound]"),
    ("smtp_tls_note_starttls_offer", "TLS is used where it is offered"),
    ("smtp_tls_wrappermode", "see outbound.smarthost_tls"),
    ("smtp_use_tls", "see smtp_tls_security_level"),
    ("smtp_enforce_tls", "see smtp_tls_security_level"),
    ("smtp_dns_support_level", "DNSSEC is checked where [dns] says so"),
    ("smtp_host_lookup", "names are looked up in DNS"),
    ("smtp_connection_cache_*", "connections are kept for a while (outbound.idle_s)"),
    ("smtp_tls_connection_reuse", "connections are kept for a while (outbound.idle_s)"),
    ("owner_request_special", "addresses are taken as they are"),
    ("allow_percent_hack", "addresses are taken as they are"),
    ("swap_bangpath", "addresses are taken as they are"),
    ("parent_domain_matches_subdomains", "the rules were made with its usual value"),
    ("propagate_unmatched_extensions", "the part behind + stays with an address"),
    ("smtpd_banner", "the greeting is the host's name"),
    ("mail_name", "the greeting is the host's name"),
    ("*_reject_code", "the rules that were made have the code"),
    ("smtpd_peername_lookup", "names are looked up when a rule or a check needs them"),
    ("smtpd_tls_ask_ccert", "clients are not asked for certificates"),
    (
        "smtpd_forbid_*",
        "a line ends at CRLF and nothing else, and nothing is taken in front of its answer that must not be",
    ),
    ("postscreen_bare_newline_*", "a line ends at CRLF and nothing else"),
    ("postscreen_non_smtp_command_*", "what is no SMTP is refused"),
    ("postscreen_cache_*", "nothing is remembered in files"),
    ("postscreen_*_ttl", "clients are looked at anew"),
    ("postscreen_greet_ttl", "clients are looked at anew"),
    ("qmgr_*", "about Postfix's queue manager"),
    ("hash_queue_*", "the queue is in the store"),
    ("enable_long_queue_ids", "ids of messages are never used again"),
    ("queue_run_delay", "what is due is tried when it is due"),
    ("default_process_limit", "there are no processes; limits.connections_max bounds connections"),
    ("in_flow_delay", "senders are slowed down when memory is short"),
    ("trigger_timeout", "about Postfix's processes"),
    ("process_id*", "about Postfix's processes"),
    ("import_environment", "about Postfix's processes"),
    ("export_environment", "about Postfix's processes"),
    ("multi_instance_*", "for each instance run this command on its folder"),
    ("milter_protocol", "the version is agreed on with each milter"),
    ("smtpd_restriction_classes", "the classes are in the rules that use them"),
    ("virtual_mailbox_base", "mailboxes are in the store"),
    ("virtual_*id_maps", "mailboxes are in the store"),
    ("virtual_minimum_uid", "mailboxes are in the store"),
    ("virtual_mailbox_lock", "mailboxes are in the store"),
    ("mailbox_delivery_lock", "mailboxes are in the store"),
    ("smtpd_proxy_options", "see smtpd_proxy_filter"),
    ("receive_override_options", "rules and filters see a message once"),
];

const MAILBOXES: &str = "mail for this server's domains goes into its own mailboxes: bring over what is there with `angarium import`, and let users read it by IMAP here";
const REWRITE: &str = "addresses are not rewritten: let programs use the right ones (From, sendmail -f); copies and redirections are rules of [mailflow]";
const VERIFY: &str = "other servers are not asked whether an address exists";
const FIXED: &str = "this bound or time is fixed in Angarium";

/// What to do instead.
const REMEDIES: &[(&str, &str)] = &[
    ("mailbox_command*", MAILBOXES),
    ("mailbox_transport*", MAILBOXES),
    ("fallback_transport*", MAILBOXES),
    ("virtual_transport", MAILBOXES),
    ("local_transport", MAILBOXES),
    ("home_mailbox", MAILBOXES),
    ("mail_spool_directory", MAILBOXES),
    (
        "forward_path",
        "files like .forward are not read: make an alias, or a [[mailflow.rule]] that redirects",
    ),
    ("luser_relay", "`angarium domain set DOMAIN --catch-all ADDRESS` says who gets mail that is nobody's"),
    ("canonical_*", REWRITE),
    ("sender_canonical_*", REWRITE),
    ("recipient_canonical_*", REWRITE),
    ("masquerade_*", REWRITE),
    ("smtp_generic_maps", REWRITE),
    ("remote_header_rewrite_domain", REWRITE),
    ("local_header_rewrite_clients", REWRITE),
    ("relocated_maps", "write a rule at rcpt that refuses these recipients and tells the new address"),
    ("address_verify_*", VERIFY),
    ("unverified_*", VERIFY),
    ("relay_recipient_maps", "see relay_domains"),
    ("relay_transport", "see relay_domains"),
    ("permit_mx_backup_networks", "see relay_domains"),
    (
        "smtpd_sasl_type",
        "accounts and passwords are Angarium's own: `angarium account set ADDRESS --password-file FILE`, which knows none of the old passwords",
    ),
    (
        "smtpd_sasl_path",
        "accounts and passwords are Angarium's own: `angarium account set ADDRESS --password-file FILE`, which knows none of the old passwords",
    ),
    (
        "cyrus_sasl_config_path",
        "accounts and passwords are Angarium's own: `angarium account set ADDRESS --password-file FILE`",
    ),
    (
        "smtpd_sender_login_maps",
        "who has logged in sends from the account's own address and aliases that lead to it alone, in MAIL FROM always and in From as [submission] from says: `angarium account delegate ADDRESS --send-as LOGIN` gives a right to others",
    ),
    ("smtpd_soft_error_limit", "[policy.tarpit] slows down clients that do much wrong (`after`)"),
    (
        "smtpd_hard_error_limit",
        "[policy.tarpit] slows down clients that do much wrong; a rule with `errors` refuses them",
    ),
    ("smtpd_error_sleep_time", "[policy.tarpit] slows down clients that do much wrong (`step`)"),
    ("smtpd_junk_command_limit", "[policy.tarpit] slows down clients that do much wrong"),
    ("smtpd_client_auth_rate_limit", "attempts to log in are throttled by account and by source"),
    (
        "smtpd_client_new_tls_session_rate_limit",
        "connections are counted and not TLS sessions: write a [[policy.limit]] at connect",
    ),
    ("smtpd_discard_ehlo_*", "what EHLO offers is always the same"),
    ("smtp_discard_ehlo_*", "what other servers offer is used"),
    (
        "smtp_tls_policy_maps",
        "how far TLS is demanded of a domain is for its DANE and MTA-STS records to say",
    ),
    ("smtp_tls_CAfile", "name that file in tls.authorities"),
    ("smtp_tls_CApath", "name a file with these authorities in tls.authorities"),
    ("smtp_tls_cert_file", "Angarium shows no certificate to other servers"),
    ("smtp_tls_key_file", "Angarium shows no certificate to other servers"),
    ("smtp_tls_chain_files", "Angarium shows no certificate to other servers"),
    ("smtpd_tls_CA*", "clients are not asked for certificates"),
    ("smtpd_tls_req_ccert", "clients are not asked for certificates"),
    (
        "relay_clientcerts",
        "clients are not asked for certificates: let them log in, or name their networks in outbound.relay_from",
    ),
    (
        "bounce_template_file",
        "texts of bounces: outbound.notices_file, in a form of its own (docs/operate/bounces.md)",
    ),
    ("bounce_size_limit", FIXED),
    ("header_size_limit", FIXED),
    ("line_length_limit", FIXED),
    ("smtp_*_timeout", FIXED),
    ("smtpd_timeout", FIXED),
    ("smtpd_starttls_timeout", FIXED),
    ("smtpd_*_timeout", FIXED),
    ("body_checks_size_limit", FIXED),
    ("hopcount_limit", FIXED),
    ("default_destination_recipient_limit", "hosts are given as many recipients as they take"),
    (
        "default_*",
        "Angarium finds this by itself: what goes to a destination at once grows with success (docs/operate/queue.md)",
    ),
    (
        "initial_destination_concurrency",
        "what goes to a destination at once grows with success (docs/operate/queue.md)",
    ),
    (
        "smtp_address_preference",
        "IPv6 and IPv4 are tried by turns: outbound.addresses takes one of them away",
    ),
    ("smtp_mx_*", FIXED),
    (
        "smtp_destination_*",
        "hosts are given as many recipients as they take; outbound.connections_max bounds connections",
    ),
    ("smtp_pix_*", "other servers are taken to follow the standard"),
    (
        "*_notice_recipient",
        "what goes wrong is in the log and the metrics (docs/operate/monitor.md), and not mailed",
    ),
    ("soft_bounce", "a refusal for good is one"),
    ("message_strip_characters", "messages are not changed"),
    ("message_reject_characters", "messages are not changed"),
    ("fast_flush_domains", "there is no ETRN: `angarium queue retry --destination NAME` does it by hand"),
    (
        "authorized_*_users",
        "every user of the machine may run sendmail and none but the store's owner the other commands",
    ),
    ("mynetworks_style", "networks are named in outbound.relay_from"),
    (
        "proxy_interfaces",
        "mail that would come back to the address of a router in front is not recognised: keep MX records right",
    ),
    ("lmtp_*", "Angarium does not send by LMTP"),
    ("local_*", MAILBOXES),
    ("command_*", "programs are not started for mail"),
    ("recipient_canonical_maps", REWRITE),
    (
        "postscreen_pipelining_*",
        "there is no such test before the greeting; nothing is taken in front of its answer that must not be",
    ),
    ("postscreen_dnsbl_*", "the rule \"on too many lists\" has what has a counterpart"),
    (
        "postscreen_*",
        "Angarium needs no postscreen in front: rules at connect do its work (docs/operate/rules.md)",
    ),
    (
        "milter_*_macros",
        "each milter gets the macros that it asks for, or the usual ones (docs/operate/filters.md)",
    ),
    ("milter_*", "see [[filter]] in docs/operate/configure.md"),
    ("smtpd_proxy_*", "see content_filter"),
    ("qmqpd_*", "there is no QMQP"),
    ("dovecot_*", MAILBOXES),
    ("empty_address_*", FIXED),
];

/// What limits one transport of master.cf, by the end of its name.
const OF_TRANSPORTS: [&str; 9] = [
    "_destination_concurrency_limit",
    "_destination_recipient_limit",
    "_destination_rate_delay",
    "_initial_destination_concurrency",
    "_destination_concurrency_failed_cohort_limit",
    "_destination_concurrency_negative_feedback",
    "_destination_concurrency_positive_feedback",
    "_transport_rate_delay",
    "_time_limit",
];

/// Restrictions that are no rules: whether they need none, and why.
pub(super) fn restriction(name: &str) -> Option<(bool, &'static str)> {
    Some(match name {
        "reject_unauth_destination"
        | "defer_unauth_destination"
        | "permit_auth_destination"
        | "check_relay_domains" => {
            (true, "only who has logged in and outbound.relay_from send to other domains")
        }
        "reject_unlisted_recipient" => (true, "who is nobody here is refused"),
        "reject_sender_login_mismatch" | "reject_authenticated_sender_login_mismatch" => (
            true,
            "who has logged in sends from addresses of their own: MAIL FROM is always looked at, From and Sender as [submission] from says",
        ),
        "reject_unknown_recipient_domain" => (true, "mail for a domain that is not there comes back at once"),
        "permit_inet_interfaces" => (true, "outbound.relay_from has this machine"),
        "reject_unauthenticated_sender_login_mismatch"
        | "reject_known_sender_login_mismatch"
        | "reject_unlisted_sender" => (
            false,
            "write a rule at mail: when = { sender_domain = [YOUR DOMAINS], authenticated = false }, then = \"reject\"",
        ),
        "reject_unknown_sender_domain" | "reject_unknown_address" => (
            false,
            "no condition asks whether the sender's domain exists: `spf` or `dmarc` say more about it",
        ),
        "reject_unknown_helo_hostname" | "reject_unknown_hostname" => (
            false,
            "no condition asks whether the HELO name exists: `iprev`, `has_reverse_name` and `helo` patterns are there",
        ),
        "reject_invalid_helo_hostname" | "reject_invalid_hostname" => {
            (false, "HELO may be any printable name: refuse what you do not want by `helo` patterns")
        }
        "reject_unauth_pipelining" => {
            (false, "who speaks too early is seen before the greeting only ([policy.pregreet])")
        }
        "warn_if_reject" => (
            false,
            "a rule cannot be tried without its consequence: give it `score` instead and look at the score",
        ),
        "defer_if_permit" | "defer_if_reject" => {
            (false, "a rule decides when it is reached: write a rule with `defer`")
        }
        "permit_mx_backup" => (false, "mail is taken for domains with accounts here"),
        "permit_tls_clientcerts" | "permit_tls_all_clientcerts" | "check_ccert_access" => (
            false,
            "clients are not asked for certificates: let them log in, or name their networks in outbound.relay_from",
        ),
        _ if name.starts_with("reject_unverified") => (false, VERIFY),
        _ => return None,
    })
}

/// What is said about a parameter, and whether it needs nothing done. Its whole name comes before names with `*`.
fn remark(name: &str) -> Option<(bool, &'static str)> {
    let all = || SETTLED.iter().map(|row| (true, row)).chain(REMEDIES.iter().map(|row| (false, row)));
    let whole = all().find(|(_, (pattern, _))| *pattern == name);
    let found = whole.or_else(|| all().find(|(_, (pattern, _))| matches(pattern, name)));
    found.map(|(is_settled, (_, why))| (is_settled, *why))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.split_once('*').is_some_and(|(begin, end)| {
        name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
    })
}

/// Everything that is set and that nobody has asked for.
pub(super) fn leftovers(postfix: &Postfix, draft: &mut Draft) {
    special(postfix, draft);
    let used = postfix.main.used();
    let names: Vec<String> = postfix.main.names().map(str::to_owned).collect();
    let of_services: std::collections::BTreeSet<String> = postfix
        .services
        .iter()
        .flat_map(|service| service.overrides.values())
        .flat_map(|value| super::expand::names(value))
        .collect();
    for name in &names {
        let Some(value) = postfix.main.changed(name) else { continue };
        let origin = Origin { parameter: name, value: &value };
        if let Some((true, why)) = remark(name) {
            draft.settled(origin, why);
        } else if !postfix.is_seen(name) {
            let own = used.contains(name) || of_services.contains(name);
            left(postfix, draft, origin, own);
        }
    }
    overrides(postfix, draft);
}

fn left(postfix: &Postfix, draft: &mut Draft, origin: Origin<'_>, is_used: bool) {
    let name = origin.parameter;
    let transport = OF_TRANSPORTS.iter().find_map(|end| name.strip_suffix(end));
    let is_transports =
        transport.is_some_and(|name| postfix.services.iter().any(|service| service.name == name));
    if name.starts_with("smtpd_") && is_known(name) && servers(postfix).is_empty() {
        draft.settled(origin, "nothing listens for SMTP");
    } else if let Some((_, why)) = remark(name) {
        draft.unmatched(origin, why);
    } else if is_transports {
        draft.unmatched(
            origin,
            "a limit of one transport: destinations have theirs in [[outbound.destination]], addresses to send from in [[outbound.pool]]",
        );
    } else if is_known(name) {
        draft.unmatched(origin, "nothing here corresponds to it");
    } else if is_used {
        draft.settled(origin, "a name of your own, used in other values");
    } else {
        draft.unmatched(origin, "Postfix has no parameter of this name, and nothing uses it");
    }
}

/// Parameters that are looked at together with others, or whose value decides.
fn special(postfix: &Postfix, draft: &mut Draft) {
    if let Some(value) = postfix.changed("recipient_delimiter") {
        let origin = Origin { parameter: "recipient_delimiter", value: &value };
        if value == "+" {
            draft.settled(origin, "ann+anything@example.org is ann@example.org");
        } else {
            draft.unmatched(origin, "what follows a + is what may follow; other characters are part of the name: make aliases for the addresses that are in use");
        }
    }
    for parameter in ["local_recipient_maps", "smtpd_reject_unlisted_recipient"] {
        if let Some(value) = postfix.changed(parameter).filter(|value| value.is_empty() || value == "no") {
            let why = "who is nobody here is refused: `angarium domain set DOMAIN --catch-all ADDRESS` says who gets such mail";
            draft.unmatched(Origin { parameter, value: &value }, why);
        }
    }
    if let Some(value) = postfix.changed("smtputf8_enable") {
        draft.unmatched(Origin { parameter: "smtputf8_enable", value: &value }, "SMTPUTF8 is always offered");
    }
    for parameter in ["smtp_tls_CAfile", "smtp_tls_CApath"] {
        if let Some(value) = postfix
            .main
            .changed(parameter)
            .filter(|value| value.starts_with("/etc/ssl/certs") || value.starts_with("/etc/pki"))
        {
            let _asked = postfix.value(parameter);
            draft.settled(Origin { parameter, value: &value }, "the system's authorities count");
        }
    }
    let on_25 = servers(postfix)
        .into_iter()
        .find(|(role, service)| *role == Role::Smtp && service.command == "smtpd");
    if let Some((_, service)) = on_25
        && postfix.own(service, "smtpd_sasl_auth_enable").eq_ignore_ascii_case("yes")
    {
        let origin = Origin { parameter: "smtpd_sasl_auth_enable", value: "yes on port 25" };
        draft.unmatched(
            origin,
            "there is no login on listen.smtp: users send by listen.submission (587) or submissions (465)",
        );
    }
}

/// What `-o` of master.cf sets and nobody has asked for.
fn overrides(postfix: &Postfix, draft: &mut Draft) {
    for service in postfix.services.iter().filter(|service| !is_way_back(postfix, service)) {
        for (name, value) in &service.overrides {
            let key = format!("{}|{name}", service.title());
            let value = postfix.main.expand(value);
            if postfix.seen.borrow().contains(&key) || words(&value) == words(&postfix.main.value(name)) {
                continue;
            }
            let parameter = format!("{name} ({} of master.cf)", service.title());
            let origin = Origin { parameter: &parameter, value: &value };
            if let Some((is_settled, why)) = remark(name) {
                if is_settled { draft.settled(origin, why) } else { draft.unmatched(origin, why) }
            } else if is_known(name) {
                draft.unmatched(origin, "the setting is one for the whole server, and not for one service");
            } else {
                draft.settled(origin, "a name of your own, used in other values");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remark_is_about_a_parameter_of_postfix() {
        let names: Vec<&str> = include_str!("defaults.txt")
            .lines()
            .filter_map(|line| line.split_once(" ="))
            .map(|(name, _)| name)
            .collect();
        for (pattern, _) in SETTLED.iter().chain(REMEDIES) {
            // The transport is one of Dovecot's own.
            let is_there = names.iter().any(|name| name == pattern || matches(pattern, name));
            assert!(is_there || *pattern == "dovecot_*", "{pattern}");
        }
        assert!(remark("mail_spool_directory").is_some_and(|(is_settled, _)| !is_settled));
    }
}
