//! Who may send under an address that is not theirs: as the account or alias that has it, or visibly on behalf of it.

use base::AccountId;
use serde::{Deserialize, Serialize};
use storage_engine::Transaction;

use crate::directory::{ACCOUNT, commit, in_transaction};
use crate::limits::{DELEGATES_MAX, DELEGATES_PER_READ};
use crate::record::{self, DelegateKey, DelegateRecord};
use crate::resolve::behind;
use crate::view::{Holder, View};
use crate::{AccountEntry, Directory, EmailAddress, Error, Resolution, Target};

/// What a delegate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendRight {
    /// Send with the address in From and their own in Sender (RFC 5322 §3.6.2).
    OnBehalf,
    /// Send as if they had the address.
    SendAs,
}

/// Somebody who may send under an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// An account's address, or an alias's: then everybody it leads to.
    pub who: EmailAddress,
    /// What they may do.
    pub right: SendRight,
}

/// What an account may do with an address as a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderUse {
    /// Nothing.
    Denied,
    /// It leads to the account and to no other.
    Own,
    /// It may send under it.
    Delegated {
        /// How.
        right: SendRight,
        /// The account behind the address, when it wants what others send under its addresses in its Sent mailbox.
        copy_to: Option<Target>,
    },
}

/// Which sent mail is also put into an account's Sent mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentCopy {
    /// None: clients do that.
    #[default]
    None,
    /// What the account sends.
    Own,
    /// What others send under its addresses.
    Delegates,
    /// Both.
    All,
}

impl SentCopy {
    /// Of what the account sends itself.
    pub fn is_of_own(self) -> bool {
        matches!(self, Self::Own | Self::All)
    }

    /// Of what others send under its addresses.
    pub fn is_of_delegates(self) -> bool {
        matches!(self, Self::Delegates | Self::All)
    }
}

impl Directory {
    /// Who may send under the address of an account or alias, in the order in which they were named. Accounts and
    /// aliases that are gone are left out.
    pub fn delegates(&self, address: &EmailAddress) -> Result<Vec<Delegate>, Error> {
        self.view(|view| {
            view.holder(address).ok_or(Error::NotFound)?;
            Ok(view.delegates(address).into_iter().filter_map(|record| named(view, &record)).collect())
        })
    }

    /// Says what `who`, an account or an alias, may do with the address of an account or alias; `None` is nothing.
    /// Rights of an alias are those of whoever it leads to at the time.
    pub async fn set_delegate(
        &self,
        address: &EmailAddress,
        who: &EmailAddress,
        right: Option<SendRight>,
    ) -> Result<(), Error> {
        let mut change = self.transaction();
        let mut records = in_transaction(&change, |view| {
            view.holder(address).ok_or(Error::NotFound)?;
            let records = view.delegates(address).into_iter();
            Ok::<_, Error>(records.filter(|record| named(view, record).is_some()).collect::<Vec<_>>())
        })?;
        let key = in_transaction(&change, |view| match view.holder(who)? {
            Holder::Account(account) => Some(DelegateKey::Account(account.id.0)),
            Holder::Alias(alias) => Some(DelegateKey::Alias(alias.address.to_string())),
        });
        let key = key.ok_or(Error::NotFound)?;
        let known = records.iter().position(|record| record.who == key);
        match (right, known) {
            (Some(right), Some(at)) => records[at].right = right,
            (Some(_), None) if records.len() >= DELEGATES_MAX => {
                return Err(Error::Limit { what: "delegates of an address", max: DELEGATES_MAX });
            }
            (Some(right), None) => records.push(DelegateRecord { who: key, right }),
            (None, Some(at)) => drop(records.remove(at)),
            (None, None) => return Err(Error::NotFound),
        }
        put(&mut change, &record::delegates_key(address), &records);
        commit(change).await
    }

