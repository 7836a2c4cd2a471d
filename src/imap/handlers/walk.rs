//! Reading messages of the selected mailbox: their rows in order of UID, a chunk at a time, so that
//! memory does not grow with the mailbox; and their headers without their bodies.

use alloc::vec::Vec;

use account::{Account, Error, Message};
use base::{MailboxId, Ranges, Uid};

use crate::limits::{HEADER_READ_BYTES, ROWS_PER_CHUNK};

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

/// The first bytes of a message, with its header and as little more as reading in steps allows.
pub(super) async fn read_header(account: &Account, message: &Message) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut goal = HEADER_READ_BYTES;
    loop {
        let held = bytes.len() as u32;
        let more = account.body_range(&message.body, held, goal - held).await?;
        let is_end = more.is_empty();
        if bytes.is_empty() {
            bytes = more;
        } else {
            bytes.extend_from_slice(&more);
        }
        let is_whole = is_end || bytes.len() >= message.size as usize;
        if is_whole || mime::end_of_headers(&bytes) < bytes.len() {
            return Ok(bytes);
        }
        goal = goal.saturating_mul(4).min(message.size);
    }
}
