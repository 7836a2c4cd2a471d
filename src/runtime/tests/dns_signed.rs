//! DNSSEC against zones that ldns has signed and nsd serves, by way of unbound where its word counts.
//! `tests/blackbox.sh` runs it; the programs come with `perf-scripts/packages.sh test`.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use base::ShardId;
use base::dns::{Answer, Failure, Query, RecordKind};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
use runtime::{Asker, DnsSettings, Resolver, Sidecar, block_on};
use support::{Begin, Context, Plan, Server, until};

/// A tree of zones: the root, `example`, and below it signed ones, one without signatures, and broken ones.
struct Zones {
    folder: PathBuf,
    servers: Vec<Child>,
    names: SocketAddr,
    resolver: SocketAddr,
}

const SOA: &str = "IN SOA ns.example. admin.example. 1 3600 600 86400 60\n";
const RECORDS: &str = "mail IN A 192.0.2.1\n_25._tcp.mail IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n@ IN MX 10 mail\n@ IN TXT \"a\" \"b\"\n*.wild IN A 192.0.2.9\n*._tcp.host IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n*.to IN CNAME mail\nalias IN CNAME mail\nout IN CNAME mail.plain.example.\n";

/// How a zone is signed.
#[derive(Clone, Copy, PartialEq)]
enum Signed {
    No,
    Nsec,
    Nsec3,
    /// Until a time that has gone.
    Expired,
    /// And changed afterwards.
    Changed,
}

