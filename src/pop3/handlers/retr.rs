//! `RETR` (RFC 1939 §5).

use account::{Account, Error};
use base::{Closed, Out, Uid};

use crate::body::DotStuffer;
use crate::limits::PIECE_BYTES;
use crate::{Maildrop, Outcome, reply};

/// The message, byte for byte, dots stuffed; only lone LFs become CRLF (see `body`).
pub(super) async fn retr(
    maildrop: &Maildrop,
    account: &Account,
    uid: Uid,
    out: &mut Out<'_>,
) -> Result<Outcome, Closed> {
    let Some(message) = account.message(maildrop.mailbox(), uid) else {
        return Ok(Outcome::Failed(Error::NotFound));
    };
    // What fits one piece is read whole, which verifies its checksum.
    let first = if message.size <= PIECE_BYTES {
        account.body(&message.body).await
    } else {
        account.body_range(&message.body, 0, PIECE_BYTES).await
    };
    // Only now is it sure enough that there is an answer to begin.
    let mut piece = match first {
        Ok(piece) => piece,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    reply::retrieved(message.size, &mut out.buffer);
    let mut stuffer = DotStuffer::new();
    let mut offset = 0;
    loop {
        stuffer.write(&piece, &mut out.buffer);
        offset += piece.len() as u32;
        out.room().await?;
        if offset >= message.size {
            break;
        }
        match account.body_range(&message.body, offset, PIECE_BYTES).await {
            Ok(next) if !next.is_empty() => piece = next,
            // The answer has begun: without its end the client knows that it is not whole.
            _ => return Ok(Outcome::Broken),
        }
    }
    stuffer.finish(&mut out.buffer);
    Ok(Outcome::Said)
}
