//! Who users say they are (RFC 6409 §6.1, §8.1; RFC 5322 §3.6.2), and the copies of what they send.

use std::sync::Arc;

use crate::rig::{PASSWORD, Server, address};
use base::ShardId;
use directory::{AliasEntry, EmailAddress, SendRight, SentCopy};
use shard::{FromCheck, Inbound, Settings};
use smtp::Mode;

const SOURCE: &str = "192.0.2.1";
const REST: &str = "Date: d\r\nMessage-ID: <m>\r\n\r\nbody\r\n";
const TAKEN: &str = "250 2.0.0 stored as ";

fn parse(name: &str) -> EmailAddress {
    EmailAddress::parse(&address(name)).expect("a good address")
}

impl Server {
    fn delegate(&self, owner: &str, who: &str, right: Option<SendRight>) {
        self.wait(self.directory().set_delegate(&parse(owner), &parse(who), right)).expect("both are there");
        self.told();
    }

    fn alias(&self, name: &str, targets: &[&str]) {
        let targets = targets.iter().map(|name| parse(name)).collect();
        self.wait(self.directory().put_alias(AliasEntry { address: parse(name), targets })).expect("new");
        self.told();
    }

    fn check(&self, from: FromCheck) {
        for shard in &self.shards {
            let inbound = Arc::new(Inbound { from, ..Inbound::default() });
            shard.reload(Arc::new(Settings { inbound, ..Settings::clone(&shard.settings()) }));
        }
    }

    /// What is said to a message of ann's to cleo.
    fn submit(&self, sender: &str, content: &str) -> String {
        let mut smtp = self.smtp(Mode::Submission, ShardId(1), SOURCE);
        assert!(smtp.say("EHLO x\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n").contains("\r\n235 "));
        let said = smtp.say(&format!("MAIL FROM:<{sender}>\r\nRCPT TO:<cleo@example.org>\r\n"));
        if !said.ends_with("250 2.1.5 recipient ok\r\n") {
            return said;
        }
        smtp.say("DATA\r\n");
        smtp.say(&format!("{content}.\r\n"))
    }

    /// What is in a mailbox, newest last: the flags that are not `\Recent`, and the message.
    fn mailbox(&self, name: &str, mailbox: &str) -> Vec<(String, String)> {
        let mut imap = self.imap(ShardId(0), SOURCE);
        let said = imap.say(&format!("a LOGIN {name} {PASSWORD}\r\nb EXAMINE {mailbox}\r\n"));
        assert!(said.contains("b OK "), "{said}");
        if said.contains("* 0 EXISTS") {
            return Vec::new();
        }
        let said = imap.say("c FETCH 1:* (FLAGS BODY.PEEK[])\r\n");
        let all = said.split("FLAGS (").skip(1).map(|one| {
            let (flags, rest) = one.split_once(')').expect("flags");
            let (size, rest) =
                rest.split_once('{').and_then(|(_, rest)| rest.split_once("}\r\n")).expect("a literal");
            (flags.to_owned(), rest[..size.parse().expect("a number")].to_owned())
        });
        all.collect()
    }

    /// The last that cleo got, without Return-Path and Received.
    fn got(&self) -> String {
        let (_, message) = self.mailbox("cleo", "INBOX").pop().expect("there is one");
        let (_, rest) = message.split_once("\r\n\t").expect("Received is folded");
        let rest = rest.split_once("+0000\r\n").expect("and ends with its date").1;
        rest.to_owned()
    }
}

