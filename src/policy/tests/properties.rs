//! What holds for whatever comes: each against a model that is too simple to be wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base::{Random, Timestamp};

use crate::network::Networks;
use crate::pattern::{Kind, Patterns, glob_matches};
use crate::read::document;
use crate::tree::{Grammar, Tree, Truth};
use crate::{Greylist, GreylistSettings, KeyMaker};

#[test]
fn an_address_is_in_a_set_when_it_is_in_one_of_its_networks() {
    let mut random = Random::new(3);
    for _ in 0..300 {
        let networks: Vec<(bool, u128, u8)> = (0..random.below(12))
            .map(|_| {
                let is_v4 = random.one_in(2);
                let width: u8 = if is_v4 { 32 } else { 128 };
                let bits = random.below(u64::from(width) + 1) as u8;
                let host = if bits == 0 && width == 128 { u128::MAX } else { (1_u128 << (width - bits)) - 1 };
                let number = u128::from(random.next_u64() & 0x3f00_0000) & !host;
                (is_v4, number, bits)
            })
            .collect();
        let text = |(is_v4, number, bits): &(bool, u128, u8)| {
            let address: IpAddr =
                if *is_v4 { Ipv4Addr::from(*number as u32).into() } else { Ipv6Addr::from(*number).into() };
            format!("{address}/{bits}")
        };
        let texts: Vec<String> = networks.iter().map(text).collect();
        let set = Networks::compile(texts.iter().map(String::as_str)).unwrap();
        for _ in 0..50 {
            let number = u128::from(random.next_u64() & 0x3f00_00ff);
            let is_v4 = random.one_in(2);
            let address: IpAddr =
                if is_v4 { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() };
            let width: u8 = if is_v4 { 32 } else { 128 };
            let is_in = networks.iter().filter(|(of_v4, ..)| *of_v4 == is_v4).any(|(_, first, bits)| {
                let rest = u32::from(width - bits);
                number.checked_shr(rest).unwrap_or(0) == first.checked_shr(rest).unwrap_or(0)
            });
            assert_eq!(set.contains(address), is_in, "{address} in {texts:?}");
        }
    }
}

/// A glob by its definition.
fn matches_simply(glob: &[u8], text: &[u8]) -> bool {
    match (glob.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            matches_simply(&glob[1..], text) || (!text.is_empty() && matches_simply(glob, &text[1..]))
        }
        (Some(b'?'), Some(_)) => matches_simply(&glob[1..], &text[1..]),
        (Some(one), Some(other)) if one == other => matches_simply(&glob[1..], &text[1..]),
        _ => false,
    }
}

#[test]
fn globs_mean_what_they_say() {
    let mut random = Random::new(4);
    let mut word = |letters: &[u8], most: u64| -> Vec<u8> {
        (0..random.below(most)).map(|_| letters[random.below(letters.len() as u64) as usize]).collect()
    };
    for _ in 0..20_000 {
        let (glob, text) = (word(b"ab*?", 8), word(b"ab", 9));
        assert_eq!(glob_matches(&glob, &text), matches_simply(&glob, &text), "{glob:?} {text:?}");
    }
}

#[test]
fn large_sets_of_names_say_what_small_ones_say() {
    let mut random = Random::new(6);
    let mut name = |most: u64| -> String {
        let labels: Vec<&str> =
            (0..=random.below(most)).map(|_| ["a", "b", "c"][random.below(3) as usize]).collect();
        labels.join(".")
    };
    for _ in 0..300 {
        let entries: Vec<String> =
            (0..6).map(|n| if n % 2 == 0 { name(3) } else { format!(".{}", name(2)) }).collect();
        let all = Patterns::compile(Kind::Name, entries.iter().map(String::as_str)).unwrap();
        for _ in 0..30 {
            let name = name(5);
            let holds = entries
                .iter()
                .any(|entry| *entry == name || (entry.starts_with('.') && name.ends_with(entry.as_str())));
            assert_eq!(all.matches(&name), holds, "{name} in {entries:?}");
        }
    }
}

