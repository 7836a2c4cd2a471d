use super::*;

const SMALL: &[u8] = b"Subject: a\r\n\r\none\r\n";

#[test]
fn copies_are_told_with_their_new_uids() {
    let mut ann = Fixture::new(&[SMALL, SMALL, SMALL]);
    ann.remove(&[1]);
    ann.say("NOOP");
    let validity = ann.account.mailbox(&MailboxName::new("Archive").unwrap()).unwrap().uid_validity;
    assert_eq!(ann.say("COPY 1:2 Archive"), alloc::format!("t OK [COPYUID {validity} 2:3 1:2] copied\r\n"));
    assert_eq!(ann.say("UID COPY 77 Archive"), lines(&["t OK nothing to copy"]));
    assert_eq!(ann.say("COPY 1 Nowhere"), lines(&["t NO [TRYCREATE] there is no such mailbox"]));
    assert_eq!(ann.say("COPY 9 Archive"), lines(&["t BAD there is no message with that sequence number"]));
    // A copy is the same message in another place: flags, date and EMAILID stay.
    ann.say("STORE 1 +FLAGS.SILENT (\\Flagged)");
    ann.now = Timestamp::from_s(Clock::START.as_s() + 60);
    ann.say("COPY 1 Archive");
    let emailid = ann.say("FETCH 1 (EMAILID)").replace("* 1 ", "* 3 ");
    ann.say("SELECT Archive");
    assert_eq!(ann.say("FETCH 3 (EMAILID)"), emailid);
    assert_eq!(
        ann.say("FETCH 3 (FLAGS INTERNALDATE SAVEDATE)"),
        lines(&[
            "* 3 FETCH (FLAGS (\\Flagged) INTERNALDATE \" 1-Jan-2026 00:00:00 +0000\" \
             SAVEDATE \" 1-Jan-2026 00:01:00 +0000\")",
            "t OK fetched",
        ])
    );
}

#[test]
fn a_move_tells_copyuid_before_what_is_gone() {
    let mut ann = Fixture::new(&[SMALL, SMALL, SMALL]);
    let validity = ann.account.mailbox(&MailboxName::new("Trash").unwrap()).unwrap().uid_validity;
    assert_eq!(
        ann.say("MOVE 1,3 Trash"),
        alloc::format!(
            "* OK [COPYUID {validity} 1,3 1:2] moved\r\n* 3 EXPUNGE\r\n* 1 EXPUNGE\r\nt OK moved\r\n"
        )
    );
    let mut ann = ann.with(Enabled::CONDSTORE.with(Enabled::QRESYNC));
    let said = ann.say("UID MOVE 2 Trash");
    assert!(said.contains("] moved\r\n* VANISHED 2\r\nt OK"), "{said}");
    assert_eq!(ann.account.mailbox(&MailboxName::inbox()).unwrap().status.exists, 0);
}

#[test]
fn nothing_is_copied_when_one_of_the_messages_is_gone() {
    for command in ["COPY 1:2 Archive", "MOVE 1:2 Archive"] {
        let mut ann = Fixture::new(&[SMALL, SMALL]);
        ann.remove(&[2]);
        assert!(
            ann.say(command).contains("t NO [EXPUNGEISSUED] some of the messages are gone\r\n"),
            "{command}"
        );
        let archive = ann.account.mailbox(&MailboxName::new("Archive").unwrap()).unwrap();
        assert_eq!(archive.status.exists, 0, "{command}");
    }
}
