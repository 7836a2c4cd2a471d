//! The directory on a simulated disk.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base::{AccountId, PartitionId, Secret, Timestamp};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

use crate::limits::{
    ADDRESS_BYTES_MAX, ALIAS_DEPTH_MAX, ALIAS_TARGETS_MAX, DISPLAY_NAME_BYTES_MAX, DKIM_KEYS_MAX,
    EXPANSION_TARGETS_MAX,
};
use crate::{
    AccountEntry, AddressError, AliasEntry, Credential, Directory, DkimAlgorithm, DkimKey, DkimState,
    EmailAddress, Error, NewAccount, Resolution, ScramKeys,
};

const PARTITIONS: u16 = 16;

pub(crate) struct World {
    disk: Disk,
    options: Options,
    pub(crate) directory: Directory,
}

impl World {
    /// With the domain `example.org`.
    pub(crate) fn new() -> Self {
        let disk = Disk::simulated(&Simulated::instant());
        let options = Options { partitions: PARTITIONS, segment_bytes: 4 << 20, ..Options::default() };
        drop(prepare(&disk, &options, 1).unwrap());
        let directory = Directory::new(Engine::open(&disk, &options, 0, 1).unwrap());
        let world = Self { disk, options, directory };
        world.run(world.directory.add_domain("example.org", at(1))).unwrap();
        world
    }

