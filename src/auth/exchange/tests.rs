//! Exchanges from both sides, with the RFCs' examples and with clients that lie.

use std::num::NonZeroU32;

use base::{AccountId, PartitionId};

use super::*;
use crate::ScramCredential;
use crate::scram::{derive, hmac};

const OPEN: Policy = Policy { allow_plaintext_without_tls: true };
const SHUT: Policy = Policy { allow_plaintext_without_tls: false };
const BINDING: &[u8] = b"exported keying material";

fn tls() -> TlsInfo {
    let data = Secret::new(BINDING.to_vec());
    TlsInfo { bindings: vec![ChannelBinding { name: "tls-exporter", data }], ..TlsInfo::default() }
}

fn start(mechanism: &str) -> Exchange {
    Exchange::start(mechanism, None, &OPEN, [0; 18]).unwrap()
}

fn identity() -> Identity {
    let address = "user@example.org".to_owned();
    Identity { account: AccountId(7), partition: PartitionId(3), address }
}

fn credential(hash: ScramHash, salt: &str) -> ScramCredential {
    let rounds = NonZeroU32::new(4096).unwrap();
    let keys = derive(hash, "pencil", STANDARD.decode(salt).unwrap(), rounds);
    ScramCredential { keys, identity: Some(identity()) }
}

fn text(step: Step) -> String {
    match step {
        Step::Challenge(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?} in place of a challenge"),
    }
}

fn password_query(username: &str, password: &str) -> Step {
    let password = Secret::new(password.to_owned());
    Step::Ask(Query::Password { username: username.to_owned(), password })
}

#[test]
fn mechanisms_depend_on_the_connection() {
    let plus = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"];
    let scram = ["SCRAM-SHA-256", "SCRAM-SHA-1"];
    let plain = ["PLAIN", "LOGIN"];
    assert_eq!(mechanisms(None, &SHUT), scram);
    assert_eq!(mechanisms(None, &OPEN), [scram, plain].concat());
    assert_eq!(mechanisms(Some(&TlsInfo::default()), &SHUT), [scram, plain].concat());
    assert_eq!(mechanisms(Some(&tls()), &SHUT), [plus, scram, plain].concat());

    let refused = |name, tls: Option<&TlsInfo>| Exchange::start(name, tls, &SHUT, [0; 18]).err();
    assert_eq!(refused("plain", None), Some(Unsupported::NeedsEncryption));
    assert_eq!(refused("LOGIN", None), Some(Unsupported::NeedsEncryption));
    assert_eq!(refused("SCRAM-SHA-256-PLUS", Some(&TlsInfo::default())), Some(Unsupported::NeedsBinding));
    assert_eq!(refused("CRAM-MD5", Some(&tls())), Some(Unsupported::Unknown));
    assert_eq!(refused("scram-sha-256", None), None);
}

#[test]
fn plain_asks_once_and_ends() {
    let mut exchange = start("PLAIN");
    assert_eq!(exchange.begin(None), Step::Challenge(Vec::new()));
    // RFC 4616 §4: the example's Tim.
    assert_eq!(exchange.step(b"\0tim\0tanstaaftanstaaf"), password_query("tim", "tanstaaftanstaaf"));
    assert_eq!(exchange.username(), Some("tim"));
    assert_eq!(exchange.answer(Answer::Granted(identity())), Step::Granted(identity()));

    for (answer, failure) in [
        (Answer::Denied, Failure::Denied),
        (Answer::Unavailable, Failure::Unavailable),
        (Answer::Throttled { retry_after_s: 9 }, Failure::Throttled { retry_after_s: 9 }),
    ] {
        let mut exchange = start("PLAIN");
        // RFC 4954 §4.1: the example's initial response.
        assert_eq!(exchange.begin(Some(b"dGVzdAB0ZXN0ADEyMzQ=")), password_query("test", "1234"));
        assert_eq!(exchange.answer(answer), Step::Failed(failure));
    }
}

#[test]
fn nobody_acts_for_another() {
    for (authzid, is_granted) in [
        ("", true),
        ("user", true),
        ("USER@Example.ORG", true),
        ("other@example.org", false),
        ("root", false),
    ] {
        let mut exchange = start("PLAIN");
        exchange.step(format!("{authzid}\0user\0pencil").as_bytes());
        let step = exchange.answer(Answer::Granted(identity()));
        assert_eq!(step == Step::Granted(identity()), is_granted, "{authzid}");
        assert!(is_granted || step == Step::Failed(Failure::Denied));

        let mut client = Client::new("SCRAM-SHA-256", None, "n,,");
        if !authzid.is_empty() {
            client.gs2_header = format!("n,a={authzid},");
        }
        assert_eq!(client.log_in("pencil") == Step::Granted(identity()), is_granted, "{authzid}");
    }
}

