//! A session's envelope as the queue has it.

use smtp::Envelope;

pub(super) fn queue_recipient(recipient: &smtp::Recipient) -> queue::Recipient {
    queue::Recipient {
        address: recipient.address.clone(),
        orcpt: recipient.orcpt.clone(),
        notify: recipient.notify,
        // Set where it is queued.
        group: queue::Destination(0),
    }
}

fn queue_terms(terms: &smtp::Terms) -> queue::Terms {
    let smtp::Terms { priority, release_at, deliver_by, verp, .. } = *terms;
    let deliver_by = deliver_by.map(|by| queue::DeliverBy {
        at: by.at,
        is_returned: by.mode == smtp::ByMode::Return,
        is_traced: by.is_traced,
    });
    queue::Terms { priority, release_at, deliver_by, verp }
}

pub(super) fn queue_envelope(
    envelope: &Envelope,
    recipients: Vec<queue::Recipient>,
    data: &[u8],
) -> queue::Envelope {
    let header = data.get(..mime::end_of_headers(data)).unwrap_or(data);
    let message_id = mime::field(header, "Message-ID").map(|field| mime::unfold(field.value).into_owned());
    queue::Envelope {
        id: envelope.id.0,
        sender: envelope.sender.as_ref().map(|path| path.as_str().to_owned()),
        recipients,
        body: match envelope.body {
            smtp::BodyKind::SevenBit => queue::Body::SevenBit,
            smtp::BodyKind::EightBitMime => queue::Body::EightBitMime,
            smtp::BodyKind::BinaryMime => queue::Body::BinaryMime,
        },
        is_smtputf8: envelope.is_smtputf8,
        ret: envelope.ret,
        envid: envelope.envid.clone(),
        requires_tls: envelope.terms.requires_tls,
        terms: queue_terms(&envelope.terms),
        route: None,
        received: envelope.received,
        origin: queue::Origin {
            peer: envelope.peer.address.clone(),
            helo: envelope.helo.to_string(),
            account: envelope.identity.as_ref().map(|identity| identity.account.0),
            message_id: message_id.map(|id| String::from_utf8_lossy(&id).trim().to_owned()),
        },
        moderation: None,
        here: None,
    }
}
