//! One message in: from a session's envelope to the INBOX of every recipient, durable before the
//! answer. Recipients are grouped by partition; each partition gets one transaction with one copy
//! of the bytes, all partitions at the same time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use base::{PartitionId, Timestamp};
use directory::{EmailAddress, Resolution};
use smtp::{Envelope, Message, Outcome, return_path_header};

use crate::Shard;

/// What one partition has to store.
struct Share {
    recipients: Vec<account::Recipient>,
    /// For each recipient of the share, the places in the envelope that led to it.
    places: Vec<Vec<usize>>,
}

/// Delivers `message`; one outcome for each of the envelope's recipients, in order. Outcomes that
/// say `Stored` are durable.
pub async fn deliver(shard: &Rc<Shard>, message: Message, now: Timestamp) -> Vec<Outcome> {
    let Message { envelope, data } = message;
    let mut outcomes = vec![Outcome::Stored; envelope.recipients.len()];
    let shares = resolve(shard, &envelope, &mut outcomes).await;
    let data = Arc::new(with_return_path(&envelope, &data));
    let calls: Vec<_> = shares
        .into_iter()
        .map(|(partition, share)| {
            let data = Arc::clone(&data);
            (share.places, store(shard, partition, share.recipients, data, now))
        })
        .collect();
    for (places, answers) in join_all(calls).await {
        for (places, answer) in places.into_iter().zip(answers) {
            // An alias with several accounts is stored when all of them have it.
            for place in places {
                if let Some(outcome) = outcomes.get_mut(place).filter(|_| answer != Outcome::Stored) {
                    *outcome = answer;
                }
            }
        }
    }
    outcomes
}

async fn resolve(
    shard: &Rc<Shard>,
    envelope: &Envelope,
    outcomes: &mut [Outcome],
) -> BTreeMap<PartitionId, Share> {
    let mut shares: BTreeMap<PartitionId, Share> = BTreeMap::new();
    for (place, (recipient, outcome)) in envelope.recipients.iter().zip(outcomes).enumerate() {
        let resolution = match EmailAddress::parse(&recipient.address) {
            Ok(address) => shard.people.resolve(shard, &address).await,
            Err(_) => Ok(Resolution::UnknownUser),
        };
        match resolution {
            Ok(Resolution::Local(targets)) => {
                for target in targets {
                    let quota = shard.people.quota(shard, &target.address).await;
                    let share = shares
                        .entry(target.partition)
                        .or_insert_with(|| Share { recipients: Vec::new(), places: Vec::new() });
                    // The same account by two addresses gets one copy.
                    if let Some(at) =
                        share.recipients.iter().position(|known| known.account == target.account)
                    {
                        share.places[at].push(place);
                        continue;
                    }
                    share.recipients.push(account::Recipient {
                        account: target.account,
                        quota_bytes: quota,
                        mailbox: None,
                    });
                    share.places.push(vec![place]);
                }
            }
            Ok(Resolution::Disabled | Resolution::UnknownUser | Resolution::NotLocal) => {
                *outcome = Outcome::Disabled;
            }
            Ok(Resolution::AliasLoop) | Err(_) => *outcome = Outcome::Unavailable,
        }
    }
    shares
}

/// One partition's transaction, here or on the shard that owns it.
async fn store(
    shard: &Rc<Shard>,
    partition: PartitionId,
    recipients: Vec<account::Recipient>,
    data: Arc<Vec<u8>>,
    now: Timestamp,
) -> Vec<Outcome> {
    let count = recipients.len();
    if shard.owns(partition) {
        return store_here(Rc::clone(shard), partition, recipients, data, now).await;
    }
    let target = shard.router.partition_shard(partition);
    let work = move |there: Rc<Shard>| store_here(there, partition, recipients, data, now);
    shard.router.on(target, work).await.unwrap_or_else(|_| vec![Outcome::Unavailable; count])
}

async fn store_here(
    shard: Rc<Shard>,
    partition: PartitionId,
    recipients: Vec<account::Recipient>,
    data: Arc<Vec<u8>>,
    now: Timestamp,
) -> Vec<Outcome> {
    let stored = account::deliver(&shard.engine, partition, &recipients, data, now).await;
    shard.count_delivered(stored.iter().filter(|outcome| outcome.is_ok()).count() as u64);
    stored
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| outcome_of(&error), |_| Outcome::Stored))
        .collect()
}

fn outcome_of(error: &account::Error) -> Outcome {
    match error {
        account::Error::OverQuota | account::Error::LimitReached => Outcome::OverQuota,
        account::Error::TooLarge => Outcome::TooLarge,
        account::Error::NotFound | account::Error::Denied => Outcome::Disabled,
        account::Error::Exists
        | account::Error::InvalidName(_)
        | account::Error::Unavailable
        | account::Error::Corrupt => Outcome::Unavailable,
    }
}

/// RFC 5321 §4.4: the last server puts the reverse-path in front.
fn with_return_path(envelope: &Envelope, data: &[u8]) -> Vec<u8> {
    let mut whole = return_path_header(envelope.sender.as_ref());
    whole.reserve_exact(data.len());
    whole.extend_from_slice(data);
    whole
}

/// Polls all calls until each has answered.
async fn join_all<K, F: Future<Output = Vec<Outcome>>>(calls: Vec<(K, F)>) -> Vec<(K, Vec<Outcome>)> {
    let mut pending: Vec<_> =
        calls.into_iter().map(|(key, call)| (Some(key), Box::pin(call), None)).collect();
    std::future::poll_fn(|cx| {
        let mut is_ready = true;
        for (_, call, answer) in &mut pending {
            if answer.is_none() {
                match call.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *answer = Some(value),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(key, _, answer)| Some((key?, answer?))).collect()
}
