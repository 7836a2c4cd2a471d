//! What a maildrop can do, one file a command.

mod dele;
mod list;
mod quit;
mod retr;
mod top;
mod uidl;

use alloc::boxed::Box;

use account::{Account, MailboxName};
use base::Out;

use crate::{Act, Action, Maildrop, OpenError, Outcome, Reply};

/// Takes the snapshot of INBOX that a session works on. The caller holds the account's lock
/// (RFC 1939 §4).
pub fn open(account: &Account) -> Result<Box<Maildrop>, OpenError> {
    let inbox = account.mailbox(&MailboxName::inbox()).map_err(OpenError::Account)?;
    let mut maildrop = Box::new(Maildrop::new(inbox.id, inbox.uid_validity));
    account.for_each(inbox.id, |message| maildrop.add(message.uid, message.size));
    Ok(maildrop)
}

/// Does what a session asks for. Long answers go to `out`, as far as the peer takes them.
pub async fn handle(act: Act, account: &Account, out: &mut Out<'_>) -> Reply {
    let Act { action, mut maildrop } = act;
    let outcome = match action {
        Action::List => list::list(&maildrop, account, out).await,
        Action::ListOne(uid) => Ok(list::list_one(&maildrop, account, uid)),
        Action::Uidl => uidl::uidl(&maildrop, out).await,
        Action::Retr(uid) => retr::retr(&maildrop, account, uid, out).await,
        Action::Top(uid, lines) => top::top(&maildrop, account, (uid, lines), out).await,
        Action::Dele(uid) => Ok(dele::dele(&mut maildrop, account, uid)),
        Action::Quit => Ok(quit::quit(&maildrop, account).await),
    };
    // The peer has gone: there is nobody to say more to.
    Reply::Done(maildrop, outcome.unwrap_or(Outcome::Broken))
}
