//! Whole installations: what is written of them, and that our own reader takes it. `UPDATE=1` writes the expected files
//! anew, for review.

use std::path::PathBuf;

use super::*;
use crate::Config;

const CASES: [&str; 4] = ["satellite", "relay", "provider", "torture"];

fn root(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("postfix/data").join(case)
}

fn postfix(case: &str) -> Postfix {
    Postfix::read(&root(case).join("etc/postfix"), &root(case)).unwrap()
}

/// Where the tree lies is nobody's business.
fn portable(text: &str, case: &str) -> String {
    text.replace(&root(case).display().to_string(), "")
}

fn compare(case: &str, file: &str, text: &str) {
    let path = root(case).join(file);
    let text = portable(text, case);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}; UPDATE=1 writes it anew", path.display());
}

/// An installation of these two files.
fn of(main: &str, master: &str) -> Draft {
    let (mut parameters, _) = Parameters::parse(main);
    parameters.compute("mx.example.org", "/etc/postfix");
    let (services, _) = master::parse(master);
    let nowhere = Path::new("/nowhere");
    let files = Files::new(nowhere, nowhere);
    let main = parameters;
    translated(&Postfix { files, main, services, odd: Vec::new(), seen: RefCell::default() })
}

fn text(draft: &Draft) -> String {
    draft.config(Path::new("/etc/postfix"), false).unwrap()
}

fn why<'a>(draft: &'a Draft, parameter: &str) -> &'a str {
    draft.unmatched.iter().find(|note| note.parameter == parameter).map_or("", |note| &note.why)
}

const SMTPD: &str = "smtp inet n - n - - smtpd\n";

#[test]
fn who_may_relay_is_what_the_restrictions_say() {
    let relays = |main: &str| {
        let text = text(&of(&format!("compatibility_level = 3.6\n{main}"), SMTPD));
        text.lines().find(|line| line.starts_with("relay_from")).unwrap_or_default().to_owned()
    };
    let all = "relay_from = [\"127.0.0.0/8\", \"::1/128\"]";
    assert_eq!(relays(""), all);
    assert_eq!(relays("smtpd_relay_restrictions = permit_sasl_authenticated, reject\n"), "relay_from = []");
    assert_eq!(
        relays(
            "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unauth_destination, permit_mynetworks\n"
        ),
        "relay_from = []"
    );
    assert_eq!(
        relays(
            "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n"
        ),
        all
    );
}

#[test]
fn what_permits_in_the_relay_list_does_not_end_the_recipient_list() {
    let draft = of(
        "compatibility_level = 3.6\n\
         smtpd_relay_restrictions = permit_mynetworks, reject_non_fqdn_sender, reject_unauth_destination\n\
         smtpd_recipient_restrictions = reject_rbl_client bl.example.net\n",
        SMTPD,
    );
    let text = text(&draft);
    assert!(!text.contains("\"accept\""), "{text}");
    assert!(text.contains("{ all = [{ not = { any = [{ sender_domain = \"*.*\" }, { sender = \"<>\" }] } }, { not = { source = \"list:mynetworks\" } }] }"), "{text}");
    assert!(text.contains("when = { dnslist = \"bl.example.net\" }"), "{text}");
}

#[test]
fn what_cannot_be_said_is_named_and_what_is_usual_is_not() {
    let draft = of(
        "inet_interfaces = all\nnotify_classes = resource, software\nsmtpd_tls_security_level = none\n\
         recipient_delimiter = -\nlocal_recipient_maps =\nsmtpd_recipient_limit = 50\nmail_spool_directory = /var/mail/x\n\
         message_size_limit = 2000000000\nrelayhost = example.net\nmaximal_queue_lifetime = 0\nfuture_thing = 1\n\
         virtual_alias_maps = ldap:/etc/ldap.cf\nsmtpd_sender_restrictions = check_sender_ns_access inline:{ a = REJECT }\n",
        SMTPD,
    );
    for parameter in [
        "smtpd_tls_security_level",
        "recipient_delimiter",
        "local_recipient_maps",
        "smtpd_recipient_limit",
        "mail_spool_directory",
        "message_size_limit",
        "relayhost",
        "maximal_queue_lifetime",
        "future_thing",
        "virtual_alias_maps",
        "smtpd_sender_restrictions",
    ] {
        assert!(!why(&draft, parameter).is_empty(), "{parameter}");
    }
    assert!(why(&draft, "virtual_alias_maps").contains("ldap: is a database"));
    assert!(why(&draft, "future_thing").contains("no parameter of this name"));
    assert!(
        draft
            .unmatched
            .iter()
            .chain(&draft.settled)
            .all(|note| { !["inet_interfaces", "notify_classes"].contains(&note.parameter.as_str()) })
    );
    assert!(text(&draft).contains("smarthost = \"example.net:25\""));
}

