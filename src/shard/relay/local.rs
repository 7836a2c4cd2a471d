//! Queued mail for mailboxes of ours: what was held, what could not be stored when it came, and what became ours while it
//! waited.

use std::rc::Rc;
use std::sync::Arc;

use directory::{EmailAddress, Resolution};
use queue::{Action, Body};
use smtp::{BodyKind, ByMode, DeliverBy, Message, Mode, Outcome, Path, Peer, TransactionId};

use super::parcel::{Parcel, Report, Told};
use crate::delivery::{Taken, take};
use crate::{Manner, Shard};

/// Whether an address is one of ours, be there a mailbox or not; `None` when the directory cannot be asked.
pub(super) async fn is_ours(shard: &Rc<Shard>, address: &str) -> Option<bool> {
    let Ok(address) = EmailAddress::parse(address) else { return Some(false) };
    let found = shard.people.resolve(shard, &address).await.ok()?;
    Some(found != Resolution::NotLocal)
}

/// Delivers a parcel into mailboxes.
pub(super) async fn deliver_here(shard: &Rc<Shard>, parcel: &Parcel) -> Report {
    let envelope = envelope(parcel);
    let message = Message { envelope, data: parcel.content.to_vec() };
    let here = parcel.envelope.here;
    let manner = Manner {
        route: parcel.envelope.route.clone(),
        stays: here.is_some(),
        is_junk: here.is_some_and(|here| here.is_junk),
        ..Manner::default()
    };
    let Taken { outcomes, waits } = take(shard, message, manner, shard.world.now()).await;
    let told = |(at, (outcome, waits)): (&u32, (Outcome, bool))| {
        let (action, reply) = words(outcome);
        Told {
            recipients: vec![*at],
            action,
            host: String::new(),
            tls: String::new(),
            reply: reply.to_owned(),
            passes_dsn: waits,
            is_for_another_round: false,
        }
    };
    let results = parcel.recipients.iter().zip(outcomes.into_iter().zip(waits)).map(told).collect();
    Report { results, is_down: false, is_in_doubt: false }
}

/// One outcome for each recipient, as LMTP has it.
fn envelope(parcel: &Parcel) -> smtp::Envelope {
    let queued = &parcel.envelope;
    let recipient = |at: &u32| {
        let recipient = queued.recipients.get(*at as usize)?;
        Some(smtp::Recipient {
            address: recipient.address.clone(),
            orcpt: recipient.orcpt.clone(),
            notify: recipient.notify,
        })
    };
    smtp::Envelope {
        id: TransactionId(queued.id),
        mode: Mode::Lmtp,
        helo: Arc::from(queued.origin.helo.as_str()),
        is_extended: true,
        peer: Arc::new(Peer { address: queued.origin.peer.clone(), is_trusted: true }),
        tls: None,
        identity: None,
        sender: queued.sender.as_deref().and_then(|sender| Path::parse(sender).ok()),
        recipients: parcel.recipients.iter().filter_map(recipient).collect(),
        body: match queued.body {
            Body::SevenBit => BodyKind::SevenBit,
            Body::EightBitMime => BodyKind::EightBitMime,
            Body::BinaryMime => BodyKind::BinaryMime,
        },
        is_smtputf8: queued.is_smtputf8,
        ret: queued.ret,
        envid: queued.envid.clone(),
        terms: terms(queued),
        received: queued.received,
        received_field_bytes: 0,
    }
}

/// What holds on where the mailbox sends it on. It has waited as long as it should.
fn terms(queued: &queue::Envelope) -> smtp::Terms {
    let deliver_by = queued.terms.deliver_by.map(|by| DeliverBy {
        at: by.at,
        mode: if by.is_returned { ByMode::Return } else { ByMode::Notify },
        is_traced: by.is_traced,
    });
    smtp::Terms {
        requires_tls: queued.requires_tls,
        priority: queued.terms.priority,
        release_at: None,
        deliver_by,
        verp: None,
    }
}

pub(super) const fn words(outcome: Outcome) -> (Action, &'static str) {
    match outcome {
        Outcome::Stored => (Action::Relayed, "250 2.1.5 delivered"),
        Outcome::OverQuota => (Action::Delayed, "452 4.2.2 the mailbox is full"),
        Outcome::TooLarge => (Action::Failed, "552 5.3.4 the message is too large for the mailbox"),
        Outcome::Disabled => (Action::Failed, "550 5.1.1 there is no such mailbox"),
        Outcome::Rejected => (Action::Failed, "550 5.7.1 the mailbox does not take it"),
        Outcome::NoSpace => (Action::Delayed, "452 4.3.1 there is no room now"),
        Outcome::TooManyRecipients => (Action::Failed, "550 5.5.3 it leads to too many mailboxes"),
        Outcome::Unavailable => (Action::Delayed, "451 4.3.0 it cannot be stored now"),
    }
}
