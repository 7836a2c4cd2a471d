//! The operator's page about rules: every example on it is read, and every word of the language is on it.

use std::collections::BTreeSet;

use crate::{Flow, Policy};

const GUIDE: &str = include_str!("../../../docs/operate/rules.md");

fn examples() -> Vec<&'static str> {
    GUIDE.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn file(path: &str) -> Result<String, String> {
    if GUIDE.contains(path) { Ok("example.com\n".to_owned()) } else { Err("not on the page".to_owned()) }
}

#[test]
fn every_example_is_a_configuration() {
    let mut rules = 0;
    for example in examples() {
        let policy = Policy::parse(example, &file).unwrap_or_else(|fault| panic!("{fault}\n{example}"));
        let flow = Flow::parse(example, &file).unwrap_or_else(|fault| panic!("{fault}\n{example}"));
        rules += policy.rule_count() + flow.rule_names().count();
    }
    assert!(rules >= 15, "{rules}");
}

/// The words that a fault lists as known in a place.
fn known(text: &str, before: &str) -> BTreeSet<String> {
    let faults = [Policy::parse(text, &file).err(), Flow::parse(text, &file).err()];
    let fault = faults.into_iter().flatten().next().expect("it is wrong").message;
    let (_, list) = fault.split_once(before).unwrap_or_else(|| panic!("{fault}"));
    list.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_word_of_the_language_is_on_the_page() {
    let rule = |kind: &str, rest: &str| format!("[[{kind}.rule]]\nname = 'a'\nstage = 'data'\n{rest}\n");
    let flow = |rest: &str| format!("[[mailflow.rule]]\nname = 'a'\n{rest}\n");
    let all = [
        known("[policy]\nx = 1", "known are "),
        known("[mailflow]\nx = 1", "known are "),
        known("[policy.greylist]\nx = 1", "known are "),
        known("[policy.reputation]\nx = 1", "known are "),
        known("[policy.tarpit]\nx = 1", "known are "),
        known("[policy.pregreet]\nx = 1", "known are "),
        known("[[policy.list]]\nx = 1", "known are "),
        known("[[policy.dnslist]]\nx = 1", "known are "),
        known("[[policy.limit]]\nname = 'a'\nx = 1", "known are "),
        known(&rule("policy", "x = 1\nthen = 'junk'"), "known are "),
        known(&rule("policy", "then = 'x'"), "there are "),
        known(&rule("policy", "then = 'junk'\nwhen = { x = 1 }"), "there are "),
        known(&rule("policy", "then = 'junk'\nwhen = { spf = 'x' }"), "those are "),
        known(&rule("policy", "then = { reject = '{x}' }"), "there are "),
        known(&flow("x = 1"), "known are "),
        known(&flow("then = 'x'"), "there are "),
        known(&flow("then = { disclaimer = { x = 1 } }"), "known are "),
        known(&flow("then = 'discard'\nwhen = { x = 1 }"), "there are "),
        known(&flow("then = 'discard'\nwhen = { type = 'x' }"), "those are "),
        known(&flow("then = 'discard'\nwhen = { attachment = { x = 1 } }"), "known are "),
    ];
    let is_on_page = |word: &&String| GUIDE.contains(&format!("`{word}`"));
    let missing: BTreeSet<&String> = all.iter().flatten().filter(|word| !is_on_page(word)).collect();
    assert!(missing.is_empty(), "docs/operate/rules.md does not explain {missing:?}");
}
