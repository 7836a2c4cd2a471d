//! An account against a plain model of one: any sequence of operations, with reopenings in between,
//! leaves the same mailboxes, messages, counters and changes in both.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use account::{Account, FlagChange, FlagMode, Flags, MailboxName, MessageChange, NewMessage};
use base::{AccountId, ChangeNumber, MailboxId, PartitionId, Random, Ranges, Timestamp, Uid};
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

/// With an instant disk nothing waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the disk is instant, and yet this waits"),
    }
}

fn open(disk: &Disk) -> Account {
    let options = Options { partitions: 16, segment_bytes: 1 << 20, ..Options::default() };
    prepare(disk, &options, 1).expect("a simulated store");
    let engine = Engine::open(disk, &options, 0, 1).expect("it was just prepared");
    Account::new(engine, PartitionId(3), AccountId(7), None)
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).expect("a valid name")
}

#[derive(Clone, Debug, PartialEq)]
struct ModelMessage {
    flags: Flags,
    keywords: Vec<String>,
    data: Vec<u8>,
    change: u64,
}

#[derive(Default)]
struct ModelBox {
    next: u32,
    messages: BTreeMap<u32, ModelMessage>,
    gone: BTreeMap<u32, u64>,
}

struct World {
    account: Account,
    boxes: BTreeMap<MailboxId, ModelBox>,
    random: Random,
}

impl World {
    fn any_box(&mut self) -> MailboxId {
        let at = self.random.below(self.boxes.len() as u64) as usize;
        *self.boxes.keys().nth(at).expect("below the length")
    }

    fn any_uids(&mut self, mailbox: MailboxId) -> Ranges {
        let next = self.boxes[&mailbox].next;
        (0..=self.random.below(4)).map(|_| 1 + self.random.below(u64::from(next) + 2) as u32).collect()
    }

    fn step(&mut self) {
        let mailbox = self.any_box();
        match self.random.below(8) {
            0..=2 => self.append(mailbox),
            3 | 4 => self.store(mailbox),
            5 => self.expunge(mailbox),
            6 => self.copy(mailbox),
            _ => self.move_(mailbox),
        }
    }

    fn append(&mut self, mailbox: MailboxId) {
        let new: Vec<NewMessage> = (0..=self.random.below(3))
            .map(|_| NewMessage {
                content: vec![b'x'; self.random.below(300) as usize + 1].into(),
                flags: if self.random.one_in(3) { Flags::SEEN } else { Flags::NONE },
                keywords: if self.random.one_in(4) { vec!["work".to_owned()] } else { vec![] },
                received: NOW,
            })
            .collect();
        let appended = ready(self.account.append(mailbox, new.clone(), NOW)).expect("there is room");
        let model = self.boxes.get_mut(&mailbox).expect("a known mailbox");
        for (uid, message) in appended.uids.iter().zip(new) {
            assert_eq!(uid, model.next, "UIDs are given in order");
            model.next += 1;
            let change = appended.change.0;
            let (flags, keywords, data) = (message.flags, message.keywords, message.content.data.to_vec());
            model.messages.insert(uid, ModelMessage { flags, keywords, data, change });
        }
    }

    fn store(&mut self, mailbox: MailboxId) {
        let uids = self.any_uids(mailbox);
        let modes = [FlagMode::Replace, FlagMode::Add, FlagMode::Remove];
        let change = FlagChange {
            mode: modes[self.random.below(3) as usize],
            flags: [Flags::SEEN, Flags::DELETED, Flags::FLAGGED.with(Flags::SEEN)]
                [self.random.below(3) as usize],
            keywords: if self.random.one_in(3) { vec!["WORK".to_owned()] } else { vec![] },
        };
        let since = self.random.one_in(4).then(|| ChangeNumber(self.account.highest_change().0 / 2));
        let stored = ready(self.account.store(mailbox, &uids, &change, since)).expect("it is there");
        let now = self.account.highest_change().0;
        let model = self.boxes.get_mut(&mailbox).expect("a known mailbox");
        for uid in uids.iter() {
            let Some(message) = model.messages.get_mut(&uid) else {
                assert!(stored.missing.contains(uid));
                continue;
            };
            if since.is_some_and(|since| message.change > since.0) {
                assert!(stored.conflicts.contains(uid));
                continue;
            }
            assert!(stored.uids.contains(uid));
            let before = message.clone();
            let named = !change.keywords.is_empty();
            match change.mode {
                FlagMode::Replace => {
                    message.flags = change.flags;
                    message.keywords = if named { vec!["work".to_owned()] } else { vec![] };
                }
                FlagMode::Add => {
                    message.flags = message.flags.with(change.flags);
                    if named {
                        message.keywords = vec!["work".to_owned()];
                    }
                }
                FlagMode::Remove => {
                    message.flags = message.flags.without(change.flags);
                    if named {
                        message.keywords.clear();
                    }
                }
            }
            if *message != before {
                message.change = now;
            }
        }
    }