/// A random tree as TOML; each leaf is another variable.
fn tree_text(random: &mut Random, depth: u64, next: &mut u32) -> String {
    if depth == 0 || random.one_in(3) {
        *next += 1;
        return format!("{{ v = '{}' }}", *next - 1);
    }
    let mut several = |random: &mut Random| -> String {
        let parts: Vec<String> = (0..=random.below(3)).map(|_| tree_text(random, depth - 1, next)).collect();
        parts.join(", ")
    };
    match random.below(3) {
        0 => format!("{{ all = [{}] }}", several(random)),
        1 => format!("{{ any = [{}] }}", several(random)),
        _ => format!("{{ not = {} }}", tree_text(random, depth - 1, next)),
    }
}

#[test]
fn what_is_decided_early_is_what_is_decided_in_the_end() {
    let mut random = Random::new(8);
    for _ in 0..400 {
        let mut count = 0;
        let text = tree_text(&mut random, 4, &mut count);
        let grammar = Grammar {
            keys: &["v"],
            one: &|_, value| Ok(crate::read::text(value)?.parse::<usize>().unwrap()),
            is_asked: &|variable| variable % 2 == 1,
        };
        let tree = document(&format!("x = {text}"), |all| Tree::read(all.need("x")?, &grammar)).unwrap();
        let mut known: Vec<Truth> = vec![Truth::Unknown; count as usize];
        let mut decided = Truth::Unknown;
        for _ in 0..=count {
            let mut asked = Vec::new();
            let truth = tree.decide(&mut asked, &mut |variable, asked: &mut Vec<usize>| {
                if known[*variable] == Truth::Unknown {
                    asked.push(*variable);
                }
                known[*variable]
            });
            assert!(
                decided == Truth::Unknown || truth == decided,
                "{text}: more knowledge changed {decided:?}"
            );
            assert_eq!(
                truth == Truth::Unknown,
                !asked.is_empty(),
                "{text}: it asks when and only when it does not know"
            );
            decided = truth;
            // What is asked is answered; when nothing is, something else becomes known.
            let open = known.iter().position(|truth| *truth == Truth::Unknown);
            let Some(at) = asked.first().copied().or(open) else { break };
            known[at] = random.one_in(2).into();
        }
        assert_ne!(decided, Truth::Unknown, "{text}");
    }
}

#[test]
fn nobody_passes_a_greylist_before_its_time() {
    let mut random = Random::new(10);
    let settings = GreylistSettings {
        trust_after: 0,
        window_ms: 1_000_000,
        keep_ms: 3_000_000,
        ..GreylistSettings::default()
    };
    let mut list = Greylist::new(KeyMaker::new(u128::from(random.next_u64())));
    // When a sender was first seen and last passed.
    let mut model: HashMap<u64, (i64, Option<i64>)> = HashMap::new();
    let mut now = 0_i64;
    for _ in 0..20_000 {
        now += random.below(200_000).cast_signed();
        let who = random.below(8);
        let sender = ["a", "b", "c", "d", "e", "f", "g", "h"][who as usize];
        let wait = list.check(
            Timestamp::from_ms(now),
            &settings,
            Ipv4Addr::LOCALHOST.into(),
            &format!("{sender}@x"),
            "y@z",
        );
        let entry = model.entry(who).or_insert((now, None));
        let is_over = entry.1.map_or(now - entry.0 > 1_000_000, |passed| now - passed > 3_000_000);
        if is_over {
            *entry = (now, None);
        }
        let passes = entry.1.is_some() || now - entry.0 >= 300_000;
        assert_eq!(wait == 0, passes, "{sender} at {now}");
        if passes {
            entry.1 = Some(now);
        } else {
            assert_eq!(i64::from(wait), (300_000 - (now - entry.0) + 999) / 1000);
        }
    }
}
