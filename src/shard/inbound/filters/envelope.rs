//! What filters change of whom a message is from and for.

use std::rc::Rc;

use directory::{EmailAddress, Resolution};
use filter::{Modification, is_same_address};
use smtp::{Path, Recipient};

use super::FilterSettings;
use crate::Shard;
use crate::inbound::Incoming;
use crate::limits::MESSAGE_TARGETS_MAX;

/// Does those of a filter's changes that are about the envelope, in their order. What cannot be done is logged and left
/// out: a recipient that nobody could deliver to would be a bounce to a sender who never wrote to it.
pub(super) async fn change(
    shard: &Rc<Shard>,
    filter: &FilterSettings,
    incoming: &mut Incoming,
    changes: &[Modification],
) {
    for change in changes {
        match change {
            Modification::ChangeSender { address, .. } => set_sender(filter, incoming, address),
            Modification::AddRecipient { address, .. } => add(shard, filter, incoming, address).await,
            Modification::RemoveRecipient(address) => {
                let recipients = &mut incoming.message.envelope.recipients;
                let before = recipients.len();
                recipients.retain(|recipient| !is_same_address(&recipient.address, address));
                incoming.is_rerouted |= recipients.len() != before;
            }
            // Those of the message.
            _ => {}
        }
    }
}

fn set_sender(filter: &FilterSettings, incoming: &mut Incoming, address: &str) {
    let bare = bare(address);
    let envelope = &mut incoming.message.envelope;
    match Path::parse(bare) {
        _ if bare.is_empty() => envelope.sender = None,
        Ok(path) => envelope.sender = Some(path),
        Err(_) => refuse(filter, incoming, "the sender is no address"),
    }
}

async fn add(shard: &Rc<Shard>, filter: &FilterSettings, incoming: &mut Incoming, address: &str) {
    let bare = bare(address);
    let recipients = &incoming.message.envelope.recipients;
    if recipients.iter().any(|recipient| is_same_address(&recipient.address, bare)) {
        return;
    }
    if recipients.len() >= MESSAGE_TARGETS_MAX {
        return refuse(filter, incoming, "there are too many recipients");
    }
    let Ok(parsed) = EmailAddress::parse(bare) else {
        return refuse(filter, incoming, "an added recipient is no address");
    };
    let is_possible = match shard.people.resolve(shard, &parsed).await {
        // Whether the mailbox is open is known when it is delivered to.
        Ok(Resolution::Local(_)) | Err(_) => true,
        Ok(Resolution::NotLocal | Resolution::Forwarded(_)) => shard.settings().outbound.is_enabled,
        Ok(Resolution::UnknownUser | Resolution::Disabled | Resolution::AliasLoop) => false,
    };
    if !is_possible {
        return refuse(filter, incoming, "an added recipient cannot be delivered to");
    }
    let recipient = Recipient { address: bare.to_owned(), orcpt: None, notify: None };
    incoming.message.envelope.recipients.push(recipient);
    incoming.is_rerouted = true;
}

fn refuse(filter: &FilterSettings, incoming: &Incoming, reason: &str) {
    let id = incoming.message.envelope.id;
    tracing::warn!(event = "inbound.filter_change_refused", name = filter.name, %id, reason);
}

/// Without angle brackets, which libmilter's filters may send or not.
fn bare(address: &str) -> &str {
    let address = address.trim();
    address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address)
}
