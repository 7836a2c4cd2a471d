//! What somebody who is logged in may do changes when their account does, at once; and what peers may make
//! a shard hold is bounded.

use std::sync::Arc;

use crate::rig::{PASSWORD, Server, address};
use base::ShardId;
use directory::{AliasEntry, EmailAddress};
use shard::Settings;
use smtp::Mode;

const SOURCE: &str = "192.0.2.1";

fn login(name: &str) -> String {
    format!("a0 LOGIN {name} {PASSWORD}\r\n")
}

#[test]
fn a_disabled_or_removed_account_ends_its_open_sessions() {
    for at in [ShardId(0), ShardId(1)] {
        for is_removed in [false, true] {
            let server = Server::new();
            let mut imap = server.imap(at, SOURCE);
            assert!(imap.say(&login("ann")).contains("a0 OK "));
            assert!(imap.say("a1 SELECT INBOX\r\n").contains("a1 OK "));
            let mut idle = server.imap(at, SOURCE);
            idle.say(&login("ann"));
            let mut pop3 = server.pop3(at, SOURCE);
            assert!(pop3.say(&format!("USER ann\r\nPASS {PASSWORD}\r\n")).contains("+OK logged in"));
            let mut other = server.imap(at, SOURCE);
            other.say(&login("bob"));
            if is_removed {
                let entry = server.entry("ann");
                server.wait(server.directory().delete_account(entry.id)).expect("it is there");
                // Somebody else gets the address.
                server.add_entry("ann");
                server.told();
            } else {
                server.update("ann", |entry| entry.enabled = false);
            }
            for line in [&mut imap, &mut idle] {
                let said = line.say("a2 LIST \"\" *\r\na3 NOOP\r\n");
                assert_eq!(said, "* BYE [CONTACTADMIN] the account is closed\r\n");
                assert!(line.is_over);
            }
            assert_eq!(pop3.say("LIST\r\nNOOP\r\n"), "-ERR [SYS/PERM] the account is closed\r\n");
            assert!(pop3.is_over);
            assert!(other.say("a2 LIST \"\" *\r\n").contains("a2 OK "), "others go on");
        }
    }
}

#[test]
fn another_quota_counts_for_sessions_that_are_open() {
    let server = Server::new();
    let mut imap = server.imap(ShardId(0), SOURCE);
    imap.say(&login("ann"));
    assert!(imap.say("a1 APPEND INBOX {6+}\r\na: b\r\n\r\n").contains("a1 OK "));
    server.update("ann", |entry| entry.quota_bytes = Some(6));
    let said = imap.say("a2 APPEND INBOX {6+}\r\na: b\r\n\r\n");
    assert_eq!(said, "a2 NO [OVERQUOTA] the account is over its quota\r\n");
    server.update("ann", |entry| entry.quota_bytes = None);
    assert!(imap.say("a3 APPEND INBOX {6+}\r\na: b\r\n\r\n").contains("a3 OK "));
}

#[test]
fn an_account_without_mailboxes_gets_them_at_its_login() {
    let server = Server::new();
    for name in ["dora", "emil"] {
        server.add_entry(name);
    }
    server.told();
    let mut imap = server.imap(ShardId(0), SOURCE);
    assert!(imap.say(&login("dora")).contains("a0 OK "));
    assert!(imap.say("a1 SELECT INBOX\r\n").contains("a1 OK "));
    assert!(imap.say("a2 LIST \"\" Sent\r\n").contains("\\Sent"));
    let said = server.pop3(ShardId(0), SOURCE).say(&format!("USER emil\r\nPASS {PASSWORD}\r\n"));
    assert!(said.contains("+OK logged in, 0 messages"), "{said}");
}

