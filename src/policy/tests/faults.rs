//! What an operator is told about rules that are wrong: the line, the rule, and a remedy.

use crate::tests::no_file;
use crate::{Flow, Policy};

const LINES_BEFORE: usize = 3;

/// A rule of SMTP with these lines; the first of them is line 4.
fn policy_fault(lines: &str) -> String {
    let text = format!("[server]\n[[policy.rule]]\nname = 'it'\n{lines}\n");
    Policy::parse(&text, &no_file).err().unwrap_or_else(|| panic!("no fault in {lines}")).to_string()
}

fn flow_fault(lines: &str) -> String {
    let text = format!("[server]\n[[mailflow.rule]]\nname = 'it'\n{lines}\n");
    Flow::parse(&text, &no_file).err().unwrap_or_else(|| panic!("no fault in {lines}")).to_string()
}

#[test]
fn a_fault_names_line_rule_and_remedy() {
    for (lines, line, words) in [
        ("stage = 'conect'\nthen = 'accept'", 1, "there is no stage \"conect\"; there are connect, helo"),
        ("stage = 'mail'", 0, "`then` is missing"),
        ("stage = 'mail'\nthen = 'acept'", 2, "there is no action `acept`; there are accept"),
        (
            "stage = 'mail'\nthen = 'accept'\nif = 1",
            3,
            "`if` is not known here; known are name, stage, when, then",
        ),
        ("stage = 'mail'\nwhen = { sendr = 'x' }\nthen = 'accept'", 2, "there is no condition `sendr`"),
        ("stage = 'helo'\nwhen = { sender = 'x' }\nthen = 'accept'", 2, "use stage mail or later"),
        ("stage = 'mail'\nwhen = { header = 'X' }\nthen = 'accept'", 2, "use stage data or later"),
        ("stage = 'mail'\nwhen = { source = '10.0.0.1/8' }\nthen = 'accept'", 2, "write 10.0.0.0/8"),
        ("stage = 'mail'\nwhen = { source = [\n'::1',\n'x'] }\nthen = 'accept'", 4, "\"x\" is no network"),
        ("stage = 'mail'\nwhen = { sender = 'list:x' }\nthen = 'accept'", 2, "add [[policy.list]]"),
        ("stage = 'mail'\nwhen = { dnslist = 'x' }\nthen = 'accept'", 2, "add [[policy.dnslist]]"),
        ("stage = 'mail'\nwhen = { dnslist_weight = 1 }\nthen = 'accept'", 2, "add [[policy.dnslist]]"),
        ("stage = 'mail'\nwhen = { over_limit = 'x' }\nthen = 'accept'", 2, "add [[policy.limit]]"),
        ("stage = 'mail'\nwhen = { spf = 'bad' }\nthen = 'accept'", 2, "those are none, pass, fail"),
        ("stage = 'mail'\nwhen = { tls = 'yes' }\nthen = 'accept'", 2, "it must be true or false"),
        ("stage = 'mail'\nthen = ['accept', 'junk']", 2, "nothing comes after `accept`"),
        ("stage = 'mail'\nthen = 'greylist'", 2, "use stage rcpt"),
        ("stage = 'helo'\nthen = 'discard'", 2, "use stage mail or later"),
        ("stage = 'mail'\nthen = { reject = { code = 450 } }", 2, "from 500 to 599"),
        ("stage = 'mail'\nthen = { defer = { enhanced = '5.7.1' } }", 2, "begins with 4"),
        ("stage = 'mail'\nthen = { reject = 'nö' }", 2, "printable ASCII only"),
        ("stage = 'mail'\nthen = { reject = 'from {ip}' }", 2, "there is no {ip}; there are {source}"),
        ("stage = 'mail'\nthen = { tarpit = '1h' }", 2, "clients give up"),
        ("stage = 'mail'\nthen = { add_header = 'X' }", 2, "write \"Name: value\""),
        ("stage = 'mail'\nthen = { set_header = 'Received: x' }", 2, "rules cannot change it"),
        ("stage = 'mail'\nthen = { acceptt = 1 }", 2, "there is no action `acceptt`"),
    ] {
        let fault = policy_fault(lines);
        let expected = LINES_BEFORE + line.max(usize::from(line == 0));
        let line_is_right = line == 0 || fault.starts_with(&format!("line {expected}: rule \"it\": "));
        assert!(
            line_is_right && fault.contains("rule \"it\"") && fault.contains(words),
            "{lines}\n-> {fault}"
        );
    }
}