#[test]
fn the_guide_is_about_parameters_that_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/postfix.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|word| word.contains('_') && !word.contains('('))
        .collect();
    assert!(names.len() > 60, "{names:?}");
    for name in names {
        assert!(parameters::is_known(name), "{name}");
    }
}

#[test]
fn no_password_is_repeated() {
    let draft = translated(&postfix("relay"));
    let all = format!("{}{}", text(&draft), draft.script(Path::new("x"), Path::new("y")));
    assert!(all.contains("us3r@provider.example") && !all.contains("p4ss"));
    assert!(draft.unmatched.iter().all(|note| !note.value.contains("p4ss")));
}

#[test]
fn mail_is_not_sent_at_all_where_all_transports_are_errors() {
    let draft =
        of("default_transport = error: outside mail is not deliverable\nmydestination = example.org\n", "");
    assert!(text(&draft).contains("enabled = false"));
    assert!(text(&draft).contains("smtp = []"), "nothing listens");
}

#[test]
fn many_entries_become_lists_and_all_of_them_count() {
    let entries: Vec<String> = (0..300).map(|n| format!("{{ 192.0.2.{} = REJECT }}", n % 256)).collect();
    let main =
        format!("smtpd_client_restrictions = check_client_access inline:{{ {} }}\n", entries.join(", "));
    let text = text(&of(&main, SMTPD));
    assert_eq!(text.matches("[[policy.rule]]").count(), 1, "{text}");
    assert!(text.contains("source = \"list:check_client_access"), "{text}");
}

#[test]
fn commands_come_after_what_they_name() {
    let main = "mydestination =\nvirtual_mailbox_domains = example.org\n\
                virtual_mailbox_maps = inline:{ { z@example.org = z/ } }\n\
                virtual_alias_maps = inline:{ { a@example.org = b@example.org }, { b@example.org = z@example.org }, \
                { lost@example.org = gone@example.org }, { out@example.org = x@elsewhere.example } }\n";
    let draft = of(main, SMTPD);
    let expected = [
        "angarium domain add example.org",
        "angarium account add z@example.org",
        "angarium alias set b@example.org z@example.org",
        "angarium alias set out@example.org x@elsewhere.example",
        "angarium alias set a@example.org b@example.org",
    ];
    assert_eq!(draft.bare_commands(), expected);
    let told: Vec<&str> = draft.unmatched.iter().map(|note| note.value.as_str()).collect();
    assert!(told.contains(&"lost@example.org: gone@example.org"), "{told:?}");
}

const OUT: &str = "smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nslow unix - - n - - smtp\n\
    out1 unix - - n - - smtp -o smtp_bind_address=192.0.2.1 -o smtp_helo_name=a.example\n";

