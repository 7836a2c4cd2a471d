//! The handle, and what can be asked of an account as a whole.

use base::{AccountId, ChangeNumber, MailboxId, PartitionId};
use storage_engine::Engine;

use crate::record::{self, AccountRecord, MailboxRecord};
use crate::{Error, Mailbox, MailboxName, Status};

/// One account, on the shard that owns its partition. Cheap to clone; holds nothing but the way to
/// its data.
#[derive(Clone)]
pub struct Account {
    pub(crate) engine: Engine,
    pub(crate) partition: PartitionId,
    pub(crate) id: AccountId,
    pub(crate) quota_bytes: Option<u64>,
}

impl core::fmt::Debug for Account {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Account({}, partition {})", self.id, self.partition)
    }
}

/// How much an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all messages, each copy counted.
    pub bytes: u64,
    /// Messages, each copy counted.
    pub messages: u64,
    /// The most it may hold, if bounded.
    pub quota_bytes: Option<u64>,
}

impl Account {
    /// The account `id` in a partition that this shard's `engine` owns. It need not hold anything
    /// yet: see [`Account::provision`].
    pub const fn new(
        engine: Engine,
        partition: PartitionId,
        id: AccountId,
        quota_bytes: Option<u64>,
    ) -> Self {
        Self { engine, partition, id, quota_bytes }
    }

    /// Which account this is.
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// The number of the account's last durable change.
    pub fn highest_change(&self) -> ChangeNumber {
        ChangeNumber(self.engine.highest_change(self.partition.0, self.id.0))
    }

    /// Resolves when the account's change number has moved beyond `after`: the one thing every
    /// kind of push waits for.
    pub async fn changed(&self, after: ChangeNumber) -> ChangeNumber {
        ChangeNumber(self.engine.changed(self.partition.0, self.id.0, after.0).await)
    }

    /// All mailboxes, sorted by name, INBOX first.
    pub fn mailboxes(&self) -> Vec<Mailbox> {
        let records = self.values(record::MAILBOXES);
        let mut all: Vec<Mailbox> = records
            .iter()
            .filter_map(|(key, value)| {
                Some(self.with_status(record::mailbox_of_key(key)?, MailboxRecord::decode(value)?))
            })
            .collect();
        all.sort_by(|a, b| (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name)));
        all
    }

    /// The mailbox of that name.
    pub fn mailbox(&self, name: &MailboxName) -> Result<Mailbox, Error> {
        if name.is_inbox()
            && let Ok(first) = self.mailbox_by_id(record::FIRST_MAILBOX)
            && first.name.is_inbox()
        {
            return Ok(first);
        }
        let records = self.values(record::MAILBOXES);
        let found = records.iter().find_map(|(key, value)| {
            let record = MailboxRecord::decode(value).filter(|record| record.name == *name)?;
            Some((record::mailbox_of_key(key)?, record))
        });
        found.map(|(id, record)| self.with_status(id, record)).ok_or(Error::NotFound)
    }

    /// The mailbox with that id.
    pub fn mailbox_by_id(&self, id: MailboxId) -> Result<Mailbox, Error> {
        let value = self.value(&record::mailbox_key(id)).ok_or(Error::NotFound)?;
        Ok(self.with_status(id, MailboxRecord::decode(&value).ok_or(Error::Corrupt)?))
    }

    /// A mailbox's counters alone.
    pub fn status(&self, id: MailboxId) -> Result<Status, Error> {
        let value = self.value(&record::status_key(id)).ok_or(Error::NotFound)?;
        Status::decode(&value).ok_or(Error::Corrupt)
    }

    /// Names that are subscribed, sorted; they may name no mailbox (RFC 9051 §6.3.7).
    pub fn subscriptions(&self) -> Vec<MailboxName> {
        let entries = self.values(record::SUBSCRIPTIONS);
        let names = entries.iter().filter_map(|(key, _)| core::str::from_utf8(key.get(1..)?).ok());
        names.filter_map(|name| MailboxName::new(name).ok()).collect()
    }

    /// The account's keyword names; a message's bit `i` means the name at `i`.
    pub fn keywords(&self) -> Vec<String> {
        self.value(record::KEYWORDS).map(|bytes| record::decode_keywords(&bytes)).unwrap_or_default()
    }

    /// How much the account holds and may hold (RFC 9208).
    pub fn usage(&self) -> Usage {
        let record = self.account_record();
        Usage { bytes: record.used_bytes, messages: record.messages, quota_bytes: self.quota_bytes }
    }

    /// Whether a message of `bytes` more would fit the quota.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.quota_bytes.is_none_or(|quota| self.account_record().used_bytes.saturating_add(bytes) <= quota)
    }

    /// The position an import under this name has reached, if there was one.
    pub fn bookmark(&self, name: &str) -> Option<String> {
        self.value(&record::bookmark_key(name)).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// Whether the account has its INBOX, and so whatever [`Account::provision`] gives.
    pub fn is_provisioned(&self) -> bool {
        self.mailbox(&MailboxName::inbox()).is_ok()
    }

    pub(crate) fn account_record(&self) -> AccountRecord {
        self.value(record::ACCOUNT).and_then(|bytes| AccountRecord::decode(&bytes)).unwrap_or_default()
    }

    pub(crate) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.engine.value(self.partition.0, self.id.0, key)
    }

    pub(crate) fn values(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.engine.values(self.partition.0, self.id.0, prefix, None, usize::MAX)
    }

    fn with_status(&self, id: MailboxId, record: MailboxRecord) -> Mailbox {
        Mailbox {
            id,
            name: record.name,
            uid_validity: record.uid_validity,
            special_use: record.special_use,
            status: self.status(id).unwrap_or(Status::NEW),
        }
    }
}
