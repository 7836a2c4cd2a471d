//! A domain with two accounts on a simulated disk, and logins that are really checked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use account::{Account, Content, Flags, MailboxName, NewMessage};
use auth::limits::SCRAM_ITERATIONS_MIN;
use auth::{Answer, Identity, Query, ScramCredential, ScramHash};
use base::{Secret, Uid};
use directory::{AccountEntry, Credential, Directory, EmailAddress, NewAccount};
use storage_engine::{Disk, Engine, Options, Simulated};

use crate::{Clock, Transcript, ready, samples};

/// Bytes of a journal segment of a usual world: little memory, since each is zeroed ahead.
const SEGMENT_BYTES: u32 = 1 << 20;

/// What a server's composition has, for one shard: `ann@example.org` and `bob@example.org` with the
/// password [`World::PASSWORD`], each with the usual mailboxes. Everything is ready at once.
#[derive(Clone)]
pub struct World {
    /// The disk below, for faults.
    pub disk: Simulated,
    /// The one shard's engine.
    pub engine: Engine,
    /// Its directory.
    pub directory: Directory,
    /// The time.
    pub clock: Clock,
    /// Makes the summaries of messages that are put into mailboxes here.
    pub summarize: fn(&[u8]) -> Vec<u8>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl World {
    /// Everybody's password.
    pub const PASSWORD: &'static str = "secret";
    /// The domain.
    pub const DOMAIN: &'static str = "example.org";
    /// Who has an account there.
    pub const NAMES: [&'static str; 2] = ["ann", "bob"];

    /// A new world at [`Clock::START`], for messages below a megabyte. It is the reopened copy of one
    /// that was made once a process: a tenth of a millisecond, so every cut of a transcript can have
    /// its own.
    pub fn new() -> Self {
        static FIRST: OnceLock<Simulated> = OnceLock::new();
        let first = FIRST.get_or_init(|| Self::with_segment_bytes(SEGMENT_BYTES).disk);
        Self::open(first.crash(), SEGMENT_BYTES)
    }

    /// The same for messages of any size below `segment_bytes`.
    pub fn with_segment_bytes(segment_bytes: u32) -> Self {
        let world = Self::open(Simulated::instant(), segment_bytes);
        let added = ready(world.directory.add_domain(Self::DOMAIN, Clock::START));
        added.expect("the directory is empty");
        for name in Self::NAMES {
            world.add_account(name, None);
        }
        world
    }

    fn open(disk: Simulated, segment_bytes: u32) -> Self {
        // What is told is read from the log, which tests may change.
        let options = Options { partitions: 2, segment_bytes, recent_bytes_max: 0, ..Options::default() };
        storage_engine::prepare(&Disk::simulated(&disk), &options, 1)
            .expect("the simulated disk is in order");
        let opened = Engine::open(&Disk::simulated(&disk), &options, 0, 1);
        let engine = opened.expect("the store was prepared");
        Self {
            disk,
            directory: Directory::new(engine.clone()),
            engine,
            clock: Clock::new(),
            summarize: |_| Vec::new(),
        }
    }

    /// One more account with the usual password and mailboxes.
    pub fn add_account(&self, name: &str, quota_bytes: Option<u64>) {
        let address = format!("{name}@{}", Self::DOMAIN);
        let new = NewAccount {
            address: EmailAddress::parse(&address).expect("a test's name makes an address"),
            display_name: String::new(),
            credential: Some(credential().clone()),
            quota_bytes,
            created: self.clock.now(),
        };
        ready(self.directory.create_account(new)).expect("a test adds an account once");
        let provisioned = ready(self.account(name).provision(self.clock.now()));
        provisioned.expect("the account is new");
    }

    /// The account of that name.
    pub fn account(&self, name: &str) -> Account {
        let entry = self.directory.account_by_login(name, Some(Self::DOMAIN));
        let entry = entry.unwrap_or_else(|| panic!("no account is called {name}"));
        Account::new(self.engine.clone(), entry.partition, entry.id, entry.quota_bytes)
    }

    /// The account behind an identity.
    pub fn account_of(&self, identity: &Identity) -> Account {
        let entry = self.directory.account_by_id(identity.account);
        let quota_bytes = entry.and_then(|entry| entry.quota_bytes);
        Account::new(self.engine.clone(), identity.partition, identity.account, quota_bytes)
    }

    /// Puts a message into a mailbox of the account, without flags.
    pub fn append(&self, name: &str, mailbox: &str, data: &[u8]) -> Uid {
        let account = self.account(name);
        let mailbox = MailboxName::new(mailbox).expect("a test's mailbox name is valid");
        let id = account.mailbox(&mailbox).unwrap_or_else(|_| panic!("no mailbox is called {mailbox}")).id;
        let now = self.clock.now();
        let message = NewMessage {
            content: Content { data: data.to_vec().into(), summary: (self.summarize)(data) },
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: now,
        };
        let appended = ready(account.append(id, vec![message], now)).expect("there is room for the message");
        Uid(appended.uids.first().expect("one message was appended"))
    }

    /// Does what a transcript's headers say: `account: bob` names whose mailboxes are meant (ann's
    /// if it says nothing), `mailbox: INBOX from plain, dots*3` fills one from the samples.
    pub fn prepare(&self, transcript: &Transcript) {
        let name = transcript.header("account").unwrap_or("ann");
        for line in transcript.all("mailbox") {
            let (mailbox, names) = line.split_once(" from ").unwrap_or((line, ""));
            for item in names.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                let (sample, count) = item.split_once('*').unwrap_or((item, "1"));
                let data = samples::named(sample).unwrap_or_else(|| panic!("no sample is called {sample}"));
                let count: u32 = count.parse().unwrap_or_else(|_| panic!("`{count}` is no number"));
                (0..count).for_each(|_| {
                    self.append(name, mailbox, data);
                });
            }
        }
    }

    /// Answers as a server's authentication does, with real hashes.
    pub fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Password { username, password } => match self.login(username) {
                Some((entry, credential)) if is_right(&credential, password) => {
                    Answer::Granted(identity(&entry))
                }
                _ => Answer::Denied,
            },
            Query::Scram { username, hash } => {
                let Some((entry, credential)) = self.login(username) else {
                    let secret = Secret::new([9; 32]);
                    let fake = ScramCredential::fabricate(&secret, username, *hash, SCRAM_ITERATIONS_MIN);
                    return Answer::Scram(Box::new(fake));
                };
                let keys = match hash {
                    ScramHash::Sha1 => credential.scram_sha1,
                    ScramHash::Sha256 => credential.scram_sha256,
                };
                Answer::Scram(Box::new(ScramCredential { keys, identity: Some(identity(&entry)) }))
            }
        }
    }

    fn login(&self, username: &str) -> Option<(AccountEntry, Credential)> {
        let entry = self.directory.account_by_login(username, Some(Self::DOMAIN))?;
        let credential = entry.credential.clone().filter(|_| entry.enabled)?;
        Some((entry, credential))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn identity(entry: &AccountEntry) -> Identity {
    Identity { account: entry.id, partition: entry.partition, address: entry.address.to_string() }
}

/// The credential of [`World::PASSWORD`]; made once a process, for it is slow on purpose.
fn credential() -> &'static Credential {
    static CREDENTIAL: OnceLock<Credential> = OnceLock::new();
    CREDENTIAL.get_or_init(|| {
        auth::hash_password(&Secret::new(World::PASSWORD.to_owned()), [7; 16], SCRAM_ITERATIONS_MIN)
    })
}

