//! `LIST` (RFC 1939 §5).

use alloc::vec::Vec;

use account::{Account, Error};
use base::{Closed, Out, Uid};

use crate::limits::LIST_CHUNK;
use crate::{Maildrop, Outcome, reply};

/// Sizes of all messages that are not marked, as they are stored. Doubled dots do not count
/// (RFC 1939 §11). The same section counts a line end as two octets; the CR that RETR puts before a
/// lone LF is not counted all the same, for to know it every message would have to be read. Two
/// ascending walks side by side: the index has the sizes, the maildrop the numbers.
pub(super) async fn list(
    maildrop: &Maildrop,
    account: &Account,
    out: &mut Out<'_>,
) -> Result<Outcome, Closed> {
    reply::ok("scan listings follow", &mut out.buffer);
    let mut numbered = maildrop.numbered().peekable();
    let mut messages = Vec::with_capacity(LIST_CHUNK.min(maildrop.count()));
    while let Some(&(_, from)) = numbered.peek() {
        messages.clear();
        account.messages(maildrop.mailbox(), from, LIST_CHUNK, &mut messages);
        let Some(last) = messages.last().map(|message| message.uid) else { break };
        for message in &messages {
            // Those in between were removed since login.
            while numbered.next_if(|(_, uid)| *uid < message.uid).is_some() {}
            if let Some((number, _)) = numbered.next_if(|(_, uid)| *uid == message.uid) {
                reply::scan_listing(number, message.size, &mut out.buffer);
            }
        }
        while numbered.next_if(|(_, uid)| *uid <= last).is_some() {}
        out.room().await?;
    }
    reply::end(&mut out.buffer);
    Ok(Outcome::Said)
}

/// The size of one message, as it is stored.
pub(super) fn list_one(maildrop: &Maildrop, account: &Account, uid: Uid) -> Outcome {
    let message = account.message(maildrop.mailbox(), uid);
    message.map_or(Outcome::Failed(Error::NotFound), |message| Outcome::Size(uid, message.size))
}
