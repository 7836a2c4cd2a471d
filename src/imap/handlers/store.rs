//! STORE and UID STORE (RFC 9051 §6.4.6) with UNCHANGEDSINCE (RFC 7162 §3.1.3).

use base::{Ranges, Uid};

use super::walk::Walk;
use super::{Context, sync};
use crate::capability::Enabled;
use crate::command::fetch::Property;
use crate::command::store::Store;
use crate::reply::{Code, Failure, Success};
use crate::response::fetch::{write_end, write_property, write_start};
use crate::view::Selected;

/// How much of a change of flags its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The flags, and MODSEQ with CONDSTORE.
    Flags,
    /// `.SILENT`: nothing, but MODSEQ with CONDSTORE (RFC 7162 §3.1.3).
    ModSeqOnly,
}

pub(super) async fn store(
    request: Store,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let uids = view.resolve(&request.set, request.is_uid)?;
    if request.is_silent {
        // What others changed is told first: our change to the same message would hide it.
        sync::sync(view, sync::Telling::NoExpunges, context).await?;
    }
    let stored = context.account.store(view.mailbox, &uids, &request.change, request.unchanged_since).await?;
    let told = if request.is_silent { Told::ModSeqOnly } else { Told::Flags };
    tell_stored(view, &stored.uids, told, context).await?;
    let is_gone = !stored.missing.is_empty() && !request.is_uid;
    if !stored.conflicts.is_empty() {
        let conflicts = if request.is_uid { stored.conflicts } else { numbers(view, &stored.conflicts) };
        let code = Code::Modified(conflicts);
        // RFC 7162 §3.1.3: MODIFIED goes with OK, or with NO when messages are gone as well.
        return if is_gone {
            Err(Failure::No(Some(code), "some of the messages are gone, some had changed"))
        } else {
            Ok(Success::with(code, "some of the messages had changed"))
        };
    }
    if is_gone {
        return Err(Failure::No(Some(Code::Word("EXPUNGEISSUED")), "some of the messages are gone"));
    }
    Ok(Success::plain("stored"))
}

/// The sequence numbers of messages.
pub(super) fn numbers(view: &Selected, uids: &Ranges) -> Ranges {
    let mut numbering = view.numbering();
    uids.iter().filter_map(|uid| numbering.of(Uid(uid))).collect()
}

/// Tells the client of messages whose flags its own command has just set, and notes that it knows.
pub(super) async fn tell_stored(
    view: &mut Selected,
    uids: &Ranges,
    told: Told,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    let names = context.account.keywords();
    sync::tell_new_keywords(view, &names, context);
    let has_mod_seq = context.enabled.has(Enabled::CONDSTORE);
    let mut walk = Walk::new(view.mailbox, uids);
    loop {
        let chunk = walk.advance(context.account);
        if chunk.is_empty() {
            return Ok(());
        }
        if told == Told::Flags || has_mod_seq {
            let mut numbering = view.numbering();
            for message in chunk {
                let Some(number) = numbering.of(message.uid) else { continue };
                let buffer = &mut context.out.buffer;
                if told == Told::Flags {
                    sync::write_flags_fetch(buffer, number, message, &names, context.enabled);
                } else {
                    write_start(buffer, number);
                    if context.enabled.tells_uids() {
                        write_property(buffer, Property::Uid, message, &names);
                        buffer.push(b' ');
                    }
                    write_property(buffer, Property::ModSeq, message, &names);
                    write_end(buffer);
                }
                context.out.room().await?;
            }
        }
        for message in chunk {
            // With `.SILENT` only the change next to all that is known is sure to be ours alone; a
            // later one may have another's below it, and is told.
            if told == Told::Flags || message.change == view.seen_change.next() {
                view.note_told(message.uid, message.change);
            }
        }
    }
}