    fn expunge(&mut self, mailbox: MailboxId) {
        let uids = self.random.one_in(2).then(|| self.any_uids(mailbox));
        let removed = ready(self.account.expunge(mailbox, uids.as_ref())).expect("it is there");
        let now = self.account.highest_change().0;
        let model = self.boxes.get_mut(&mailbox).expect("a known mailbox");
        let wanted: Ranges = model
            .messages
            .iter()
            .filter(|(uid, message)| {
                message.flags.has(Flags::DELETED) && uids.as_ref().is_none_or(|uids| uids.contains(**uid))
            })
            .map(|(uid, _)| *uid)
            .collect();
        assert_eq!(removed, wanted);
        for uid in removed.iter() {
            model.messages.remove(&uid);
            model.gone.insert(uid, now);
        }
    }

    fn copy(&mut self, from: MailboxId) {
        let (uids, to) = (self.any_uids(from), self.any_box());
        let copied = ready(self.account.copy(from, &uids, to, NOW)).expect("both are there");
        self.copied(from, to, &copied);
    }

    fn copied(&mut self, from: MailboxId, to: MailboxId, copied: &account::Copied) {
        let now = self.account.highest_change().0;
        for (source, target) in copied.sources.iter().zip(copied.targets.iter()) {
            let message = self.boxes[&from].messages[&source].clone();
            let model = self.boxes.get_mut(&to).expect("a known mailbox");
            assert_eq!(target, model.next);
            model.next += 1;
            model.messages.insert(target, ModelMessage { change: now, ..message });
        }
    }

    fn move_(&mut self, from: MailboxId) {
        let (uids, to) = (self.any_uids(from), self.any_box());
        let moved = ready(self.account.move_messages(from, &uids, to, NOW)).expect("both are there");
        self.copied(from, to, &moved);
        let now = self.account.highest_change().0;
        let model = self.boxes.get_mut(&from).expect("a known mailbox");
        for uid in moved.sources.iter() {
            model.messages.remove(&uid);
            model.gone.insert(uid, now);
        }
    }

    fn compare(&self) {
        let (mut bytes, mut count) = (0, 0);
        let names = self.account.keywords();
        for (id, model) in &self.boxes {
            let status = self.account.status(*id).expect("it is there");
            let mut seen = BTreeMap::new();
            self.account.for_each(*id, |message| {
                let data = ready(self.account.body(&message.body)).expect("it was stored");
                let keywords: Vec<String> =
                    message.keywords.indexes().map(|at| names[at].to_lowercase()).collect();
                let change = message.change.0;
                assert_eq!(message.size as usize, data.len());
                seen.insert(message.uid.0, ModelMessage { flags: message.flags, keywords, data, change });
            });
            assert_eq!(seen, model.messages);
            let all = model.messages.values();
            let unseen = all.clone().filter(|message| !message.flags.has(Flags::SEEN)).count();
            let deleted = all.clone().filter(|message| message.flags.has(Flags::DELETED)).count();
            let sizes: u64 = all.map(|message| message.data.len() as u64).sum();
            assert_eq!(
                (status.exists as usize, status.unseen as usize, status.deleted as usize),
                (seen.len(), unseen, deleted)
            );
            let first_unseen = seen.iter().find(|(_, message)| !message.flags.has(Flags::SEEN));
            let first_unseen = first_unseen.map(|(uid, _)| Uid(*uid));
            assert_eq!(self.account.first_unseen(*id, &status), first_unseen);
            assert_eq!(self.account.uids(*id), seen.keys().copied().collect::<Ranges>());
            assert_eq!((status.bytes, status.uid_next), (sizes, Uid(model.next)));
            bytes += sizes;
            count += seen.len() as u64;
            self.compare_changes(*id, model);
        }
        let usage = self.account.usage();
        assert_eq!((usage.bytes, usage.messages), (bytes, count));
    }

    fn compare_changes(&self, id: MailboxId, model: &ModelBox) {
        let after = self.account.highest_change().0 / 2;
        let changes = self.account.changes(id, ChangeNumber(after));
        let updated: BTreeMap<u32, u64> = changes
            .iter()
            .filter_map(|change| match change {
                MessageChange::Updated(message) => Some((message.uid.0, message.change.0)),
                MessageChange::Vanished(..) => None,
            })
            .collect();
        let expected = model.messages.iter().filter(|(_, message)| message.change > after);
        assert_eq!(updated, expected.map(|(uid, message)| (*uid, message.change)).collect());
        let gone: Ranges =
            model.gone.iter().filter(|(_, change)| **change > after).map(|(uid, _)| *uid).collect();
        assert_eq!(self.account.vanished(id, ChangeNumber(after)), gone);
    }
}

