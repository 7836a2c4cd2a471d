//! STATUS (RFC 9051 §6.3.11).

use super::Context;
use crate::command::Status;
use crate::reply::{Failure, Success};
use crate::response::list::write_status;

pub(super) fn status(request: &Status, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    let mailbox = context.account.mailbox(&context.name(&request.mailbox)?)?;
    let (is_utf8, append_bytes_max) = (context.enabled.has_utf8(), context.limits.append_bytes_max as u64);
    write_status(&mut context.out.buffer, &mailbox, request.items, is_utf8, append_bytes_max);
    Ok(Success::plain("that is its status"))
}