/// The routes in order: senders and recipients, host, pool.
fn routes(text: &str) -> Vec<(String, String, String)> {
    let table: toml::Table = text.parse().unwrap();
    let all = table["outbound"].get("route").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let word = |route: &toml::Value, key: &str| {
        route.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let both = |route: &toml::Value| {
        let lists = ["senders", "recipients"].into_iter().filter_map(|key| route.get(key)?.as_array());
        lists.flatten().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(" ")
    };
    all.iter().map(|route| (both(route), word(route, "smarthost"), word(route, "pool"))).collect()
}

#[test]
fn more_special_routes_come_first_and_recipients_before_senders() {
    let main = "relayhost = [hub.example]\ninet_protocols = ipv4\n\
        transport_maps = inline:{ { * = smtp:[all.example] }, { .org = smtp:[org.example]:26 }, \
        { .b.org = slow:[192.0.2.9] }, { a.org = smtp: }, { c.org = smtp:[org.example]:26 }, { d.org = smtp: }, \
        { ann@a.org = relay:[ann.example] }, { e.org = error:no }, { f.org = lmtp:unix:x }, { here.org = smtp:[x.example] }, \
        { g.org = smtp:mx.example } }\nmydestination = here.org\nalias_maps =\n\
        sender_dependent_relayhost_maps = inline:{ { @s.org = [s.example]:587 }, { @t.org = [t.example] } }\n\
        sender_dependent_default_transport_maps = inline:{ { @t.org = out1: }, { u@u.org = out1: }, { bare.org = out1: } }\n\
        slow_destination_rate_delay = 20s\nslow_destination_concurrency_limit = 2\ndefault_destination_rate_delay = 1s\n";
    let draft = of(main, &format!("{SMTPD}{OUT}"));
    let text = text(&draft);
    let expected = [
        ("ann@a.org", "ann.example:25", ""),
        ("a.org d.org", "mx", ""),
        ("c.org", "org.example:26", ""),
        ("g.org", "mx.example:25", ""),
        ("*.b.org", "192.0.2.9:25", ""),
        ("*.org", "org.example:26", ""),
        ("*", "all.example:25", ""),
        ("u@u.org", "", "out1"),
        ("t.org", "t.example:25", "out1"),
        ("s.org", "s.example:587", ""),
    ];
    let expected = expected.map(|(scopes, host, pool)| (scopes.to_owned(), host.to_owned(), pool.to_owned()));
    assert_eq!(routes(&text), expected, "{text}");
    assert!(text.contains("sources = [{ ipv4 = \"192.0.2.1\", ehlo = \"a.example\" }]"), "{text}");
    assert!(
        text.contains("domains = [\"[192.0.2.9]\"]\nconnections_max = 2\nmessages_per_minute_max = 3\n"),
        "{text}"
    );
    assert!(text.contains("domains = [\"*\"]\nmessages_per_minute_max = 60\n"), "{text}");
    let told: Vec<&str> = draft.unmatched.iter().filter_map(|note| note.value.split(':').next()).collect();
    for named in ["e.org", "f.org", "here.org", "g.org", "bare.org"] {
        assert!(told.contains(&named), "{named}: {told:?}");
    }
}

#[test]
fn relayed_domains_do_not_take_the_relayhost() {
    let main = "relayhost = [hub.example]\nrelay_domains = r.org, .below.org\ntransport_maps = inline:{ { x.r.org = : } }\n";
    let text = text(&of(main, &format!("{SMTPD}{OUT}")));
    let found: Vec<(String, String)> =
        routes(&text).into_iter().map(|(scopes, host, _)| (scopes, host)).collect();
    let expected = [("x.r.org", "mx"), ("r.org *.r.org *.below.org", "mx")];
    assert_eq!(found, expected.map(|(scopes, host)| (scopes.to_owned(), host.to_owned())), "{text}");
}

#[test]
fn logins_of_routes_wait_for_their_password() {
    let main = "smtp_sasl_auth_enable = yes\nsmtp_sender_dependent_authentication = yes\n\
        smtp_sasl_password_maps = inline:{ { [out.example]:587 = us:s3cret }, { @b.org = bee:s3cret } }\n\
        sender_dependent_relayhost_maps = inline:{ { @a.org = [out.example]:587 }, { @b.org = [out.example]:587 } }\n";
    let draft = of(main, &format!("{SMTPD}{OUT}"));
    let text = text(&draft);
    assert!(
        text.contains(
            "# smarthost_user = \"us\"\n# smarthost_password_file = \"/etc/angarium/from-a.org.password\""
        ),
        "{text}"
    );
    assert!(text.contains("# smarthost_user = \"bee\""), "{text}");
    assert!(!text.contains("s3cret"));
    assert!(draft.commands.iter().all(|line| !line.contains("umask")), "{:?}", draft.commands);
    assert!(draft.unmatched.iter().all(|note| !note.value.contains("s3cret")));
    assert!(text.contains("from-b.org.password, which the server's user"), "{text}");
}

#[test]
fn the_postmaster_verp_and_srs_have_their_settings() {
    let main = "notify_classes = bounce, 2bounce, policy\nsmtpd_authorized_verp_clients = 192.0.2.0/24\n\
        sender_canonical_maps = tcp:localhost:10001\nsender_canonical_classes = envelope_sender\n\
        smtp_helo_name = out.example\n";
    let draft = of(main, SMTPD);
    let text = text(&draft);
    for line in [
        "tell_postmaster = [\"undeliverable\", \"bounce\"]",
        "verp = true",
        "srs = true",
        "# srs_secret_file = \"/etc/postsrsd.secret\"",
        "default_pool = \"default\"",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    assert!(text.contains("ipv4 = \"0.0.0.0\""), "{text}");
    assert!(why(&draft, "notify_classes").contains("log"));
    assert!(why(&draft, "sender_canonical_maps").contains("/etc/postsrsd.secret"));
    assert_eq!(why(&draft, "sender_canonical_classes"), "");
}

/// A text with a few odd changes.
fn changed(text: &str, random: &mut base::Random) -> String {
    const ODD: [&str; 16] =
        ["{", "}", "$", "${", ",", ":", "=", "#", "\n", " ", "\"", "'", "\\", "\u{7f}", "\u{e9}", "-o "];
    let mut chars: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..=random.below(6) {
        let at = random.below(chars.len() as u64) as usize;
        match random.below(3) {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, ODD[random.below(ODD.len() as u64) as usize].to_owned()),
            _ => {
                let end = (at + random.below(30) as usize).min(chars.len());
                let copy = chars[at..end].to_vec();
                let place = random.below(chars.len() as u64) as usize;
                chars.splice(place..place, copy);
            }
        }
    }
    chars.concat()
}

#[test]
fn whatever_stands_there_what_is_written_is_accepted() {
    let mut random = base::Random::new(0x705f);
    for case in CASES {
        let read = |file: &str| std::fs::read_to_string(root(case).join("etc/postfix").join(file)).unwrap();
        let (main, master) = (read("main.cf"), read("master.cf"));
        for _ in 0..60 {
            let (main, master) = (changed(&main, &mut random), changed(&master, &mut random));
            let (mut parameters, _) = Parameters::parse(&main);
            parameters.compute("mx.example.org", "/etc/postfix");
            let files = Files::new(&root(case), &root(case).join("etc/postfix"));
            let (services, _) = master::parse(&master);
            let odd = Vec::new();
            let postfix = Postfix { files, main: parameters, services, odd, seen: RefCell::default() };
            let draft = translated(&postfix);
            if let Err(failure) = draft.config(Path::new("/etc/postfix"), false) {
                panic!("{failure}\n{main}\n{master}");
            }
            let is_command =
                |line: &&String| line.starts_with("angarium ") || line.starts_with("(umask 077; ");
            assert!(draft.bare_commands().iter().all(is_command), "{:?}", draft.commands);
            assert!(draft.commands.iter().all(|line| !line.contains(['\n', '\r'])), "{:?}", draft.commands);
        }
    }
}

#[test]
fn each_is_translated_as_expected_and_accepted() {
    for case in CASES {
        let draft = translated(&postfix(case));
        let folder = Path::new("/etc/postfix");
        let config = draft.config(folder, false).unwrap();
        Config::parse(Path::new("angarium.toml"), &config).unwrap();
        compare(case, "expected.toml", &config);
        compare(case, "expected.sh", &draft.script(folder, Path::new("/etc/angarium/angarium.toml")));
        assert_eq!(config, translated(&postfix(case)).config(folder, false).unwrap(), "{case} twice");
    }
}