const ZONES: [(&str, Signed); 5] = [
    ("signed.example", Signed::Nsec),
    ("nsec3.example", Signed::Nsec3),
    ("plain.example", Signed::No),
    ("expired.example", Signed::Expired),
    ("changed.example", Signed::Changed),
];

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; perf-scripts/packages.sh test"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A port that is free for both protocols.
fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Zones {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("runtime-zones-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut zones = Self { folder, servers: Vec::new(), names: free(), resolver: free() };
        let mut parent =
            format!("$ORIGIN example.\n$TTL 60\n@ {SOA}@ IN NS ns.example.\nns IN A 127.0.0.1\n");
        for (zone, signed) in ZONES {
            let text = format!("$ORIGIN {zone}.\n$TTL 60\n@ {SOA}@ IN NS ns.example.\n{RECORDS}");
            let ds = zones.sign(zone, &text, signed);
            let _ = write!(parent, "{zone}. IN NS ns.example.\n{ds}\n");
        }
        let ds = zones.sign("example", &parent, Signed::Nsec);
        let root = format!(
            "$ORIGIN .\n$TTL 60\n@ {SOA}@ IN NS ns.example.\nexample. IN NS ns.example.\n{ds}\nns.example. IN A 127.0.0.1\n"
        );
        zones.sign(".", &root, Signed::Nsec);
        zones.serve();
        zones
    }

    fn file(&self, zone: &str) -> PathBuf {
        self.folder.join(format!("{}.zone", if zone == "." { "root" } else { zone }))
    }

    /// Writes a zone, signs it, and gives its DS record.
    fn sign(&self, zone: &str, text: &str, signed: Signed) -> String {
        let file = self.file(zone);
        std::fs::write(&file, text).unwrap();
        if signed == Signed::No {
            return String::new();
        }
        let key = run(&self.folder, "ldns-keygen", &["-a", "ECDSAP256SHA256", "-k", zone]);
        let file = file.to_str().unwrap();
        let mut arguments = vec!["-o", zone, "-f", file];
        match signed {
            Signed::Nsec3 => arguments.extend(["-n", "-t", "0"]),
            Signed::Expired => arguments.extend(["-i", "20200101000000", "-e", "20200201000000"]),
            _ => {}
        }
        arguments.extend([file, &key]);
        run(&self.folder, "ldns-signzone", &arguments);
        if signed == Signed::Changed {
            let text = std::fs::read_to_string(file).unwrap();
            std::fs::write(file, text.replace("192.0.2.1\n", "192.0.2.66\n")).unwrap();
        }
        if zone == "." {
            std::fs::copy(self.folder.join(format!("{key}.key")), self.folder.join("anchor")).unwrap();
        }
        std::fs::read_to_string(self.folder.join(format!("{key}.ds"))).unwrap()
    }

    fn serve(&mut self) {
        let all = || [".", "example"].into_iter().chain(ZONES.map(|(zone, _)| zone));
        let folder = self.folder.display().to_string();
        let mut nsd = format!(
            "server:\n ip-address: 127.0.0.1@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{folder}\"\n database: \"\"\n pidfile: \"{folder}/nsd.pid\"\n xfrdfile: \"{folder}/xfrd\"\n zonelistfile: \"{folder}/list\"\n cookie-secret-file: \"{folder}/cookie\"\n rrl-ratelimit: 0\n server-count: 1\nremote-control:\n control-enable: no\n",
            self.names.port()
        );
        let mut unbound = format!(
            "server:\n interface: 127.0.0.1@{}\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"{folder}/unbound.pid\"\n use-syslog: no\n do-daemonize: no\n do-not-query-localhost: no\n module-config: \"validator iterator\"\n trust-anchor-file: \"{folder}/anchor\"\nremote-control:\n control-enable: no\n",
            self.resolver.port()
        );
        for zone in all() {
            let file = self.file(zone);
            let _ = write!(nsd, "zone:\n name: \"{zone}\"\n zonefile: \"{}\"\n", file.display());
            let _ = write!(
                unbound,
                "stub-zone:\n name: \"{zone}\"\n stub-addr: 127.0.0.1@{}\n",
                self.names.port()
            );
        }
        std::fs::write(self.folder.join("nsd.conf"), nsd).unwrap();
        std::fs::write(self.folder.join("unbound.conf"), unbound).unwrap();
        for (program, arguments) in
            [("nsd", &["-d", "-c", "nsd.conf"][..]), ("unbound", &["-d", "-c", "unbound.conf"])]
        {
            let log = std::fs::File::create(self.folder.join(format!("{program}.log"))).unwrap();
            let mut command = Command::new(format!("/usr/sbin/{program}"));
            command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).stderr(log);
            self.servers.push(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
        }
        for address in [self.names, self.resolver] {
            until("the name servers listen", || std::net::TcpStream::connect(address).is_ok());
        }
    }

    fn settings(&self, validate: Option<bool>) -> DnsSettings {
        let timeout = Duration::from_secs(20);
        DnsSettings { servers: vec![self.names], validate, timeout, ..DnsSettings::default() }
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // SIGTERM: nsd has children, which it takes along.
            let _gone = Command::new("kill").arg(server.id().to_string()).status();
            let _gone = server.wait();
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// What an attacker does to an answer.
type Change = fn(&mut Message);
/// In words, and in deed.
type Forgery = (&'static str, Change);

/// Stands between us and the name server, as an attacker would, and changes what it says.
fn forge(names: SocketAddr, change: Change) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let behind = UdpSocket::bind("127.0.0.1:0").unwrap();
            behind.send_to(&buffer[..count], names).unwrap();
            let mut answer = [0; 4096];
            let count = behind.recv(&mut answer).unwrap();
            let mut message = Message::from_bytes(&answer[..count]).unwrap();
            change(&mut message);
            socket.send_to(&message.to_bytes().unwrap(), peer).unwrap();
        }
    });
    address
}

/// An SOA record of a zone that is not signed, or not there.
fn soa(zone: &str) -> Record {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let data = SOA::new(name("ns.example."), name("admin.example."), 1, 3600, 600, 86400, 60);
    Record::from_rdata(name(zone), 60, RData::SOA(data))
}

/// Whether this is about one of the two records that attackers would have missing.
fn is_target(message: &Message) -> bool {
    let query = &message.queries[0];
    query.query_type() == RecordType::TLSA || query.name().to_ascii().starts_with("a.wild.")
}

fn deny(message: &mut Message, zone: &str) {
    if is_target(message) {
        message.answers.clear();
        message.authorities = vec![soa(zone)];
        message.metadata.response_code = ResponseCode::NXDomain;
    }
}

/// `secure NAME COUNT`, `insecure NAME COUNT`, or the failure.
fn told(outcome: &Result<Answer, Failure>) -> String {
    let word = |is_secure| if is_secure { "secure" } else { "insecure" };
    match outcome {
        Ok(answer) => format!("{} {} {}", word(answer.is_secure), answer.name, answer.records.len()),
        Err(Failure::NoSuchName(absence)) => format!("{} no name", word(absence.is_secure)),
        Err(Failure::NoRecords(absence)) => format!("{} no records", word(absence.is_secure)),
        Err(failure) => format!("{failure:?}"),
    }
}

