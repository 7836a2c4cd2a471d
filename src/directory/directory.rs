//! The directory's face, its look-ups and its domains.

use std::future::Future;

use base::{AccountId, Secret, Timestamp};
use storage_engine::{Engine, Transaction};

use crate::address::parse_domain_name;
use crate::record::{self, DOMAINS, DomainRecord};
use crate::resolve::{behind, resolve};
use crate::view::View;
use crate::{AccountEntry, DomainEntry, EmailAddress, Error, Resolution, Target};

/// The partition that holds the directory.
const PARTITION: u16 = 0;

/// The directory's account key within it.
pub(crate) const ACCOUNT: u64 = 0;

/// The directory, on the shard that owns partition 0. A handle: clones are the same directory. Look-ups
/// see what is durable; a change returns when it is.
#[derive(Clone, Debug)]
pub struct Directory {
    pub(crate) engine: Engine,
}

impl Directory {
    /// Over the engine of the shard that owns partition 0.
    pub fn new(engine: Engine) -> Self {
        assert!(engine.owns(PARTITION), "the directory lives with partition 0");
        Self { engine }
    }

    /// The directory's change number: answers of look-ups are good while it stays the same.
    pub fn generation(&self) -> u64 {
        self.engine.highest_change(PARTITION, ACCOUNT)
    }

    /// Resolves with the generation once it is above `after`.
    pub fn changed(&self, after: u64) -> impl Future<Output = u64> + use<> {
        self.engine.changed(PARTITION, ACCOUNT, after)
    }

    /// The account with this id.
    pub fn account_by_id(&self, id: AccountId) -> Option<AccountEntry> {
        self.view(|view| view.account(id))
    }

    /// The account with exactly this address; aliases and details are not followed.
    pub fn account_by_address(&self, address: &EmailAddress) -> Option<AccountEntry> {
        self.view(|view| view.account_by_address(address))
    }

    /// The account that a login name means: an address, or a name in the default domain. The
    /// address may be an alias if it leads to one account only. Enabled or not: that is the
    /// caller's to look at.
    pub fn account_by_login(&self, login: &str, default_domain: Option<&str>) -> Option<AccountEntry> {
        let address = match (login.contains('@'), default_domain) {
            (true, _) => EmailAddress::parse(login).ok()?,
            (false, Some(domain)) => EmailAddress::parse(&format!("{login}@{domain}")).ok()?,
            (false, None) => return None,
        };
        self.view(|view| view.single_account(&address))
    }

    /// Where mail to an address goes: what RCPT needs.
    pub fn resolve(&self, address: &EmailAddress) -> Resolution {
        self.view(|view| resolve(view, address))
    }

    /// Who is behind an address, wherever their mail goes on to; nobody for one that is not ours.
    pub fn behind(&self, address: &EmailAddress) -> Vec<Target> {
        match self.view(|view| behind(view, address)) {
            Resolution::Local(targets) => targets,
            Resolution::Forwarded(forwarded) => forwarded.targets,
            _ => Vec::new(),
        }
    }

    /// The domain of this name, in any spelling.
    pub fn domain(&self, name: &str) -> Option<DomainEntry> {
        let name = parse_domain_name(name).ok()?;
        self.view(|view| view.domain(&name)).map(|record| record.into_entry(&name))
    }

