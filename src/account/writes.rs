//! Changes to messages. Each is a transaction (very large ones several, [`ROWS_PER_TRANSACTION_MAX`]
//! messages each), answered when it is durable. What a change needs to know it reads inside its
//! transaction, which sees everything proposed before it.

use base::{ChangeNumber, MailboxId, MessageId, Ranges, Timestamp, Uid, UidValidity, give_way};
use storage_engine::{RowBody, Transaction};

use crate::keywords::KeywordTable;
use crate::limits::ROWS_PER_TRANSACTION_MAX;
use crate::message::{Message, RowData};
use crate::record::{self, AccountRecord, MailboxRecord};
use crate::{Account, Error, FlagChange, FlagMode, Flags, Keywords, NewMessage, Status};

/// Where new messages went (RFC 4315 APPENDUID).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox's incarnation.
    pub uid_validity: UidValidity,
    /// The new UIDs, in the order of the messages given.
    pub uids: Ranges,
    /// The change number of the addition.
    pub change: ChangeNumber,
}

/// What STORE did (RFC 7162 §3.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Stored {
    /// Messages that now have the flags asked for, those included that had them before.
    pub uids: Ranges,
    /// Messages left alone since they had changed after UNCHANGEDSINCE: RFC 7162's MODIFIED.
    pub conflicts: Ranges,
    /// UIDs that name no message (any more).
    pub missing: Ranges,
}

/// What COPY or MOVE did (RFC 4315 COPYUID): pairs in ascending order of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The target's incarnation.
    pub uid_validity: UidValidity,
    /// Source UIDs that were there.
    pub sources: Ranges,
    /// Their UIDs in the target, in the same order.
    pub targets: Ranges,
}

/// A mailbox's and its account's counters while a transaction is built.
pub(crate) struct Counting<'a> {
    pub(crate) transaction: &'a mut Transaction,
    account: AccountRecord,
    status: Status,
    owner: u64,
    mailbox: MailboxId,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(
        account: &Account,
        transaction: &'a mut Transaction,
        mailbox: MailboxId,
    ) -> Result<Self, Error> {
        let value = transaction.value(account.id.0, &record::status_key(mailbox)).ok_or(Error::NotFound)?;
        let status = Status::decode(&value).ok_or(Error::Corrupt)?;
        let record = account.read_account(transaction);
        Ok(Self { transaction, account: record, status, owner: account.id.0, mailbox })
    }

    pub(crate) const fn used_bytes(&self) -> u64 {
        self.account.used_bytes
    }

    pub(crate) fn next_message(&mut self) -> MessageId {
        self.account.next_message += 1;
        MessageId(self.account.next_message)
    }

    pub(crate) fn add(&mut self, size: u32, data: &RowData, body: RowBody) -> Result<Uid, Error> {
        let uid = self.status.uid_next;
        if uid.0 == 0 {
            return Err(Error::LimitReached);
        }
        self.status.uid_next = uid.next().unwrap_or(Uid(0));
        self.count(uid, size, data.flags, 1);
        self.transaction.put_row(self.owner, self.mailbox.0, uid.0, body, data.encode());
        Ok(uid)
    }

    pub(crate) fn remove(&mut self, message: &Message) {
        self.count(message.uid, message.size, message.flags, -1);
        self.transaction.delete_row(self.owner, self.mailbox.0, message.uid.0);
    }

    fn replace(&mut self, message: &Message, flags: Flags, keywords: Keywords) {
        self.count(message.uid, message.size, message.flags, -1);
        self.count(message.uid, message.size, flags, 1);
        let data = RowData { flags, keywords, ..message.row_data() };
        self.transaction.put_row(
            self.owner,
            self.mailbox.0,
            message.uid.0,
            RowBody::Stored(message.body.0),
            data.encode(),
        );
    }

    /// One message more (`by` 1) or less (-1).
    fn count(&mut self, uid: Uid, size: u32, flags: Flags, by: i32) {
        if !flags.has(Flags::SEEN) {
            self.status.count_unseen(uid, by > 0);
        }
        let add = |to: u32, is_counted: bool| to.saturating_add_signed(if is_counted { by } else { 0 });
        self.status.exists = add(self.status.exists, true);
        self.status.unseen = add(self.status.unseen, !flags.has(Flags::SEEN));
        self.status.deleted = add(self.status.deleted, flags.has(Flags::DELETED));
        let bytes = i64::from(size) * i64::from(by);
        self.status.bytes = self.status.bytes.saturating_add_signed(bytes);
        self.account.used_bytes = self.account.used_bytes.saturating_add_signed(bytes);
        self.account.messages = self.account.messages.saturating_add_signed(i64::from(by));
    }

    /// Writes the counters into the transaction; gives the change number of it all.
    pub(crate) fn finish(mut self) -> ChangeNumber {
        let change = ChangeNumber(self.transaction.change(self.owner));
        // The first change of a mailbox must show a number above the 1 it was made with.
        self.status.highest_change = change.max(self.status.highest_change);
        self.transaction.put_value(self.owner, &record::status_key(self.mailbox), &self.status.encode());
        self.transaction.put_value(self.owner, record::ACCOUNT, &self.account.encode());
        change
    }
}

