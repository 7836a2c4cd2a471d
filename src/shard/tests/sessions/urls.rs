//! What URLs give, to whom, whichever shards the two sides are on: by IMAP (RFC 4467) and in submission (RFC 4468).

use std::sync::Arc;

use base::{Charge, ShardId};
use shard::{ImapService, Settings, SmtpService};
use smtp::Mode;

use crate::rig::{Line, PASSWORD, Server};

const SOURCE: &str = "192.0.2.1";
const DRAFT: &str = "Subject: draft\r\nDate: d\r\nMessage-ID: <m>\r\n\r\n.it is\r\n";
const BOTH: [ShardId; 2] = [ShardId(0), ShardId(1)];

fn imap<'a>(server: &'a Server, name: &str) -> Line<'a, ImapService> {
    let mut line = server.imap(ShardId(0), SOURCE);
    assert!(line.say(&format!("a0 LOGIN {name} {PASSWORD}\r\n")).contains("a0 OK "));
    line
}

/// Appends a draft; gives its URL up to what `grant` adds, with the proof when there is one to be had.
fn url(line: &mut Line<'_, ImapService>, name: &str, grant: &str) -> String {
    let said = line.say(&format!("a1 APPEND Drafts {{{}+}}\r\n{DRAFT}\r\n", DRAFT.len()));
    let uid = said.rsplit_once("] stored").and_then(|(code, _)| code.rsplit_once(' ')).expect("a UID").1;
    let rump = format!("imap://{name}@mail.example.org/Drafts/;UID={uid}{grant}");
    if grant.is_empty() {
        return rump;
    }
    let said = line.say(&format!("a2 GENURLAUTH \"{rump}\" INTERNAL\r\n"));
    let url = said.strip_prefix("* GENURLAUTH \"").and_then(|rest| rest.split_once('"')).expect("a URL").0;
    url.to_owned()
}

/// A submission of ann's, up to its content.
fn submission(server: &Server, at: ShardId) -> Line<'_, SmtpService> {
    let mut smtp = server.smtp(Mode::Submission, at, SOURCE);
    let said = smtp.say(
        "EHLO x\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<cleo@example.org>\r\n",
    );
    assert!(said.ends_with("250 2.1.5 recipient ok\r\n"), "{said}");
    smtp
}

fn burl(server: &Server, at: ShardId, url: &str) -> String {
    submission(server, at).say(&format!("BURL {url} LAST\r\n"))
}

#[test]
fn a_submission_takes_its_content_from_wherever_the_account_is() {
    let server = Server::new();
    let mut ann = imap(&server, "ann");
    let granted = url(&mut ann, "ann", ";URLAUTH=submit+ann");
    let own = url(&mut ann, "ann%40example.org", "");
    let nobodys = own.replace("ann%40example.org@", "");
    for (at, url) in BOTH.into_iter().flat_map(|at| [&granted, &own, &nobodys].map(|url| (at, url))) {
        let said = burl(&server, at, url);
        assert!(said.starts_with("250 2.0.0 stored as "), "{url}: {said}");
        assert_eq!(server.shards[usize::from(at.0)].content.used(), 0, "all is given back");
    }
    let mut cleo = imap(&server, "cleo");
    let said = cleo.say("a1 SELECT INBOX\r\na2 FETCH * BODY[]\r\n");
    assert!(said.contains("* 6 EXISTS"), "{said}");
    assert!(said.contains(&format!("\r\n{DRAFT})\r\n")), "{said}");
}

#[test]
fn a_submission_takes_nothing_that_is_not_for_it() {
    let server = Server::new();
    let (mut ann, mut bob) = (imap(&server, "ann"), imap(&server, "bob"));
    let for_bob = url(&mut ann, "ann", ";URLAUTH=submit+bob");
    let own = url(&mut ann, "ann", ";URLAUTH=submit+ann");
    let denied = "554 5.7.0 the URL gives you no access\r\n";
    let foreign = "554 5.7.8 the URL is of another server\r\n";
    let missing = "554 5.6.6 what the URL means is not there\r\n";
    for (url, said) in [
        (for_bob.as_str(), denied),
        (&url(&mut ann, "ann", ";URLAUTH=submit+nobody"), denied),
        (&url(&mut ann, "ann", ";URLAUTH=user+ann"), denied),
        (&url(&mut ann, "ann", ";URLAUTH=authuser"), denied),
        (&url(&mut ann, "ann", ";EXPIRE=2025-12-31T23:59:59Z;URLAUTH=submit+ann"), denied),
        (&url(&mut bob, "bob", ""), denied),
        // Bob's message, for ann to submit: with his proof, and with one of hers.
        (&own.replace("//ann@", "//bob@"), denied),
        (&own.replace(";UID=", ";UID=1"), denied),
        ("imap://nobody@mail.example.org/INBOX/;UID=1", denied),
        ("imap://ann@elsewhere.example/Drafts/;UID=1", foreign),
        (&own.replace("mail.example.org", "elsewhere.example"), foreign),
        ("imap://ann@mail.example.org/Drafts/;UID=99", missing),
        ("imap://ann@mail.example.org/Nowhere/;UID=1", missing),
        ("imap://ann@mail.example.org/Drafts/;UID=1/;SECTION=7", missing),
        ("imap://ann@mail.example.org/Drafts;UIDVALIDITY=1/;UID=1", missing),
        ("imap://ann@mail.example.org/Drafts", "501 5.5.4 that is no IMAP URL of a message\r\n"),
    ] {
        for at in BOTH {
            assert_eq!(burl(&server, at, url), said, "{url}");
        }
    }
    let from_bob = url(&mut bob, "bob", ";URLAUTH=submit+ann");
    assert!(burl(&server, ShardId(0), &from_bob).starts_with("250 "), "bob lets ann send his message");
    // Neither side's account may be closed.
    server.update("bob", |entry| entry.enabled = false);
    assert_eq!(burl(&server, ShardId(0), &from_bob), denied);
    let plain = own.split_once(";URLAUTH").expect("it has a grant").0.replace("ann@", "");
    assert!(burl(&server, ShardId(0), &plain).starts_with("250 "));
    for url in [own, plain] {
        let mut smtp = submission(&server, ShardId(0));
        server.update("ann", |entry| entry.enabled = false);
        assert_eq!(smtp.say(&format!("BURL {url} LAST\r\n")), denied);
        server.update("ann", |entry| entry.enabled = true);
    }
}

