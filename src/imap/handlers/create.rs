//! CREATE (RFC 9051 §6.3.4, RFC 6154 §3, RFC 8474 §4.1).

use super::Context;
use crate::command::Create;
use crate::reply::{Code, Failure, Success};

pub(super) async fn create(request: Create, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    // A separator at the end only says that names below will follow (RFC 9051 §6.3.4).
    let name = context.name(request.mailbox.strip_suffix(b"/").unwrap_or(&request.mailbox))?;
    let special_use = match request.uses.as_slice() {
        [] => None,
        [Some(special_use)] => Some(*special_use),
        _ => {
            return Err(Failure::No(
                Some(Code::Word("USEATTR")),
                "a mailbox has one special use that is known here",
            ));
        }
    };
    // Each use once, so that no client must choose (RFC 6154 §3).
    if special_use.is_some()
        && context.account.mailboxes().iter().any(|mailbox| mailbox.special_use == special_use)
    {
        return Err(Failure::No(Some(Code::Word("USEATTR")), "another mailbox has that use"));
    }
    let mailbox = context.account.create_mailbox(&name, special_use, context.now).await?;
    Ok(Success::with(Code::MailboxId(mailbox.id), "made"))
}
