//! Accounts: list, create, change, delete.

use base::{AccountId, PartitionId};
use storage_engine::Transaction;

use crate::directory::{ACCOUNT, commit, in_transaction, update_domain};
use crate::limits::DISPLAY_NAME_BYTES_MAX;
use crate::record::{self, ACCOUNTS, AccountRecord};
use crate::{AccountEntry, Directory, EmailAddress, Error, NewAccount, SentCopy};

impl Directory {
    /// Up to `limit` accounts in order of domain and name, those after `after`.
    pub fn accounts(&self, after: Option<&EmailAddress>, limit: usize) -> Vec<AccountEntry> {
        let after = after.map(|address| record::address_key(ACCOUNTS, address));
        let found = self.values(ACCOUNTS, after.as_deref(), limit);
        let ids = found.into_iter().map(|(_, value)| AccountId(record::decode(&value)));
        ids.filter_map(|id| self.account_by_id(id)).collect()
    }

    /// Makes an account: allots its id, and a partition so that all of them hold about as many.
    pub async fn create_account(&self, new: NewAccount) -> Result<AccountEntry, Error> {
        check_display_name(&new.display_name)?;
        let mut change = self.transaction();
        let id = allot_id(&mut change);
        let entry = AccountEntry {
            id,
            partition: self.place(&change, id),
            address: new.address,
            display_name: new.display_name,
            credential: new.credential,
            quota_bytes: new.quota_bytes,
            forward: None,
            sent_copy: SentCopy::default(),
            enabled: true,
            created: new.created,
        };
        take_address(&mut change, &entry)?;
        count_in_partition(&mut change, entry.partition, 1);
        put_account(&mut change, &entry);
        commit(change).await?;
        Ok(entry)
    }

    /// Changes an account as `update` says; it sees the account as it is by then. The id and the
    /// moment of creation stay whatever it does. A new partition is only written down: whoever
    /// moves the data calls this when it is there.
    pub async fn update_account(
        &self,
        id: AccountId,
        update: impl FnOnce(&mut AccountEntry),
    ) -> Result<AccountEntry, Error> {
        let mut change = self.transaction();
        let before = in_transaction(&change, |view| view.account(id)).ok_or(Error::NotFound)?;
        let mut after = before.clone();
        update(&mut after);
        (after.id, after.created) = (before.id, before.created);
        check_display_name(&after.display_name)?;
        if after.partition.0 >= self.engine.partitions() {
            return Err(Error::NotFound);
        }
        if after.address.key() != before.address.key() {
            let delegates = change.value(ACCOUNT, &record::delegates_key(&before.address));
            give_address_up(&mut change, &before)?;
            take_address(&mut change, &after)?;
            if let Some(delegates) = delegates {
                change.put_value(ACCOUNT, &record::delegates_key(&after.address), &delegates);
            }
        }
        if after.partition != before.partition {
            count_in_partition(&mut change, before.partition, -1);
            count_in_partition(&mut change, after.partition, 1);
        }
        put_account(&mut change, &after);
        commit(change).await?;
        Ok(after)
    }

    /// Takes an account out of the directory and says what it was. Its mail lies in its partition
    /// still, and its id is not given again. Aliases that name it lead nowhere from then on.
    pub async fn delete_account(&self, id: AccountId) -> Result<AccountEntry, Error> {
        let mut change = self.transaction();
        let entry = in_transaction(&change, |view| view.account(id)).ok_or(Error::NotFound)?;
        give_address_up(&mut change, &entry)?;
        count_in_partition(&mut change, entry.partition, -1);
        change.delete_value(ACCOUNT, &record::account_key(id));
        commit(change).await?;
        Ok(entry)
    }

    /// The emptier of two partitions that the id's hash names: nearly even, and no list is kept.
    fn place(&self, change: &Transaction, id: AccountId) -> PartitionId {
        let hash = mix(id.0);
        let partitions = u32::from(self.engine.partitions());
        let candidate = |half: u32| PartitionId((half % partitions) as u16);
        let (one, other) = (candidate(hash as u32), candidate((hash >> 32) as u32));
        let count = |partition| in_transaction(change, |view| view.accounts_of_partition(partition));
        if count(other) < count(one) { other } else { one }
    }
}

fn check_display_name(name: &str) -> Result<(), Error> {
    if name.len() > DISPLAY_NAME_BYTES_MAX {
        return Err(Error::Limit { what: "bytes of a display name", max: DISPLAY_NAME_BYTES_MAX });
    }
    Ok(())
}

fn allot_id(change: &mut Transaction) -> AccountId {
    // The first is 1: 0 is the directory itself.
    let id = change.value(ACCOUNT, record::NEXT_ID).map_or(1, |bytes| record::decode::<u64>(&bytes));
    change.put_value(ACCOUNT, record::NEXT_ID, &record::encode(&(id + 1)));
    AccountId(id)
}

pub(crate) fn put_account(change: &mut Transaction, entry: &AccountEntry) {
    change.put_value(ACCOUNT, &record::account_key(entry.id), &record::encode(&AccountRecord::of(entry)));
}

fn take_address(change: &mut Transaction, entry: &AccountEntry) -> Result<(), Error> {
    update_domain(change, &entry.address, |domain| domain.accounts += 1)?;
    if in_transaction(change, |view| view.holder(&entry.address)).is_some() {
        return Err(Error::Exists);
    }
    change.put_value(ACCOUNT, &record::address_key(ACCOUNTS, &entry.address), &record::encode(&entry.id.0));
    Ok(())
}

fn give_address_up(change: &mut Transaction, entry: &AccountEntry) -> Result<(), Error> {
    update_domain(change, &entry.address, |domain| domain.accounts -= 1)?;
    change.delete_value(ACCOUNT, &record::address_key(ACCOUNTS, &entry.address));
    change.delete_value(ACCOUNT, &record::delegates_key(&entry.address));
    Ok(())
}

fn count_in_partition(change: &mut Transaction, partition: PartitionId, by: i64) {
    let count = in_transaction(change, |view| view.accounts_of_partition(partition));
    let count = count.checked_add_signed(by).expect("an account is counted before it is counted out");
    change.put_value(ACCOUNT, &record::partition_key(partition), &record::encode(&count));
}

/// Spreads neighbouring ids (the finalizer of SplitMix64).
fn mix(id: u64) -> u64 {
    let mut hash = id.wrapping_add(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}