#[test]
fn what_a_url_means_has_to_find_room() {
    let server = Server::new();
    let mut ann = imap(&server, "ann");
    let url = url(&mut ann, "ann", ";URLAUTH=authuser");
    let own = url.split_once(";URLAUTH").expect("it has a grant").0;
    for shard in &server.shards {
        shard.reload(Arc::new(Settings { content_bytes_max: 100_000, ..Settings::clone(&shard.settings()) }));
        // So much is left that a message may begin.
        let mut taken = Charge::new(Some(Arc::clone(&shard.content)));
        let mut smtp = submission(&server, shard.id);
        assert!(smtp.say("BDAT 0\r\n").starts_with("250 "));
        assert!(taken.cover(100_000 - shard.content.used() - DRAFT.len() + 1));
        let said = smtp.say(&format!("BURL {own} LAST\r\n"));
        assert_eq!(said, "452 4.3.1 too much mail is coming in now; try again later\r\n");
        drop(taken);
        assert_eq!(shard.content.used(), 0);
    }
    // Where a message could not even begin nothing is asked for, and the client may try again.
    let shard = &server.shards[0];
    let mut taken = Charge::new(Some(Arc::clone(&shard.content)));
    let mut smtp = submission(&server, shard.id);
    assert!(taken.cover(74_000));
    let mut more = Charge::new(Some(Arc::clone(&shard.content)));
    assert!(more.cover(25_000));
    let no_room = "452 4.3.1 too much mail is coming in now; try again later\r\n";
    assert_eq!(smtp.say(&format!("BURL {own} LAST\r\n")), no_room);
    drop((taken, more));
    assert!(smtp.say(&format!("BURL {own} LAST\r\n")).starts_with("250 "));

    let mut bob = imap(&server, "bob");
    let taken: Vec<Charge> = server
        .shards
        .iter()
        .flat_map(|shard| {
            let mut taken = Charge::new(Some(Arc::clone(&shard.content)));
            assert!(taken.cover(75_000), "large things have three quarters");
            let mut rest = Charge::new(Some(Arc::clone(&shard.content)));
            assert!(rest.cover(25_000 - DRAFT.len() + 1));
            [taken, rest]
        })
        .collect();
    let fetch = format!("a1 URLFETCH \"{url}\"\r\n");
    assert_eq!(bob.say(&fetch), "a1 NO [UNAVAILABLE] the store cannot do that now, try again later\r\n");
    drop(taken);
    assert_eq!(
        bob.say(&fetch),
        format!("* URLFETCH \"{url}\" {{{}}}\r\n{DRAFT}\r\na1 OK fetched\r\n", DRAFT.len())
    );

    // More than a message may have is not even read.
    let small = |settings: &Settings| {
        let mut config = smtp::Config::clone(&settings.submission);
        config.limits.message_bytes_max = DRAFT.len() - 1;
        Settings { submission: Arc::new(config), ..Settings::clone(settings) }
    };
    server.shards[0].reload(Arc::new(small(&server.shards[0].settings())));
    assert_eq!(burl(&server, ShardId(0), own), "552 5.3.4 message too large\r\n");
    let said = burl(&server, ShardId(0), &format!("{own}/;SECTION=HEADER"));
    assert!(said.starts_with("250 "), "{said}");
    let said = burl(&server, ShardId(0), &format!("{own}/;PARTIAL=0.999"));
    assert_eq!(said, "552 5.3.4 message too large\r\n");
}

#[test]
fn sessions_fetch_across_shards_what_is_for_them() {
    let server = Server::new();
    let mut ann = imap(&server, "ann");
    let (for_bob, for_all) =
        (url(&mut ann, "ann", ";URLAUTH=user+bob"), url(&mut ann, "ann", ";URLAUTH=authuser"));
    for (name, url, is_given) in [
        ("bob", &for_bob, true),
        ("cleo", &for_bob, false),
        ("ann", &for_bob, false),
        ("bob", &for_all, true),
        ("cleo", &for_all, true),
    ] {
        let said = imap(&server, name).say(&format!("a1 URLFETCH \"{url}\"\r\n"));
        assert_eq!(said.contains(DRAFT), is_given, "{name}: {said}");
        assert_eq!(said.contains("\" NIL\r\n"), !is_given, "{name}: {said}");
    }
    server.update("ann", |entry| entry.enabled = false);
    let said = imap(&server, "bob").say(&format!("a1 URLFETCH \"{for_bob}\"\r\n"));
    assert!(said.contains("\" NIL\r\n"), "{said}");
}
