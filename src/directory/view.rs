//! Look-ups over whatever holds the values: the applied state, or a transaction with all that is on its
//! way before it.

use base::{AccountId, PartitionId};

use crate::limits::ALIAS_DEPTH_MAX;
use crate::record::{
    self, ACCOUNTS, ALIASES, AccountRecord, AliasRecord, DelegateRecord, DkimKeyRecord, DomainRecord,
};
use crate::{AccountEntry, AliasEntry, EmailAddress};

/// Reads values of the directory.
pub(crate) struct View<'a> {
    read: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
}

/// What has an address.
pub(crate) enum Holder {
    Account(Box<AccountEntry>),
    Alias(AliasEntry),
}

impl<'a> View<'a> {
    pub(crate) fn new(read: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Self {
        Self { read }
    }

    /// `name` is lower case and in A-labels.
    pub(crate) fn domain(&self, name: &str) -> Option<DomainRecord> {
        (self.read)(&record::domain_key(name)).map(|bytes| record::decode(&bytes))
    }

    /// `domain` as above.
    pub(crate) fn dkim_keys(&self, domain: &str) -> Vec<DkimKeyRecord> {
        (self.read)(&record::dkim_key(domain)).map_or_else(Vec::new, |bytes| record::decode(&bytes))
    }

    /// Of exactly this address.
    pub(crate) fn delegates(&self, address: &EmailAddress) -> Vec<DelegateRecord> {
        let bytes = (self.read)(&record::delegates_key(address));
        bytes.map_or_else(Vec::new, |bytes| record::decode(&bytes))
    }

    pub(crate) fn account(&self, id: AccountId) -> Option<AccountEntry> {
        let bytes = (self.read)(&record::account_key(id))?;
        Some(record::decode::<AccountRecord>(&bytes).into_entry(id))
    }

    pub(crate) fn account_by_address(&self, address: &EmailAddress) -> Option<AccountEntry> {
        let bytes = (self.read)(&record::address_key(ACCOUNTS, address))?;
        let entry = self.account(AccountId(record::decode(&bytes)));
        Some(entry.expect("an address and its account are written in one transaction"))
    }

    pub(crate) fn alias(&self, address: &EmailAddress) -> Option<AliasEntry> {
        let bytes = (self.read)(&record::address_key(ALIASES, address))?;
        Some(record::decode::<AliasRecord>(&bytes).into_entry())
    }

    /// What has exactly this address.
    pub(crate) fn holder(&self, address: &EmailAddress) -> Option<Holder> {
        if let Some(account) = self.account_by_address(address) {
            return Some(Holder::Account(Box::new(account)));
        }
        self.alias(address).map(Holder::Alias)
    }

    /// What has this address, or has it without its detail; then the detail comes along.
    pub(crate) fn holder_by_detail(&self, address: &EmailAddress) -> Option<(Holder, Option<String>)> {
        if let Some(holder) = self.holder(address) {
            return Some((holder, None));
        }
        let holder = self.holder(&address.without_detail()?)?;
        Some((holder, address.detail().map(str::to_owned)))
    }

    /// The account behind an address: its own, or at the end of aliases with one target each.
    pub(crate) fn single_account(&self, address: &EmailAddress) -> Option<AccountEntry> {
        let mut address = address.clone();
        for _ in 0..=ALIAS_DEPTH_MAX {
            match self.holder(&address)? {
                Holder::Account(account) => return Some(*account),
                Holder::Alias(alias) => {
                    let [target] = <[EmailAddress; 1]>::try_from(alias.targets).ok()?;
                    address = target;
                }
            }
        }
        None
    }

    pub(crate) fn accounts_of_partition(&self, partition: PartitionId) -> u64 {
        (self.read)(&record::partition_key(partition)).map_or(0, |bytes| record::decode(&bytes))
    }
}
