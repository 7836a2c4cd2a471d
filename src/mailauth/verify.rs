//! All checks of one incoming message.

use std::net::IpAddr;

use base::Timestamp;

use crate::Lookup;
use crate::arc::{self, Arc};
use crate::both::both;
use crate::dkim::{self, Dkim};
use crate::dmarc::{self, Dmarc, Evidence, Policy};
use crate::iprev::{self, Iprev};
use crate::key::Service;
use crate::message::Message;
use crate::name;
use crate::results::Results;
use crate::spf::{self, Sender, Spf};

/// A message and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Checks<'a> {
    /// The peer's address.
    pub ip: IpAddr,
    /// What it said with HELO or EHLO.
    pub helo: &'a str,
    /// The envelope's sender without brackets; empty for a null sender.
    pub mail_from: &'a str,
    /// The message as it came, lines ending at CRLF.
    pub message: &'a [u8],
    /// Now.
    pub now: Timestamp,
    /// Our name in what is said about the message (RFC 8601 §2.5).
    pub authserv_id: &'a str,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Whether the address has a name.
    pub iprev: Iprev,
    /// SPF for the HELO name.
    pub spf_helo: Spf,
    /// SPF for the envelope's sender.
    pub spf: Spf,
    /// DKIM, one for each signature.
    pub dkim: Vec<Dkim>,
    /// The chain of those who handled the message before.
    pub arc: Arc,
    /// DMARC.
    pub dmarc: Dmarc,
    /// What the author's domain wants done with the message.
    pub disposition: Policy,
    /// The `Authentication-Results` field to put in front, with its CRLF.
    pub header: String,
    /// The same in one line without the field's name: what [`arc::Sealer::seal`] takes.
    pub results: String,
}

/// Runs all checks, those that do not rest on each other at the same time. What they take is mostly the name
/// server's time; the cryptography is some 30 microseconds for each signature, and hashing the body once or twice.
pub async fn verify<L: Lookup>(lookup: &L, checks: &Checks<'_>) -> Verdicts {
    let message = Message::parse(checks.message);
    let sender = Sender {
        ip: checks.ip,
        helo: checks.helo,
        mail_from: checks.mail_from,
        receiver: checks.authserv_id,
        now: checks.now,
    };
    let asked_of_peer = both(iprev::check(lookup, checks.ip), spf_of(lookup, &sender));
    let asked_of_message = both(
        dkim::verify(lookup, &message, Service::Mail, checks.now),
        arc::verify(lookup, &message, checks.now),
    );
    let ((iprev, (spf_helo, spf)), (dkim, arc)) = both(asked_of_peer, asked_of_message).await;
    let evidence = evidence(&spf, &dkim);
    let dmarc = dmarc::evaluate_all(lookup, &dmarc::authors(&message), &evidence).await;
    let mut results = Results::new(checks.authserv_id);
    results.iprev(&iprev, checks.ip);
    results.spf(&spf_helo, checks.helo);
    if !checks.mail_from.is_empty() {
        results.spf(&spf, checks.mail_from);
    }
    results.dkim(&dkim);
    results.arc(&arc);
    results.dmarc(&dmarc);
    Verdicts {
        disposition: dmarc.disposition(),
        header: results.field(),
        results: results.text(),
        iprev,
        spf_helo,
        spf,
        dkim,
        arc,
        dmarc,
    }
}

/// SPF for both identities.
async fn spf_of<L: Lookup>(lookup: &L, sender: &Sender<'_>) -> (Spf, Spf) {
    if !sender.mail_from.is_empty() {
        return both(spf::check_helo(lookup, sender), spf::check_mail_from(lookup, sender)).await;
    }
    // For a null sender both are the same question (RFC 7208 §2.4).
    let helo = spf::check_helo(lookup, sender).await;
    let mail_from = Spf { identity: spf::Identity::MailFrom, ..helo.clone() };
    (helo, mail_from)
}

/// What counts for DMARC: SPF of the envelope's sender (RFC 9989 §4.4.2), and DKIM.
pub fn evidence(spf: &Spf, dkim: &[Dkim]) -> Evidence {
    Evidence {
        spf: name::normal(&spf.domain).map(|domain| (spf.result, domain)),
        dkim: dkim.iter().map(|dkim| (dkim.result, dkim.domain.clone())).collect(),
    }
}
