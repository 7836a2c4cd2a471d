//! The keys behind URLs that give others access to messages: one a mailbox (RFC 4467 §2.2), made when it is first
//! needed. A key is its mailbox's, whatever that is called, and goes with it.

use base::{MailboxId, Secret};

use crate::record;
use crate::{Account, Error};

impl Account {
    /// The key of a mailbox, if it has one.
    pub fn access_key(&self, mailbox: MailboxId) -> Option<Secret<[u8; 32]>> {
        self.value(&record::access_key(mailbox)).and_then(|bytes| record::decode_access_key(&bytes))
    }

    /// The key of a mailbox, durable; `fresh` becomes it when there is none.
    pub async fn provide_access_key(
        &self,
        mailbox: MailboxId,
        fresh: Secret<[u8; 32]>,
    ) -> Result<Secret<[u8; 32]>, Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        self.read_mailbox(&transaction, mailbox)?;
        let name = record::access_key(mailbox);
        let known = transaction.value(self.id.0, &name).and_then(|bytes| record::decode_access_key(&bytes));
        let key = if let Some(key) = known {
            key
        } else {
            transaction.put_value(self.id.0, &name, &record::encode_access_key(&fresh));
            fresh
        };
        // With nothing to write it waits for whoever is giving it just now.
        transaction.commit().await?;
        Ok(key)
    }

    /// Gives a mailbox another key: no URL made with the old one holds any more.
    pub async fn reset_access_key(&self, mailbox: MailboxId, fresh: Secret<[u8; 32]>) -> Result<(), Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        self.read_mailbox(&transaction, mailbox)?;
        let value = record::encode_access_key(&fresh);
        transaction.put_value(self.id.0, &record::access_key(mailbox), &value);
        transaction.commit().await?;
        Ok(())
    }

    /// Removes the keys of all mailboxes.
    pub async fn remove_access_keys(&self) -> Result<(), Error> {
        let mut transaction = self.engine.transaction(self.partition.0);
        for (mailbox, _) in self.records(&transaction) {
            self.drop_access_key(&mut transaction, mailbox);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// In a transaction: a mailbox goes, or its key alone.
    pub(crate) fn drop_access_key(&self, transaction: &mut storage_engine::Transaction, mailbox: MailboxId) {
        let name = record::access_key(mailbox);
        if transaction.value(self.id.0, &name).is_some() {
            transaction.delete_value(self.id.0, &name);
        }
    }
}
