//! SELECT and EXAMINE (RFC 9051 §6.3.2, §6.3.3), with what CONDSTORE and QRESYNC add
//! (RFC 7162 §3.1.8, §3.2.5).

use alloc::boxed::Box;
use alloc::vec::Vec;

use account::Mailbox;

use super::{Action, Context, sync};
use crate::capability::Enabled;
use crate::command::{Select, SyncFrom};
use crate::reply::{Code, Failure, Success};
use crate::response::list::{ListLine, uid_next, write_mailbox_id};
use crate::response::{flags, text::write_number};
use crate::view::{Selected, from_numbers};

pub(super) async fn select(
    request: Select,
    selected: &mut Option<Box<Selected>>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    // The old mailbox is closed whether or not the new one can be opened (RFC 9051 §6.3.2).
    if selected.take().is_some() {
        context.out.buffer.extend_from_slice(b"* OK [CLOSED] the mailbox selected before is closed\r\n");
    }
    let name = context.name(&request.mailbox)?;
    // No wait up to the view: it is the mailbox at one moment.
    let now_at = context.account.highest_change();
    let mailbox = context.account.mailbox(&name)?;
    let uids = context.account.uids(mailbox.id);
    // IMAP4rev2 has done away with UNSEEN.
    let tells_unseen = !context.enabled.has(Enabled::REV2);
    let first_unseen =
        if tells_unseen { context.account.first_unseen(mailbox.id, &mailbox.status) } else { None };
    let mut view = Box::new(Selected::new(&mailbox, uids, now_at));
    view.is_read_only = request.is_read_only;
    let first_unseen = first_unseen.and_then(|uid| view.number_of(uid));
    tell(&mut view, &mailbox, first_unseen, context);
    if let Some(from) = request.sync_from {
        catch_up(&from, &mut view, context).await?;
    }
    *selected = Some(view);
    if request.is_read_only {
        return Ok(Success::with(Code::Word("READ-ONLY"), "examined"));
    }
    Ok(Success::with(Code::Word("READ-WRITE"), "selected"))
}

/// What every SELECT tells (RFC 9051 §6.3.2, RFC 3501 §6.3.1).
fn tell(view: &mut Selected, mailbox: &Mailbox, first_unseen: Option<u32>, context: &mut Context<'_, '_>) {
    let names = context.account.keywords();
    view.keywords_known.clone_from(&names);
    let is_rev2 = context.enabled.has(Enabled::REV2);
    let is_utf8 = context.enabled.has_utf8();
    let out = &mut context.out.buffer;
    flags::write_defined(out, &names);
    flags::write_permanent(out, &names, view.is_read_only);
    sync::write_exists(out, view.exists());
    // IMAP4rev2 has neither RECENT nor UNSEEN, and LIST instead.
    if is_rev2 {
        let name = view.name.as_str();
        ListLine { is_lsub: false, attributes: &[], name, is_utf8, child_info: &[] }.write(out);
    } else {
        out.extend_from_slice(b"* 0 RECENT\r\n");
        if let Some(number) = first_unseen {
            write_ok(out, "UNSEEN", u64::from(number), "is the first that was not seen");
        }
    }
    write_ok(out, "UIDVALIDITY", u64::from(mailbox.uid_validity.0), "while this stays, UIDs do");
    write_ok(out, "UIDNEXT", u64::from(uid_next(mailbox)), "is the next UID");
    write_ok(out, "HIGHESTMODSEQ", mailbox.status.highest_change.0, "is the last change");
    out.extend_from_slice(b"* OK [");
    write_mailbox_id(out, mailbox.id);
    out.extend_from_slice(b"] is its id for good\r\n");
    // RFC 4467 §8
    out.extend_from_slice(b"* OK [URLMECH INTERNAL] proves URLs\r\n");
}

fn write_ok(out: &mut Vec<u8>, code: &str, value: u64, text: &str) {
    out.extend_from_slice(b"* OK [");
    out.extend_from_slice(code.as_bytes());
    out.push(b' ');
    write_number(out, value);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What happened since the client was here last (RFC 7162 §3.2.5.1). Nothing can be said of another
/// incarnation of the mailbox.
async fn catch_up(
    from: &SyncFrom,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    if from.uid_validity != view.uid_validity || from.change >= view.seen_change {
        return Ok(());
    }
    let vanished = context.account.vanished(view.mailbox, from.change);
    let vanished = from.known.as_ref().map_or_else(|| vanished.clone(), |known| vanished.intersection(known));
    let mut updated = Vec::new();
    context.account.for_each(view.mailbox, |message| {
        if message.change > from.change
            && from.known.as_ref().is_none_or(|known| known.contains(message.uid.0))
        {
            updated.push(message.uid.0);
        }
    });
    sync::write_vanished(&mut context.out.buffer, &vanished, true);
    context.out.room().await?;
    sync::tell_flags(view, &from_numbers(updated), context).await
}

/// A command that enables CONDSTORE while a mailbox is selected is told HIGHESTMODSEQ
/// (RFC 7162 §3.1); SELECT tells it anyway.
pub(super) fn tell_highest_change(view: &Selected, action: &Action, context: &mut Context<'_, '_>) {
    if matches!(action, Action::Select(_)) {
        return;
    }
    if let Ok(status) = context.account.status(view.mailbox) {
        write_ok(&mut context.out.buffer, "HIGHESTMODSEQ", status.highest_change.0, "is the last change");
    }
}
