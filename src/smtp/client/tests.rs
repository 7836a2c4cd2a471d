//! The client against the server of this crate, and against one that knows nothing.

use std::sync::Arc;

use base::{Next, Secret, Session, TlsInfo};

use crate::tests::{NOW, Stored, session, talk};
use crate::{
    BodyKind, By, ByMode, Client, ClientConfig, ClientError, ClientNext, Mail, Mode, Smtp, StartTls,
};

/// Runs client and server against each other until the client is ready, done or failed.
fn meet(client: &mut Client, server: &mut Smtp, stored: &Stored) -> ClientNext {
    for _ in 0..100 {
        let (said, _) = {
            let input = std::mem::take(client.output());
            talk(server, &input, NOW, stored)
        };
        client.input(said.as_bytes());
        match client.step() {
            ClientNext::Read | ClientNext::Write => {}
            next => return next,
        }
    }
    panic!("client and server wait for each other");
}

fn client_config(is_lmtp: bool) -> ClientConfig {
    ClientConfig {
        hostname: "client.example".into(),
        is_lmtp,
        tls: StartTls::Never,
        may_chunk: false,
        login: None,
    }
}

fn mail(recipients: &[&str]) -> Mail {
    Mail {
        sender: Some("bob@example.com".into()),
        recipients: recipients.iter().map(|to| (*to).to_owned().into()).collect(),
        data: Arc::new(b"Subject: x\r\n\r\n.dot\r\n".to_vec()),
        body: BodyKind::EightBitMime,
        is_smtputf8: false,
        requires_tls: false,
        priority: 0,
        by: None,
        ret: None,
        envid: None,
    }
}

#[test]
fn the_client_sends_by_smtp_and_hears_of_each_recipient() {
    let (mut client, mut server, stored) =
        (Client::new(client_config(false)), session(Mode::Mx), Stored::default());
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Ready));
    client.send(mail(&["ann@example.org", "nobody@example.org"]));
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is sent") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [250, 550]);
    assert!(stored.borrow()[0].data.ends_with(b"Subject: x\r\n\r\n.dot\r\n"));

    // Nobody accepted: the transaction is closed, and the next one goes.
    client.send(mail(&["nobody@example.org"]));
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is answered") };
    assert_eq!(sent.replies[0].code, 550);
    client.send(mail(&["ann@example.org"]));
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Sent(_)));
    assert_eq!(stored.borrow().len(), 2);
    client.quit();
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Closed));
}

#[test]
fn the_client_hears_each_recipients_own_reply_by_lmtp() {
    let (mut client, mut server, stored) =
        (Client::new(client_config(true)), session(Mode::Lmtp), Stored::default());
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Ready));
    client.send(mail(&["ann@example.org", "full@example.org", "late-full@example.org", "bob@example.org"]));
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is sent") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [250, 452, 452, 250]);
}

#[test]
fn the_client_logs_in_under_tls_only() {
    let login = Some(("ann".to_owned(), Secret::new("secret".to_owned())));
    let config = ClientConfig { login, ..client_config(false) };
    let (mut client, mut server) = (Client::new(config.clone()), session(Mode::Submission));
    let stored = Stored::default();
    let next = meet(&mut client, &mut server, &stored);
    assert!(matches!(next, ClientNext::Failed(ClientError::NoAuth)), "{next:?}");

    let (mut client, mut server) =
        (Client::new(ClientConfig { tls: StartTls::Required, ..config }), session(Mode::Submission));
    loop {
        let next = server.next(NOW);
        client.input(&std::mem::take(server.output()));
        if matches!(next, Next::StartTls) {
            break;
        }
        assert!(matches!(client.step(), ClientNext::Read));
        server.input(&std::mem::take(client.output()));
    }
    assert!(matches!(client.step(), ClientNext::StartTls));
    server.secured(TlsInfo::default());
    client.secured();
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Ready));
    assert_eq!(server.identity().unwrap().address, "ann@example.org");
    client.send(mail(&["ann@example.org", "x@elsewhere.example"]));
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is sent") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [250, 451]);
    assert!(String::from_utf8_lossy(&stored.borrow()[0].data).contains("with ESMTPSA id"));
}

