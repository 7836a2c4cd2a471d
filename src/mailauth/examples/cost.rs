//! What checking and signing cost a core, with a name system in memory: microseconds for one message.
//!
//!     cargo run --release -p mailauth --example cost

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::Ipv4Addr;
use std::time::Instant;

use base::dns::Record;
use mailauth::dkim::{KeyState, SignOptions};
use mailauth::{Algorithm, Message};
use support::{NOW, Zone, run, signed, signer, verify};

const ROUNDS: u32 = 2000;

fn main() {
    let zone = Zone::default();
    zone.txt("a.example", "v=spf1 include:spf.a.example mx ip4:192.0.2.0/24 -all");
    zone.txt("spf.a.example", "v=spf1 ip4:198.51.100.0/24 ip6:2001:db8::/32 ~all");
    zone.txt("mx.a.example", "v=spf1 a -all");
    zone.add("a.example", Record::Mx { preference: 10, host: "mail.a.example".to_owned() });
    zone.add("mail.a.example", Record::A(Ipv4Addr::new(203, 0, 113, 1)));
    zone.add("mx.a.example", Record::A(Ipv4Addr::new(192, 0, 2, 1)));
    zone.add("1.2.0.192.in-addr.arpa", Record::Ptr("mx.a.example".to_owned()));
    zone.txt("_dmarc.a.example", "v=DMARC1; p=reject; rua=mailto:r@a.example");
    let rsa = signer(&zone, "a.example", &[("rsa", Algorithm::RsaSha256, KeyState::Active)]);
    let ed25519 = signer(&zone, "a.example", &[("ed", Algorithm::Ed25519Sha256, KeyState::Active)]);
    for kib in [4, 64, 1024] {
        let header = "From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: a message\r\n\
            Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\
            MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
        let line = "Some words of a line as long as most lines in mail are, more or less.\r\n";
        let plain = format!("{header}{}", line.repeat(kib * 1024 / line.len())).into_bytes();
        let one = signed(&rsa, &plain);
        let two = signed(&ed25519, &one);
        let rounds = (ROUNDS * 4 / kib as u32).max(20);
        println!("{kib} KiB, {rounds} rounds");
        let options = SignOptions { now: NOW, valid_s: 3600 };
        let parsed = Message::parse(&plain);
        measure("all checks, no signature", rounds, || verify(&zone, "ann@a.example", &plain).results.len());
        measure("all checks, RSA-2048", rounds, || verify(&zone, "ann@a.example", &one).results.len());
        measure("all checks, RSA-2048 and Ed25519", rounds, || {
            verify(&zone, "ann@a.example", &two).results.len()
        });
        measure("signing with RSA-2048", rounds, || {
            run(rsa.sign(&parsed, options)).map_or(0, |fields| fields.len())
        });
        measure("signing with Ed25519", rounds, || {
            run(ed25519.sign(&parsed, options)).map_or(0, |fields| fields.len())
        });
    }
}

/// Prints what one round takes. What it returns keeps the work from being left out.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn measure(name: &str, rounds: u32, mut work: impl FnMut() -> usize) {
    let started = Instant::now();
    let made: usize = (0..rounds).map(|_| work()).sum();
    let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    println!("  {name:<34} {each:8.1} us  ({} bytes made)", made / rounds as usize);
}
