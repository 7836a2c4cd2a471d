//! An account's entry and its mailboxes are two commits, on two shards: what a failure in between leaves, and
//! how it is mended.

#[path = "../../shard/tests/common/alone.rs"]
mod alone;
#[path = "../../shard/tests/common/settings.rs"]
mod settings;
#[path = "../../shard/tests/common/still.rs"]
mod still;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use account::{Account, Flags, MailboxName, NewMessage};
use admin::{Exit, Failure, Request, Response, execute};
use base::{AccountId, PartitionId, ShardId};
use directory::{EmailAddress, Resolution};
use router::{Inbox, LocalFuture as Work, Router};
use shard::Shard;
use storage_engine::{Disk, Engine, Options, Simulated, prepare};

use settings::settings;
use still::{NOW, Still};

const SHARDS: u16 = 2;

/// Two shards on an instant disk; the first has the directory.
struct Server {
    disk: Simulated,
    shards: Vec<Rc<Shard>>,
    inboxes: Vec<Inbox<Shard>>,
}

impl Server {
    fn new() -> Self {
        let disk = Simulated::instant();
        let place = Disk::simulated(&disk);
        let options = Options { partitions: 2, segment_bytes: 1 << 20, ..Options::default() };
        let lock = prepare(&place, &options, SHARDS).expect("the disk is empty");
        let (router, inboxes) = Router::new(SHARDS);
        let shards = (0..SHARDS).map(|id| {
            let engine = Engine::open(&place, &options, id, SHARDS).expect("it was prepared");
            let world = Rc::new(Still::default());
            Shard::new(
                ShardId(id),
                engine,
                router.clone(),
                Arc::new(settings(1 << 20, false)),
                world,
                [3; 32],
            )
        });
        let shards = shards.collect();
        drop(lock);
        let server = Self { disk, shards, inboxes };
        server.ask(Request::DomainAdd { name: "example.org".to_owned() }).expect("it is new");
        server
    }

    /// Turns both shards until the future is ready.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut future = pin!(future);
        let mut work: Vec<Work> = Vec::new();
        for _ in 0..10_000 {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return value;
            }
            for (shard, inbox) in self.shards.iter().zip(&self.inboxes) {
                while let Some(job) = inbox.try_next() {
                    work.push(job.run(Rc::clone(shard)));
                }
            }
            work.retain_mut(|work| work.as_mut().poll(cx).is_pending());
        }
        panic!("the future is never ready");
    }

    fn ask(&self, request: Request) -> Result<Response, Failure> {
        self.wait(execute(&self.shards[0], request, Vec::new()))
    }

    fn add(&self, name: &str) -> Result<Response, Failure> {
        self.ask(Request::AccountAdd {
            address: format!("{name}@example.org"),
            password: None,
            display_name: String::new(),
            quota_bytes: None,
        })
    }

    /// Where the second shard thinks that mail goes.
    fn resolution(&self, name: &str) -> Resolution {
        let address = EmailAddress::parse(&format!("{name}@example.org")).expect("a good address");
        self.wait(self.shards[1].people.resolve(&self.shards[1], &address)).expect("both are there")
    }

    fn account(&self, name: &str) -> Account {
        let Resolution::Local(targets) = self.resolution(name) else { panic!("{name} is not there") };
        let shard = self.shards.iter().find(|shard| shard.owns(targets[0].partition));
        shard.expect("somebody owns it").account(targets[0].partition, targets[0].account, None)
    }

    /// Fills the second shard's part of the disk; the first one's has room left.
    fn fill_the_second(&self) {
        let stranger = self.shards[1].account(PartitionId(1), AccountId(u64::MAX), None);
        self.wait(stranger.provision(NOW)).expect("there is room");
        let inbox = stranger.mailbox(&MailboxName::inbox()).expect("just made").id;
        self.disk.set_full(true);
        for bytes in [100_000, 10_000, 100] {
            let data = Arc::new(vec![b'x'; bytes]);
            let message =
                NewMessage { content: data.into(), flags: Flags::NONE, keywords: Vec::new(), received: NOW };
            while self.wait(stranger.append(inbox, vec![message.clone()], NOW)).is_ok() {}
        }
    }
}

#[test]
fn an_account_whose_mailboxes_could_not_be_made_is_known_to_all_and_mended_by_the_same_request() {
    let server = Server::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        assert_eq!(server.resolution(name), Resolution::UnknownUser, "what the second shard remembers");
    }
    server.fill_the_second();
    let failed: Vec<&str> = names.into_iter().filter(|name| server.add(name).is_err()).collect();
    assert!(!failed.is_empty() && failed.len() < names.len(), "only the second shard is full: {failed:?}");
    for name in &failed {
        // Its entry is in: whoever asks is told so, or the sender would get a bounce.
        assert!(!server.account(name).is_provisioned());
    }
    server.disk.set_full(false);
    for name in &failed {
        assert_eq!(server.add(name).err().map(|failure| failure.exit), Some(Exit::Exists));
        assert!(server.account(name).is_provisioned(), "{name} has its mailboxes now");
    }
}
