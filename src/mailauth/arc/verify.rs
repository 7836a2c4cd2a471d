//! Validating a chain (RFC 8617 §5.2).

use base::Timestamp;

use super::{Arc, ArcResult};
use crate::Lookup;
use crate::canon::Form;
use crate::dkim::{Bodies, Claim, Keys, Kind, Signature, domain_and_selector, instance, required_base64};
use crate::key::{Algorithm, Service};
use crate::limits::{ARC_BYTES_MAX, ARC_SETS_MAX};
use crate::message::{Field, Message};
use crate::tags::Tags;
use crate::trouble::Trouble;

/// One set, all its fields there.
#[derive(Debug)]
pub(super) struct Set<'a> {
    pub(super) results: Field<'a>,
    pub(super) signature: Field<'a>,
    pub(super) seal: Field<'a>,
}

/// A seal's tags (RFC 8617 §4.1.3).
struct Seal {
    algorithm: Algorithm,
    proof: Vec<u8>,
    domain: String,
    selector: String,
    chain: Vec<u8>,
}

/// Verifies the chain of a message: one key for each sealer, and the body once.
pub async fn verify<L: Lookup>(lookup: &L, message: &Message<'_>, now: Timestamp) -> Arc {
    let sets = match sets(message) {
        Ok(sets) if sets.is_empty() => return Arc::NONE,
        Ok(sets) => sets,
        Err(trouble) => {
            return Arc { result: ArcResult::Fail, trouble: Some(trouble), ..Arc::NONE };
        }
    };
    let mut arc = Arc { result: ArcResult::Pass, ..Arc::NONE };
    if let Err(trouble) = check(lookup, message, &sets, now, &mut arc).await {
        arc.result = if trouble == Trouble::NoAnswer { ArcResult::TempError } else { ArcResult::Fail };
        arc.trouble = Some(trouble);
    }
    arc
}

async fn check<L: Lookup>(
    lookup: &L,
    message: &Message<'_>,
    sets: &[Set<'_>],
    now: Timestamp,
    arc: &mut Arc,
) -> Result<(), Trouble> {
    let mut seals = Vec::with_capacity(sets.len());
    for set in sets {
        let seal = Seal::parse(set.seal.value)?;
        arc.sealers.push(seal.domain.clone());
        seals.push(seal);
    }
    if let Some(last) = sets.last() {
        arc.results = results_text(last.results.value);
    }
    if seals.last().is_some_and(|seal| seal.chain == b"fail") {
        return Err(Trouble::ChainFailed);
    }
    for (i, seal) in seals.iter().enumerate() {
        let expected: &[u8] = if i == 0 { b"none" } else { b"pass" };
        if seal.chain != expected {
            return Err(Trouble::ChainStructure);
        }
    }
    let mut keys = Keys::new(Service::Mail);
    if let Some(last) = sets.last() {
        let signature = Signature::parse(last.signature.value, Kind::Arc)?;
        // A seal under a message signature would have to sign what does not exist yet (RFC 8617 §4.1.2).
        if signature.signed.fields.iter().any(|name| name == b"arc-seal") {
            return Err(Trouble::SignatureSyntax);
        }
        signature.check_time(now.as_s())?;
        Bodies::default().check(message.body, &signature.signed).await?;
        let data = signature.signed.data(message, &last.signature)?;
        keys.verify(lookup, Claim::from(&signature), &data).await.result?;
    }
    // Each seal covers all sets up to its own: the bytes grow as the chain does.
    let mut data = Vec::new();
    for (set, seal) in sets.iter().zip(&seals) {
        Form::Relaxed.header(&set.results, &mut data);
        Form::Relaxed.header(&set.signature, &mut data);
        let before = data.len();
        Form::Relaxed.own_header(&set.seal, &mut data);
        keys.verify(lookup, seal.claim(), &data).await.result?;
        data.truncate(before);
        Form::Relaxed.header(&set.seal, &mut data);
    }
    Ok(())
}

impl Seal {
    fn parse(value: &[u8]) -> Result<Self, Trouble> {
        let tags = Tags::parse(value).ok_or(Trouble::SignatureSyntax)?;
        // RFC 8617 §4.1.3: a seal has no list of fields and no body.
        if ["h", "bh", "c", "l"].into_iter().any(|name| tags.get(name).is_some()) {
            return Err(Trouble::SignatureSyntax);
        }
        let (domain, selector) = domain_and_selector(&tags)?;
        Ok(Self {
            algorithm: Algorithm::parse(tags.get("a").ok_or(Trouble::SignatureSyntax)?)?,
            proof: required_base64(&tags, "b")?,
            domain,
            selector,
            chain: tags.get("cv").ok_or(Trouble::SignatureSyntax)?.to_ascii_lowercase(),
        })
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            algorithm: self.algorithm,
            domain: &self.domain,
            selector: &self.selector,
            proof: &self.proof,
        }
    }
}

/// The sets of a message in their order: instances 1 to N, each of the three fields once.
pub(super) fn sets<'a>(message: &Message<'a>) -> Result<Vec<Set<'a>>, Trouble> {
    let results = by_instance(message, "arc-authentication-results")?;
    let signatures = by_instance(message, "arc-message-signature")?;
    let seals = by_instance(message, "arc-seal")?;
    if results.len() != seals.len() || signatures.len() != seals.len() {
        return Err(Trouble::ChainStructure);
    }
    let fields = results.iter().chain(&signatures).chain(&seals);
    if fields.map(|field| field.raw.len()).sum::<usize>() > ARC_BYTES_MAX {
        return Err(Trouble::TooLarge);
    }
    let sets = results.into_iter().zip(signatures).zip(seals);
    Ok(sets.map(|((results, signature), seal)| Set { results, signature, seal }).collect())
}

/// The fields of a name with instances 1, 2, 3 and so on.
fn by_instance<'a>(message: &Message<'a>, name: &str) -> Result<Vec<Field<'a>>, Trouble> {
    let mut found = Vec::new();
    for field in message.named(name) {
        if found.len() == ARC_SETS_MAX as usize {
            return Err(Trouble::TooMany);
        }
        found.push((field_instance(&field)?, field));
    }
    found.sort_by_key(|(instance, _)| *instance);
    let are_in_order = found.iter().zip(1_u32..).all(|((instance, _), expected)| *instance == expected);
    if are_in_order {
        Ok(found.into_iter().map(|(_, field)| field).collect())
    } else {
        Err(Trouble::ChainStructure)
    }
}

/// `i=`, wherever it stands: first in the results, anywhere in the others.
fn field_instance(field: &Field<'_>) -> Result<u32, Trouble> {
    if field.is("arc-authentication-results") {
        let first = field.value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let number =
            first.strip_prefix(b"i").map(<[u8]>::trim_ascii).and_then(|rest| rest.strip_prefix(b"="));
        return instance(number.ok_or(Trouble::SignatureSyntax)?.trim_ascii());
    }
    let tags = Tags::parse(field.value).ok_or(Trouble::SignatureSyntax)?;
    instance(tags.get("i").ok_or(Trouble::SignatureSyntax)?)
}

/// The text after the instance, unfolded.
fn results_text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let after = text.split_once(';').map_or("", |(_, after)| after);
    after.split_whitespace().collect::<Vec<_>>().join(" ")
}
