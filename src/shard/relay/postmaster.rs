//! What the postmaster is told: of mail that has no sender who could be, and copies of what senders are told. What cannot be
//! delivered to the postmaster is only logged.

use std::rc::Rc;

use base::Timestamp;
use dsn::{Action, Content, Original, Recipient, is_for_postmaster};
use smtp::Outcome;

use super::notice::{Own, report, send};
use crate::Shard;
use crate::inbound::sign_own;

/// Of what the postmaster is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TellPostmaster {
    /// Mail from `<>` that failed, our own notices among it: nobody else hears of it.
    pub undeliverable: bool,
    /// Copies of what senders are told of failures, with the message's header.
    pub bounce: bool,
    /// Copies of what senders are told of delays, with the message's header.
    pub delay: bool,
}

impl Default for TellPostmaster {
    /// Only of what nobody else is told.
    fn default() -> Self {
        Self { undeliverable: true, bounce: false, delay: false }
    }
}

/// Tells of mail from nobody that failed; false when it should be tried again.
pub(super) async fn undeliverable(
    shard: &Rc<Shard>,
    recipients: &[Recipient<'_>],
    original: &Original<'_>,
    requires_tls: bool,
    now: Timestamp,
) -> bool {
    let settings = shard.settings();
    if !settings.outbound.tell_postmaster.undeliverable {
        return true;
    }
    let Some(due) = dsn::undeliverable(&settings.mx.postmaster, recipients) else { return true };
    let (Content::Whole(content) | Content::Header(content)) = original.content;
    // What cannot be read may be a notice to the postmaster too.
    if content.is_empty() || is_for_postmaster(content) {
        let of: Vec<&str> = due.recipients().iter().map(|(_, recipient)| recipient.address).collect();
        tracing::warn!(event = "relay.postmaster_untold", ?of);
        return true;
    }
    let ret = if requires_tls { dsn::Return::Headers } else { dsn::Return::Full };
    let outcome = tell(shard, &due, &Original { ret: Some(ret), ..*original }, requires_tls, now).await;
    !matches!(outcome, Outcome::NoSpace | Outcome::Unavailable)
}

/// Sends a copy of what a sender is told, where that is wanted.
pub(super) async fn copy(
    shard: &Rc<Shard>,
    due: &dsn::Notice<'_>,
    original: &Original<'_>,
    requires_tls: bool,
    now: Timestamp,
) {
    let settings = shard.settings();
    let (wanted, postmaster) = (settings.outbound.tell_postmaster, settings.mx.postmaster.as_str());
    let is_wanted = (wanted.bounce && due.has(Action::Failed)) || (wanted.delay && due.has(Action::Delayed));
    if is_wanted && !due.to().eq_ignore_ascii_case(postmaster) {
        let original = Original { ret: Some(dsn::Return::Headers), ..*original };
        tell(shard, &due.copy_for(postmaster), &original, requires_tls, now).await;
    }
}

async fn tell(
    shard: &Rc<Shard>,
    due: &dsn::Notice<'_>,
    original: &Original<'_>,
    requires_tls: bool,
    now: Timestamp,
) -> Outcome {
    let (id, mut report) = report(shard, due, original, now);
    report.message = sign_own(shard, report.message).await;
    let outcome = send(shard, due.to(), &report, Own { id, requires_tls }, now).await;
    let notice = format!("{id:016x}");
    if outcome == Outcome::Stored {
        tracing::info!(event = "relay.postmaster", notice, to = due.to());
    } else {
        tracing::warn!(event = "relay.postmaster_untold", notice, to = due.to(), ?outcome);
    }
    outcome
}