fn ask(server: &Server, settings: &DnsSettings, queries: &[(&str, RecordKind)]) -> Vec<String> {
    let (asker, sidecar) = (Asker::new(settings).unwrap(), Sidecar::start().unwrap());
    let queries: Vec<Query> = queries.iter().map(|(name, kind)| Query::new(name, *kind)).collect();
    let work = move |context: Rc<Context>| async move {
        let resolver = Resolver::new(context.local.clone(), sidecar, asker);
        let mut outcomes = Vec::new();
        for query in queries {
            outcomes.push(told(&resolver.lookup(query).await));
        }
        outcomes
    };
    block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
}

fn check(server: &Server, settings: &DnsSettings, expected: &[(&str, RecordKind, &str)]) {
    let queries: Vec<_> = expected.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let outcomes = ask(server, settings, &queries);
    for ((name, kind, expected), outcome) in expected.iter().zip(outcomes) {
        assert_eq!(&outcome, expected, "{name} {kind:?} by {settings:?}");
    }
}

#[test]
#[ignore = "needs nsd, ldnsutils and unbound: perf-scripts/packages.sh test"]
fn what_is_proven_and_what_is_not() {
    use RecordKind::{A, Aaaa, Cname, Mx, Tlsa, Txt};
    let (zones, server) = (Zones::start("proofs"), Server::start(&Plan::new(1, Begin::Plain)));
    let anchor = Some(zones.folder.join("anchor"));
    let validating = DnsSettings { trust_anchor: anchor, ..zones.settings(None) };
    for zone in ["signed.example", "nsec3.example"] {
        let names = ["mail", "_25._tcp.mail", "nowhere", "alias", "out", "a.wild", "_25._tcp.host", "a.b.to"];
        let [mail, tlsa, nowhere, alias, out, wild, wild_tlsa, wild_alias] =
            names.map(|name| format!("{name}.{zone}"));
        let (own, at) = (format!("secure {zone} 1"), format!("secure {mail} 1"));
        let (tlsa_, wild_) = (format!("secure {tlsa} 1"), format!("secure {wild} 1"));
        check(
            &server,
            &validating,
            &[
                (zone, Mx, own.as_str()),
                (zone, Txt, &own),
                (&mail, A, &at),
                (&tlsa, Tlsa, &tlsa_),
                (&mail, Aaaa, "secure no records"),
                (&nowhere, A, "secure no name"),
                (&alias, A, &at),
                (&alias, Cname, &format!("secure {alias} 1")),
                (&alias, Aaaa, "secure no records"),
                // The alias is proven, and what it points at is not.
                (&out, A, "insecure mail.plain.example 1"),
                (&wild, A, &wild_),
                (&wild, Mx, "secure no records"),
                (&wild_tlsa, Tlsa, &format!("secure {wild_tlsa} 1")),
                (&wild_alias, A, &at),
                (&wild_alias, Aaaa, "secure no records"),
            ],
        );
    }
    check(
        &server,
        &validating,
        &[
            ("plain.example", Mx, "insecure plain.example 1"),
            ("mail.plain.example", A, "insecure mail.plain.example 1"),
            ("mail.plain.example", Aaaa, "insecure no records"),
            ("nowhere.plain.example", A, "insecure no name"),
            ("mail.expired.example", A, "Bogus"),
            ("mail.changed.example", A, "Bogus"),
            ("_25._tcp.mail.changed.example", Tlsa, "secure _25._tcp.mail.changed.example 1"),
            ("nowhere.example", A, "secure no name"),
        ],
    );
    // Without the key of this root nothing of it counts: the real root's does not fit.
    check(&server, &zones.settings(Some(true)), &[("mail.signed.example", A, "Bogus")]);
    check(&server, &zones.settings(None), &[("mail.signed.example", A, "insecure mail.signed.example 1")]);
}

