//! What stands behind an IMAP session.

use std::rc::Rc;

use auth::{Answer, Identity};
use base::{Handled, Out, Service, ShardId};
use imap::{Act, Imap, Reply, Request};

use crate::Shard;
use crate::entrance::{Barred, Entrance};
use crate::login::ScramTry;
use crate::urls::Nearby;

/// The handlers of one connection, on the shard where it is now.
#[derive(Debug)]
pub struct ImapService {
    shard: Rc<Shard>,
    source: String,
    entrance: Option<Entrance>,
    scram: Option<ScramTry>,
    /// The session knows of everything up to here.
    seen: base::ChangeNumber,
}

impl ImapService {
    /// `source` is the text of the peer's address, for the throttle.
    pub fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, entrance: None, scram: None, seen: base::ChangeNumber(0) }
    }

    /// For a connection that comes from another shard, `from`, with the answer to its login: `reply` is
    /// what the session will be told here.
    pub fn moved(shard: Rc<Shard>, source: String, reply: &Reply, from: ShardId) -> Self {
        let mut service = Self::new(shard, source);
        if let Reply::Auth(answer) = reply {
            service.scram = ScramTry::of(from, &service.source, answer);
        }
        service
    }

    async fn open(&mut self, identity: &Identity) -> Reply {
        if let Some(scram) = self.scram.take() {
            scram.proved(&self.shard).await;
        }
        match Entrance::open(&self.shard, identity).await {
            Ok(entrance) => {
                self.entrance = Some(entrance);
                Reply::Opened(Ok(()))
            }
            Err(Barred::Closed) => Reply::Closed,
            Err(Barred::Failed(error)) => Reply::Opened(Err(error)),
        }
    }

    async fn act(&mut self, act: Box<Act>, identity: &Identity, out: &mut Out<'_>) -> Reply {
        let entrance = self.entrance.as_mut().expect("the session acts only on an open account");
        let account = match entrance.account_now(&self.shard, identity).await {
            Ok(account) => account.clone(),
            Err(Barred::Closed) => return Reply::Closed,
            // What was known holds until it can be asked again.
            Err(Barred::Failed(_)) => entrance.account().clone(),
        };
        // Taken before the work: whatever changes from here on ends the next watch.
        self.seen = account.highest_change();
        let around = Nearby { shard: &self.shard, identity };
        imap::handle(act, &account, self.shard.world.now(), &around, out).await
    }
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
        let identity = || session.identity().cloned().expect("the session asks for this only after a login");
        match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                self.shard.metrics.count_login(&answer);
                self.scram = ScramTry::of(self.shard.id, &self.source, &answer);
                follow(&self.shard, answer, Reply::Auth)
            }
            Request::Open => Handled::Reply(self.open(&identity()).await),
            Request::Act(act) => Handled::Reply(self.act(act, &identity(), out).await),
        }
    }

    async fn changed(&mut self) {
        match &self.entrance {
            Some(entrance) => self.seen = entrance.account().changed(self.seen).await,
            None => std::future::pending::<()>().await,
        }
    }
}