#[test]
fn an_account_behaves_like_a_plain_model_of_one() {
    for seed in 1..=25 {
        let disk = Disk::simulated(&Simulated::instant());
        let account = open(&disk);
        ready(account.provision(NOW)).expect("an empty account");
        let made = account.mailboxes();
        let boxes =
            made.iter().take(3).map(|mailbox| (mailbox.id, ModelBox { next: 1, ..ModelBox::default() }));
        let boxes = boxes.collect();
        let mut world = World { account, boxes, random: Random::new(seed) };
        for step in 0..120 {
            world.step();
            if step % 40 == 39 {
                world.compare();
                drop(std::mem::replace(&mut world.account, open(&Disk::simulated(&Simulated::instant()))));
                world.account = open(&disk);
                world.compare();
            }
        }
    }
}

#[test]
fn mailboxes_are_made_renamed_and_removed_with_those_below_them() {
    let account = open(&Disk::simulated(&Simulated::instant()));
    ready(account.provision(NOW)).unwrap();
    let names =
        |account: &Account| account.mailboxes().iter().map(|m| m.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&account), ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]);
    ready(account.create_mailbox(&name("a/b/c"), None, NOW)).unwrap();
    assert_eq!(ready(account.create_mailbox(&name("a/b"), None, NOW)), Err(account::Error::Exists));
    ready(account.rename_mailbox(&name("a"), &name("x/y"), NOW)).unwrap();
    assert!(names(&account).ends_with(&["x", "x/y", "x/y/b", "x/y/b/c"].map(str::to_owned)));
    assert_eq!(ready(account.rename_mailbox(&name("x"), &name("x/z"), NOW)), Err(account::Error::Denied));
    assert_eq!(
        ready(account.rename_mailbox(&name("x/y/b"), &name("Trash"), NOW)),
        Err(account::Error::Exists)
    );
    assert_eq!(ready(account.delete_mailbox(&name("INBOX"))), Err(account::Error::Denied));
    let old = account.mailbox(&name("x/y/b")).unwrap().uid_validity;
    ready(account.delete_mailbox(&name("x/y/b"))).unwrap();
    ready(account.create_mailbox(&name("x/y/b"), None, NOW)).unwrap();
    assert!(
        account.mailbox(&name("x/y/b")).unwrap().uid_validity > old,
        "no client may take it for the old one"
    );
    assert!(names(&account).contains(&"x/y/b/c".to_owned()));
}

#[test]
fn renaming_inbox_moves_its_messages_and_keeps_it() {
    let account = open(&Disk::simulated(&Simulated::instant()));
    ready(account.provision(NOW)).unwrap();
    let inbox = account.mailbox(&MailboxName::inbox()).unwrap();
    let message =
        NewMessage { content: b"x".to_vec().into(), flags: Flags::NONE, keywords: vec![], received: NOW };
    ready(account.append(inbox.id, vec![message], NOW)).unwrap();
    ready(account.rename_mailbox(&MailboxName::inbox(), &name("old"), NOW)).unwrap();
    assert_eq!(account.mailbox(&MailboxName::inbox()).unwrap().status.exists, 0);
    assert_eq!(account.mailbox(&name("old")).unwrap().status.exists, 1);
}

#[test]
fn a_quota_is_kept_by_every_way_in() {
    let disk = Disk::simulated(&Simulated::instant());
    let open_account = open(&disk);
    let account = Account::new(engine_of(&disk), PartitionId(3), AccountId(8), Some(10));
    drop(open_account);
    ready(account.provision(NOW)).unwrap();
    let inbox = account.mailbox(&MailboxName::inbox()).unwrap().id;
    let message = |bytes: usize| NewMessage {
        content: vec![b'x'; bytes].into(),
        flags: Flags::NONE,
        keywords: vec![],
        received: NOW,
    };
    assert_eq!(ready(account.append(inbox, vec![message(11)], NOW)), Err(account::Error::OverQuota));
    ready(account.append(inbox, vec![message(6)], NOW)).unwrap();
    let all: Ranges = [1].into_iter().collect();
    assert_eq!(ready(account.copy(inbox, &all, inbox, NOW)), Err(account::Error::OverQuota));
    let sent = account.mailbox(&name("Sent")).unwrap().id;
    ready(account.move_messages(inbox, &all, sent, NOW)).expect("a move takes no room");
    assert!(account.has_room(4) && !account.has_room(5));
}

