//! Changes to mailboxes themselves. Each is one transaction (several where very many messages have to go),
//! answered when it is durable.

use std::collections::HashSet;

use base::{MailboxId, Ranges, Timestamp, Uid, UidValidity, give_way};
use storage_engine::Transaction;

use crate::limits::{MAILBOXES_MAX, ROWS_PER_TRANSACTION_MAX, SUBSCRIPTIONS_MAX};
use crate::message::Message;
use crate::record::{self, AccountRecord, MailboxRecord};
use crate::writes::{Counting, chunks};
use crate::{Account, Error, Flags, Mailbox, MailboxName, SpecialUse, Status};

impl Account {
    /// Gives an account INBOX and the usual special mailboxes, subscribed, when it has no INBOX. Cheap when it
    /// has one: call it wherever an account is met, for its entry in the directory is made before.
    pub async fn provision(&self, now: Timestamp) -> Result<(), Error> {
        if self.is_provisioned() {
            return Ok(());
        }
        let mut transaction = self.engine.transaction(self.partition.0);
        self.provide_inbox(&mut transaction, now)?;
        // With nothing to write it waits for whoever is giving them just now.
        transaction.commit().await?;
        Ok(())
    }

    /// INBOX, as it will be when everything proposed before is applied; given first when it is missing.
    pub(crate) fn provide_inbox(
        &self,
        transaction: &mut Transaction,
        now: Timestamp,
    ) -> Result<MailboxId, Error> {
        let first = self.read_mailbox(transaction, record::FIRST_MAILBOX);
        if first.is_ok_and(|record| record.name.is_inbox()) {
            return Ok(record::FIRST_MAILBOX);
        }
        let inbox = MailboxName::inbox();
        if let Some((id, _)) = self.find(transaction, &inbox) {
            return Ok(id);
        }
        let mut names = self.names(transaction);
        transaction.put_value(self.id.0, &record::subscription_key(&inbox), &[]);
        let id = self.add_mailbox(transaction, &mut names, (inbox, None), now)?;
        for (use_, name) in SpecialUse::PROVISIONED {
            let name = MailboxName::new(name).map_err(Error::InvalidName)?;
            if !names.contains(&name) {
                transaction.put_value(self.id.0, &record::subscription_key(&name), &[]);
                self.add_mailbox(transaction, &mut names, (name, Some(use_)), now)?;
            }
        }
        Ok(id)
    }

