//! Sessions over TLS, against a client of rustls on a plain thread.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use runtime::{Certificate, Certificates, TlsError};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use support::{BIG_LINE, Begin, Plan, Server, ask, hex, line, until};

type Client = StreamOwned<ClientConnection, TcpStream>;

fn config(trusted: &[&Certificate], version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.chain()[0].clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn client(server: &Server, stream: TcpStream, version: &'static SupportedProtocolVersion) -> Client {
    let name = ServerName::try_from("mail.example").unwrap();
    let config = Arc::new(config(&[&server.certificate], version));
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// What the server says of the handshake, and what it should say.
fn check_secured(server: &Server, client: &mut Client) {
    let said = line(client);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &server.certificate.chain()[0]);
    let end_point = format!("tls-server-end-point={}", hex(hash.as_ref()));
    if client.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
        let exporter =
            client.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        assert_eq!(
            said,
            format!("secured TLS1.3 [mail.example] tls-exporter={} {end_point}", hex(&exporter))
        );
    } else {
        assert_eq!(said, format!("secured TLS1.2 [mail.example] {end_point}"));
    }
}

#[test]
fn tls_from_the_start_serves_and_ends_with_its_last_word() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    for version in [&TLS13, &TLS12] {
        let mut client = client(&server, server.connect(), version);
        assert_eq!(line(&mut client), "hello");
        check_secured(&server, &mut client);
        assert_eq!(ask(&mut client, "one"), "one");
        client.write_all(b"two\r\nQUIT\r\n").unwrap();
        let mut rest = String::new();
        // rustls gives an error here if the close_notify is missing.
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two\r\nbye\r\n");
    }
}

#[test]
fn a_resumed_session_knows_what_a_full_handshake_tells() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(config(&[&server.certificate], version));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let name = ServerName::try_from("mail.example").unwrap();
            let connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut client = StreamOwned::new(connection, server.connect());
            assert_eq!(line(&mut client), "hello");
            check_secured(&server, &mut client);
            assert_eq!(ask(&mut client, "one"), "one");
            kinds.push(client.conn.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
}

#[test]
fn starttls_forgets_what_came_before_the_handshake() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut stream = server.connect();
    assert_eq!(line(&mut stream), "hello");
    stream.write_all(b"STARTTLS\r\ninjected\r\n").unwrap();
    assert_eq!(line(&mut stream), "go");
    let mut client = client(&server, stream, &TLS13);
    check_secured(&server, &mut client);
    assert_eq!(ask(&mut client, "one"), "one");
}

#[test]
fn what_is_no_handshake_ends_the_connection() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    let mut stream = server.connect();
    stream.write_all(b"EHLO plain.example\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // An alert record (RFC 8446 §6), fatal.
    assert_eq!((answer[0], answer[5]), (21, 2), "{answer:?}");
    drop(stream);
    until("the connection has ended", || server.gate.open() == 0);
}

#[test]
fn large_answers_and_much_input_go_through_tls_unchanged() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    for version in [&TLS13, &TLS12] {
        let mut client = client(&server, server.connect(), version);
        assert_eq!(line(&mut client), "hello");
        check_secured(&server, &mut client);
        let lines = 200_000;
        write!(client, "BIG {lines}\r\n").unwrap();
        let mut answer = vec![0; BIG_LINE.len() * lines];
        client.read_exact(&mut answer).unwrap();
        assert!(answer.chunks(BIG_LINE.len()).all(|line| line == BIG_LINE));
        assert_eq!(line(&mut client), "end");
        // Many commands in one record, far more than the session has room for.
        let commands: Vec<String> = (0..2000).map(|number| format!("{number:05}")).collect();
        client.write_all((commands.join("\r\n") + "\r\n").as_bytes()).unwrap();
        for command in &commands {
            assert_eq!(&line(&mut client), command);
        }
        client.conn.send_close_notify();
        client.flush().unwrap();
    }
    until("both connections have ended", || server.gate.open() == 0);
}

#[test]
fn a_key_update_of_the_client_is_followed() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    let mut client = client(&server, server.connect(), &TLS13);
    assert_eq!(line(&mut client), "hello");
    check_secured(&server, &mut client);
    for turn in 0..5 {
        client.conn.refresh_traffic_keys().unwrap();
        assert_eq!(ask(&mut client, &format!("turn {turn}")), format!("turn {turn}"));
    }
}

