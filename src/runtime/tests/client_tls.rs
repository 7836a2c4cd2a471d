//! TLS as a client of other servers: what they must prove, and what a resumed session is worth.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{ShardId, TlsInfo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::{Authorities, Conn, ConnError, TlsConnector, block_on, policy_from};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use support::{Begin, Context, Plan, Server};
use transport::dane::{Matching, Selector, Tlsa, Usage};
use transport::sts::Policy;
use transport::{Demand, Fault, Identity, Proof};

const LIMIT: Duration = Duration::from_secs(20);

/// An authority, and servers of its certificates on threads of their own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = std::env::temp_dir().join(format!("runtime-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("roots.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), certificate, folder }
    }

    fn connector(&self) -> TlsConnector {
        TlsConnector::new(Authorities::from_file(&self.folder.join("roots.pem")).unwrap()).unwrap()
    }

    /// A certificate for mail.example, valid up to a year.
    fn issue(&self, last_year: i32) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// Serves `connections` connections, each with what it says come back; with the authority's own
    /// certificate at the end of the chain.
    fn serve(
        &self,
        last_year: i32,
        version: &'static SupportedProtocolVersion,
        connections: usize,
    ) -> (SocketAddr, CertificateDer<'static>) {
        self.serve_with(last_year, version, connections, |stream| {
            let mut bytes = vec![0; 100_000];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..count]).unwrap();
            }
        })
    }

    fn serve_with(
        &self,
        last_year: i32,
        version: &'static SupportedProtocolVersion,
        connections: usize,
        talk: impl Fn(&mut StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
    ) -> (SocketAddr, CertificateDer<'static>) {
        let (certificate, key) = self.issue(last_year);
        let chain = vec![certificate.clone(), self.certificate.der().clone()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                talk(&mut StreamOwned::new(connection, stream));
            }
        });
        (address, certificate)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// What a connection came to.
#[derive(Debug)]
struct Talked {
    info: TlsInfo,
    proof: Option<Result<Proof, Fault>>,
    is_resumed: bool,
}

/// Connects on a shard and has a text come back.
fn talk(
    server: &Server,
    connector: &TlsConnector,
    address: SocketAddr,
    demand: Demand,
) -> Result<Talked, ConnError> {
    let connector = connector.clone();
    let work = move |context: std::rc::Rc<Context>| async move {
        let timers = context.local.timers().clone();
        let mut conn = Conn::connect_within(None, address, &timers, LIMIT).await?;
        let info = conn.secure(&connector, demand, &timers, LIMIT).await?;
        let text = b"0123456789abcdef".repeat(20_000);
        conn.give(&mut text.clone());
        let mut answer = Vec::new();
        let mut is_written = false;
        while answer.len() < text.len() {
            poll_fn(|cx| {
                if !is_written {
                    is_written = conn.poll_flush(cx)?.is_ready();
                }
                conn.poll_read(cx, 70_000, &mut |bytes| answer.extend_from_slice(bytes))
            })
            .await?;
        }
        assert!(answer == text, "what comes back is what was sent");
        let talked = Talked { info, proof: conn.proof(), is_resumed: conn.is_resumed() };
        poll_fn(|cx| conn.poll_finish(cx)).await?;
        Ok(talked)
    };
    block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
}

