//! From what a name server says to what it means. A response counts as far as it is about the name that
//! was asked for; aliases in it are followed by a question of their own, so that what stands behind
//! each step is the proof of that step alone.

use base::dns::{Absence, Answer, Failure, Record, RecordKind, normal};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record as Found, RecordType};

use super::wildcard;

/// What makes an answer secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The proofs that were made of its signatures here.
    Proofs,
    /// The server's word (the AD bit).
    Server,
    /// Nothing.
    Nobody,
}

/// What one response came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Records(Answer),
    Alias { target: Name, is_secure: bool, ttl_s: u32 },
    NoSuchName(Absence),
    NoRecords(Absence),
}

pub(super) const fn record_type(kind: RecordKind) -> RecordType {
    match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::Mx => RecordType::MX,
        RecordKind::Txt => RecordType::TXT,
        RecordKind::Ptr => RecordType::PTR,
        RecordKind::Tlsa => RecordType::TLSA,
        RecordKind::Cname => RecordType::CNAME,
        RecordKind::Srv => RecordType::SRV,
    }
}

pub(super) fn hear(
    response: Result<DnsResponse, NetError>,
    name: &Name,
    kind: RecordKind,
    trust: Trust,
) -> Result<Heard, Failure> {
    match response {
        Ok(response) if trust == Trust::Proofs => {
            let heard = read(&response, name, kind, trust)?;
            // hickory looks at denials only beside others that are proven, and not at whose name they have.
            let is_rightful = match whose(&heard, kind) {
                Some(kind) => has_denials(&response) || wildcard::is_own(&response, name, kind),
                None => is_about_insecure(&heard, &response, name),
            };
            if is_rightful { Ok(heard) } else { Err(Failure::Bogus) }
        }
        Ok(response) => read(&response, name, kind, trust),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if trust != Trust::Proofs => {
            let absence = Absence { is_secure: false, ttl_s: none.negative_ttl.unwrap_or(0) };
            absent(none.response_code, absence)
        }
        // Something is denied, or made of a wildcard, and the proof of that lacks or is no good.
        Err(NetError::Dns(DnsError::Nsec { response, proof, .. })) => {
            let heard = read(&response, name, kind, trust)?;
            // That the end of an alias is missing is asked for by itself.
            let is_rightful = whose(&heard, kind).map(|kind| wildcard::is_rightful(&response, name, kind));
            match (is_rightful, proof) {
                (Some(true), _) => Ok(heard),
                (_, Proof::Insecure) => Ok(without_proof(heard)),
                // What is not signed needs no proof, whatever the rest of the answer says.
                _ if is_unsigned(&heard) => Ok(heard),
                _ => Err(Failure::Bogus),
            }
        }
        Err(NetError::Dns(DnsError::DnssecBogus)) => Err(Failure::Bogus),
        Err(_) => Err(Failure::Temporary),
    }
}

/// The kind of the records that are proven to be there, if that is what was heard.
const fn whose(heard: &Heard, kind: RecordKind) -> Option<RecordType> {
    match heard {
        Heard::Records(Answer { is_secure: true, .. }) => Some(record_type(kind)),
        Heard::Alias { is_secure: true, .. } => Some(RecordType::CNAME),
        _ => None,
    }
}

const fn is_unsigned(heard: &Heard) -> bool {
    matches!(heard, Heard::Records(Answer { is_secure: false, .. }) | Heard::Alias { is_secure: false, .. })
}

/// Records are there, or are proven to be missing, or are said to be missing from a zone above the name that
/// is not signed. A denial that is about another zone says nothing: anybody can have one.
fn is_about_insecure(heard: &Heard, response: &DnsResponse, name: &Name) -> bool {
    let (Heard::NoSuchName(absence) | Heard::NoRecords(absence)) = heard else { return true };
    let mut authorities = response.authorities.iter();
    absence.is_secure
        || response.authorities.is_empty()
        || authorities.any(|found| found.proof == Proof::Insecure && found.name.zone_of(name))
}

/// Whether there are denials that are proven: then they were compared with the question.
fn has_denials(response: &DnsResponse) -> bool {
    let is_denial = |found: &Found| matches!(found.record_type(), RecordType::NSEC | RecordType::NSEC3);
    response.authorities.iter().any(|found| found.proof == Proof::Secure && is_denial(found))
}

