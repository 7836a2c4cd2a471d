//! Where a copy of what was sent goes, whatever the user has made of their mailboxes.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use account::{Account, Error, Flags, MailboxName, SpecialUse};
use base::{AccountId, PartitionId, Timestamp};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);
const PARTITION: PartitionId = PartitionId(3);
const ANN: AccountId = AccountId(7);

fn open() -> Engine {
    let disk = Disk::simulated(&Simulated::instant());
    let options = Options { partitions: 4, segment_bytes: 1 << 20, ..Options::default() };
    prepare(&disk, &options, 1).expect("a simulated store");
    Engine::open(&disk, &options, 0, 1).expect("it was just prepared")
}

fn wait<T>(engine: &Engine, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
        engine.turn();
    }
    panic!("the future is never ready");
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).expect("a valid name")
}

fn file(engine: &Engine, account: &Account) -> Result<(), Error> {
    wait(engine, account.file(SpecialUse::Sent, b"A: b\r\n\r\n".to_vec().into(), Flags::SEEN, NOW))
}

/// Messages, and those without `\Seen`.
fn holds(account: &Account, mailbox: &str) -> (u32, u32) {
    account.mailbox(&name(mailbox)).map_or((0, 0), |found| (found.status.exists, found.status.unseen))
}

#[test]
fn it_goes_where_the_use_is_and_else_where_the_name_is() {
    let engine = open();
    let account = Account::new(engine.clone(), PARTITION, ANN, None);
    file(&engine, &account).expect("an account without mailboxes is given them");
    assert_eq!((holds(&account, "Sent"), account.mailboxes().len()), ((1, 0), 6));
    wait(&engine, account.rename_mailbox(&name("Sent"), &name("Outgoing"), NOW)).expect("it is there");
    wait(&engine, account.create_mailbox(&name("Sent"), None, NOW)).expect("the name is free");
    file(&engine, &account).expect("there is room");
    assert_eq!((holds(&account, "Outgoing"), holds(&account, "Sent")), ((2, 0), (0, 0)));
    wait(&engine, account.delete_mailbox(&name("Outgoing"))).expect("it is there");
    file(&engine, &account).expect("there is room");
    assert_eq!(holds(&account, "Sent"), (1, 0));
    wait(&engine, account.delete_mailbox(&name("Sent"))).expect("it is there");
    file(&engine, &account).expect("it is made again");
    let made = account.mailbox(&name("Sent")).expect("just made");
    assert_eq!((made.special_use, made.status.exists), (Some(SpecialUse::Sent), 1));
    assert!(account.subscriptions().contains(&made.name));
}

#[test]
fn a_full_account_gets_nothing() {
    let engine = open();
    let account = Account::new(engine.clone(), PARTITION, ANN, Some(8));
    file(&engine, &account).expect("8 bytes fit");
    assert_eq!(file(&engine, &account), Err(Error::OverQuota));
    assert_eq!((holds(&account, "Sent"), account.usage().bytes), ((1, 0), 8));
}
