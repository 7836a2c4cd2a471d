//! How reports go: signed, from an address of ours, and with no answer wanted.

use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use smtp::{BodyKind, Message, Mode, Outcome, Path, Peer, Recipient, TransactionId};

use super::receive;
use crate::inbound::sign_own;
use crate::{Manner, Shard, deliver};

/// Who reports: the address in From, the name of our host, and who we are.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) from: String,
    pub(super) hostname: String,
    pub(super) organization: String,
}

impl Author {
    pub(super) fn of(shard: &Shard) -> Self {
        let settings = shard.settings();
        let (reporting, hostname) = (&settings.reporting, &settings.outbound.hostname);
        Self {
            from: reporting.from.clone().unwrap_or_else(|| settings.mx.postmaster.clone()),
            hostname: hostname.clone(),
            organization: reporting.organization.clone().unwrap_or_else(|| hostname.clone()),
        }
    }
}

/// A number that two reports do not share.
pub(super) fn chance(shard: &Shard) -> u64 {
    let mut bytes = [0; 8];
    shard.world.random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Sends a report: into the queue, or into a mailbox of ours. A report without a signature is not believed (RFC 8460
/// §3, RFC 9990 §3.5), and nobody is told when it cannot be delivered (RFC 3461 §4.1).
pub(super) async fn send(shard: &Rc<Shard>, from: &str, to: &str, mail: Vec<u8>, now: Timestamp) -> Outcome {
    let data = sign_own(shard, mail).await;
    let own = smtp::Envelope {
        id: TransactionId(chance(shard)),
        mode: Mode::Mx,
        helo: Arc::from(shard.settings().outbound.hostname.as_str()),
        is_extended: true,
        peer: Arc::new(Peer { address: String::new(), is_trusted: true }),
        tls: None,
        identity: None,
        sender: Path::parse(from).ok(),
        recipients: vec![Recipient {
            address: to.to_owned(),
            orcpt: None,
            notify: Some(smtp::Notify::default()),
        }],
        body: BodyKind::SevenBit,
        is_smtputf8: false,
        ret: None,
        envid: None,
        terms: smtp::Terms::default(),
        received: now,
        received_field_bytes: 0,
    };
    let message = Message { envelope: own, data };
    // One for ourselves does not come in by SMTP.
    if shard.settings().reporting.receives(to) && receive::own(shard, &message).await.is_err() {
        return Outcome::Unavailable;
    }
    let manner = Manner { may_relay: true, ..Manner::default() };
    let outcomes = deliver(shard, message, manner, now).await;
    outcomes.into_iter().next().unwrap_or(Outcome::Unavailable)
}

/// Whether a report has gone as far as it ever will: what is refused for good is refused tomorrow too.
pub(super) const fn is_over(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Stored | Outcome::TooLarge | Outcome::Disabled | Outcome::Rejected => true,
        Outcome::OverQuota | Outcome::NoSpace | Outcome::TooManyRecipients | Outcome::Unavailable => false,
    }
}
