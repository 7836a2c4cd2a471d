//! APPEND (RFC 9051 §6.3.12, RFC 3502, RFC 4315, RFC 4469).

use alloc::sync::Arc;
use alloc::vec::Vec;

use account::{Content, NewMessage};
use base::Charge;

use super::Context;
use super::urlauth::{UrlError, UrlProof, url_bytes, url_size};
use super::walk::Pace;
use crate::command::Append;
use crate::command::append::{AppendData, CatPart};
use crate::reply::{Code, Failure, Success};
use crate::summary::summarize;
use crate::url::Url;

pub(super) async fn append(request: Append, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    let name = context.name(&request.mailbox)?;
    let mailbox = context.account.mailbox(&name).map_err(|error| match error {
        // The client may make it and try again (RFC 9051 §6.3.12).
        account::Error::NotFound => Failure::No(Some(Code::Word("TRYCREATE")), "there is no such mailbox"),
        error => Failure::Account(error),
    })?;
    if request.refused > 0 {
        // All or none (RFC 3502). A NUL may only come as BINARY has it (RFC 3516 §4.4), and a client
        // that is told BAD would send the same message again.
        return Err(Failure::No(Some(Code::Word("CANNOT")), "a message with NUL has to come as a literal8"));
    }
    let now = context.now;
    let mut messages = Vec::with_capacity(request.messages.len());
    let pace = Pace::default();
    let mut room = Room { bytes: context.limits.append_command_bytes_max, charge: context.around.charge() };
    for message in request.messages {
        let data = match message.data {
            AppendData::Whole(data) => data,
            AppendData::Parts(parts) => catenate(parts, &mut room, context).await?,
        };
        pace.spend(data.len()).await;
        messages.push(NewMessage {
            content: Content { summary: summarize(&data), data },
            flags: message.flags.flags,
            keywords: message.flags.keywords,
            received: message.received.unwrap_or(now),
        });
    }
    let appended = context.account.append(mailbox.id, messages, now).await?;
    Ok(Success::with(Code::AppendUid(appended.uid_validity, appended.uids), "stored"))
}

/// What is left for messages that are put together, all of the command's.
struct Room {
    bytes: usize,
    charge: Charge,
}

impl Room {
    /// Takes room for so many bytes of a message that has `held` of them already.
    fn take(&mut self, bytes: usize, held: usize, context: &Context<'_, '_>) -> Result<(), Failure> {
        let Some(left) =
            self.bytes.checked_sub(bytes).filter(|_| held + bytes <= context.limits.append_bytes_max)
        else {
            return Err(Failure::No(Some(Code::Word("TOOBIG")), "the message is too large"));
        };
        if !self.charge.cover(self.charge.bytes() + bytes) {
            // RFC 5530 §3
            return Err(Failure::No(Some(Code::Word("LIMIT")), "too much is coming in now, try again later"));
        }
        self.bytes = left;
        Ok(())
    }
}

/// A message that is put together (RFC 4469 §3): of texts, and of bytes of the account's own messages.
async fn catenate(
    parts: Vec<CatPart>,
    room: &mut Room,
    context: &Context<'_, '_>,
) -> Result<Arc<Vec<u8>>, Failure> {
    let mut data = Vec::new();
    let pace = Pace::default();
    for part in parts {
        match part {
            CatPart::Text(text) => {
                room.take(text.len(), data.len(), context)?;
                data.extend_from_slice(&text);
            }
            CatPart::Url(text) => {
                let bytes = own_bytes(&text, data.len(), room, context).await?;
                pace.spend(bytes.len()).await;
                data.extend_from_slice(&bytes);
            }
        }
    }
    Ok(Arc::new(data))
}

/// What a URL means in the account itself.
async fn own_bytes(
    text: &[u8],
    held: usize,
    room: &mut Room,
    context: &Context<'_, '_>,
) -> Result<Vec<u8>, Failure> {
    let bad = || Failure::No(Some(Code::BadUrl(text.to_vec())), "there is nothing behind that URL");
    let failure = |error| match error {
        UrlError::Denied | UrlError::Missing | UrlError::NoPart => bad(),
        UrlError::Account(error) => Failure::Account(error),
    };
    let url = core::str::from_utf8(text).ok().and_then(|text| Url::of_path(text).ok()).ok_or_else(bad)?;
    let (account, now) = (context.account, context.now);
    if url.is_whole() {
        let size = url_size(account, &url, UrlProof::Owner, now).map_err(failure)?;
        room.take(size as usize, held, context)?;
        return url_bytes(account, &url, UrlProof::Owner, now).await.map_err(failure);
    }
    let bytes = url_bytes(account, &url, UrlProof::Owner, now).await.map_err(failure)?;
    room.take(bytes.len(), held, context)?;
    Ok(bytes)
}