impl Account {
    /// Puts messages at the end of a mailbox, all or none (RFC 3502 MULTIAPPEND).
    pub async fn append(
        &self,
        mailbox: MailboxId,
        messages: Vec<NewMessage>,
        now: Timestamp,
    ) -> Result<Appended, Error> {
        self.append_marked(mailbox, messages, now, None).await
    }

    /// As [`Account::append`], and sets a bookmark (a name and a position) in the same transaction:
    /// an import that is cut short goes on behind the last message that is in, and puts none in twice.
    pub async fn append_marked(
        &self,
        mailbox: MailboxId,
        messages: Vec<NewMessage>,
        now: Timestamp,
        bookmark: Option<(&str, &str)>,
    ) -> Result<Appended, Error> {
        self.settle_keywords(messages.iter().flat_map(|message| &message.keywords)).await?;
        let mut transaction = self.engine.transaction(self.partition.0);
        let uid_validity = self.read_mailbox(&transaction, mailbox)?.uid_validity;
        let mut uids = Ranges::new();
        let mut keywords = Vec::with_capacity(messages.len());
        let mut table = KeywordTable::default();
        for message in &messages {
            // Mail is worth more than its keywords: those without room are dropped.
            keywords.push(table.bits(self, &mut transaction, &message.keywords, FlagMode::Add).0);
        }
        table.write(self, &mut transaction);
        let bytes: u64 = messages.iter().map(|message| message.content.data.len() as u64).sum();
        let mut counting = Counting::new(self, &mut transaction, mailbox)?;
        if self.quota_bytes.is_some_and(|quota| counting.used_bytes().saturating_add(bytes) > quota) {
            return Err(Error::OverQuota);
        }
        for (message, keywords) in messages.into_iter().zip(keywords) {
            let size = u32::try_from(message.content.data.len()).map_err(|_| Error::TooLarge)?;
            let data = RowData {
                flags: message.flags,
                keywords,
                saved_s: u32::try_from(now.as_s()).unwrap_or(0),
                received_s: message.received.as_s(),
                id: counting.next_message(),
            };
            let body = counting.transaction.add_body(message.content.summary, message.content.data);
            uids.insert(counting.add(size, &data, RowBody::New(body))?.0);
        }
        let change = counting.finish();
        if let Some((name, position)) = bookmark {
            transaction.put_value(self.id.0, &record::bookmark_key(name), position.as_bytes());
        }
        transaction.commit().await?;
        Ok(Appended { uid_validity, uids, change })
    }

