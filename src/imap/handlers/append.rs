//! APPEND (RFC 9051 §6.3.12, RFC 3502, RFC 4315).

use alloc::vec::Vec;

use account::{Content, NewMessage};

use super::Context;
use super::walk::Pace;
use crate::command::Append;
use crate::reply::{Code, Failure, Success};
use crate::summary::summarize;

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
    for message in request.messages {
        pace.spend(message.data.len()).await;
        messages.push(NewMessage {
            content: Content { summary: summarize(&message.data), data: message.data },
            flags: message.flags.flags,
            keywords: message.flags.keywords,
            received: message.received.unwrap_or(now),
        });
    }
    let appended = context.account.append(mailbox.id, messages, now).await?;
    Ok(Success::with(Code::AppendUid(appended.uid_validity, appended.uids), "stored"))
}
