//! Reading messages. Rows are copied out a chunk at a time, so nothing is borrowed from the index
//! across a wait.

use base::{ChangeNumber, MailboxId, Ranges, Uid};
use storage_engine::{BodyRef, Change, Metas, Row};

use crate::limits::{ROWS_PER_LOOK, ROWS_PER_READ};
use crate::message::{Message, MessageChange, mailbox_of};
use crate::{Account, Body, Error, Flags, Status};

/// Summaries that were asked for together, each under the place its body had in the question.
#[derive(Debug, Default)]
pub struct Summaries {
    metas: Metas,
    bodies: Vec<BodyRef>,
}

impl Summaries {
    /// What was stored as [`crate::Content::summary`]. None when nothing was, or when it cannot be read.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.metas.get(index)
    }
}

impl Account {
    /// One message, if it is (still) there.
    pub fn message(&self, mailbox: MailboxId, uid: Uid) -> Option<Message> {
        self.engine.row(self.partition.0, self.id.0, mailbox.0, uid.0).as_ref().map(Message::from_row)
    }

    /// Up to `limit` messages in UID order from `from` on, appended to `out`. To walk a mailbox,
    /// call again with the UID after the last one until nothing comes.
    pub fn messages(&self, mailbox: MailboxId, from: Uid, limit: usize, out: &mut Vec<Message>) {
        let mut rows: Vec<Row> = Vec::with_capacity(limit.min(ROWS_PER_READ));
        self.engine.rows(self.partition.0, self.id.0, mailbox.0, from.0, limit, &mut rows);
        out.extend(rows.iter().map(Message::from_row));
    }

    /// Calls `each` for every message of the mailbox in UID order, without waiting.
    pub fn for_each(&self, mailbox: MailboxId, mut each: impl FnMut(&Message)) {
        let mut from = 0;
        let mut rows: Vec<Row> = Vec::with_capacity(ROWS_PER_READ);
        loop {
            rows.clear();
            self.engine.rows(self.partition.0, self.id.0, mailbox.0, from, ROWS_PER_READ, &mut rows);
            for row in &rows {
                each(&Message::from_row(row));
            }
            match rows.last() {
                Some(last) if rows.len() == ROWS_PER_READ && last.item < u32::MAX => from = last.item + 1,
                _ => return,
            }
        }
    }

    /// The UIDs of a mailbox. Costs next to nothing when none is missing between its first message and its
    /// last, else a look at every row.
    pub fn uids(&self, mailbox: MailboxId) -> Ranges {
        let mut uids = Ranges::new();
        let Ok(status) = self.status(mailbox) else { return uids };
        let mut first = Vec::new();
        self.messages(mailbox, Uid(1), 1, &mut first);
        let Some(first) = first.first().map(|message| message.uid.0) else { return uids };
        // UIDNEXT is 0 when all UIDs are used up. As many messages as there are UIDs have them all.
        let last = status.uid_next.0.wrapping_sub(1);
        if last.checked_sub(first).and_then(|less| less.checked_add(1)) == Some(status.exists) {
            uids.insert_range(first, last);
            return uids;
        }
        self.for_each(mailbox, |message| uids.insert(message.uid.0));
        uids
    }

    /// The first message without `\Seen` of a mailbox with these counters. Costs a look at the rows between the first
    /// one that was ever known to be without it and the first one that still is.
    pub fn first_unseen(&self, mailbox: MailboxId, status: &Status) -> Option<Uid> {
        if status.unseen == 0 {
            return None;
        }
        let mut from = status.unseen_from;
        let mut read = Vec::new();
        for limit in core::iter::once(ROWS_PER_LOOK).chain(core::iter::repeat(ROWS_PER_READ)) {
            read.clear();
            self.messages(mailbox, from, limit, &mut read);
            let found = read.iter().find(|message| !message.flags.has(Flags::SEEN));
            if found.is_some() || read.len() < limit {
                return found.map(|message| message.uid);
            }
            from = read.last()?.uid.next()?;
        }
        None
    }

    /// What happened in a mailbox after `after`, in the order of change numbers: each message once,
    /// at its latest change.
    pub fn changes(&self, mailbox: MailboxId, after: ChangeNumber) -> Vec<MessageChange> {
        let mut out = Vec::new();
        self.for_each_change(after, |change| {
            if mailbox_of(&change.row) != mailbox {
                return;
            }
            out.push(if change.live {
                MessageChange::Updated(Message::from_row(&change.row))
            } else {
                MessageChange::Vanished(Uid(change.row.item), ChangeNumber(change.row.change))
            });
        });
        out
    }

    /// The UIDs that left a mailbox after `after` (RFC 7162 §3.2.5.2, VANISHED EARLIER).
    pub fn vanished(&self, mailbox: MailboxId, after: ChangeNumber) -> Ranges {
        let mut gone = Ranges::new();
        self.for_each_change(after, |change| {
            if !change.live && mailbox_of(&change.row) == mailbox {
                gone.insert(change.row.item);
            }
        });
        gone
    }

    fn for_each_change(&self, after: ChangeNumber, mut each: impl FnMut(&Change)) {
        let mut after = after.0;
        let mut changes: Vec<Change> = Vec::new();
        loop {
            changes.clear();
            // Rows of one transaction share a change number; the engine never splits them.
            self.engine.changes(self.partition.0, self.id.0, after, ROWS_PER_READ, &mut changes);
            changes.iter().for_each(&mut each);
            match changes.last() {
                Some(last) => after = last.row.change,
                None => return,
            }
        }
    }

    /// A message's bytes, all of them, their checksum verified.
    pub async fn body(&self, body: &Body) -> Result<Vec<u8>, Error> {
        Ok(self.engine.body(&body.0).await?)
    }

    /// Appends a message's bytes to `out`, all of them, their checksum verified, if they are in memory: nothing is waited
    /// for. False, and `out` is as it was, when they are not: see [`Account::body`].
    pub fn append_body(&self, body: &Body, out: &mut Vec<u8>) -> bool {
        self.engine.append_body(&body.0, out)
    }

    /// The summaries of messages, into `summaries`. Cheapest when messages were stored one after the other.
    pub async fn summaries(&self, bodies: impl Iterator<Item = Body>, summaries: &mut Summaries) {
        summaries.bodies.clear();
        summaries.bodies.extend(bodies.map(|body| body.0));
        self.engine.metas(&summaries.bodies, &mut summaries.metas).await;
    }

    /// Some of a message's bytes, for streaming; cut off at the end of the message.
    pub async fn body_range(&self, body: &Body, offset: u32, length: u32) -> Result<Vec<u8>, Error> {
        Ok(self.engine.body_range(&body.0, offset, length).await?)
    }
}
