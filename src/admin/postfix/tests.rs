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
        "angarium alias set a@example.org b@example.org",
    ];
    assert_eq!(draft.bare_commands(), expected);
    let told: Vec<&str> = draft.unmatched.iter().map(|note| note.value.as_str()).collect();
    assert!(told.contains(&"lost@example.org: gone@example.org"), "{told:?}");
    assert!(told.contains(&"out@example.org: x@elsewhere.example"), "{told:?}");
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