/// Verifies for real, once a process for each password: cutting a transcript at every byte would
/// take minutes otherwise.
fn is_right(credential: &Credential, password: &Secret<String>) -> bool {
    static VERIFIED: OnceLock<Mutex<HashMap<(String, String), bool>>> = OnceLock::new();
    let verified = VERIFIED.get_or_init(Mutex::default);
    let mut verified = verified.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (credential.argon2id.clone(), password.reveal().clone());
    *verified.entry(key).or_insert_with(|| auth::verify_password(credential, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Query {
        Query::Password { username: username.to_owned(), password: Secret::new(password.to_owned()) }
    }

    #[test]
    fn logins_are_checked() {
        let world = World::new();
        let Answer::Granted(identity) = world.answer(&password("ann", "secret")) else {
            panic!("the password is right");
        };
        assert_eq!(identity.address, "ann@example.org");
        assert_eq!(world.account_of(&identity).id(), world.account("ann").id());
        assert_eq!(world.answer(&password("bob@example.org", "Secret")), Answer::Denied);
        assert_eq!(world.answer(&password("carl", "secret")), Answer::Denied);
        let scram = Query::Scram { username: "carl".to_owned(), hash: ScramHash::Sha1 };
        assert!(matches!(world.answer(&scram), Answer::Scram(fake) if fake.identity.is_none()));
    }

    #[test]
    fn a_transcript_says_what_is_in_the_mailboxes() {
        let world = World::new();
        let text = "# x\naccount: bob\nmailbox: INBOX from plain, dots*2\nmailbox: Sent from reply";
        world.prepare(&Transcript::parse(text).expect("valid"));
        let bob = world.account("bob");
        let exists =
            |name| bob.mailbox(&MailboxName::new(name).expect("valid")).expect("it is there").status.exists;
        assert_eq!((exists("INBOX"), exists("Sent"), exists("Drafts")), (3, 1, 0));
        assert_eq!(world.account("ann").usage().messages, 0);
    }
}
