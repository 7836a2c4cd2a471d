//! DANE for SMTP (RFC 6698, 7671, 7672): what TLSA records demand of a host, and whether its
//! certificates satisfy them.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base::dns::{Answer, Failure, Query, Record, RecordKind};

use crate::certificate::public_key;
use crate::limits::{CHAIN_MAX, TLSA_RECORDS_MAX};

/// What a host's TLSA records demand. The records behind it are proven by DNSSEC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dane {
    /// Nothing: the host has none, or none that is proven.
    None,
    /// TLS, with a certificate that satisfies one of these.
    Records(Vec<Tlsa>),
    /// TLS, with any certificate: there are records, and none that can be used (RFC 7672 §2.2).
    Unusable,
    /// The host must not be used now: whether it has records cannot be found out (RFC 7672 §2.1.2).
    Unknown,
}

/// A TLSA record that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// Whose certificate.
    pub usage: Usage,
    /// Which part of it.
    pub selector: Selector,
    /// How it is written.
    pub matching: Matching,
    /// The part, or its hash.
    pub data: Vec<u8>,
}

/// Whose certificate a record is about. The two usages that rest on public authorities as well have no
/// meaning in SMTP (RFC 7672 §3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// DANE-TA(2): an authority in the chain. Names and dates count.
    Anchor,
    /// DANE-EE(3): the server's own. Neither names nor dates count (RFC 7672 §3.1.1).
    EndEntity,
}

/// Which part of the certificate is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Cert(0): all of it.
    Certificate,
    /// SPKI(1): its public key.
    PublicKey,
}

/// How the part is written in the record. A later one is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matching {
    /// Full(0): as it is.
    Full,
    /// SHA2-256(1).
    Sha256,
    /// SHA2-512(2).
    Sha512,
}

/// How a chain satisfies records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Satisfied {
    /// By the server's own certificate: nothing else is to be checked.
    EndEntity,
    /// By authorities: the server's certificate must be issued, in the end, by one of these, be in
    /// date, and have one of the names.
    Anchors(Vec<Vec<u8>>),
}

/// The question for a host's records. `base` is the host's name (RFC 7672 §2.2.3).
pub fn question(base: &str, port: u16) -> Query {
    Query::new(&format!("_{port}._tcp.{base}"), RecordKind::Tlsa)
}

/// What the answer demands.
pub fn demand(answer: Result<Answer, Failure>) -> Dane {
    match answer {
        Ok(answer) if answer.is_secure => match usable(answer.records) {
            records if records.is_empty() => Dane::Unusable,
            records => Dane::Records(records),
        },
        Ok(_) | Err(Failure::NoSuchName(_) | Failure::NoRecords(_)) => Dane::None,
        Err(Failure::Temporary | Failure::Bogus) => Dane::Unknown,
    }
}

/// The records that we understand, without hashes for which there are stronger ones (RFC 7671 §9).
fn usable(records: Vec<Record>) -> Vec<Tlsa> {
    let read = records.into_iter().take(TLSA_RECORDS_MAX).filter_map(read);
    let records: Vec<Tlsa> = read.collect();
    let is_outdone = |record: &Tlsa| {
        let is_stronger = |other: &Tlsa| {
            (other.usage, other.selector) == (record.usage, record.selector)
                && other.matching > record.matching
        };
        record.matching != Matching::Full && records.iter().any(is_stronger)
    };
    records.iter().filter(|record| !is_outdone(record)).cloned().collect()
}

fn read(record: Record) -> Option<Tlsa> {
    let Record::Tlsa { usage, selector, matching, data } = record else { return None };
    let usage = match usage {
        2 => Usage::Anchor,
        3 => Usage::EndEntity,
        _ => return None,
    };
    let selector = match selector {
        0 => Selector::Certificate,
        1 => Selector::PublicKey,
        _ => return None,
    };
    let (matching, is_whole) = match matching {
        0 => (Matching::Full, !data.is_empty()),
        1 => (Matching::Sha256, data.len() == SHA256.output_len()),
        2 => (Matching::Sha512, data.len() == SHA512.output_len()),
        _ => return None,
    };
    is_whole.then_some(Tlsa { usage, selector, matching, data })
}