#[test]
fn what_plain_does_not_allow_is_refused() {
    let long = |bytes: usize| format!("\0user\0{}", "x".repeat(bytes)).into_bytes();
    let name = format!("\0{}\0x", "u".repeat(USERNAME_BYTES_MAX + 1)).into_bytes();
    let authzid = format!("{}\0u\0x", "u".repeat(USERNAME_BYTES_MAX + 1)).into_bytes();
    for (message, failure) in [
        (&b""[..], Failure::Malformed),
        (b"user\0pencil", Failure::Malformed),
        (b"\0user\0pencil\0", Failure::Malformed),
        (b"\0\0pencil", Failure::Malformed),
        (b"\0user\0", Failure::Malformed),
        (b"\0us\xff\0pencil", Failure::Malformed),
        (b"\0us\x07er\0pencil", Failure::Malformed),
        (&long(PASSWORD_BYTES_MAX + 1), Failure::TooLong),
        (&long(MESSAGE_BYTES_MAX), Failure::TooLong),
        (&name, Failure::TooLong),
        (&authzid, Failure::TooLong),
    ] {
        assert_eq!(start("PLAIN").step(message), Step::Failed(failure), "{message:?}");
    }
    assert_eq!(start("PLAIN").step(&long(PASSWORD_BYTES_MAX)), {
        password_query("user", &"x".repeat(PASSWORD_BYTES_MAX))
    });
}

#[test]
fn login_prompts_for_name_and_password() {
    let mut exchange = start("login");
    assert!(!exchange.is_client_first());
    assert_eq!(text(exchange.begin(None)), "Username:");
    assert_eq!(text(exchange.step_line(b"dXNlcg==")), "Password:");
    assert_eq!(exchange.step_line(b"cGVuY2ls"), password_query("user", "pencil"));
    assert_eq!(exchange.answer(Answer::Granted(identity())), Step::Granted(identity()));

    let mut exchange = start("LOGIN");
    assert_eq!(text(exchange.begin(Some(b"dXNlcg=="))), "Password:");
    assert_eq!(exchange.step(b""), Step::Failed(Failure::Malformed));

    let mut exchange = start("LOGIN");
    exchange.begin(Some(b"dXNlcg=="));
    assert_eq!(exchange.step(b"pen\0cil"), Step::Failed(Failure::Malformed));

    let mut exchange = start("LOGIN");
    assert_eq!(text(exchange.begin(Some(b"="))), "Username:");
    assert_eq!(exchange.step(b""), Step::Failed(Failure::Malformed));
}

#[test]
fn a_line_is_base64_or_a_star() {
    let begun = || {
        let mut exchange = start("PLAIN");
        exchange.begin(None);
        exchange
    };
    assert_eq!(begun().step_line(b"*"), Step::Failed(Failure::Cancelled));
    assert_eq!(begun().step_line(b"!"), Step::Failed(Failure::Malformed));
    assert_eq!(begun().step_line(b"AHU"), Step::Failed(Failure::Malformed));
    assert_eq!(begun().step_line(b"="), Step::Failed(Failure::Malformed));
    assert_eq!(begun().step_line(&vec![b'A'; LINE_BYTES_MAX + 1]), Step::Failed(Failure::TooLong));
    assert_eq!(start("PLAIN").begin(Some(b"=")), Step::Failed(Failure::Malformed));
}