fn fault(outcome: Result<Talked, ConnError>) -> Fault {
    match outcome {
        Err(ConnError::Unproven(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_authority_proves_names_in_date_and_nothing_else() {
    let (server, authority) = (Server::start(&Plan::new(1, Begin::Plain)), Authority::new("names"));
    let connector = authority.connector();
    for version in [&TLS13, &TLS12] {
        let (address, _) = authority.serve(2100, version, 5);
        let good = talk(&server, &connector, address, Demand::authority("mail.example")).unwrap();
        assert_eq!(good.proof, Some(Ok(Proof::Authority)));
        assert_eq!(good.info.version, if version.version == TLS13.version { "TLS1.3" } else { "TLS1.2" });
        let other = talk(&server, &connector, address, Demand::authority("other.example"));
        assert_eq!(fault(other), Fault::CertificateHostMismatch);
        let mut told = Demand::authority("other.example");
        told.is_required = false;
        let told = talk(&server, &connector, address, told).unwrap();
        assert_eq!(told.proof, Some(Err(Fault::CertificateHostMismatch)));
        let stranger = Authority::new("stranger");
        let distrusted = talk(&server, &stranger.connector(), address, Demand::authority("mail.example"));
        assert_eq!(fault(distrusted), Fault::CertificateNotTrusted);
        let anyone = talk(&server, &stranger.connector(), address, Demand::anyone("192.0.2.1")).unwrap();
        assert_eq!(anyone.proof, Some(Ok(Proof::Nothing)));
        let (old, _) = authority.serve(2020, version, 1);
        let expired = talk(&server, &connector, old, Demand::authority("mail.example"));
        assert_eq!(fault(expired), Fault::CertificateExpired);
    }
}

fn dane(records: Vec<Tlsa>, name: &str) -> Demand {
    let names = vec![name.to_owned()];
    Demand { server_name: name.to_owned(), identity: Identity::Dane { records, names }, is_required: true }
}

fn anchor(certificate: &[u8]) -> Tlsa {
    let own = Tlsa::for_certificate(certificate).unwrap();
    Tlsa { usage: Usage::Anchor, ..own }
}

#[test]
fn dane_records_are_satisfied_by_their_certificates_alone() {
    let (server, authority) = (Server::start(&Plan::new(1, Begin::Plain)), Authority::new("dane"));
    // DANE asks no public authority.
    let stranger = Authority::new("public");
    let connector = stranger.connector();
    let (address, certificate) = authority.serve(2020, &TLS13, 3);
    let own = Tlsa::for_certificate(&certificate).unwrap();
    // Neither dates nor names count for the server's own certificate.
    let good = talk(&server, &connector, address, dane(vec![own.clone()], "other.example")).unwrap();
    assert_eq!(good.proof, Some(Ok(Proof::Dane)));
    let (_, unknown) = authority.serve(2100, &TLS13, 0);
    let wrong = Tlsa::for_certificate(&unknown).unwrap();
    let mismatch = talk(&server, &connector, address, dane(vec![wrong], "mail.example"));
    assert_eq!(fault(mismatch), Fault::TlsaInvalid);
    // They do for an authority's.
    let root = anchor(authority.certificate.der());
    let expired = talk(&server, &connector, address, dane(vec![root.clone()], "mail.example"));
    assert_eq!(fault(expired), Fault::CertificateExpired);
    let (address, _) = authority.serve(2100, &TLS12, 4);
    let good = talk(&server, &connector, address, dane(vec![root.clone()], "mail.example")).unwrap();
    assert_eq!(good.proof, Some(Ok(Proof::Dane)));
    let named = talk(&server, &connector, address, dane(vec![root], "other.example"));
    assert_eq!(fault(named), Fault::CertificateHostMismatch);
    // A record with the whole of another authority, which has not issued the certificate.
    let data = stranger.certificate.der().to_vec();
    let whole =
        Tlsa { usage: Usage::Anchor, selector: Selector::Certificate, matching: Matching::Full, data };
    let foreign = talk(&server, &connector, address, dane(vec![whole], "mail.example"));
    assert_eq!(fault(foreign), Fault::CertificateNotTrusted);
}

#[test]
fn a_resumed_session_is_looked_at_again() {
    let (server, authority) = (Server::start(&Plan::new(1, Begin::Plain)), Authority::new("resumed"));
    let connector = authority.connector();
    for version in [&TLS13, &TLS12] {
        let (address, certificate) = authority.serve(2100, version, 5);
        let own = Tlsa::for_certificate(&certificate).unwrap();
        let name = format!("{:?}.example", version.version).to_lowercase();
        let first = talk(&server, &connector, address, Demand::anyone(&name)).unwrap();
        assert!(!first.is_resumed);
        let second = talk(&server, &connector, address, dane(vec![own], &name)).unwrap();
        assert!(second.is_resumed);
        assert_eq!(second.proof, Some(Ok(Proof::Dane)));
        let without = talk(&server, &connector.clone().without_memory(), address, Demand::anyone(&name));
        assert!(!without.unwrap().is_resumed);
        // The records of now count, not those of the first handshake.
        let wrong = anchor(&certificate);
        let third = talk(&server, &connector, address, dane(vec![wrong], &name));
        assert!(matches!(third, Err(ConnError::Unproven(_))), "{third:?}");
        let fourth = talk(&server, &connector, address, Demand::authority(&name));
        assert_eq!(fault(fourth), Fault::CertificateHostMismatch);
    }
}

#[test]
fn a_connection_comes_from_the_address_that_was_chosen() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |source: &str| {
        let source: IpAddr = source.parse().unwrap();
        let work = move |context: std::rc::Rc<Context>| async move {
            let timers = context.local.timers().clone();
            Conn::connect_within(Some(source), address, &timers, LIMIT).await.map(|conn| conn.local())
        };
        block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
    };
    let local = connect("127.0.0.7").unwrap().unwrap();
    assert_eq!(listener.accept().unwrap().1, local);
    assert_eq!(local.ip(), "127.0.0.7".parse::<IpAddr>().unwrap());
    // An address of documents: none of ours.
    assert_eq!(connect("192.0.2.1").unwrap_err(), ConnError::Io(ErrorKind::AddrNotAvailable));
}

#[test]
fn a_server_that_keeps_silent_or_talks_no_tls_ends_the_wait() {
    let (server, authority) = (Server::start(&Plan::new(1, Begin::Plain)), Authority::new("silent"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let secure = |limit: Duration| {
        let connector = authority.connector();
        let work = move |context: std::rc::Rc<Context>| async move {
            let timers = context.local.timers().clone();
            let mut conn = Conn::connect_within(None, address, &timers, LIMIT).await?;
            conn.secure(&connector, Demand::anyone("mail.example"), &timers, limit).await.map(drop)
        };
        block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
    };
    assert_eq!(secure(Duration::from_millis(30)), Err(ConnError::TimedOut));
    let garbage = std::thread::spawn(move || {
        listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"454 4.7.0 TLS not available\r\n").unwrap();
        let (stream, _) = listener.accept().unwrap();
        drop(stream);
    });
    assert!(matches!(secure(LIMIT), Err(ConnError::Tls(_))));
    let closed = secure(LIMIT);
    assert!(
        matches!(closed, Err(ConnError::Closed | ConnError::Io(ErrorKind::ConnectionReset))),
        "{closed:?}"
    );
    garbage.join().unwrap();
}

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mail.example\nmax_age: 86400\n";

/// What a fetch comes to from a server that answers so. The names of the certificate are `mail.example`'s.
fn fetch(host: &'static str, last_year: i32, response: String) -> Result<Policy, Fault> {
    let (server, authority) =
        (Server::start(&Plan::new(1, Begin::Plain)), Authority::new(&format!("policy-{host}")));
    let (address, _) = authority.serve_with(last_year, &TLS13, 1, move |stream| {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                // It went away without asking, as it should from the wrong server.
                _ => return,
            }
        }
        assert!(request.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mail.example\r\n"));
        // It may have had enough before the end.
        let _sent = stream.write_all(response.as_bytes());
        stream.conn.send_close_notify();
        let _sent = stream.flush();
    });
    let connector = authority.connector();
    // Nobody listens on the first.
    let addresses = vec!["127.0.0.1:1".parse().unwrap(), address];
    let work = move |context: std::rc::Rc<Context>| async move {
        policy_from(&context.local, &connector, host, addresses).await
    };
    block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
}

#[test]
fn a_policy_comes_from_the_right_server_and_is_small_and_plain() {
    let with = |kind: &str, body: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n{body}");
    let good = with("text/plain", POLICY);
    assert_eq!(fetch("mail.example", 2100, good.clone()), Ok(Policy::parse(POLICY.as_bytes()).unwrap()));
    assert_eq!(fetch("other.example", 2100, good.clone()), Err(Fault::StsWebpkiInvalid));
    assert_eq!(fetch("mail.example", 2020, good), Err(Fault::StsWebpkiInvalid));
    assert_eq!(fetch("mail.example", 2100, with("text/plain", "hello")), Err(Fault::StsPolicyInvalid));
    let long = format!("{POLICY}{}", "x: y\n".repeat(100_000));
    for unusable in [
        with("text/html", POLICY),
        with("text/plain", &long),
        "HTTP/1.1 302 Found\r\nLocation: https://mail.example/\r\n\r\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(fetch("mail.example", 2100, unusable), Err(Fault::StsPolicyFetchError));
    }
}