impl Tlsa {
    /// Whether a certificate in DER is the one that the record is about.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let part = match self.selector {
            Selector::Certificate => certificate,
            Selector::PublicKey => match public_key(certificate) {
                Some(key) => key,
                None => return false,
            },
        };
        match self.matching {
            Matching::Full => part == self.data,
            Matching::Sha256 => digest(&SHA256, part).as_ref() == self.data,
            Matching::Sha512 => digest(&SHA512, part).as_ref() == self.data,
        }
    }

    /// As zones and reports have it, such as `3 1 1 0a1b..`.
    pub fn text(&self) -> String {
        let usage = if self.usage == Usage::Anchor { 2 } else { 3 };
        let mut text = format!("{usage} {} {} ", self.selector as u8, self.matching as u8);
        for byte in &self.data {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// As the record that it came from.
    pub fn record(&self) -> Record {
        let usage = if self.usage == Usage::Anchor { 2 } else { 3 };
        let (selector, matching) = (self.selector as u8, self.matching as u8);
        Record::Tlsa { usage, selector, matching, data: self.data.clone() }
    }

    /// The record to publish for a server certificate in DER: `3 1 1`, its key's hash. It stays true
    /// when the certificate is renewed for the same key. `None` when this is no certificate.
    pub fn for_certificate(certificate: &[u8]) -> Option<Self> {
        let data = digest(&SHA256, public_key(certificate)?).as_ref().to_vec();
        let (selector, matching) = (Selector::PublicKey, Matching::Sha256);
        Some(Self { usage: Usage::EndEntity, selector, matching, data })
    }
}

/// How a chain in DER, the server's own certificate first, satisfies one of the records. `None` when it
/// satisfies none.
pub fn satisfied(records: &[Tlsa], chain: &[&[u8]]) -> Option<Satisfied> {
    let own = chain.first()?;
    if records.iter().any(|record| record.usage == Usage::EndEntity && record.matches(own)) {
        return Some(Satisfied::EndEntity);
    }
    let mut anchors: Vec<Vec<u8>> = Vec::new();
    for record in records.iter().filter(|record| record.usage == Usage::Anchor) {
        let sent = chain.iter().take(CHAIN_MAX).filter(|certificate| record.matches(certificate));
        anchors.extend(sent.map(|certificate| certificate.to_vec()));
        // The record holds the whole authority: the server need not send it (RFC 7672 §3.1.2).
        if (record.selector, record.matching) == (Selector::Certificate, Matching::Full) {
            anchors.push(record.data.clone());
        }
    }
    anchors.dedup();
    (!anchors.is_empty()).then_some(Satisfied::Anchors(anchors))
}

#[cfg(test)]
mod tests {
    use base::dns::Absence;

    use super::*;
    use crate::certificate::tests::shaped;

    fn tlsa(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Record {
        Record::Tlsa { usage, selector, matching, data: data.to_vec() }
    }

    fn answer(is_secure: bool, records: Vec<Record>) -> Answer {
        Answer { records, name: "_25._tcp.mx.example".into(), is_secure, ttl_s: 60 }
    }

    #[test]
    fn only_proven_records_demand_anything() {
        let good = || vec![tlsa(3, 1, 1, &[7; 32])];
        assert!(matches!(demand(Ok(answer(true, good()))), Dane::Records(records) if records.len() == 1));
        assert_eq!(demand(Ok(answer(false, good()))), Dane::None);
        assert_eq!(demand(Err(Failure::NoRecords(Absence::default()))), Dane::None);
        assert_eq!(demand(Err(Failure::NoSuchName(Absence::default()))), Dane::None);
        // An attacker who can suppress the answer must not get rid of the demand.
        assert_eq!(demand(Err(Failure::Bogus)), Dane::Unknown);
        assert_eq!(demand(Err(Failure::Temporary)), Dane::Unknown);
    }

    #[test]
    fn records_that_cannot_be_used_still_demand_tls() {
        let unusable = vec![
            tlsa(0, 0, 1, &[1; 32]),
            tlsa(1, 1, 1, &[1; 32]),
            tlsa(3, 2, 1, &[1; 32]),
            tlsa(3, 1, 3, &[1; 48]),
            tlsa(3, 1, 1, &[1; 31]),
            tlsa(3, 0, 0, &[]),
        ];
        assert_eq!(demand(Ok(answer(true, unusable))), Dane::Unusable);
    }

    #[test]
    fn a_weaker_hash_counts_only_where_there_is_no_stronger() {
        let records = vec![
            tlsa(3, 1, 1, &[1; 32]),
            tlsa(3, 1, 2, &[2; 64]),
            tlsa(3, 1, 0, &[3; 9]),
            tlsa(3, 0, 1, &[4; 32]),
            tlsa(2, 1, 1, &[5; 32]),
        ];
        let Dane::Records(records) = demand(Ok(answer(true, records))) else { panic!("usable ones") };
        let first: Vec<u8> = records.iter().map(|record| record.data[0]).collect();
        assert_eq!(first, [2, 3, 4, 5]);
    }

    #[test]
    fn every_way_to_write_a_certificate_is_compared() {
        let (certificate, other) = (shaped(b"key", true), shaped(b"other", true));
        let key = public_key(&certificate).unwrap();
        for (selector, part) in [(0, &certificate[..]), (1, key)] {
            let hashes = [
                (0, part.to_vec()),
                (1, digest(&SHA256, part).as_ref().to_vec()),
                (2, digest(&SHA512, part).as_ref().to_vec()),
            ];
            for (matching, data) in hashes {
                let record = read(tlsa(3, selector, matching, &data)).unwrap();
                assert!(record.matches(&certificate) && !record.matches(&other), "{}", record.text());
                let own = [&certificate[..], &other];
                assert_eq!(satisfied(std::slice::from_ref(&record), &own), Some(Satisfied::EndEntity));
                // The server's own certificate, not another of its chain.
                assert_eq!(satisfied(&[record], &[&other, &certificate]), None);
            }
        }
        let published = Tlsa::for_certificate(&certificate).unwrap();
        assert!(published.matches(&certificate) && published.text().starts_with("3 1 1 "));
    }

    #[test]
    fn an_authority_is_looked_for_in_the_whole_chain_or_is_in_the_record() {
        let (own, authority) = (shaped(b"own", true), shaped(b"authority", true));
        let hash = digest(&SHA256, public_key(&authority).unwrap()).as_ref().to_vec();
        let by_hash = read(tlsa(2, 1, 1, &hash)).unwrap();
        let anchors = Some(Satisfied::Anchors(vec![authority.clone()]));
        assert_eq!(satisfied(std::slice::from_ref(&by_hash), &[&own, &authority]), anchors);
        assert_eq!(satisfied(&[by_hash], &[&own]), None);
        let whole = read(tlsa(2, 0, 0, &authority)).unwrap();
        assert_eq!(satisfied(&[whole], &[&own]), anchors);
    }
}