    /// Changes flags. With `unchanged_since`, messages changed after it are left alone and named.
    /// A message that has the flags already is not changed and keeps its change number.
    pub async fn store(
        &self,
        mailbox: MailboxId,
        uids: &Ranges,
        change: &FlagChange,
        unchanged_since: Option<ChangeNumber>,
    ) -> Result<Stored, Error> {
        let mut stored = Stored::default();
        for (at, chunk) in chunks(uids).enumerate() {
            if at > 0 {
                give_way().await;
            }
            if change.mode != FlagMode::Remove {
                self.settle_keywords(change.keywords.iter()).await?;
            }
            let mut transaction = self.engine.transaction(self.partition.0);
            let mut table = KeywordTable::default();
            let (named, has_room) = table.bits(self, &mut transaction, &change.keywords, change.mode);
            if !has_room {
                return Err(Error::LimitReached);
            }
            table.write(self, &mut transaction);
            let mut counting = Counting::new(self, &mut transaction, mailbox)?;
            let mut is_changed = false;
            for uid in chunk.iter() {
                let Some(row) = counting.transaction.row(self.id.0, mailbox.0, uid) else {
                    stored.missing.insert(uid);
                    continue;
                };
                let message = Message::from_row(&row);
                if unchanged_since.is_some_and(|since| message.change > since) {
                    stored.conflicts.insert(uid);
                    continue;
                }
                stored.uids.insert(uid);
                let (flags, keywords) = change.apply(message.flags, message.keywords, named);
                if (flags, keywords) != (message.flags, message.keywords) {
                    counting.replace(&message, flags, keywords);
                    is_changed = true;
                }
            }
            if is_changed {
                counting.finish();
                transaction.commit().await?;
            } else {
                self.settled().await?;
            }
        }
        Ok(stored)
    }

    /// Removes those of `uids` that have `\Deleted` (RFC 9051 §6.4.3, §6.4.9), or, with `None`,
    /// every such message of the mailbox. Gives the UIDs removed.
    pub async fn expunge(&self, mailbox: MailboxId, uids: Option<&Ranges>) -> Result<Ranges, Error> {
        let mut marked = Ranges::new();
        self.for_each(mailbox, |message| {
            if message.flags.has(Flags::DELETED) && uids.is_none_or(|uids| uids.contains(message.uid.0)) {
                marked.insert(message.uid.0);
            }
        });
        self.remove(mailbox, &marked, Flags::DELETED).await
    }

    /// Removes messages, whatever their flags (POP3 DELE). Gives the UIDs removed.
    pub async fn remove_messages(&self, mailbox: MailboxId, uids: &Ranges) -> Result<Ranges, Error> {
        self.remove(mailbox, uids, Flags::NONE).await
    }

    pub(crate) async fn remove(
        &self,
        mailbox: MailboxId,
        uids: &Ranges,
        with: Flags,
    ) -> Result<Ranges, Error> {
        let mut removed = Ranges::new();
        for (at, chunk) in chunks(uids).enumerate() {
            if at > 0 {
                give_way().await;
            }
            let mut transaction = self.engine.transaction(self.partition.0);
            let mut counting = Counting::new(self, &mut transaction, mailbox)?;
            let before = removed.len();
            for uid in chunk.iter() {
                let row = counting.transaction.row(self.id.0, mailbox.0, uid);
                let message = row.as_ref().map(Message::from_row).filter(|message| message.flags.has(with));
                if let Some(message) = message {
                    counting.remove(&message);
                    removed.insert(uid);
                }
            }
            if removed.len() > before {
                counting.finish();
                transaction.commit().await?;
            } else {
                self.settled().await?;
            }
        }
        Ok(removed)
    }

    /// Copies messages into another mailbox of the account; bodies are shared, not copied
    /// (RFC 9051 §6.4.7). All or none.
    pub async fn copy(
        &self,
        from: MailboxId,
        uids: &Ranges,
        to: MailboxId,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        let copied = self.add_copies(&mut transaction, from, uids, to, now)?;
        if self.quota_bytes.is_some_and(|quota| self.read_account(&transaction).used_bytes > quota) {
            return Err(Error::OverQuota);
        }
        if copied.sources.is_empty() {
            self.settled().await?;
        } else {
            transaction.commit().await?;
        }
        Ok(copied)
    }

    /// Moves messages into another mailbox of the account, each in one step (RFC 6851 §3.3): when it ends in
    /// an error, each is where it was or where it was to go, and the same call moves the rest.
    pub async fn move_messages(
        &self,
        from: MailboxId,
        uids: &Ranges,
        to: MailboxId,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        let before = self.engine.transaction(self.partition.0);
        self.read_mailbox(&before, from)?;
        let uid_validity = self.read_mailbox(&before, to)?.uid_validity;
        let mut moved = Copied { uid_validity, sources: Ranges::new(), targets: Ranges::new() };
        let known = (uids.len() > ROWS_PER_TRANSACTION_MAX).then(|| uids.intersection(&self.uids(from)));
        for (at, piece) in chunks(known.as_ref().unwrap_or(uids)).enumerate() {
            if at > 0 {
                give_way().await;
            }
            let mut transaction = self.engine.transaction(self.partition.0);
            let part = self.add_moves(&mut transaction, from, &piece, to, now)?;
            transaction.commit().await?;
            moved.sources.extend_from(&part.sources);
            moved.targets.extend_from(&part.targets);
        }
        if moved.sources.is_empty() {
            self.settled().await?;
        }
        Ok(moved)
    }

