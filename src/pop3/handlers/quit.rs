//! `QUIT` in the TRANSACTION state: UPDATE (RFC 1939 §6).

use account::Account;

use crate::{Maildrop, Outcome};

/// Removes what is marked; the answer comes when that is durable.
pub(super) async fn quit(maildrop: &Maildrop, account: &Account) -> Outcome {
    if maildrop.marked().is_empty() {
        return Outcome::Removed(0);
    }
    match account.remove_messages(maildrop.mailbox(), maildrop.marked()).await {
        Ok(removed) => Outcome::Removed(removed.len()),
        Err(error) => Outcome::NotRemoved(error),
    }
}
