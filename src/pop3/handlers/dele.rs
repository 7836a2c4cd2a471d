//! `DELE` (RFC 1939 §5): a mark in the maildrop; nothing is removed before QUIT.

use account::Account;
use base::Uid;

use crate::{Maildrop, Outcome};

pub(super) fn dele(maildrop: &mut Maildrop, account: &Account, uid: Uid) -> Outcome {
    // A message that is gone already is as deleted as the client wants it.
    let size = account.message(maildrop.mailbox(), uid).map_or(0, |message| message.size);
    maildrop.mark(uid, size);
    Outcome::Marked(uid)
}
