//! Verifying (RFC 6376 §6).

use base::Timestamp;

use super::signature::{Kind, Signature};
use super::{Dkim, DkimResult};
use crate::Lookup;
use crate::canon::Form;
use crate::key::{Algorithm, PublicKey, Service};
use crate::limits::{BODY_HASHES_MAX, DKIM_SIGNATURES_MAX, KEY_RECORDS_MAX};
use crate::lookup::{Gap, Questions};
use crate::message::{Field, Message};
use crate::name;
use crate::tags::{Tags, without_blanks};
use crate::trouble::Trouble;

/// Characters of `b=` that tell signatures apart (RFC 6008 §3 wants 8 at least).
const MARK_BYTES: usize = 8;

/// Verifies the signatures of a message from the top down, the first [`DKIM_SIGNATURES_MAX`] of them. Each
/// asks for one key; the body is hashed once for each form and length.
pub async fn verify<L: Lookup>(
    lookup: &L,
    message: &Message<'_>,
    service: Service,
    now: Timestamp,
) -> Vec<Dkim> {
    let mut outcomes = Vec::new();
    let mut made = Made { bodies: Bodies::default(), keys: Keys::new(service) };
    for (i, field) in message.named("dkim-signature").enumerate() {
        if i == DKIM_SIGNATURES_MAX {
            outcomes.push(unread(&field, Trouble::TooMany));
            break;
        }
        let Ok(mut signature) = Signature::parse(field.value, Kind::Dkim)
            .map_err(|trouble| outcomes.push(unread(&field, trouble)))
        else {
            continue;
        };
        if service != Service::Mail {
            signature.signed.body_length = None;
        }
        let mut outcome = read(&field, &signature);
        let signed = (message, &field, &signature);
        if let Err(trouble) = prove(lookup, signed, (&mut made, now), &mut outcome).await {
            outcome.result = trouble.into();
            outcome.trouble = Some(trouble);
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// What signatures of one message share.
struct Made {
    bodies: Bodies,
    keys: Keys,
}

/// Time and body, which need no key; then the key, and what it says of the signature.
async fn prove<L: Lookup>(
    lookup: &L,
    (message, field, signature): (&Message<'_>, &Field<'_>, &Signature),
    (made, now): (&mut Made, Timestamp),
    outcome: &mut Dkim,
) -> Result<(), Trouble> {
    signature.check_time(now.as_s())?;
    outcome.has_unsigned_body = made.bodies.check(message.body, &signature.signed).await?;
    let data = signature.signed.data(message, field)?;
    let found = made.keys.verify(lookup, signature.into(), &data).await;
    outcome.key_bits = found.key_bits;
    outcome.is_testing = found.is_testing;
    found.result?;
    let host = signature.identity.rsplit_once('@').and_then(|(_, host)| name::normal(host));
    if found.is_strict && host.as_ref() != Some(&signature.domain) {
        return Err(Trouble::KeyUnsuitable);
    }
    Ok(())
}

fn read(field: &Field<'_>, signature: &Signature) -> Dkim {
    Dkim {
        result: DkimResult::Pass,
        trouble: None,
        domain: signature.domain.clone(),
        identity: signature.identity.clone(),
        selector: signature.selector.clone(),
        algorithm: Some(signature.algorithm),
        mark: mark(field),
        key_bits: 0,
        is_testing: false,
        has_unsigned_body: false,
    }
}

/// An outcome for a signature that could not be used; it names what can be read of it.
fn unread(field: &Field<'_>, trouble: Trouble) -> Dkim {
    let tags = Tags::parse(field.value);
    let named = |tag| {
        let value = tags.as_ref().and_then(|tags| tags.get(tag));
        value.and_then(name::normal_bytes).filter(|name| name::is_host_like(name)).unwrap_or_default()
    };
    Dkim {
        result: trouble.into(),
        trouble: Some(trouble),
        domain: named("d"),
        identity: String::new(),
        selector: named("s"),
        algorithm: None,
        mark: mark(field),
        key_bits: 0,
        is_testing: false,
        has_unsigned_body: false,
    }
}

fn mark(field: &Field<'_>) -> String {
    let tags = Tags::parse(field.value);
    let value = without_blanks(tags.as_ref().and_then(|tags| tags.get("b")).unwrap_or_default());
    let bytes = value.into_iter().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    bytes.take(MARK_BYTES).map(char::from).collect()
}

/// The body's hashes that were made so far.
#[derive(Default)]
pub(crate) struct Bodies {
    made: Vec<Hashed>,
}

/// One hash of the body.
struct Hashed {
    form: Form,
    length: Option<u64>,
    hash: [u8; 32],
    /// Of the whole canonical body.
    bytes: u64,
}

impl Bodies {
    /// Compares the body with `bh=`; says whether `l=` left some of it out.
    pub(crate) async fn check(&mut self, body: &[u8], signed: &super::Signed) -> Result<bool, Trouble> {
        let known =
            self.made.iter().find(|made| made.form == signed.body_form && made.length == signed.body_length);
        let (hash, bytes) = if let Some(made) = known {
            (made.hash, made.bytes)
        } else {
            if self.made.len() == BODY_HASHES_MAX {
                return Err(Trouble::TooMany);
            }
            let (hash, bytes) = signed.body_form.body_hash(body, signed.body_length).await;
            self.made.push(Hashed { form: signed.body_form, length: signed.body_length, hash, bytes });
            (hash, bytes)
        };
        if signed.body_length.is_some_and(|length| length > bytes) {
            return Err(Trouble::BodyTooShort);
        }
        if hash[..] != *signed.body_hash {
            return Err(Trouble::BodyChanged);
        }
        Ok(signed.body_length.is_some_and(|length| length < bytes))
    }
}

/// Where a signature's key is, and the signature.
pub(crate) struct Claim<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) domain: &'a str,
    pub(crate) selector: &'a str,
    pub(crate) proof: &'a [u8],
}

impl<'a> From<&'a Signature> for Claim<'a> {
    fn from(signature: &'a Signature) -> Self {
        Self {
            algorithm: signature.algorithm,
            domain: &signature.domain,
            selector: &signature.selector,
            proof: &signature.proof,
        }
    }
}

