//! SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8).

use super::Context;
use crate::reply::{Failure, Success};

/// Only a mailbox that is there can be subscribed, which catches misspelt names; it stays subscribed
/// when it is deleted, for it may come back (RFC 9051 §6.3.7).
pub(super) async fn subscribe(
    name: &[u8],
    is_subscribed: bool,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let name = context.name(name)?;
    if is_subscribed {
        context.account.mailbox(&name)?;
    }
    context.account.subscribe(&name, is_subscribed).await?;
    Ok(Success::plain(if is_subscribed { "subscribed" } else { "no longer subscribed" }))
}
