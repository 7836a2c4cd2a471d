//! What stands behind a POP3 session.

use std::rc::Rc;

use account::Account;
use auth::Identity;
use base::{Handled, Out, Service};
use pop3::{OpenError, Pop3, Reply, Request};

use crate::Shard;
use crate::imap_service::{follow, open};
use crate::login::ScramTry;
use crate::shard::MaildropLock;

/// The handlers of one connection, on the shard where it is now.
#[derive(Debug)]
pub struct Pop3Service {
    shard: Rc<Shard>,
    source: String,
    scram: Option<ScramTry>,
    opened: Option<(Account, MaildropLock)>,
}

impl Pop3Service {
    /// `source` is the text of the peer's address, for the throttle.
    pub const fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, scram: None, opened: None }
    }

    /// For a connection that comes from another shard with the answer to its last request.
    pub fn moved(shard: Rc<Shard>, source: String, reply: &Reply) -> Self {
        let mut service = Self::new(shard, source);
        if let Reply::Auth(answer) = reply {
            service.scram = ScramTry::of(&service.shard, &service.source, answer);
        }
        service
    }

    /// Takes the maildrop lock (RFC 1939 §4) and the snapshot, where the account is.
    async fn open(&mut self, identity: &Identity) -> Handled<Reply> {
        if let Some(scram) = self.scram.take() {
            scram.proved();
        }
        if !self.shard.owns(identity.partition) {
            return Handled::Move(self.shard.router.partition_shard(identity.partition), Reply::Moved);
        }
        let Some(lock) = self.shard.lock_maildrop(identity.account) else {
            return Handled::Reply(Reply::Opened(Err(OpenError::InUse)));
        };
        let account = open(&self.shard, identity).await;
        let maildrop = pop3::open(&account);
        if maildrop.is_ok() {
            self.opened = Some((account, lock));
        }
        Handled::Reply(Reply::Opened(maildrop))
    }
}

impl Service<Pop3> for Pop3Service {
    async fn handle(&mut self, session: &mut Pop3, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                let handled = follow(&self.shard, answer, Reply::Auth);
                if let Handled::Reply(Reply::Auth(answer)) = &handled {
                    self.scram = ScramTry::of(&self.shard, &self.source, answer);
                }
                handled
            }
            Request::Open => {
                let identity = session.identity().cloned().expect("a maildrop is opened only after a login");
                self.open(&identity).await
            }
            Request::Act(act) => {
                let (account, _) = self.opened.as_ref().expect("the session acts only on an open maildrop");
                Handled::Reply(pop3::handle(act, account, out).await)
            }
        }
    }

    /// A maildrop is a snapshot (RFC 1939 §4): no change is looked for.
    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