fn engine_of(disk: &Disk) -> Engine {
    let options = Options { partitions: 16, segment_bytes: 1 << 20, ..Options::default() };
    Engine::open(disk, &options, 0, 1).expect("prepared before")
}

/// A message with these keywords.
fn tagged(keywords: &[String]) -> NewMessage {
    NewMessage {
        content: b"x".to_vec().into(),
        flags: Flags::NONE,
        keywords: keywords.to_vec(),
        received: NOW,
    }
}

fn keywords_of(account: &Account, mailbox: MailboxId, uid: u32) -> Vec<String> {
    let (names, message) = (account.keywords(), account.message(mailbox, Uid(uid)).expect("it is there"));
    message.keywords.indexes().map(|at| names[at].clone()).collect()
}

#[test]
fn a_full_table_of_keywords_has_room_for_as_many_as_messages_no_longer_have() {
    let account = open(&Disk::simulated(&Simulated::instant()));
    ready(account.provision(NOW)).unwrap();
    let inbox = account.mailbox(&MailboxName::inbox()).unwrap().id;
    let sent = account.mailbox(&name("Sent")).unwrap().id;
    let full: Vec<String> = (0..account::KEYWORDS_MAX).map(|at| format!("k{at}")).collect();
    ready(account.append(inbox, vec![tagged(&full)], NOW)).unwrap();
    let add = |mailbox, uid, keyword: &str| {
        let change =
            FlagChange { mode: FlagMode::Add, flags: Flags::NONE, keywords: vec![keyword.to_owned()] };
        ready(account.store(mailbox, &[uid].into_iter().collect(), &change, None))
    };
    assert_eq!(add(inbox, 1, "new"), Err(account::Error::LimitReached));
    // Mail is taken nevertheless, with those of its keywords that have room.
    let both = ["new".to_owned(), "K7".to_owned()];
    ready(account.append(sent, vec![tagged(&both), tagged(&["x".repeat(101)])], NOW)).unwrap();
    assert_eq!(keywords_of(&account, sent, 1), ["k7"]);
    assert_eq!(keywords_of(&account, sent, 2), [""; 0]);

    // All but k7 are given back with the message that had them: each to one new name.
    ready(account.remove_messages(inbox, &[1].into_iter().collect())).unwrap();
    let more: Vec<NewMessage> = ["n0", "n1", "N0"].map(|keyword| tagged(&[keyword.to_owned()])).into();
    ready(account.append(inbox, more, NOW)).unwrap();
    add(sent, 1, "n2").unwrap();
    for (mailbox, uid, want) in
        [(inbox, 2, vec!["n0"]), (inbox, 3, vec!["n1"]), (inbox, 4, vec!["n0"]), (sent, 1, vec!["n2", "k7"])]
    {
        assert_eq!(keywords_of(&account, mailbox, uid), want);
    }
    assert_eq!(account.keywords().len(), account::KEYWORDS_MAX);
    let rest: Vec<String> = (0..account::KEYWORDS_MAX).map(|at| format!("r{at}")).collect();
    ready(account.append(inbox, vec![tagged(&rest)], NOW)).unwrap();
    assert_eq!(keywords_of(&account, inbox, 5).len(), account::KEYWORDS_MAX - 4, "n0, n1, n2 and k7 stay");
    assert_eq!(keywords_of(&account, inbox, 2), ["n0"]);
}

#[test]
fn subscriptions_go_with_a_renamed_mailbox() {
    let account = open(&Disk::simulated(&Simulated::instant()));
    ready(account.provision(NOW)).unwrap();
    for text in ["a/a/a", "a/d", "gone"] {
        ready(account.create_mailbox(&name(text), None, NOW)).unwrap();
    }
    ready(account.delete_mailbox(&name("gone"))).unwrap();
    for text in ["a/a", "a/a/a", "gone"] {
        ready(account.subscribe(&name(text), true)).unwrap();
    }
    ready(account.rename_mailbox(&name("a"), &name("b"), NOW)).unwrap();
    let subscribed = |account: &Account| {
        let names = account.subscriptions();
        names.iter().map(MailboxName::to_string).filter(|name| name.len() < 4 || name.contains('/')).collect()
    };
    let all: Vec<String> = subscribed(&account);
    assert_eq!(all, ["b/a", "b/a/a"]);
    ready(account.delete_mailbox(&name("b"))).unwrap();
    ready(account.rename_mailbox(&name("b/a"), &name("b"), NOW)).unwrap();
    let all: Vec<String> = subscribed(&account);
    assert_eq!(all, ["b", "b/a"], "one takes the name that the other sets free");
}
