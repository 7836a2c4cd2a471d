//! What stands behind a POP3 session.

use std::rc::Rc;

use auth::Identity;
use base::{Handled, Out, Service, ShardId};
use pop3::{Act, OpenError, Pop3, Reply, Request};

use crate::Shard;
use crate::entrance::{Barred, Entrance};
use crate::imap_service::follow;
use crate::login::ScramTry;
use crate::shard::MaildropLock;

/// The handlers of one connection, on the shard where it is now.
#[derive(Debug)]
pub struct Pop3Service {
    shard: Rc<Shard>,
    source: String,
    scram: Option<ScramTry>,
    opened: Option<(Entrance, MaildropLock)>,
}

impl Pop3Service {
    /// `source` is the text of the peer's address, for the throttle.
    pub const fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, scram: None, opened: None }
    }

    /// For a connection that comes from another shard, `from`, with the answer to its last request.
    pub fn moved(shard: Rc<Shard>, source: String, reply: &Reply, from: ShardId) -> Self {
        let mut service = Self::new(shard, source);
        if let Reply::Auth(answer) = reply {
            service.scram = ScramTry::of(from, &service.source, answer);
        }
        service
    }

    /// Takes the maildrop lock (RFC 1939 §4) and the snapshot, where the account is.
    async fn open(&mut self, identity: &Identity) -> Handled<Reply> {
        if let Some(scram) = self.scram.take() {
            scram.proved(&self.shard).await;
        }
        if !self.shard.owns(identity.partition) {
            return Handled::Move(self.shard.router.partition_shard(identity.partition), Reply::Moved);
        }
        let Some(lock) = self.shard.lock_maildrop(identity.account) else {
            return Handled::Reply(Reply::Opened(Err(OpenError::InUse)));
        };
        let entrance = match Entrance::open(&self.shard, identity).await {
            Ok(entrance) => entrance,
            Err(Barred::Closed) => return Handled::Reply(Reply::Closed),
            Err(Barred::Failed(error)) => {
                return Handled::Reply(Reply::Opened(Err(OpenError::Account(error))));
            }
        };
        let maildrop = pop3::open(entrance.account());
        if maildrop.is_ok() {
            self.opened = Some((entrance, lock));
        }
        Handled::Reply(Reply::Opened(maildrop))
    }

    async fn act(&mut self, act: Act, identity: &Identity, out: &mut Out<'_>) -> Reply {
        let (entrance, _) = self.opened.as_mut().expect("the session acts only on an open maildrop");
        let account = match entrance.account_now(&self.shard, identity).await {
            Ok(account) => account.clone(),
            Err(Barred::Closed) => return Reply::Closed,
            // What was known holds until it can be asked again.
            Err(Barred::Failed(_)) => entrance.account().clone(),
        };
        pop3::handle(act, &account, out).await
    }
}

impl Service<Pop3> for Pop3Service {
    async fn handle(&mut self, session: &mut Pop3, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        let identity = || session.identity().cloned().expect("the session asks for this only after a login");
        match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                self.shard.metrics.count_login(&answer);
                self.scram = ScramTry::of(self.shard.id, &self.source, &answer);
                follow(&self.shard, answer, Reply::Auth)
            }
            Request::Open => self.open(&identity()).await,
            Request::Act(act) => Handled::Reply(self.act(act, &identity(), out).await),
        }
    }

    /// A maildrop is a snapshot (RFC 1939 §4): no change is looked for.
    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
