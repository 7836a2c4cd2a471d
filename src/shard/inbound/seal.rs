//! Seals (ARC, RFC 8617) on mail that is sent on.

use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use mailauth::arc::Sealer;
use mailauth::dkim::{DomainKey, KeyState};
use mailauth::{Algorithm, Message};

use super::sign::{Keys, at_once, keys};
use crate::Shard;
use crate::forwarding::Found;

/// A seal to be put in front of a message, by a key of a domain of ours; empty where there is none, or where a chain must not
/// be gone on with.
pub(crate) async fn seal(
    shard: &Rc<Shard>,
    domain: &str,
    data: &Arc<Vec<u8>>,
    found: &Found,
    now: Timestamp,
) -> Vec<u8> {
    let Some(keys) = keys(shard, domain).await else { return Vec::new() };
    if !keys.is_slow {
        return fields(&keys, data, found, now);
    }
    let work = {
        let (keys, data, found) = (Arc::clone(&keys), Arc::clone(data), found.clone());
        move || fields(&keys, &data, &found, now)
    };
    // The pool takes nothing more: then here.
    shard.off_shard(work).await.unwrap_or_else(|_| fields(&keys, data, found, now))
}

fn fields(keys: &Keys, data: &[u8], found: &Found, now: Timestamp) -> Vec<u8> {
    let signer = &keys.signer;
    let Some(key) = best(signer.keys()) else { return Vec::new() };
    let sealer = Sealer { domain: signer.domain(), selector: &key.selector, key: &key.key };
    let made = at_once(sealer.seal(&Message::parse(data), &found.arc, &found.results, now));
    made.unwrap_or_else(|why| {
        tracing::debug!(event = "inbound.not_sealed", domain = signer.domain(), ?why);
        Vec::new()
    })
}

/// A seal has one signature: RSA, which everybody verifies, before Ed25519.
fn best(keys: &[DomainKey]) -> Option<&DomainKey> {
    let mut active = keys.iter().filter(|key| key.state == KeyState::Active);
    let first = active.next()?;
    let is_rsa = |key: &&DomainKey| key.key.algorithm() == Algorithm::RsaSha256;
    Some(Some(first).filter(is_rsa).or_else(|| active.find(is_rsa)).unwrap_or(first))
}
