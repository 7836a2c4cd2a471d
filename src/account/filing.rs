//! Filing: a message into the mailbox that is there for its kind (RFC 6154 §2), wherever the user keeps it.

use base::{MailboxId, Timestamp};
use storage_engine::{RowBody, Transaction};

use crate::message::RowData;
use crate::record;
use crate::writes::Counting;
use crate::{Account, Content, Error, Flags, Keywords, MailboxName, SpecialUse};

impl Account {
    /// Puts a message into the mailbox of a use; durable when it returns. Without one it goes into the mailbox with
    /// the name that such a mailbox usually has, which is made if it is missing.
    pub async fn file(
        &self,
        special_use: SpecialUse,
        content: Content,
        flags: Flags,
        now: Timestamp,
    ) -> Result<(), Error> {
        let size = u32::try_from(content.data.len()).map_err(|_| Error::TooLarge)?;
        let mut transaction = self.engine.transaction(self.partition.0);
        self.provide_inbox(&mut transaction, now)?;
        let mailbox = self.provide_use(&mut transaction, special_use, now)?;
        let body = transaction.add_body(content.summary, content.data);
        let mut counting = Counting::new(self, &mut transaction, mailbox)?;
        let after = counting.used_bytes().saturating_add(u64::from(size));
        if self.quota_bytes.is_some_and(|quota| after > quota) {
            return Err(Error::OverQuota);
        }
        let data = RowData {
            flags,
            keywords: Keywords::NONE,
            saved_s: u32::try_from(now.as_s()).unwrap_or(0),
            received_s: now.as_s(),
            id: counting.next_message(),
        };
        counting.add(size, &data, RowBody::New(body))?;
        counting.finish();
        transaction.commit().await?;
        Ok(())
    }

    fn provide_use(
        &self,
        transaction: &mut Transaction,
        special_use: SpecialUse,
        now: Timestamp,
    ) -> Result<MailboxId, Error> {
        let records = self.records(transaction);
        if let Some((id, _)) = records.iter().find(|(_, record)| record.special_use == Some(special_use)) {
            return Ok(*id);
        }
        let usual = SpecialUse::PROVISIONED.iter().find(|(use_, _)| *use_ == special_use);
        let (_, name) = usual.ok_or(Error::NotFound)?;
        let name = MailboxName::new(name).map_err(Error::InvalidName)?;
        if let Some((id, _)) = records.iter().find(|(_, record)| record.name == name) {
            return Ok(*id);
        }
        let mut names = records.into_iter().map(|(_, record)| record.name).collect();
        transaction.put_value(self.id.0, &record::subscription_key(&name), &[]);
        self.add_mailbox(transaction, &mut names, (name, Some(special_use)), now)
    }
}
