//! `TOP` (RFC 1939 §7).

use account::{Account, Error};
use base::{Closed, Out, Uid};

use crate::body::{DotStuffer, Top};
use crate::limits::TOP_PIECE_BYTES;
use crate::{Maildrop, Outcome, reply};

/// The header section, the empty line and the first lines of the body: read no further than that.
pub(super) async fn top(
    maildrop: &Maildrop,
    account: &Account,
    (uid, lines): (Uid, u32),
    out: &mut Out<'_>,
) -> Result<Outcome, Closed> {
    let Some(message) = account.message(maildrop.mailbox(), uid) else {
        return Ok(Outcome::Failed(Error::NotFound));
    };
    let mut piece = match account.body_range(&message.body, 0, TOP_PIECE_BYTES).await {
        Ok(piece) => piece,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    reply::ok("top of the message follows", &mut out.buffer);
    let (mut stuffer, mut top) = (DotStuffer::new(), Top::new(lines));
    let mut offset = 0;
    loop {
        stuffer.write(top.take(&piece), &mut out.buffer);
        offset += piece.len() as u32;
        out.room().await?;
        if top.is_done() || offset >= message.size {
            break;
        }
        match account.body_range(&message.body, offset, TOP_PIECE_BYTES).await {
            Ok(next) if !next.is_empty() => piece = next,
            // The answer has begun: without its end the client knows that it is not whole.
            _ => return Ok(Outcome::Broken),
        }
    }
    stuffer.finish(&mut out.buffer);
    Ok(Outcome::Said)
}