#[test]
#[ignore = "needs nsd, ldnsutils and unbound: perf-scripts/packages.sh test"]
fn the_word_of_a_resolver_counts_where_it_is_trusted() {
    use RecordKind::{A, Aaaa, Tlsa};
    let (zones, server) = (Zones::start("word"), Server::start(&Plan::new(1, Begin::Plain)));
    let asking = DnsSettings { servers: vec![zones.resolver], ..zones.settings(Some(false)) };
    let trusting = DnsSettings { trust_ad: true, ..asking.clone() };
    check(
        &server,
        &trusting,
        &[
            ("mail.signed.example", A, "secure mail.signed.example 1"),
            ("alias.signed.example", A, "secure mail.signed.example 1"),
            ("out.signed.example", A, "insecure mail.plain.example 1"),
            ("mail.plain.example", A, "insecure mail.plain.example 1"),
            ("mail.changed.example", A, "Temporary"),
            ("mail.signed.example", Aaaa, "insecure no records"),
        ],
    );
    check(&server, &asking, &[("mail.signed.example", A, "insecure mail.signed.example 1")]);
    // And through it signatures are checked here just as well.
    let anchor = Some(zones.folder.join("anchor"));
    let validating =
        DnsSettings { trust_anchor: anchor, servers: vec![zones.resolver], ..zones.settings(None) };
    check(
        &server,
        &validating,
        &[
            ("mail.signed.example", A, "secure mail.signed.example 1"),
            ("nowhere.nsec3.example", A, "secure no name"),
            ("alias.signed.example", Aaaa, "secure no records"),
            ("out.nsec3.example", A, "insecure mail.plain.example 1"),
            ("_25._tcp.host.signed.example", Tlsa, "secure _25._tcp.host.signed.example 1"),
            ("_25._tcp.host.nsec3.example", Tlsa, "secure _25._tcp.host.nsec3.example 1"),
            ("a.to.signed.example", A, "secure mail.signed.example 1"),
            ("a.to.nsec3.example", A, "secure mail.nsec3.example 1"),
            ("a.to.signed.example", Aaaa, "secure no records"),
        ],
    );
}

#[test]
#[ignore = "needs nsd, ldnsutils and unbound: perf-scripts/packages.sh test"]
fn what_is_forged_on_the_way_is_not_believed() {
    use RecordKind::{A, Tlsa};
    let (zones, server) = (Zones::start("forged"), Server::start(&Plan::new(1, Begin::Plain)));
    let anchor = Some(zones.folder.join("anchor"));
    let validating = DnsSettings { trust_anchor: anchor, ..zones.settings(None) };
    let forgeries: [Forgery; 6] = [
        ("a denial by a zone that is not signed", |message| deny(message, "plain.example.")),
        ("a denial by a zone that is none", |message| deny(message, "mail.signed.example.")),
        ("a denial by nobody", |message| {
            deny(message, ".");
            if is_target(message) {
                message.authorities.clear();
            }
        }),
        ("signatures left out", |message| {
            if is_target(message) {
                message.answers.retain(|record| record.record_type() != RecordType::RRSIG);
            }
        }),
        ("another answer under the signature", |message| {
            if is_target(message) {
                for record in
                    message.answers.iter_mut().filter(|record| record.record_type() == RecordType::A)
                {
                    record.data = RData::A(Ipv4Addr::new(192, 0, 2, 99).into());
                }
                message.answers.retain(|record| record.record_type() != RecordType::TLSA);
            }
        }),
        ("a wildcard without its denial, beside another zone's", |message| {
            if is_target(message) {
                message.authorities = vec![soa("plain.example.")];
                message.answers.retain(|record| record.record_type() != RecordType::TLSA);
            }
        }),
    ];
    for (what, change) in forgeries {
        let forged = DnsSettings { servers: vec![forge(zones.names, change)], ..validating.clone() };
        for zone in ["signed.example", "nsec3.example"] {
            let queries = [(format!("_25._tcp.mail.{zone}"), Tlsa), (format!("a.wild.{zone}"), A)];
            let queries: Vec<_> = queries.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
            assert_eq!(ask(&server, &forged, &queries), ["Bogus", "Bogus"], "{what}: {queries:?}");
            // What is left alone is believed.
            let (mail, expected) = (format!("mail.{zone}"), format!("secure mail.{zone} 1"));
            assert_eq!(ask(&server, &forged, &[(&mail, A)]), [expected]);
        }
    }
}
