//! What is too large for one transaction, what meets a change that is on its way, and what a full disk says.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use account::{
    Account, Error, FlagChange, FlagMode, Flags, KEYWORDS_MAX, MailboxName, NewMessage,
    ROWS_PER_TRANSACTION_MAX, Recipient, SUBSCRIPTIONS_MAX, deliver,
};
use base::{AccountId, MailboxId, PartitionId, Ranges, Secret, Timestamp};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);
const PARTITION: PartitionId = PartitionId(3);
const ANN: AccountId = AccountId(7);
/// More messages than rows fit into one frame of this store.
const MANY: usize = ROWS_PER_TRANSACTION_MAX + 8_000;

fn open(disk: &Simulated) -> Engine {
    let disk = Disk::simulated(disk);
    let options = Options { partitions: 4, segment_bytes: 1 << 20, ..Options::default() };
    prepare(&disk, &options, 1).expect("a simulated store");
    Engine::open(&disk, &options, 0, 1).expect("it was just prepared")
}

fn account(engine: &Engine) -> Account {
    Account::new(engine.clone(), PARTITION, ANN, None)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Turns the engine until the future is ready.
fn wait<T>(engine: &Engine, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = poll(future.as_mut()) {
            return value;
        }
        engine.turn();
    }
    panic!("the future is never ready");
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).expect("a valid name")
}

fn message(bytes: usize) -> NewMessage {
    NewMessage { content: vec![b'x'; bytes].into(), flags: Flags::NONE, keywords: vec![], received: NOW }
}

fn inbox(account: &Account) -> MailboxId {
    account.mailbox(&MailboxName::inbox()).expect("everybody has one").id
}

fn exists(account: &Account, mailbox: &str) -> usize {
    account.mailbox(&name(mailbox)).map_or(0, |mailbox| mailbox.status.exists as usize)
}

/// An account with [`MANY`] messages in INBOX.
fn crowded(engine: &Engine) -> Account {
    let account = account(engine);
    wait(engine, account.provision(NOW)).expect("the account is new");
    let inbox = inbox(&account);
    let messages = (0..1_000).map(|_| message(3)).collect();
    wait(engine, account.append(inbox, messages, NOW)).expect("there is room");
    while exists(&account, "INBOX") < MANY {
        let left = MANY - exists(&account, "INBOX");
        let uids = (1..=left.min(1_000) as u32).collect();
        wait(engine, account.copy(inbox, &uids, inbox, NOW)).expect("there is room");
    }
    account
}

#[test]
fn what_is_larger_than_a_frame_is_moved_and_deleted_in_steps() {
    let engine = open(&Simulated::instant());
    let account = crowded(&engine);
    wait(&engine, account.create_mailbox(&name("Far"), None, NOW)).expect("it is new");
    let far = account.mailbox(&name("Far")).expect("just made").id;
    let all = [(1, u32::MAX)].iter().fold(Ranges::new(), |mut all, (first, last)| {
        all.insert_range(*first, *last);
        all
    });
    let moved = wait(&engine, account.move_messages(inbox(&account), &all, far, NOW)).expect("in steps");
    assert_eq!((moved.sources.len(), moved.targets.len()), (MANY, MANY));
    assert_eq!((exists(&account, "INBOX"), exists(&account, "Far")), (0, MANY));
    assert_eq!(account.usage().messages as usize, MANY);
    wait(&engine, account.delete_mailbox(&name("Far"))).expect("in steps");
    assert_eq!(account.mailbox(&name("Far")), Err(Error::NotFound));
    assert_eq!((account.usage().messages, account.usage().bytes), (0, 0));
    assert_eq!(account.uids(far), Ranges::new());
}

#[test]
fn renaming_a_large_inbox_goes_on_where_it_was_cut_short() {
    let engine = open(&Simulated::instant());
    let account = crowded(&engine);
    let (inbox, old) = (MailboxName::inbox(), name("deep/old"));
    let mut renaming = Box::pin(account.rename_mailbox(&inbox, &old, NOW));
    assert!(poll(renaming.as_mut()).is_pending(), "it lets others have a turn after a step");
    drop(renaming);
    let moved = exists(&account, "deep/old");
    assert!(moved > 0 && moved < MANY, "{moved} were moved");
    assert_eq!(exists(&account, "INBOX"), MANY - moved);
    wait(&engine, account.rename_mailbox(&inbox, &old, NOW)).expect("the same request goes on");
    assert_eq!((exists(&account, "INBOX"), exists(&account, "deep/old")), (0, MANY));
    let again = wait(&engine, account.rename_mailbox(&inbox, &old, NOW));
    assert_eq!(again, Err(Error::Exists), "that renaming is over");
}

#[test]
fn a_renaming_may_take_a_name_that_it_sets_free() {
    let engine = open(&Simulated::instant());
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    wait(&engine, account.create_mailbox(&name("b/c/c/8"), None, NOW)).expect("it is new");
    wait(&engine, account.delete_mailbox(&name("b"))).expect("those below stay");
    wait(&engine, account.rename_mailbox(&name("b/c"), &name("b"), NOW)).expect("b is free, and b/c by then");
    assert!(account.mailbox(&name("b/c/8")).is_ok() && account.mailbox(&name("b/c/c")).is_err());
    let same = wait(&engine, account.rename_mailbox(&name("b/c"), &name("b/c"), NOW));
    assert_eq!(same, Err(Error::Exists));
}