    /// Takes the rights of an alias away that is being removed: who gets its name some day is somebody else.
    pub(crate) fn forget_delegate(&self, change: &mut Transaction, alias: &EmailAddress) {
        let is_meant = |record: &DelegateRecord| match &record.who {
            DelegateKey::Account(_) => false,
            DelegateKey::Alias(named) => DelegateKey::alias(named).key() == alias.key(),
        };
        let mut after = None;
        loop {
            let page = self.values(record::DELEGATES, after.as_deref(), DELEGATES_PER_READ);
            let Some((last, _)) = page.last() else { return };
            after = Some(last.clone());
            for (key, _) in page {
                // As it will be: this transaction may have deleted it, another on its way have changed it.
                let Some(bytes) = change.value(ACCOUNT, &key) else { continue };
                let records: Vec<DelegateRecord> = record::decode(&bytes);
                if records.iter().any(is_meant) {
                    let left: Vec<_> = records.into_iter().filter(|record| !is_meant(record)).collect();
                    put(change, &key, &left);
                }
            }
        }
    }

    /// What an account may do with an address as a sender.
    pub fn sender_use(&self, account: AccountId, address: &EmailAddress) -> SenderUse {
        self.view(|view| sender_use(view, account, address))
    }
}

fn put(change: &mut Transaction, key: &[u8], records: &[DelegateRecord]) {
    if records.is_empty() {
        change.delete_value(ACCOUNT, key);
    } else {
        change.put_value(ACCOUNT, key, &record::encode(records));
    }
}

/// Addresses that lead to an account alone are its own, by aliases, details and catch-alls too. Under others it sends by
/// a right over exactly what has the address, or over the one account behind it.
fn sender_use(view: &View<'_>, account: AccountId, address: &EmailAddress) -> SenderUse {
    match behind(view, address) {
        Resolution::Local(targets) => {
            if let [only] = targets.as_slice()
                && only.account == account
            {
                return SenderUse::Own;
            }
        }
        // An alias that leads elsewhere as well is nobody's alone.
        Resolution::Forwarded(_) => {}
        _ => return SenderUse::Denied,
    }
    let Some((holder, _)) = view.holder_by_detail(address) else { return SenderUse::Denied };
    let (named, owner) = match holder {
        Holder::Account(entry) => (None, Some(*entry)),
        Holder::Alias(alias) => {
            let owner = view.single_account(&alias.address).filter(|entry| entry.enabled);
            (Some(alias.address), owner)
        }
    };
    let of_owner = owner.as_ref().map(|entry| &entry.address);
    let over = named.iter().chain(of_owner);
    let right = over.filter_map(|address| right(view, account, address)).max();
    right.map_or(SenderUse::Denied, |right| {
        let copy_to = owner.filter(|entry| entry.sent_copy.is_of_delegates()).map(target);
        SenderUse::Delegated { right, copy_to }
    })
}

fn target(entry: AccountEntry) -> Target {
    Target {
        account: entry.id,
        partition: entry.partition,
        address: entry.address,
        quota_bytes: entry.quota_bytes,
        detail: None,
    }
}

/// The most that an account may do with exactly this address.
fn right(view: &View<'_>, account: AccountId, address: &EmailAddress) -> Option<SendRight> {
    let is_meant = |record: &DelegateRecord| match &record.who {
        DelegateKey::Account(id) => *id == account.0,
        DelegateKey::Alias(alias) => leads_to(view, &DelegateKey::alias(alias), account),
    };
    view.delegates(address).into_iter().filter(is_meant).map(|record| record.right).max()
}

/// Whether an alias, which an account of that address is not, leads to an account.
fn leads_to(view: &View<'_>, alias: &EmailAddress, account: AccountId) -> bool {
    let Some(alias) = view.alias(alias) else { return false };
    let targets = match behind(view, &alias.address) {
        Resolution::Local(targets) => targets,
        Resolution::Forwarded(forwarded) => forwarded.targets,
        _ => return false,
    };
    targets.iter().any(|target| target.account == account)
}

