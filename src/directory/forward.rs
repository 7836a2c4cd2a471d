//! Where an account's mail goes on to.

use base::AccountId;

use crate::accounts::put_account;
use crate::directory::{commit, in_transaction};
use crate::resolve::goes_round;
use crate::view::View;
use crate::{AccountEntry, Directory, Error, Forwarding};

impl Directory {
    /// Says where an account's mail goes on to; `None` is nowhere. An address of a domain of ours must be there, and the
    /// way must end somewhere.
    pub async fn set_forward(
        &self,
        id: AccountId,
        forward: Option<Forwarding>,
    ) -> Result<AccountEntry, Error> {
        let mut change = self.transaction();
        let before = in_transaction(&change, |view| view.account(id)).ok_or(Error::NotFound)?;
        let is_there = |view: &View<'_>| {
            let to = forward.as_ref().map(|forward| &forward.to);
            to.is_none_or(|to| view.domain(to.domain()).is_none() || view.holder_by_detail(to).is_some())
        };
        if !in_transaction(&change, is_there) {
            return Err(Error::NotFound);
        }
        let after = AccountEntry { forward, ..before };
        put_account(&mut change, &after);
        if in_transaction(&change, |view| goes_round(view, &after.address)) {
            return Err(Error::AliasLoop);
        }
        commit(change).await?;
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, address};
    use crate::{EmailAddress, Resolution, SenderUse};

    /// The names of the accounts that get a copy, and where it goes on to, each with what sends it on.
    fn ends(world: &World, to: &str) -> (Vec<String>, Vec<(String, String, bool)>) {
        let name = |address: &EmailAddress| address.local().to_owned();
        let (targets, onward) = match world.directory.resolve(&address(to)) {
            Resolution::Local(targets) => (targets, Vec::new()),
            Resolution::Forwarded(forwarded) => (forwarded.targets, forwarded.onward),
            other => panic!("{to}: {other:?}"),
        };
        let onward = onward.iter().map(|on| (on.to.to_string(), name(&on.by), on.account.is_some()));
        (targets.iter().map(|target| name(&target.address)).collect(), onward.collect())
    }

    fn elsewhere(name: &str, by: &str, is_account: bool) -> (String, String, bool) {
        (format!("{name}@elsewhere.example"), by.to_owned(), is_account)
    }

    #[test]
    fn an_account_sends_its_mail_on_and_keeps_it_or_not() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        let set = |id, to: &str, keeps_copy| {
            let forward = Forwarding { to: address(to), keeps_copy };
            world.run(world.directory.set_forward(id, Some(forward))).map(drop)
        };
        set(bob.id, "bob@elsewhere.example", false).unwrap();
        assert_eq!(ends(&world, "bob+x"), (vec![], vec![elsewhere("bob", "bob", true)]));
        let own = world.directory.sender_use(bob.id, &address("bob"));
        assert_eq!(own, SenderUse::Own, "the address is still bob's");
        set(bob.id, "bob@elsewhere.example", true).unwrap();
        world.put_alias("team", &["eve", "bob", "list@elsewhere.example"]).unwrap();
        let both = vec![elsewhere("bob", "bob", true), elsewhere("list", "team", false)];
        assert_eq!(ends(&world, "team"), (vec!["eve".to_owned(), "bob".to_owned()], both));
        // Within the house it goes on from there.
        set(eve.id, "bob", false).unwrap();
        assert_eq!(ends(&world, "eve"), (vec!["bob".to_owned()], vec![elsewhere("bob", "bob", true)]));
        assert_eq!(set(bob.id, "nobody", false), Err(Error::NotFound));
        world.run(world.directory.set_forward(bob.id, None)).unwrap();
        assert_eq!(ends(&world.reopen(), "eve"), (vec!["bob".to_owned()], vec![]));
    }

    #[test]
    fn a_circle_is_refused_when_it_would_lose_mail() {
        let world = World::new();
        let (bob, eve) = (world.create("bob"), world.create("eve"));
        let set = |id, to: &str, keeps_copy| {
            let forward = Forwarding { to: address(to), keeps_copy };
            world.run(world.directory.set_forward(id, Some(forward))).map(drop)
        };
        assert_eq!(set(bob.id, "bob", false), Err(Error::AliasLoop));
        set(bob.id, "eve", false).unwrap();
        assert_eq!(set(eve.id, "bob", false), Err(Error::AliasLoop));
        set(eve.id, "bob", true).unwrap();
        assert_eq!(ends(&world, "bob"), (vec!["eve".to_owned()], vec![]));
        world.put_alias("round", &["bob"]).unwrap();
        assert_eq!(ends(&world, "round").0, ["eve"]);
        // An account keeps what leads to nobody any more.
        let carol = world.create("carol");
        world.run(world.directory.set_forward(bob.id, None)).unwrap();
        set(eve.id, "carol", false).unwrap();
        world.run(world.directory.delete_account(carol.id)).unwrap();
        world.put_alias("team", &["bob", "eve"]).unwrap();
        assert_eq!(ends(&world, "team").0, ["bob", "eve"]);
    }
}