/// Each name was compared with all others by reading them all, and renaming took about as long as making. Now
/// it is 30 times as fast.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn many_mailboxes_are_renamed_in_far_less_time_than_they_are_made() {
    let engine = open(&Simulated::instant());
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    let begin = std::time::Instant::now();
    for i in 0..1_000 {
        wait(&engine, account.create_mailbox(&name(&format!("a/{i}")), None, NOW)).expect("it is new");
    }
    let made = begin.elapsed();
    let begin = std::time::Instant::now();
    wait(&engine, account.rename_mailbox(&name("a"), &name("b/c"), NOW)).expect("all names are free");
    let renamed = begin.elapsed();
    assert!(account.mailbox(&name("b/c/999")).is_ok() && account.mailbox(&name("a/0")).is_err());
    assert!(renamed * 4 < made, "making takes {made:?}, renaming {renamed:?}");
}

#[test]
fn subscriptions_are_bounded_whether_or_not_their_mailboxes_are_there() {
    let engine = open(&Simulated::new(8));
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    let names: Vec<MailboxName> =
        (account.subscriptions().len()..SUBSCRIPTIONS_MAX).map(|at| name(&format!("gone-{at}"))).collect();
    let mut all: Vec<_> = names.iter().map(|name| Box::pin(account.subscribe(name, true))).collect();
    // At once, for one after the other is slow.
    assert!(all.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
    for one in all {
        wait(&engine, one).expect("there is room");
    }
    let (more, last) = (name("more"), names.last().expect("there are many"));
    assert_eq!(wait(&engine, account.subscribe(&more, true)), Err(Error::LimitReached));
    wait(&engine, account.subscribe(last, true)).expect("it is so already");
    wait(&engine, account.subscribe(last, false)).expect("it is one of them");
    wait(&engine, account.subscribe(&more, true)).expect("there is room again");
    assert_eq!(account.subscriptions().len(), SUBSCRIPTIONS_MAX);
}

#[test]
fn a_keyword_that_is_on_its_way_to_a_message_keeps_its_place() {
    for (seed, turns) in (1..=40).flat_map(|seed| (0..6).map(move |turns| (seed, turns))) {
        give_a_keyword_while_another_takes_a_place(seed, turns);
    }
}

/// `turns` of the engine lie between the first change and one that is still on its way when that is done.
fn give_a_keyword_while_another_takes_a_place(seed: u64, turns: usize) {
    let engine = open(&Simulated::new(seed));
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    let inbox = inbox(&account);
    let tagged = |keywords| NewMessage { keywords, ..message(1) };
    let all = (0..KEYWORDS_MAX).map(|at| format!("k{at}")).collect();
    wait(&engine, account.append(inbox, vec![tagged(all), message(1)], NOW)).expect("there is room");
    wait(&engine, account.remove_messages(inbox, &[1].into_iter().collect())).expect("it is there");
    let add = |keyword: &str| FlagChange {
        mode: FlagMode::Add,
        flags: Flags::NONE,
        keywords: vec![keyword.to_owned()],
    };
    let (second, k0, k1) = ([2].into_iter().collect(), add("k0"), add("k1"));
    let mut before = Box::pin(account.store(inbox, &second, &k0, None));
    assert!(poll(before.as_mut()).is_pending());
    let mut append = Box::pin(account.append(inbox, vec![tagged(vec!["new".to_owned()])], NOW));
    assert!(poll(append.as_mut()).is_pending());
    for _ in 0..turns {
        engine.turn();
    }
    let mut after = Box::pin(account.store(inbox, &second, &k1, None));
    assert!(poll(after.as_mut()).is_pending());
    wait(&engine, append).expect("mail is taken whatever its keywords");
    wait(&engine, before).expect("it is known");
    wait(&engine, after).expect("it is known");
    let names = account.keywords();
    let of = |uid| -> Vec<&str> {
        let message = account.message(inbox, base::Uid(uid)).expect("it is there");
        message.keywords.indexes().map(|at| names[at].as_str()).collect()
    };
    assert_eq!(of(2), ["k0", "k1"]);
    assert!(of(3).iter().all(|keyword| *keyword == "new"), "{:?}", of(3));
}

#[test]
fn a_message_that_is_on_its_way_goes_with_the_mailbox_it_goes_to() {
    let disk = Simulated::new(5);
    let engine = open(&disk);
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    let trash = account.mailbox(&name("Trash")).expect("provisioned");
    wait(&engine, account.append(trash.id, vec![message(100)], NOW)).expect("there is room");
    let to_trash = [Recipient { account: ANN, quota_bytes: None, mailbox: Some(trash.name.clone()) }];
    let mut delivery = Box::pin(deliver(&engine, PARTITION, &to_trash, vec![b'x'; 10].into(), NOW));
    let mut append = Box::pin(account.append(trash.id, vec![message(1_000)], NOW));
    assert!(poll(delivery.as_mut()).is_pending() && poll(append.as_mut()).is_pending());
    let mut deletion = Box::pin(account.delete_mailbox(&trash.name));
    assert!(poll(deletion.as_mut()).is_pending());
    // Deleted as far as those are concerned who come later: this one goes to INBOX.
    let late = wait(&engine, deliver(&engine, PARTITION, &to_trash, vec![b'x'; 7].into(), NOW));
    assert_eq!(
        late.first().and_then(|outcome| outcome.as_ref().ok()).map(|it| it.mailbox),
        Some(inbox(&account))
    );
    wait(&engine, delivery);
    wait(&engine, append).expect("it came first");
    wait(&engine, deletion).expect("it was there");
    assert_eq!((account.usage().messages, account.usage().bytes), (1, 7), "only the late one is left");
    assert_eq!(account.uids(trash.id), Ranges::new(), "no row outlives its mailbox");
}

#[test]
fn an_account_without_inbox_gets_one_with_its_first_message() {
    let engine = open(&Simulated::new(6));
    let account = account(&engine);
    let to_ann = [Recipient { account: ANN, quota_bytes: None, mailbox: None }];
    let delivered = wait(&engine, deliver(&engine, PARTITION, &to_ann, vec![b'x'; 7].into(), NOW));
    assert!(matches!(delivered.as_slice(), [Ok(_)]), "{delivered:?}");
    assert_eq!((exists(&account, "INBOX"), account.mailboxes().len()), (1, 6));
    assert_eq!(account.subscriptions().len(), 6);
    wait(&engine, account.provision(NOW)).expect("nothing is left to do");
    assert_eq!(account.mailboxes().len(), 6);
}

#[test]
fn two_who_provision_at_once_give_one_inbox_and_wait_until_it_is_there() {
    let engine = open(&Simulated::new(7));
    let account = account(&engine);
    let mut first = Box::pin(account.provision(NOW));
    assert!(poll(first.as_mut()).is_pending());
    wait(&engine, account.provision(NOW)).expect("the other's is as good");
    assert!(account.is_provisioned(), "whoever is told so finds it");
    wait(&engine, first).expect("there is room");
    assert_eq!(account.mailboxes().len(), 6);
}

#[test]
fn a_full_disk_is_said_to_be_one() {
    let disk = Simulated::instant();
    let engine = open(&disk);
    let account = account(&engine);
    wait(&engine, account.provision(NOW)).expect("the account is new");
    let inbox = inbox(&account);
    disk.set_full(true);
    let mut appended = (0..10).map(|_| wait(&engine, account.append(inbox, vec![message(500_000)], NOW)));
    let refused = appended.find_map(Result::err).expect("ten of these do not fit what is left");
    assert_eq!(refused, Error::NoSpace);
    assert!(refused.is_retryable());
    disk.set_full(false);
    wait(&engine, account.append(inbox, vec![message(500_000)], NOW)).expect("there is room again");
}

#[test]
fn an_access_key_stays_until_it_is_reset_or_its_mailbox_goes() {
    let disk = Simulated::new(8);
    let engine = open(&disk);
    let ann = account(&engine);
    wait(&engine, ann.provision(NOW)).expect("she is new");
    let key = |byte: u8| Secret::new([byte; 32]);
    let made = wait(&engine, ann.create_mailbox(&name("a"), None, NOW)).expect("there is room").id;
    assert_eq!(ann.access_key(made), None);

    // Two sessions need it at the same time.
    let (mut first, mut second) =
        (Box::pin(ann.provide_access_key(made, key(1))), Box::pin(ann.provide_access_key(made, key(2))));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!(wait(&engine, second), Ok(key(1)));
    assert_eq!(wait(&engine, first), Ok(key(1)));
    wait(&engine, ann.rename_mailbox(&name("a"), &name("b"), NOW)).expect("it can be renamed");
    assert_eq!(ann.access_key(made), Some(key(1)));

    wait(&engine, ann.reset_access_key(made, key(3))).expect("it is there");
    let again = open(&disk.crash());
    assert_eq!(account(&again).access_key(made), Some(key(3)), "durable");

    // All of them go, that too which is being made.
    let mut other = Box::pin(ann.provide_access_key(inbox(&ann), key(4)));
    assert!(poll(other.as_mut()).is_pending());
    wait(&engine, ann.remove_access_keys()).expect("there are two");
    assert_eq!(wait(&engine, other), Ok(key(4)));
    assert_eq!((ann.access_key(made), ann.access_key(inbox(&ann))), (None, None));

    wait(&engine, ann.provide_access_key(made, key(5))).expect("it is there");
    wait(&engine, ann.delete_mailbox(&name("b"))).expect("it is there");
    assert_eq!(ann.access_key(made), None);
    assert_eq!(wait(&engine, ann.provide_access_key(made, key(6))), Err(Error::NotFound));
    assert_eq!(wait(&engine, ann.reset_access_key(made, key(6))), Err(Error::NotFound));
}
