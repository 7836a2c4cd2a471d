//! Mail that aliases and accounts send on to addresses elsewhere: under a return path of ours (SRS), so that its bounces come
//! back and SPF passes, and with a seal (ARC, RFC 8617) that says what we found before, for those who trust us.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use base::{Secret, Timestamp};
use directory::{EmailAddress, Forwarded, Onward, Resolution};
use dsn::{Srs, SrsConfig, encode_xtext};
use mailauth::Verdicts;

use crate::Shard;
use crate::inbound::seal;
use crate::limits::SEALED_BYTES_MAX;
use crate::relay::Outgoing;

/// What was found of a message when it came, for its seal.
#[derive(Clone, Debug)]
pub struct Found {
    /// The chain of those who handled it before.
    pub(crate) arc: mailauth::arc::Arc,
    /// All results, in one line.
    pub(crate) results: String,
}

impl Found {
    pub(crate) fn of(verdicts: Option<Verdicts>) -> Option<Arc<Self>> {
        verdicts.map(|verdicts| Arc::new(Self { arc: verdicts.arc, results: verdicts.results }))
    }
}

/// The rewriter of return paths, once its secret is there.
fn srs(shard: &Shard) -> Option<Srs> {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let domain = outbound.srs_domain.clone();
    let mut secrets = outbound.srs_secrets.clone();
    if secrets.is_empty() {
        let own = shard.srs_secret.borrow();
        secrets.push(Secret::new(own.as_ref()?.reveal().to_vec()));
    }
    Srs::new(SrsConfig::new(domain, secrets)).ok()
}

/// Whether an address is a return path of mail that was sent on, or would be one: it is there for bounces and for nothing else.
pub(crate) fn is_for_bounces(shard: &Shard, address: &EmailAddress) -> bool {
    let tag = address.local().get(..4);
    shard.settings().outbound.srs_domain == address.domain()
        && tag.is_some_and(|tag| ["SRS0", "SRS1"].iter().any(|known| known.eq_ignore_ascii_case(tag)))
}

/// Where a bounce of mail that was sent on goes: to its sender. `None` for an address that is none of ours of that kind.
pub(crate) fn reversed(shard: &Shard, address: &EmailAddress) -> Option<Resolution> {
    if !is_for_bounces(shard, address) {
        return None;
    }
    let Ok(sender) = srs(shard)?.reverse(&address.to_string(), shard.world.now()) else {
        return Some(Resolution::UnknownUser);
    };
    let to = EmailAddress::parse(&sender).ok()?;
    let onward = vec![Onward { to, by: address.clone(), account: None }];
    Some(Resolution::Forwarded(Box::new(Forwarded { targets: Vec::new(), onward })))
}

/// The return path under which a sender's mail is sent on.
async fn return_path(shard: &Rc<Shard>, sender: &str, now: Timestamp) -> String {
    let Some(srs) = srs(shard).filter(|_| shard.settings().outbound.is_srs) else {
        return sender.to_owned();
    };
    // Our own domains name us already.
    if let Ok(address) = EmailAddress::parse(sender)
        && !matches!(shard.people.resolve(shard, &address).await, Ok(Resolution::NotLocal))
    {
        return sender.to_owned();
    }
    // One that has no room for another goes as it is: SPF may fail then, and DKIM not.
    srs.forward(sender, now).unwrap_or_else(|_| sender.to_owned())
}

/// A message as it is sent on, for the queue: `envelope` is as it came, with nobody it is for. What is sealed in the name of
/// different domains is as many messages; all that has no seal is one, and has the bytes that came.
pub(crate) async fn sent_on(
    shard: &Rc<Shard>,
    mut envelope: queue::Envelope,
    onward: Vec<(smtp::Recipient, Onward)>,
    data: &Arc<Vec<u8>>,
    found: Option<&Found>,
    now: Timestamp,
) -> Vec<Outgoing> {
    if let Some(sender) = &envelope.sender {
        envelope.sender = Some(return_path(shard, sender, now).await);
    }
    // Its notices go to the return path that it has now, and know nothing of addresses made for each recipient.
    envelope.terms.verp = None;
    let mut seals = HashMap::<String, Vec<u8>>::new();
    let mut by_seal = BTreeMap::<Vec<u8>, Vec<queue::Recipient>>::new();
    let mut known = HashSet::new();
    for (recipient, on) in onward {
        let address = on.to.to_string();
        if !known.insert(address.clone()) {
            continue;
        }
        let domain = on.by.domain();
        let seal = match (seals.get(domain), found) {
            (Some(seal), _) => seal.clone(),
            (None, Some(found)) if shard.settings().outbound.seals => {
                seal(shard, domain, data, found, now).await
            }
            (None, _) => Vec::new(),
        };
        seals.entry(domain.to_owned()).or_insert_with(|| seal.clone());
        by_seal.entry(seal).or_default().push(sent_to(&recipient, address));
    }
    bound_forms(&mut by_seal, data.len());
    let outgoing = |(seal, recipients): (Vec<u8>, _)| {
        let content = if seal.is_empty() { Arc::clone(data) } else { Arc::new([&seal[..], data].concat()) };
        Outgoing { envelope: queue::Envelope { recipients, ..envelope.clone() }, content }
    };
    by_seal.into_iter().map(outgoing).collect()
}

/// Sealed forms are in memory until all of them are durable: beyond so many of a large message, recipients get the one without
/// a seal, which has the empty key.
fn bound_forms(by_seal: &mut BTreeMap<Vec<u8>, Vec<queue::Recipient>>, bytes: usize) {
    let sealed_max = (SEALED_BYTES_MAX / bytes.max(1)).max(1);
    while by_seal.keys().filter(|seal| !seal.is_empty()).count() > sealed_max {
        let Some((_, recipients)) = by_seal.pop_last() else { return };
        by_seal.entry(Vec::new()).or_default().extend(recipients);
    }
}

/// A recipient of ours as a queued one, by another address.
pub(crate) fn sent_to(recipient: &smtp::Recipient, address: String) -> queue::Recipient {
    // RFC 3461 §5.2.7.1: what the sender has named stays named.
    let named = || format!("rfc822;{}", encode_xtext(&recipient.address));
    let orcpt = recipient.orcpt.clone().or_else(|| recipient.address.is_ascii().then(named));
    queue::Recipient { address, orcpt, notify: recipient.notify, group: queue::Destination(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_has_few_forms_and_nobody_is_left_out() {
        let recipient = |at: u8| queue::Recipient {
            address: format!("{at}@x"),
            orcpt: None,
            notify: None,
            group: queue::Destination(0),
        };
        for (bytes, forms) in [(1000, 100), (50 << 20, 3), (SEALED_BYTES_MAX * 2, 2)] {
            let mut all: BTreeMap<_, _> = (1..=100).map(|at| (vec![at], vec![recipient(at)])).collect();
            bound_forms(&mut all, bytes);
            assert_eq!((all.len(), all.values().flatten().count()), (forms, 100), "{bytes}");
        }
    }
}
