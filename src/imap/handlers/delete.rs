//! DELETE (RFC 9051 §6.3.5).

use alloc::boxed::Box;

use super::Context;
use crate::reply::{Failure, Success};
use crate::view::Selected;

/// Deleting the selected mailbox is allowed; the session then has none selected.
pub(super) async fn delete(
    name: &[u8],
    selected: &mut Option<Box<Selected>>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let name = context.name(name)?;
    let mailbox = context.account.mailbox(&name)?;
    context.account.delete_mailbox(&name).await?;
    if selected.as_ref().is_some_and(|view| view.mailbox == mailbox.id) {
        *selected = None;
        context.out.buffer.extend_from_slice(b"* OK [CLOSED] the selected mailbox is gone\r\n");
    }
    Ok(Success::plain("deleted"))
}
