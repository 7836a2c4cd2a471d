use super::*;

const SMALL: &[u8] = b"Subject: a\r\n\r\none\r\n";

#[test]
fn flags_are_set_added_and_removed_and_told_once() {
    let mut ann = Fixture::new(&[SMALL, SMALL]);
    assert_eq!(
        ann.say("STORE 1:2 +FLAGS (\\Flagged)"),
        lines(&["* 1 FETCH (FLAGS (\\Flagged))", "* 2 FETCH (FLAGS (\\Flagged))", "t OK stored"])
    );
    assert_eq!(ann.say("STORE 2 FLAGS.SILENT (\\Deleted \\Seen)"), lines(&["t OK stored"]));
    assert_eq!(ann.say("NOOP"), lines(&["t OK up to date"]));
    assert_eq!(
        ann.say("UID STORE 2 -FLAGS \\Seen"),
        lines(&["* 2 FETCH (UID 2 FLAGS (\\Deleted))", "t OK stored"])
    );
    let said = ann.say("STORE 1 +FLAGS ($Work)");
    assert!(said.starts_with("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)\r\n"), "{said}");
    assert!(said.ends_with("* 1 FETCH (FLAGS (\\Flagged $Work))\r\nt OK stored\r\n"), "{said}");
}

#[test]
fn unchanged_since_leaves_changed_messages_alone_and_names_them() {
    let mut ann = Fixture::new(&[SMALL, SMALL, SMALL]).with(Enabled::CONDSTORE);
    let since = ann.account.highest_change().0;
    ann.add_flags(&[2], Flags::SEEN);
    ann.remove(&[1]);
    ann.say("UID FETCH 9 UID");
    let said = ann.say(&alloc::format!("STORE 1:2 (UNCHANGEDSINCE {since}) +FLAGS.SILENT (\\Deleted)"));
    assert_eq!(
        said,
        alloc::format!(
            "* 2 FETCH (MODSEQ ({}))\r\nt OK [MODIFIED 1] some of the messages had changed\r\n",
            since + 3
        )
    );
    assert!(
        ann.say("UID STORE 2 (UNCHANGEDSINCE 0) FLAGS ()")
            .ends_with("t OK [MODIFIED 2] some of the messages had changed\r\n")
    );
}

#[test]
fn a_message_that_is_gone_is_skipped_and_reported() {
    let mut ann = Fixture::new(&[SMALL, SMALL]);
    ann.remove(&[1]);
    assert_eq!(
        ann.say("STORE 1:2 FLAGS (\\Seen)"),
        lines(&["* 2 FETCH (FLAGS (\\Seen))", "t NO [EXPUNGEISSUED] some of the messages are gone"])
    );
}

#[test]
fn a_keyword_that_takes_the_place_of_an_unused_one_is_told_by_its_own_name() {
    let mut ann = Fixture::new(&[SMALL]);
    let all: Vec<String> = (0..account::KEYWORDS_MAX).map(|at| alloc::format!("k{at}")).collect();
    ann.say(&alloc::format!("STORE 1 +FLAGS ({})", all.join(" ")));
    assert_eq!(ann.say("STORE 1 +FLAGS (new)"), lines(&["t NO [LIMIT] a limit of the account is reached"]));
    ann.say("STORE 1 -FLAGS (k5)");
    let said = ann.say("STORE 1 FLAGS (new k6)");
    assert!(said.starts_with("* FLAGS (\\Answered "), "{said}");
    assert!(said.contains(" k4 new k6 k7 ") && !said.contains(" k5 "), "{said}");
    assert!(said.ends_with("* 1 FETCH (FLAGS (new k6))\r\nt OK stored\r\n"), "{said}");
}
