use super::*;
use crate::limits::SEARCH_TEXT_KEYS_MAX;
use sim::samples;

fn messages() -> Vec<&'static [u8]> {
    samples::ALL.iter().map(|(_, message)| *message).collect()
}

fn found(ann: &mut Fixture, keys: &str) -> String {
    let said = ann.say(&alloc::format!("SEARCH {keys}"));
    let line = said.strip_suffix("t OK searched\r\n").unwrap_or_else(|| panic!("{keys}: {said}"));
    line.strip_prefix("* SEARCH").and_then(|rest| rest.strip_suffix("\r\n")).expect(keys).trim().to_string()
}

/// The names of the samples found, for they say more than numbers.
fn names(ann: &mut Fixture, keys: &str) -> Vec<&'static str> {
    let numbers = found(ann, keys);
    numbers.split_whitespace().map(|n| samples::ALL[n.parse::<usize>().unwrap() - 1].0).collect()
}

#[test]
fn text_is_found_decoded_in_headers_and_bodies() {
    let mut ann = Fixture::new(&messages());
    for (keys, want) in [
        ("SUBJECT lunch", &["plain", "reply"][..]),
        ("SUBJECT \"grüße aus köln\"", &["encoded"]),
        ("FROM \"müller\"", &["encoded"]),
        ("TO carl", &["attachment", "folded"]),
        ("CC \"\"", &["attachment"]),
        ("BODY \"café at noon\"", &["alternative"]),
        ("BODY \"See the file\"", &["attachment"]),
        ("HEADER message-id inner.1", &[]),
        ("TEXT \"the plan\" NOT BODY \"here it is\"", &["alternative"]),
        ("OR CC dora FROM \"bob b.\" LARGER 100", &["attachment"]),
    ] {
        assert_eq!(names(&mut ann, keys), want, "{keys}");
    }
}

#[test]
fn rows_decide_without_reading() {
    let mut ann = Fixture::new(&messages());
    let all = samples::ALL.len();
    ann.add_flags(&[2, 4], Flags::FLAGGED);
    ann.say("NOOP");
    let whole = alloc::format!("{}:{all}", 1);
    for (keys, want) in [
        ("FLAGGED", "2 4"),
        ("UID 2:3 FLAGGED", "2"),
        ("3:5 FLAGGED", "4"),
        ("NOT 2:* ", "1"),
        ("NEW", ""),
        ("KEYWORD x", ""),
        ("SINCE 2-Jan-2026", ""),
        ("BEFORE 1-Jan-2026", ""),
        ("1 ON 1-Jan-2026 SAVEDON 1-Jan-2026", "1"),
        ("1 YOUNGER 10", "1"),
        ("1 OLDER 10", ""),
        ("EMAILID M3", "3"),
        ("EMAILID x", ""),
        ("THREADID T1", ""),
        ("SENTSINCE 3-Jan-2026 SENTBEFORE 4-Jan-2026", "4"),
        ("2 SMALLER 100000", "2"),
    ] {
        assert_eq!(found(&mut ann, keys.trim()), want, "{keys}");
    }
    assert_eq!(found(&mut ann, "UNFLAGGED").split(' ').count(), all - 2);
    assert_eq!(
        ann.say("SEARCH RETURN (ALL) OLD"),
        alloc::format!("* ESEARCH (TAG \"t\") ALL {whole}\r\nt OK searched\r\n")
    );
    // A number beyond the mailbox is a condition that nothing meets.
    assert_eq!(ann.say("SEARCH 99"), lines(&["* SEARCH", "t OK searched"]));
    assert_eq!(ann.say("UID SEARCH UID 99"), lines(&["* SEARCH", "t OK searched"]));
}