    /// Makes a mailbox, and those above it that are missing (RFC 9051 §6.3.4).
    pub async fn create_mailbox(
        &self,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
        now: Timestamp,
    ) -> Result<Mailbox, Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        let mut names = self.names(&transaction);
        if names.contains(name) {
            return Err(Error::Exists);
        }
        self.add_parents(&mut transaction, &mut names, name, now)?;
        let id = self.add_mailbox(&mut transaction, &mut names, (name.clone(), special_use), now)?;
        transaction.commit().await?;
        self.mailbox_by_id(id)
    }

    /// Removes a mailbox and its messages; those below it stay (RFC 9051 §6.3.5). INBOX stays. A very large
    /// one loses its messages in several transactions first: cut short, it is there with fewer of them, and
    /// the same call removes the rest.
    pub async fn delete_mailbox(&self, name: &MailboxName) -> Result<(), Error> {
        if name.is_inbox() {
            return Err(Error::Denied);
        }
        loop {
            let mut transaction = self.engine.transaction(self.partition.0);
            let (id, _) = self.find(&transaction, name).ok_or(Error::NotFound)?;
            let uids = self.proposed_uids(&transaction, id);
            if uids.len() > ROWS_PER_TRANSACTION_MAX {
                self.remove(id, &uids, Flags::NONE).await?;
                continue;
            }
            let mut counting = Counting::new(self, &mut transaction, id)?;
            for uid in uids.iter() {
                if let Some(row) = counting.transaction.row(self.id.0, id.0, uid) {
                    counting.remove(&Message::from_row(&row));
                }
            }
            counting.finish();
            transaction.delete_value(self.id.0, &record::mailbox_key(id));
            transaction.delete_value(self.id.0, &record::status_key(id));
            self.drop_access_key(&mut transaction, id);
            transaction.commit().await?;
            return Ok(());
        }
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
        let is_meant = |name: &MailboxName| name == from || name.is_below(from);
        let (meant, others): (Vec<_>, Vec<_>) =
            self.records(&transaction).into_iter().partition(|(_, record)| is_meant(&record.name));
        if meant.is_empty() {
            return Err(Error::NotFound);
        }
        if to.is_below(from) {
            return Err(Error::Denied);
        }
        if to == from {
            return Err(Error::Exists);
        }
        let mut names: HashSet<MailboxName> = others.into_iter().map(|(_, record)| record.name).collect();
        self.add_parents(&mut transaction, &mut names, to, now)?;
        let mut subscribed = Vec::new();
        for (id, record) in meant {
            let Some(name) = record.name.rebased(from, to) else { continue };
            let name = name.map_err(Error::InvalidName)?;
            if names.contains(&name) {
                return Err(Error::Exists);
            }
            // A subscription goes with its mailbox.
            let key = record::subscription_key(&record.name);
            if transaction.value(self.id.0, &key).is_some() {
                transaction.delete_value(self.id.0, &key);
                subscribed.push(record::subscription_key(&name));
            }
            let record = MailboxRecord { name, ..record };
            transaction.put_value(self.id.0, &record::mailbox_key(id), &record.encode());
        }
        // Only now: a new name may be the old one of another.
        for key in subscribed {
            transaction.put_value(self.id.0, &key, &[]);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// In one transaction, or in several when INBOX is very large. The mailbox that such a renaming has made is
    /// remembered until all messages are in it, so that the same request goes on where it was cut short.
    async fn rename_inbox(&self, to: &MailboxName, now: Timestamp) -> Result<(), Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        let inbox = self.provide_inbox(&mut transaction, now)?;
        let begun = transaction.value(self.id.0, record::INBOX_RENAME);
        let begun = begun.and_then(|bytes| record::decode_mailbox(&bytes));
        let target = match self.find(&transaction, to) {
            Some((id, _)) if begun == Some(id) => id,
            Some(_) => return Err(Error::Exists),
            None => {
                let mut names = self.names(&transaction);
                self.add_parents(&mut transaction, &mut names, to, now)?;
                self.add_mailbox(&mut transaction, &mut names, (to.clone(), None), now)?
            }
        };
        let mut pieces = chunks(&self.proposed_uids(&transaction, inbox)).peekable();
        loop {
            let piece = pieces.next().unwrap_or_default();
            self.add_moves(&mut transaction, inbox, &piece, target, now)?;
            if pieces.peek().is_none() {
                transaction.delete_value(self.id.0, record::INBOX_RENAME);
                transaction.commit().await?;
                return Ok(());
            }
            transaction.put_value(self.id.0, record::INBOX_RENAME, &record::encode_mailbox(target));
            transaction.commit().await?;
            give_way().await;
            transaction = self.engine.transaction(self.partition.0);
        }
    }

    /// Subscribes a name or takes that back (RFC 9051 §6.3.7, §6.3.8).
    pub async fn subscribe(&self, name: &MailboxName, is_subscribed: bool) -> Result<(), Error> {
        let key = record::subscription_key(name);
        let mut transaction = self.engine.transaction(self.partition.0);
        if transaction.value(self.id.0, &key).is_some() == is_subscribed {
            return self.settled().await;
        }
        if is_subscribed {
            if self.values(record::SUBSCRIPTIONS).len() >= SUBSCRIPTIONS_MAX {
                return Err(Error::LimitReached);
            }
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

    /// All mailbox records as they will be when everything proposed before is applied. Mailbox ids are given in
    /// order, so those in the making lie between the applied account's last and the proposed one's.
    pub(crate) fn records(&self, transaction: &Transaction) -> Vec<(MailboxId, MailboxRecord)> {
        let known = self.values(record::MAILBOXES);
        let known = known.iter().filter_map(|(key, _)| record::mailbox_of_key(key));
        let fresh = self.account_record().next_mailbox + 1..=self.read_account(transaction).next_mailbox;
        known
            .chain(fresh.map(MailboxId))
            .filter_map(|id| {
                let value = transaction.value(self.id.0, &record::mailbox_key(id))?;
                Some((id, MailboxRecord::decode(&value)?))
            })
            .collect()
    }

    fn names(&self, transaction: &Transaction) -> HashSet<MailboxName> {
        self.records(transaction).into_iter().map(|(_, record)| record.name).collect()
    }

    pub(crate) fn find(
        &self,
        transaction: &Transaction,
        name: &MailboxName,
    ) -> Option<(MailboxId, MailboxRecord)> {
        self.records(transaction).into_iter().find(|(_, record)| record.name == *name)
    }

    /// UIDs of a mailbox, those of messages included that are proposed and not applied: UIDs are given in
    /// order, so these lie between the applied UIDNEXT and the proposed one. Some may name no message.
    fn proposed_uids(&self, transaction: &Transaction, id: MailboxId) -> Ranges {
        let key = record::status_key(id);
        let next = |value: Option<Vec<u8>>| {
            value.and_then(|bytes| Status::decode(&bytes)).map_or(Uid(1), |status| status.uid_next).0
        };
        let (applied, proposed) = (next(self.value(&key)), next(transaction.value(self.id.0, &key)));
        let mut uids = self.uids(id);
        // UIDNEXT is 0 when all UIDs are used up, and one less is then the last of them.
        let last = proposed.wrapping_sub(1);
        if applied != proposed && (1..=last).contains(&applied) {
            uids.insert_range(applied, last);
        }
        uids
    }

    fn add_parents(
        &self,
        transaction: &mut Transaction,
        names: &mut HashSet<MailboxName>,
        name: &MailboxName,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(parent) = name.parent().filter(|parent| !names.contains(parent)) else { return Ok(()) };
        self.add_parents(transaction, names, &parent, now)?;
        self.add_mailbox(transaction, names, (parent, None), now).map(|_| ())
    }

    /// Adds a mailbox, and its name to `names`, which are all of the account's.
    pub(crate) fn add_mailbox(
        &self,
        transaction: &mut Transaction,
        names: &mut HashSet<MailboxName>,
        (name, special_use): (MailboxName, Option<SpecialUse>),
        now: Timestamp,
    ) -> Result<MailboxId, Error> {
        let mut account = self.read_account(transaction);
        if names.len() >= MAILBOXES_MAX {
            return Err(Error::LimitReached);
        }
        names.insert(name.clone());
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