#[test]
fn a_tls_connection_moves_with_its_keys_and_unread_input() {
    let server = Server::start(&Plan::new(2, Begin::Tls));
    for version in [&TLS13, &TLS12] {
        let mut client = client(&server, server.connect(), version);
        assert_eq!(line(&mut client), "hello");
        check_secured(&server, &mut client);
        for turn in 0..40 {
            let there = turn % 2;
            // One record; what stands behind MOVE is decrypted on the old shard, served on the new.
            let many = "x".repeat(700);
            write!(client, "first\r\nMOVE {there}\r\nWHERE\r\n{many}\r\n{many}\r\nlast {turn}\r\n").unwrap();
            // And a second record, which may or may not have arrived before the move.
            write!(client, "next\r\n").unwrap();
            assert_eq!(line(&mut client), "first");
            assert_eq!(line(&mut client), format!("moved to {there}"));
            assert_eq!(line(&mut client), format!("shard {there}"));
            assert_eq!(line(&mut client), many);
            assert_eq!(line(&mut client), many);
            assert_eq!(line(&mut client), format!("last {turn}"));
            assert_eq!(line(&mut client), "next");
        }
    }
    assert_eq!(server.panics(), 0);
}

#[test]
fn a_slow_reader_over_tls_is_waited_for() {
    let server = Server::start(&Plan::new(1, Begin::Tls));
    let mut client = client(&server, server.connect(), &TLS13);
    assert_eq!(line(&mut client), "hello");
    check_secured(&server, &mut client);
    let lines = 1_000_000;
    write!(client, "BIG {lines}\r\n").unwrap();
    let sent = || server.shared.lines.load(Ordering::Relaxed);
    let mut last = 0;
    until("the answer stands still", || {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        sent() > 0 && std::mem::replace(&mut last, sent()) == sent()
    });
    assert!(sent() < lines / 2);
    let mut answer = vec![0; BIG_LINE.len() * lines];
    client.read_exact(&mut answer).unwrap();
    assert!(answer.chunks(BIG_LINE.len()).all(|line| line == BIG_LINE));
    assert_eq!(line(&mut client), "end");
}

#[test]
fn certificates_go_by_name_and_are_exchanged_while_running() {
    let folder = std::env::temp_dir().join(format!("runtime-names-{}", std::process::id()));
    let make = |name: &str| Certificate::self_signed(&folder.join(name), &[name.to_owned()]).unwrap();
    let (default, other) = (make("default.example"), make("other.example"));
    let again = make("other.example");
    assert_eq!(other.chain(), again.chain(), "it is made once and then read");
    let (wild, new) = (make("a.wild.example"), make("new.example"));
    let names =
        vec![("Other.example".to_owned(), other.clone()), ("*.wild.example".to_owned(), wild.clone())];
    let certificates = Certificates::new(default.clone(), names);
    let acceptor = runtime::TlsAcceptor::new(Arc::clone(&certificates)).unwrap();
    let mut plan = Plan::new(1, Begin::Tls);
    plan.tls = Some(acceptor);
    let server = Server::start(&plan);
    let trusted = [&default, &other, &wild, &new];
    let chain_for = |name: &'static str| {
        let name = ServerName::try_from(name).unwrap();
        let config = Arc::new(config(&trusted, &TLS13));
        let mut client = StreamOwned::new(ClientConnection::new(config, name).unwrap(), server.connect());
        line(&mut client);
        client.conn.peer_certificates().unwrap().to_vec()
    };
    assert_eq!(chain_for("other.example"), other.chain());
    assert_eq!(chain_for("a.wild.example"), wild.chain());
    assert_eq!(chain_for("default.example"), default.chain());
    certificates.replace(new.clone(), Vec::new());
    assert_eq!(chain_for("new.example"), new.chain());
    let missing = Certificate::from_files(&folder.join("none.pem"), &folder.join("none.key")).unwrap_err();
    assert!(matches!(missing, TlsError::File { kind: std::io::ErrorKind::NotFound, .. }), "{missing}");
    let key = folder.join("other.example/self-signed.key");
    let no_chain = Certificate::from_files(&key, &key).unwrap_err();
    assert!(no_chain.to_string().contains("holds no certificate"), "{no_chain}");
    let chain = folder.join("new.example/self-signed.pem");
    assert!(
        matches!(Certificate::from_files(&chain, &key), Err(TlsError::Certificate(_))),
        "they do not match"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
