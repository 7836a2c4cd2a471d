//! Commands on messages against a real account: what the transcripts cannot show well, such as large
//! bodies, large mailboxes and what other sessions do meanwhile.

mod copy;
mod fetch;
mod listing;
mod search;
mod store;
mod urlauth;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::task::{Poll, Waker};

use account::{Account, Content, FlagChange, FlagMode, Flags, MailboxName, NewMessage};
use base::{MailboxId, Out, Ranges, Timestamp};
use sim::{Clock, World, ready};

use super::{Act, Action, Reply, handle};
use crate::capability::Enabled;
use crate::command::{Command, parse};
use crate::limits::Limits;
use crate::parse::Text;
use crate::reply::write_tagged;
use crate::tests::Nearby;
use crate::view::Selected;

/// One session of an account whose INBOX is selected.
pub(super) struct Fixture {
    world: World,
    pub(super) account: Account,
    pub(super) selected: Option<Box<Selected>>,
    enabled: Enabled,
    now: Timestamp,
    /// How often the last command gave others their turn.
    turns: usize,
}

impl Fixture {
    pub(super) fn new(messages: &[&[u8]]) -> Self {
        Self::of(World::new(), messages)
    }

    fn of(world: World, messages: &[&[u8]]) -> Self {
        let account = world.account("ann");
        let mut fixture =
            Self { world, account, selected: None, enabled: Enabled::NONE, now: Clock::START, turns: 0 };
        for message in messages {
            fixture.append(message, Flags::NONE);
        }
        fixture.say("SELECT INBOX");
        fixture
    }

    fn with(mut self, enabled: Enabled) -> Self {
        self.enabled = enabled;
        self
    }

    fn inbox(&self) -> MailboxId {
        self.account.mailbox(&MailboxName::inbox()).unwrap().id
    }

    fn append(&self, data: &[u8], flags: Flags) {
        self.put(data.to_vec().into(), flags);
    }

    fn put(&self, content: Content, flags: Flags) {
        let message = NewMessage { content, flags, keywords: Vec::new(), received: self.now };
        ready(self.account.append(self.inbox(), Vec::from([message]), self.now)).unwrap();
    }

    /// Another session removes messages.
    fn remove(&self, uids: &[u32]) {
        let uids: Ranges = uids.iter().copied().collect();
        ready(self.account.remove_messages(self.inbox(), &uids)).unwrap();
    }

    /// Another session adds flags.
    fn add_flags(&self, uids: &[u32], flags: Flags) {
        let uids: Ranges = uids.iter().copied().collect();
        let change = FlagChange { mode: FlagMode::Add, flags, keywords: Vec::new() };
        ready(self.account.store(self.inbox(), &uids, &change, None)).unwrap();
    }

    /// Does a command; gives all that is said, bytes that are no UTF-8 replaced.
    fn say(&mut self, command: &str) -> String {
        String::from_utf8_lossy(&self.bytes(command)).into_owned()
    }

    fn bytes(&mut self, command: &str) -> Vec<u8> {
        let mut out = Out::in_memory(Vec::new());
        self.say_to(command, &mut out);
        out.buffer
    }

    fn say_to(&mut self, command: &str, out: &mut Out<'_>) {
        let line = alloc::format!("t {command}");
        let action = action(parse(&text(line.as_bytes())).unwrap().command.expect(command));
        let act = Act {
            action,
            tag: "t".to_string(),
            selected: self.selected.take(),
            enabled: self.enabled,
            is_condstore_new: false,
            limits: Limits::default(),
        };
        let around = Nearby::new(&self.world, &self.account);
        let (reply, turns) = run(handle(Box::new(act), &self.account, self.now, &around, out));
        self.turns = turns;
        let Reply::Done(done) = reply else { panic!("not an answer to a command") };
        self.selected = done.selected;
        write_tagged(&mut out.buffer, "t", &done.outcome);
    }
}

/// The output of a future whose disk is an instant one, and how often it gave way.
fn run<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let mut context = core::task::Context::from_waker(Waker::noop());
    for turns in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, turns);
        }
    }
    panic!("it never ends")
}

fn action(command: Command) -> Action {
    match command {
        Command::Select(select) => Action::Select(select),
        Command::Noop => Action::Sync,
        Command::Fetch(fetch) => Action::Fetch(fetch),
        Command::Search(search) => Action::Search(search),
        Command::Store(store) => Action::Store(store),
        Command::Copy(copy) => Action::Copy(copy),
        Command::Move(copy) => Action::Move(copy),
        other => panic!("{other:?} is not tested here"),
    }
}

fn text(bytes: &[u8]) -> Text {
    Text { bytes: bytes.to_vec(), attached: Vec::new() }
}

/// The lines of an answer, one a line.
fn lines(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [*line, "\r\n"]).collect()
}