    /// Up to `limit` domains in order of their names, those after `after`.
    pub fn domains(&self, after: Option<&str>, limit: usize) -> Vec<DomainEntry> {
        let after = after.map(record::domain_key);
        let found = self.values(DOMAINS, after.as_deref(), limit);
        let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
            let name = key.strip_prefix(DOMAINS).map(String::from_utf8_lossy).unwrap_or_default();
            record::decode::<DomainRecord>(&value).into_entry(&name)
        };
        found.into_iter().map(entry).collect()
    }

    /// Makes a domain one of ours.
    pub async fn add_domain(&self, name: &str, created: Timestamp) -> Result<(), Error> {
        let name = parse_domain_name(name)?;
        let mut change = self.transaction();
        if in_transaction(&change, |view| view.domain(&name)).is_some() {
            return Err(Error::Exists);
        }
        let created_ms = created.as_ms();
        put_domain(
            &mut change,
            &name,
            &DomainRecord { catch_all: None, created_ms, accounts: 0, aliases: 0 },
        );
        commit(change).await
    }

    /// Gives a domain up, with its keys. Refused while it has accounts or aliases.
    pub async fn remove_domain(&self, name: &str) -> Result<(), Error> {
        let name = parse_domain_name(name)?;
        let mut change = self.transaction();
        let record = in_transaction(&change, |view| view.domain(&name)).ok_or(Error::NotFound)?;
        if record.accounts + record.aliases > 0 {
            return Err(Error::InUse);
        }
        change.delete_value(ACCOUNT, &record::domain_key(&name));
        change.delete_value(ACCOUNT, &record::dkim_key(&name));
        commit(change).await
    }

    /// Says who gets mail to addresses of the domain that nobody has: an account or an alias of
    /// ours, or nobody.
    pub async fn set_catch_all(&self, name: &str, catch_all: Option<&EmailAddress>) -> Result<(), Error> {
        let name = parse_domain_name(name)?;
        let mut change = self.transaction();
        let mut record = in_transaction(&change, |view| view.domain(&name)).ok_or(Error::NotFound)?;
        if let Some(address) = catch_all
            && in_transaction(&change, |view| view.holder_by_detail(address)).is_none()
        {
            return Err(Error::NotFound);
        }
        record.catch_all = catch_all.map(EmailAddress::to_string);
        put_domain(&mut change, &name, &record);
        commit(change).await
    }

    /// A secret of the server's own that outlives restarts. `fresh` is kept the first time a name is
    /// asked for, and given back ever after.
    pub async fn secret(&self, name: &str, fresh: Secret<[u8; 32]>) -> Result<Secret<[u8; 32]>, Error> {
        let key = record::secret_key(name);
        let mut change = self.transaction();
        if let Some(bytes) = change.value(ACCOUNT, &key) {
            return Ok(Secret::new(record::decode(&bytes)));
        }
        change.put_value(ACCOUNT, &key, &record::encode(fresh.reveal()));
        commit(change).await?;
        Ok(fresh)
    }

    pub(crate) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let read = |key: &[u8]| self.engine.value(PARTITION, ACCOUNT, key);
        look(&View::new(&read))
    }

    pub(crate) fn values(&self, kind: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.engine.values(PARTITION, ACCOUNT, kind, after, limit)
    }

    pub(crate) fn transaction(&self) -> Transaction {
        self.engine.transaction(PARTITION)
    }
}

/// A look-up that sees what the transaction builds on and what it wrote.
pub(crate) fn in_transaction<T>(change: &Transaction, look: impl FnOnce(&View<'_>) -> T) -> T {
    let read = |key: &[u8]| change.value(ACCOUNT, key);
    look(&View::new(&read))
}

pub(crate) fn put_domain(change: &mut Transaction, name: &str, record: &DomainRecord) {
    change.put_value(ACCOUNT, &record::domain_key(name), &record::encode(record));
}

/// Changes the record of an address's domain, which must be ours.
pub(crate) fn update_domain(
    change: &mut Transaction,
    address: &EmailAddress,
    update: impl FnOnce(&mut DomainRecord),
) -> Result<(), Error> {
    let name = address.domain();
    let mut record = in_transaction(change, |view| view.domain(name)).ok_or(Error::UnknownDomain)?;
    update(&mut record);
    put_domain(change, name, &record);
    Ok(())
}

pub(crate) async fn commit(change: Transaction) -> Result<(), Error> {
    change.commit().await?;
    Ok(())
}
