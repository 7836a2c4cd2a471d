//! EXPUNGE, UID EXPUNGE and CLOSE (RFC 9051 §6.4.3, §6.4.9, §6.4.1).

use super::Context;
use crate::capability::Enabled;
use crate::parse::SequenceSet;
use crate::reply::{Code, Failure, Success};
use crate::view::Selected;

/// What was removed is told by the update that follows every command.
pub(super) async fn expunge(
    set: Option<&SequenceSet>,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    if view.is_read_only {
        return Err(Failure::No(Some(Code::Word("READ-ONLY")), "the mailbox was opened to be read only"));
    }
    // Only messages that the client knows: it has not agreed to lose others (RFC 9051 §6.4.9).
    let uids = match set {
        Some(set) => view.resolve(set, true)?,
        None => view.uids.clone(),
    };
    let removed = context.account.expunge(view.mailbox, Some(&uids)).await?;
    if removed.is_empty() || !context.enabled.has(Enabled::CONDSTORE) {
        return Ok(Success::plain("expunged"));
    }
    // RFC 7162 §3.1.9 (EXPUNGE) and §3.2.7: the number that covers the removal.
    let change = context.account.status(view.mailbox)?.highest_change;
    Ok(Success::with(Code::HighestModSeq(change.0), "expunged"))
}

/// As EXPUNGE without telling; the mailbox is no longer selected whatever comes of it.
pub(super) async fn close(view: &mut Selected, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    let uids = view.uids.clone();
    let removed = context.account.expunge(view.mailbox, Some(&uids)).await?;
    if removed.is_empty() || !context.enabled.has(Enabled::QRESYNC) {
        return Ok(Success::plain("closed"));
    }
    // RFC 7162 §3.2.8: the client learns up to where it knows the mailbox.
    let change = context.account.status(view.mailbox)?.highest_change;
    Ok(Success::with(Code::HighestModSeq(change.0), "closed"))
}