    /// Puts the moving of `uids` into a transaction. At most [`ROWS_PER_TRANSACTION_MAX`] of them.
    pub(crate) fn add_moves(
        &self,
        transaction: &mut Transaction,
        from: MailboxId,
        uids: &Ranges,
        to: MailboxId,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        let copied = self.add_copies(transaction, from, uids, to, now)?;
        if copied.sources.is_empty() {
            return Ok(copied);
        }
        let mut counting = Counting::new(self, transaction, from)?;
        for uid in copied.sources.iter() {
            if let Some(row) = counting.transaction.row(self.id.0, from.0, uid) {
                counting.remove(&Message::from_row(&row));
            }
        }
        counting.finish();
        Ok(copied)
    }

    /// For an answer that says "it is so already": waits until all that was proposed for the partition is durable.
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        self.engine.transaction(self.partition.0).commit().await?;
        Ok(())
    }

    fn add_copies(
        &self,
        transaction: &mut Transaction,
        from: MailboxId,
        uids: &Ranges,
        to: MailboxId,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        let uid_validity = self.read_mailbox(transaction, to)?.uid_validity;
        self.read_mailbox(transaction, from)?;
        let mut copied = Copied { uid_validity, sources: Ranges::new(), targets: Ranges::new() };
        let mut counting = Counting::new(self, transaction, to)?;
        // Sets that are too large to be looked up one by one are first cut down to what is there.
        let known = (uids.len() > ROWS_PER_TRANSACTION_MAX).then(|| uids.intersection(&self.uids(from)));
        for uid in known.as_ref().unwrap_or(uids).iter() {
            let Some(row) = counting.transaction.row(self.id.0, from.0, uid) else { continue };
            let message = Message::from_row(&row);
            let data = RowData { saved_s: u32::try_from(now.as_s()).unwrap_or(0), ..message.row_data() };
            let target = counting.add(message.size, &data, RowBody::Stored(message.body.0))?;
            copied.sources.insert(uid);
            copied.targets.insert(target.0);
        }
        if !copied.sources.is_empty() {
            counting.finish();
        }
        Ok(copied)
    }

    pub(crate) fn read_mailbox(
        &self,
        transaction: &Transaction,
        id: MailboxId,
    ) -> Result<MailboxRecord, Error> {
        let value = transaction.value(self.id.0, &record::mailbox_key(id)).ok_or(Error::NotFound)?;
        MailboxRecord::decode(&value).ok_or(Error::Corrupt)
    }
}

/// A set in pieces of at most [`ROWS_PER_TRANSACTION_MAX`] numbers.
pub(crate) fn chunks(uids: &Ranges) -> impl Iterator<Item = Ranges> + use<> {
    let mut pieces = vec![];
    let mut piece = Ranges::new();
    let mut room = ROWS_PER_TRANSACTION_MAX as u64;
    for (mut first, last) in uids.ranges() {
        loop {
            let end = (u64::from(first) + room - 1).min(u64::from(last)) as u32;
            piece.insert_range(first, end);
            room -= u64::from(end - first) + 1;
            if room == 0 {
                pieces.push(core::mem::take(&mut piece));
                room = ROWS_PER_TRANSACTION_MAX as u64;
            }
            match end.checked_add(1) {
                Some(next) if end < last => first = next,
                _ => break,
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_set_is_cut_into_pieces_that_add_up() {
        let mut set = Ranges::new();
        set.insert_range(5, 10_004);
        set.insert(400_000);
        let pieces: Vec<Ranges> = chunks(&set).collect();
        assert_eq!(pieces.iter().map(Ranges::len).collect::<Vec<_>>(), [4_096, 4_096, 1_809]);
        assert_eq!(pieces.first().and_then(Ranges::last), Some(4_100));
        assert_eq!(pieces.last().map(ToString::to_string).as_deref(), Some("8197:10004,400000"));
    }
}