fn without_proof(heard: Heard) -> Heard {
    match heard {
        Heard::Records(answer) => Heard::Records(Answer { is_secure: false, ..answer }),
        Heard::Alias { target, ttl_s, .. } => Heard::Alias { target, is_secure: false, ttl_s },
        Heard::NoSuchName(absence) => Heard::NoSuchName(Absence { is_secure: false, ..absence }),
        Heard::NoRecords(absence) => Heard::NoRecords(Absence { is_secure: false, ..absence }),
    }
}

fn read(response: &DnsResponse, name: &Name, kind: RecordKind, trust: Trust) -> Result<Heard, Failure> {
    let is_about = |found: &&Found| found.name == *name;
    let is_secure = |found: &Found| match trust {
        Trust::Proofs => proof(found.proof),
        Trust::Server => Ok(response.metadata.authentic_data),
        Trust::Nobody => Ok(false),
    };
    let wanted = record_type(kind);
    let (mut records, mut all_secure, mut ttl_s) = (Vec::new(), true, u32::MAX);
    for found in response.answers.iter().filter(is_about).filter(|found| found.record_type() == wanted) {
        all_secure &= is_secure(found)?;
        ttl_s = ttl_s.min(found.ttl);
        records.extend(record(&found.data));
    }
    if !records.is_empty() {
        return Ok(Heard::records(records, text(name), all_secure, ttl_s));
    }
    for found in response.answers.iter().filter(is_about) {
        if let RData::CNAME(target) = &found.data {
            let (target, ttl_s) = (target.0.clone(), found.ttl);
            return Ok(Heard::Alias { target, is_secure: is_secure(found)?, ttl_s });
        }
    }
    let is_secure = match trust {
        Trust::Proofs => is_denial_proven(&response.authorities)?,
        Trust::Server => response.metadata.authentic_data,
        Trust::Nobody => false,
    };
    let absence = Absence { is_secure, ttl_s: response.negative_ttl().unwrap_or(0) };
    absent(response.metadata.response_code, absence)
}

fn absent(code: ResponseCode, absence: Absence) -> Result<Heard, Failure> {
    match code {
        ResponseCode::NXDomain => Ok(Heard::NoSuchName(absence)),
        ResponseCode::NoError => Ok(Heard::NoRecords(absence)),
        _ => Err(Failure::Temporary),
    }
}

/// Whether a proof says secure (true) or that there is nothing to prove.
const fn proof(proof: Proof) -> Result<bool, Failure> {
    match proof {
        Proof::Secure => Ok(true),
        Proof::Insecure => Ok(false),
        // Keys that do not come are no reason to do without: somebody may keep them from us.
        Proof::Bogus | Proof::Indeterminate => Err(Failure::Bogus),
    }
}

/// Whether records that deny the name or the kind are proven. That they do deny it was looked at before,
/// when there are any that are proven.
fn is_denial_proven(authorities: &[Found]) -> Result<bool, Failure> {
    let denials = authorities
        .iter()
        .filter(|found| matches!(found.record_type(), RecordType::NSEC | RecordType::NSEC3))
        .map(|found| proof(found.proof));
    let proofs: Vec<bool> = denials.collect::<Result<_, _>>()?;
    Ok(!proofs.is_empty() && proofs.into_iter().all(|is_secure| is_secure))
}

fn record(data: &RData) -> Option<Record> {
    Some(match data {
        RData::A(address) => Record::A(address.0),
        RData::AAAA(address) => Record::Aaaa(address.0),
        RData::MX(mx) => Record::Mx { preference: mx.preference, host: text(&mx.exchange) },
        RData::TXT(txt) => Record::Txt(txt.txt_data.concat()),
        RData::PTR(name) => Record::Ptr(text(&name.0)),
        RData::CNAME(name) => Record::Cname(text(&name.0)),
        RData::SRV(srv) => Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: text(&srv.target),
        },
        RData::TLSA(tlsa) => Record::Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        },
        _ => return None,
    })
}

/// A name in the form that everybody else uses.
fn text(name: &Name) -> String {
    normal(&name.to_ascii())
}
