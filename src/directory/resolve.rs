//! From a recipient to accounts.

use std::collections::HashSet;

use base::AccountId;

use crate::limits::{ALIAS_DEPTH_MAX, EXPANSION_TARGETS_MAX};
use crate::view::{Holder, View};
use crate::{AccountEntry, AliasEntry, EmailAddress, Resolution, Target};

/// The address itself wins, then the address without its detail (RFC 5233 §4), then the domain's
/// catch-all.
pub(crate) fn resolve(view: &View<'_>, address: &EmailAddress) -> Resolution {
    let Some(domain) = view.domain(address.domain()) else { return Resolution::NotLocal };
    let found = view.holder_by_detail(address);
    let found = found.or_else(|| {
        let catch_all = domain.into_entry(address.domain()).catch_all?;
        view.holder_by_detail(&catch_all)
    });
    let Some((holder, detail)) = found else { return Resolution::UnknownUser };

    let mut expansion = Expansion::new(view);
    if expansion.add(holder, detail.as_deref()).is_err() {
        return Resolution::AliasLoop;
    }
    match (expansion.targets.is_empty(), expansion.has_disabled) {
        (false, _) => Resolution::Local(expansion.targets),
        (true, true) => Resolution::Disabled,
        // An alias may outlive the accounts it names.
        (true, false) => Resolution::UnknownUser,
    }
}

/// Too deep, too many, or round in a circle.
struct Loop;

struct Expansion<'a> {
    view: &'a View<'a>,
    targets: Vec<Target>,
    accounts: HashSet<AccountId>,
    /// Aliases between the recipient and here.
    depth: usize,
    /// Aliases that were followed to their end.
    followed: HashSet<String>,
    /// Addresses looked at.
    count: usize,
    has_disabled: bool,
}

impl<'a> Expansion<'a> {
    fn new(view: &'a View<'a>) -> Self {
        Self {
            view,
            targets: Vec::new(),
            accounts: HashSet::new(),
            depth: 0,
            followed: HashSet::new(),
            count: 0,
            has_disabled: false,
        }
    }

    /// Recursion is bounded by [`ALIAS_DEPTH_MAX`], work by [`EXPANSION_TARGETS_MAX`].
    fn add(&mut self, holder: Holder, detail: Option<&str>) -> Result<(), Loop> {
        self.count += 1;
        if self.count > EXPANSION_TARGETS_MAX {
            return Err(Loop);
        }
        match holder {
            Holder::Account(account) => self.add_account(*account, detail),
            Holder::Alias(alias) => return self.add_alias(&alias, detail),
        }
        Ok(())
    }

    fn add_account(&mut self, account: AccountEntry, detail: Option<&str>) {
        if !account.enabled {
            self.has_disabled = true;
            return;
        }
        if !self.accounts.insert(account.id) {
            return;
        }
        self.targets.push(Target {
            account: account.id,
            partition: account.partition,
            address: account.address,
            quota_bytes: account.quota_bytes,
            detail: detail.map(str::to_owned),
        });
    }

    fn add_alias(&mut self, alias: &AliasEntry, detail: Option<&str>) -> Result<(), Loop> {
        let key = alias.address.key();
        if self.followed.contains(&key) {
            return Ok(());
        }
        // A circle is deeper than any limit.
        if self.depth >= ALIAS_DEPTH_MAX {
            return Err(Loop);
        }
        self.depth += 1;
        for target in &alias.targets {
            let Some((holder, own)) = self.view.holder_by_detail(target) else { continue };
            // A target's own detail says more about where to file than the recipient's.
            self.add(holder, own.as_deref().or(detail))?;
        }
        self.depth -= 1;
        self.followed.insert(key);
        Ok(())
    }
}