#[test]
fn the_same_for_mail_flow_rules() {
    for (lines, line, words) in [
        ("then = { bcc = 'x' }", 1, "is no e-mail address"),
        ("then = { bcc = 'a@b>\\nc' }", 1, "is no e-mail address"),
        ("then = 'redirect'", 1, "without a value"),
        ("then = ['discard', 'quarantine']", 1, "put it last"),
        ("then = 'discard'\nmode = 'test'", 0, "`mode` is enforce, audit or off"),
        ("then = 'discard'\nfrom = '2026-01-01'", 2, "a moment with its zone is wanted"),
        ("then = 'discard'\nfrom = 2026-01-01T00:00:00", 2, "a moment with its zone is wanted"),
        (
            "then = 'discard'\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-01T00:00:00Z",
            0,
            "would never hold",
        ),
        ("then = 'discard'\nwhen = { subject = '' }", 2, "an empty text is in everything"),
        ("then = 'discard'\nwhen = { body = { matches = '(' } }", 2, "no regular expression"),
        ("then = 'discard'\nwhen = { attachment = {} }", 2, "say what it must be"),
        ("then = 'discard'\nwhen = { type = 'x' }", 2, "those are automatic, reply"),
        ("then = 'discard'\nexcept = { sender_insid = true }", 2, "there is no condition `sender_insid`"),
        ("then = { disclaimer = { html = 'x' } }", 0, "`text` is missing"),
        ("then = { disclaimer = { text = 'x', fallback = 'x' } }", 0, "wrap, ignore or reject"),
        ("then = { reject = { code = 451 } }", 1, "from 500 to 599"),
        ("then = { set_header = 'Content-Type: x' }", 1, "rules cannot change it"),
    ] {
        let fault = flow_fault(lines);
        let line_is_right =
            line == 0 || fault.starts_with(&format!("line {}: rule \"it\": ", LINES_BEFORE + line));
        assert!(
            line_is_right && fault.contains("rule \"it\"") && fault.contains(words),
            "{lines}\n-> {fault}"
        );
    }
}

#[test]
fn faults_outside_of_rules_have_their_place_too() {
    for (text, line, words) in [
        ("x = ", 1, ""),
        ("[policy]\nrules = 1", 2, "known are rule, list, dnslist, limit, greylist"),
        ("[[policy.list]]\nname = 'a'", 1, "list \"a\": a list has `entries"),
        ("[[policy.list]]\nname = 'a'\nfile = '/x'", 3, "list \"a\": /x: /x is not there"),
        (
            "[[policy.list]]\nname = 'a'\nentries = ['x']\n[[policy.list]]\nname = 'a'\nentries = ['x']",
            4,
            "rename one",
        ),
        ("[[policy.dnslist]]\nname = 'a'\nzone = 'a b'", 3, "a zone in DNS is wanted"),
        ("[[policy.limit]]\nname = 'a'\nper = 'day'\nrate = 1", 3, "a limit cannot be per \"day\""),
        ("[[policy.limit]]\nname = 'a'\nper = 'source'", 1, "`rate` is missing"),
        ("[[policy.limit]]\nname = 'a'\nper = 'source'\nrate = 0", 4, "above 0"),
        ("[[policy.limit]]\nname = 'a'\nper = 'source'\nrate = 1\nat_once = 1", 1, "stands alone"),
        ("[policy.greylist]\ndelay = '2h'\nwindow = '1h'", 1, "nobody could ever pass"),
        ("[policy.greylist]\nnetwork_v4 = 33", 2, "from 16 to 32"),
        ("[policy.pregreet]\nwait = '5m'", 1, "clients give up"),
        ("[policy.pregreet]\nthen = 'drop'", 2, "`then` is"),
        ("[policy.pregreet]\nscore = 5", 1, "of no use"),
        ("[policy.pregreet]\nreputation = 101", 2, "from -100 to 100"),
        ("[policy.pregreet]\nexempt = ['192.0.2.1/24']", 2, "write 192.0.2.0/24"),
        ("[policy]\nrule = 1", 2, "a list of tables"),
        (
            "[[policy.rule]]\nname = 'a'\nstage = 'mail'\nthen = 'junk'\n[[policy.rule]]\nname = 'a'\nstage = 'mail'\nthen = 'junk'",
            5,
            "there are two of the name \"a\"",
        ),
    ] {
        let fault = Policy::parse(text, &no_file).unwrap_err();
        assert!(fault.line == line && fault.message.contains(words), "{text}\n-> {fault}");
    }
}
