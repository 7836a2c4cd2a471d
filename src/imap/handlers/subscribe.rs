//! SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8).

use super::Context;
use crate::reply::{Failure, Success};

/// A name can be subscribed that names no mailbox: it may come back.
pub(super) async fn subscribe(
    name: &[u8],
    is_subscribed: bool,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let name = context.name(name)?;
    context.account.subscribe(&name, is_subscribed).await?;
    Ok(Success::plain(if is_subscribed { "subscribed" } else { "no longer subscribed" }))
}
