//! Reading messages of the selected mailbox: their rows in order of UID, a chunk at a time, so that
//! memory does not grow with the mailbox; their headers without their bodies; and the pace of it.

use alloc::vec::Vec;
use core::cell::Cell;

use account::{Account, Error, Message};
use base::{MailboxId, Ranges, Uid, give_way};

use crate::limits::{HEADER_BYTES_MAX, HEADER_READ_BYTES, ROWS_PER_CHUNK, TURN_BYTES};

/// A walk over those of some UIDs that are still there.
#[derive(Debug)]
pub(super) struct Walk {
    mailbox: MailboxId,
    ranges: alloc::vec::IntoIter<(u32, u32)>,
    /// What is left of the range at hand.
    left: Option<(u32, u32)>,
    chunk: Vec<Message>,
}

impl Walk {
    /// Over `uids` of `mailbox`.
    pub(super) fn new(mailbox: MailboxId, uids: &Ranges) -> Self {
        let ranges: Vec<(u32, u32)> = uids.ranges().collect();
        Self { mailbox, ranges: ranges.into_iter(), left: None, chunk: Vec::new() }
    }

    /// The next messages, or nothing at the end.
    pub(super) fn advance(&mut self, account: &Account) -> &[Message] {
        self.chunk.clear();
        while self.chunk.len() < ROWS_PER_CHUNK {
            let Some((first, last)) = self.left.take().or_else(|| self.ranges.next()) else { break };
            self.left = self.read(account, first, last);
        }
        &self.chunk
    }

    /// Appends what the chunk has room for; gives the part of the range that it had not.
    fn read(&mut self, account: &Account, first: u32, last: u32) -> Option<(u32, u32)> {
        let room = ROWS_PER_CHUNK - self.chunk.len();
        let limit = room.min((last - first) as usize + 1);
        let before = self.chunk.len();
        account.messages(self.mailbox, Uid(first), limit, &mut self.chunk);
        let read = self.chunk.len() - before;
        let reached = self.chunk.last().map(|message| message.uid.0);
        while self.chunk.len() > before && self.chunk.last().is_some_and(|message| message.uid.0 > last) {
            self.chunk.pop();
        }
        let next = reached?.checked_add(1)?;
        (read == limit && next <= last).then_some((next, last))
    }
}

/// Reads on until `bytes`, the first of a message, have its header in them, or `most` of them are
/// there. Whether all of the header is, which beyond [`HEADER_BYTES_MAX`] is what has been read.
pub(super) async fn read_header(
    account: &Account,
    message: &Message,
    bytes: &mut Vec<u8>,
    most: u32,
) -> Result<bool, Error> {
    loop {
        let held = bytes.len() as u32;
        let is_all = held >= message.size.min(HEADER_BYTES_MAX);
        if is_all || mime::end_of_headers(bytes) < bytes.len() {
            return Ok(true);
        }
        let goal = held.saturating_mul(4).max(HEADER_READ_BYTES).min(most.min(HEADER_BYTES_MAX));
        if goal <= held {
            return Ok(false);
        }
        let more = account.body_range(&message.body, held, goal - held).await?;
        if more.is_empty() {
            return Ok(true);
        }
        if bytes.is_empty() {
            *bytes = more;
        } else {
            bytes.extend_from_slice(&more);
        }
    }
}

/// Where the header ends in bytes that have all of it.
pub(super) fn header_end(bytes: &[u8]) -> usize {
    let most = bytes.len().min(HEADER_BYTES_MAX as usize);
    mime::end_of_headers(bytes.get(..most).unwrap_or(bytes))
}

/// Gives others on the thread their turn every [`TURN_BYTES`]: what a command looks at is the
/// peer's choice, how long it holds the thread is not.
#[derive(Debug, Default)]
pub(super) struct Pace(Cell<usize>);

impl Pace {
    /// So many bytes have been looked at.
    pub(super) async fn spend(&self, bytes: usize) {
        let spent = self.0.get().saturating_add(bytes);
        if spent < TURN_BYTES {
            return self.0.set(spent);
        }
        self.0.set(0);
        give_way().await;
    }
}