/// Who is meant, if they are still there.
fn named(view: &View<'_>, record: &DelegateRecord) -> Option<Delegate> {
    let who = match &record.who {
        DelegateKey::Account(id) => view.account(AccountId(*id))?.address,
        DelegateKey::Alias(alias) => view.alias(&DelegateKey::alias(alias))?.address,
    };
    Some(Delegate { who, right: record.right })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, address};

    impl World {
        fn delegate(&self, owner: &str, who: &str, right: Option<SendRight>) -> Result<(), Error> {
            self.run(self.directory.set_delegate(&address(owner), &address(who), right))
        }

        fn listed(&self, owner: &str) -> Vec<(String, SendRight)> {
            let found = self.directory.delegates(&address(owner)).unwrap();
            found.into_iter().map(|delegate| (delegate.who.local().to_owned(), delegate.right)).collect()
        }

        /// The right over an address; `None` is nothing, an error the account's own.
        fn right(&self, who: &AccountEntry, owner: &str) -> Result<Option<SendRight>, ()> {
            match self.directory.sender_use(who.id, &address(owner)) {
                SenderUse::Own => Err(()),
                SenderUse::Denied => Ok(None),
                SenderUse::Delegated { right, .. } => Ok(Some(right)),
            }
        }
    }

    const AS: Option<SendRight> = Some(SendRight::SendAs);
    const BEHALF: Option<SendRight> = Some(SendRight::OnBehalf);

    #[test]
    fn what_leads_to_an_account_alone_is_its_own() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        world.put_alias("sales", &["bob+sold"]).unwrap();
        world.put_alias("both", &["bob", "eve"]).unwrap();
        for own in ["bob", "BOB", "bob+x", "sales", "sales+y"] {
            assert_eq!((world.right(&bob, own), world.right(&eve, own)), (Err(()), Ok(None)), "{own}");
        }
        for nobodys in ["both", "nobody", "bob@elsewhere.example"] {
            assert_eq!(world.right(&bob, nobodys), Ok(None), "{nobodys}");
        }
        world.run(world.directory.set_catch_all("example.org", Some(&address("bob")))).unwrap();
        assert_eq!(world.right(&bob, "nobody"), Err(()));
    }

    #[test]
    fn a_right_over_an_account_is_one_over_all_its_addresses() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        world.put_alias("sales", &["bob"]).unwrap();
        world.put_alias("both", &["bob", "eve"]).unwrap();
        assert_eq!(world.delegate("nobody", "eve", AS), Err(Error::NotFound));
        assert_eq!(world.delegate("bob+x", "eve", AS), Err(Error::NotFound), "a detail is nobody's");
        assert_eq!(world.delegate("bob", "nobody", AS), Err(Error::NotFound));
        assert_eq!(world.delegate("bob", "eve", None), Err(Error::NotFound));
        world.delegate("bob", "Eve", BEHALF).unwrap();
        for of_bob in ["bob", "bob+x", "sales"] {
            assert_eq!(world.right(&eve, of_bob), Ok(BEHALF), "{of_bob}");
        }
        assert_eq!(world.right(&eve, "both"), Ok(None), "what is not bob's alone is not bob's to give");
        // The greater right counts, and a right over an alias is one over the alias alone.
        world.delegate("sales", "eve", AS).unwrap();
        assert_eq!((world.right(&eve, "sales+y"), world.right(&eve, "bob")), (Ok(AS), Ok(BEHALF)));
        world.delegate("bob", "eve", AS).unwrap();
        assert_eq!(world.listed("bob"), [("eve".to_owned(), SendRight::SendAs)]);
        let world = world.reopen();
        assert_eq!(world.right(&eve, "bob"), Ok(AS));
        world.delegate("bob", "eve", None).unwrap();
        assert_eq!((world.right(&eve, "bob"), world.listed("bob")), (Ok(None), Vec::new()));
        world.run(world.directory.update_account(bob.id, |account| account.enabled = false)).unwrap();
        assert_eq!(world.right(&eve, "sales"), Ok(None), "nobody sends as an account that is switched off");
    }

    #[test]
    fn an_alias_that_is_named_stands_for_its_members() {
        let world = World::new();
        let (bob, eve, carol) = (world.create("bob"), world.create("eve"), world.create("carol"));
        world.put_alias("team", &["bob", "eve"]).unwrap();
        world.delegate("team", "team", AS).unwrap();
        world.delegate("carol", "team", BEHALF).unwrap();
        assert_eq!((world.right(&bob, "team"), world.right(&eve, "carol")), (Ok(AS), Ok(BEHALF)));
        assert_eq!(world.right(&carol, "team"), Ok(None));
        world.put_alias("team", &["bob", "carol"]).unwrap();
        assert_eq!((world.right(&eve, "team"), world.right(&carol, "team")), (Ok(None), Ok(AS)));
        world.run(world.directory.remove_alias(&address("team"))).unwrap();
        // Who gets the name now gets nobody's rights, and nobody has rights over them.
        let team = world.create("team");
        assert_eq!((world.right(&team, "carol"), world.right(&bob, "team")), (Ok(None), Ok(None)));
        assert_eq!((world.listed("carol"), world.listed("team")), (Vec::new(), Vec::new()));
        world.delegate("carol", "eve", AS).unwrap();
        world.put_alias("other", &["bob"]).unwrap();
        world.delegate("carol", "other", AS).unwrap();
        world.run(world.directory.remove_alias(&address("Other"))).unwrap();
        world.put_alias("other", &["bob"]).unwrap();
        assert_eq!(world.right(&bob, "carol"), Ok(None), "an alias of the same name is another one");
        assert_eq!(world.listed("carol"), [("eve".to_owned(), SendRight::SendAs)]);
    }

    #[test]
    fn rights_go_with_an_account_and_end_with_it() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        world.delegate("bob", "eve", AS).unwrap();
        world
            .run(world.directory.update_account(eve.id, |account| account.address = address("eva")))
            .unwrap();
        world
            .run(world.directory.update_account(bob.id, |account| account.address = address("rob")))
            .unwrap();
        assert_eq!(world.listed("rob"), [("eva".to_owned(), SendRight::SendAs)]);
        assert_eq!(world.right(&eve, "rob"), Ok(AS));
        for gone in [bob, eve] {
            world.run(world.directory.delete_account(gone.id)).unwrap();
        }
        let (rob, eva) = (world.create("rob"), world.create("eva"));
        assert_eq!((world.right(&eva, "rob"), world.listed("rob")), (Ok(None), Vec::new()));
        // An entry of somebody who is gone does not come back, and takes no place.
        world.delegate("rob", "eva", AS).unwrap();
        world.run(world.directory.delete_account(eva.id)).unwrap();
        world.put_alias("a", &["rob"]).unwrap();
        world.delegate("rob", "a", AS).unwrap();
        assert_eq!(world.listed("rob"), [("a".to_owned(), SendRight::SendAs)]);
        assert_eq!(world.right(&rob, "rob"), Err(()), "a right over oneself takes nothing away");
    }

    #[test]
    fn there_is_a_bound_and_copies_are_the_owners_to_want() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        world.delegate("bob", "eve", AS).unwrap();
        let copy_to = |of: &str| match world.directory.sender_use(eve.id, &address(of)) {
            SenderUse::Delegated { copy_to, .. } => copy_to.map(|target| target.account),
            other => panic!("{other:?}"),
        };
        world.put_alias("sales", &["bob"]).unwrap();
        for (wanted, copied) in [
            (SentCopy::None, None),
            (SentCopy::Own, None),
            (SentCopy::Delegates, Some(bob.id)),
            (SentCopy::All, Some(bob.id)),
        ] {
            world.run(world.directory.update_account(bob.id, |account| account.sent_copy = wanted)).unwrap();
            assert_eq!((copy_to("bob"), copy_to("sales")), (copied, copied), "{wanted:?}");
        }
        for i in 1..DELEGATES_MAX {
            let name = format!("a{i}");
            world.put_alias(&name, &["eve"]).unwrap();
            world.delegate("bob", &name, AS).unwrap();
        }
        world.put_alias("more", &["eve"]).unwrap();
        assert!(matches!(world.delegate("bob", "more", AS), Err(Error::Limit { .. })));
        world.delegate("bob", "a1", BEHALF).unwrap();
    }
}