#[test]
fn from_is_what_the_account_may_use() {
    let server = Server::new();
    server.alias("sales", &["ann"]);
    server.alias("team", &["ann", "bob"]);
    let plain = address("ann");
    for own in ["ann", "ann+news", "ANN", "sales"] {
        let content = format!("From: A <{}>\r\n{REST}", address(own));
        let said = server.submit(&plain, &content);
        assert!(said.starts_with(TAKEN), "{own}: {said}");
        assert_eq!(server.got(), content);
    }
    for (field, other) in [
        ("From: bob@example.org", "bob@example.org, which From"),
        ("From: team@example.org", "team@example.org, which From"),
        ("From: ann@elsewhere.example", "ann@elsewhere.example, which From"),
        ("From: ann@example.org, bob@example.org", "bob@example.org, which From"),
        ("From: ann@example.org\r\nSender: bob@example.org", "bob@example.org, which Sender"),
    ] {
        let said = server.submit(&plain, &format!("{field}\r\n{REST}"));
        assert_eq!(said, format!("550 5.7.1 you may not send as {other} names\r\n"), "{field}");
    }
    // A first line that continues a field of ours would add somebody to it.
    for begin in [" , bob@example.org\r\n", "\t, bob@example.org\r\nFrom: ann@example.org\r\n"] {
        let said = server.submit(&plain, &format!("{begin}{REST}"));
        assert_eq!(said, "550 5.6.0 the header begins with a line that continues another\r\n");
    }
    assert_eq!(server.mailbox("cleo", "INBOX").len(), 4, "nothing of what was refused");
    // Mail from elsewhere says what it wants.
    let mut mx = server.smtp(Mode::Mx, ShardId(1), SOURCE);
    mx.say("EHLO x\r\nMAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<cleo@example.org>\r\nDATA\r\n");
    assert!(mx.say(&format!("From: bob@example.org\r\n{REST}.\r\n")).starts_with(TAKEN));
}

#[test]
fn delegates_send_as_others_or_say_for_whom_they_send() {
    let server = Server::new();
    server.update("ann", |entry| entry.display_name = "Ann A.".to_owned());
    let of_bob = format!("From: Bob <bob@example.org>\r\n{REST}");
    assert_eq!(
        server.submit(&address("bob"), &of_bob),
        "250 2.1.0 sender ok\r\n550 5.7.1 you may not send as this sender\r\n"
    );
    server.delegate("bob", "ann", Some(SendRight::SendAs));
    for sender in ["bob", "bob+x", "ann"] {
        assert!(server.submit(&address(sender), &of_bob).starts_with(TAKEN), "{sender}");
        assert_eq!(server.got(), of_bob);
    }
    server.delegate("bob", "ann", Some(SendRight::OnBehalf));
    let sender = "Sender: \"Ann A.\" <ann@example.org>\r\n";
    assert!(server.submit(&address("bob"), &of_bob).starts_with(TAKEN));
    assert_eq!(server.got(), format!("{sender}{of_bob}"));
    // One that is there already stays, another one's does not.
    let own = format!("Sender: ann+x@example.org\r\n{of_bob}");
    assert!(server.submit(&address("ann"), &own).starts_with(TAKEN));
    assert_eq!(server.got(), own);
    let of_bob_twice = format!("Sender: bob@example.org\r\n{of_bob}");
    assert!(server.submit(&address("ann"), &of_bob_twice).starts_with(TAKEN));
    assert_eq!(server.got(), format!("{sender}{of_bob}"));
    // A right is over everywhere when taking it away is acknowledged.
    server.delegate("bob", "ann", None);
    assert!(server.submit(&address("ann"), &of_bob).starts_with("550 5.7.1 "));
    // Who belongs to an alias that the operator gave its own address to.
    server.alias("team", &["ann", "bob"]);
    server.delegate("team", "team", Some(SendRight::SendAs));
    let of_team = format!("From: team@example.org\r\n{REST}");
    assert!(server.submit(&address("team"), &of_team).starts_with(TAKEN));
    assert_eq!(server.got(), of_team);
}

#[test]
fn what_lacks_a_from_gets_the_accounts_and_several_authors_have_a_sender() {
    let server = Server::new();
    server.alias("sales", &["ann"]);
    assert!(server.submit("", REST).starts_with(TAKEN));
    assert_eq!(server.got(), format!("From: ann@example.org\r\n{REST}"));
    server.update("ann", |entry| entry.display_name = "J\u{f6}rg".to_owned());
    assert!(server.submit(&address("ann"), REST).starts_with(TAKEN));
    assert_eq!(server.got(), format!("From: =?utf-8?B?SsO2cmc=?= <ann@example.org>\r\n{REST}"));
    let two = format!("From: ann@example.org, sales@example.org\r\n{REST}");
    assert!(server.submit(&address("ann"), &two).starts_with(TAKEN));
    assert_eq!(server.got(), format!("Sender: =?utf-8?B?SsO2cmc=?= <ann@example.org>\r\n{two}"));
}

