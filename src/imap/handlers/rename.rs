//! RENAME (RFC 9051 §6.3.6).

use super::Context;
use crate::reply::{Failure, Success};

pub(super) async fn rename(
    from: &[u8],
    to: &[u8],
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let from = context.name(from)?;
    let to = context.name(to.strip_suffix(b"/").unwrap_or(to))?;
    context.account.rename_mailbox(&from, &to, context.now).await?;
    Ok(Success::plain("renamed"))
}