/// What a key said.
pub(crate) struct Proof {
    pub(crate) result: Result<(), Trouble>,
    pub(crate) key_bits: u16,
    pub(crate) is_testing: bool,
    pub(crate) is_strict: bool,
}

impl From<Trouble> for Proof {
    fn from(trouble: Trouble) -> Self {
        Self { result: Err(trouble), key_bits: 0, is_testing: false, is_strict: false }
    }
}

/// The key records that were asked for so far: chains use the same one many times.
pub(crate) struct Keys {
    service: Service,
    asked: Vec<Asked>,
}

/// What a selector's name had.
struct Asked {
    name: String,
    records: Result<Vec<Vec<u8>>, Gap>,
}

impl Keys {
    pub(crate) const fn new(service: Service) -> Self {
        Self { service, asked: Vec::new() }
    }

    /// Fetches the key of a claim and verifies the data with it. Where several records stand at the
    /// selector, one that fits is enough (RFC 6376 §3.6.2.2 leaves it open).
    pub(crate) async fn verify<L: Lookup>(&mut self, lookup: &L, claim: Claim<'_>, data: &[u8]) -> Proof {
        let host = format!("{}._domainkey.{}", claim.selector, claim.domain);
        if !self.asked.iter().any(|asked| asked.name == host) {
            let records = if name::is_name(&host) { lookup.txt(&host).await } else { Err(Gap::NoSuchName) };
            self.asked.push(Asked { name: host.clone(), records });
        }
        let records = match self.asked.iter().find(|asked| asked.name == host).map(|asked| &asked.records) {
            Some(Ok(records)) => records,
            Some(Err(Gap::Temporary)) => return Trouble::NoAnswer.into(),
            Some(Err(_)) | None => return Trouble::NoKey.into(),
        };
        let mut last = Proof::from(Trouble::NoKey);
        for record in records.iter().take(KEY_RECORDS_MAX) {
            last = match PublicKey::parse(record) {
                Err(trouble) => trouble.into(),
                Ok(key) => Proof {
                    result: key
                        .serves(self.service)
                        .and_then(|()| key.verify(claim.algorithm, data, claim.proof)),
                    key_bits: key.bits,
                    is_testing: key.is_testing,
                    is_strict: key.is_strict,
                },
            };
            if last.result.is_ok() {
                break;
            }
        }
        last
    }
}
