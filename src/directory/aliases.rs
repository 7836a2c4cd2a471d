//! Aliases: list, put, remove.

use crate::directory::{ACCOUNT, commit, in_transaction, update_domain};
use crate::limits::ALIAS_TARGETS_MAX;
use crate::record::{self, ALIASES, AliasRecord};
use crate::resolve::resolve;
use crate::view::View;
use crate::{AliasEntry, Directory, EmailAddress, Error, Resolution};

impl Directory {
    /// The alias with exactly this address.
    pub fn alias(&self, address: &EmailAddress) -> Option<AliasEntry> {
        self.view(|view| view.alias(address))
    }

    /// Up to `limit` aliases in order of domain and name, those after `after`.
    pub fn aliases(&self, after: Option<&EmailAddress>, limit: usize) -> Vec<AliasEntry> {
        let after = after.map(|address| record::address_key(ALIASES, address));
        let found = self.values(ALIASES, after.as_deref(), limit);
        found.into_iter().map(|(_, value)| record::decode::<AliasRecord>(&value).into_entry()).collect()
    }

    /// Makes an alias or gives it other targets. Each target is an account or an alias of ours, with
    /// or without a detail, or an address in a domain that is not ours.
    pub async fn put_alias(&self, alias: AliasEntry) -> Result<(), Error> {
        if alias.targets.is_empty() || alias.targets.len() > ALIAS_TARGETS_MAX {
            return Err(Error::Limit { what: "targets of an alias", max: ALIAS_TARGETS_MAX });
        }
        let mut change = self.transaction();
        if in_transaction(&change, |view| view.account_by_address(&alias.address)).is_some() {
            return Err(Error::Exists);
        }
        let is_new = in_transaction(&change, |view| view.alias(&alias.address)).is_none();
        update_domain(&mut change, &alias.address, |domain| domain.aliases += u64::from(is_new))?;
        let key = record::address_key(ALIASES, &alias.address);
        change.put_value(ACCOUNT, &key, &record::encode(&AliasRecord::of(&alias)));

        // With the alias in place: one that names itself exists, and is a loop.
        for target in &alias.targets {
            let is_good = |view: &View<'_>| {
                view.domain(target.domain()).is_none() || view.holder_by_detail(target).is_some()
            };
            if !in_transaction(&change, is_good) {
                return Err(Error::NotFound);
            }
        }
        if in_transaction(&change, |view| resolve(view, &alias.address)) == Resolution::AliasLoop {
            return Err(Error::AliasLoop);
        }
        commit(change).await
    }

    /// Takes an alias away. Others that name it lead nowhere from then on.
    pub async fn remove_alias(&self, address: &EmailAddress) -> Result<(), Error> {
        let mut change = self.transaction();
        in_transaction(&change, |view| view.alias(address)).ok_or(Error::NotFound)?;
        update_domain(&mut change, address, |domain| domain.aliases -= 1)?;
        change.delete_value(ACCOUNT, &record::address_key(ALIASES, address));
        change.delete_value(ACCOUNT, &record::delegates_key(address));
        self.forget_delegate(&mut change, address);
        commit(change).await
    }
}
