//! `UIDL` (RFC 1939 §7).

use base::{Closed, Out};

use crate::{Maildrop, Outcome, reply};

/// Names of all messages that are not marked.
pub(super) async fn uidl(maildrop: &Maildrop, out: &mut Out<'_>) -> Result<Outcome, Closed> {
    reply::ok("unique-id listings follow", &mut out.buffer);
    for (number, uid) in maildrop.numbered() {
        reply::unique_id_listing(number, maildrop.uid_validity(), uid, &mut out.buffer);
        out.room().await?;
    }
    reply::end(&mut out.buffer);
    Ok(Outcome::Said)
}