#[test]
fn the_client_tells_the_size_where_that_is_offered() {
    let mut client = Client::new(client_config(false));
    client.input(b"220 x\r\n250-x\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n");
    assert!(matches!(client.step(), ClientNext::Ready));
    client.output().clear();
    client.send(mail(&["a@x.example"]));
    assert_eq!(client.output(), b"MAIL FROM:<bob@example.com> SIZE=20 BODY=8BITMIME\r\n");
}

#[test]
fn the_client_waits_for_each_reply_of_a_server_without_pipelining() {
    let mut client = Client::new(client_config(false));
    let say = |client: &mut Client, reply: &str| {
        client.input(reply.as_bytes());
        let mut next = client.step();
        while matches!(next, ClientNext::Write) {
            next = client.step();
        }
        (next, String::from_utf8(std::mem::take(client.output())).unwrap())
    };
    assert_eq!(say(&mut client, "220 x\r\n").1, "EHLO client.example\r\n");
    assert!(matches!(say(&mut client, "250 x\r\n").0, ClientNext::Ready));
    client.send(mail(&["a@x.example", "b@x.example"]));
    // Nor does it tell the size to a server that has not offered to hear it: Dovecot's LMTP says 555 to that.
    assert_eq!(std::mem::take(client.output()), b"MAIL FROM:<bob@example.com>\r\n");
    assert_eq!(say(&mut client, "250 ok\r\n").1, "RCPT TO:<a@x.example>\r\n");
    assert_eq!(say(&mut client, "550 no\r\n").1, "RCPT TO:<b@x.example>\r\n");
    assert_eq!(say(&mut client, "250 ok\r\n").1, "DATA\r\n");
    assert_eq!(say(&mut client, "354 go\r\n").1, "Subject: x\r\n\r\n..dot\r\n.\r\n");
    let (ClientNext::Sent(sent), _) = say(&mut client, "250 ok\r\n") else { panic!("it is sent") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [550, 250]);

    // A refused sender refuses every recipient, and the transaction is closed before the next.
    client.send(mail(&["a@x.example", "b@x.example"]));
    say(&mut client, "");
    assert_eq!(say(&mut client, "550 no\r\n").1, "RSET\r\n");
    let (ClientNext::Sent(sent), _) = say(&mut client, "250 ok\r\n") else { panic!("it is answered") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [550, 550]);

    let (next, _) = {
        client.send(mail(&["a@x.example"]));
        say(&mut client, "421 later\r\n")
    };
    assert!(matches!(next, ClientNext::Failed(ClientError::Refused(_))), "{next:?}");
}

#[test]
fn a_small_message_goes_in_one_round_trip_where_chunks_are_taken() {
    let config = ClientConfig { may_chunk: true, ..client_config(false) };
    let (mut client, mut server, stored) = (Client::new(config), session(Mode::Mx), Stored::default());
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Ready));
    client.send(mail(&["nobody@example.org", "ann@example.org"]));
    let said = String::from_utf8_lossy(client.output()).into_owned();
    assert!(said.ends_with("BDAT 20 LAST\r\nSubject: x\r\n\r\n.dot\r\n"), "{said:?}");
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is sent") };
    assert_eq!(sent.replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [550, 250]);
    assert!(stored.borrow()[0].data.ends_with(b"Subject: x\r\n\r\n.dot\r\n"));

    // A chunk that nobody wants is refused, and the next message goes.
    client.send(mail(&["nobody@example.org"]));
    let ClientNext::Sent(sent) = meet(&mut client, &mut server, &stored) else { panic!("it is answered") };
    assert_eq!(sent.replies[0].code, 550);
    client.send(mail(&["ann@example.org"]));
    assert!(matches!(meet(&mut client, &mut server, &stored), ClientNext::Sent(_)));
    assert_eq!(stored.borrow().len(), 2);
}

