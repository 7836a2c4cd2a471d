//! The client against the server of this crate, and against one that knows nothing.

use std::sync::Arc;

use base::{Next, Secret, Session, TlsInfo};

use crate::tests::{NOW, Stored, session, talk};
use crate::{BodyKind, Client, ClientConfig, ClientError, ClientNext, Mail, Mode, Smtp};

/// Runs client and server against each other until the client is ready, done or failed.
fn meet(client: &mut Client, server: &mut Smtp, stored: &Stored) -> ClientNext {
    for _ in 0..100 {
        let (said, _) = {
            let input = std::mem::take(client.output());
            talk(server, &input, NOW, stored)
        };
        client.input(said.as_bytes());
        match client.step() {
            ClientNext::Read => {}
            next => return next,
        }
    }
    panic!("client and server wait for each other");
}

fn client_config(is_lmtp: bool) -> ClientConfig {
    ClientConfig { hostname: "client.example".into(), is_lmtp, wants_tls: false, login: None }
}

fn mail(recipients: &[&str]) -> Mail {
    Mail {
        sender: Some("bob@example.com".into()),
        recipients: recipients.iter().map(|to| (*to).to_owned()).collect(),
        data: Arc::from(&b"Subject: x\r\n\r\n.dot\r\n"[..]),
        body: BodyKind::EightBitMime,
        is_smtputf8: false,
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
        (Client::new(ClientConfig { wants_tls: true, ..config }), session(Mode::Submission));
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
    client.input(b"220 x\r\n250-x\r\n250 SIZE 1000000\r\n");
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
        let next = client.step();
        (next, String::from_utf8(std::mem::take(client.output())).unwrap())
    };
    assert_eq!(say(&mut client, "220 x\r\n").1, "EHLO client.example\r\n");
    assert!(matches!(say(&mut client, "250 x\r\n").0, ClientNext::Ready));
    client.send(mail(&["a@x.example", "b@x.example"]));
    // Nor does it tell the size to a server that has not offered to hear it: Dovecot's LMTP says 555 to that.
    assert_eq!(std::mem::take(client.output()), b"MAIL FROM:<bob@example.com> BODY=8BITMIME\r\n");
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
