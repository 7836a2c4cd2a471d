//! From a recipient to accounts.

use std::collections::HashSet;

use base::AccountId;

use crate::limits::{ALIAS_DEPTH_MAX, EXPANSION_TARGETS_MAX};
use crate::view::{Holder, View};
use crate::{AccountEntry, AliasEntry, EmailAddress, Forwarded, Forwarding, Onward, Resolution, Target};

/// The address itself wins, then the address without its detail (RFC 5233 §4), then the domain's
/// catch-all.
pub(crate) fn resolve(view: &View<'_>, address: &EmailAddress) -> Resolution {
    expand(view, address, true)
}

/// Who is behind an address, wherever their mail goes on to.
pub(crate) fn behind(view: &View<'_>, address: &EmailAddress) -> Resolution {
    expand(view, address, false)
}

fn expand(view: &View<'_>, address: &EmailAddress, follows_accounts: bool) -> Resolution {
    let Some(domain) = view.domain(address.domain()) else { return Resolution::NotLocal };
    let found = view.holder_by_detail(address);
    let found = found.or_else(|| {
        let catch_all = domain.into_entry(address.domain()).catch_all?;
        view.holder_by_detail(&catch_all)
    });
    let Some((holder, detail)) = found else { return Resolution::UnknownUser };

    let mut expansion = Expansion::new(view, follows_accounts);
    if expansion.add(holder, detail.as_deref()).is_err() {
        return Resolution::AliasLoop;
    }
    expansion.result()
}

/// Whether what comes to an address would go round between accounts that send it on and keep nothing.
pub(crate) fn goes_round(view: &View<'_>, address: &EmailAddress) -> bool {
    let Some((holder, _)) = view.holder_by_detail(address) else { return false };
    let mut expansion = Expansion::new(view, true);
    expansion.add(holder, None).is_err() || expansion.is_rescued
}

/// Too deep, too many, or round in a circle.
struct Loop;

struct Expansion<'a> {
    view: &'a View<'a>,
    /// Whether mail of accounts that send it on goes on.
    follows_accounts: bool,
    targets: Vec<Target>,
    onward: Vec<Onward>,
    accounts: HashSet<AccountId>,
    /// Aliases, and accounts that send on, between the recipient and here.
    depth: usize,
    /// Aliases that were followed to their end.
    followed: HashSet<String>,
    /// Addresses looked at.
    count: usize,
    has_disabled: bool,
    /// Accounts that send on and keep nothing, between the recipient and here.
    open: Vec<AccountId>,
    /// An account keeps what it would send on to where it came from.
    is_rescued: bool,
}

impl<'a> Expansion<'a> {
    fn new(view: &'a View<'a>, follows_accounts: bool) -> Self {
        Self {
            view,
            follows_accounts,
            targets: Vec::new(),
            onward: Vec::new(),
            accounts: HashSet::new(),
            depth: 0,
            followed: HashSet::new(),
            count: 0,
            has_disabled: false,
            open: Vec::new(),
            is_rescued: false,
        }
    }

    fn result(self) -> Resolution {
        let Self { targets, onward, has_disabled, .. } = self;
        if !onward.is_empty() {
            return Resolution::Forwarded(Box::new(Forwarded { targets, onward }));
        }
        match (targets.is_empty(), has_disabled) {
            (false, _) => Resolution::Local(targets),
            (true, true) => Resolution::Disabled,
            // An alias may outlive the accounts it names.
            (true, false) => Resolution::UnknownUser,
        }
    }

    /// Whether mail gets anywhere by this. Recursion is bounded by [`ALIAS_DEPTH_MAX`], work by
    /// [`EXPANSION_TARGETS_MAX`].
    fn add(&mut self, holder: Holder, detail: Option<&str>) -> Result<bool, Loop> {
        self.count += 1;
        if self.count > EXPANSION_TARGETS_MAX {
            return Err(Loop);
        }
        match holder {
            Holder::Account(account) => self.add_account(*account, detail),
            Holder::Alias(alias) => self.add_alias(&alias, detail),
        }
    }

    fn add_account(&mut self, account: AccountEntry, detail: Option<&str>) -> Result<bool, Loop> {
        if !account.enabled {
            self.has_disabled = true;
            return Ok(false);
        }
        if !self.accounts.insert(account.id) {
            // It has it already, unless it is what sends it on to here and keeps nothing.
            return Ok(!self.open.contains(&account.id));
        }
        let target = Target {
            account: account.id,
            partition: account.partition,
            address: account.address,
            quota_bytes: account.quota_bytes,
            detail: detail.map(str::to_owned),
        };
        let Some(Forwarding { to, keeps_copy }) = account.forward.filter(|_| self.follows_accounts) else {
            self.targets.push(target);
            return Ok(true);
        };
        if keeps_copy {
            self.targets.push(target.clone());
        }
        if !keeps_copy {
            self.open.push(account.id);
        }
        self.depth += 1;
        let gets_there = self.send_on(&to, &target.address.clone(), Some(target.clone()), detail)?;
        self.depth -= 1;
        if !keeps_copy {
            self.open.pop();
        }
        // Where it was to go on to is gone, or sends it back: better here than nowhere.
        if !gets_there && !keeps_copy {
            self.is_rescued = true;
            self.targets.push(target);
        }
        Ok(true)
    }

    fn add_alias(&mut self, alias: &AliasEntry, detail: Option<&str>) -> Result<bool, Loop> {
        let key = alias.address.key();
        if self.followed.contains(&key) {
            return Ok(true);
        }
        // A circle is deeper than any limit.
        if self.depth >= ALIAS_DEPTH_MAX {
            return Err(Loop);
        }
        self.depth += 1;
        let mut gets_there = false;
        for target in &alias.targets {
            gets_there |= self.send_on(target, &alias.address, None, detail)?;
        }
        self.depth -= 1;
        self.followed.insert(key);
        Ok(gets_there)
    }

    /// What comes to `by` goes on to an address, of ours or not.
    fn send_on(
        &mut self,
        to: &EmailAddress,
        by: &EmailAddress,
        account: Option<Target>,
        detail: Option<&str>,
    ) -> Result<bool, Loop> {
        if let Some((holder, own)) = self.view.holder_by_detail(to) {
            if self.depth > ALIAS_DEPTH_MAX {
                return Err(Loop);
            }
            // A target's own detail says more about where to file than the recipient's.
            return self.add(holder, own.as_deref().or(detail));
        }
        if self.view.domain(to.domain()).is_some() {
            return Ok(false);
        }
        self.count += 1;
        if self.count > EXPANSION_TARGETS_MAX {
            return Err(Loop);
        }
        if !self.onward.iter().any(|known| known.to.key() == to.key()) {
            self.onward.push(Onward { to: to.clone(), by: by.clone(), account });
        }
        Ok(true)
    }
}