#[test]
fn binary_content_goes_as_a_chunk() {
    let mut client = Client::new(client_config(false));
    client.input(b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n");
    assert!(matches!(client.step(), ClientNext::Ready));
    let offered = client.extensions();
    assert!(offered.takes_binary(7) && !offered.takes_binary(usize::MAX));
    for lacks in ["pipelining", "chunking", "binary_mime"] {
        let mut less = offered.clone();
        let place = match lacks {
            "pipelining" => &mut less.pipelining,
            "chunking" => &mut less.chunking,
            _ => &mut less.binary_mime,
        };
        *place = false;
        assert!(!less.takes_binary(7), "{lacks}");
    }
    client.output().clear();
    let data = Arc::new(b"\r\n.\n\0\r\r".to_vec());
    client.send(Mail { data, body: BodyKind::BinaryMime, ..mail(&["a@x.example"]) });
    assert_eq!(
        String::from_utf8_lossy(client.output()),
        "MAIL FROM:<bob@example.com> BODY=BINARYMIME\r\nRCPT TO:<a@x.example>\r\nBDAT 7 LAST\r\n\r\n.\n\0\r\r"
    );
}

#[test]
fn who_does_not_know_ehlo_hears_helo_and_no_parameters() {
    let mut client = Client::new(client_config(false));
    client.input(b"220 x\r\n502 what\r\n");
    assert!(matches!(client.step(), ClientNext::Read));
    assert!(client.output().ends_with(b"HELO client.example\r\n"));
    client.input(b"250 x\r\n");
    assert!(matches!(client.step(), ClientNext::Ready));
    client.output().clear();
    let mut mail = mail(&["a@x.example"]);
    (mail.ret, mail.envid) = (Some(crate::Return::Headers), Some("a+b".into()));
    client.send(mail);
    assert_eq!(client.output(), b"MAIL FROM:<bob@example.com>\r\n");
}

#[test]
fn what_a_bounce_needs_is_passed_on_where_it_is_understood() {
    let mut client = Client::new(client_config(false));
    client.input(b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-LIMITS RCPTMAX=2 MAILMAX=9\r\n250 DSN\r\n");
    assert!(matches!(client.step(), ClientNext::Ready));
    assert_eq!((client.extensions().recipients_max, client.extensions().mails_max), (Some(2), Some(9)));
    client.output().clear();
    let mut mail = mail(&["a@x.example", "b@x.example"]);
    (mail.ret, mail.envid) = (Some(crate::Return::Full), Some("a+b=".into()));
    mail.recipients[0].notify = Some(crate::Notify::default());
    mail.recipients[1].notify = Some(crate::Notify { on_failure: true, on_delay: true, on_success: false });
    mail.recipients[1].orcpt = Some("rfc822;c+2Bd@x.example".into());
    client.send(mail);
    let said = String::from_utf8_lossy(client.output()).into_owned();
    assert_eq!(
        said,
        "MAIL FROM:<bob@example.com> RET=FULL ENVID=a+2Bb+3D\r\nRCPT TO:<a@x.example> NOTIFY=NEVER\r\n\
         RCPT TO:<b@x.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c+2Bd@x.example\r\nDATA\r\n"
    );
}

#[test]
fn terms_are_passed_on_where_they_are_understood() {
    for (offer, said) in [
        ("250 MT-PRIORITY", "MAIL FROM:<bob@example.com> MT-PRIORITY=-3\r\n"),
        ("250 DELIVERBY", "MAIL FROM:<bob@example.com> BY=119;RT\r\n"),
        ("250-DELIVERBY 60\r\n250 mt-priority", "MAIL FROM:<bob@example.com> MT-PRIORITY=-3 BY=119;RT\r\n"),
    ] {
        let mut client = Client::new(client_config(false));
        client.input(format!("220 x\r\n250-x\r\n{offer}\r\n").as_bytes());
        assert!(matches!(client.step(), ClientNext::Ready));
        let least = offer.contains("DELIVERBY").then(|| if offer.contains("60") { 60 } else { 0 });
        assert_eq!(client.extensions().deliver_by_s_min, least);
        client.output().clear();
        let by = Some(By { seconds: 119, mode: ByMode::Return, is_traced: true });
        client.send(Mail { priority: -3, by, ..mail(&["a@x.example"]) });
        assert_eq!(String::from_utf8_lossy(client.output()), said);
    }
}

#[test]
fn tls_that_is_refused_is_done_without_only_where_that_is_allowed() {
    for (tls, fails) in [(StartTls::IfOffered, false), (StartTls::Required, true)] {
        let mut client = Client::new(ClientConfig { tls, ..client_config(false) });
        client.input(b"220 x\r\n250-x\r\n250 STARTTLS\r\n454 not now\r\n");
        let next = client.step();
        assert_eq!(matches!(next, ClientNext::Failed(ClientError::Refused(_))), fails, "{next:?}");
        assert_eq!(matches!(next, ClientNext::Ready), !fails, "{next:?}");
    }
}

/// A client that has introduced itself to a server which offers `extensions`, and one recipient's message begun.
fn begun(extensions: &str, may_chunk: bool) -> Client {
    let mut client = Client::new(ClientConfig { may_chunk, ..client_config(false) });
    client.input(b"220 mx\r\n");
    assert!(matches!(client.step(), ClientNext::Read));
    client.input(format!("250-mx\r\n{extensions}250 HELP\r\n").as_bytes());
    assert!(matches!(client.step(), ClientNext::Ready));
    client.send(mail(&["ann@example.org"]));
    client
}

#[test]
fn what_has_no_meaning_in_its_place_is_no_acceptance() {
    let whole = "250-PIPELINING\r\n250-CHUNKING\r\n";
    for (extensions, may_chunk, replies) in [
        // DATA: nothing but 354 asks for the content.
        ("", false, &["250 ok", "250 ok", "250 ok"][..]),
        ("250-PIPELINING\r\n", false, &["250 ok", "250 ok", "220 ok"]),
        // The content, and RCPT: nothing but 2xx takes them.
        ("", false, &["250 ok", "250 ok", "354 go", "354 go"]),
        (whole, true, &["250 ok", "250 ok", "354 go"]),
        ("", false, &["250 ok", "354 go"]),
        ("", false, &["334 go"]),
    ] {
        let mut client = begun(extensions, may_chunk);
        let mut last = ClientNext::Read;
        for reply in replies {
            while matches!(client.step(), ClientNext::Write) {}
            client.input(format!("{reply}\r\n").as_bytes());
            last = client.step();
        }
        while matches!(last, ClientNext::Write) {
            last = client.step();
        }
        assert!(matches!(last, ClientNext::Failed(ClientError::Protocol)), "{replies:?}: {last:?}");
    }
}

#[test]
fn a_refusal_counts_though_the_server_is_gone_after_it() {
    for last in [&b""[..], b"421 bye\r\n", b"what?\r\n"] {
        let mut client = begun("", false);
        client.input(b"250 ok\r\n");
        assert!(matches!(client.step(), ClientNext::Read));
        client.input(b"550 never\r\n");
        assert!(matches!(client.step(), ClientNext::Read), "RSET is not answered");
        client.input(last);
        assert!(matches!(client.step(), ClientNext::Read | ClientNext::Failed(_)));
        assert_eq!(client.verdict().expect("it was refused").replies[0].code, 550);
    }
    assert_eq!(begun("", false).verdict(), None);
}

#[test]
fn a_chunk_is_in_doubt_from_the_first_answer_on() {
    let mut client = begun("250-PIPELINING\r\n250-CHUNKING\r\n", true);
    assert!(!client.is_in_doubt(), "the connection may have ended while it was idle");
    for reply in ["250 ok", "250 ok"] {
        client.input(format!("{reply}\r\n").as_bytes());
        assert!(matches!(client.step(), ClientNext::Read));
        assert!(client.is_in_doubt());
    }
    client.input(b"250 taken\r\n");
    assert!(matches!(client.step(), ClientNext::Sent(_)));
    assert!(!client.is_in_doubt());
}