/// The examples of RFC 5802 §5 and RFC 7677 §3, byte for byte.
#[test]
fn the_examples_of_the_standards_hold() {
    for (mechanism, hash, server_nonce, salt, first, challenge, proof, last) in [
        (
            "SCRAM-SHA-1",
            ScramHash::Sha1,
            "3rfcNHYJY1ZVvWVs7j",
            "QSXCR+Q6sek8bf92",
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "SCRAM-SHA-256",
            ScramHash::Sha256,
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ] {
        let mut exchange = start(mechanism);
        exchange.nonce = server_nonce.to_owned();
        let asked = exchange.step(first.as_bytes());
        assert_eq!(asked, Step::Ask(Query::Scram { username: "user".to_owned(), hash }));
        assert_eq!(text(exchange.answer(Answer::Scram(Box::new(credential(hash, salt))))), challenge);
        assert_eq!(text(exchange.step(proof.as_bytes())), last);
        assert_eq!(exchange.step(b""), Step::Granted(identity()));
    }

    let mut exchange = start("SCRAM-SHA-1");
    exchange.state = State::ScramEnd(identity());
    assert_eq!(exchange.step(b"more"), Step::Failed(Failure::Malformed));
}

/// A SCRAM client that can be told to lie.
struct Client {
    exchange: Exchange,
    hash: ScramHash,
    gs2_header: String,
    binding: Vec<u8>,
    change_nonce: fn(&str) -> String,
    /// Comes after the proof.
    excess: Vec<u8>,
    is_known: bool,
}

impl Client {
    fn new(mechanism: &str, tls: Option<&TlsInfo>, gs2_header: &str) -> Self {
        let exchange = Exchange::start(mechanism, tls, &OPEN, [9; 18]).unwrap();
        let hash = if mechanism.contains("256") { ScramHash::Sha256 } else { ScramHash::Sha1 };
        Self {
            exchange,
            hash,
            gs2_header: gs2_header.to_owned(),
            binding: Vec::new(),
            change_nonce: str::to_owned,
            excess: Vec::new(),
            is_known: true,
        }
    }

    fn log_in(&mut self, password: &str) -> Step {
        let bare = "n=user,r=abc";
        match self.exchange.step(format!("{}{bare}", self.gs2_header).as_bytes()) {
            Step::Ask(Query::Scram { .. }) => {}
            other => return other,
        }
        let mut credential = credential(self.hash, "QSXCR+Q6sek8bf92");
        let (salt, rounds) = (credential.keys.salt.clone(), NonZeroU32::new(4096).unwrap());
        if !self.is_known {
            credential.identity = None;
        }
        let server_first = text(self.exchange.answer(Answer::Scram(Box::new(credential))));
        let nonce = server_first.split(',').next().unwrap().strip_prefix("r=").unwrap();

        let header = STANDARD.encode([self.gs2_header.as_bytes(), &self.binding].concat());
        let without_proof = format!("c={header},r={}", (self.change_nonce)(nonce));
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let keys = derive(self.hash, password, salt.clone(), rounds);
        let client_key = client_key(self.hash, password, &salt, rounds);
        let signature = hmac(self.hash, &keys.stored_key, auth_message.as_bytes());
        let mut proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        proof.extend_from_slice(&self.excess);
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        match self.exchange.step(last.as_bytes()) {
            Step::Challenge(server_final) => {
                let expected = hmac(self.hash, &keys.server_key, auth_message.as_bytes());
                assert_eq!(server_final, format!("v={}", STANDARD.encode(expected)).into_bytes());
                self.exchange.step(b"")
            }
            other => other,
        }
    }
}

fn client_key(hash: ScramHash, password: &str, salt: &[u8], rounds: NonZeroU32) -> Vec<u8> {
    let (algorithm, bytes) = match hash {
        ScramHash::Sha1 => (aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA1, 20),
        ScramHash::Sha256 => (aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256, 32),
    };
    let mut salted = vec![0; bytes];
    aws_lc_rs::pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut salted);
    hmac(hash, &salted, b"Client Key")
}

#[test]
fn a_wrong_proof_nonce_or_end_is_refused() {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let client = || Client::new(mechanism, None, "n,,");
        assert_eq!(client().log_in("pencil"), Step::Granted(identity()));
        assert_eq!(client().log_in("Pencil"), Step::Failed(Failure::Denied));
        let change_nonce = |nonce: &str| format!("{nonce}x");
        let longer = Client { change_nonce, ..client() }.log_in("pencil");
        assert_eq!(longer, Step::Failed(Failure::Denied));
        let change_nonce = |_: &str| "abc".to_owned();
        let own = Client { change_nonce, ..client() }.log_in("pencil");
        assert_eq!(own, Step::Failed(Failure::Denied));
        let other_header = Client { binding: vec![1], ..client() }.log_in("pencil");
        assert_eq!(other_header, Step::Failed(Failure::Denied));
        let longer_proof = Client { excess: vec![0], ..client() }.log_in("pencil");
        assert_eq!(longer_proof, Step::Failed(Failure::Denied));
        let unknown = Client { is_known: false, ..client() }.log_in("pencil");
        assert_eq!(unknown, Step::Failed(Failure::Denied), "a right proof for keys without an identity");
    }

    let mut exchange = start("SCRAM-SHA-256");
    exchange.step(b"n,,n=user,r=abc");
    let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
    let challenge = text(exchange.answer(Answer::Scram(Box::new(credential(ScramHash::Sha256, salt)))));
    let nonce = challenge.split(',').next().unwrap();
    let short = format!("c=biws,{nonce},p=");
    assert_eq!(exchange.step(short.as_bytes()), Step::Failed(Failure::Denied), "an empty proof");
}

