//! Delivery: one message into the INBOX of any number of accounts of one partition, as one
//! transaction with one copy of the bytes.

use base::{AccountId, MailboxId, PartitionId, Timestamp, Uid};
use storage_engine::{Engine, RowBody};

use crate::message::RowData;
use crate::writes::Counting;
use crate::{Account, Content, Error, Flags, Keywords, MailboxName};

/// Who gets it.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The account.
    pub account: AccountId,
    /// Its quota, if bounded.
    pub quota_bytes: Option<u64>,
    /// Which mailbox; `None` is INBOX, and so is a mailbox that is not there.
    pub mailbox: Option<MailboxName>,
}

/// Where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The mailbox it is in.
    pub mailbox: MailboxId,
    /// Its UID there.
    pub uid: Uid,
}

/// Stores `content` for all `recipients`, whose partition `engine` owns. Answers for each, in their
/// order, when it is durable. Those over quota do not keep the others from getting theirs. An account
/// that has no INBOX yet is given one: its entry in the directory is made first, and mail may come in between.
pub async fn deliver(
    engine: &Engine,
    partition: PartitionId,
    recipients: &[Recipient],
    content: Content,
    now: Timestamp,
) -> Vec<Result<Delivered, Error>> {
    let Ok(size) = u32::try_from(content.data.len()) else {
        return recipients.iter().map(|_| Err(Error::TooLarge)).collect();
    };
    let mut transaction = engine.transaction(partition.0);
    let body = transaction.add_body(content.summary, content.data);
    let mut outcomes = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let account = Account::new(engine.clone(), partition, recipient.account, recipient.quota_bytes);
        // Looked up in the transaction: what is being deleted is not there, what is being made is.
        let named = recipient.mailbox.as_ref().and_then(|name| account.find(&transaction, name));
        let target = match named {
            Some((mailbox, _)) => Ok(mailbox),
            None => account.provide_inbox(&mut transaction, now),
        };
        let outcome = target.and_then(|mailbox| {
            let mut counting = Counting::new(&account, &mut transaction, mailbox)?;
            let after = counting.used_bytes().saturating_add(u64::from(size));
            if recipient.quota_bytes.is_some_and(|quota| after > quota) {
                return Err(Error::OverQuota);
            }
            let data = RowData {
                flags: Flags::NONE,
                keywords: Keywords::NONE,
                saved_s: u32::try_from(now.as_s()).unwrap_or(0),
                received_s: now.as_s(),
                id: counting.next_message(),
            };
            let uid = counting.add(size, &data, RowBody::New(body))?;
            counting.finish();
            Ok(Delivered { mailbox, uid })
        });
        outcomes.push(outcome);
    }
    if outcomes.iter().all(Result::is_err) {
        return outcomes;
    }
    match transaction.commit().await {
        Ok(_) => outcomes,
        Err(error) => outcomes.into_iter().map(|outcome| outcome.and(Err(error.clone().into()))).collect(),
    }
}