#[test]
fn esearch_tells_what_was_asked_for_and_saves() {
    let mut ann = Fixture::new(&messages());
    ann.add_flags(&[2, 3, 5], Flags::FLAGGED);
    ann.say("NOOP");
    let esearch = |rest: &str| lines(&[&alloc::format!("* ESEARCH (TAG \"t\"){rest}"), "t OK searched"]);
    assert_eq!(ann.say("SEARCH RETURN (MIN MAX COUNT) FLAGGED"), esearch(" MIN 2 MAX 5 COUNT 3"));
    assert_eq!(ann.say("UID SEARCH RETURN () FLAGGED"), esearch(" UID ALL 2:3,5"));
    assert_eq!(ann.say("SEARCH RETURN (SAVE) FLAGGED"), lines(&["t OK searched"]));
    assert_eq!(ann.say("UID SEARCH $"), lines(&["* SEARCH 2 3 5", "t OK searched"]));
    assert_eq!(ann.say("SEARCH RETURN (MIN SAVE) FLAGGED"), esearch(" MIN 2"));
    assert_eq!(ann.say("FETCH $ UID"), lines(&["* 2 FETCH (UID 2)", "t OK fetched"]));
    ann.say("SEARCH RETURN (MIN MAX SAVE) FLAGGED");
    assert_eq!(ann.say("SEARCH $"), lines(&["* SEARCH 2 5", "t OK searched"]));
    let bad_charset = "t NO [BADCHARSET (UTF-8 US-ASCII)] the charset is not known\r\n";
    assert_eq!(ann.say("SEARCH RETURN (SAVE) CHARSET x-none TEXT a"), bad_charset);
    assert_eq!(ann.say("SEARCH $"), lines(&["* SEARCH", "t OK searched"]));
    let mut ann = ann.with(Enabled::REV2);
    assert_eq!(ann.say("SEARCH FLAGGED"), esearch(" ALL 2:3,5"));
    assert_eq!(ann.say("SEARCH KEYWORD none"), esearch(""));
}

#[test]
fn mod_seq_is_told_when_it_was_searched_for() {
    let mut ann = Fixture::new(&messages()).with(Enabled::CONDSTORE);
    let since = ann.account.highest_change().0;
    ann.add_flags(&[2], Flags::FLAGGED);
    ann.add_flags(&[1], Flags::FLAGGED);
    ann.say("NOOP");
    let after = since + 1;
    assert_eq!(
        ann.say(&alloc::format!("SEARCH MODSEQ {after}")),
        alloc::format!("* SEARCH 1 2 (MODSEQ {})\r\nt OK searched\r\n", since + 2)
    );
    assert_eq!(
        ann.say(&alloc::format!("SEARCH RETURN (MAX) MODSEQ {after}")),
        alloc::format!("* ESEARCH (TAG \"t\") MAX 2 MODSEQ {after}\r\nt OK searched\r\n")
    );
    assert_eq!(ann.say("SEARCH MODSEQ 999"), lines(&["* SEARCH", "t OK searched"]));
}

#[test]
fn charsets_are_understood() {
    let mut ann = Fixture::new(&messages());
    assert_eq!(names(&mut ann, "CHARSET UTF-8 SUBJECT \"grüße\""), ["encoded", "utf8"]);
    let command = text(b"t SEARCH CHARSET ISO-8859-1 SUBJECT {4}\r\nGr\xfc\xdf");
    let Command::Search(search) = parse(&command).unwrap().command.unwrap() else { panic!("a search") };
    assert_eq!(search.keys, [crate::command::search::Key::Header("SUBJECT".to_string(), "Grüß".to_string())]);
    let mut ann = ann.with(Enabled::UTF8);
    assert!(ann.say("SEARCH CHARSET UTF-8 ALL").starts_with("t BAD "));
}

#[test]
fn keys_that_look_into_messages_are_bounded_and_each_gives_others_their_turn() {
    let message = alloc::format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(10_000));
    let mut ann = Fixture::new(&[message.as_bytes(), message.as_bytes()]);
    let keys = |n: usize| alloc::format!("SEARCH {}", ["NOT BODY none"].repeat(n).join(" "));
    assert_eq!(ann.say(&keys(SEARCH_TEXT_KEYS_MAX)), lines(&["* SEARCH 1 2", "t OK searched"]));
    assert!(ann.turns >= SEARCH_TEXT_KEYS_MAX, "{}", ann.turns);
    let refused = lines(&["t NO [LIMIT] too many keys that look into messages"]);
    assert_eq!(ann.say(&keys(SEARCH_TEXT_KEYS_MAX + 1)), refused);
    let nested = "OR (SUBJECT a TEXT b) NOT ".repeat(SEARCH_TEXT_KEYS_MAX / 2) + "HEADER c d";
    assert_eq!(ann.say(&alloc::format!("SEARCH {nested}")), refused);
    // Keys that rows decide do not count.
    let rows = "UNSEEN ".repeat(500) + "TEXT 9abc";
    assert_eq!(ann.say(&alloc::format!("SEARCH {rows}")), lines(&["* SEARCH 1 2", "t OK searched"]));
}