#[test]
fn a_channel_binding_is_checked() {
    let tls = tls();
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        let client =
            || Client { binding: BINDING.to_vec(), ..Client::new(mechanism, Some(&tls), "p=tls-exporter,,") };
        assert_eq!(client().log_in("pencil"), Step::Granted(identity()));
        let other = Client { binding: b"another connection's".to_vec(), ..client() }.log_in("pencil");
        assert_eq!(other, Step::Failed(Failure::Denied));
        let none = Client { binding: Vec::new(), ..client() }.log_in("pencil");
        assert_eq!(none, Step::Failed(Failure::Denied));
        for header in ["n,,", "y,,", "p=tls-unique,,"] {
            for binding in [Vec::new(), BINDING.to_vec()] {
                let client = Client { gs2_header: header.to_owned(), binding, ..client() }.log_in("pencil");
                assert_eq!(client, Step::Failed(Failure::Denied), "{header}");
            }
        }
    }
}

#[test]
fn a_downgrade_is_noticed() {
    let tls = tls();
    let log_in = |tls, header| Client::new("SCRAM-SHA-256", tls, header).log_in("pencil");
    assert_eq!(log_in(Some(&tls), "n,,"), Step::Granted(identity()), "the client cannot bind");
    assert_eq!(log_in(None, "y,,"), Step::Granted(identity()), "nor can we");
    assert_eq!(log_in(Some(&tls), "y,,"), Step::Failed(Failure::Denied), "somebody hid -PLUS");
    let client = Client::new("SCRAM-SHA-256", Some(&tls), "p=tls-exporter,,");
    let bound = Client { binding: BINDING.to_vec(), ..client }.log_in("pencil");
    assert_eq!(bound, Step::Failed(Failure::Denied), "a binding needs a -PLUS mechanism");
}

#[test]
fn an_exchange_moves_between_cores_and_prints_no_secret() {
    fn is_send<T: Send>(_: &T) {}
    let mut exchange = start("SCRAM-SHA-256");
    is_send(&exchange);
    exchange.step(b"n,,n=user,r=abc");
    let keys = credential(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
    exchange.answer(Answer::Scram(Box::new(keys)));
    let printed = format!("{exchange:?}");
    assert!(printed.contains("Sha256") && printed.contains("proof"), "{printed}");
    assert!(!printed.contains("user") && !printed.contains("abc"), "{printed}");
    let query = format!("{:?}", start("PLAIN").step(b"\0tim\0tanstaaf"));
    assert!(!query.contains("tanstaaf"), "{query}");
}

/// Whatever a client sends, an exchange answers and never panics.
#[test]
fn noise_is_refused() {
    let mut random = base::Random::new(11);
    let alphabet = b"n=r,pyac\0\xc3\xa9AB+/=1msi ";
    for _ in 0..20_000 {
        for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1"] {
            let mut exchange = start(mechanism);
            let mut noise = Vec::new();
            for _ in 0..random.below(24) {
                noise.push(alphabet[random.below(alphabet.len() as u64) as usize]);
            }
            if let Step::Ask(Query::Scram { .. }) = exchange.step(&noise) {
                let keys = credential_without_work();
                exchange.answer(Answer::Scram(Box::new(keys)));
                assert!(matches!(exchange.step(&noise), Step::Failed(_)));
            }
        }
    }
}

fn credential_without_work() -> ScramCredential {
    let keys = directory::ScramKeys {
        salt: vec![1],
        iterations: 1,
        stored_key: vec![2; 20],
        server_key: vec![3; 20],
    };
    ScramCredential { keys, identity: Some(identity()) }
}