    /// A second start of the server.
    pub(crate) fn reopen(self) -> Self {
        let Self { disk, options, directory } = self;
        drop(directory);
        drop(prepare(&disk, &options, 1).unwrap());
        let directory = Directory::new(Engine::open(&disk, &options, 0, 1).unwrap());
        Self { disk, options, directory }
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..16 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
            self.directory.engine.turn();
        }
        panic!("an instant disk lets nobody wait");
    }

    pub(crate) fn create(&self, name: &str) -> AccountEntry {
        self.run(self.directory.create_account(new_account(name))).unwrap()
    }

    pub(crate) fn put_alias(&self, name: &str, targets: &[&str]) -> Result<(), Error> {
        let targets = targets.iter().map(|name| address(name)).collect();
        self.run(self.directory.put_alias(AliasEntry { address: address(name), targets }))
    }

    /// Each account's name and detail, or what there is in place of accounts.
    fn resolve(&self, name: &str) -> Result<Vec<String>, Resolution> {
        match self.directory.resolve(&address(name)) {
            Resolution::Local(targets) => Ok(targets
                .into_iter()
                .map(|target| {
                    let entry = self.directory.account_by_id(target.account).unwrap();
                    assert_eq!((&entry.address, entry.partition), (&target.address, target.partition));
                    assert_eq!(entry.quota_bytes, target.quota_bytes);
                    format!("{} {}", target.address.local(), target.detail.as_deref().unwrap_or("-"))
                })
                .collect()),
            other => Err(other),
        }
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// An address; a bare name is one of `example.org`.
pub(crate) fn address(text: &str) -> EmailAddress {
    let domain = if text.contains('@') { "" } else { "@example.org" };
    EmailAddress::parse(&format!("{text}{domain}")).unwrap()
}

fn credential() -> Credential {
    let keys = |bytes: usize| ScramKeys {
        salt: vec![1; 16],
        iterations: 4_096,
        stored_key: vec![2; bytes],
        server_key: vec![3; bytes],
    };
    Credential { argon2id: "$argon2id$...".to_owned(), scram_sha256: keys(32), scram_sha1: keys(20) }
}

fn new_account(name: &str) -> NewAccount {
    NewAccount {
        address: address(name),
        display_name: "Bob B\u{f6}b".to_owned(),
        credential: Some(credential()),
        quota_bytes: Some(1 << 30),
        created: at(5),
    }
}

#[test]
fn what_is_put_is_found_after_a_restart() {
    let world = World::new();
    let bob = world.create("Bob");
    world.put_alias("Sales", &["bob+sales"]).unwrap();
    world.run(world.directory.set_catch_all("example.org", Some(&address("bob")))).unwrap();
    let generation = world.directory.generation();

    let world = world.reopen();
    assert_eq!(world.directory.generation(), generation);
    assert_eq!(bob.address.to_string(), "Bob@example.org");
    assert_eq!((bob.enabled, bob.created, bob.credential.as_ref()), (true, at(5), Some(&credential())));
    assert_eq!(world.directory.account_by_id(bob.id), Some(bob.clone()));
    assert_eq!(world.directory.account_by_address(&address("bOB")), Some(bob.clone()));
    let alias = world.directory.alias(&address("sales")).unwrap();
    assert_eq!(alias, AliasEntry { address: address("Sales"), targets: vec![address("bob+sales")] });
    let domain = world.directory.domain("EXAMPLE.org").unwrap();
    assert_eq!(
        (domain.name.as_str(), domain.catch_all, domain.created),
        ("example.org", Some(address("bob")), at(1))
    );
    let eve = world.create("eve");
    assert_eq!(eve.id, AccountId(bob.id.0 + 1));
}

#[test]
fn a_domain_is_ours_from_its_adding_to_its_removal() {
    let world = World::new();
    let directory = &world.directory;
    let add = |name| world.run(directory.add_domain(name, at(2)));
    let remove = |name| world.run(directory.remove_domain(name));
    assert_eq!(add("B\u{fc}cher.example"), Ok(()));
    assert_eq!(add("xn--bcher-kva.EXAMPLE"), Err(Error::Exists));
    assert_eq!(add("exa mple"), Err(Error::Invalid(AddressError::Domain)));
    assert_eq!(add("[192.0.2.1]"), Err(Error::Invalid(AddressError::Domain)));
    assert_eq!(remove("nowhere.example"), Err(Error::NotFound));

    let names = |after, limit| -> Vec<String> {
        directory.domains(after, limit).into_iter().map(|domain| domain.name).collect()
    };
    assert_eq!(names(None, 9), ["example.org", "xn--bcher-kva.example"]);
    assert_eq!(names(None, 1), ["example.org"]);
    assert_eq!(names(Some("example.org"), 9), ["xn--bcher-kva.example"]);

    let anna = world.create("anna@b\u{fc}cher.example");
    for _ in 0..2 {
        assert_eq!(world.put_alias("info@b\u{fc}cher.example", &["anna@b\u{fc}cher.example"]), Ok(()));
    }
    assert_eq!(remove("xn--bcher-kva.example"), Err(Error::InUse));
    world.run(directory.delete_account(anna.id)).unwrap();
    assert_eq!(remove("xn--bcher-kva.example"), Err(Error::InUse));
    world.run(directory.remove_alias(&address("info@b\u{fc}cher.example"))).unwrap();
    assert_eq!(remove("xn--bcher-kva.example"), Ok(()));
    assert_eq!(directory.domain("xn--bcher-kva.example"), None);
    assert_eq!(directory.resolve(&anna.address), Resolution::NotLocal);
}

#[test]
fn an_account_on_its_way_keeps_its_domain() {
    let world = World::new();
    let mut create = pin!(world.directory.create_account(new_account("bob")));
    let is_created = create.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert_eq!(world.run(world.directory.remove_domain("example.org")), Err(Error::InUse));
    assert_eq!(world.run(world.directory.create_account(new_account("BOB"))), Err(Error::Exists));
    if !is_created {
        world.run(create).unwrap();
    }
    assert!(world.directory.account_by_address(&address("bob")).is_some());
}

#[test]
fn an_address_belongs_to_one_account_or_alias() {
    let world = World::new();
    let bob = world.create("bob");
    world.put_alias("sales", &["bob"]).unwrap();
    let create = |name| world.run(world.directory.create_account(new_account(name)));
    assert_eq!(create("BOB"), Err(Error::Exists));
    assert_eq!(create("Sales"), Err(Error::Exists));
    assert_eq!(create("bob@elsewhere.example"), Err(Error::UnknownDomain));
    assert_eq!(world.put_alias("Bob", &["sales"]), Err(Error::Exists));
    let named = NewAccount { display_name: "x".repeat(DISPLAY_NAME_BYTES_MAX + 1), ..new_account("eve") };
    let refused = world.run(world.directory.create_account(named));
    assert!(matches!(refused, Err(Error::Limit { .. })));

    world.run(world.directory.delete_account(bob.id)).unwrap();
    assert_eq!(world.run(world.directory.delete_account(bob.id)), Err(Error::NotFound));
    assert_eq!(
        (world.directory.account_by_id(bob.id), world.directory.accounts(None, 9)),
        (None, Vec::new())
    );
    assert!(create("bob").unwrap().id > bob.id, "an id is never given again");
}

#[test]
fn an_account_changes_and_stays_itself() {
    let world = World::new();
    let (bob, eve) = (world.create("bob"), world.create("eve"));
    let update = |entry: AccountEntry| {
        world.run(world.directory.update_account(bob.id, move |account| *account = entry))
    };
    let other = AccountEntry {
        id: eve.id,
        created: at(99),
        address: address("Robert"),
        enabled: false,
        credential: None,
        quota_bytes: None,
        partition: PartitionId((bob.partition.0 + 1) % PARTITIONS),
        ..bob.clone()
    };
    let changed = update(other.clone()).unwrap();
    assert_eq!(changed, AccountEntry { id: bob.id, created: bob.created, ..other });
    assert_eq!(world.directory.account_by_address(&address("bob")), None);
    assert_eq!(world.directory.account_by_address(&address("robert")), Some(changed.clone()));

    let spelled = AccountEntry { address: address("ROBERT"), ..changed.clone() };
    assert_eq!(update(spelled.clone()), Ok(spelled.clone()), "another case is no other address");
    let taken = AccountEntry { address: address("eve"), ..changed.clone() };
    assert_eq!(update(taken), Err(Error::Exists));
    let foreign = AccountEntry { address: address("bob@elsewhere.example"), ..changed.clone() };
    assert_eq!(update(foreign), Err(Error::UnknownDomain));
    let beyond = AccountEntry { partition: PartitionId(PARTITIONS), ..changed };
    assert_eq!(update(beyond), Err(Error::NotFound));
    assert_eq!(world.directory.account_by_id(bob.id), Some(spelled));
    let nobody = world.run(world.directory.update_account(AccountId(99), |_| ()));
    assert_eq!(nobody, Err(Error::NotFound));
}

#[test]
fn accounts_are_listed_in_pages_and_spread_over_partitions() {
    let world = World::new();
    world.run(world.directory.add_domain("example.com", at(1))).unwrap();
    let mut counts = [0_u32; PARTITIONS as usize];
    for i in 0..320 {
        let domain = ["example.org", "example.com"][i % 2];
        counts[world.create(&format!("user{i:03}@{domain}")).partition.0 as usize] += 1;
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least >= 14 && *most <= 26, "{counts:?}");

    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = world.directory.accounts(after.as_ref(), 50);
        let Some(last) = page.last() else { break };
        after = Some(last.address.clone());
        listed.extend(page.iter().map(|account| account.address.to_string()));
    }
    let mut expected: Vec<String> =
        (0..320).map(|i| format!("user{i:03}@example.{}", ["org", "com"][i % 2])).collect();
    expected.sort_by_key(|text| text.split('@').rev().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(listed, expected);
}

#[test]
fn partitions_know_how_many_accounts_they_have() {
    let world = World::new();
    let count = |partition| world.directory.view(|view| view.accounts_of_partition(partition));
    let bob = world.create("bob");
    let other = PartitionId((bob.partition.0 + 1) % PARTITIONS);
    assert_eq!((count(bob.partition), count(other)), (1, 0));
    world.run(world.directory.update_account(bob.id, |account| account.partition = other)).unwrap();
    assert_eq!((count(bob.partition), count(other)), (0, 1));
    world.run(world.directory.delete_account(bob.id)).unwrap();
    assert_eq!((count(bob.partition), count(other)), (0, 0));
}

#[test]
fn a_recipient_is_found_by_address_detail_alias_and_catch_all() {
    let world = World::new();
    for name in ["bob", "eve", "carol+x", "gone"] {
        world.create(name);
    }
    world.put_alias("sales", &["bob+sold", "eve"]).unwrap();
    world.put_alias("all", &["sales", "eve", "bob", "carol+x"]).unwrap();
    world.put_alias("left", &["gone"]).unwrap();
    let gone = world.directory.account_by_address(&address("gone")).unwrap();
    world.run(world.directory.delete_account(gone.id)).unwrap();

    for (recipient, found) in [
        ("BOB", Ok(vec!["bob -"])),
        ("bob+a+b", Ok(vec!["bob a+b"])),
        ("carol+x", Ok(vec!["carol+x -"])),
        ("carol+y", Err(Resolution::UnknownUser)),
        ("sales", Ok(vec!["bob sold", "eve -"])),
        ("sales+may", Ok(vec!["bob sold", "eve may"])),
        ("all", Ok(vec!["bob sold", "eve -", "carol+x -"])),
        ("nobody", Err(Resolution::UnknownUser)),
        ("left", Err(Resolution::UnknownUser)),
        ("bob@elsewhere.example", Err(Resolution::NotLocal)),
        ("bob@[192.0.2.1]", Err(Resolution::NotLocal)),
    ] {
        let found = found.map(|names: Vec<&str>| names.into_iter().map(str::to_owned).collect());
        assert_eq!(world.resolve(recipient), found, "{recipient}");
    }

    let catch_all = |to: Option<&str>| {
        let to = to.map(address);
        world.run(world.directory.set_catch_all("example.org", to.as_ref()))
    };
    assert_eq!(catch_all(Some("nobody")), Err(Error::NotFound));
    assert_eq!(catch_all(Some("sales+caught")), Ok(()));
    assert_eq!(world.resolve("nobody+x").unwrap(), ["bob sold", "eve caught"]);
    assert_eq!(world.resolve("bob").unwrap(), ["bob -"]);
    assert_eq!(catch_all(None), Ok(()));
    assert_eq!(world.resolve("nobody"), Err(Resolution::UnknownUser));
    let none = world.run(world.directory.set_catch_all("elsewhere.example", None));
    assert_eq!(none, Err(Error::NotFound));
}

#[test]
fn a_disabled_account_receives_nothing() {
    let world = World::new();
    let (bob, _) = (world.create("bob"), world.create("eve"));
    world.put_alias("both", &["bob", "eve"]).unwrap();
    world.put_alias("one", &["bob"]).unwrap();
    world.run(world.directory.update_account(bob.id, |account| account.enabled = false)).unwrap();
    assert_eq!(world.resolve("bob"), Err(Resolution::Disabled));
    assert_eq!(world.resolve("one"), Err(Resolution::Disabled));
    assert_eq!(world.resolve("both").unwrap(), ["eve -"]);
}

#[test]
fn aliases_do_not_run_in_circles() {
    let world = World::new();
    world.create("bob");
    assert_eq!(world.put_alias("a0", &["a0"]), Err(Error::AliasLoop));
    assert_eq!(world.put_alias("a0", &["missing"]), Err(Error::NotFound));
    assert!(matches!(world.put_alias("a0", &[]), Err(Error::Limit { .. })));
    assert!(matches!(world.put_alias("a0", &["bob"; ALIAS_TARGETS_MAX + 1]), Err(Error::Limit { .. })));
    assert_eq!(world.put_alias("x@elsewhere.example", &["bob"]), Err(Error::UnknownDomain));
    assert_eq!(world.directory.aliases(None, 9), [], "nothing of what was refused is there");

    assert_eq!(world.put_alias("a0", &["bob"; ALIAS_TARGETS_MAX]), Ok(()));
    for depth in 1..ALIAS_DEPTH_MAX {
        let (name, target) = (format!("a{depth}"), format!("a{}", depth - 1));
        assert_eq!(world.put_alias(&name, &[&target, "bob"]), Ok(()), "{depth}");
    }
    let deepest = format!("a{}", ALIAS_DEPTH_MAX - 1);
    assert_eq!(world.resolve(&deepest).unwrap(), ["bob -"]);
    assert_eq!(world.put_alias("deeper", &[&deepest]), Err(Error::AliasLoop));
    assert_eq!(world.put_alias("a0", &["bob", "a3+x"]), Err(Error::AliasLoop));

    // A longer way in the middle makes what lies before it too long; mail is then not lost but
    // refused.
    world.put_alias("b", &["a0"]).unwrap();
    world.put_alias("a1", &["b"]).unwrap();
    assert_eq!(world.resolve(&deepest), Err(Resolution::AliasLoop));

    let names: Vec<_> =
        world.directory.aliases(Some(&address("a6")), 9).into_iter().map(|a| a.address).collect();
    assert_eq!(names, [address("a7"), address("b")]);
    assert_eq!(world.run(world.directory.remove_alias(&address("bob"))), Err(Error::NotFound));
}

#[test]
fn wide_aliases_are_followed_once_and_bounded() {
    let world = World::new();
    world.create("bob");
    let names: Vec<String> = (0..20).map(|i| format!("list{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        assert_eq!(world.put_alias(name, &["bob"; ALIAS_TARGETS_MAX]), Ok(()));
    }
    let enough = EXPANSION_TARGETS_MAX / (ALIAS_TARGETS_MAX + 1);
    assert!(enough > ALIAS_DEPTH_MAX, "more beside each other than could be below each other");
    assert_eq!(world.put_alias("most", &names[..enough]), Ok(()));
    assert_eq!(world.resolve("most").unwrap(), ["bob -"]);
    assert_eq!(world.put_alias("more", &names[..=enough]), Err(Error::AliasLoop));
    assert_eq!(world.put_alias("often", &["list0"; 20]), Ok(()), "each is looked into once");
}

#[test]
fn a_login_name_is_an_address_a_name_or_an_alias_of_one() {
    let world = World::new();
    let (bob, _) = (world.create("bob"), world.create("eve"));
    world.put_alias("robert", &["bob"]).unwrap();
    world.put_alias("boss", &["robert"]).unwrap();
    world.put_alias("both", &["bob", "eve"]).unwrap();
    world.run(world.directory.set_catch_all("example.org", Some(&address("bob")))).unwrap();
    let log_in = |login, domain| world.directory.account_by_login(login, domain).map(|account| account.id);
    for login in ["bob@example.org", "BOB@Example.ORG", "robert@example.org", "boss@example.org"] {
        assert_eq!(log_in(login, None), Some(bob.id), "{login}");
    }
    assert_eq!(log_in("Bob", Some("example.org")), Some(bob.id));
    assert_eq!(log_in("bob", None), None);
    for login in ["both", "bob+x", "nobody", "bob@elsewhere.example", "b b", "", "@"] {
        assert_eq!(log_in(login, Some("example.org")), None, "{login}");
    }
}

#[test]
fn a_secret_is_made_once() {
    let world = World::new();
    let ask = |world: &World, fresh: u8| {
        world.run(world.directory.secret("scram", Secret::new([fresh; 32]))).unwrap()
    };
    assert_eq!(ask(&world, 1), Secret::new([1; 32]));
    assert_eq!(ask(&world.reopen(), 2), Secret::new([1; 32]));
}

fn dkim_key(selector: &str, state: DkimState) -> DkimKey {
    DkimKey {
        selector: selector.to_owned(),
        algorithm: DkimAlgorithm::Ed25519,
        state,
        der: Secret::new(selector.as_bytes().to_vec()),
        created: at(7),
    }
}

#[test]
fn a_domain_has_keys_that_outlive_a_restart_and_never_print() {
    let world = World::new();
    let add = |world: &World, domain: &str, key| world.run(world.directory.add_dkim_key(domain, key));
    let set = |world: &World, selector: &str, state| {
        world.run(world.directory.set_dkim_state("example.org", selector, state))
    };
    add(&world, "Example.ORG", dkim_key("a", DkimState::Waiting)).unwrap();
    assert_eq!(add(&world, "example.org", dkim_key("a", DkimState::Active)), Err(Error::Exists));
    assert_eq!(add(&world, "elsewhere.example", dkim_key("a", DkimState::Active)), Err(Error::UnknownDomain));
    for wrong in ["", "A", "a_b", "a..b", "a b", "-a"] {
        let refused = add(&world, "example.org", dkim_key(wrong, DkimState::Active)).unwrap_err();
        assert!(matches!(refused, Error::Selector | Error::Limit { .. }), "{wrong:?}: {refused:?}");
    }
    assert_eq!(world.directory.signing_keys("example.org"), None, "a key that waits does not sign");
    set(&world, "A", DkimState::Active).unwrap();
    assert_eq!(set(&world, "b", DkimState::Active), Err(Error::NotFound));
    let world = world.reopen();
    let keys = world.directory.dkim_keys("example.org");
    assert_eq!(keys, [dkim_key("a", DkimState::Active)]);
    assert!(!format!("{keys:?}").contains("97"), "the bytes of a key are printed: {keys:?}");
    for (name, expected) in [
        ("example.org", Some("example.org")),
        ("a.b.Example.org", Some("example.org")),
        ("notexample.org", None),
    ] {
        let found = world.directory.signing_keys(name).map(|(domain, _)| domain);
        assert_eq!(found.as_deref(), expected, "{name}");
    }
    for i in 1..DKIM_KEYS_MAX {
        add(&world, "example.org", dkim_key(&format!("k{i}"), DkimState::Waiting)).unwrap();
    }
    let full = Error::Limit { what: "keys of a domain", max: DKIM_KEYS_MAX };
    assert_eq!(add(&world, "example.org", dkim_key("z", DkimState::Waiting)), Err(full));
    world.run(world.directory.remove_dkim_key("example.org", "k1")).unwrap();
    assert_eq!(world.run(world.directory.remove_dkim_key("example.org", "k1")), Err(Error::NotFound));
    assert_eq!(world.directory.dkim_keys("example.org").len(), DKIM_KEYS_MAX - 1);
    // A domain that comes back does not come with the keys it had.
    world.run(world.directory.remove_domain("example.org")).unwrap();
    world.run(world.directory.add_domain("example.org", at(2))).unwrap();
    assert_eq!(world.directory.dkim_keys("example.org"), []);
}

#[test]
fn every_change_moves_the_generation() {
    let world = World::new();
    let mut before = world.directory.generation();
    let mut changed = pin!(world.directory.changed(before));
    assert!(changed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut moved = || {
        let now = world.directory.generation();
        std::mem::replace(&mut before, now) < now
    };
    let bob = world.create("bob");
    assert!(moved());
    world.run(world.directory.update_account(bob.id, |account| account.quota_bytes = None)).unwrap();
    assert!(moved());
    world.put_alias("sales", &["bob"]).unwrap();
    assert!(moved());
    world.put_alias("sales", &["nobody"]).unwrap_err();
    assert!(!moved(), "a change that is refused is none");
    assert_eq!(world.run(changed), world.directory.generation());
}

#[test]
fn the_longest_addresses_fit() {
    let world = World::new();
    let label = "d".repeat(63);
    let domain = format!("{label}.{label}.{label}.x");
    world.run(world.directory.add_domain(&domain, at(1))).unwrap();
    let name = format!("{}@{domain}", "A".repeat(60));
    assert_eq!(name.len(), ADDRESS_BYTES_MAX);
    let account = world.create(&name);
    assert_eq!(world.directory.accounts(None, 9), [account]);
}
