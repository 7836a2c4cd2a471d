//! What stands behind an IMAP session.

use std::rc::Rc;

use account::Account;
use auth::{Answer, Identity};
use base::{Handled, Out, Service};
use imap::{Imap, Reply, Request};

use crate::Shard;
use crate::login::ScramTry;

/// The handlers of one connection, on the shard where it is now.
#[derive(Debug)]
pub struct ImapService {
    shard: Rc<Shard>,
    source: String,
    account: Option<Account>,
    scram: Option<ScramTry>,
    /// The session knows of everything up to here.
    seen: base::ChangeNumber,
}

impl ImapService {
    /// `source` is the text of the peer's address, for the throttle.
    pub fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, account: None, scram: None, seen: base::ChangeNumber(0) }
    }

    /// For a connection that comes from another shard with the answer to its login: `reply` is
    /// what the session will be told here.
    pub fn moved(shard: Rc<Shard>, source: String, reply: &Reply) -> Self {
        let mut service = Self::new(shard, source);
        if let Reply::Auth(answer) = reply {
            service.scram = ScramTry::of(&service.shard, &service.source, answer);
        }
        service
    }

    async fn account(&mut self, identity: &Identity) -> Account {
        if let Some(account) = &self.account {
            return account.clone();
        }
        let account = open(&self.shard, identity).await;
        self.account = Some(account.clone());
        account
    }
}

/// The account that somebody has logged in to, with its quota.
pub(crate) async fn open(shard: &Rc<Shard>, identity: &Identity) -> Account {
    let entry = shard.people.by_login(shard, &identity.address).await.ok().flatten();
    let quota = entry.and_then(|entry| entry.quota_bytes);
    shard.account(identity.partition, identity.account, quota)
}

/// A login's answer: handed to the session on the shard that owns the account. With SCRAM the
/// move comes before the proof, when it is known whose keys are asked for.
pub(crate) fn follow<R>(shard: &Shard, answer: Answer, reply: impl FnOnce(Answer) -> R) -> Handled<R> {
    let identity = match &answer {
        Answer::Granted(identity) => Some(identity),
        Answer::Scram(credential) => credential.identity.as_ref(),
        Answer::Denied | Answer::Unavailable | Answer::Throttled { .. } => None,
    };
    match identity.map(|identity| identity.partition).filter(|partition| !shard.owns(*partition)) {
        Some(partition) => Handled::Move(shard.router.partition_shard(partition), reply(answer)),
        None => Handled::Reply(reply(answer)),
    }
}

impl Service<Imap> for ImapService {
    async fn handle(&mut self, session: &mut Imap, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                let handled = follow(&self.shard, answer, Reply::Auth);
                if let Handled::Reply(Reply::Auth(answer)) = &handled {
                    self.scram = ScramTry::of(&self.shard, &self.source, answer);
                }
                handled
            }
            Request::Act(act) => {
                let identity = session.identity().cloned().expect("the session acts only after a login");
                if let Some(scram) = self.scram.take() {
                    scram.proved();
                }
                let account = self.account(&identity).await;
                // Taken before the work: whatever changes from here on ends the next watch.
                self.seen = account.highest_change();
                Handled::Reply(imap::handle(act, &account, self.shard.world.now(), out).await)
            }
        }
    }

    async fn changed(&mut self) {
        match &self.account {
            Some(account) => self.seen = account.changed(self.seen).await,
            None => std::future::pending::<()>().await,
        }
    }
}