#[test]
fn what_is_sent_on_keeps_its_author() {
    let server = Server::new();
    server.delegate("bob", "ann", Some(SendRight::OnBehalf));
    let original = format!("From: x@elsewhere.example\r\nSender: y@elsewhere.example\r\n{REST}");
    let resent = |by: &str| format!("Resent-From: {by}\r\nResent-Bcc: cleo@example.org\r\n{original}");
    assert!(server.submit(&address("ann"), &resent("ann@example.org")).starts_with(TAKEN));
    assert_eq!(server.got(), format!("Resent-From: ann@example.org\r\n{original}"));
    assert!(server.submit(&address("ann"), &resent("bob@example.org")).starts_with(TAKEN));
    let expected = format!("Resent-Sender: ann@example.org\r\nResent-From: bob@example.org\r\n{original}");
    assert_eq!(server.got(), expected);
    let said = server.submit(&address("ann"), &resent("cleo@example.org"));
    assert_eq!(said, "550 5.7.1 you may not send as cleo@example.org, which Resent-From names\r\n");
}

#[test]
fn an_operator_may_have_it_told_instead_or_not_looked_at() {
    let server = Server::new();
    server.delegate("bob", "ann", Some(SendRight::OnBehalf));
    let of_cleo = format!("From: cleo@example.org\r\nSender: bob@example.org\r\n{REST}");
    server.check(FromCheck::Sender);
    assert!(server.submit(&address("ann"), &of_cleo).starts_with(TAKEN));
    assert_eq!(server.got(), format!("Sender: ann@example.org\r\nFrom: cleo@example.org\r\n{REST}"));
    // The reverse path is looked at whatever is said of From.
    for check in [FromCheck::Sender, FromCheck::Any] {
        server.check(check);
        assert!(
            server
                .submit(&address("cleo"), &of_cleo)
                .ends_with("550 5.7.1 you may not send as this sender\r\n")
        );
    }
    assert!(server.submit(&address("ann"), &of_cleo).starts_with(TAKEN));
    assert_eq!(server.got(), of_cleo);
}

#[test]
fn copies_go_where_they_are_wanted_as_their_author_knows_them() {
    let server = Server::new();
    server.delegate("bob", "ann", Some(SendRight::OnBehalf));
    let of_bob = format!("Return-Path: <x>\r\nFrom: bob@example.org\r\nBcc: cleo@example.org\r\n{REST}");
    let of_ann = format!("From: ann@example.org\r\nBcc: cleo@example.org\r\n{REST}");
    let sent = |name: &str| server.mailbox(name, "Sent");
    for content in [&of_ann, &of_bob] {
        assert!(server.submit(&address("ann"), content).starts_with(TAKEN));
    }
    assert_eq!((sent("ann"), sent("bob")), (Vec::new(), Vec::new()), "nobody has asked for one");
    server.update("ann", |entry| entry.sent_copy = SentCopy::Own);
    server.update("bob", |entry| entry.sent_copy = SentCopy::Delegates);
    for content in [&of_ann, &of_bob] {
        assert!(server.submit(&address("ann"), content).starts_with(TAKEN));
    }
    let with_sender =
        format!("Sender: ann@example.org\r\nFrom: bob@example.org\r\nBcc: cleo@example.org\r\n{REST}");
    let seen = |content: &str| ("\\Seen".to_owned(), content.to_owned());
    assert_eq!(sent("ann"), [seen(&of_ann), seen(&with_sender)]);
    assert_eq!(sent("bob"), [seen(&with_sender)]);
    assert!(!server.got().contains("Bcc"), "only the author sees that");
    // What is refused has not been sent.
    let refused = server.submit(&address("ann"), &format!("From: cleo@example.org\r\n{REST}"));
    assert!(refused.starts_with("550 5.7.1 "), "{refused}");
    server.update("cleo", |entry| entry.enabled = false);
    let mut smtp = server.smtp(Mode::Submission, ShardId(1), SOURCE);
    smtp.say("EHLO x\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<ann@example.org>\r\n");
    assert!(smtp.say("RCPT TO:<cleo@example.org>\r\n").starts_with("550 "));
    assert_eq!((sent("ann").len(), sent("bob").len()), (2, 1));
    server.update("cleo", |entry| entry.enabled = true);
    // A mailbox without room is no reason not to send.
    server.update("ann", |entry| entry.quota_bytes = Some(1));
    server.update("bob", |entry| entry.sent_copy = SentCopy::All);
    assert!(server.submit(&address("ann"), &of_bob).starts_with(TAKEN));
    assert_eq!((sent("ann").len(), sent("bob").len()), (2, 2));
}
