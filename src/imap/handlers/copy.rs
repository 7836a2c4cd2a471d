//! COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8; RFC 4315 §3 COPYUID).

use account::{Copied, Error, Mailbox};
use base::Ranges;

use super::Context;
use super::walk::Walk;
use crate::command::copy::Copy;
use crate::reply::{Code, Failure, Success, write_line};
use crate::view::Selected;

pub(super) async fn copy(
    request: Copy,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let uids = sources(&request, view, context)?;
    let target = target(&request, context)?;
    let copied = context.account.copy(view.mailbox, &uids, target.id, context.now).await?;
    Ok(match code(copied) {
        Some(code) => Success::with(code, "copied"),
        None => Success::plain("nothing to copy"),
    })
}

/// What has been moved away is told by the update that follows every command, as it would be after
/// EXPUNGE; COPYUID must come before that, so it is not on the tagged line (RFC 6851 §4.3).
pub(super) async fn move_messages(
    request: Copy,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let uids = sources(&request, view, context)?;
    let target = target(&request, context)?;
    let moved = context.account.move_messages(view.mailbox, &uids, target.id, context.now).await?;
    let Some(code) = code(moved) else { return Ok(Success::plain("nothing to move")) };
    write_line(&mut context.out.buffer, "*", "OK", Some(&code), "moved");
    Ok(Success::plain("moved"))
}

/// The messages meant. When a sequence number's message has gone nothing is done at all: a COPY is
/// whole or not at all (RFC 9051 §6.4.7).
fn sources(request: &Copy, view: &Selected, context: &Context<'_, '_>) -> Result<Ranges, Failure> {
    let uids = view.resolve(&request.set, request.is_uid)?;
    if request.is_uid || uids.is_empty() {
        return Ok(uids);
    }
    let mut walk = Walk::new(view.mailbox, &uids);
    let there = core::iter::from_fn(|| Some(walk.advance(context.account).len()).filter(|&count| count > 0));
    if there.sum::<usize>() < uids.len() {
        return Err(Failure::No(Some(Code::Word("EXPUNGEISSUED")), "some of the messages are gone"));
    }
    Ok(uids)
}

fn target(request: &Copy, context: &Context<'_, '_>) -> Result<Mailbox, Failure> {
    let name = context.name(&request.mailbox)?;
    match context.account.mailbox(&name) {
        // RFC 9051 §6.4.7: the client may create it and try again.
        Err(Error::NotFound) => Err(Failure::No(Some(Code::Word("TRYCREATE")), "there is no such mailbox")),
        found => Ok(found?),
    }
}

/// RFC 4315 §3: no COPYUID when nothing was copied.
fn code(copied: Copied) -> Option<Code> {
    let Copied { uid_validity, sources, targets } = copied;
    (!sources.is_empty()).then_some(Code::CopyUid(uid_validity, sources, targets))
}
