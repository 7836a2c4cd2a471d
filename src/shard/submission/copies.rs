//! Copies of submitted mail in Sent mailboxes: of what an account sends, and of what others send under its addresses.

use std::rc::Rc;
use std::sync::Arc;

use account::{Content, Flags, SpecialUse};
use base::{AccountId, PartitionId, Timestamp};
use directory::{AccountEntry, Target};

use crate::join::join_all;
use crate::{Shard, Wait};

/// Who wants one, and what of.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    wanted: Vec<Wanted>,
    /// The message as its author knows it.
    pub(super) content: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    account: AccountId,
    partition: PartitionId,
    quota_bytes: Option<u64>,
}

impl Copies {
    /// For the account that sends, if it wants that.
    pub(super) fn add_own(&mut self, entry: &AccountEntry) {
        if entry.sent_copy.is_of_own() {
            let AccountEntry { id, partition, quota_bytes, .. } = *entry;
            self.put(Wanted { account: id, partition, quota_bytes });
        }
    }

    /// For the account whose address it is sent under.
    pub(super) fn add(&mut self, owner: &Target) {
        let Target { account, partition, quota_bytes, .. } = *owner;
        self.put(Wanted { account, partition, quota_bytes });
    }

    fn put(&mut self, wanted: Wanted) {
        if self.wanted.iter().all(|known| known.account != wanted.account) {
            self.wanted.push(wanted);
        }
    }

    pub(super) const fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Stores them all; what can be stored is durable when it returns. The message has been taken by then, so a
    /// mailbox without room is no reason to refuse it: that is logged.
    pub(crate) async fn store(self, shard: &Rc<Shard>, now: Timestamp) {
        if self.wanted.is_empty() {
            return;
        }
        let content = Content { summary: imap::summarize(&self.content), data: Arc::new(self.content) };
        let calls = self.wanted.iter().map(|wanted| file(shard, *wanted, content.clone(), now)).collect();
        for (wanted, stored) in self.wanted.iter().zip(join_all(calls).await) {
            if let Err(error) = stored {
                tracing::warn!(event = "submission.no_copy", account = wanted.account.0, %error);
            }
        }
    }
}

/// Where the account is.
async fn file(
    shard: &Rc<Shard>,
    wanted: Wanted,
    content: Content,
    now: Timestamp,
) -> Result<(), account::Error> {
    let Wanted { account, partition, quota_bytes } = wanted;
    let work = move |there: Rc<Shard>| async move {
        there.account(partition, account, quota_bytes).file(SpecialUse::Sent, content, Flags::SEEN, now).await
    };
    if shard.owns(partition) {
        return work(Rc::clone(shard)).await;
    }
    let _waiting = Wait::OtherShard.mark();
    let owner = shard.router.partition_shard(partition);
    shard.router.on(owner, work).await.unwrap_or(Err(account::Error::Unavailable))
}
