//! Bringing a client up to date (RFC 9051 §5.2, §7.5): the one place where EXISTS, EXPUNGE, VANISHED
//! and unasked FETCH come from. It compares what the client knows with what changed since.

use alloc::string::String;
use alloc::vec::Vec;

use account::MessageChange;
use base::{Closed, Ranges};

use super::Context;
use super::walk::Walk;
use crate::capability::Enabled;
use crate::reply::Failure;
use crate::response::flags;
use crate::response::text::{write_number, write_ranges};
use crate::view::{Selected, from_numbers};

/// What may be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Whatever there is.
    Everything,
    /// Sequence numbers must not move.
    NoExpunges,
}

/// Tells the client what changed since it was last told. Costs nothing when nothing did.
pub(crate) async fn sync(
    view: &mut Selected,
    telling: Telling,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    let News { updated, has_new } = learn(view, context);
    if telling == Telling::Everything {
        tell_expunged(view, context).await?;
    }
    if has_new {
        let out = &mut context.out.buffer;
        write_exists(out, view.exists());
        if !context.enabled.has(Enabled::REV2) {
            out.extend_from_slice(b"* 0 RECENT\r\n");
        }
    }
    tell_flags(view, &updated, context).await
}

/// What a look at the changes brought, beside what the view keeps of it.
#[derive(Default)]
struct News {
    /// Messages whose flags the client knows otherwise.
    updated: Ranges,
    has_new: bool,
}

/// Brings the view up to the account's last change, at one moment: there is no wait in here.
fn learn(view: &mut Selected, context: &Context<'_, '_>) -> News {
    let now_at = context.account.highest_change();
    if now_at <= view.seen_change {
        return News::default();
    }
    let (mut new, mut updated, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for change in context.account.changes(view.mailbox, view.seen_change) {
        match change {
            MessageChange::Vanished(uid, _) => gone.push(uid.0),
            MessageChange::Updated(message) if !view.uids.contains(message.uid.0) => new.push(message.uid.0),
            MessageChange::Updated(message) if view.is_told(message.uid, message.change) => {}
            MessageChange::Updated(message) => updated.push(message.uid.0),
        }
    }
    // What came and went in between was never there for this client.
    view.pending.extend_from(&from_numbers(gone).intersection(&view.uids));
    let has_new = !new.is_empty();
    view.uids.extend_from(&from_numbers(new));
    view.advance_to(now_at);
    News { updated: from_numbers(updated), has_new }
}

/// `* n EXISTS`
pub(super) fn write_exists(out: &mut Vec<u8>, count: u32) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(count));
    out.extend_from_slice(b" EXISTS\r\n");
}

/// Takes what is pending out of the view: as VANISHED once QRESYNC is on (RFC 7162 §3.2.10), else
/// as EXPUNGE from the last on, so that no number moves that is still to be said.
pub(super) async fn tell_expunged(view: &mut Selected, context: &mut Context<'_, '_>) -> Result<(), Closed> {
    if view.pending.is_empty() {
        return Ok(());
    }
    let gone = core::mem::take(&mut view.pending);
    if context.enabled.has(Enabled::QRESYNC) {
        write_vanished(&mut context.out.buffer, &gone, false);
        view.forget(&gone);
        return context.out.room().await;
    }
    let mut numbering = view.numbering();
    let numbers: Ranges = gone.iter().filter_map(|uid| numbering.of(base::Uid(uid))).collect();
    view.forget(&gone);
    for number in numbers.iter().rev() {
        let out = &mut context.out.buffer;
        out.extend_from_slice(b"* ");
        write_number(out, u64::from(number));
        out.extend_from_slice(b" EXPUNGE\r\n");
        context.out.room().await?;
    }
    Ok(())
}

/// `* VANISHED [(EARLIER)] uids` (RFC 7162 §3.2.10).
pub(super) fn write_vanished(out: &mut Vec<u8>, gone: &Ranges, is_earlier: bool) {
    if gone.is_empty() {
        return;
    }
    out.extend_from_slice(if is_earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
    write_ranges(out, gone);
    out.extend_from_slice(b"\r\n");
}

/// FETCH responses nobody asked for: the flags of `updated`, as they are now.
pub(super) async fn tell_flags(
    view: &mut Selected,
    updated: &Ranges,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    if updated.is_empty() {
        return Ok(());
    }
    let names = context.account.keywords();
    tell_new_keywords(view, &names, context);
    let mut numbering = view.numbering();
    let mut walk = Walk::new(view.mailbox, updated);
    loop {
        let chunk = walk.advance(context.account);
        if chunk.is_empty() {
            return Ok(());
        }
        for message in chunk {
            let Some(number) = numbering.of(message.uid) else { continue };
            write_flags_fetch(&mut context.out.buffer, number, message, &names, context.enabled);
            context.out.room().await?;
        }
    }
}

/// `* n FETCH ([UID u] FLAGS (…) [MODSEQ (m)])`; MODSEQ is for everybody with CONDSTORE (RFC 7162 §3.1).
pub(crate) fn write_flags_fetch(
    out: &mut Vec<u8>,
    number: u32,
    message: &account::Message,
    names: &[String],
    enabled: Enabled,
) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(number));
    out.extend_from_slice(b" FETCH (");
    if enabled.tells_uids() {
        out.extend_from_slice(b"UID ");
        write_number(out, u64::from(message.uid.0));
        out.push(b' ');
    }
    out.extend_from_slice(b"FLAGS ");
    flags::write_flags(out, message.flags, message.keywords, names);
    if enabled.has(Enabled::CONDSTORE) {
        out.extend_from_slice(b" MODSEQ (");
        write_number(out, message.change.0);
        out.push(b')');
    }
    out.extend_from_slice(b")\r\n");
}

/// A FLAGS response when keywords have come up that the client has not heard of (RFC 9051 §7.3.5).
pub(crate) fn tell_new_keywords(view: &mut Selected, names: &[String], context: &mut Context<'_, '_>) {
    if names != view.keywords_known {
        view.keywords_known = names.to_vec();
        flags::write_defined(&mut context.out.buffer, names);
        flags::write_permanent(&mut context.out.buffer, names, view.is_read_only);
    }
}