#[test]
fn who_submits_may_use_their_own_addresses_and_no_others() {
    let server = Server::new();
    let parse = |name: &str| EmailAddress::parse(&address(name)).expect("a good address");
    for (alias, targets) in [("sales", vec!["ann"]), ("team", vec!["ann", "bob"])] {
        let targets = targets.into_iter().map(parse).collect();
        server
            .wait(server.directory().put_alias(AliasEntry { address: parse(alias), targets }))
            .expect("new");
    }
    server.told();
    let plain = "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
    let submit = |sender: &str| {
        let mut smtp = server.smtp(Mode::Submission, ShardId(1), SOURCE);
        assert!(smtp.say(&format!("EHLO x\r\n{plain}")).contains("\r\n235 "));
        smtp.say(&format!("MAIL FROM:<{sender}>\r\n"));
        smtp.say("RCPT TO:<cleo@example.org>\r\n")
    };
    for own in ["ann@example.org", "Ann@EXAMPLE.org", "ann+news@example.org", "sales@example.org", ""] {
        assert_eq!(submit(own), "250 2.1.5 recipient ok\r\n", "<{own}>");
    }
    for other in ["bob@example.org", "team@example.org", "nobody@example.org", "ann@elsewhere.example"] {
        assert_eq!(submit(other), "550 5.7.1 you may not send as this sender\r\n", "<{other}>");
    }
    // Mail from elsewhere comes in with whatever sender it has.
    let mut mx = server.smtp(Mode::Mx, ShardId(1), SOURCE);
    let said = mx.say("EHLO x\r\nMAIL FROM:<bob@example.org>\r\nRCPT TO:<cleo@example.org>\r\n");
    assert!(said.ends_with("250 2.1.5 recipient ok\r\n"), "{said}");
    // Who is switched off in the middle of it sends nothing more, not even bounces.
    for sender in ["ann@example.org", ""] {
        let mut smtp = server.smtp(Mode::Submission, ShardId(1), SOURCE);
        smtp.say(&format!("EHLO x\r\n{plain}MAIL FROM:<{sender}>\r\n"));
        server.update("ann", |entry| entry.enabled = false);
        assert_eq!(
            smtp.say("RCPT TO:<cleo@example.org>\r\n"),
            "550 5.7.1 you may not send as this sender\r\n"
        );
        server.update("ann", |entry| entry.enabled = true);
    }
}

#[test]
fn what_all_connections_hold_of_unfinished_messages_is_bounded() {
    let server = Server::new();
    let shard = &server.shards[0];
    let bounded =
        |bytes| Arc::new(Settings { content_bytes_max: bytes, ..Settings::clone(&shard.settings()) });
    shard.reload(bounded(500_000));
    let begin = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n";
    let line = format!("{}\r\n", "x".repeat(998));
    let mut all: Vec<_> = (0..10).map(|_| server.smtp(Mode::Mx, ShardId(0), SOURCE)).collect();
    for smtp in &mut all {
        assert!(smtp.say(begin).contains("\r\n354 "));
    }
    for _ in 0..100 {
        for smtp in &mut all {
            smtp.say(&line);
        }
        assert!(shard.content.used() <= 500_000);
    }
    // While they hold it, others are asked to come later, over IMAP too.
    shard.reload(bounded(shard.content.used()));
    let mut imap = server.imap(ShardId(0), SOURCE);
    let said = imap.say(&format!("a0 LOGIN ann {PASSWORD}\r\na1 APPEND INBOX {{5000}}\r\na2 NOOP\r\n"));
    assert!(said.contains("a1 NO [LIMIT] too much is coming in now"), "{said}");
    assert!(said.contains("a2 OK "), "{said}");
    let said = server.smtp(Mode::Mx, ShardId(0), SOURCE).say("EHLO x\r\nMAIL FROM:<>\r\n");
    assert!(said.ends_with("452 4.3.1 too much mail is coming in now; try again later\r\n"), "{said}");
    let answers: Vec<String> = all.iter_mut().map(|smtp| smtp.say(".\r\n")).collect();
    let stored = answers.iter().filter(|said| said.starts_with("250 ")).count();
    let refused = answers.iter().filter(|said| said.starts_with("452 4.3.1 ")).count();
    assert!(stored > 0 && refused > 0 && stored + refused == 10, "{answers:?}");
    assert_eq!(shard.content.used(), 0, "all is given back");
}
