//! Changes to mailboxes themselves. Each is one transaction, answered when it is durable.

use base::{MailboxId, Timestamp, UidValidity};
use storage_engine::Transaction;

use crate::limits::MAILBOXES_MAX;
use crate::record::{self, AccountRecord, MailboxRecord};
use crate::{Account, Error, Mailbox, MailboxName, SpecialUse, Status};

impl Account {
    /// Gives a new account INBOX and the usual special mailboxes, subscribed. Does nothing when
    /// the account has mailboxes already.
    pub async fn provision(&self, now: Timestamp) -> Result<(), Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        if self.read_account(&transaction).next_mailbox != 0 {
            return Ok(());
        }
        self.add_mailbox(&mut transaction, MailboxName::inbox(), None, now)?;
        for (use_, name) in SpecialUse::PROVISIONED {
            let name = MailboxName::new(name).map_err(Error::InvalidName)?;
            transaction.put_value(self.id.0, &record::subscription_key(&name), &[]);
            self.add_mailbox(&mut transaction, name, Some(use_), now)?;
        }
        transaction.put_value(self.id.0, &record::subscription_key(&MailboxName::inbox()), &[]);
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a mailbox, and those above it that are missing (RFC 9051 §6.3.4).
    pub async fn create_mailbox(
        &self,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
        now: Timestamp,
    ) -> Result<Mailbox, Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        if self.find(&transaction, name).is_some() {
            return Err(Error::Exists);
        }
        self.add_parents(&mut transaction, name, now)?;
        let id = self.add_mailbox(&mut transaction, name.clone(), special_use, now)?;
        transaction.commit().await?;
        self.mailbox_by_id(id)
    }

    /// Removes a mailbox and its messages; those below it stay (RFC 9051 §6.3.5). INBOX stays.
    pub async fn delete_mailbox(&self, name: &MailboxName) -> Result<(), Error> {
        if name.is_inbox() {
            return Err(Error::Denied);
        }
        let mut transaction = self.engine.transaction(self.partition.0);
        let (id, _) = self.find(&transaction, name).ok_or(Error::NotFound)?;
        let mut account = self.read_account(&transaction);
        let uids = self.uids(id);
        for uid in uids.iter() {
            if let Some(row) = transaction.row(self.id.0, id.0, uid) {
                account.used_bytes = account.used_bytes.saturating_sub(u64::from(row.body.length));
                account.messages = account.messages.saturating_sub(1);
                transaction.delete_row(self.id.0, id.0, uid);
            }
        }
        transaction.delete_value(self.id.0, &record::mailbox_key(id));
        transaction.delete_value(self.id.0, &record::status_key(id));
        transaction.put_value(self.id.0, record::ACCOUNT, &account.encode());
        transaction.commit().await?;
        Ok(())
    }

    /// Renames a mailbox and all below it (RFC 9051 §6.3.6). Renaming INBOX moves its messages
    /// into a new mailbox and leaves INBOX empty.
    pub async fn rename_mailbox(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        now: Timestamp,
    ) -> Result<(), Error> {
        if from.is_inbox() {
            return self.rename_inbox(to, now).await;
        }
        let mut transaction = self.engine.transaction(self.partition.0);
        let all = self.records(&transaction);
        if !all.iter().any(|(_, record)| record.name == *from || record.name.is_below(from)) {
            return Err(Error::NotFound);
        }
        if to.is_below(from) {
            return Err(Error::Denied);
        }
        self.add_parents(&mut transaction, to, now)?;
        for (id, record) in all {
            let Some(name) = record.name.rebased(from, to) else { continue };
            let name = name.map_err(Error::InvalidName)?;
            if self.find(&transaction, &name).is_some() {
                return Err(Error::Exists);
            }
            let record = MailboxRecord { name, ..record };
            transaction.put_value(self.id.0, &record::mailbox_key(id), &record.encode());
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn rename_inbox(&self, to: &MailboxName, now: Timestamp) -> Result<(), Error> {
        let inbox = self.mailbox(&MailboxName::inbox())?;
        let target = self.create_mailbox(to, None, now).await?;
        self.move_messages(inbox.id, &self.uids(inbox.id), target.id, now).await?;
        Ok(())
    }

    /// Subscribes a name or takes that back (RFC 9051 §6.3.7, §6.3.8).
    pub async fn subscribe(&self, name: &MailboxName, is_subscribed: bool) -> Result<(), Error> {
        let key = record::subscription_key(name);
        let mut transaction = self.engine.transaction(self.partition.0);
        if transaction.value(self.id.0, &key).is_some() == is_subscribed {
            return Ok(());
        }
        if is_subscribed {
            transaction.put_value(self.id.0, &key, &[]);
        } else {
            transaction.delete_value(self.id.0, &key);
        }
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) fn read_account(&self, transaction: &Transaction) -> AccountRecord {
        let value = transaction.value(self.id.0, record::ACCOUNT);
        value.and_then(|bytes| AccountRecord::decode(&bytes)).unwrap_or_default()
    }

    /// All mailbox records as they will be when everything proposed before is applied. Mailbox ids
    /// are given in order, so those of mailboxes in the making are below `next_mailbox` too.
    fn records(&self, transaction: &Transaction) -> Vec<(MailboxId, MailboxRecord)> {
        let known = self.values(record::MAILBOXES);
        let newest =
            known.iter().filter_map(|(key, _)| record::mailbox_of_key(key)).map(|id| id.0).max().unwrap_or(0);
        let fresh = newest + 1..=self.read_account(transaction).next_mailbox;
        let ids = known.iter().filter_map(|(key, _)| record::mailbox_of_key(key)).chain(fresh.map(MailboxId));
        ids.filter_map(|id| {
            let value = transaction.value(self.id.0, &record::mailbox_key(id))?;
            Some((id, MailboxRecord::decode(&value)?))
        })
        .collect()
    }

    fn find(&self, transaction: &Transaction, name: &MailboxName) -> Option<(MailboxId, MailboxRecord)> {
        self.records(transaction).into_iter().find(|(_, record)| record.name == *name)
    }

    fn add_parents(
        &self,
        transaction: &mut Transaction,
        name: &MailboxName,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(parent) = name.parent() else { return Ok(()) };
        if self.find(transaction, &parent).is_some() {
            return Ok(());
        }
        self.add_parents(transaction, &parent, now)?;
        self.add_mailbox(transaction, parent, None, now).map(|_| ())
    }

    fn add_mailbox(
        &self,
        transaction: &mut Transaction,
        name: MailboxName,
        special_use: Option<SpecialUse>,
        now: Timestamp,
    ) -> Result<MailboxId, Error> {
        let mut account = self.read_account(transaction);
        if self.records(transaction).len() >= MAILBOXES_MAX {
            return Err(Error::LimitReached);
        }
        account.next_mailbox += 1;
        // Ascending within the account and following the clock: a mailbox made again under an old
        // name gets a UIDVALIDITY that no client has seen (RFC 9051 §2.3.1.1).
        let clock = u32::try_from(now.as_s()).unwrap_or(u32::MAX).max(1);
        account.last_uid_validity = clock.max(account.last_uid_validity.saturating_add(1));
        let id = MailboxId(account.next_mailbox);
        let record =
            MailboxRecord { uid_validity: UidValidity(account.last_uid_validity), special_use, name };
        transaction.put_value(self.id.0, record::ACCOUNT, &account.encode());
        transaction.put_value(self.id.0, &record::mailbox_key(id), &record.encode());
        transaction.put_value(self.id.0, &record::status_key(id), &Status::NEW.encode());
        Ok(id)
    }
}
